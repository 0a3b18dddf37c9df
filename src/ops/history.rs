//! What happened of late, for whoever looks: bounded, in memory, gone with the process.

mod pictures;

pub use pictures::{NOT_UPLOADED, Picture, Pictures, Rendition, Shown};

use crate::error::Printable;
use crate::event::Created;
use crate::job::Outcome;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Cheap to clone; every clone tells the same.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    done: u64,
    failed: u64,
    /// Ends of pictures within the window of the latencies.
    ends: VecDeque<(Instant, Duration)>,
    failures: VecDeque<Failed>,
    dead_letters: BTreeMap<&'static str, u64>,
    /// Goes up with every change of the failures or the dead letters.
    changes: u64,
    next_id: u64,
    /// None in `work`: it shows no pictures, so it need not remember any.
    pictures: Option<Pictures>,
}

/// A record that came to nothing, or not yet to anything.
#[derive(Debug, Clone, Serialize)]
pub struct Failed {
    pub id: u64,
    /// Milliseconds since 1970.
    pub at: u64,
    pub bucket: String,
    pub key: String,
    /// `rejected`, `retry`, `blocked` or `gone`.
    pub outcome: &'static str,
    pub reason: String,
    pub detail: String,
    /// How often its message was received.
    pub receives: u32,
    /// It worked later.
    pub mended: bool,
}

/// Totals since the start, and the latencies of late.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pace {
    pub done: u64,
    pub failed: u64,
    pub p50: Option<Duration>,
    pub p99: Option<Duration>,
}

const FAILURES: usize = 50;
/// Latencies are told of this long.
const WINDOW: Duration = Duration::from_secs(10);
/// More pictures than this in a window are enough to know their median.
const ENDS: usize = 4096;

impl History {
    /// Remembers pictures too, for the page of `local`.
    pub fn remember_pictures(&self) {
        self.inner().pictures.get_or_insert_with(Pictures::default);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker begins with a record whose message was sent at this time, in milliseconds since 1970.
    pub fn begun(&self, created: &Created, sent_at: Option<i64>, receives: u32) {
        if let Some(pictures) = &mut self.inner().pictures {
            let sent = sent_at.and_then(|ms| u64::try_from(ms).ok());
            pictures.begun(created, sent.map(|sent| now().saturating_sub(sent)), receives);
        }
    }

    /// A record has come to its end, this time.
    pub fn ended(&self, created: Option<&Created>, outcome: &Outcome, elapsed: Duration, receives: u32) {
        let mut inner = self.inner();
        if let (Some(pictures), Some(created)) = (&mut inner.pictures, created) {
            pictures.ended(created, outcome, elapsed, receives);
        }
        let (outcome, reason, detail) = match outcome {
            Outcome::Done(_) => return inner.done(created, elapsed),
            Outcome::Superseded | Outcome::Ignored(_) | Outcome::Left => return,
            Outcome::Rejected(rejection) => ("rejected", rejection.reason.slug(), rejection.detail.clone()),
            Outcome::Retry(error) => ("retry", "retry", error.to_string()),
            Outcome::Blocked(barrier, error) => ("blocked", barrier.slug(), error.to_string()),
            Outcome::Gone(error) => ("gone", "gone", error.to_string()),
        };
        let (bucket, key) = created.map(|c| (c.bucket.clone(), c.key.clone())).unwrap_or_default();
        let failed = Failed {
            id: 0,
            at: now(),
            bucket,
            key,
            outcome,
            reason: reason.into(),
            detail: Printable(&detail).to_string(),
            receives,
            mended: false,
        };
        inner.failed(failed);
    }

    /// A letter was sent.
    pub fn dead_lettered(&self, reason: &'static str) {
        let mut inner = self.inner();
        *inner.dead_letters.entry(reason).or_default() += 1;
        inner.changes += 1;
    }

    pub fn pace(&self) -> Pace {
        let mut inner = self.inner();
        inner.forget_ends();
        let mut times: Vec<Duration> = inner.ends.iter().map(|(_, time)| *time).collect();
        times.sort_unstable();
        Pace { done: inner.done, failed: inner.failed, p50: rank(&times, 0.5), p99: rank(&times, 0.99) }
    }

    /// A number that changes whenever [`failures`](Self::failures) or [`letters`](Self::letters) do.
    pub fn changes(&self) -> u64 {
        self.inner().changes
    }

    /// The newest first.
    pub fn failures(&self) -> Vec<Failed> {
        self.inner().failures.iter().rev().cloned().collect()
    }

    /// Letters that this process has sent, by reason.
    pub fn letters(&self) -> Vec<(&'static str, u64)> {
        self.inner().dead_letters.iter().map(|(reason, count)| (*reason, *count)).collect()
    }

    /// What only the page of `local` asks for; None when no pictures are remembered.
    pub fn pictures<T>(&self, ask: impl FnOnce(&mut Pictures) -> T) -> Option<T> {
        self.inner().pictures.as_mut().map(ask)
    }
}

impl Inner {
    fn done(&mut self, created: Option<&Created>, elapsed: Duration) {
        self.done += 1;
        self.ends.push_back((Instant::now(), elapsed));
        self.forget_ends();
        let Some(created) = created else { return };
        let same = |f: &&mut Failed| f.key == created.key && f.bucket == created.bucket && !f.mended;
        if let Some(failed) = self.failures.iter_mut().find(same) {
            failed.mended = true;
            self.changes += 1;
        }
    }

    fn forget_ends(&mut self) {
        let old = |(at, _): &(Instant, Duration)| at.elapsed() > WINDOW;
        while self.ends.len() > ENDS || self.ends.front().is_some_and(old) {
            self.ends.pop_front();
        }
    }

    /// One entry an object: what fails again and again must not push the others out.
    fn failed(&mut self, failed: Failed) {
        self.failed += 1;
        self.next_id += 1;
        self.changes += 1;
        if !failed.key.is_empty() {
            self.failures.retain(|f| f.key != failed.key || f.bucket != failed.bucket);
        }
        self.failures.push_back(Failed { id: self.next_id, ..failed });
        if self.failures.len() > FAILURES {
            self.failures.pop_front();
        }
    }
}

/// The quantile of sorted times that is one of them. None: there are none.
pub fn rank(times: &[Duration], q: f64) -> Option<Duration> {
    let index = (q * times.len() as f64).ceil() as usize;
    times.get(index.saturating_sub(1)).copied()
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
