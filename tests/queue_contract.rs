//! What the worker relies on of a queue, asked through the real SDK over the wire.
//!
//! Runs against the embedded SQS, or against the server in LONGSHORE_TEST_ENDPOINT. Where that one is
//! named in LONGSHORE_TEST_SERVER (moto, ministack), its known faults are skipped, each with a line.

// The lint knows test functions, not the helpers they call.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry as Change, DeleteMessageBatchRequestEntry as Delete, Message,
    MessageAttributeValue, MessageSystemAttributeName as System, MessageSystemAttributeNameForSends,
    MessageSystemAttributeValue, QueueAttributeName as Attribute, SendMessageBatchRequestEntry as Entry,
};
use common::{World, world};

/// How long a condition may take before a test fails. Servers elsewhere are eventually consistent.
const PATIENCE: Duration = Duration::from_secs(20);

/// A queue of one test's own.
struct Queue {
    world: World,
    url: String,
}

fn unique(hint: &str) -> String {
    format!("contract-{hint}-{:016x}", fastrand::u64(..))
}

async fn queue(attributes: &[(Attribute, &str)]) -> Queue {
    let world = world().await;
    let url = create(&world, &unique("queue"), attributes).await;
    Queue { world, url }
}

async fn create(world: &World, name: &str, attributes: &[(Attribute, &str)]) -> String {
    let mut request = world.sqs.create_queue().queue_name(name);
    for (attribute, value) in attributes {
        request = request.attributes(attribute.clone(), *value);
    }
    request.send().await.unwrap().queue_url.unwrap()
}

/// A queue that gives up on a message after `receives`, and the queue that takes it then.
async fn queue_with_dead_letters(receives: u32) -> (Queue, Queue) {
    let dead = queue(&[]).await;
    let policy =
        format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":"{receives}"}}"#, dead.arn().await);
    let url = create(&dead.world, &unique("source"), &[(Attribute::RedrivePolicy, &policy)]).await;
    (Queue { world: dead.world.clone(), url }, dead)
}

impl Queue {
    async fn send(&self, body: &str) -> String {
        let sent = self.world.sqs.send_message().queue_url(&self.url).message_body(body).send().await;
        sent.unwrap().message_id.unwrap()
    }

    /// One receive, hiding for `hidden` seconds and waiting up to `wait`.
    async fn receive(&self, hidden: i32, wait: i32) -> Vec<Message> {
        let receive = self.world.sqs.receive_message().queue_url(&self.url).max_number_of_messages(10);
        let receive = receive.visibility_timeout(hidden).wait_time_seconds(wait);
        let receive = receive.message_system_attribute_names(System::All).message_attribute_names("All");
        receive.send().await.unwrap().messages.unwrap_or_default()
    }

