//! Where jobs are kept, and how to reach it.

use super::values::{Reader, present};
use super::work::{QueueConfig, check_bucket, endpoint_url, queue_url, region};
use crate::cli::WorkArgs;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobsConfig {
    pub work_bucket: String,
    /// Its URL is empty where none is needed.
    pub queue: QueueConfig,
}

/// Whether a command sends to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sends {
    Yes,
    No,
}

impl JobsConfig {
    /// # Errors
    ///
    /// All mistakes, a line each, with the remedy.
    pub fn read(work: &WorkArgs, work_bucket: &Option<String>, sends: Sends) -> Result<Self, Vec<String>> {
        let mut reader = Reader::default();
        let config = Self {
            work_bucket: self::work_bucket(&mut reader, work_bucket),
            queue: QueueConfig {
                queue_url: match sends {
                    Sends::Yes => queue_url(&mut reader, work),
                    Sends::No => String::new(),
                },
                dlq_url: None,
                region: region(&mut reader, work),
                endpoint_url: endpoint_url(&mut reader, work),
                profile: present(&work.profile).map(str::to_owned),
            },
        };
        reader.finish(config)
    }
}

fn work_bucket(reader: &mut Reader, value: &Option<String>) -> String {
    let what = "the bucket that jobs are kept in";
    let bucket = reader.required("--work-bucket", "LONGSHORE_WORK_BUCKET", value, what);
    if !bucket.is_empty() {
        check_bucket(reader, "--work-bucket", &bucket);
    }
    bucket
}
