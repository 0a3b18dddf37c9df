//! SQS in trouble: lost replies, partial failures, throttling, outages.

use crate::harness::scenario::eventually;
use crate::harness::{Expected, Fault, Operation, PATIENCE, Scenario, lasting, on};
use aws_sdk_sqs::types::QueueAttributeName;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How often each message was received, as SQS counts.
fn most_receives(scenario: &Scenario) -> u64 {
    let exchanges = scenario.log.exchanges();
    exchanges.iter().flat_map(|e| &e.messages).map(|m| m.receive_count).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn receive_reply_lost() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    scenario.upload_many("l", 8).await;
    let lost = worker.proxy.fault(on([Operation::Receive]).nth(..=1), Fault::AckLost);
    worker.started().await;
    let log = scenario.log.clone();
    scenario.finish().await;
    assert_eq!(lost.applied(), 1);
    assert!(log.count(|e| !e.reached && !e.messages.is_empty()) == 1, "messages went down with the reply");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_twice_in_one_receive() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    scenario.upload_many("d", 3).await;
    worker.proxy.fault(on([Operation::Receive]).nth(..=1), Fault::FirstTwice);
    worker.started().await;
    let log = scenario.log.clone();
    scenario.finish().await;
    let reads = log.count(|e| e.call.operation == Operation::GetObject);
    assert_eq!(reads, 3, "its job is not started twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_batch_partial_failures() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    let every_other = |n: usize| n % 2 == 1;
    let odd = Fault::FailEntries(Arc::new(every_other), "InternalError");
    worker.proxy.fault(on([Operation::Delete]).nth(..=4), odd);
    let all = Fault::FailEntries(Arc::new(|_| true), "InternalError");
    worker.proxy.fault(on([Operation::Delete]).nth(2..=3), all);
    scenario.upload_many("f", 40).await;
    worker.started().await;
    scenario.until_empty(PATIENCE).await;
    assert_eq!(most_receives(&scenario), 1, "nothing is received again");
    // That only the failed entries are sent again is one of the invariants.
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_reply_lost() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    scenario.upload_many("d", 8).await;
    // As its job begins, its receipt handle is known.
    let (log, spoilt) = (scenario.log.clone(), Arc::downgrade(&worker));
    let found: Arc<OnceLock<String>> = Arc::default();
    let told = Arc::clone(&found);
    let begins = Fault::Before(Arc::new(move || {
        let exchanges = log.exchanges();
        let mut messages = exchanges.iter().flat_map(|e| &e.messages);
        let receipt = messages.find(|m| m.body.contains("d3.jpg")).expect("it was received").receipt.clone();
        let worker = spoilt.upgrade().expect("the scenario goes on");
        worker.proxy.fault(on([Operation::Delete]).receipt(&receipt).nth(..=2), Fault::AckLost);
        told.set(receipt).expect("it begins once");
    }));
    worker.proxy.fault(on([Operation::GetObject]).key("d3.jpg"), begins);
    worker.started().await;
    let log = scenario.log.clone();
    scenario.finish().await;
    let exchanges = log.exchanges();
    let deletes = exchanges.iter().filter(|e| e.call.operation == Operation::Delete);
    let told: Vec<bool> = deletes
        .filter(|e| e.call.entries.iter().any(|entry| Some(&entry.receipt) == found.get()))
        .map(|e| e.reached)
        .collect();
    assert_eq!(told, [false, false, true], "a delete is one when SQS has said so");
    assert_eq!(exchanges.iter().flat_map(|e| &e.messages).count(), 8, "in one delivery each");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_down_for_a_minute() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    let down = worker.proxy.fault(on([Operation::Delete]), Fault::Refuse(503, "ServiceUnavailable"));
    scenario.upload_many("d", 60).await;
    worker.started().await;
    // A clock and not a condition: the length of the outage is what this is about.
    tokio::time::sleep(lasting(60)).await;
    let (visible, hidden) = scenario.depth().await;
    assert_eq!(visible + hidden, 60, "nothing is deleted, nothing lost");
    assert!(visible >= 60 - 14, "receiving stops at the buffer's limit: {hidden} are held");
    down.end();
    scenario.until_empty(PATIENCE).await;
    assert_eq!(most_receives(&scenario), 1, "renewals held every lease");
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_and_failing_renewals() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    // Two and a half visibility timeouts for each download.
    worker.proxy.fault(on([Operation::GetObject]), Fault::Delay(Duration::from_secs(15)));
    let turn = AtomicU64::new(0);
    let three_of_four =
        on([Operation::ChangeVisibility]).when(move |_| turn.fetch_add(1, Ordering::SeqCst) % 4 != 3);
    let failing = worker.proxy.fault(three_of_four, Fault::Refuse(400, "RequestThrottled"));
    scenario.upload_many("t", 4).await;
    worker.started().await;
    scenario.until_empty(Duration::from_secs(40)).await;
    assert!(failing.applied() >= 6, "renewals were refused {} times", failing.applied());
    assert_eq!(most_receives(&scenario), 1, "every lease held");
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renewal_batch_partial_failures() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    // One and a half visibility timeouts for each download.
    worker.proxy.fault(on([Operation::GetObject]), Fault::Delay(Duration::from_secs(9)));
    let but_the_first = Fault::FailEntries(Arc::new(|n| n > 0), "InternalError");
    worker.proxy.fault(on([Operation::ChangeVisibility]).when(|call| call.entries.len() > 1), but_the_first);
    scenario.upload_many("p", 4).await;
    worker.started().await;
    scenario.until_empty(PATIENCE).await;
    let partly = scenario.log.count(|e| {
        let renews = e.call.operation == Operation::ChangeVisibility;
        renews && (1..e.call.entries.len()).contains(&e.done.len())
    });
    assert!(partly >= 1, "no renewal was done in part");
    assert_eq!(most_receives(&scenario), 1, "every lease held");
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_deleted_and_made_again() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    scenario.upload("before.jpg").await;
    worker.started().await;
    scenario.until_empty(PATIENCE).await;
    let stage = &scenario.stage;
    let policy = stage.attribute(&stage.queue, QueueAttributeName::RedrivePolicy).await.unwrap();
    let name = stage.queue.rsplit('/').next().unwrap();
    stage.world.sqs.delete_queue().queue_url(&stage.queue).send().await.unwrap();
    let refused =
        || scenario.log.count(|e| e.call.operation == Operation::Receive && e.told == Some(400)) >= 2;
    scenario.until("receives from a queue that is gone", PATIENCE, refused).await;
    let unready = async || worker.ask("/readyz").await.filter(|(status, _)| *status == 503);
    eventually("word that it is not ready", PATIENCE, unready).await;
    let again = stage.world.sqs.create_queue().queue_name(name);
    let again = again.attributes(QueueAttributeName::RedrivePolicy, policy).send().await.unwrap();
    assert_eq!(again.queue_url.as_deref(), Some(stage.queue.as_str()));
    scenario.upload("after.jpg").await;
    scenario.until_empty(Duration::from_secs(31)).await;
    assert_eq!(worker.proxy.life(), 1, "without a restart");
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redelivered_while_it_runs() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    worker.proxy.fault(on([Operation::GetObject]), Fault::Delay(Duration::from_secs(11)));
    let unrenewed =
        worker.proxy.fault(on([Operation::ChangeVisibility]), Fault::Refuse(500, "InternalError"));
    scenario.upload("r.jpg").await;
    worker.started().await;
    let again = || most_receives(&scenario) == 2;
    scenario.until("a second delivery to the same worker", Duration::from_secs(20), again).await;
    unrenewed.end();
    let log = scenario.log.clone();
    scenario.finish().await;
    let exchanges = log.exchanges();
    assert_eq!(exchanges.iter().filter(|e| e.call.operation == Operation::GetObject).count(), 1, "one job");
    let newest = exchanges.iter().flat_map(|e| &e.messages).max_by_key(|m| m.receive_count).unwrap();
    let deletes: Vec<&str> = exchanges
        .iter()
        .filter(|e| e.call.operation == Operation::Delete)
        .flat_map(|e| e.call.entries.iter().map(|entry| entry.receipt.as_str()))
        .collect();
    assert_eq!(deletes, [newest.receipt.as_str()], "deleted with the newest handle, and with no other");
}

/// Another worker has done it and deleted it: nothing is said of it any more, and no delete is claimed.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_lost_to_another() {
    let scenario = Scenario::new().await;
    let (a, b) = (scenario.worker("a").await, scenario.worker("b").await);
    // With its only place taken, it cannot be the one that receives the message again.
    a.set("LONGSHORE_CONCURRENCY", "1");
    let slow = a.proxy.fault(on([Operation::GetObject]), Fault::Delay(Duration::from_secs(18)));
    let unrenewed = a.proxy.fault(on([Operation::ChangeVisibility]), Fault::Refuse(500, "InternalError"));
    scenario.upload("l.jpg").await;
    a.started().await;
    scenario.until("a slow download", PATIENCE, || slow.applied() == 1).await;
    b.started().await;
    scenario.until_empty(PATIENCE).await;
    unrenewed.end();
    let told = a.idle(PATIENCE).await.unwrap();
    let count = |name: &str| told[&crate::harness::metrics::counter(name)];
    assert_eq!((count("ownership_lost"), count("deleted"), count("received")), (1.0, 0.0, 1.0));
    let log = scenario.log.clone();
    scenario.finish().await;
    let deletes = |name: &str| log.count(|e| e.worker == name && e.call.operation == Operation::Delete);
    assert_eq!((deletes("a"), deletes("b")), (0, 1), "who has done it deletes it");
}

