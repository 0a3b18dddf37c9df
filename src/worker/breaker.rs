//! Stops receiving while the configuration keeps every picture from working.
//!
//! A wrong permission would otherwise send the whole queue to the dead-letter queue, one receive count
//! at a time. While the breaker is open, jobs that ran into the barrier keep their messages, under
//! lease, and take turns in trying again; the first that gets through closes it. Nothing else is
//! received, but for one message a minute: those held may be the odd ones. To make room for it one that
//! is held goes back, but none twice delivered or more, or the queue's own count would send it away.
//!
//! A source that is denied may be one that is missing, so it takes several of them. A bucket that does not
//! exist is no such matter: one word of it is enough, if the bucket is ours. Anybody who can write to the
//! queue can name a bucket that never was, while others work; that one is the message's own trouble.

use super::gate::SUSPECT_AFTER;
use crate::error::{Barrier, Error};
use crate::ops::{Phase, Shutdown, Trouble};
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{error, info};

/// So many different sources denied in a row are no coincidence; one or two may be missing objects
/// that S3 calls denied.
const SOURCES: usize = 3;
/// So many buckets are remembered as ours: who names ever more of them must not fill the memory.
const BUCKETS: usize = 100;
/// How long an open breaker waits.
struct Pace {
    /// From one try to the next, doubling.
    first_try: Duration,
    most_between_tries: Duration,
    /// From one receive to the next.
    between_trials: Duration,
}

const PACE: Pace = Pace {
    first_try: Duration::from_secs(1),
    most_between_tries: Duration::from_secs(30),
    between_trials: Duration::from_secs(60),
};
pub struct Breaker {
    state: Mutex<State>,
    changed: Notify,
    /// What health tells while open.
    trouble: Trouble,
    shutdown: Shutdown,
    pace: Pace,
}

/// What a job reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Source {
    pub bucket: String,
    pub key: String,
}

#[derive(Default)]
struct State {
    /// Sources denied since the last one that was read.
    denied: HashSet<Source>,
    /// Buckets that were configured, or read from.
    ours: HashSet<String>,
    open: Option<Open>,
    /// Who waits for a turn, by ticket and receive count, the one that waits longest first.
    waiting: VecDeque<(u64, u32)>,
    tickets: u64,
}

struct Open {
    barrier: Barrier,
    /// Of the source that ran into it.
    bucket: String,
    since: Instant,
    next_try: Instant,
    between_tries: Duration,
    /// Whose turn it is, by ticket.
    trying: Option<u64>,
    next_trial: Instant,
    /// To give its message back, and with it its place.
    evicted: Option<u64>,
}

/// What a job that ran into a barrier shall do.
pub enum Turn<'a> {
    /// It is this one's turn to find out, until this is dropped.
    Try(#[allow(dead_code)] Trial<'a>),
    /// Somebody got through. Who still does not is the odd one.
    Closed,
    /// Somebody else's turn comes, by way of the queue.
    GiveBack,
    /// The worker leaves.
    Leave,
}

impl Breaker {
    /// `buckets`: those that events may name; none, if any may be named.
    pub fn new(buckets: &[String], trouble: Trouble, shutdown: Shutdown) -> Self {
        let state = State { ours: buckets.iter().cloned().collect(), ..State::default() };
        Self { state: Mutex::new(state), changed: Notify::new(), trouble, shutdown, pace: PACE }
    }

    /// A source in this bucket was read, or S3 said that it is gone.
    pub fn read(&self, bucket: &str) {
        self.passed(Barrier::Source, bucket);
    }

    /// All outputs of a picture from this bucket are stored.
    pub fn stored(&self, bucket: &str) {
        self.passed(Barrier::Output, bucket);
    }

    /// What is needed of the work bucket works.
    pub fn worked(&self) {
        self.close(self.state(), |open| matches!(open.barrier, Barrier::Work | Barrier::Credentials));
    }

    fn passed(&self, step: Barrier, bucket: &str) {
        let mut state = self.state();
        state.denied.clear();
        // Other buckets work while one is gone: from now on that one does not hold them up.
        if let Some(open) = &state.open
            && open.barrier == Barrier::SourceBucket
            && open.bucket != bucket
        {
            let gone = open.bucket.clone();
            state.ours.remove(&gone);
        }
        if state.ours.len() < BUCKETS && !state.ours.contains(bucket) {
            state.ours.insert(bucket.to_owned());
        }
        self.close(state, |open| match open.barrier {
            Barrier::Work => false,
            Barrier::Output => step == Barrier::Output,
            // Who stored has read before.
            Barrier::Source | Barrier::SourceBucket | Barrier::Credentials => true,
        });
    }

