//! Messages that can never work: where they go, what is told of them, and what is not.

use crate::harness::ecs::{Agent, Role};
use crate::harness::{Expected, Fault, Operation, PATIENCE, Scenario, Upload, on};
use aws_sdk_sqs::types::{
    MessageSystemAttributeNameForSends as Sends, MessageSystemAttributeValue, QueueAttributeName,
};
use longshore::local::s3;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_tell_why_and_hold_no_secrets() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    worker.set("LONGSHORE_INPUT_BUCKETS", &scenario.stage.input);
    let agent = Agent::start().await;
    agent.role(Role::Lasts(Duration::from_secs(3600)));
    worker.unset("AWS_ACCESS_KEY_ID").unset("AWS_SECRET_ACCESS_KEY");
    worker.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/role", agent.uri));
    let archived = on([Operation::GetObject]).key("archived.jpg");
    worker.proxy.fault(archived, Fault::Refuse(403, "InvalidObjectState"));
    let upload = scenario.upload("archived.jpg").await;
    scenario.ledger.expect(upload.number, Expected::Rejected("archived"));
    let upload = scenario.put("foreign.jpg").await;
    scenario.ledger.expect(upload.number, Expected::Rejected("bucket-not-allowed"));
    let mut record = scenario.record(&upload);
    record["s3"]["bucket"]["name"] = json!("somebody-elses");
    scenario.stage.send(scenario.stage.message(&[record])).await;
    scenario.upload_bytes("empty.jpg", Vec::new(), Expected::Rejected("empty")).await;
    scenario.upload("good.jpg").await;
    worker.started().await;
    let log = scenario.log.clone();
    scenario.finish().await;
    let asked = log.count(|e| e.call.target == "somebody-elses");
    assert_eq!(asked, 0, "a bucket that is not allowed is never asked");
    let exchanges = log.exchanges();
    let letters: Vec<_> = exchanges.iter().filter(|e| e.call.operation == Operation::Send).collect();
    assert_eq!(letters.len(), 3);
    for letter in letters {
        for name in ["reason", "detail", "message-id", "first-received", "receive-count"] {
            let value = &letter.call.json["MessageAttributes"][format!("longshore.{name}")]["StringValue"];
            assert!(value.as_str().is_some_and(|v| !v.is_empty()), "{name} in {}", letter.call.json);
        }
        let text = letter.call.json.to_string();
        for secret in [s3::SECRET_ACCESS_KEY, "token-", "X-Amz-", "Signature", "AWS4-HMAC", "Credential"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_go_on_in_the_log_and_in_dead_letters() {
    const TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    let traced = async |upload: &Upload| {
        let value = MessageSystemAttributeValue::builder().data_type("String").string_value(TRACE).build();
        let body = scenario.stage.message(&[scenario.record(upload)]);
        let send =
            scenario.stage.world.sqs.send_message().queue_url(&scenario.stage.queue).message_body(body);
        let send = send.message_system_attributes(Sends::AwsTraceHeader, value.unwrap());
        send.send().await.unwrap();
    };
    let bad = scenario.put_bytes("bad.jpg", b"no picture".to_vec(), Expected::Rejected("not-an-image")).await;
    let good = scenario.put("good.jpg").await;
    traced(&bad).await;
    traced(&good).await;
    worker.proxy.fault(on([Operation::Delete]).nth(..=1), Fault::Refuse(500, "InternalError"));
    worker.started().await;
    let log = scenario.log.clone();
    scenario.finish().await;
    let letter = log.find(|e| e.call.operation == Operation::Send).unwrap();
    let header = &letter.call.json["MessageSystemAttributes"]["AWSTraceHeader"]["StringValue"];
    assert_eq!(header, TRACE, "{}", letter.call.json);
    let lines = worker.lines();
    let linked = |key: &str| lines.iter().any(|l| l.contains(key) && l.contains(TRACE));
    assert!(linked("bad.jpg") && linked("good.jpg"), "{}", worker.tail());
    // So do the lines of the thread that holds leases.
    let refused = lines.iter().find(|l| l.contains("cannot delete a message")).expect("a line about it");
    assert!(
        refused.contains("5759e988bd862e3fe1be46a994272793") && refused.contains("message_id"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_dead_letter_queue_is_known() {
    let scenario = Scenario::new().await;
    let stage = &scenario.stage;
    let policy = stage.attribute(&stage.queue, QueueAttributeName::RedrivePolicy).await.unwrap();
    let redrive = async |policy: &str| {
        let set = stage.world.sqs.set_queue_attributes().queue_url(&stage.queue);
        set.attributes(QueueAttributeName::RedrivePolicy, policy).send().await.unwrap();
    };
    redrive("").await;
    let worker = scenario.worker("w").await;
    scenario.upload_bytes("bad.jpg", b"no picture".to_vec(), Expected::Rejected("not-an-image")).await;
    scenario.upload("good.jpg").await;
    worker.started().await;
    worker.until_line("it has no redrive policy (set LONGSHORE_DLQ_URL", PATIENCE).await;
    let made = || scenario.log.count(|e| e.call.operation == Operation::PutObject && e.took_effect()) == 2;
    scenario.until("the other picture", PATIENCE, made).await;
    let delays = || -> Vec<u64> {
        let exchanges = scenario.log.exchanges();
        let changes = exchanges.iter().filter(|e| e.call.operation == Operation::ChangeVisibility);
        changes.flat_map(|e| e.call.entries.iter().filter_map(|entry| entry.visibility)).collect()
    };
    scenario.until("its way back to the queue", PATIENCE, || !delays().is_empty()).await;
    assert!((3..=5).contains(&delays()[0]), "it waits there: {:?}", delays());
    // Once there is one, it goes there by itself.
    redrive(&policy).await;
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_text_cannot_forge_a_log_line() {
    const FORGED: &str = "\n2026-01-01T00:00:00.000000Z ERROR forged";
    const COLOURED: &str = "\r\u{1b}[31m\u{2028}\u{9b}2J";
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    worker.set("LONGSHORE_LOG_FORMAT", "text");
    let named = |name: &str| format!("{name}{FORGED}{COLOURED}.jpg");
    scenario.upload_bytes(&named("bad"), b"no picture".to_vec(), Expected::Rejected("not-an-image")).await;
    let gone = scenario.upload(&format!("gone{FORGED}.jpg")).await;
    scenario.delete_source(&gone).await;
    let denied = on([Operation::GetObject]).key(named("archived"));
    worker.proxy.fault(denied, Fault::Refuse(403, "InvalidObjectState"));
    let archived = scenario.upload(&named("archived")).await;
    scenario.ledger.expect(archived.number, Expected::Rejected("archived"));
    // Listings cannot tell every character.
    scenario.upload(&format!("made{FORGED}.jpg")).await;
    for body in
        [format!("junk{FORGED}\u{2028}"), json!({"Records": [{"eventSource": named("x")}]}).to_string()]
    {
        scenario.stage.send(body).await;
    }
    let mut record = scenario.record(&archived);
    record["s3"]["bucket"]["name"] = json!(named("bucket"));
    record["s3"]["object"]["sequencer"] = json!("FF");
    record["s3"]["object"]["versionId"] = json!(named("version"));
    scenario.stage.send(scenario.stage.message(&[record])).await;
    worker.start();
    worker.until_line("started", PATIENCE).await;
    let told = Arc::clone(&worker);
    scenario.finish().await;
    assert!(told.count_lines("forged") >= 4, "they are told of:\n{}", told.tail());
    for line in told.lines() {
        let stamped = line.get(..4).is_some_and(|year| year.chars().all(|c| c.is_ascii_digit()));
        assert!(stamped, "{line:?}");
        assert!(!line.starts_with("2026-01-01T00:00:00.000000Z ERROR forged"), "{line:?}");
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{2028}'), "{line:?}");
    }
}
