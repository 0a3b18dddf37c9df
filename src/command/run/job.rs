//! What was submitted, as the work bucket has it.

use super::{Trouble, plan};
use crate::command::layout::{self, State};
use crate::command::wire::{Job, Record, Row, Ticket, VERSION, hex};
use crate::error::{Error, Failure, Reason};
use crate::store::{Location, Store, Text};
use lru::LruCache;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// Jobs, read from the work bucket and nowhere else.
pub struct Jobs {
    store: Store,
    bucket: String,
    known: Mutex<LruCache<String, Arc<Known>>>,
}

/// A job with its script.
pub struct Known {
    pub job: Job,
    pub script: Vec<u8>,
    etag: String,
}

/// What is there about a row before it begins.
pub enum Look {
    Begin(Box<Start>),
    FinishedBefore,
    Cancelled { failures: u32 },
}

pub struct Start {
    pub known: Arc<Known>,
    pub values: Vec<String>,
    /// Counted from 1.
    pub attempt: u32,
    pub was_retried: bool,
    /// Seconds of the failed attempts before, and of processor.
    pub before: (f64, f64),
    pub has_failed: bool,
}

const CAPACITY: NonZeroUsize = NonZeroUsize::new(16).expect("not 0");
const MAX_JOB: u64 = 4 << 20;
const MAX_SCRIPT: u64 = 16 << 20;
const MAX_ROW: u64 = 16 << 20;

impl Jobs {
    pub fn new(store: Store, bucket: String) -> Self {
        Self { store, bucket, known: Mutex::new(LruCache::new(CAPACITY)) }
    }

    pub fn at(&self, key: String) -> Location {
        Location { bucket: self.bucket.clone(), key, version: None }
    }

    /// What there is to do for a row.
    pub async fn look(&self, ticket: &Ticket) -> Result<Look, Trouble> {
        let Ticket { job, row, .. } = ticket;
        if !layout::is_job_name(job) {
            return Err(Trouble::never(Reason::CommandInvalid, "that is no name of a job"));
        }
        if ticket.version != VERSION {
            let detail = format!("version {} of the message, this worker knows {VERSION}", ticket.version);
            return Err(Trouble::never(Reason::CommandInvalid, detail));
        }
        let state = |state| layout::state(job, state, *row);
        let (known, done, retried, has_failed, cancelled) = tokio::join!(
            self.job(job),
            self.record(state(State::Done)),
            self.record(state(State::Retried)),
            self.has(state(State::Failed)),
            self.has(layout::cancelled(job)),
        );
        // Of a row that was replaced since, they say nothing of this one.
        let same = |record: &Record| record.digest == ticket.digest;
        let (known, retried) = (known?, retried?);
        if ticket.submitted_at != 0 && ticket.submitted_at != known.job.submitted_at {
            let why = "it was queued for a job of the same name that was deleted";
            return Err(Trouble::Gone(Error::new(why)));
        }
        if done?.as_ref().is_some_and(same) {
            return Ok(Look::FinishedBefore);
        }
        let last = retried.as_ref().filter(|r| same(r));
        let failures = last.map_or(0, |r| r.attempt);
        let before = last
            .map_or((0.0, 0.0), |r| (r.seconds_before + r.seconds(), r.cpu_seconds_before + r.cpu_seconds));
        if cancelled? {
            return Ok(Look::Cancelled { failures });
        }
        let values = match &ticket.values {
            Some(values) => values.clone(),
            None => self.attributes(ticket).await?,
        };
        if Row::digest(&known.job.columns, &values) != ticket.digest
            || values.len() != known.job.columns.len()
        {
            let detail =
                "the row is not of the job that is stored: it was submitted again with other columns";
            return Err(Trouble::never(Reason::CommandInvalid, detail));
        }
        let (attempt, was_retried) = (failures + 1, retried.is_some());
        let start = Start { known, values, attempt, was_retried, before, has_failed: has_failed? };
        Ok(Look::Begin(Box::new(start)))
    }

