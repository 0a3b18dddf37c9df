//! A message as it was sent: its body, its attributes, and the digests SDKs check.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use md5::{Digest, Md5};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::clock::wall_millis;
use super::fault::{Fault, Kind};
use super::value::{self, Values};

/// The largest message, and the largest batch.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Names a message for its whole life, through any number of receives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MessageId(pub u128);

impl MessageId {
    pub fn random() -> MessageId {
        // The form of a version 4 UUID, as in SQS.
        let bits = fastrand::u128(..);
        MessageId((bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(out, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MessageId, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bits = u128::from_str_radix(&text.replace('-', ""), 16);
        bits.map(MessageId).map_err(serde::de::Error::custom)
    }
}

/// What never changes about a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub id: MessageId,
    /// When it was first sent, in milliseconds since 1970; kept on the way to a dead-letter queue.
    pub sent: u64,
    pub body: String,
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub attributes: Values,
    /// The X-Ray trace header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The tenant of a fair queue. Shown, but no fairness is modelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl Message {
    pub fn new(body: String, attributes: Values, trace: Option<String>, group: Option<String>) -> Message {
        Message { id: MessageId::random(), sent: wall_millis(), body, attributes, trace, group }
    }

    /// The same content sent anew, as a redrive does: new id, new age.
    pub fn resent(&self) -> Message {
        Message { id: MessageId::random(), sent: wall_millis(), ..self.clone() }
    }

    pub fn bytes(&self) -> usize {
        self.body.len() + value::bytes(&self.attributes)
    }

    /// Refuses what SQS would not take into a queue limited to `limit` bytes.
    pub fn check(&self, limit: usize) -> Result<(), Fault> {
        if self.body.is_empty() {
            return Err(Fault::missing("MessageBody"));
        }
        if let Some(odd) = self.body.chars().find(|&character| !is_allowed(character)) {
            return Err(Kind::InvalidMessageContents
                .with(format!("the message contains U+{:04X}, which SQS does not accept", u32::from(odd))));
        }
        value::check(&self.attributes)?;
        let bytes = self.bytes();
        if bytes > limit {
            return Err(Kind::InvalidParameterValue.with(format!(
                "the message with its attributes has {bytes} bytes, but at most {limit} are accepted"
            )));
        }
        Ok(())
    }
}

/// The characters of XML 1.0.
fn is_allowed(character: char) -> bool {
    !matches!(character, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// MD5 in hex, as SQS answers it.
pub fn md5_hex(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the trace header contributes to a send's answer.
pub fn trace_md5(trace: &str) -> String {
    let value = value::Value::string(trace);
    value::md5(&BTreeMap::from([("AWSTraceHeader".to_owned(), value)]))
}

/// Serde for a shared message, without the `rc` feature for the whole crate.
pub mod shared {
    use super::{Arc, Deserialize, Deserializer, Message, Serialize, Serializer};

    pub fn serialize<S: Serializer>(message: &Arc<Message>, serializer: S) -> Result<S::Ok, S::Error> {
        message.as_ref().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Message>, D::Error> {
        Message::deserialize(deserializer).map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str) -> Message {
        Message::new(body.into(), Values::new(), None, None)
    }

    #[test]
    fn an_id_is_a_random_uuid_and_survives_json() {
        let id = MessageId::random();
        let text = id.to_string();
        assert_eq!((text.len(), &text[14..15]), (36, "4"));
        assert!("89ab".contains(&text[19..20]));
        assert_eq!(serde_json::from_str::<MessageId>(&format!("\"{text}\"")).unwrap(), id);
    }

    #[test]
    fn control_characters_are_refused_but_line_breaks_pass() {
        assert!(message("tab\tline\r\n\u{e000}\u{10ffff}").check(MAX_BYTES).is_ok());
        for body in ["nul\0", "\u{1b}[1m", "\u{ffff}"] {
            assert_eq!(message(body).check(MAX_BYTES).unwrap_err().kind, Kind::InvalidMessageContents);
        }
    }

    #[test]
    fn the_size_limit_counts_attributes() {
        let mut large = message(&"x".repeat(MAX_BYTES));
        assert!(large.check(MAX_BYTES).is_ok());
        large.attributes.insert("a".into(), value::Value::string("b"));
        assert_eq!(large.check(MAX_BYTES).unwrap_err().kind, Kind::InvalidParameterValue);
    }

    #[test]
    fn a_resent_message_keeps_only_its_content() {
        let old = message("again");
        let new = old.resent();
        assert_ne!(old.id, new.id);
        assert_eq!(old.body, new.body);
    }

    #[test]
    fn md5_is_lower_case_hex() {
        assert_eq!(md5_hex(b"This is a test message"), "fafb00f5732ab283681e124bf8747ed1");
    }
}
