//! S3 in trouble: storms, damaged bodies, lost replies.

use crate::harness::picture::MADE;
use crate::harness::{Fault, Operation, Scenario, lasting, on, on_s3};
use crate::runs::mixed_errors;
use std::time::{Duration, Instant};

/// A message that failed six times waits for up to 160 s.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn slow_down_storm() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    let storm = worker.proxy.fault(on_s3(), Fault::Refuse(503, "SlowDown"));
    scenario.upload_many("s", 30).await;
    worker.started().await;
    // A clock and not a condition: the length of the storm is what this is about.
    tokio::time::sleep(lasting(30)).await;
    assert!(storm.applied() > 0 && scenario.stage.output_keys().await.is_empty());
    storm.end();
    mixed_errors(&worker, 0.3);
    scenario.upload_many("t", 30).await;
    finish_healed(scenario, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mixed_s3_errors() {
    let scenario = Scenario::new().await;
    let (a, b) = (scenario.worker("a").await, scenario.worker("b").await);
    mixed_errors(&a, 0.3);
    mixed_errors(&b, 0.3);
    a.started().await;
    b.started().await;
    scenario.upload_many("m", 150).await;
    finish_healed(scenario, 140).await;
}

/// Errors until so many uploads are stored, then none. Each failure doubles a message's back-off: with
/// errors to the end, one unlucky message could take longer than any limit.
async fn finish_healed(scenario: Scenario, stored: usize) {
    let began = Instant::now();
    // Each has two renditions.
    while scenario.stage.output_keys().await.len() < 2 * stored {
        assert!(began.elapsed() < PATIENCE, "{stored} uploads should have been stored by now");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for worker in scenario.workers() {
        worker.proxy.heal();
    }
    scenario.finish_within(PATIENCE).await;
}

/// The first two downloads are spoilt, the third is good: one delivery is enough.
async fn spoilt_twice(fault: Fault) {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    let spoilt = worker.proxy.fault(on([Operation::GetObject]).nth(..=2), fault);
    scenario.upload("b.jpg").await;
    worker.started().await;
    let log = scenario.log.clone();
    scenario.finish().await;
    assert_eq!(spoilt.applied(), 2);
    let deliveries = log.exchanges().iter().flat_map(|e| e.messages.clone()).count();
    assert_eq!(deliveries, 1, "read again, not received again");
    assert_eq!(log.count(|e| e.call.operation == Operation::GetObject), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_bodies() {
    spoilt_twice(Fault::Truncate(200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bodies() {
    // In the entropy-coded data: only a checksum can tell.
    spoilt_twice(Fault::Flip(700)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_bodies() {
    spoilt_twice(Fault::Stall(200, Duration::from_secs(120))).await;
}

/// Slower than a lease lasts, but it comes: it is waited for, and nobody else gets the message meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    let upload = scenario.put("slow.jpg").await;
    let bytes = scenario.stage.get(&scenario.stage.input, "slow.jpg").await.unwrap().bytes.len();
    let visibility = usize::try_from(worker.visibility()).unwrap();
    let slow = Fault::Bandwidth(bytes / (2 * visibility));
    let slow = worker.proxy.fault(on([Operation::GetObject]), slow);
    scenario.announce(&upload).await;
    worker.started().await;
    let log = scenario.log.clone();
    scenario.finish().await;
    assert_eq!(slow.applied(), 1, "read once");
    let read = log.find(|e| e.call.operation == Operation::GetObject).unwrap();
    let took = read.ended.unwrap().saturating_sub(read.at).as_secs();
    assert!(took > worker.visibility(), "it took {took} s");
    let deliveries = log.exchanges().iter().flat_map(|e| e.messages.clone()).count();
    assert_eq!(deliveries, 1, "in one delivery");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_stay_truncated_are_never_rejected() {
    let scenario = Scenario::with_receives(5).await;
    let worker = scenario.worker("w").await;
    let cut = worker.proxy.fault(on([Operation::GetObject]), Fault::Truncate(400));
    scenario.upload("b.jpg").await;
    worker.started().await;
    scenario.until("a second delivery", Duration::from_secs(30), || cut.applied() > 4).await;
    cut.end();
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn put_reply_lost_then_409_then_own_412() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    let put = |n| on([Operation::PutObject]).key("resized/p.jpg").nth(n..=n);
    worker.proxy.fault(put(1), Fault::AckLost);
    // The rule before has seen the first call, so each of these counts from the second on.
    worker.proxy.fault(put(1), Fault::Refuse(409, "ConditionalRequestConflict"));
    scenario.upload("p.jpg").await;
    worker.started().await;
    let log = scenario.log.clone();
    scenario.finish().await;
    let exchanges = log.exchanges();
    let puts = exchanges
        .iter()
        .filter(|e| e.call.operation == Operation::PutObject && e.call.key == "resized/p.jpg");
    let told: Vec<(Option<u16>, Option<u16>)> = puts.map(|e| (e.status, e.told)).collect();
    assert_eq!(told, [(Some(200), None), (None, Some(409)), (Some(412), Some(412))]);
    let deliveries = exchanges.iter().flat_map(|e| &e.messages).count();
    assert_eq!(deliveries, 1, "all within one delivery");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_renditions() {
    let scenario = Scenario::new().await;
    let (a, b) = (scenario.worker("a").await, scenario.worker("b").await);
    let first = on([Operation::PutObject]).key(format!("{}/k.jpg", MADE[0].0));
    a.proxy.fault(first, Fault::After(a.killer()));
    scenario.upload("k.jpg").await;
    a.started().await;
    scenario.until("the death of a", Duration::from_secs(20), || !a.running()).await;
    assert_eq!(scenario.stage.output_keys().await.len(), 1, "one rendition of two");
    b.started().await;
    let log = scenario.log.clone();
    scenario.finish().await;
    let written = log.count(|e| e.call.operation == Operation::PutObject && e.took_effect());
    assert_eq!(written, MADE.len(), "what was there is not written again");
}
