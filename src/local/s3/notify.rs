//! Event notifications: which writes are told to which queues, and in what words.

use std::thread;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{Timestamp, TimestampFormat};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::folders::unique;
use super::record::{Settings, Time};
use super::sequencer;
use super::store::{OWNER_ID, Store};
use super::write::Stored;

/// A queue and the writes it wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub id: String,
    pub queue_arn: String,
    /// Such as `s3:ObjectCreated:*`.
    pub events: Vec<String>,
    pub prefix: String,
    pub suffix: String,
}

impl Target {
    fn wants(&self, event: &str, key: &str) -> bool {
        let named = self.events.iter().any(|wanted| covers(wanted, event));
        named && key.starts_with(&self.prefix) && key.ends_with(&self.suffix)
    }

    /// Whether one write could be told to both, which S3 refuses to configure.
    pub fn overlaps(&self, other: &Target) -> bool {
        let same = |a: &String, b: &String| covers(a, bare(b)) || covers(b, bare(a));
        let events = self.events.iter().any(|a| other.events.iter().any(|b| same(a, b)));
        let prefixes = self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix);
        let suffixes = self.suffix.ends_with(&other.suffix) || other.suffix.ends_with(&self.suffix);
        events && prefixes && suffixes
    }
}

/// Events of a configuration have the `s3:` in front, those of a message have not.
fn bare(event: &str) -> &str {
    event.strip_prefix("s3:").unwrap_or(event)
}

fn covers(wanted: &str, event: &str) -> bool {
    match bare(wanted).strip_suffix('*') {
        Some(family) => event.starts_with(family),
        None => bare(wanted) == event,
    }
}

const TRIES: u32 = 3;

/// Tells the queues of a write. It has happened and stays, whatever becomes of this.
pub fn announce(store: &Store, settings: &Settings, event: &str, bucket: &str, key: &str, stored: &Stored) {
    for target in settings.notifications.iter().filter(|target| target.wants(event, key)) {
        let body = event_body(&settings.region, target, event, bucket, key, stored);
        if let Err(reason) = deliver(store, &target.queue_arn, &body) {
            tracing::error!("cannot tell {} of s3://{bucket}/{key}: {reason}", target.queue_arn);
        }
    }
}

fn deliver(store: &Store, queue_arn: &str, body: &str) -> Result<(), String> {
    let mut tries = 1;
    loop {
        match (store.deliver)(queue_arn, body.to_owned()) {
            Err(_) if tries < TRIES => thread::sleep(Duration::from_millis(10 << tries)),
            ended => return ended,
        }
        tries += 1;
    }
}

fn event_body(
    region: &str,
    target: &Target,
    event: &str,
    bucket: &str,
    key: &str,
    stored: &Stored,
) -> String {
    let content = &stored.content;
    let mut object = json!({
        "key": form_encode(key),
        "size": content.size,
        "eTag": content.etag,
        "sequencer": sequencer::format(stored.written.sequence),
    });
    if let Some(id) = &stored.written.version.id {
        object["versionId"] = json!(id);
    }
    let record = json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": iso(stored.written.version.modified),
        "eventName": event,
        "userIdentity": {"principalId": format!("AWS:{}", super::ACCESS_KEY_ID)},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": request_id(), "x-amz-id-2": unique()},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": target.id,
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": OWNER_ID},
                "arn": format!("arn:aws:s3:::{bucket}"),
            },
            "object": object,
        },
    });
    json!({"Records": [record]}).to_string()
}

/// What a queue gets when it is configured, to show that it can be reached.
pub fn test_event_body(bucket: &str) -> String {
    json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": iso(Time::now()),
        "Bucket": bucket,
        "RequestId": request_id(),
        "HostId": unique(),
    })
    .to_string()
}

pub fn request_id() -> String {
    unique()[..16].to_ascii_uppercase()
}

fn iso(time: Time) -> String {
    let mut text = Vec::new();
    Timestamp::from(time).format(TimestampFormat::DateTime, &mut text).expect("writing to a Vec cannot fail");
    String::from_utf8(text).expect("a date is ASCII")
}

const KEPT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*').remove(b'/').remove(b' ');

/// As HTML forms do it, but `/` stays: of keys in events, and in listings with `encoding-type=url`.
pub fn form_encode(key: &str) -> String {
    utf8_percent_encode(key, KEPT).to_string().replace(' ', "+")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(events: &[&str], prefix: &str, suffix: &str) -> Target {
        Target {
            id: "t".into(),
            queue_arn: "arn:aws:sqs:us-east-1:000000000000:q".into(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            prefix: prefix.into(),
            suffix: suffix.into(),
        }
    }

    #[test]
    fn keys_are_encoded_as_forms_are() {
        let rows = [
            ("a b.jpg", "a+b.jpg"),
            ("a+b.jpg", "a%2Bb.jpg"),
            ("100%.jpg", "100%25.jpg"),
            ("x//y/", "x//y/"),
            ("ü/日", "%C3%BC/%E6%97%A5"),
            ("(1)&=~!'*-._", "%281%29%26%3D%7E%21%27*-._"),
        ];
        for (key, encoded) in rows {
            assert_eq!(form_encode(key), encoded);
        }
    }

    #[test]
    fn a_target_wants_what_its_events_and_filters_say() {
        let all = target(&["s3:ObjectCreated:*"], "in/", ".jpg");
        assert!(all.wants("ObjectCreated:Put", "in/a.jpg"));
        assert!(!all.wants("ObjectCreated:Put", "out/a.jpg"));
        assert!(!all.wants("ObjectCreated:Put", "in/a.png"));
        let copies = target(&["s3:ObjectCreated:Copy"], "", "");
        assert!(copies.wants("ObjectCreated:Copy", "x") && !copies.wants("ObjectCreated:Put", "x"));
    }

    #[test]
    fn overlapping_targets_are_recognised() {
        let jpg = target(&["s3:ObjectCreated:*"], "", ".jpg");
        assert!(jpg.overlaps(&target(&["s3:ObjectCreated:Put"], "in/", ".jpg")));
        assert!(!jpg.overlaps(&target(&["s3:ObjectCreated:Put"], "in/", ".png")));
        assert!(!jpg.overlaps(&target(&["s3:ObjectRemoved:*"], "", ".jpg")));
        assert!(!target(&["s3:ObjectCreated:*"], "a/", "").overlaps(&target(
            &["s3:ObjectCreated:*"],
            "b/",
            ""
        )));
    }
}
