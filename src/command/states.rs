//! How the rows of a job stand, told by the keys under `state/` alone: listings in the order of the rows,
//! a page of each in memory.

use super::layout::{self, State};
use crate::error::Error;
use crate::store::Store;
use crate::store::listing::Listing;
use serde::Serialize;
use std::time::SystemTime;

/// What a row is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    Waiting,
    Running,
    Retrying,
    Done,
    Failed,
}

impl Standing {
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// When each part of a row's history was written, as far as it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    pub row: u64,
    pub started: Option<SystemTime>,
    pub retried: Option<SystemTime>,
    pub done: Option<SystemTime>,
    pub failed: Option<SystemTime>,
}

impl Marks {
    pub fn standing(&self) -> Standing {
        if self.done.is_some() {
            Standing::Done
        } else if self.failed.is_some() {
            Standing::Failed
        } else if self.retried.is_some() && self.retried >= self.started {
            // In the same second, too: the next attempt comes after a back-off.
            Standing::Retrying
        } else if self.started.is_some() {
            Standing::Running
        } else {
            Standing::Waiting
        }
    }

    /// When the last of it was written.
    pub fn newest(&self) -> Option<SystemTime> {
        [self.started, self.retried, self.done, self.failed].into_iter().flatten().max()
    }

    fn set(&mut self, state: State, at: SystemTime) {
        *match state {
            State::Started => &mut self.started,
            State::Retried => &mut self.retried,
            State::Done => &mut self.done,
            State::Failed => &mut self.failed,
        } = Some(at);
    }
}

pub const ALL: [State; 4] = [State::Started, State::Retried, State::Done, State::Failed];

/// The rows of a job that have a history, in order.
pub struct States {
    lists: Vec<List>,
}

struct List {
    state: State,
    listing: Listing,
    head: Option<(u64, SystemTime)>,
    begun: bool,
}

impl States {
    pub fn new(store: &Store, bucket: &str, job: &str) -> Self {
        Self::of(store, bucket, job, &ALL)
    }

    /// Looks at these only.
    pub fn of(store: &Store, bucket: &str, job: &str, states: &[State]) -> Self {
        let list = |state: &State| List {
            state: *state,
            listing: Listing::new(store.clone(), bucket, &layout::states(job, *state), None),
            head: None,
            begun: false,
        };
        Self { lists: states.iter().map(list).collect() }
    }

    /// # Errors
    ///
    /// S3 does not list the bucket.
    pub async fn next(&mut self) -> Result<Option<Marks>, Error> {
        for list in &mut self.lists {
            if !list.begun {
                list.begun = true;
                list.step().await?;
            }
        }
        let first = self.lists.iter().filter_map(|list| list.head.map(|(row, _)| row)).min();
        let Some(row) = first else { return Ok(None) };
        let mut marks = Marks { row, ..Marks::default() };
        for list in &mut self.lists {
            if let Some((_, at)) = list.head.filter(|(head, _)| *head == row) {
                marks.set(list.state, at);
                list.step().await?;
            }
        }
        Ok(Some(marks))
    }

    /// The history of a row. Rows must be asked for in order.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn at(&mut self, row: u64) -> Result<Marks, Error> {
        let mut marks = Marks { row, ..Marks::default() };
        for list in &mut self.lists {
            while !list.begun || list.head.is_some_and(|(head, _)| head < row) {
                list.begun = true;
                list.step().await?;
            }
            if let Some((_, at)) = list.head.filter(|(head, _)| *head == row) {
                marks.set(list.state, at);
            }
        }
        Ok(marks)
    }
}

impl List {
    /// What is not ours in the folder is passed over.
    async fn step(&mut self) -> Result<(), Error> {
        self.head = None;
        while let Some(object) = self.listing.next().await? {
            let name = object.key.rsplit('/').next().unwrap_or_default();
            if let Ok(row) = name.parse() {
                self.head = Some((row, object.modified.unwrap_or(SystemTime::UNIX_EPOCH)));
                return Ok(());
            }
        }
        Ok(())
    }
}

/// How many rows stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub rows: u64,
    pub waiting: u64,
    pub running: u64,
    pub retrying: u64,
    pub done: u64,
    pub failed: u64,
}

impl Counts {
    /// # Errors
    ///
    /// S3 does not list the bucket.
    pub async fn read(store: &Store, bucket: &str, job: &str, rows: u64) -> Result<Self, Error> {
        let mut counts = Self { rows, waiting: rows, ..Self::default() };
        let mut states = States::new(store, bucket, job);
        while let Some(marks) = states.next().await? {
            counts.waiting = counts.waiting.saturating_sub(1);
            *match marks.standing() {
                Standing::Waiting => &mut counts.waiting,
                Standing::Running => &mut counts.running,
                Standing::Retrying => &mut counts.retrying,
                Standing::Done => &mut counts.done,
                Standing::Failed => &mut counts.failed,
            } += 1;
        }
        Ok(counts)
    }

    pub fn are_over(&self) -> bool {
        self.done + self.failed >= self.rows
    }

    pub fn over(&self) -> u64 {
        self.done + self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_row_stands_as_its_newest_mark_says() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let marks = |started, retried, done, failed| Marks { row: 1, started, retried, done, failed };
        for (marks, standing) in [
            (marks(None, None, None, None), Standing::Waiting),
            (marks(at(5), None, None, None), Standing::Running),
            (marks(at(5), at(5), None, None), Standing::Retrying),
            (marks(at(6), at(5), None, None), Standing::Running),
            (marks(at(6), at(5), None, at(7)), Standing::Failed),
            (marks(at(6), at(5), at(9), at(7)), Standing::Done),
        ] {
            assert_eq!(marks.standing(), standing, "{marks:?}");
        }
    }
}
