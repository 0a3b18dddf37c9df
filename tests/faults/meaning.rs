//! What events mean: order, duplicates, versions, things that are gone.

use crate::harness::picture::{self, MADE};
use crate::harness::scenario::eventually;
use crate::harness::{Expected, Fate, Fault, Operation, PATIENCE, Scenario, on};
use std::time::Duration;

/// The upload that both renditions of a key show now.
async fn shown(scenario: &Scenario, key: &str) -> u32 {
    let mut numbers = Vec::new();
    for (name, size) in MADE {
        let stored = scenario.stage.output(&format!("{name}/{key}")).await;
        numbers.push(picture::read(&stored.bytes, size).unwrap());
    }
    assert_eq!(numbers[0], numbers[1], "renditions of {key}");
    numbers[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_order_versions() {
    let scenario = Scenario::new().await;
    scenario.version_the_input().await;
    let mut versions = Vec::new();
    for _ in 0..4 {
        versions.push(scenario.put("v.jpg").await);
    }
    let worker = scenario.worker("w").await;
    worker.started().await;
    for n in [2, 0, 3, 1, 0] {
        scenario.announce(&versions[n]).await;
        scenario.until_empty(PATIENCE).await;
        // Nothing of what one life has learned may be needed by the next.
        worker.stop().await;
        worker.started().await;
    }
    assert_eq!(shown(&scenario, "v.jpg").await, versions[3].number);
    let fates = scenario.finish().await;
    assert!(fates[..3].iter().all(|(_, fate)| *fate == Fate::Superseded { by: versions[3].number }));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_race_on_two_versions() {
    let scenario = Scenario::new().await;
    scenario.version_the_input().await;
    let (a, b) = (scenario.worker("a").await, scenario.worker("b").await);
    for worker in [&a, &b] {
        // Both have looked before either writes.
        worker
            .proxy
            .fault(on([Operation::PutObject]).sometimes(0.5), Fault::Delay(Duration::from_millis(60)));
        worker
            .proxy
            .fault(on([Operation::GetObject]).sometimes(0.5), Fault::Delay(Duration::from_millis(40)));
    }
    let mut announced = Vec::new();
    for n in 0..25 {
        let key = format!("r{n}.jpg");
        let (old, new) = (scenario.put(&key).await, scenario.put(&key).await);
        announced.push(if n % 2 == 0 { [new, old] } else { [old, new] });
    }
    for pair in &announced {
        scenario.announce(&pair[0]).await;
        scenario.announce(&pair[1]).await;
    }
    a.started().await;
    b.started().await;
    let log = scenario.log.clone();
    scenario.finish().await;
    let raced = log.count(|e| e.call.operation == Operation::PutObject && e.status == Some(412));
    assert!(raced > 0, "no two writers ever met");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_copies_on_three_workers() {
    let scenario = Scenario::new().await;
    let upload = scenario.upload("c.jpg").await;
    for _ in 1..20 {
        scenario.announce(&upload).await;
    }
    for name in ["a", "b", "c"] {
        scenario.worker(name).await.start();
    }
    let log = scenario.log.clone();
    scenario.finish().await;
    let written = log.count(|e| e.call.operation == Operation::PutObject && e.took_effect());
    assert_eq!(written, MADE.len(), "each output is written once");
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_between_event_and_download() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    let late =
        worker.proxy.fault(on([Operation::GetObject]).nth(..=1), Fault::Delay(Duration::from_millis(500)));
    let first = scenario.upload("r.jpg").await;
    worker.started().await;
    scenario.until("download", Duration::from_secs(20), || late.applied() == 1).await;
    let second = scenario.put("r.jpg").await;
    scenario.until_empty(PATIENCE).await;
    assert_eq!(shown(&scenario, "r.jpg").await, second.number, "what was read, not what was announced");
    // Its own event finds the work done; the old one again does no harm, on a worker that knows nothing.
    scenario.announce(&second).await;
    scenario.until_empty(PATIENCE).await;
    worker.stop().await;
    worker.started().await;
    scenario.announce(&first).await;
    scenario.until_empty(PATIENCE).await;
    assert_eq!(shown(&scenario, "r.jpg").await, second.number);
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versioned_get() {
    let scenario = Scenario::new().await;
    scenario.version_the_input().await;
    let (old, new) = (scenario.put("g.jpg").await, scenario.put("g.jpg").await);
    scenario.worker("w").await.started().await;
    scenario.announce(&old).await;
    scenario.until_empty(PATIENCE).await;
    assert_eq!(shown(&scenario, "g.jpg").await, old.number, "the version of the event, not the newest");
    scenario.announce(&new).await;
    scenario.until_empty(PATIENCE).await;
    assert_eq!(shown(&scenario, "g.jpg").await, new.number);
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_at_source() {
    let scenario = Scenario::new().await;
    let upload = scenario.upload("gone.jpg").await;
    scenario.delete_source(&upload).await;
    scenario.upload("stays.jpg").await;
    scenario.worker("w").await.started().await;
    let log = scenario.log.clone();
    let fates = scenario.finish().await;
    assert_eq!(fates[0].1, Fate::Gone);
    let deliveries = log.exchanges().iter().flat_map(|e| e.messages.clone()).count();
    assert_eq!(deliveries, 2, "in one delivery each");
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_on_one_object() {
    let scenario = Scenario::with_receives(5).await;
    let worker = scenario.worker("w").await;
    let denied = on([Operation::GetObject]).key("secret.jpg").nth(..=1);
    worker.proxy.fault(denied, Fault::Refuse(403, "AccessDenied"));
    let secret = scenario.upload("secret.jpg").await;
    scenario.upload_many("open", 10).await;
    worker.started().await;
    scenario.until("a refusal", Duration::from_secs(20), || worker.count_lines("AccessDenied") > 0).await;
    for n in 0..10 {
        shown(&scenario, &format!("open{n}.jpg")).await;
    }
    // Without s3:ListBucket a missing object is denied, too: nobody may take it for gone.
    let refused = async || (scenario.depth().await == (0, 1)).then_some(());
    eventually("queue with the refused message alone, hidden", Duration::from_secs(2), refused).await;
    scenario.until_empty(PATIENCE).await;
    assert_eq!(shown(&scenario, "secret.jpg").await, secret.number);
    scenario.finish().await;
}

/// What KMS refuses is neither missing nor hopeless: it comes back, and the log names the right that it takes.
#[tokio::test(flavor = "multi_thread")]
async fn one_object_whose_key_is_refused() {
    const DENIED: &str = "User: arn:aws:sts::000000000000:assumed-role/worker/task is not authorized to perform: \
        kms:Decrypt on the resource associated with this ciphertext because no identity-based policy allows the \
        kms:Decrypt action";
    for (fault, word) in [
        (Fault::RefuseSaying(403, "AccessDenied", DENIED), "allow kms:Decrypt on the key"),
        (Fault::Refuse(400, "KMS.DisabledException"), "mend the key that the object is encrypted with"),
        (Fault::Refuse(400, "KMS.ThrottlingException"), "KMS.ThrottlingException"),
    ] {
        let scenario = Scenario::with_receives(5).await;
        let worker = scenario.worker("w").await;
        let refused = worker.proxy.fault(on([Operation::GetObject]).key("secret.jpg"), fault);
        scenario.upload("secret.jpg").await;
        scenario.upload_many("open", 10).await;
        worker.started().await;
        let alone = async || (scenario.depth().await == (0, 1)).then_some(());
        eventually("queue with the refused message alone, hidden", PATIENCE, alone).await;
        scenario.until("a refusal", PATIENCE, || worker.count_lines(word) > 0).await;
        let ready = worker.ask("/readyz").await;
        assert!(ready.as_ref().is_some_and(|(status, _)| *status == 200), "the others work: {ready:?}");
        refused.end();
        scenario.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_picture_takes_nobody_along() {
    let scenario = Scenario::with_receives(5).await;
    let mut cut = picture::numbered_at(1, 4);
    cut.truncate(cut.len() / 2);
    for n in 0..4 {
        scenario.upload(&format!("good{n}.jpg")).await;
        let reason = if n % 2 == 0 { "truncated" } else { "not-an-image" };
        let bytes = if n % 2 == 0 { cut.clone() } else { b"words, not pixels".to_vec() };
        scenario.upload_bytes(&format!("bad{n}.jpg"), bytes, Expected::Rejected(reason)).await;
    }
    scenario.worker("w").await.started().await;
    scenario.finish().await;
}
