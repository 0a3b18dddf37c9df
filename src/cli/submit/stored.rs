//! What the work bucket has of a job.

use super::describe::differences;
use super::plan::disk;
use crate::command::layout;
use crate::command::spool::{self, Spool, Writer, beside};
use crate::command::wire::{Job, Progress, VERSION};
use crate::error::Error;
use crate::store::jobs::JobStore;
use serde::de::DeserializeOwned;
use std::fs::File;
use tempfile::{NamedTempFile, TempPath};

pub struct Stored {
    /// None: there is no such job.
    pub job: Option<Job>,
    /// Rows that were queued.
    pub table: Spool,
    /// The last submission did not come to its end, and `table` is what came of it.
    pub interrupted: bool,
    /// Rows, in order, that may have lost their records and have no message.
    pub owed: Vec<u64>,
    pub cancelled: bool,
}

/// Descriptions are small, but for a long list of variables.
const MAX_OBJECT: u64 = 16 << 20;

impl Stored {
    /// # Errors
    ///
    /// The work bucket cannot be read, or holds what we cannot.
    pub async fn load(jobs: &JobStore, name: &str) -> Result<Self, Error> {
        let job = job(jobs, name).await?;
        if job.is_none() {
            let table = Spool::empty().map_err(disk)?;
            return Ok(Self { job, table, interrupted: false, owed: Vec::new(), cancelled: false });
        }
        let progress: Option<Progress> = read(jobs, &layout::submitting(name)).await?;
        let (table, next) = (temporary()?, temporary()?);
        jobs.fetch(&layout::table(name), &table).await?;
        if progress.is_some() {
            jobs.fetch(&layout::next_table(name), &next).await?;
        }
        let cancelled = jobs.get(&layout::cancelled(name), MAX_OBJECT).await?.is_some();
        let interrupted = progress.is_some();
        let Progress { queued, again: mut owed } =
            progress.unwrap_or(Progress { queued: 0, again: Vec::new() });
        owed.sort_unstable();
        let unreadable = |e| Error::new(format!("cannot read {}: {e}", jobs.place(&layout::table(name))));
        let table = merge(&table, &next, queued, &owed).map_err(unreadable)?;
        Ok(Self { job, table, interrupted, owed, cancelled })
    }

    /// Why this job cannot be submitted under this name, with the way out. What the first submission said of
    /// time stays.
    pub fn refusals(&self, job: &mut Job, resume: bool) -> Vec<String> {
        let Some(was) = &self.job else { return Vec::new() };
        job.submitted_at = was.submitted_at;
        let mut lines = Vec::new();
        let differences = differences(was, job);
        let name = &job.name;
        if !differences.is_empty() {
            lines.push(format!(
                "the job {name} was submitted with {}: choose another --name, or remove that job first (longshore \
                 delete {name})",
                differences.join(", ")
            ));
        }
        if self.cancelled && !resume {
            lines.push(format!("the job {name} was cancelled: pass --resume to take it up again"));
        }
        lines
    }
}

/// What was submitted under this name.
///
/// # Errors
///
/// It cannot be read.
pub async fn job(jobs: &JobStore, name: &str) -> Result<Option<Job>, Error> {
    let job: Option<Job> = read(jobs, &layout::job(name)).await?;
    match job {
        Some(job) if job.version != VERSION => Err(Error::new(format!(
            "{} has version {}, and this program reads {VERSION}: use a newer one",
            jobs.place(&layout::job(name)),
            job.version
        ))),
        job => Ok(job),
    }
}

/// # Errors
///
/// It cannot be read, or is not what it should be.
pub async fn read<T: DeserializeOwned>(jobs: &JobStore, key: &str) -> Result<Option<T>, Error> {
    let Some(bytes) = jobs.get(key, MAX_OBJECT).await? else { return Ok(None) };
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(e) => Err(Error::new(format!("{} is not ours: {e}", jobs.place(key)))),
    }
}

fn temporary() -> Result<TempPath, Error> {
    Ok(NamedTempFile::with_prefix("longshore-").map_err(disk)?.into_temp_path())
}

/// The rows that were queued: up to `queued` those of `next`, behind it those of `table`. Rows that are owed
/// count as not queued.
fn merge(table: &TempPath, next: &TempPath, queued: u64, owed: &[u64]) -> std::io::Result<Spool> {
    let (table, next) = (spool::rows(File::open(table)?)?, spool::rows(File::open(next)?)?);
    let mut writer = Writer::new()?;
    for pair in beside(table, next) {
        let (old, new) = pair?;
        let before = new.as_ref().or(old.as_ref()).is_some_and(|row| row.row <= queued);
        let row = if before { new } else { old };
        if let Some(row) = row.filter(|row| owed.binary_search(&row.row).is_err()) {
            writer.add(&row)?;
        }
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::wire::Row;

    fn file(rows: &[(u64, &str)]) -> TempPath {
        let path = NamedTempFile::new().unwrap().into_temp_path();
        let line = |(row, digest): &(u64, &str)| {
            serde_json::to_string(&Row { row: *row, digest: (*digest).into(), values: vec![] }).unwrap()
                + "\n"
        };
        std::fs::write(&path, rows.iter().map(line).collect::<String>()).unwrap();
        path
    }

    #[test]
    fn an_interrupted_submission_counts_as_far_as_it_came() {
        let table = file(&[(1, "a"), (2, "a"), (3, "a"), (4, "a")]);
        let next = file(&[(1, "b"), (2, "b"), (3, "b"), (4, "b"), (5, "b")]);
        let merged = |queued, owed: &[u64]| {
            let spool = merge(&table, &next, queued, owed).unwrap();
            let rows = spool.rows().unwrap().map(Result::unwrap);
            rows.map(|row| format!("{}{}", row.row, row.digest)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(merged(0, &[]), "1a 2a 3a 4a");
        assert_eq!(merged(2, &[]), "1b 2b 3a 4a");
        assert_eq!(merged(2, &[3]), "1b 2b 4a");
        assert_eq!(merged(5, &[]), "1b 2b 3b 4b 5b");
    }
}
