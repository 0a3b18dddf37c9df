//! Stops receiving while the configuration keeps every picture from working.
//!
//! A wrong permission would otherwise send the whole queue to the dead-letter queue, one receive count
//! at a time. While the breaker is open, jobs that ran into the barrier keep their messages, under
//! lease, and take turns in trying again; the first that gets through closes it. Nothing else is
//! received, but for one message a minute: those held may be the odd ones. To make room for it one that
//! is held goes back, but none twice delivered or more, or the queue's own count would send it away.

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

#[derive(Default)]
struct State {
    /// Sources denied since the last one that was read.
    denied: HashSet<String>,
    open: Option<Open>,
    /// Who waits for a turn, by ticket and receive count, the one that waits longest first.
    waiting: VecDeque<(u64, u32)>,
    tickets: u64,
}

struct Open {
    barrier: Barrier,
    since: Instant,
    next_try: Instant,
    between_tries: Duration,
    /// Whose turn it is, until it reports.
    trying: bool,
    next_trial: Instant,
    /// To give its message back, and with it its place.
    evicted: Option<u64>,
}

/// What a job that ran into a barrier shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is this one's turn to find out.
    Try,
    /// Somebody got through. Who still does not is the odd one.
    Closed,
    /// Somebody else's turn comes, by way of the queue.
    GiveBack,
    /// The worker leaves.
    Leave,
}

