//! What a message and the work bucket hold of a job. JSON, with names that stay.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The version that is written; others are rejected by name.
pub const VERSION: u32 = 1;

/// A message body that stands for one row. `longshore` tells it from an S3 event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    pub longshore: Ticket,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    pub version: u32,
    /// Its name, see [`super::layout::is_job_name`].
    pub job: String,
    /// None: under `attributes/` in the work bucket, being too large for a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<String>>,
    /// Counted from 1, without comments and the header.
    pub row: u64,
    /// Of the row, see [`Row::digest`]: a row that was replaced is told from the one that was queued.
    pub digest: String,
    /// [`Job::submitted_at`]: what is left in the queue of a job that was deleted is told from one of the same
    /// name. 0: not said.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub submitted_at: i64,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

fn is_nothing(n: &f64) -> bool {
    *n == 0.0
}

/// What was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub version: u32,
    pub name: String,
    /// Milliseconds since 1970.
    pub submitted_at: i64,
    pub columns: Vec<Column>,
    /// How many rows the table has.
    pub rows: u64,
    /// Of the script: hexadecimal SHA-256.
    pub script_sha256: String,
    /// The program that reads the script, with its arguments; the script's path follows.
    pub shell: Vec<String>,
    /// For every row, beneath the row's own.
    pub env: BTreeMap<String, String>,
    /// Seconds that one attempt may take.
    pub timeout: u64,
    /// After so many failed attempts a row is a dead letter.
    pub attempts: u32,
    /// Exit codes that will not get better.
    pub permanent: Vec<i32>,
    /// Whether the script gets the worker's AWS credentials.
    pub credentials: bool,
    /// Whether outputs of failed attempts are kept.
    pub keep_failed: bool,
    /// Whether the worker pays for requests to the buckets of the table, where these want that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub request_payer: bool,
    /// Bytes of memory that one attempt may take, where the worker can limit it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Thousandths of a processor that one attempt may take, where the worker can limit it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milli_cpus: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub kind: Kind,
    /// Of the environment variable: `[A-Za-z_][A-Za-z0-9_]*`. Empty: the column is skipped.
    pub name: String,
}

/// What a column's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The value itself.
    Env,
    /// The name or ARN of an SSM parameter, or the ARN of a Secrets Manager secret.
    SecretEnv,
    /// `s3://bucket/key`, fetched before the script runs. Empty: nothing.
    Input,
    /// `s3://bucket/prefix`, fetched as a folder.
    InputRecursive,
    /// `s3://bucket/key`, stored after the script has succeeded.
    Output,
    /// `s3://bucket/prefix`, stored from a folder.
    OutputRecursive,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub row: u64,
    pub digest: String,
    /// One for each column.
    pub values: Vec<String>,
}

impl Row {
    /// Hexadecimal SHA-256 of the columns and values, each with its length before it.
    pub fn digest(columns: &[Column], values: &[String]) -> String {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        for (column, value) in columns.iter().zip(values) {
            add(column.kind.word());
            add(&column.name);
            add(value);
        }
        hex(&hash.finalize())
    }
}

/// How far a submission has come. While it is there, some rows may not have been queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Rows up to this number are queued as `table.next` has them, those behind as `table` has them.
    pub queued: u64,
    /// Rows behind that one whose records are being removed: they are to be queued, whatever else happens.
    #[serde(default)]
    pub again: Vec<u64>,
}

/// Milliseconds since 1970, as records have them.
pub fn now() -> i64 {
    i64::try_from(crate::ops::history::now()).unwrap_or(i64::MAX)
}

impl Job {
    /// The message body of a row. `values`: None if they are kept apart.
    pub fn message(&self, row: u64, digest: &str, values: Option<Vec<String>>) -> String {
        let ticket = Ticket {
            version: VERSION,
            job: self.name.clone(),
            values,
            row,
            digest: digest.to_owned(),
            submitted_at: self.submitted_at,
        };
        serde_json::to_string(&Envelope { longshore: ticket }).expect("strings and numbers become JSON")
    }
}

/// Two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

impl Kind {
    /// As a header cell has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::SecretEnv => "secret-env",
            Self::Input => "input",
            Self::InputRecursive => "input-recursive",
            Self::Output => "output",
            Self::OutputRecursive => "output-recursive",
        }
    }
}

/// Written when an attempt begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pub row: u64,
    pub digest: String,
    /// Counted from 1: failures of this row before, and one. A release is no failure.
    pub attempt: u32,
    /// Which worker: its task in ECS, else host and process.
    pub worker: String,
    /// Milliseconds since 1970.
    pub at: i64,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub row: u64,
    pub digest: String,
    pub attempt: u32,
    pub worker: String,
    /// Milliseconds since 1970.
    pub started_at: i64,
    pub ended_at: i64,
    /// None: it was ended by a signal, or never ran.
    pub exit_code: Option<i32>,
    /// In the words of a log line: `exit code 3`, `killed: out of memory`, `not finished within 60 s`,
    /// `input s3://… is gone`. Empty: success.
    pub reason: String,
    /// Of the dead letter, where there is one; see [`crate::error::Reason`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Of all its processes together, as far as is known.
    pub peak_memory: u64,
    pub cpu_seconds: f64,
    /// Of the failed attempts before this one, which cost, too.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub seconds_before: f64,
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub cpu_seconds_before: f64,
    /// Key of its log in the work bucket.
    pub log: String,
}

impl Record {
    /// How long the attempt took.
    pub fn seconds(&self) -> f64 {
        self.ended_at.saturating_sub(self.started_at).max(0) as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_names_that_stay() {
        let ticket = Ticket {
            version: VERSION,
            job: "wordcount".into(),
            values: Some(vec!["a".into(), String::new()]),
            row: 3,
            digest: "d".into(),
            submitted_at: 0,
        };
        let text = serde_json::to_string(&Envelope { longshore: ticket.clone() }).unwrap();
        let expected =
            r#"{"longshore":{"version":1,"job":"wordcount","values":["a",""],"row":3,"digest":"d"}}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Envelope>(&text).unwrap().longshore, ticket);
    }

    #[test]
    fn rows_that_differ_have_digests_that_differ() {
        let columns = |name: &str| vec![Column { kind: Kind::Env, name: name.into() }; 2];
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        let one = Row::digest(&columns("A"), &row("ab", "c"));
        assert_eq!(one.len(), 64);
        assert_ne!(one, Row::digest(&columns("A"), &row("a", "bc")));
        assert_ne!(one, Row::digest(&columns("B"), &row("ab", "c")));
    }
}
