//! The rows of a job as lines of a report: in order, one after another, whatever their number.

use super::Opened;
use crate::command::layout::{self, State};
use crate::command::spool::Rows;
use crate::command::states::{Marks, Standing, States};
use crate::command::wire::{Record, Started};
use crate::error::Error;
use crate::store::jobs::JobStore;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use std::time::SystemTime;

/// What is told of a row. Seconds and bytes are those of its last attempt; the cost is that of all that ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    pub row: u64,
    pub state: Standing,
    pub exit_code: Option<i32>,
    pub attempts: u32,
    pub start: Option<String>,
    pub end: Option<String>,
    pub seconds: Option<f64>,
    pub worker: Option<String>,
    pub bytes_in: Option<u64>,
    pub bytes_out: Option<u64>,
    pub peak_memory: Option<u64>,
    pub cpu_seconds: Option<f64>,
    /// In US dollars.
    pub cost: Option<f64>,
    /// Seconds of all attempts that ended.
    #[serde(skip)]
    pub all_seconds: f64,
    pub log: Option<String>,
    pub reason: Option<String>,
}

/// Which rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    pub failed: bool,
    /// Something was written of it since then.
    pub since: Option<SystemTime>,
    /// Nothing was written of it after.
    pub until: Option<SystemTime>,
}

impl Filter {
    fn takes(&self, marks: &Marks) -> bool {
        (!self.failed || marks.standing() == Standing::Failed)
            && self.since.is_none_or(|since| marks.newest().is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| marks.newest().is_some_and(|at| at <= until))
    }
}

/// What a second of an attempt costs.
#[derive(Debug, Clone, Copy)]
pub struct Price {
    pub a_second: f64,
}

/// Records read together.
const AT_ONCE: usize = 32;

/// `table`: the rows that were queued, where rows without a history are to be told of, too.
pub fn lines(
    opened: &Opened,
    filter: Filter,
    price: Price,
    table: Option<Rows>,
) -> impl Stream<Item = Result<Line, Error>> {
    let states = States::new(&opened.jobs.store, &opened.jobs.bucket, &opened.name);
    let marks = stream::unfold((states, table), move |(mut states, mut table)| async move {
        loop {
            let marks = match &mut table {
                None => states.next().await.transpose()?,
                Some(table) => match table.next()? {
                    Ok(row) => states.at(row.row).await,
                    Err(e) => Err(Error::new(format!("cannot read the table: {e}"))),
                },
            };
            match marks {
                Ok(marks) if !filter.takes(&marks) => {}
                marks => return Some((marks, (states, table))),
            }
        }
    });
    marks
        .map(move |marks| async move {
            match marks {
                Ok(marks) => line(&opened.jobs, &opened.name, &marks, price).await,
                Err(e) => Err(e),
            }
        })
        .buffered(AT_ONCE)
}

async fn line(jobs: &JobStore, job: &str, marks: &Marks, price: Price) -> Result<Line, Error> {
    let state = match marks.standing() {
        Standing::Waiting => return Ok(blank(marks)),
        Standing::Running => State::Started,
        Standing::Retrying => State::Retried,
        Standing::Done => State::Done,
        Standing::Failed => State::Failed,
    };
    let key = layout::state(job, state, marks.row);
    // It may be gone meanwhile: the row is being queued again.
    if state == State::Started {
        let started: Option<Started> = super::stored::read(jobs, &key).await?;
        return Ok(started.map_or_else(|| blank(marks), |started| running(marks, started)));
    }
    let record: Option<Record> = super::stored::read(jobs, &key).await?;
    Ok(record.map_or_else(|| blank(marks), |record| ended(marks, record, price)))
}

fn blank(marks: &Marks) -> Line {
    Line {
        row: marks.row,
        state: Standing::Waiting,
        exit_code: None,
        attempts: 0,
        start: None,
        end: None,
        seconds: None,
        worker: None,
        bytes_in: None,
        bytes_out: None,
        peak_memory: None,
        cpu_seconds: None,
        cost: None,
        all_seconds: 0.0,
        log: None,
        reason: None,
    }
}

fn running(marks: &Marks, started: Started) -> Line {
    Line {
        state: Standing::Running,
        attempts: started.attempt,
        start: Some(time(started.at)),
        worker: Some(started.worker),
        ..blank(marks)
    }
}

fn ended(marks: &Marks, record: Record, price: Price) -> Line {
    let seconds = record.seconds();
    let all_seconds = record.seconds_before + seconds;
    Line {
        row: marks.row,
        state: marks.standing(),
        exit_code: record.exit_code,
        attempts: record.attempt,
        start: Some(time(record.started_at)),
        end: Some(time(record.ended_at)),
        seconds: Some(seconds),
        worker: Some(record.worker),
        bytes_in: Some(record.bytes_in),
        bytes_out: Some(record.bytes_out),
        peak_memory: Some(record.peak_memory),
        cpu_seconds: Some(record.cpu_seconds),
        cost: Some(all_seconds * price.a_second),
        all_seconds,
        log: Some(record.log).filter(|log| !log.is_empty()),
        reason: Some(record.reason).filter(|reason| !reason.is_empty()),
    }
}

/// Milliseconds since 1970, as RFC 3339 has it.
fn time(millis: i64) -> String {
    let whole = DateTime::from_secs(millis.div_euclid(1000));
    whole.fmt(DateTimeFormat::DateTime).unwrap_or_else(|_| millis.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_seconds() {
        assert_eq!(time(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(time(-1), "1969-12-31T23:59:59Z");
    }
}