impl Breaker {
    pub fn new(trouble: Trouble, shutdown: Shutdown) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), trouble, shutdown, pace: PACE }
    }

    /// A source was read, or S3 said that it is gone.
    pub fn read(&self) {
        self.passed(Barrier::Source);
    }

    /// All outputs of a picture are stored.
    pub fn stored(&self) {
        self.passed(Barrier::Output);
    }

    fn passed(&self, step: Barrier) {
        let mut state = self.state();
        state.denied.clear();
        // Who stored has read before.
        let closes = |open: &Open| step == Barrier::Output || open.barrier != Barrier::Output;
        let Some(open) = state.open.take_if(|open| closes(open)) else { return };
        self.trouble.set(None);
        drop(state);
        info!("works again after {} s: receiving", open.since.elapsed().as_secs());
        self.changed.notify_waiters();
    }

    /// A job ran into a barrier. True: the breaker is open, so it should wait for its [`turn`](Self::turn).
    pub fn ran_into(&self, barrier: Barrier, source: &str, why: &Error) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        if state.open.is_some() {
            return true;
        }
        if barrier == Barrier::Source {
            state.denied.insert(source.to_owned());
            if state.denied.len() < SOURCES {
                return false;
            }
        }
        state.open = Some(Open {
            barrier,
            since: now,
            next_try: now + self.pace.first_try,
            between_tries: self.pace.first_try,
            trying: false,
            next_trial: now + self.pace.between_trials,
            evicted: None,
        });
        self.trouble.set(Some(why.to_string()));
        drop(state);
        error!(barrier = barrier.slug(), "{why}; nothing more is received until it works");
        true
    }

    /// The job whose turn it was has tried, whatever came of it.
    pub fn tried(&self) {
        let mut state = self.state();
        if let Some(open) = state.open.as_mut().filter(|open| open.trying) {
            open.trying = false;
            open.between_tries = (open.between_tries * 2).min(self.pace.most_between_tries);
            let jitter = open.between_tries.mul_f64(fastrand::f64() / 4.0);
            open.next_try = Instant::now() + open.between_tries - jitter;
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits until the job may try again, or should let go of its message.
    pub async fn turn(&self, receive_count: u32) -> Turn {
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
    fn look(&self, ticket: u64) -> Result<Turn, Instant> {
        let mut state = self.state();
        let first = state.waiting.front().is_some_and(|(t, _)| *t == ticket);
        let Some(open) = &mut state.open else { return Ok(Turn::Closed) };
        if open.evicted == Some(ticket) {
            open.evicted = None;
            return Ok(Turn::GiveBack);
        }
        let now = Instant::now();
        if first && !open.trying && open.next_try <= now {
            open.trying = true;
            return Ok(Turn::Try);
        }
        // One whose turn never ends (a job cut off) must not stop the others for ever.
        Err(if first && !open.trying { open.next_try } else { now + self.pace.most_between_tries })
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
mod tests {
    use super::*;

    fn breaker() -> (Breaker, Shutdown) {
        let shutdown = Shutdown::default();
        let mut breaker = Breaker::new(Trouble::default(), shutdown.clone());
        let ms = Duration::from_millis;
        breaker.pace = Pace { first_try: ms(20), most_between_tries: ms(80), between_trials: ms(60) };
        (breaker, shutdown)
    }

    fn denied() -> Error {
        Error::new("denied")
    }

    #[tokio::test]
    async fn one_missing_object_opens_nothing_and_three_denied_ones_do() {
        let (breaker, _) = breaker();
        for key in ["a", "a", "b"] {
            assert!(!breaker.ran_into(Barrier::Source, key, &denied()), "{key}");
        }
        breaker.read();
        for (key, opens) in [("a", false), ("b", false), ("c", true)] {
            assert_eq!(breaker.ran_into(Barrier::Source, key, &denied()), opens, "{key}");
        }
        assert_eq!(breaker.trouble.get().as_deref(), Some("denied"));
        breaker.read();
        assert!(!breaker.is_open() && breaker.trouble.get().is_none());
    }

    #[tokio::test]
    async fn an_output_that_is_denied_opens_at_once_and_reading_does_not_close_it() {
        let (breaker, _) = breaker();
        assert!(breaker.ran_into(Barrier::Output, "a", &denied()));
        breaker.read();
        assert!(breaker.is_open());
        breaker.stored();
        assert!(!breaker.is_open());
    }

    #[tokio::test]
    async fn held_messages_are_tried_one_at_a_time_at_growing_intervals() {
        let (breaker, _) = breaker();
        breaker.ran_into(Barrier::Output, "a", &denied());
        let mut before = Instant::now();
        // Each wait is at least three quarters of 20, 40, 80, 80 ms.
        for least in [15, 30, 60, 60] {
            assert_eq!(breaker.turn(1).await, Turn::Try);
            assert!(before.elapsed() >= Duration::from_millis(least), "{:?} < {least} ms", before.elapsed());
            breaker.ran_into(Barrier::Output, "a", &denied());
            before = Instant::now();
            breaker.tried();
        }
    }

    #[tokio::test]
    async fn only_the_first_in_line_tries() {
        let (breaker, _) = breaker();
        breaker.ran_into(Barrier::Output, "a", &denied());
        let mut first = Box::pin(breaker.turn(1));
        let mut second = Box::pin(breaker.turn(1));
        let turns = async {
            tokio::select! {
                biased;
                turn = &mut first => (1, turn),
                turn = &mut second => (2, turn),
            }
        };
        assert_eq!(turns.await, (1, Turn::Try));
        let waits = tokio::time::timeout(Duration::from_millis(200), &mut second).await;
        assert!(waits.is_err(), "while one tries, the others wait");
        breaker.stored();
        assert_eq!(second.await, Turn::Closed);
    }

    #[tokio::test]
    async fn receives_are_let_through_seldom_and_shutdown_lets_all_go() {
        let (breaker, shutdown) = breaker();
        breaker.passable().await;
        breaker.ran_into(Barrier::Output, "a", &denied());
        let opened = Instant::now();
        breaker.passable().await;
        assert!(opened.elapsed() >= Duration::from_millis(60));
        breaker.passable().await;
        assert!(opened.elapsed() >= Duration::from_millis(120));
        let mut held = Box::pin(breaker.turn(1));
        breaker.state().open.as_mut().unwrap().trying = true;
        assert!(futures_util::poll!(&mut held).is_pending());
        breaker.state().open.as_mut().unwrap().next_trial = Instant::now();
        breaker.make_room();
        assert_eq!(held.await, Turn::GiveBack);
        let mut kept = Box::pin(breaker.turn(SUSPECT_AFTER));
        assert!(futures_util::poll!(&mut kept).is_pending());
        breaker.make_room();
        assert!(futures_util::poll!(&mut kept).is_pending(), "its receives are being used up");
        drop(kept);
        breaker.state().open.as_mut().unwrap().trying = true;
        let held = breaker.turn(1);
        shutdown.advance(Phase::Draining);
        assert_eq!(held.await, Turn::Leave);
    }
}
