//! What the operations take, field by field as in the AWS JSON protocol.
//!
//! Every field may be absent: what is required is checked where it is used, so that the answer
//! names the missing parameter.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::fault::{Fault, Kind};
use super::value::Values;

pub type Map = BTreeMap<String, String>;

/// Reads a request's body; an empty one counts as `{}`.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|failure| Kind::Serialization.with(format!("cannot read the request: {failure}")))
}

/// Declares request structs with optional fields under their AWS names.
macro_rules! requests {
    ($($name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {$(
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub struct $name { $(pub $field: Option<$kind>),* }
    )*};
}

requests! {
    OnQueue { queue_url: String }
    ListQueues { queue_name_prefix: String, next_token: String, max_results: i64 }
    ListDeadLetterSourceQueues { queue_url: String, next_token: String, max_results: i64 }
    GetQueueAttributes { queue_url: String, attribute_names: Vec<String> }
    SetQueueAttributes { queue_url: String, attributes: Map }
    TagQueue { queue_url: String, tags: Map }
    UntagQueue { queue_url: String, tag_keys: Vec<String> }
    SendMessageBatch { queue_url: String, entries: Vec<Outgoing> }
    DeleteMessage { queue_url: String, receipt_handle: String }
    DeleteMessageBatch { queue_url: String, entries: Vec<Settled> }
    ChangeMessageVisibility { queue_url: String, receipt_handle: String, visibility_timeout: i64 }
    ChangeMessageVisibilityBatch { queue_url: String, entries: Vec<Settled> }
    Settled { id: String, receipt_handle: String, visibility_timeout: i64 }
    ReceiveMessage {
        queue_url: String,
        attribute_names: Vec<String>,
        message_system_attribute_names: Vec<String>,
        message_attribute_names: Vec<String>,
        max_number_of_messages: i64,
        visibility_timeout: i64,
        wait_time_seconds: i64,
    }
    StartMessageMoveTask {
        source_arn: String,
        destination_arn: String,
        max_number_of_messages_per_second: i64,
    }
    ListMessageMoveTasks { source_arn: String, max_results: i64 }
    CancelMessageMoveTask { task_handle: String }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateQueue {
    pub queue_name: Option<String>,
    pub attributes: Option<Map>,
    // Lower case, unlike everything else.
    #[serde(rename = "tags")]
    pub tags: Option<Map>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetQueueUrl {
    pub queue_name: Option<String>,
    #[serde(rename = "QueueOwnerAWSAccountId")]
    pub owner: Option<String>,
}

/// One message to send: alone or as the entry of a batch.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Outgoing {
    pub id: Option<String>,
    pub message_body: Option<String>,
    pub delay_seconds: Option<i64>,
    pub message_attributes: Option<Values>,
    pub message_system_attributes: Option<Values>,
    pub message_group_id: Option<String>,
    pub message_deduplication_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SendMessage {
    pub queue_url: Option<String>,
    #[serde(flatten)]
    pub message: Outgoing,
}

/// A number within bounds, or its default when absent.
pub fn number(name: &str, value: Option<i64>, least: u32, most: u32, absent: u32) -> Result<u32, Fault> {
    let Some(value) = value else { return Ok(absent) };
    u32::try_from(value)
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| Fault::invalid(name, value, &format!("must be between {least} and {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_aws_names() {
        let request: ReceiveMessage = parse(
            br#"{"QueueUrl":"u","MaxNumberOfMessages":3,"WaitTimeSeconds":null,"MessageSystemAttributeNames":["All"]}"#,
        )
        .unwrap();
        assert_eq!((request.queue_url.as_deref(), request.max_number_of_messages), (Some("u"), Some(3)));
        assert_eq!(request.message_system_attribute_names.unwrap(), ["All"]);
        let owner: GetQueueUrl = parse(br#"{"QueueOwnerAWSAccountId":"1"}"#).unwrap();
        assert_eq!(owner.owner.as_deref(), Some("1"));
    }

    #[test]
    fn malformed_json_is_a_serialization_error_not_a_panic() {
        for body in ["{", "[]", "7", r#"{"QueueUrl":7}"#, "\u{0}", r#"{"QueueUrl":"\ud800"}"#] {
            assert_eq!(parse::<OnQueue>(body.as_bytes()).unwrap_err().kind, Kind::Serialization, "{body}");
        }
        let deep = format!("{{\"x\":{}", "[".repeat(100_000));
        assert_eq!(parse::<OnQueue>(deep.as_bytes()).unwrap_err().kind, Kind::Serialization);
        assert!(parse::<OnQueue>(b"").is_ok());
    }

    #[test]
    fn numbers_are_bounded() {
        assert_eq!(number("N", None, 1, 10, 1), Ok(1));
        assert_eq!(number("N", Some(10), 1, 10, 1), Ok(10));
        for value in [0, 11, -1, i64::MIN, i64::MAX] {
            assert!(number("N", Some(value), 1, 10, 1).is_err(), "{value}");
        }
    }
}
