//! Message attributes: typed values beside the body, their rules and their digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fault::{Fault, Kind};
use super::message::md5_hex;

/// A message's attributes by name.
pub type Values = BTreeMap<String, Value>;

/// One attribute, in the form it has on the wire and in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Value {
    #[serde(default)]
    data_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    string_value: Option<String>,
    /// Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    binary_value: Option<String>,
}

impl Value {
    pub fn string(text: &str) -> Value {
        Value { data_type: "String".into(), string_value: Some(text.into()), binary_value: None }
    }

    /// The text of a plain string attribute.
    pub fn text(&self) -> Option<&str> {
        self.string_value.as_deref().filter(|_| self.data_type == "String")
    }

    fn content(&self) -> Vec<u8> {
        match (&self.string_value, &self.binary_value) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, Some(base64)) => decode_base64(base64).unwrap_or_default(),
            (None, None) => Vec::new(),
        }
    }

    fn check(&self, name: &str) -> Result<(), Fault> {
        let refuse = |reason: &str| {
            let message = format!("the message attribute {name:?} with type {:?} {reason}", self.data_type);
            Err(Kind::InvalidParameterValue.with(message))
        };
        if self.data_type.len() > 256 {
            return refuse("has a type longer than 256 bytes");
        }
        match (self.data_type.split('.').next().unwrap_or_default(), &self.string_value, &self.binary_value) {
            ("String", Some(text), None) if !text.is_empty() => Ok(()),
            ("Number", Some(text), None) if is_number(text) => Ok(()),
            ("Number", Some(_), None) => refuse("is not a number of at most 38 digits"),
            ("Binary", None, Some(base64)) => match decode_base64(base64) {
                Some(content) if !content.is_empty() => Ok(()),
                Some(_) => refuse("must contain a non-empty value"),
                None => refuse("is not valid base64"),
            },
            ("String" | "Number", ..) => refuse("must contain a non-empty StringValue and nothing else"),
            ("Binary", ..) => refuse("must contain a non-empty BinaryValue and nothing else"),
            _ => refuse("must have a type that starts with String, Number or Binary"),
        }
    }
}

/// Refuses attributes SQS would refuse.
pub fn check(values: &Values) -> Result<(), Fault> {
    if values.len() > 10 {
        return Err(Kind::InvalidParameterValue
            .with(format!("the message has {} attributes, but at most 10 are accepted", values.len())));
    }
    for (name, value) in values {
        check_name(name)?;
        value.check(name)?;
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Fault> {
    let lower = name.to_ascii_lowercase();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let reason = if name.is_empty() || name.len() > 256 {
        "must be 1 to 256 characters long"
    } else if !name.bytes().all(allowed) {
        "can contain only letters, digits, hyphens, underscores and periods"
    } else if name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        "can neither start nor end with a period, nor have two in a row"
    } else if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        "must not start with AWS. or Amazon., which are reserved"
    } else {
        return Ok(());
    };
    Err(Kind::InvalidParameterValue.with(format!("the message attribute name {name:?} {reason}")))
}

