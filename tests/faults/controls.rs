//! The harness itself: each of its checks is shown a crime, and must see it.

use crate::harness::picture::{self, MADE};
use crate::harness::scenario::{eventually, nowhere};
use crate::harness::{Expected, Fate, Fault, Operation, PATIENCE, Scenario, Upload, on};
use crate::resources;
use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry;
use futures_util::future::join_all;
use std::time::Duration;

/// What the checks say, without a panic.
async fn broken(scenario: &Scenario) -> String {
    scenario.judge(Vec::new()).await.1.join("\n")
}

/// Stores what a worker would, or would not.
async fn store(scenario: &Scenario, key: &str, shown: u32) {
    for (name, size) in MADE {
        let source = image::load_from_memory(&picture::numbered(shown)).unwrap();
        let made = source.resize_exact(size.0, size.1, image::imageops::FilterType::Triangle).into_rgb8();
        let put =
            scenario.stage.world.s3.put_object().bucket(&scenario.stage.output).key(format!("{name}/{key}"));
        put.body(crate::common::pictures::jpeg(&made).into()).send().await.unwrap();
    }
}

/// Takes the next message through a worker's proxy, as that worker, and gives its receipt.
async fn take(scenario: &Scenario, client: &aws_sdk_sqs::Client) -> String {
    let receive = client.receive_message().queue_url(&scenario.stage.queue).visibility_timeout(6);
    let receive = receive.message_system_attribute_names("All".into());
    receive.send().await.unwrap().messages.unwrap()[0].receipt_handle.clone().unwrap()
}

