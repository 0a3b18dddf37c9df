//! What is known of buckets, objects and uploads, in memory and as lines of the journal.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use s3s::dto::{ETag, Timestamp};
use serde::{Deserialize, Serialize};

use super::checksum::{Algorithm, Checksum};
use super::notify::Target;

/// One line of a bucket's journal. The last one about a thing is the one that counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Line {
    Settings(Settings),
    /// All versions of a key, oldest first; none: the key is gone.
    Entry {
        key: String,
        versions: Vec<Version>,
        sequence: u64,
        moves: Moves,
    },
    Upload {
        id: String,
        upload: Upload,
    },
    Part {
        upload: String,
        number: i32,
        part: Part,
    },
    UploadEnded {
        id: String,
    },
    /// The highest sequence number of lines that are no longer in the journal.
    Sequence(u64),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    pub region: String,
    pub created: Time,
    pub versioning: Versioning,
    pub notifications: Vec<Target>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioning {
    Off,
    Enabled,
    Suspended,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Version {
    /// None: the version that S3 calls `null`, written while versioning was not enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub modified: Time,
    /// None: a delete marker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Content {
    /// Below the data directory.
    pub file: String,
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    pub checksum: Checksum,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    #[serde(flatten)]
    pub description: Description,
}

/// What the writer said of an object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Description {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// Files to be moved for a line to be true. Below the data directory, in the order they are done.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Moves {
    /// The version that was the latest leaves its public place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<(String, String)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub discard: Vec<String>,
}

/// A multipart upload that is under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upload {
    pub key: String,
    pub initiated: Time,
    /// None: nobody asked for one.
    pub algorithm: Option<Algorithm>,
    pub composite: bool,
    pub tags: BTreeMap<String, String>,
    pub description: Description,
    #[serde(default)]
    pub parts: BTreeMap<i32, Part>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    /// Below the data directory.
    pub file: String,
    pub size: u64,
    pub etag: String,
    pub checksum: Checksum,
    pub modified: Time,
}

/// Milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Time(u64);

impl Time {
    pub fn now() -> Time {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time(u64::try_from(now.as_millis()).unwrap_or_default())
    }

    /// In whole seconds, as HTTP dates are.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Timestamp {
        (UNIX_EPOCH + Duration::from_millis(time.0)).into()
    }
}

impl Version {
    /// As S3 names it.
    pub fn name(&self) -> &str {
        self.id.as_deref().unwrap_or("null")
    }
}

impl Content {
    pub fn etag(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }
}

/// Takes the fields that PutObject, CopyObject and CreateMultipartUpload have in common.
macro_rules! description {
    ($input:expr) => {
        super::record::Description {
            content_type: $input.content_type.take(),
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $input.content_encoding.take(),
            content_language: $input.content_language.take(),
            expires: $input.expires.take(),
            metadata: $input.metadata.take().unwrap_or_default().into_iter().collect(),
        }
    };
}
pub(super) use description;
