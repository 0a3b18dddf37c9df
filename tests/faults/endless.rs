//! Answers that never end: what whoever speaks in AWS's place can do to the worker's memory.

use crate::harness::ecs::{Agent, Role};
use crate::harness::scenario::eventually;
use crate::harness::{Expected, Fault, Operation, PATIENCE, Scenario, on};
use std::time::Duration;

/// What the worker takes for itself, the longest answer twice (as it came and as it is read), and a little.
const MOST_MIB: u64 = 160;
/// The longest answer, and what waits in the buffers of sockets.
const MOST_TAKEN: u64 = 48 << 20;

async fn endless(operation: Operation, status: u16) {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    worker.set("LONGSHORE_MAX_BYTES", "1MiB");
    let endless = worker.proxy.fault(on([operation]).nth(..=4), Fault::Endless(status));
    scenario.upload_many("e", 4).await;
    scenario.upload_bytes("bad.jpg", b"no picture".to_vec(), Expected::Rejected("not-an-image")).await;
    worker.started().await;
    scenario.until("calls without end", PATIENCE, || endless.applied() >= 4).await;
    scenario.until_empty(PATIENCE).await;
    let exchanges = scenario.log.exchanges();
    let spoilt: Vec<_> = exchanges.iter().filter(|e| e.fault.is_some()).collect();
    for e in &spoilt {
        assert!(
            e.ended.is_some() && e.sent < MOST_TAKEN,
            "{} bytes of {} were taken",
            e.sent,
            e.call.summary()
        );
    }
    let peak = worker.footprint().peak_rss_kib >> 10;
    assert!(peak < MOST_MIB, "{peak} MiB of memory for {} answers without end", spoilt.len());
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receives_without_end() {
    endless(Operation::Receive, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_receives_without_end() {
    endless(Operation::Receive, 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_downloads_without_end() {
    endless(Operation::GetObject, 503).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_without_end() {
    endless(Operation::PutObject, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_without_end() {
    endless(Operation::Delete, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_without_end() {
    endless(Operation::Send, 200).await;
}

/// A download has a limit of its own, which is what a picture may have.
#[tokio::test(flavor = "multi_thread")]
async fn downloads_without_end() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    worker.set("LONGSHORE_MAX_BYTES", "1MiB");
    worker.proxy.fault(on([Operation::GetObject]).key("long.jpg"), Fault::Endless(200));
    let long = scenario.upload("long.jpg").await;
    scenario.ledger.expect(long.number, Expected::Rejected("too-large"));
    scenario.upload("short.jpg").await;
    worker.started().await;
    scenario.until_empty(PATIENCE).await;
    let taken = scenario.log.exchanges().iter().map(|e| e.sent).max();
    assert!(taken.is_some_and(|taken| taken > 1 << 20 && taken < MOST_TAKEN), "{taken:?} bytes were taken");
    let peak = worker.footprint().peak_rss_kib >> 10;
    assert!(peak < MOST_MIB, "{peak} MiB of memory");
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_without_end() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    let agent = Agent::start().await;
    agent.role(Role::Endless);
    worker.unset("AWS_ACCESS_KEY_ID").unset("AWS_SECRET_ACCESS_KEY");
    worker.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/role", agent.uri));
    scenario.upload_many("c", 3).await;
    worker.started().await;
    scenario.until("requests for credentials", PATIENCE, || agent.endless().len() >= 4).await;
    let unready = async || worker.ask("/readyz").await.filter(|(status, _)| *status == 503);
    eventually("word that it is not ready", PATIENCE, unready).await;
    agent.role(Role::Lasts(Duration::from_secs(3600)));
    scenario.until_empty(PATIENCE).await;
    let taken = agent.endless();
    assert!(taken.iter().all(|taken| *taken < MOST_TAKEN), "{taken:?} bytes were taken");
    let peak = worker.footprint().peak_rss_kib >> 10;
    assert!(peak < MOST_MIB, "{peak} MiB of memory");
    scenario.finish().await;
}