async fn delete(scenario: &Scenario, client: &aws_sdk_sqs::Client, receipt: &str) {
    client.delete_message().queue_url(&scenario.stage.queue).receipt_handle(receipt).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_upload_is_noticed_with_its_story() {
    let scenario = Scenario::new().await;
    let rogue = scenario.worker("rogue").await;
    let client = crate::common::connect(rogue.proxy.endpoint.clone(), None).sqs;
    scenario.upload("lost.jpg").await;
    let receipt = take(&scenario, &client).await;
    delete(&scenario, &client, &receipt).await;
    let told = broken(&scenario).await;
    assert!(told.contains("Lost") && told.contains("resized was not stored before"), "{told}");
    let story = scenario.epilogue("lost.jpg");
    assert!(story.contains("Receive") && story.contains("Delete"), "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unexpected_dead_letter_is_noticed() {
    let scenario = Scenario::new().await;
    let upload = scenario.upload_bytes("bad.jpg", b"no picture".to_vec(), Expected::Picture).await;
    scenario.worker("w").await.started().await;
    scenario.until_empty(PATIENCE).await;
    let (fates, _, _) = scenario.judge(Vec::new()).await;
    assert_eq!(fates[0].1, Fate::Rejected("not-an-image".into()));
    assert!(broken(&scenario).await.contains(&upload.key));
}

#[tokio::test(flavor = "multi_thread")]
async fn torn_strange_and_backward_outputs_are_noticed() {
    let scenario = Scenario::new().await;
    let [old, new]: [Upload; 2] = [scenario.put("b.jpg").await, scenario.put("b.jpg").await];
    let seen = async |what: &str| {
        let told = async || {
            let told = broken(&scenario).await;
            told.contains(what).then_some(())
        };
        eventually(what, PATIENCE, told).await;
    };
    store(&scenario, "b.jpg", new.number).await;
    assert_eq!(broken(&scenario).await, "");
    store(&scenario, "b.jpg", old.number).await;
    seen("went back to upload").await;
    store(&scenario, "b.jpg", 4711).await;
    seen("shows 4711").await;
    let torn = picture::numbered(7)[..500].to_vec();
    let put = scenario.stage.world.s3.put_object().bucket(&scenario.stage.output).key("thumbs/b.jpg");
    put.body(torn.into()).send().await.unwrap();
    seen("not a whole JPEG").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn meddling_after_the_end_and_hoarding_are_noticed() {
    let scenario = Scenario::new().await;
    let rogue = scenario.worker("rogue").await;
    rogue.set("LONGSHORE_CONCURRENCY", "1");
    let client = crate::common::connect(rogue.proxy.endpoint.clone(), None).sqs;
    scenario.upload_many("m", 14).await;
    let mut receipts = Vec::new();
    for _ in 0..14 {
        receipts.push(take(&scenario, &client).await);
    }
    let release = |seconds: i32| {
        let change = client.change_message_visibility().queue_url(&scenario.stage.queue);
        change.receipt_handle(&receipts[0]).visibility_timeout(seconds).send()
    };
    release(0).await.unwrap();
    // A renewal after a release: refused by some servers, taken by others.
    let _ = release(6).await;
    let told = broken(&scenario).await;
    assert!(told.contains("though the message was let go"), "{told}");
    assert!(told.contains("messages in work") && told.contains("messages in hand"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_with_full_hands_is_noticed() {
    let scenario = Scenario::new().await;
    let rogue = scenario.worker("rogue").await;
    let client = crate::common::connect(rogue.proxy.endpoint.clone(), None).sqs;
    scenario.upload_many("h", 2).await;
    let released = take(&scenario, &client).await;
    let change = client.change_message_visibility().queue_url(&scenario.stage.queue);
    change.receipt_handle(&released).visibility_timeout(0).send().await.unwrap();
    rogue.note_exit().await;
    let told = broken(&scenario).await;
    assert!(!told.contains("ended with 0"), "it has let go of all that it took: {told}");

    // The next life takes one more, long after it was told to stop, and keeps it.
    rogue.proxy.next_life();
    // What comes over a connection belongs to the life that opened it.
    let client = crate::common::connect(rogue.proxy.endpoint.clone(), None).sqs;
    rogue.terminate();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    take(&scenario, &client).await;
    rogue.farewell(r#"{"message": "stopped", "retried": 0, "still_held": 0}"#);
    rogue.note_exit().await;
    let told = broken(&scenario).await;
    for crime in ["still held", "1 messages are hidden", "receives at", "did not give back"] {
        assert!(told.contains(crime), "{crime} in {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_output_after_a_newer_one_is_noticed() {
    let scenario = Scenario::new().await;
    let rogue = scenario.worker("rogue").await;
    let s3 = crate::common::connect(rogue.proxy.endpoint.clone(), None).s3;
    let store = async |sequencer: &str| {
        let put = s3.put_object().bucket(&scenario.stage.output).key("thumbs/b.jpg");
        put.metadata("longshore-sequencer", sequencer).body(b"x".to_vec().into()).send().await.unwrap();
    };
    store("01").await;
    store("03").await;
    assert!(!broken(&scenario).await.contains("backwards"));
    store("02").await;
    assert!(broken(&scenario).await.contains("backwards"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_calls_is_noticed() {
    let scenario = Scenario::new().await;
    let rogue = scenario.worker("rogue").await;
    rogue.proxy.fault(on([Operation::Receive]), Fault::Refuse(403, "AccessDenied"));
    let client = crate::common::connect(rogue.proxy.endpoint.clone(), None).sqs;
    for _ in 0..20 {
        let polled = client.receive_message().queue_url(&scenario.stage.queue).send().await;
        polled.expect_err("it is refused");
    }
    let told = broken(&scenario).await;
    assert!(told.contains("polls failed"), "{told}");
}

/// An object that is not there is the day's work, a bucket that is not there is trouble.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_on_a_bucket_that_is_gone_is_noticed() {
    let scenario = Scenario::new().await;
    let rogue = scenario.worker("rogue").await;
    rogue.set("LONGSHORE_CONCURRENCY", "1");
    let s3 = crate::common::connect(rogue.proxy.endpoint.clone(), None).s3;
    let read = async |bucket: &str| {
        let calls = (0..100).map(|n| s3.get_object().bucket(bucket).key(format!("{n}.jpg")).send());
        assert!(join_all(calls).await.iter().all(Result::is_err));
    };
    read(&scenario.stage.input).await;
    let told = broken(&scenario).await;
    assert!(!told.contains("calls failed"), "{told}");
    read(&nowhere("bucket")).await;
    let told = broken(&scenario).await;
    assert!(told.contains("calls failed"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_bucket_that_cannot_be_seen_is_noticed() {
    let scenario = Scenario::new().await;
    assert_eq!(broken(&scenario).await, "");
    scenario.stage.world.s3.delete_bucket().bucket(&scenario.stage.output).send().await.unwrap();
    let told = broken(&scenario).await;
    assert!(told.contains("cannot be seen"), "{told}");
}

/// More than there are places for, though they are given back: that is hoarding, too.
#[tokio::test(flavor = "multi_thread")]
async fn hoarding_of_what_is_given_back_is_noticed() {
    let scenario = Scenario::new().await;
    let rogue = scenario.worker("rogue").await;
    rogue.set("LONGSHORE_CONCURRENCY", "2");
    let client = crate::common::connect(rogue.proxy.endpoint.clone(), None).sqs;
    scenario.upload_many("h", 3).await;
    let mut receipts = Vec::new();
    for _ in 0..3 {
        receipts.push(take(&scenario, &client).await);
    }
    let taken = scenario.log.now();
    scenario.until("time", PATIENCE, || scenario.log.now() > taken + Duration::from_secs(2)).await;
    for receipt in &receipts {
        let change = client.change_message_visibility().queue_url(&scenario.stage.queue);
        change.receipt_handle(receipt).visibility_timeout(0).send().await.unwrap();
    }
    let told = broken(&scenario).await;
    assert!(told.contains("3 messages in work"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn meddling_with_what_was_lost_is_noticed() {
    let scenario = Scenario::new().await;
    let rogue = scenario.worker("rogue").await;
    let client = crate::common::connect(rogue.proxy.endpoint.clone(), None).sqs;
    scenario.upload("l.jpg").await;
    let receipt = take(&scenario, &client).await;
    // By somebody else.
    delete(&scenario, &scenario.stage.world.sqs, &receipt).await;
    let renew = async || {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id("0").receipt_handle(&receipt);
        let entry = entry.visibility_timeout(6).build().unwrap();
        let change = client.change_message_visibility_batch().queue_url(&scenario.stage.queue);
        let failed = change.entries(entry).send().await.unwrap().failed;
        assert_eq!(failed.len(), 1, "it is deleted");
    };
    renew().await;
    let told = broken(&scenario).await;
    assert!(!told.contains("though the message was let go"), "{told}");
    renew().await;
    let told = broken(&scenario).await;
    assert!(told.contains("though the message was let go"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_and_counts_that_do_not_add_up_are_noticed() {
    let scenario = Scenario::new().await;
    let rogue = scenario.worker("rogue").await;
    assert_eq!(broken(&scenario).await, "");
    rogue.farewell("thread 'main' panicked at src/main.rs:1:1:");
    rogue.farewell(
        r#"{"message": "stopped", "received": 3, "deleted": 1, "dead_lettered": 0, "retried": 0, "released": 1,
            "ownership_lost": 0, "still_held": 0}"#,
    );
    let told = broken(&scenario).await;
    assert!(told.contains("panicked") && told.contains("do not add up"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_that_are_not_told_are_noticed() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    worker.set("LONGSHORE_ADMIN_ADDR", "off").started().await;
    let told = worker.idle(Duration::from_secs(1)).await;
    assert_eq!(told, Err("does not tell its metrics".into()));
}

/// What the scenario of large pictures stands on: as many at once as there are places would end the worker.
#[tokio::test(flavor = "multi_thread")]
async fn memory_beyond_the_limit_ends_the_worker() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    worker.set("LONGSHORE_CONCURRENCY", "8").set("LONGSHORE_RENDER_THREADS", "4");
    worker.limit_memory(resources::LIMIT).set("LONGSHORE_MEMORY_BUDGET", "8GiB");
    worker.set("LONGSHORE_MAX_RENDER_TIME", "120s");
    for n in 0..4 {
        scenario.upload_png(&format!("l{n}.png"), resources::SIXTY_MEGAPIXELS, Expected::Picture).await;
    }
    worker.start();
    scenario.until("its end", PATIENCE, || !worker.running()).await;
    assert!(worker.tail().contains("memory allocation of"), "{}", worker.tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_do_what_they_say() {
    let scenario = Scenario::new().await;
    let proxied = scenario.worker("w").await;
    let s3 = crate::common::connect(proxied.proxy.endpoint.clone(), None).s3;
    let upload = scenario.put("f.jpg").await;
    let get = async || {
        let get = s3.get_object().bucket(&scenario.stage.input).key("f.jpg").send();
        let answer = tokio::time::timeout(Duration::from_secs(2), get).await.ok()?.ok()?;
        let body = tokio::time::timeout(Duration::from_secs(2), answer.body.collect()).await.ok()?.ok()?;
        Some(body.to_vec())
    };
    let whole = get().await.expect("nothing is in the way");
    assert_eq!(crate::harness::ledger::digest(&whole), upload.digest);
    for fault in [
        Fault::Truncate(100),
        Fault::Flip(100),
        Fault::Stall(100, Duration::from_secs(60)),
        Fault::Refuse(403, "AccessDenied"),
        Fault::BlackHole,
        Fault::Bandwidth(100),
    ] {
        let name = fault.name();
        let rule = proxied.proxy.fault(on([Operation::GetObject]), fault);
        assert!(get().await.is_none(), "{name} does nothing");
        assert!(rule.applied() > 0);
        rule.end();
        assert!(get().await.is_some(), "{name} stays");
    }
    // The SDK tries again after these.
    for fault in [Fault::ResetBefore, Fault::AckLost, Fault::Refuse(503, "SlowDown")] {
        let name = fault.name();
        let rule = proxied.proxy.fault(on([Operation::GetObject]).key("f.jpg").nth(..=1), fault);
        assert!(get().await.is_some() && rule.applied() == 1, "{name}");
        rule.end();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_poll_that_is_answered_later_has_the_message() {
    let scenario = Scenario::new().await;
    let (a, b) = (scenario.worker("a").await, scenario.worker("b").await);
    let [through_a, through_b] = [&a, &b].map(|w| crate::common::connect(w.proxy.endpoint.clone(), None).sqs);
    scenario.upload("m.jpg").await;
    b.proxy.fault(on([Operation::Receive]), Fault::Delay(Duration::from_secs(3)));
    let later = take(&scenario, &through_b);
    let sooner = async {
        scenario.until("b's poll", PATIENCE, || scenario.log.count(|e| e.worker == "b") == 1).await;
        let receipt = take(&scenario, &through_a).await;
        let change = through_a.change_message_visibility().queue_url(&scenario.stage.queue);
        change.receipt_handle(&receipt).visibility_timeout(0).send().await.unwrap();
    };
    tokio::join!(later, sooner);
    a.note_exit().await;
    let told = broken(&scenario).await;
    assert!(!told.contains("ended with 0"), "the message is b's: {told}");
}
