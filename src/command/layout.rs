//! Where a job is kept in the work bucket: everything under `<job>/`, state to be read off a listing.
//!
//! ```text
//! <job>/job.json                          what was submitted: Job
//! <job>/script                            the script, as it was
//! <job>/table                             the rows, as they were submitted: a Row a line
//! <job>/submitting                        while rows are being queued, or after that was interrupted: Progress
//! <job>/table.next                        what the table is then to become
//! <job>/attributes/00000012               of a row that fits no message: Row
//! <job>/state/started/00000012            written when an attempt begins: Started
//! <job>/state/retried/00000012            … when one fails that is to be tried again: Record
//! <job>/state/done/00000012               … last of all, after every output is stored: Record
//! <job>/state/failed/00000012             … after the last failure, before its dead letter: Record
//! <job>/cancelled                         while it exists, no row begins
//! <job>/logs/00000012/<attempt>           what the script printed, bounded
//! <job>/failed/<attempt>/00000012/<NAME>  outputs of a failed attempt, where asked for
//! ```
//!
//! A row is done if `done` holds it, else failed if `failed` does, else retrying if `retried` is newer than
//! `started`, else running if `started` holds it, else waiting.

/// Bytes: S3 allows no longer key.
pub const MAX_KEY: usize = 1024;

/// The name of a job: what a key and a line can carry, and no other job's prefix.
pub fn is_job_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=100).contains(&name.len()) && name.bytes().all(fits) && name.as_bytes()[0].is_ascii_alphanumeric()
}

/// A part of a row's history, by the folder that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Started,
    Retried,
    Done,
    Failed,
}

impl State {
    pub fn folder(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Retried => "retried",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

pub fn job(job: &str) -> String {
    format!("{job}/job.json")
}

pub fn script(job: &str) -> String {
    format!("{job}/script")
}

pub fn table(job: &str) -> String {
    format!("{job}/table")
}

pub fn submitting(job: &str) -> String {
    format!("{job}/submitting")
}

pub fn next_table(job: &str) -> String {
    format!("{job}/table.next")
}

pub fn cancelled(job: &str) -> String {
    format!("{job}/cancelled")
}

pub fn attributes(job: &str, row: u64) -> String {
    format!("{job}/attributes/{row:08}")
}

/// The prefix of all rows in a state.
pub fn states(job: &str, state: State) -> String {
    format!("{job}/state/{}/", state.folder())
}

pub fn state(job: &str, state: State, row: u64) -> String {
    format!("{}{row:08}", states(job, state))
}

pub fn log(job: &str, row: u64, attempt: u32) -> String {
    format!("{job}/logs/{row:08}/{attempt}")
}

pub fn failed_output(job: &str, row: u64, attempt: u32, name: &str) -> String {
    format!("{job}/failed/{attempt}/{row:08}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_key() {
        for name in ["wordcount", "2026-11-21.run_1", "a"] {
            assert!(is_job_name(name), "{name}");
        }
        for name in ["", "a/b", "..", "-x", "a b", "é", "a\n", &"a".repeat(101)] {
            assert!(!is_job_name(name), "{name:?}");
        }
    }

    #[test]
    fn rows_sort_by_number() {
        assert!(state("j", State::Done, 9) < state("j", State::Done, 10));
        assert_eq!(state("j", State::Done, 12), "j/state/done/00000012");
    }
}
