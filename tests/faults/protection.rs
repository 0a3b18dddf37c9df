//! ECS task scale-in protection: a courtesy that must never be in the way.

use crate::harness::ecs::{Agent, Protection};
use crate::harness::{Fault, Offset, Operation, PATIENCE, Scenario, on};
use std::time::Duration;

fn first_receive(scenario: &Scenario) -> Option<Duration> {
    scenario.log.find(|e| e.call.operation == Operation::Receive).map(|e| e.at)
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_in_protection() {
    let scenario = Scenario::new().await;
    let agent = Agent::start().await;
    let worker = scenario.worker("w").await;
    // Four minutes of protection, renewed after one.
    worker.with_shim().set("ECS_AGENT_URI", &agent.uri).set("LONGSHORE_MAX_JOB_TIME", "60s");
    worker.set("LONGSHORE_TASK_PROTECTION", "auto");
    let slow = worker.proxy.fault(on([Operation::GetObject]), Fault::Delay(Duration::from_secs(12)));
    scenario.upload("p.jpg").await;
    worker.started().await;
    scenario.until("a job", PATIENCE, || slow.applied() == 1).await;
    let taken = agent.asked().first().cloned().expect("protection is asked for");
    assert!(taken.enabled && taken.minutes.is_some());
    let received = scenario.log.instant(first_receive(&scenario).unwrap());
    assert!(taken.at < received, "taken before the receive");

    // Time passes for the worker while its job goes on.
    worker.shim.monotonic(Offset::Ahead(Duration::from_secs(50)));
    scenario
        .until("a renewal", PATIENCE, || {
            worker.shim.monotonic(Offset::Ahead(Duration::from_secs(75)));
            agent.asked().iter().filter(|a| a.enabled).count() >= 2
        })
        .await;
    assert!(agent.asked().iter().all(|a| a.enabled), "never dropped while there is work");
    slow.end();
    scenario.until_empty(PATIENCE).await;
    let dropped = || agent.asked().last().is_some_and(|a| !a.enabled);
    scenario.until("the end of protection", PATIENCE, dropped).await;
    scenario.finish().await;
}

const FAILURES: [Protection; 8] = [
    Protection::DeploymentBlocked,
    Protection::TaskNotValid,
    Protection::GatewayTimeout,
    Protection::Throttled,
    Protection::Denied,
    Protection::Hangs,
    Protection::Garbage,
    Protection::Endless,
];

/// What work may be delayed by.
const MOST: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn protection_that_fails_once_it_was_granted() {
    for behaviour in FAILURES {
        let scenario = Scenario::new().await;
        let agent = Agent::start().await;
        let worker = scenario.worker("w").await;
        worker.with_shim().set("ECS_AGENT_URI", &agent.uri).set("LONGSHORE_MAX_JOB_TIME", "60s");
        worker.set("LONGSHORE_TASK_PROTECTION", "auto");
        let slow = worker.proxy.fault(on([Operation::GetObject]), Fault::Delay(Duration::from_secs(8)));
        scenario.upload("held.jpg").await;
        worker.started().await;
        scenario.until("a job", PATIENCE, || slow.applied() == 1).await;
        assert!(agent.asked().iter().any(|asked| asked.enabled), "protection is granted");

        // When it is renewed, with a job running.
        agent.protection(behaviour);
        worker.shim.monotonic(Offset::Ahead(Duration::from_secs(75)));
        let asked = agent.asked().len();
        scenario.until("a renewal", PATIENCE, || agent.asked().len() > asked).await;
        let begun =
            |key: &str| scenario.log.find(|e| e.call.operation == Operation::GetObject && e.call.key == key);
        for key in ["beside.jpg", "after.jpg"] {
            let sent = scenario.log.now();
            scenario.upload(key).await;
            scenario.until("the next job", PATIENCE, || begun(key).is_some()).await;
            let waited = begun(key).expect("it has begun").at.saturating_sub(sent);
            assert!(waited <= MOST, "{behaviour:?}: {key} was delayed by {waited:?}");
            // And when it is to be dropped, with nothing to do.
            slow.end();
            scenario.until_empty(PATIENCE).await;
        }
        scenario.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn protection_that_fails_in_every_way() {
    // None: nobody listens.
    for behaviour in FAILURES.map(Some).into_iter().chain([None]) {
        let scenario = Scenario::new().await;
        let agent = Agent::start().await;
        let worker = scenario.worker("w").await;
        worker.set("ECS_AGENT_URI", &agent.uri).set("LONGSHORE_TASK_PROTECTION", "auto");
        match behaviour {
            Some(behaviour) => agent.protection(behaviour),
            None => drop(worker.set("ECS_AGENT_URI", "http://127.0.0.1:9")),
        }
        scenario.upload("first.jpg").await;
        worker.started().await;
        let started = scenario.log.now();
        scenario.until("a receive", PATIENCE, || first_receive(&scenario).is_some()).await;
        let waited = first_receive(&scenario).unwrap().saturating_sub(started);
        assert!(waited <= MOST, "{behaviour:?}: work was delayed by {waited:?}");
        scenario.until_empty(PATIENCE).await;
        // Nor is every receive delayed again.
        let sent = scenario.log.now();
        scenario.upload_many("more", 5).await;
        scenario.until_empty(PATIENCE).await;
        let took = scenario.log.now().saturating_sub(sent);
        assert!(took <= Duration::from_secs(4), "{behaviour:?}: five pictures took {took:?}");
        let word = if behaviour == Some(Protection::Denied) {
            "allow ecs:UpdateTaskProtection to the task's role"
        } else {
            "no task scale-in protection"
        };
        assert!(worker.tail().contains(word), "{behaviour:?}: {}", worker.tail());
        assert!(agent.endless().iter().all(|taken| *taken < 16 << 20), "{:?}", agent.endless());
        scenario.finish().await;
    }
}
