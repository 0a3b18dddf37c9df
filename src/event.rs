//! What a message body says: objects created, a row of a table, or noise. Pure: strings and JSON only.
//!
//! Four envelopes carry the same news (S3 → SQS, S3 → SNS → SQS, SNS raw delivery, S3 →
//! EventBridge → SQS). They differ in one trap: the first three form-encode the key, EventBridge
//! gives it raw.

mod write;

pub use write::body_for;

use crate::command::wire::{Envelope, Ticket, VERSION};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::cmp::Ordering;

/// What one message body says.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// S3 records, each to be attempted. The original JSON of each is kept for the dead-letter queue.
    Records(Vec<Record>),
    /// A row to run a script for.
    Row(Ticket),
    /// A message that wants nothing of us, by a named rule.
    Noise(Noise),
}

/// One record of a message, with the JSON that it came as.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub meaning: Meaning,
    pub json: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    Created(Created),
    Noise(Noise),
    /// Not understood, with the reason.
    Malformed(String),
}

impl Meaning {
    pub fn created(&self) -> Option<&Created> {
        match self {
            Self::Created(created) => Some(created),
            Self::Noise(_) | Self::Malformed(_) => None,
        }
    }
}

/// Why something is deleted without work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// `s3:TestEvent`, which S3 sends when a notification is set.
    TestEvent,
    /// An event name other than ObjectCreated.
    OtherEvent,
    /// A zero-byte key ending in `/`, made by consoles to show a folder.
    FolderMarker,
    /// The key does not end in one of the configured suffixes.
    Suffix,
    /// The key lies outside the configured input prefix.
    OutsidePrefix,
    /// The key lies under one of our own output prefixes in the output bucket.
    OwnOutput,
    /// The job of the row was cancelled.
    Cancelled,
}

impl Noise {
    pub fn slug(self) -> &'static str {
        match self {
            Self::TestEvent => "test-event",
            Self::OtherEvent => "other-event",
            Self::FolderMarker => "folder-marker",
            Self::Suffix => "suffix",
            Self::OutsidePrefix => "outside-prefix",
            Self::OwnOutput => "own-output",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An object that came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    pub bucket: String,
    /// The key as S3 stores it, decoded.
    pub key: String,
    /// None when the bucket is not versioned.
    pub version: Option<String>,
    pub sequencer: Option<Sequencer>,
    /// Bytes, if the event says.
    pub size: Option<u64>,
    /// Without quotes.
    pub etag: Option<String>,
}

/// Which service ordered the events. Sequencers of two channels are never compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    S3,
    EventBridge,
}

impl Channel {
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::EventBridge => "eventbridge",
        }
    }
}

/// S3's order of events of one key: hexadecimal, of any length.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sequencer {
    pub channel: Channel,
    pub hex: String,
}

impl Sequencer {
    /// None if `hex` is not hexadecimal or absurdly long: such a value orders nothing.
    pub fn new(channel: Channel, hex: &str) -> Option<Self> {
        let fits = !hex.is_empty() && hex.len() <= 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        fits.then(|| Self { channel, hex: hex.to_ascii_uppercase() })
    }

    /// The order of two events of the same key; None across channels.
    ///
    /// The shorter one is padded with zeros on the *right* (S3 user guide, "Event message
    /// structure"; before July 2021 the guide said left).
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        if self.channel != other.channel {
            return None;
        }
        let length = self.hex.len().max(other.hex.len());
        let padded = |s: &Self| format!("{:0<length$}", s.hex);
        Some(padded(self).cmp(&padded(other)))
    }
}

/// Nesting of SNS in SNS is never more than one in practice; a body may not recurse for ever.
const MAX_ENVELOPES: u32 = 2;

/// S3 sends one record a message; a megabyte of empty ones would be work for hours.
const MAX_RECORDS: usize = 1000;

impl Event {
    /// Reads a body. Err says why it is nothing that we know.
    pub fn parse(body: &str) -> Result<Self, String> {
        let json: Value = serde_json::from_str(body).map_err(|e| format!("the body is not JSON: {e}"))?;
        // As it was sent: topics do not speak of rows.
        if json["longshore"].is_object() {
            return row(json);
        }
        Self::from_json(json, MAX_ENVELOPES)
    }

