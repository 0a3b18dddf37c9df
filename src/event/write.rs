//! Events that S3 did not send: of objects that are there already.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// The event that S3 would have sent, but for its order: nobody knows that any more.
pub fn body_for(bucket: &str, key: &str, bytes: u64, etag: &str) -> String {
    let record = json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0", "configurationId": "longshore-backfill",
            "bucket": {"name": bucket},
            "object": {"key": form_encode(key), "size": bytes, "eTag": etag},
        },
    });
    Value::to_string(&json!({ "Records": [record] }))
}

/// As S3 writes keys into events.
fn form_encode(key: &str) -> String {
    const KEPT: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b' ');
    utf8_percent_encode(key, KEPT).to_string().replace(' ', "+")
}
