//! Wrong clocks, and credentials that end.

use crate::harness::ecs::{Agent, Role};
use crate::harness::scenario::eventually;
use crate::harness::{Expected, Fault, Offset, Operation, PATIENCE, Scenario, lasting, on, on_s3};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn clock_twenty_minutes_off() {
    for offset in [Offset::Ahead(20 * MINUTE), Offset::Behind(20 * MINUTE)] {
        let scenario = Scenario::with_receives(5).await;
        let worker = scenario.worker("w").await;
        worker.with_shim();
        worker.shim.wall(offset);
        worker.proxy.check_clock();
        scenario.upload_many("c", 5).await;
        worker.started().await;
        // The SDK learns from a refusal how wrong the clock is, and signs by the server's from then on.
        scenario.until_empty(PATIENCE).await;
        let refused = scenario.log.count(|e| e.told == Some(403));
        assert!(refused > 0, "the proxy looks at the clock");
        scenario.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_jumps() {
    let scenario = Scenario::with_receives(5).await;
    let worker = scenario.worker("w").await;
    worker.with_shim();
    worker.proxy.check_clock();
    // Longer than a visibility timeout: a lease that went by the time of day would be lost.
    worker.proxy.fault(on([Operation::GetObject]).sometimes(0.3), Fault::Delay(Duration::from_secs(8)));
    scenario.upload_many("j", 20).await;
    worker.started().await;
    // Within what AWS tolerates, and for a moment far beyond it.
    let jumps = [600, -600, 840, -840, 0, 7200, -7200, 300];
    let began = tokio::time::Instant::now();
    while began.elapsed() < lasting(30) {
        for seconds in jumps {
            let by = Duration::from_secs(i64::unsigned_abs(seconds));
            worker.shim.wall(if seconds < 0 { Offset::Behind(by) } else { Offset::Ahead(by) });
            // A clock and not a condition: moments between jumps are what this is about.
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
    worker.shim.wall(Offset::Ahead(Duration::ZERO));
    scenario.until_empty(PATIENCE).await;
    let exchanges = scenario.log.exchanges();
    let most = exchanges.iter().flat_map(|e| &e.messages).map(|m| m.receive_count).max();
    assert!(most <= Some(2), "received {most:?} times: leases go by the monotonic clock");
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expiring_credentials() {
    let scenario = Scenario::with_receives(5).await;
    let agent = Agent::start().await;
    let worker = scenario.worker("w").await;
    worker.unset("AWS_ACCESS_KEY_ID").unset("AWS_SECRET_ACCESS_KEY");
    worker.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/role", agent.uri));
    // They are renewed up to five minutes before they end: these all the time.
    agent.role(Role::Lasts(Duration::from_secs(5)));
    worker.started().await;
    scenario.upload_many("e", 10).await;
    scenario.until("renewed credentials", PATIENCE, || agent.roles_given() >= 3).await;
    scenario.until_empty(PATIENCE).await;

    // The role cannot be had any more, and what is left of it ends in the midst of work.
    worker.proxy.fault(on([Operation::GetObject]), Fault::Delay(Duration::from_millis(500)));
    scenario.upload_many("f", 8).await;
    scenario.upload_bytes("bad.jpg", b"no picture".to_vec(), Expected::Rejected("not-an-image")).await;
    scenario.until("work", PATIENCE, || scenario.log.count(|e| e.call.key == "f0.jpg") > 0).await;
    agent.role(Role::Fails);
    worker.proxy.heal();
    worker.proxy.fault(on([]), Fault::Refuse(403, "ExpiredToken"));
    let before = scenario.depth().await;
    tokio::time::sleep(lasting(18)).await;
    assert!(worker.running(), "it waits for better times:\n{}", worker.tail());
    let left = scenario.depth().await;
    assert_eq!(left.0 + left.1, before.0 + before.1, "no deletes, and no dead letters");
    let unready = async || worker.ask("/readyz").await.filter(|(status, _)| *status == 503);
    eventually("word that it is not ready", PATIENCE, unready).await;

    agent.role(Role::Lasts(60 * MINUTE));
    worker.proxy.heal();
    scenario.finish().await;
}

/// SQS would take a delete and a dead letter: they are not sent.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_expired_for_s3_alone() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    let expired = worker.proxy.fault(on_s3(), Fault::Refuse(400, "ExpiredToken"));
    scenario.upload_many("e", 3).await;
    scenario.upload_bytes("bad.jpg", b"no picture".to_vec(), Expected::Rejected("not-an-image")).await;
    worker.started().await;
    let unready = async || worker.ask("/readyz").await.filter(|(status, _)| *status == 503);
    eventually("word that it is not ready", PATIENCE, unready).await;
    scenario.until("tries", PATIENCE, || expired.applied() >= 3).await;
    // Longer than a lease.
    tokio::time::sleep(lasting(8)).await;
    let sent = scenario.log.count(|e| matches!(e.call.operation, Operation::Delete | Operation::Send));
    assert_eq!(sent, 0, "nothing is finished, and nothing is hopeless");
    let most = scenario.log.exchanges().iter().flat_map(|e| e.messages.iter().map(|m| m.receive_count)).max();
    assert!(most.is_some_and(|count| count <= 2), "received {most:?} times");
    worker.proxy.heal();
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_hour_cap() {
    const HOUR: u64 = 3600;
    let scenario = Scenario::new().await;
    scenario.nears_the_cap();
    let worker = scenario.worker("w").await;
    worker.with_shim().set("LONGSHORE_VISIBILITY_TIMEOUT", "2h");
    // Done, but not to be deleted: it is held and renewed, hour after hour.
    let down = worker.proxy.fault(on([Operation::Delete]), Fault::Refuse(503, "ServiceUnavailable"));
    scenario.upload("long.jpg").await;
    worker.started().await;
    scenario.until("a delete", PATIENCE, || down.applied() >= 1).await;
    let renewals = || -> Vec<u64> {
        let exchanges = scenario.log.exchanges();
        exchanges.iter().flat_map(|e| e.call.entries.iter().filter_map(|entry| entry.visibility)).collect()
    };
    let pass = |seconds: u64| worker.shim.monotonic(Offset::Ahead(Duration::from_secs(seconds)));
    for hours in 1..=11 {
        let before = renewals().len();
        pass(hours * HOUR);
        scenario.until(&format!("renewal after {hours} h"), PATIENCE, || renewals().len() > before).await;
        // A receive that an hour passes in has timed out; three in a row would end the worker.
        let answered = || scenario.log.count(|e| e.call.operation == Operation::Receive && e.reached);
        let before = answered();
        scenario.until("a receive that is answered", PATIENCE, || answered() > before).await;
        let (asked, left) = (*renewals().last().unwrap(), (12 - hours) * HOUR);
        assert!(asked <= left, "{asked} s asked for, with {left} s left of 12 h");
        assert!(asked + 60 > left.min(2 * HOUR), "{asked} s asked for, though {left} s are left");
    }
    // SQS would refuse anything more, so nothing more is asked.
    pass(12 * HOUR + 60);
    let (before, tries) = (renewals().len(), down.applied());
    scenario.until("more deletes", PATIENCE, || down.applied() >= tries + 2).await;
    assert_eq!(renewals().len(), before, "renewed beyond 12 h");
    down.end();
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn held_for_eleven_hours() {
    const HOUR: u64 = 3600;
    let scenario = Scenario::new().await;
    scenario.nears_the_cap();
    let worker = scenario.worker("w").await;
    worker.with_shim().set("LONGSHORE_VISIBILITY_TIMEOUT", "43200s");
    let barrier = worker.proxy.fault(on([Operation::PutObject]), Fault::Refuse(403, "AccessDenied"));
    scenario.upload("held.jpg").await;
    worker.started().await;
    let unready = async || worker.ask("/readyz").await.filter(|(status, _)| *status == 503);
    eventually("word that nothing can be stored", PATIENCE, unready).await;
    assert_eq!(scenario.depth().await, (0, 1), "it is held");
    let pass = |seconds: u64| worker.shim.monotonic(Offset::Ahead(Duration::from_secs(seconds)));
    pass(11 * HOUR + 1);
    let changes = || -> Vec<u64> {
        let exchanges = scenario.log.exchanges();
        let done = exchanges.iter().filter(|e| e.took_effect());
        done.flat_map(|e| e.call.entries.iter().filter_map(|entry| entry.visibility)).collect()
    };
    scenario.until("its way back", PATIENCE, || changes().iter().any(|seconds| *seconds <= 5)).await;
    assert!(changes().iter().all(|seconds| *seconds <= HOUR), "beyond 12 h: {:?}", changes());
    barrier.end();
    // An open breaker takes one message a minute: it waits to be taken, or has been by chance.
    let visible = async || matches!(scenario.depth().await, (1 | 0, 0)).then_some(());
    eventually("the end of its wait", PATIENCE, visible).await;
    pass(11 * HOUR + 120);
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_over_its_time_is_handed_back() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    worker.set("LONGSHORE_MAX_JOB_TIME", "3s");
    let stuck = worker.proxy.fault(on([Operation::GetObject]).nth(..=1), Fault::BlackHole);
    scenario.upload("long.jpg").await;
    worker.started().await;
    scenario.until("the end of its time", PATIENCE, || worker.count_lines("--max-job-time") == 1).await;
    assert_eq!(stuck.applied(), 1);
    let log = scenario.log.clone();
    scenario.finish().await;
    let deliveries = log.exchanges().iter().flat_map(|e| e.messages.clone()).count();
    assert_eq!(deliveries, 2, "given back once, then done");
}