    fn close(&self, mut state: MutexGuard<'_, State>, over: impl Fn(&Open) -> bool) {
        let Some(open) = state.open.take_if(|open| over(open)) else { return };
        self.trouble.set(None);
        drop(state);
        info!("works again after {} s: receiving", open.since.elapsed().as_secs());
        self.changed.notify_waiters();
    }

    /// A job ran into a barrier. True: the breaker is open, so it should wait for its [`turn`](Self::turn).
    pub fn ran_into(&self, barrier: Barrier, source: &Source, why: &Error) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        if state.open.is_some() {
            return true;
        }
        let ours = state.ours.is_empty() || state.ours.contains(&source.bucket);
        if barrier == Barrier::Source || (barrier == Barrier::SourceBucket && !ours) {
            state.denied.insert(source.clone());
            if state.denied.len() < SOURCES {
                return false;
            }
        }
        state.open = Some(Open {
            barrier,
            bucket: source.bucket.clone(),
            since: now,
            next_try: now + self.pace.first_try,
            between_tries: self.pace.first_try,
            trying: None,
            next_trial: now + self.pace.between_trials,
            evicted: None,
        });
        self.trouble.set(Some(why.to_string()));
        drop(state);
        error!(barrier = barrier.slug(), "{why}; nothing more is received until it works");
        true
    }

    /// Waits until the job may try again, or should let go of its message.
    pub async fn turn(&self, receive_count: u32) -> Turn<'_> {
        let ticket = {
            let mut state = self.state();
            state.tickets += 1;
            let ticket = state.tickets;
            state.waiting.push_back((ticket, receive_count));
            ticket
        };
        let _leaves_the_line = InLine { breaker: self, ticket };
        loop {
            let changed = self.changed.notified();
            let wake = match self.look(ticket) {
                Ok(turn) => return turn,
                Err(wake) => wake,
            };
            tokio::select! {
                () = self.shutdown.reached(Phase::Draining) => return Turn::Leave,
                () = changed => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Err: when to look again.
    fn look(&self, ticket: u64) -> Result<Turn<'_>, Instant> {
        let mut state = self.state();
        let first = state.waiting.front().is_some_and(|(t, _)| *t == ticket);
        let Some(open) = &mut state.open else { return Ok(Turn::Closed) };
        if open.evicted == Some(ticket) {
            open.evicted = None;
            return Ok(Turn::GiveBack);
        }
        let now = Instant::now();
        if first && open.trying.is_none() && open.next_try <= now {
            open.trying = Some(ticket);
            return Ok(Turn::Try(Trial { breaker: self, ticket }));
        }
        Err(if first && open.trying.is_none() { open.next_try } else { now + self.pace.most_between_tries })
    }

    pub fn is_open(&self) -> bool {
        self.state().open.is_some()
    }

    /// Waits until a message may be received: at once while closed, seldom while open.
    pub async fn passable(&self) {
        loop {
            let changed = self.changed.notified();
            let trial = {
                let mut state = self.state();
                let Some(open) = &mut state.open else { return };
                if open.next_trial <= Instant::now() {
                    open.next_trial = Instant::now() + self.pace.between_trials;
                    return;
                }
                open.next_trial
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(trial) => {}
            }
        }
    }

    /// A message is to be received and there is no place for it: who waits longest makes room, unless
    /// its receives are being used up.
    pub fn make_room(&self) {
        let mut state = self.state();
        let longest =
            state.waiting.iter().find(|(_, count)| *count < SUSPECT_AFTER).map(|(ticket, _)| *ticket);
        if let Some(open) = &mut state.open
            && open.next_trial <= Instant::now()
        {
            open.evicted = longest;
            drop(state);
            self.changed.notify_waiters();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn to find out. It ends on drop, whatever came of it: a try that panics or is cut off must not
/// keep the others waiting for ever.
pub struct Trial<'a> {
    breaker: &'a Breaker,
    ticket: u64,
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        // Closed and opened again meanwhile, the turn is somebody else's.
        if let Some(open) = state.open.as_mut().filter(|open| open.trying == Some(self.ticket)) {
            open.trying = None;
            open.between_tries = (open.between_tries * 2).min(self.breaker.pace.most_between_tries);
            let jitter = open.between_tries.mul_f64(fastrand::f64() / 4.0);
            open.next_try = Instant::now() + open.between_tries - jitter;
        }
        drop(state);
        self.breaker.changed.notify_waiters();
    }
}

/// A place in the line, given up on drop.
struct InLine<'a> {
    breaker: &'a Breaker,
    ticket: u64,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.breaker.state().waiting.retain(|(t, _)| *t != self.ticket);
        self.breaker.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