    fn from_json(json: Value, envelopes: u32) -> Result<Self, String> {
        if json["Type"] == "Notification" && json["TopicArn"].is_string() {
            let Some(inner) = json["Message"].as_str() else {
                return Err("the SNS envelope holds no Message".into());
            };
            if envelopes == 0 {
                return Err("SNS envelopes are nested too deep".into());
            }
            let inner = serde_json::from_str(inner)
                .map_err(|e| format!("the Message of the SNS envelope is not JSON: {e}"))?;
            return Self::from_json(inner, envelopes - 1);
        }
        if json["Event"] == "s3:TestEvent" {
            return Ok(Self::Noise(Noise::TestEvent));
        }
        if json["source"] == "aws.s3" && json["detail-type"].is_string() {
            let meaning = eventbridge(&json);
            return Ok(Self::Records(vec![Record { meaning, json }]));
        }
        if let Value::Object(mut fields) = json
            && let Some(Value::Array(records)) = fields.remove("Records")
        {
            if records.is_empty() {
                return Err("Records is empty".into());
            }
            if records.len() > MAX_RECORDS {
                return Err(format!("{} records are more than the limit of {MAX_RECORDS}", records.len()));
            }
            let read = |json: Value| Record { meaning: s3_record(&json), json };
            return Ok(Self::Records(records.into_iter().map(read).collect()));
        }
        Err("neither an S3 event, an SNS notification of one, nor an EventBridge event".into())
    }
}

fn row(json: Value) -> Result<Event, String> {
    // What another version has else is not for us to judge.
    let version = &json["longshore"]["version"];
    if *version != VERSION {
        return Err(format!("a row's message of version {}, this worker knows {VERSION}", brief(version)));
    }
    let envelope: Envelope =
        serde_json::from_value(json).map_err(|e| format!("the message of a row is not whole: {e}"))?;
    Ok(Event::Row(envelope.longshore))
}

fn s3_record(json: &Value) -> Meaning {
    if json["eventSource"] != "aws:s3" {
        return Meaning::Malformed(format!("eventSource is {}, not \"aws:s3\"", brief(&json["eventSource"])));
    }
    // Minor versions only add fields; a new major one may mean something else.
    let version = json["eventVersion"].as_str().unwrap_or_default();
    if version.split('.').next() != Some("2") {
        return Meaning::Malformed(format!("eventVersion is {}, not 2.x", brief(&json["eventVersion"])));
    }
    let Some(name) = json["eventName"].as_str() else {
        return Meaning::Malformed("eventName is missing".into());
    };
    if !name.trim_start_matches("s3:").starts_with("ObjectCreated:") {
        return Meaning::Noise(Noise::OtherEvent);
    }
    let object = &json["s3"]["object"];
    let key = object["key"].as_str().map(form_decode);
    created(json["s3"]["bucket"]["name"].as_str(), key, object, "eTag", "versionId", Channel::S3)
}

fn eventbridge(json: &Value) -> Meaning {
    if json["detail-type"] != "Object Created" {
        return Meaning::Noise(Noise::OtherEvent);
    }
    let detail = &json["detail"];
    let object = &detail["object"];
    // EventBridge does not encode the key: decoding it would turn `a+b` into `a b`.
    let key = object["key"].as_str().map(|key| Ok(key.to_owned()));
    created(detail["bucket"]["name"].as_str(), key, object, "etag", "version-id", Channel::EventBridge)
}

fn created(
    bucket: Option<&str>,
    key: Option<Result<String, String>>,
    object: &Value,
    etag: &str,
    version: &str,
    channel: Channel,
) -> Meaning {
    let bucket = match bucket {
        Some(bucket) if is_bucket_name(bucket) => bucket.to_owned(),
        Some(bucket) => return Meaning::Malformed(format!("{} is not a bucket name", brief(&bucket.into()))),
        None => return Meaning::Malformed("the bucket's name is missing".into()),
    };
    let key = match key {
        Some(Ok(key)) if key.is_empty() => return Meaning::Malformed("the key is empty".into()),
        Some(Ok(key)) => key,
        Some(Err(why)) => return Meaning::Malformed(why),
        None => return Meaning::Malformed("the key is missing".into()),
    };
    let size = object["size"].as_u64();
    if key.ends_with('/') && size.unwrap_or(0) == 0 {
        return Meaning::Noise(Noise::FolderMarker);
    }
    let version = object[version].as_str().filter(|v| !v.is_empty() && *v != "null");
    Meaning::Created(Created {
        bucket,
        key,
        version: version.map(str::to_owned),
        sequencer: object["sequencer"].as_str().and_then(|hex| Sequencer::new(channel, hex)),
        size,
        etag: object[etag].as_str().map(|etag| etag.trim_matches('"').to_owned()),
    })
}

/// `+` is a space, then percent-decoding, once, then UTF-8.
fn form_decode(key: &str) -> Result<String, String> {
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(Into::into).map_err(|_| format!("the key {} is not UTF-8 once decoded", brief(&key.into())))
}

/// Whether this can be a bucket (S3 user guide, "Bucket naming rules", with the older rules of
/// us-east-1): such a name stays one path segment of a URL and never becomes another host.
/// Access-point ARNs are not bucket names and do not occur in events.
pub fn is_bucket_name(name: &str) -> bool {
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (3..=255).contains(&name.len())
        && name.bytes().all(letters)
        && name.as_bytes()[0].is_ascii_alphanumeric()
        && !name.contains("..")
}

/// A value from a stranger, short enough for one line.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests;