fn is_number(text: &str) -> bool {
    let plain =
        text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    plain && digits <= 38 && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// What the attributes count towards the size limit: names, types and values.
pub fn bytes(values: &Values) -> usize {
    values.iter().map(|(name, value)| name.len() + value.data_type.len() + value.content().len()).sum()
}

/// The digest of all attributes: each in order of name, every part preceded by its length.
pub fn md5(values: &Values) -> String {
    let mut encoded = Vec::new();
    let mut part = |bytes: &[u8], kind: Option<u8>| {
        encoded.extend(kind);
        // Sizes were checked: no part exceeds a megabyte.
        encoded.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        encoded.extend_from_slice(bytes);
    };
    for (name, value) in values {
        part(name.as_bytes(), None);
        part(value.data_type.as_bytes(), None);
        let kind = if value.data_type.starts_with("Binary") { 2 } else { 1 };
        part(&value.content(), Some(kind));
    }
    md5_hex(&encoded)
}

/// Those of `values` a receive asked for: by name, by `prefix.*`, or all.
pub fn select(values: &Values, wanted: &[String]) -> Values {
    let is_wanted = |name: &str| {
        wanted.iter().any(|pattern| match pattern.strip_suffix(".*") {
            _ if pattern == "All" => true,
            Some(prefix) => name.starts_with(prefix),
            None => pattern == name,
        })
    };
    values
        .iter()
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Decodes padded base64, or says that it is not.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let symbol = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let data = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
    for group in data.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for &byte in group {
            bits = bits << 6 | u32::from(symbol(byte)?);
        }
        bits <<= 6 * (4 - group.len());
        decoded.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(data_type: &str, text: &str) -> Value {
        Value { data_type: data_type.into(), ..Value::string(text) }
    }

    fn binary(base64: &str) -> Value {
        Value { data_type: "Binary".into(), string_value: None, binary_value: Some(base64.into()) }
    }

    fn refused(name: &str, value: Value) -> bool {
        check(&Values::from([(name.to_owned(), value)])).is_err()
    }

    /// The vectors come from a library that SQS's own answers were checked against.
    #[test]
    fn digests_are_those_of_sqs() {
        let one = Values::from([("attribName1".to_owned(), value("String", "attribValue 1"))]);
        assert_eq!(md5(&one), "19e27d4e946b072f3f58da80d94fd778");
        let custom = value("Number.float", "4563442423554324324264524243.32543234");
        let two = Values::from([("customNumberTypeAttrib".to_owned(), custom.clone())]);
        assert_eq!(md5(&two), "9fe1b90bbd9965bdf77bac517c7d2495");
        let hello = binary("SGVsbG8gYmluYXJ5IHdvcmxkIQ==");
        let three = Values::from([("binaryAttribute".to_owned(), hello.clone())]);
        assert_eq!(md5(&three), "31a92b15d92f8db860eda32aceb656c3");
        let all = one.into_iter().chain(two).chain(three).collect();
        assert_eq!(md5(&all), "c932db14a896c663f83c260297d594ff");
    }

    #[test]
    fn values_must_fit_their_type() {
        assert!(!refused("ok", value("Number.int", "-1.5e3")));
        assert!(!refused("ok", binary("AA==")));
        for (data_type, text) in
            [("Number", "seven"), ("Number", "inf"), ("String", ""), ("Text", "x"), ("", "x")]
        {
            assert!(refused("bad", value(data_type, text)), "{data_type} {text}");
        }
        for base64 in ["", "A", "A===", "AA", "A*==", "===="] {
            assert!(refused("bad", binary(base64)), "{base64}");
        }
    }

    #[test]
    fn names_must_not_be_reserved_or_odd() {
        for name in ["", "AWS.x", "amazon.x", ".x", "x.", "a..b", "a b", "ü"] {
            assert!(refused(name, Value::string("x")), "{name}");
        }
        let eleven = (0..11).map(|number| (format!("n{number}"), Value::string("x"))).collect();
        assert!(check(&eleven).is_err());
    }

    #[test]
    fn attributes_are_selected_by_name_prefix_or_all() {
        let values: Values =
            ["job.kind", "job.try", "other"].map(|name| (name.into(), Value::string("x"))).into();
        let names = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
            select(&values, &wanted).into_keys().collect::<Vec<_>>()
        };
        assert_eq!(names(&["job.*"]), ["job.kind", "job.try"]);
        assert_eq!(names(&["other", "absent"]), ["other"]);
        assert_eq!((names(&["All"]).len(), names(&[".*"]).len(), names(&[]).len()), (3, 3, 0));
    }

    #[test]
    fn base64_decodes_every_remainder() {
        assert_eq!(decode_base64("TWFu").unwrap(), b"Man");
        assert_eq!(decode_base64("TWE=").unwrap(), b"Ma");
        assert_eq!(decode_base64("TQ==").unwrap(), b"M");
        assert_eq!(decode_base64("").unwrap(), b"");
        assert!(decode_base64("TQ=").is_none());
    }
}