/// The identity of the counters would hold if nothing was ever counted.
#[tokio::test(flavor = "multi_thread")]
async fn counters_tell_what_happened() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    // As often as the SDK tries: one try of the worker's.
    let again = on([Operation::GetObject]).key("again.jpg").nth(..=3);
    worker.proxy.fault(again, Fault::Refuse(500, "InternalError"));
    scenario.upload_many("c", 5).await;
    scenario.upload("again.jpg").await;
    let gone = scenario.upload("gone.jpg").await;
    scenario.delete_source(&gone).await;
    for n in 0..2 {
        let bytes = b"no picture".to_vec();
        scenario.upload_bytes(&format!("bad{n}.jpg"), bytes, Expected::Rejected("not-an-image")).await;
    }
    worker.started().await;
    scenario.until_empty(PATIENCE).await;
    worker.idle(PATIENCE).await.unwrap();
    let (_, text) = worker.ask("/metrics").await.unwrap();
    for (series, wanted) in [
        ("messaging_client_consumed_messages_total", 10),
        ("longshore_messages_deleted_total", 7),
        ("longshore_messages_dead_lettered_total", 2),
        ("longshore_messages_retried_total", 1),
        ("longshore_messages_ownership_lost_total", 0),
        ("longshore_messages_redelivered_total", 0),
        ("longshore_messages_in_flight", 0),
    ] {
        let told = crate::harness::metrics::sums(&text)[series];
        assert_eq!(told, f64::from(wanted), "{series} in\n{text}");
    }
    for line in [
        r#"longshore_records_total{outcome="done"} 6"#,
        r#"longshore_records_total{outcome="gone"} 1"#,
        r#"longshore_records_total{outcome="retry"} 1"#,
        r#"longshore_records_total{outcome="rejected",reason="not-an-image"} 2"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn back_off_ladder_across_a_restart() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    worker.proxy.fault(on([Operation::GetObject]).nth(..=3), Fault::Refuse(403, "AccessDenied"));
    scenario.upload("l.jpg").await;
    worker.started().await;
    let steps = |scenario: &Scenario| -> Vec<u64> {
        let exchanges = scenario.log.exchanges();
        let changes = exchanges.iter().filter(|e| e.call.operation == Operation::ChangeVisibility);
        changes.flat_map(|e| e.call.entries.iter().filter_map(|entry| entry.visibility)).collect()
    };
    for ladder in 1..=3 {
        scenario.until("a step", Duration::from_secs(90), || steps(&scenario).len() >= ladder).await;
        // The count is SQS's, so a new process goes on where the old one was.
        worker.stop().await;
        worker.started().await;
    }
    let found = steps(&scenario);
    // A source that is denied waits as if it had been delivered twice more.
    for (step, range) in found.iter().zip([10..=20, 20..=40, 40..=80]) {
        assert!(range.contains(step), "{found:?}");
    }
    scenario.until_empty(Duration::from_secs(100)).await;
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letter_queue_down() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    let down = worker.proxy.fault(on([Operation::Send]), Fault::Refuse(500, "InternalError"));
    scenario.upload_bytes("bad.jpg", b"no picture".to_vec(), Expected::Rejected("not-an-image")).await;
    scenario.upload("good.jpg").await;
    worker.started().await;
    scenario.until("an attempt", Duration::from_secs(20), || down.applied() >= 3).await;
    let (visible, hidden) = scenario.depth().await;
    assert!(visible + hidden >= 1, "never deleted before the dead-letter queue has it");
    down.end();
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_dead_letter_and_delete() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    worker.proxy.fault(on([Operation::Send]).nth(..=1), Fault::After(worker.killer()));
    scenario.upload_bytes("bad.jpg", b"no picture".to_vec(), Expected::Rejected("not-an-image")).await;
    worker.started().await;
    scenario.until("its death", Duration::from_secs(20), || !worker.running()).await;
    assert_eq!(scenario.stage.depth(&scenario.stage.dlq).await.0, 1);
    worker.started().await;
    scenario.finish().await;
}