    async fn job(&self, name: &str) -> Result<Arc<Known>, Trouble> {
        let before = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let at = self.at(layout::job(name));
        let etag = before.as_ref().map(|known| known.etag.as_str());
        let (bytes, etag) = match (self.store.text(&at, MAX_JOB, etag).await.map_err(work)?, &before) {
            (Text::Unchanged, Some(before)) => return Ok(Arc::clone(before)),
            (Text::Is { bytes, etag }, _) => (bytes, etag),
            (Text::Unchanged | Text::Absent, _) => {
                return Err(Trouble::Gone(Error::new(format!("{at} is gone: the job was deleted"))));
            }
        };
        let job: Job = read(&at, &bytes)?;
        if job.version != VERSION {
            let detail = format!("{at} has version {}, this worker knows {VERSION}", job.version);
            return Err(Trouble::never(Reason::CommandInvalid, detail));
        }
        plan::check(&job).map_err(|why| Trouble::never(Reason::CommandInvalid, format!("{at}: {why}")))?;
        let script = match &before {
            Some(before) if before.job.script_sha256 == job.script_sha256 => before.script.clone(),
            _ => self.script(name, &job.script_sha256).await?,
        };
        let known = Arc::new(Known { job, script, etag });
        self.known.lock().unwrap_or_else(PoisonError::into_inner).put(name.to_owned(), Arc::clone(&known));
        Ok(known)
    }

    async fn script(&self, name: &str, sha256: &str) -> Result<Vec<u8>, Trouble> {
        let at = self.at(layout::script(name));
        // It may be on its way: whoever submits again writes one after the other.
        let later = |why: &str| Trouble::Later(Error::new(format!("{at} {why}")));
        let Text::Is { bytes, .. } = self.store.text(&at, MAX_SCRIPT, None).await.map_err(work)? else {
            return Err(later("is not there"));
        };
        if !hex(&Sha256::digest(&bytes)).eq_ignore_ascii_case(sha256) {
            return Err(later("is not the script of the job that is stored"));
        }
        Ok(bytes)
    }

    async fn attributes(&self, ticket: &Ticket) -> Result<Vec<String>, Trouble> {
        let at = self.at(layout::attributes(&ticket.job, ticket.row));
        match self.store.text(&at, MAX_ROW, None).await.map_err(work)? {
            Text::Is { bytes, .. } => Ok(read::<Row>(&at, &bytes)?.values),
            _ => Err(Trouble::Later(Error::new(format!("{at} is not there")))),
        }
    }

    async fn record(&self, key: String) -> Result<Option<Record>, Trouble> {
        let at = self.at(key);
        match self.store.text(&at, MAX_JOB, None).await.map_err(work)? {
            // Not ours, or of another version: it says nothing.
            Text::Is { bytes, .. } => Ok(serde_json::from_slice(&bytes).ok()),
            _ => Ok(None),
        }
    }

    async fn has(&self, key: String) -> Result<bool, Trouble> {
        self.store.has(&self.at(key)).await.map_err(work)
    }

    pub async fn write<T: serde::Serialize>(&self, key: String, value: &T) -> Result<(), Trouble> {
        let text = serde_json::to_vec(value).expect("records are plain data");
        self.store.put_text(&self.at(key), text, "application/json").await.map_err(work)
    }

    pub async fn write_log(&self, key: &str, text: Vec<u8>) -> Result<(), Trouble> {
        let at = self.at(key.to_owned());
        self.store.put_text(&at, text, "text/plain; charset=utf-8").await.map_err(work)
    }

    /// What is left over tells nothing wrong for long: a failure is told and survived.
    pub async fn remove(&self, key: String) {
        if let Err(why) = self.store.remove(&self.at(key)).await {
            tracing::warn!("{why}");
        }
    }
}

fn read<T: DeserializeOwned>(at: &Location, bytes: &[u8]) -> Result<T, Trouble> {
    serde_json::from_slice(bytes)
        .map_err(|e| Trouble::never(Reason::CommandInvalid, format!("{at} is not as it should be: {e}")))
}

/// Of the work bucket: what does not pass keeps every row from working.
fn work(failure: Failure) -> Trouble {
    match failure {
        Failure::Blocked(barrier, error) => Trouble::Blocked(barrier, error),
        Failure::Retry(error) | Failure::Gone(error) => Trouble::Later(error),
        Failure::Reject(rejection) => Trouble::Later(Error::new(rejection.detail)),
        Failure::Left => Trouble::Stopped,
    }
}
