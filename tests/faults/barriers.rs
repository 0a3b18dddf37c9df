//! A configuration that lets nothing through: the worker stops receiving, says so, and goes on by
//! itself when it is mended. Nothing moves to the dead-letter queue for it.

use crate::harness::scenario::eventually;
use crate::harness::{Fault, Operation, PATIENCE, Scenario, lasting, on};
use std::time::Duration;

/// `remedy`: what its log is to name.
async fn nothing_passes(operation: Operation, fault: Fault, remedy: &str) {
    let scenario = Scenario::with_receives(5).await;
    let worker = scenario.worker("w").await;
    let barrier = worker.proxy.fault(on([operation]), fault);
    scenario.upload_many("b", 40).await;
    worker.started().await;
    let unready = async || worker.ask("/readyz").await.filter(|(status, _)| *status == 503);
    eventually("word that it is not ready", Duration::from_secs(15), unready).await;
    // A clock and not a condition: the length of the trouble is what this is about.
    tokio::time::sleep(lasting(60)).await;
    let exchanges = scenario.log.exchanges();
    let most = exchanges.iter().flat_map(|e| &e.messages).map(|m| m.receive_count).max();
    assert!(most <= Some(2), "receive counts climb: {most:?}");
    let touched = exchanges.iter().map(|e| e.messages.len()).sum::<usize>();
    assert!(touched <= 12, "{touched} deliveries, though nothing can pass");
    let tries = exchanges.iter().filter(|e| e.call.operation == operation).count();
    assert!(tries <= 20 + usize::try_from(lasting(60).as_secs()).unwrap(), "{tries} tries");
    assert_eq!(scenario.stage.depth(&scenario.stage.dlq).await, (0, 0), "dead letters");
    let live = worker.ask("/healthz").await;
    assert!(live.as_ref().is_some_and(|(status, _)| *status == 200), "a restart would not mend it: {live:?}");
    assert!(worker.count_lines(remedy) > 0, "{remedy} in {}", worker.tail());
    barrier.end();
    scenario.until_empty(PATIENCE).await;
    let ready = async || worker.ask("/readyz").await.filter(|(status, _)| *status == 200);
    eventually("word that it is ready again", Duration::from_secs(15), ready).await;
    scenario.finish().await;
}

const DENIED: Fault = Fault::Refuse(403, "AccessDenied");
const MISSING: Fault = Fault::Refuse(404, "NoSuchBucket");

#[tokio::test(flavor = "multi_thread")]
async fn denied_on_every_source() {
    nothing_passes(Operation::GetObject, DENIED, "allow s3:GetObject").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_such_input_bucket() {
    nothing_passes(Operation::GetObject, MISSING, "make the bucket").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_on_the_output_bucket() {
    nothing_passes(Operation::PutObject, DENIED, "allow s3:PutObject").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_such_output_bucket() {
    nothing_passes(Operation::PutObject, MISSING, "make the bucket").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_on_the_key_of_the_output_bucket() {
    const WORDS: &str = "User: arn:aws:sts::000000000000:assumed-role/worker/task is not authorized to perform: \
        kms:GenerateDataKey on resource: arn:aws:kms:us-east-1:000000000000:key/4711 because no identity-based policy \
        allows the kms:GenerateDataKey action";
    let denied = Fault::RefuseSaying(403, "AccessDenied", WORDS);
    nothing_passes(Operation::PutObject, denied, "allow kms:GenerateDataKey and kms:Decrypt").await;
}

/// Few messages, as few as open the breaker: they are held while it lasts.
async fn held_from(uploads: usize, status: u16, code: &'static str) {
    let scenario = Scenario::with_receives(3).await;
    let worker = scenario.worker("w").await;
    worker.set("LONGSHORE_INPUT_BUCKETS", &scenario.stage.input);
    let barrier = worker.proxy.fault(on([Operation::GetObject]), Fault::Refuse(status, code));
    scenario.upload_many("f", uploads).await;
    worker.started().await;
    let tries = u64::try_from(uploads).unwrap() + 3;
    scenario.until("tries of what is held", PATIENCE, || barrier.applied() >= tries).await;
    let unready = async || worker.ask("/readyz").await.filter(|(status, _)| *status == 503);
    eventually("word that it is not ready", Duration::from_secs(15), unready).await;
    let exchanges = scenario.log.exchanges();
    let deliveries = exchanges.iter().map(|e| e.messages.len()).sum::<usize>();
    // Those before the last that it takes to open have gone back.
    assert!(deliveries < 2 * uploads, "{deliveries} deliveries of {uploads}");
    assert_eq!(scenario.stage.depth(&scenario.stage.dlq).await, (0, 0), "dead letters");
    barrier.end();
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_picture_is_enough_for_a_bucket_of_ours_that_is_gone() {
    held_from(1, 404, "NoSuchBucket").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_disabled() {
    held_from(3, 400, "KMS.DisabledException").await;
}
