//! The buckets, as a job sees them.

pub mod files;
#[cfg(feature = "submit")]
pub mod jobs;
pub mod listing;
pub mod provenance;
mod regions;
mod s3;

pub use files::{CompletedPart, Found, Parts, Text};
pub use provenance::Provenance;
pub use s3::{Existing, Got, Object, PutCondition, PutOutcome, Store, Upload};

use std::fmt;

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    pub bucket: String,
    pub key: String,
    pub version: Option<String>,
}

/// Bucket and key of `s3://bucket/key`; the key may be missing. None: it does not begin with `s3://`.
pub fn split_url(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("s3://")?;
    Some(rest.split_once('/').unwrap_or((rest, "")))
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, crate::error::Printable(&self.key))?;
        match &self.version {
            Some(version) => write!(f, " (version {})", crate::error::Printable(version)),
            None => Ok(()),
        }
    }
}
