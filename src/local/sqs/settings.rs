//! The attributes a person can set on a queue, checked as SQS checks them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use super::fault::{Fault, Kind};
use super::message::MAX_BYTES;
use super::redrive::{Allowed, Redrive};

/// How a queue behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub visibility: u32,
    pub retention: u32,
    pub delay: u32,
    pub wait: u32,
    pub max_bytes: u32,
    pub redrive: Option<Redrive>,
    pub redrive_allow: Option<Allowed>,
    policy: Option<String>,
    managed_sse: bool,
    kms_key: Option<String>,
    kms_reuse: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            visibility: 30,
            retention: 345_600,
            delay: 0,
            wait: 0,
            max_bytes: largest(),
            redrive: None,
            redrive_allow: None,
            policy: None,
            managed_sse: true,
            kms_key: None,
            kms_reuse: 300,
        }
    }
}

impl Settings {
    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.retention.into())
    }

    /// Takes a request's attributes; on error the settings are half changed and must be dropped.
    pub fn apply(&mut self, attributes: &BTreeMap<String, String>) -> Result<(), Fault> {
        for (name, value) in attributes {
            self.set(name, value)?;
        }
        if self.kms_key.is_some() && attributes.contains_key("KmsMasterKeyId") {
            self.managed_sse = false;
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        match name {
            "VisibilityTimeout" => self.visibility = number(name, value, 0, 43_200)?,
            "MessageRetentionPeriod" => self.retention = number(name, value, 60, 1_209_600)?,
            "DelaySeconds" => self.delay = number(name, value, 0, 900)?,
            "ReceiveMessageWaitTimeSeconds" => self.wait = number(name, value, 0, 20)?,
            "MaximumMessageSize" => self.max_bytes = number(name, value, 1024, largest())?,
            "RedrivePolicy" => self.redrive = unless_empty(value, Redrive::parse)?,
            "RedriveAllowPolicy" => self.redrive_allow = unless_empty(value, Allowed::parse)?,
            "Policy" => self.policy = unless_empty(value, policy)?,
            "SqsManagedSseEnabled" => self.managed_sse = boolean(name, value)?,
            "KmsMasterKeyId" if value.len() > 2048 => return Err(wrong(name)),
            "KmsMasterKeyId" => self.kms_key = Some(value.to_owned()).filter(|key| !key.is_empty()),
            "KmsDataKeyReusePeriodSeconds" => self.kms_reuse = number(name, value, 60, 86_400)?,
            "FifoQueue" | "ContentBasedDeduplication" | "DeduplicationScope" | "FifoThroughputLimit" => {
                return Err(Kind::UnsupportedOperation
                    .with(format!("FIFO queues are not supported here: leave out the attribute {name}")));
            }
            _ => return Err(Kind::InvalidAttributeName.with(format!("unknown attribute {name}"))),
        }
        Ok(())
    }

    /// All of it as attributes; `apply` on default settings gives the same settings back.
    pub fn shown(&self) -> BTreeMap<String, String> {
        let mut shown = BTreeMap::from([
            ("VisibilityTimeout", self.visibility.to_string()),
            ("MessageRetentionPeriod", self.retention.to_string()),
            ("DelaySeconds", self.delay.to_string()),
            ("ReceiveMessageWaitTimeSeconds", self.wait.to_string()),
            ("MaximumMessageSize", self.max_bytes.to_string()),
            ("SqsManagedSseEnabled", self.managed_sse.to_string()),
        ]);
        shown.extend(self.redrive.as_ref().map(|redrive| ("RedrivePolicy", redrive.text.clone())));
        shown.extend(self.redrive_allow.as_ref().map(|allowed| ("RedriveAllowPolicy", allowed.text.clone())));
        shown.extend(self.policy.as_ref().map(|policy| ("Policy", policy.clone())));
        if let Some(key) = &self.kms_key {
            shown.insert("KmsMasterKeyId", key.clone());
            shown.insert("KmsDataKeyReusePeriodSeconds", self.kms_reuse.to_string());
        }
        shown.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn largest() -> u32 {
    u32::try_from(MAX_BYTES).expect("a mebibyte fits in 32 bits")
}

fn wrong(name: &str) -> Fault {
    Kind::InvalidAttributeValue.with(format!("invalid value for the parameter {name}"))
}

fn number(name: &str, value: &str, least: u32, most: u32) -> Result<u32, Fault> {
    match value.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(Kind::InvalidAttributeValue.with(format!(
            "invalid value {value:?} for the parameter {name}: must be between {least} and {most}"
        ))),
    }
}

fn boolean(name: &str, value: &str) -> Result<bool, Fault> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(wrong(name)),
    }
}

/// An empty value takes the attribute away.
fn unless_empty<T>(value: &str, parse: fn(&str) -> Result<T, Fault>) -> Result<Option<T>, Fault> {
    if value.is_empty() { Ok(None) } else { parse(value).map(Some) }
}

/// A policy is kept and shown, but not enforced: everything here belongs to one person.
fn policy(text: &str) -> Result<String, Fault> {
    let json: Json = serde_json::from_str(text).map_err(|_| wrong("Policy"))?;
    if text.len() > 20_480 || json.get("Statement").is_none() {
        return Err(wrong("Policy"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(name: &str, value: &str) -> Result<Settings, Kind> {
        let mut settings = Settings::default();
        let outcome = settings.apply(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
        outcome.map(|()| settings).map_err(|fault| fault.kind)
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        for (name, value) in [
            ("VisibilityTimeout", "43201"),
            ("VisibilityTimeout", "-1"),
            ("MessageRetentionPeriod", "59"),
            ("DelaySeconds", "901"),
            ("ReceiveMessageWaitTimeSeconds", "21"),
            ("MaximumMessageSize", "1048577"),
            ("MaximumMessageSize", "a lot"),
            ("SqsManagedSseEnabled", "perhaps"),
            ("Policy", "{}"),
        ] {
            assert_eq!(applied(name, value), Err(Kind::InvalidAttributeValue), "{name}={value}");
        }
    }

    #[test]
    fn unknown_and_fifo_attributes_are_told_apart() {
        assert_eq!(applied("Colour", "red"), Err(Kind::InvalidAttributeName));
        assert_eq!(applied("QueueArn", "x"), Err(Kind::InvalidAttributeName));
        assert_eq!(applied("FifoQueue", "true"), Err(Kind::UnsupportedOperation));
    }

    #[test]
    fn shown_settings_can_be_applied_again() {
        let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:a:1:dead","maxReceiveCount":"5"}"#;
        let mut settings = applied("RedrivePolicy", policy).unwrap();
        settings.apply(&BTreeMap::from([("KmsMasterKeyId".to_owned(), "alias/k".to_owned())])).unwrap();
        let mut again = Settings::default();
        again.apply(&settings.shown()).unwrap();
        assert_eq!(again, settings);
    }

    #[test]
    fn an_empty_value_takes_a_policy_away() {
        let mut settings = applied("Policy", r#"{"Statement":[]}"#).unwrap();
        settings.apply(&BTreeMap::from([("Policy".to_owned(), String::new())])).unwrap();
        assert_eq!(settings, Settings::default());
    }
}