    /// Receives one message, however many polls that takes.
    async fn receive_one(&self, hidden: i32) -> Message {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(message) = self.receive(hidden, 2).await.pop() {
                return message;
            }
        }
        panic!("no message arrived within {PATIENCE:?}");
    }

    async fn hide(&self, handle: &str, seconds: i32) -> Result<(), String> {
        let change = self.world.sqs.change_message_visibility().queue_url(&self.url).receipt_handle(handle);
        let changed = change.visibility_timeout(seconds).send().await;
        changed.map(drop).map_err(|refused| code(&refused))
    }

    async fn delete(&self, handle: &str) -> Result<(), String> {
        let deleted =
            self.world.sqs.delete_message().queue_url(&self.url).receipt_handle(handle).send().await;
        deleted.map(drop).map_err(|refused| code(&refused))
    }

    async fn attribute(&self, name: Attribute) -> String {
        let request =
            self.world.sqs.get_queue_attributes().queue_url(&self.url).attribute_names(name.clone());
        request.send().await.unwrap().attributes.unwrap_or_default().remove(&name).unwrap_or_default()
    }

    async fn arn(&self) -> String {
        self.attribute(Attribute::QueueArn).await
    }

    /// Waits until the three live counts are as said.
    async fn wait_for_counts(&self, ready: &str, in_flight: &str, delayed: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let counts = [
                self.attribute(Attribute::ApproximateNumberOfMessages).await,
                self.attribute(Attribute::ApproximateNumberOfMessagesNotVisible).await,
                self.attribute(Attribute::ApproximateNumberOfMessagesDelayed).await,
            ];
            if counts == [ready, in_flight, delayed] {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "counts are {counts:?}, not {:?}",
                [ready, in_flight, delayed]
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The code of an SDK error in the older query protocol's words, without their prefix.
fn code(error: &impl ProvideErrorMetadata) -> String {
    error.code().unwrap_or("none").trim_start_matches("AWS.SimpleQueueService.").to_owned()
}

/// Says that a test does not apply to a server with a known fault.
fn skipped(faults: &[(&str, &str)]) -> bool {
    let server = std::env::var("LONGSHORE_TEST_SERVER").unwrap_or_default();
    let fault = faults.iter().find(|(name, _)| *name == server);
    if let Some((_, fault)) = fault {
        println!("skipped on {server}: {fault}");
    }
    fault.is_some()
}

fn receives(message: &Message) -> u32 {
    system(message, System::ApproximateReceiveCount).parse().unwrap()
}

fn system(message: &Message, name: System) -> &str {
    message.attributes().and_then(|attributes| attributes.get(&name)).map_or("", String::as_str)
}

fn body(message: &Message) -> &str {
    message.body().unwrap()
}

fn handle(message: &Message) -> &str {
    message.receipt_handle().unwrap()
}

fn entry(id: &str, body: &str) -> Entry {
    Entry::builder().id(id).message_body(body).build().unwrap()
}

fn delete_entry(id: &str, handle: &str) -> Delete {
    Delete::builder().id(id).receipt_handle(handle).build().unwrap()
}

// Sending and receiving.

#[tokio::test]
async fn a_message_comes_out_as_it_went_in() {
    let queue = queue(&[]).await;
    let text = "{\"key\": \"a+b.jpg\"}\n\tgrüße 🖼 <&>\r\n";
    let sent = queue.world.sqs.send_message().queue_url(&queue.url).message_body(text).send().await.unwrap();
    let message = queue.receive_one(30).await;
    assert_eq!(body(&message), text);
    assert_eq!(message.message_id(), sent.message_id());
    assert_eq!(message.md5_of_body(), sent.md5_of_message_body());
}

#[tokio::test]
async fn a_message_says_when_it_was_sent_and_received_and_how_often() {
    let queue = queue(&[]).await;
    queue.send("x").await;
    let message = queue.receive_one(30).await;
    let sent: u64 = system(&message, System::SentTimestamp).parse().unwrap();
    let first: u64 = system(&message, System::ApproximateFirstReceiveTimestamp).parse().unwrap();
    assert!(sent > 1_700_000_000_000 && first >= sent, "sent {sent}, first received {first}");
    assert_eq!(receives(&message), 1);
}

#[tokio::test]
async fn attributes_and_the_trace_header_make_the_round_trip() {
    let queue = queue(&[]).await;
    let value = |kind: &str| MessageAttributeValue::builder().data_type(kind);
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";
    let trace_value = MessageSystemAttributeValue::builder().data_type("String").string_value(trace);
    let send = queue.world.sqs.send_message().queue_url(&queue.url).message_body("x");
    let sent = send
        .message_attributes("reason", value("String").string_value("not an image").build().unwrap())
        .message_attributes("tries", value("Number.int").string_value("3").build().unwrap())
        .message_attributes("digest", value("Binary").binary_value(Blob::new([0, 255, 7])).build().unwrap())
        .message_system_attributes(
            MessageSystemAttributeNameForSends::AwsTraceHeader,
            trace_value.build().unwrap(),
        )
        .send()
        .await
        .unwrap();
    let message = queue.receive_one(30).await;
    let attributes = message.message_attributes().unwrap();
    assert_eq!(attributes["reason"].string_value(), Some("not an image"));
    assert_eq!(
        (attributes["tries"].data_type(), attributes["tries"].string_value()),
        ("Number.int", Some("3"))
    );
    assert_eq!(attributes["digest"].binary_value().unwrap().as_ref(), [0, 255, 7]);
    assert_eq!(system(&message, System::AwsTraceHeader), trace);
    assert_eq!(message.md5_of_message_attributes(), sent.md5_of_message_attributes());
    assert!(sent.md5_of_message_attributes().is_some());
}

#[tokio::test]
async fn only_the_attributes_asked_for_are_shown() {
    let queue = queue(&[]).await;
    let value = || MessageAttributeValue::builder().data_type("String").string_value("v").build().unwrap();
    let send = queue.world.sqs.send_message().queue_url(&queue.url).message_body("x");
    let send = send.message_attributes("job.kind", value()).message_attributes("other", value());
    send.send().await.unwrap();
    let receive = queue.world.sqs.receive_message().queue_url(&queue.url).wait_time_seconds(5);
    let receive =
        receive.message_attribute_names("job.*").message_system_attribute_names(System::SentTimestamp);
    let message = receive.send().await.unwrap().messages.unwrap().pop().unwrap();
    assert_eq!(message.message_attributes().unwrap().keys().collect::<Vec<_>>(), ["job.kind"]);
    assert_eq!(message.attributes().unwrap().keys().collect::<Vec<_>>(), [&System::SentTimestamp]);
}

#[tokio::test]
async fn a_body_of_one_mebibyte_passes_and_one_byte_more_does_not() {
    let queue = queue(&[]).await;
    let large = "x".repeat(1024 * 1024);
    queue.send(&large).await;
    assert_eq!(body(&queue.receive_one(30).await).len(), large.len());
    let send = queue.world.sqs.send_message().queue_url(&queue.url).message_body(large + "x");
    assert_eq!(code(&send.send().await.unwrap_err()), "InvalidParameterValue");
}

#[tokio::test]
async fn characters_outside_xml_are_refused() {
    if skipped(&[("moto", "accepts any character")]) {
        return;
    }
    let queue = queue(&[]).await;
    let send = queue.world.sqs.send_message().queue_url(&queue.url).message_body("a\u{1}b");
    let refused = send.send().await.unwrap_err().into_service_error();
    assert!(refused.is_invalid_message_contents(), "{refused:?}");
}

#[tokio::test]
async fn a_receive_gives_out_at_most_as_many_as_asked() {
    let queue = queue(&[]).await;
    let mut bodies = BTreeSet::new();
    for number in 0..12 {
        queue.send(&number.to_string()).await;
    }
    let deadline = Instant::now() + PATIENCE;
    while bodies.len() < 12 && Instant::now() < deadline {
        let receive = queue.world.sqs.receive_message().queue_url(&queue.url).max_number_of_messages(5);
        let received = receive.wait_time_seconds(1).send().await.unwrap().messages.unwrap_or_default();
        assert!(received.len() <= 5, "{} at once", received.len());
        for message in received {
            assert!(bodies.insert(body(&message).to_owned()), "{} twice", body(&message));
        }
    }
    assert_eq!(bodies.len(), 12);
}

#[tokio::test]
async fn a_receive_takes_one_to_ten_messages() {
    let queue = queue(&[]).await;
    let receive = || queue.world.sqs.receive_message().queue_url(&queue.url);
    assert_eq!(
        code(&receive().max_number_of_messages(11).send().await.unwrap_err()),
        "InvalidParameterValue"
    );
    assert_eq!(code(&receive().max_number_of_messages(0).send().await.unwrap_err()), "InvalidParameterValue");
}

#[tokio::test]
async fn waits_and_delays_beyond_their_limits_are_refused() {
    if skipped(&[("ministack", "accepts any wait and delay")]) {
        return;
    }
    let queue = queue(&[]).await;
    let receive = queue.world.sqs.receive_message().queue_url(&queue.url);
    assert_eq!(code(&receive.wait_time_seconds(21).send().await.unwrap_err()), "InvalidParameterValue");
    let send = queue.world.sqs.send_message().queue_url(&queue.url).message_body("x");
    assert_eq!(code(&send.delay_seconds(901).send().await.unwrap_err()), "InvalidParameterValue");
}

#[tokio::test]
async fn a_delayed_message_arrives_when_its_delay_is_over() {
    let queue = queue(&[]).await;
    let started = Instant::now();
    let send = queue.world.sqs.send_message().queue_url(&queue.url).message_body("later");
    send.delay_seconds(2).send().await.unwrap();
    assert!(queue.receive(30, 0).await.is_empty());
    queue.wait_for_counts("0", "0", "1").await;
    assert_eq!(body(&queue.receive(30, 10).await[0]), "later");
    assert!(started.elapsed() >= Duration::from_millis(1800), "{:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[tokio::test]
async fn purging_leaves_nothing() {
    let queue = queue(&[]).await;
    queue.send("in flight").await;
    queue.receive_one(60).await;
    queue.send("ready").await;
    queue.world.sqs.purge_queue().queue_url(&queue.url).send().await.unwrap();
    queue.wait_for_counts("0", "0", "0").await;
}

// Long polls.

#[tokio::test]
async fn a_long_poll_wakes_when_a_message_arrives() {
    let queue = queue(&[]).await;
    let started = Instant::now();
    let (received, ()) = tokio::join!(queue.receive(30, 20), async {
        // The poll must be waiting by then: nobody can observe that from outside.
        tokio::time::sleep(Duration::from_millis(500)).await;
        queue.send("here").await;
    });
    assert_eq!(body(&received[0]), "here");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_long_poll_wakes_when_a_visibility_timeout_runs_out() {
    let queue = queue(&[]).await;
    queue.send("again").await;
    queue.receive_one(2).await;
    let started = Instant::now();
    assert_eq!(body(&queue.receive(30, 15).await[0]), "again");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_empty_long_poll_ends_when_its_time_is_over() {
    let queue = queue(&[]).await;
    let started = Instant::now();
    assert!(queue.receive(30, 1).await.is_empty());
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_queue_sets_the_wait_of_a_receive_that_names_none() {
    let queue = queue(&[(Attribute::ReceiveMessageWaitTimeSeconds, "1")]).await;
    let started = Instant::now();
    queue.world.sqs.receive_message().queue_url(&queue.url).send().await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_client_that_leaves_a_long_poll_takes_no_message_along() {
    if world().await.external {
        println!("skipped on servers elsewhere: SQS does not promise it, and the worker never relies on it");
        return;
    }
    let queue = queue(&[]).await;
    let poll = tokio::time::timeout(Duration::from_millis(500), queue.receive(600, 20)).await;
    assert!(poll.is_err(), "the poll was still waiting when its client left");
    // The server learns of the closed connection in its own time.
    tokio::time::sleep(Duration::from_millis(200)).await;
    queue.send("kept").await;
    assert_eq!(body(&queue.receive(30, 10).await[0]), "kept");
}

// Visibility.

#[tokio::test]
async fn a_message_in_flight_is_hidden_and_counted() {
    let queue = queue(&[]).await;
    queue.send("x").await;
    queue.receive_one(60).await;
    assert!(queue.receive(60, 1).await.is_empty());
    queue.wait_for_counts("0", "1", "0").await;
}

#[tokio::test]
async fn a_message_not_settled_comes_back_with_another_handle_and_a_higher_count() {
    let queue = queue(&[]).await;
    let id = queue.send("x").await;
    let first = queue.receive_one(1).await;
    let second = queue.receive_one(60).await;
    assert_eq!((first.message_id(), second.message_id()), (Some(&*id), Some(&*id)));
    assert_ne!(first.receipt_handle(), second.receipt_handle());
    assert_eq!((receives(&first), receives(&second)), (1, 2));
    let first_received = |message| system(message, System::ApproximateFirstReceiveTimestamp).to_owned();
    assert_eq!(first_received(&first), first_received(&second));
}

#[tokio::test]
async fn the_queue_sets_the_visibility_of_a_receive_that_names_none() {
    let queue = queue(&[(Attribute::VisibilityTimeout, "1")]).await;
    queue.send("x").await;
    let receive = queue.world.sqs.receive_message().queue_url(&queue.url).wait_time_seconds(10);
    assert_eq!(receive.send().await.unwrap().messages.unwrap().len(), 1);
    assert_eq!(receives(&queue.receive_one(60).await), 2);
}

#[tokio::test]
async fn a_visibility_of_zero_releases_at_once_and_wakes_a_long_poll() {
    let queue = queue(&[]).await;
    queue.send("x").await;
    let held = queue.receive_one(600).await;
    let started = Instant::now();
    let (received, released) = tokio::join!(queue.receive(60, 15), queue.hide(handle(&held), 0));
    released.unwrap();
    assert_eq!(receives(&received[0]), 2);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_renewed_message_stays_hidden_beyond_its_first_timeout() {
    let queue = queue(&[]).await;
    queue.send("x").await;
    let held = queue.receive_one(2).await;
    queue.hide(handle(&held), 60).await.unwrap();
    assert!(queue.receive(60, 4).await.is_empty());
    queue.delete(handle(&held)).await.unwrap();
}

#[tokio::test]
async fn a_visibility_of_more_than_twelve_hours_is_refused() {
    if skipped(&[("ministack", "accepts any visibility timeout")]) {
        return;
    }
    let queue = queue(&[]).await;
    queue.send("x").await;
    let held = queue.receive_one(60).await;
    assert_eq!(queue.hide(handle(&held), 43_201).await.unwrap_err(), "InvalidParameterValue");
}

#[tokio::test]
async fn the_visibility_of_a_message_no_longer_held_cannot_be_changed() {
    if skipped(&[("moto", "hides a visible message again"), ("ministack", "hides a visible message again")]) {
        return;
    }
    let queue = queue(&[]).await;
    queue.send("x").await;
    let held = queue.receive_one(1).await;
    queue.wait_for_counts("1", "0", "0").await;
    // SQS itself words this in two ways.
    let refused = queue.hide(handle(&held), 60).await.unwrap_err();
    assert!(["MessageNotInflight", "InvalidParameterValue"].contains(&&*refused), "{refused}");
}

#[tokio::test]
async fn a_batch_of_renewals_reports_each_entry() {
    let queue = queue(&[]).await;
    queue.send("x").await;
    let held = queue.receive_one(600).await;
    let change = |id: &str, handle: &str| {
        Change::builder().id(id).receipt_handle(handle).visibility_timeout(0).build().unwrap()
    };
    let batch = queue.world.sqs.change_message_visibility_batch().queue_url(&queue.url);
    let batch = batch.entries(change("0", handle(&held))).entries(change("1", "nonsense"));
    let outcome = batch.send().await.unwrap();
    assert_eq!(outcome.successful().iter().map(|entry| entry.id()).collect::<Vec<_>>(), ["0"]);
    assert_eq!((outcome.failed()[0].id(), outcome.failed()[0].sender_fault()), ("1", true));
    assert_eq!(receives(&queue.receive_one(60).await), 2);
}

// Deleting.

#[tokio::test]
async fn a_deleted_message_is_gone() {
    let queue = queue(&[]).await;
    queue.send("x").await;
    let held = queue.receive_one(1).await;
    queue.delete(handle(&held)).await.unwrap();
    queue.wait_for_counts("0", "0", "0").await;
    assert!(queue.receive(60, 2).await.is_empty());
}

#[tokio::test]
async fn a_second_delete_succeeds() {
    if skipped(&[("ministack", "refuses a second delete")]) {
        return;
    }
    let queue = queue(&[]).await;
    queue.send("x").await;
    let held = queue.receive_one(60).await;
    queue.delete(handle(&held)).await.unwrap();
    queue.delete(handle(&held)).await.unwrap();
}

#[tokio::test]
async fn a_stale_handle_deletes_nothing() {
    if skipped(&[("moto", "a stale handle deletes the message")]) {
        return;
    }
    let queue = queue(&[]).await;
    queue.send("x").await;
    let stale = queue.receive_one(1).await;
    let newest = queue.receive_one(60).await;
    // SQS says yes to it, some servers say no: the worker must live with both.
    let _ = queue.delete(handle(&stale)).await;
    queue.hide(handle(&newest), 0).await.unwrap();
    assert_eq!(receives(&queue.receive_one(60).await), 3);
}

#[tokio::test]
async fn a_delete_with_a_stale_handle_succeeds() {
    if skipped(&[("ministack", "refuses stale handles")]) {
        return;
    }
    let queue = queue(&[]).await;
    queue.send("x").await;
    let stale = queue.receive_one(1).await;
    queue.receive_one(60).await;
    queue.delete(handle(&stale)).await.unwrap();
}

#[tokio::test]
async fn a_handle_that_was_never_given_out_is_invalid() {
    let queue = queue(&[]).await;
    assert_eq!(queue.delete("nonsense").await.unwrap_err(), "ReceiptHandleIsInvalid");
    assert_eq!(queue.hide("nonsense", 0).await.unwrap_err(), "ReceiptHandleIsInvalid");
}

#[tokio::test]
async fn a_batch_of_deletes_fails_only_where_it_must() {
    let queue = queue(&[]).await;
    queue.send("x").await;
    let held = queue.receive_one(60).await;
    let batch = queue.world.sqs.delete_message_batch().queue_url(&queue.url);
    let batch = batch.entries(delete_entry("0", "nonsense")).entries(delete_entry("1", handle(&held)));
    let outcome = batch.send().await.unwrap();
    assert_eq!(outcome.successful().iter().map(|entry| entry.id()).collect::<Vec<_>>(), ["1"]);
    let failed = &outcome.failed()[0];
    assert_eq!((failed.id(), failed.code(), failed.sender_fault()), ("0", "ReceiptHandleIsInvalid", true));
    queue.wait_for_counts("0", "0", "0").await;
}

// Batches.

#[tokio::test]
async fn a_batch_with_repeated_ids_is_refused_whole() {
    let queue = queue(&[]).await;
    let batch = queue.world.sqs.send_message_batch().queue_url(&queue.url);
    let refused = batch.entries(entry("same", "a")).entries(entry("same", "b")).send().await.unwrap_err();
    assert!(refused.into_service_error().is_batch_entry_ids_not_distinct());
    queue.wait_for_counts("0", "0", "0").await;
}

#[tokio::test]
async fn a_batch_has_one_to_ten_entries_with_plain_ids() {
    let queue = queue(&[]).await;
    let batch = || queue.world.sqs.send_message_batch().queue_url(&queue.url);
    let eleven: Vec<Entry> = (0..11).map(|number| entry(&number.to_string(), "x")).collect();
    let refused = batch().set_entries(Some(eleven)).send().await.unwrap_err().into_service_error();
    assert!(refused.is_too_many_entries_in_batch_request(), "{refused:?}");
    let refused = batch().set_entries(Some(vec![])).send().await.unwrap_err().into_service_error();
    assert!(refused.is_empty_batch_request(), "{refused:?}");
    let refused = batch().entries(entry("a/b", "x")).send().await.unwrap_err().into_service_error();
    assert!(refused.is_invalid_batch_entry_id(), "{refused:?}");
}

#[tokio::test]
async fn a_batch_sends_its_good_entries_and_names_the_bad_one() {
    if skipped(&[("ministack", "accepts any delay")]) {
        return;
    }
    let queue = queue(&[]).await;
    let batch = queue.world.sqs.send_message_batch().queue_url(&queue.url);
    let bad = Entry::builder().id("1").message_body("late").delay_seconds(901).build().unwrap();
    let batch = batch.entries(entry("0", "a")).entries(bad).entries(entry("2", "c"));
    let outcome = batch.send().await.unwrap();
    assert_eq!(outcome.successful().iter().map(|entry| entry.id()).collect::<Vec<_>>(), ["0", "2"]);
    assert_eq!((outcome.failed()[0].id(), outcome.failed()[0].sender_fault()), ("1", true));
    queue.wait_for_counts("2", "0", "0").await;
}

#[tokio::test]
async fn a_batch_of_more_than_one_mebibyte_in_total_is_refused() {
    let queue = queue(&[]).await;
    let part = "x".repeat(600 * 1024);
    let batch = queue.world.sqs.send_message_batch().queue_url(&queue.url);
    let refused = batch.entries(entry("0", &part)).entries(entry("1", &part)).send().await.unwrap_err();
    assert!(refused.into_service_error().is_batch_request_too_long());
}

// Dead letters.

#[tokio::test]
async fn a_message_received_too_often_becomes_a_dead_letter_as_it_was_sent() {
    let (source, dead) = queue_with_dead_letters(2).await;
    let id = source.send("poison").await;
    let mut sent = String::new();
    for count in 1..=2 {
        let message = source.receive_one(60).await;
        assert_eq!(receives(&message), count);
        sent = system(&message, System::SentTimestamp).to_owned();
        source.hide(handle(&message), 0).await.unwrap();
    }
    assert!(source.receive(60, 1).await.is_empty());
    let letter = dead.receive_one(60).await;
    assert_eq!((letter.message_id(), body(&letter)), (Some(&*id), "poison"));
    assert_eq!(system(&letter, System::SentTimestamp), sent);
}

#[tokio::test]
async fn a_dead_letter_names_the_queue_that_gave_it_up() {
    if skipped(&[("moto", "dead letters carry no DeadLetterQueueSourceArn")]) {
        return;
    }
    let (source, dead) = queue_with_dead_letters(1).await;
    source.send("poison").await;
    source.receive_one(0).await;
    source.receive(60, 1).await;
    let letter = dead.receive_one(60).await;
    assert_eq!(system(&letter, System::DeadLetterQueueSourceArn), source.arn().await);
}

#[tokio::test]
async fn a_dead_letter_queue_knows_its_sources() {
    if skipped(&[("ministack", "has no ListDeadLetterSourceQueues")]) {
        return;
    }
    let (source, dead) = queue_with_dead_letters(5).await;
    let listed = dead.world.sqs.list_dead_letter_source_queues().queue_url(&dead.url).send().await.unwrap();
    assert_eq!(listed.queue_urls(), [source.url.as_str()]);
}

#[tokio::test]
async fn a_move_task_brings_dead_letters_back_to_where_they_failed() {
    if skipped(&[("moto", "StartMessageMoveTask answers 500"), ("ministack", "has no move tasks")]) {
        return;
    }
    let (source, dead) = queue_with_dead_letters(1).await;
    for number in 0..3 {
        source.send(&number.to_string()).await;
    }
    let deadline = Instant::now() + PATIENCE;
    while dead.attribute(Attribute::ApproximateNumberOfMessages).await != "3" && Instant::now() < deadline {
        source.receive(0, 0).await;
    }
    let start = dead.world.sqs.start_message_move_task().source_arn(dead.arn().await);
    start.send().await.unwrap();
    source.wait_for_counts("3", "0", "0").await;
    dead.wait_for_counts("0", "0", "0").await;
    let message = source.receive_one(60).await;
    assert_eq!(receives(&message), 1, "a redriven message starts anew");
    let tasks = dead.world.sqs.list_message_move_tasks().source_arn(dead.arn().await).send().await.unwrap();
    assert_eq!(tasks.results()[0].approximate_number_of_messages_moved(), 3);
}

#[tokio::test]
async fn a_slow_move_task_keeps_to_its_rate_and_can_be_cancelled() {
    if skipped(&[("moto", "StartMessageMoveTask answers 500"), ("ministack", "has no move tasks")]) {
        return;
    }
    let (source, dead) = queue_with_dead_letters(1).await;
    for number in 0..5 {
        dead.send(&number.to_string()).await;
    }
    let start = dead.world.sqs.start_message_move_task().source_arn(dead.arn().await);
    let start = start.destination_arn(source.arn().await).max_number_of_messages_per_second(1);
    let task = start.send().await.unwrap().task_handle.unwrap();
    let cancel = dead.world.sqs.cancel_message_move_task().task_handle(task).send().await.unwrap();
    assert!(cancel.approximate_number_of_messages_moved() <= 2);
    let left: u32 = dead.attribute(Attribute::ApproximateNumberOfMessages).await.parse().unwrap();
    assert!(left >= 3, "{left} left");
}

// Queues.

#[tokio::test]
async fn a_missing_queue_is_a_typed_error_everywhere() {
    let world = world().await;
    let name = unique("missing");
    let missing = world.sqs.get_queue_url().queue_name(&name).send().await.unwrap_err();
    assert!(missing.into_service_error().is_queue_does_not_exist());
    let url = create(&world, &name, &[]).await;
    world.sqs.delete_queue().queue_url(&url).send().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(70);
    loop {
        match world.sqs.receive_message().queue_url(&url).send().await {
            Err(missing) => break assert!(missing.into_service_error().is_queue_does_not_exist()),
            Ok(_) => assert!(Instant::now() < deadline, "the queue is still there"),
        }
    }
    let missing = world.sqs.send_message().queue_url(&url).message_body("x").send().await.unwrap_err();
    assert!(missing.into_service_error().is_queue_does_not_exist());
}

#[tokio::test]
async fn a_queue_is_found_by_name_and_made_twice_only_with_equal_attributes() {
    let world = world().await;
    let name = unique("twice");
    let url = create(&world, &name, &[(Attribute::VisibilityTimeout, "45")]).await;
    assert_eq!(create(&world, &name, &[(Attribute::VisibilityTimeout, "45")]).await, url);
    let found = world.sqs.get_queue_url().queue_name(&name).send().await.unwrap();
    assert_eq!(found.queue_url(), Some(url.as_str()));
    let other = world.sqs.create_queue().queue_name(&name).attributes(Attribute::VisibilityTimeout, "46");
    let refused = other.send().await.unwrap_err().into_service_error();
    assert!(refused.is_queue_name_exists(), "{refused:?}");
}

#[tokio::test]
async fn attributes_can_be_set() {
    let queue = queue(&[]).await;
    let set = queue.world.sqs.set_queue_attributes().queue_url(&queue.url);
    set.attributes(Attribute::VisibilityTimeout, "77").send().await.unwrap();
    assert_eq!(queue.attribute(Attribute::VisibilityTimeout).await, "77");
}

#[tokio::test]
async fn attributes_outside_their_range_are_refused() {
    if skipped(&[("moto", "accepts any attribute value")]) {
        return;
    }
    let queue = queue(&[(Attribute::VisibilityTimeout, "77")]).await;
    let set = |name, value: &str| {
        let request = queue.world.sqs.set_queue_attributes().queue_url(&queue.url);
        request.attributes(name, value).send()
    };
    assert!(set(Attribute::VisibilityTimeout, "43201").await.is_err());
    assert!(set(Attribute::MessageRetentionPeriod, "59").await.is_err());
    assert!(set(Attribute::RedrivePolicy, "nonsense").await.is_err());
    assert_eq!(queue.attribute(Attribute::VisibilityTimeout).await, "77");
}

#[tokio::test]
async fn queues_are_listed_by_prefix_page_by_page() {
    let world = world().await;
    let prefix = unique("list");
    let mut made = BTreeSet::new();
    for number in 0..3 {
        made.insert(create(&world, &format!("{prefix}-{number}"), &[]).await);
    }
    let (mut listed, mut token) = (BTreeSet::new(), None);
    loop {
        let page = world.sqs.list_queues().queue_name_prefix(&prefix).max_results(2).set_next_token(token);
        let page = page.send().await.unwrap();
        assert!(page.queue_urls().len() <= 2);
        listed.extend(page.queue_urls().iter().cloned());
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(listed, made);
}

#[tokio::test]
async fn tags_are_kept_until_taken_away() {
    let queue = queue(&[]).await;
    let tag = queue.world.sqs.tag_queue().queue_url(&queue.url).tags("team", "harbour").tags("tier", "1");
    tag.send().await.unwrap();
    queue.world.sqs.untag_queue().queue_url(&queue.url).tag_keys("tier").send().await.unwrap();
    let tags = queue.world.sqs.list_queue_tags().queue_url(&queue.url).send().await.unwrap().tags;
    assert_eq!(tags, Some(HashMap::from([("team".to_owned(), "harbour".to_owned())])));
}

#[tokio::test]
async fn a_queue_name_with_odd_characters_is_refused() {
    if skipped(&[("ministack", "accepts any queue name")]) {
        return;
    }
    let world = world().await;
    let refused = world.sqs.create_queue().queue_name("no spaces, please").send().await.unwrap_err();
    assert_eq!(code(&refused), "InvalidParameterValue");
}
