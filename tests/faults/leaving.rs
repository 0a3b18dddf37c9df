//! How a worker leaves: in order, in a hurry, or without a word.

use crate::harness::invariants::unsettled;
use crate::harness::scenario::eventually;
use crate::harness::worker::STOP_TIMEOUT;
use crate::harness::{Fault, Operation, PATIENCE, Scenario, on};
use crate::runs::{kill_again_and_again, rolling_restart};
use std::time::{Duration, Instant};

/// Draining ends 5 s before the stop timeout.
const BUDGET: Duration = Duration::from_secs(3);
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_a_parked_poll() {
    let scenario = Scenario::new().await;
    let (a, b) = (scenario.worker("a").await, scenario.worker("b").await);
    a.set("LONGSHORE_WAIT_TIME", "10s").set("LONGSHORE_STOP_TIMEOUT", "30s");
    a.started().await;
    let parked = || scenario.log.count(|e| e.worker == "a" && e.call.operation == Operation::Receive) == 1;
    scenario.until("a parked poll", PATIENCE, parked).await;
    a.terminate();
    tokio::time::sleep(Duration::from_millis(100)).await;
    scenario.upload("late.jpg").await;
    let sent = scenario.log.now();
    b.start();
    let taken = || scenario.log.find(|e| e.worker == "b" && !e.messages.is_empty());
    scenario.until("delivery to b", PATIENCE, || taken().is_some()).await;
    let took = taken().unwrap().ended.unwrap_or_default().saturating_sub(sent);
    assert!(took < Duration::from_secs(2), "another worker had it after {took:?}");
    assert_eq!(a.exit_code(PATIENCE).await, Some(0));
    assert!(unsettled(&scenario.log.exchanges(), "a", 1, &scenario.terms()).is_empty());
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load() {
    let scenario = Scenario::new().await;
    let (a, b) = (scenario.worker("a").await, scenario.worker("b").await);
    a.proxy.fault(on([Operation::GetObject]), Fault::Delay(Duration::from_millis(150)));
    scenario.upload_many("u", 40).await;
    a.started().await;
    let stored = || scenario.log.count(|e| e.call.operation == Operation::PutObject && e.took_effect());
    scenario.until("ten uploads", PATIENCE, || stored() >= 10).await;
    let asked = Instant::now();
    a.terminate();
    assert_eq!(a.exit_code(STOP_TIMEOUT).await, Some(0));
    assert!(asked.elapsed() < BUDGET + Duration::from_secs(1), "left after {:?}", asked.elapsed());
    assert_eq!(scenario.depth().await.1, 0, "nothing stays hidden");
    assert!(unsettled(&scenario.log.exchanges(), "a", 1, &scenario.terms()).is_empty());
    // What it had begun, it has finished: nobody reads it a second time.
    b.started().await;
    scenario.until_empty(PATIENCE).await;
    let reads = scenario.log.count(|e| e.call.operation == Operation::GetObject);
    assert_eq!(reads, 40);
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_restart_of_three_workers() {
    let rolled = rolling_restart(50, Duration::from_millis(15)).await;
    assert!((rolled.again + rolled.redelivered) * 100 <= rolled.uploads, "{rolled:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stuck_job() {
    let scenario = Scenario::new().await;
    let (a, b) = (scenario.worker("a").await, scenario.worker("b").await);
    a.proxy.fault(on([Operation::GetObject]).key("stuck.jpg"), Fault::BlackHole);
    scenario.upload("stuck.jpg").await;
    scenario.upload_many("free", 3).await;
    a.started().await;
    let stuck = || scenario.log.find(|e| e.worker == "a" && e.call.key == "stuck.jpg").is_some();
    scenario.until("stuck download", PATIENCE, stuck).await;
    let alone = async || (scenario.depth().await == (0, 1)).then_some(());
    eventually("the others to be done", PATIENCE, alone).await;
    let asked = Instant::now();
    a.terminate();
    assert_eq!(a.exit_code(STOP_TIMEOUT).await, Some(0));
    let took = asked.elapsed();
    assert!(took > BUDGET - Duration::from_secs(1), "it is given its time: {took:?}");
    assert!(took <= BUDGET + Duration::from_secs(1), "released at the deadline: {took:?}");
    assert_eq!(scenario.depth().await, (1, 0), "visible at once");
    b.started().await;
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn second_signal() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("INT", "INT")] {
        let scenario = Scenario::new().await;
        let (a, b) = (scenario.worker("a").await, scenario.worker("b").await);
        a.set("LONGSHORE_STOP_TIMEOUT", "120s");
        a.proxy.fault(on([Operation::GetObject]), Fault::BlackHole);
        scenario.upload_many("s", 3).await;
        a.started().await;
        let held = || scenario.log.count(|e| e.call.operation == Operation::GetObject) == 3;
        scenario.until("three jobs", PATIENCE, held).await;
        let send = |name| if name == "TERM" { a.terminate() } else { a.interrupt() };
        send(first);
        a.until_line("finishing what runs", PATIENCE).await;
        assert_eq!(scenario.depth().await.1, 3, "one signal waits for what runs");
        let asked = Instant::now();
        send(second);
        assert_eq!(a.exit_code(PATIENCE).await, Some(0));
        // A parked poll is awaited even now, for a second.
        assert!(asked.elapsed() < Duration::from_secs(3), "left after {:?}", asked.elapsed());
        assert_eq!(scenario.depth().await, (3, 0), "visible at once");
        b.started().await;
        scenario.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_before_the_first_poll() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    scenario.upload_many("f", 3).await;
    for wait in 0..10 {
        worker.start();
        worker.until_it_handles_sigterm().await;
        tokio::time::sleep(Duration::from_millis(5 * wait)).await;
        worker.terminate();
        assert_eq!(worker.exit_code(STOP_TIMEOUT).await, Some(0), "{wait}");
        assert_eq!(scenario.depth().await.1, 0, "nothing stays hidden, {wait}");
    }
    worker.started().await;
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_at_a_random_exchange() {
    let killed = kill_again_and_again(50).await;
    assert_eq!((killed.runs, killed.lost), (50, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_for_three_visibility_timeouts() {
    let scenario = Scenario::new().await;
    let (a, b) = (scenario.worker("a").await, scenario.worker("b").await);
    for worker in [&a, &b] {
        worker.set("LONGSHORE_VISIBILITY_TIMEOUT", "3s");
    }
    // It freezes in the midst of its downloads: what it stores after that comes late.
    let late = a.proxy.fault(on([Operation::GetObject]), Fault::Delay(Duration::from_millis(300)));
    scenario.upload_many("z", 4).await;
    a.started().await;
    scenario.until("downloads", PATIENCE, || late.applied() >= 4).await;
    a.freeze();
    b.started().await;
    scenario.upload_many("z", 4).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    scenario.until_empty(PATIENCE).await;
    let stored = scenario.stage.output_keys().await.len();
    assert_eq!(stored, 8, "another worker has done it all");
    a.thaw();
    scenario.upload_many("z", 2).await;
    let awake = || scenario.log.count(|e| e.worker == "a" && e.call.operation == Operation::Receive) >= 3;
    scenario.until("polls of the thawed one", PATIENCE, awake).await;
    scenario.finish().await;
}

/// The network between one worker and the rest parts for three visibility timeouts.
async fn partitioned(requests_pass: bool, replies_pass: bool) {
    let scenario = Scenario::new().await;
    let (a, b) = (scenario.worker("a").await, scenario.worker("b").await);
    for worker in [&a, &b] {
        worker.set("LONGSHORE_VISIBILITY_TIMEOUT", "3s");
    }
    a.proxy.fault(on([Operation::GetObject]), Fault::Delay(Duration::from_millis(100)));
    scenario.upload_many("p", 12).await;
    a.started().await;
    let begun = || scenario.log.count(|e| e.worker == "a" && e.call.operation == Operation::PutObject) >= 3;
    scenario.until("uploads", PATIENCE, begun).await;
    a.proxy.partition(requests_pass, replies_pass);
    b.started().await;
    scenario.upload_many("p", 12).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    let done = scenario.stage.output_keys().await.len();
    assert_eq!(done, 24, "the other worker has done it all meanwhile");
    scenario.upload_many("q", 6).await;
    a.proxy.heal();
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partition_both_ways() {
    partitioned(false, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partition_where_requests_are_lost() {
    partitioned(false, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partition_where_replies_are_lost() {
    partitioned(true, false).await;
}
