//! Where messages go that fail too often, and which queues may send theirs here.

use serde_json::Value as Json;

use super::fault::{Fault, Kind};

/// A queue's `RedrivePolicy`.
#[derive(Debug, Clone)]
pub struct Redrive {
    pub target_arn: String,
    pub max_receives: u32,
    /// As it was written, for showing.
    pub text: String,
}

/// A queue's `RedriveAllowPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    sources: Sources,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Sources {
    All,
    None,
    These(Vec<String>),
}

impl Redrive {
    pub fn parse(text: &str) -> Result<Redrive, Fault> {
        let wrong = |reason| Fault::invalid("RedrivePolicy", short(text), reason);
        let json: Json = serde_json::from_str(text).map_err(|_| wrong("it is not JSON"))?;
        let target = json.get("deadLetterTargetArn").and_then(Json::as_str);
        let target = target.ok_or_else(|| wrong("deadLetterTargetArn is missing"))?;
        // Templates write the count as a string as often as a number.
        let count = match json.get("maxReceiveCount") {
            Some(Json::String(digits)) => digits.parse().ok(),
            Some(number) => number.as_u64(),
            None => return Err(wrong("maxReceiveCount is missing")),
        };
        let max_receives = count
            .filter(|count| (1..=1000).contains(count))
            .and_then(|count| u32::try_from(count).ok())
            .ok_or_else(|| wrong("maxReceiveCount must be between 1 and 1000"))?;
        Ok(Redrive { target_arn: target.to_owned(), max_receives, text: text.to_owned() })
    }
}

/// Two spellings of one policy are equal: `CreateQueue` compares what is meant.
impl PartialEq for Redrive {
    fn eq(&self, other: &Redrive) -> bool {
        (&self.target_arn, self.max_receives) == (&other.target_arn, other.max_receives)
    }
}

impl Eq for Redrive {}

impl Allowed {
    pub fn parse(text: &str) -> Result<Allowed, Fault> {
        let wrong = |reason| Fault::invalid("RedriveAllowPolicy", short(text), reason);
        let json: Json = serde_json::from_str(text).map_err(|_| wrong("it is not JSON"))?;
        let arns = json.get("sourceQueueArns").and_then(Json::as_array);
        let sources = match (json.get("redrivePermission").and_then(Json::as_str), arns) {
            (Some("allowAll"), None) => Sources::All,
            (Some("denyAll"), None) => Sources::None,
            (Some("byQueue"), Some(arns)) if (1..=10).contains(&arns.len()) => {
                let arns: Option<_> = arns.iter().map(|arn| arn.as_str().map(str::to_owned)).collect();
                Sources::These(arns.ok_or_else(|| wrong("sourceQueueArns must be strings"))?)
            }
            (Some("byQueue"), _) => return Err(wrong("byQueue needs 1 to 10 sourceQueueArns")),
            (Some("allowAll" | "denyAll"), Some(_)) => {
                return Err(wrong("sourceQueueArns goes with byQueue only"));
            }
            _ => return Err(wrong("redrivePermission must be allowAll, denyAll or byQueue")),
        };
        Ok(Allowed { sources, text: text.to_owned() })
    }

    pub fn admits(&self, source_arn: &str) -> bool {
        match &self.sources {
            Sources::All => true,
            Sources::None => false,
            Sources::These(arns) => arns.iter().any(|arn| arn == source_arn),
        }
    }
}

pub fn refused(arn: &str, reason: &str) -> Fault {
    Kind::InvalidParameterValue.with(format!("RedrivePolicy cannot name {arn}: {reason}"))
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_may_be_a_number_or_a_string() {
        let number = Redrive::parse(r#"{"deadLetterTargetArn":"a","maxReceiveCount":5}"#).unwrap();
        let string = Redrive::parse(r#"{"maxReceiveCount":"5","deadLetterTargetArn":"a"}"#).unwrap();
        assert_eq!(number, string);
        assert_eq!(number.max_receives, 5);
    }

    #[test]
    fn half_a_redrive_policy_is_refused() {
        for text in [
            "no",
            "{}",
            r#"{"deadLetterTargetArn":"a"}"#,
            r#"{"maxReceiveCount":5}"#,
            r#"{"deadLetterTargetArn":"a","maxReceiveCount":0}"#,
            r#"{"deadLetterTargetArn":"a","maxReceiveCount":1001}"#,
            r#"{"deadLetterTargetArn":7,"maxReceiveCount":5}"#,
        ] {
            assert_eq!(Redrive::parse(text).unwrap_err().kind, Kind::InvalidParameterValue, "{text}");
        }
    }

    #[test]
    fn only_named_queues_are_admitted_by_queue() {
        let some = Allowed::parse(r#"{"redrivePermission":"byQueue","sourceQueueArns":["a","b"]}"#).unwrap();
        assert!(some.admits("a") && !some.admits("c"));
        assert!(Allowed::parse(r#"{"redrivePermission":"allowAll"}"#).unwrap().admits("c"));
        assert!(!Allowed::parse(r#"{"redrivePermission":"denyAll"}"#).unwrap().admits("c"));
        for text in [
            "[]",
            r#"{"redrivePermission":"byQueue"}"#,
            r#"{"redrivePermission":"denyAll","sourceQueueArns":[]}"#,
        ] {
            assert!(Allowed::parse(text).is_err(), "{text}");
        }
    }
}
