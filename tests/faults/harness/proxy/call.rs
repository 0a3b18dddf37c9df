//! What a request asks: the operation, and what it is about.

use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// The calls that a worker makes, and the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    GetObject,
    HeadObject,
    PutObject,
    OtherS3,
    Receive,
    /// A receive that takes nothing: what it shows stays visible.
    Look,
    Send,
    Delete,
    ChangeVisibility,
    AboutQueue,
}

impl Operation {
    pub fn is_s3(self) -> bool {
        matches!(self, Self::GetObject | Self::HeadObject | Self::PutObject | Self::OtherS3)
    }
}

/// One entry of a delete or of a change of visibility.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: String,
    pub receipt: String,
    /// Seconds from now; None for deletes.
    pub visibility: Option<u64>,
}

/// A request, understood.
#[derive(Debug, Clone)]
pub struct Call {
    pub operation: Operation,
    /// Bucket, or the last part of the queue's URL.
    pub target: String,
    /// Decoded; empty for SQS.
    pub key: String,
    pub entries: Vec<Entry>,
    pub headers: HeaderMap,
    /// That the request was signed for.
    pub region: String,
    /// The body of SQS requests.
    pub json: Value,
    pub bytes: usize,
}

impl Call {
    pub fn read(parts: &Parts, body: &Bytes) -> Self {
        let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let target = header("x-amz-target");
        let mut call = match target.rsplit('.').next().filter(|t| !t.is_empty()) {
            Some(action) => Self::sqs(action, body),
            None => Self::s3(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default()),
        };
        // A long run keeps hundreds of thousands of calls: only what somebody looks at stays.
        let kept = |name: &str| {
            name.starts_with("x-amz-meta-")
                || matches!(name, "if-match" | "if-none-match" | "x-amz-date" | "x-amz-request-payer")
        };
        let headers = parts.headers.iter().filter(|(name, _)| kept(name.as_str()));
        call.headers = headers.map(|(name, value)| (name.clone(), value.clone())).collect();
        // `Credential=KEY/DATE/REGION/SERVICE/aws4_request, …`
        call.region = header("authorization").split('/').nth(2).unwrap_or_default().to_owned();
        call.bytes = body.len();
        call
    }

    fn sqs(action: &str, body: &Bytes) -> Self {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let operation = match action {
            "ReceiveMessage" if json["VisibilityTimeout"] == 0 => Operation::Look,
            "ReceiveMessage" => Operation::Receive,
            "SendMessage" | "SendMessageBatch" => Operation::Send,
            "DeleteMessage" | "DeleteMessageBatch" => Operation::Delete,
            "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch" => Operation::ChangeVisibility,
            _ => Operation::AboutQueue,
        };
        let entry = |entry: &Value| Entry {
            id: entry["Id"].as_str().unwrap_or_default().to_owned(),
            receipt: entry["ReceiptHandle"].as_str().unwrap_or_default().to_owned(),
            visibility: entry["VisibilityTimeout"].as_u64(),
        };
        let settles = matches!(operation, Operation::Delete | Operation::ChangeVisibility);
        let entries = match json["Entries"].as_array() {
            Some(list) if settles => list.iter().map(entry).collect(),
            None if settles => vec![entry(&json)],
            _ => Vec::new(),
        };
        let url = json["QueueUrl"].as_str().or(json["QueueName"].as_str()).unwrap_or_default();
        let target = url.rsplit('/').next().unwrap_or_default().to_owned();
        Self {
            operation,
            target,
            key: String::new(),
            entries,
            headers: HeaderMap::new(),
            region: String::new(),
            json,
            bytes: 0,
        }
    }

    /// Path style: `/bucket/key`.
    fn s3(method: &Method, path: &str, query: &str) -> Self {
        let path = path.trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let decoded = percent_decode_str(key).decode_utf8_lossy().into_owned();
        // The SDK adds x-id; anything more names a sub-resource or a listing.
        let plain = query.split('&').all(|q| {
            q.is_empty()
                || q.starts_with("x-id=")
                || q.starts_with("versionId=")
                || q.starts_with("partNumber=")
        });
        let operation = match *method {
            Method::GET if plain && !key.is_empty() => Operation::GetObject,
            Method::HEAD if !key.is_empty() => Operation::HeadObject,
            Method::PUT if plain && !key.is_empty() => Operation::PutObject,
            _ => Operation::OtherS3,
        };
        Self {
            operation,
            target: bucket.to_owned(),
            key: decoded,
            entries: Vec::new(),
            headers: HeaderMap::new(),
            region: String::new(),
            json: Value::Null,
            bytes: 0,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// User metadata of an upload.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.header(&format!("x-amz-meta-{name}"))
    }

    /// One line for a story.
    pub fn summary(&self) -> String {
        let mut line = format!("{:?} {}", self.operation, self.target);
        if !self.key.is_empty() {
            line.push_str(&format!(" {}", self.key));
        }
        for name in ["if-match", "if-none-match"] {
            if let Some(value) = self.header(name) {
                line.push_str(&format!(" {name}={value}"));
            }
        }
        for entry in &self.entries {
            let visibility = entry.visibility.map_or(String::new(), |v| format!("={v}s"));
            line.push_str(&format!(" {}{visibility}", short(&entry.receipt)));
        }
        line
    }
}

/// The end of a receipt handle tells it apart from the others of its message.
pub fn short(receipt: &str) -> &str {
    let start = receipt.char_indices().rev().nth(7).map_or(0, |(i, _)| i);
    &receipt[start..]
}
