//! Receipt handles: which receive of which message of which queue.

use std::fmt;

use super::fault::{Fault, Kind};
use super::message::MessageId;

/// The right to settle one receive. A queue made anew under an old name has another tag, so handles
/// of its predecessor are invalid; the nonce tells one receive from the next, also across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    pub queue_tag: u64,
    pub message: MessageId,
    pub nonce: u64,
}

impl Handle {
    /// Reads a handle that must belong to the queue with `queue_tag`.
    pub fn parse(text: Option<&str>, queue_tag: u64) -> Result<Handle, Fault> {
        let text = text.filter(|text| !text.is_empty()).ok_or_else(|| Fault::missing("ReceiptHandle"))?;
        Handle::read(text).filter(|handle| handle.queue_tag == queue_tag).ok_or_else(|| {
            Kind::ReceiptHandleIsInvalid
                .with("the receipt handle is not one this queue gave out: pass it unchanged")
        })
    }

    fn read(text: &str) -> Option<Handle> {
        let hex = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !hex {
            return None;
        }
        Some(Handle {
            queue_tag: u64::from_str_radix(&text[..16], 16).ok()?,
            message: MessageId(u128::from_str_radix(&text[16..48], 16).ok()?),
            nonce: u64::from_str_radix(&text[48..], 16).ok()?,
        })
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}{:032x}{:016x}", self.queue_tag, self.message.0, self.nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_survives_its_text() {
        let handle = Handle { queue_tag: 7, message: MessageId::random(), nonce: u64::MAX };
        assert_eq!(Handle::parse(Some(&handle.to_string()), 7), Ok(handle));
    }

    #[test]
    fn a_handle_of_another_queue_or_none_at_all_is_invalid() {
        let handle = Handle { queue_tag: 7, message: MessageId::random(), nonce: 1 }.to_string();
        let kind = |text: &str, tag| Handle::parse(Some(text), tag).unwrap_err().kind;
        assert_eq!(kind(&handle, 8), Kind::ReceiptHandleIsInvalid);
        for text in ["nonsense", &handle[1..], &handle.to_uppercase(), &"é".repeat(32)] {
            assert_eq!(kind(text, 7), Kind::ReceiptHandleIsInvalid, "{text}");
        }
        assert_eq!(kind("", 7), Kind::MissingParameter);
    }
}
