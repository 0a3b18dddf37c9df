//! Whether the worker lives, and whether it gets anywhere.

use crate::queue::Keeper;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the poller and the keeper leave behind for whoever asks.
#[derive(Clone)]
pub struct Health {
    keeper: Arc<Keeper>,
    polls: Arc<Mutex<Polls>>,
    barrier: Trouble,
    /// A receive older than this means the poller hangs.
    poll_limit: Duration,
    tick_limit: Duration,
}

/// What keeps the worker from working, if anything does. Clones tell the same.
#[derive(Clone, Default)]
pub struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    pub fn set(&self, line: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = line;
    }

    pub fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Polls {
    last_completed: Instant,
    /// What the last receive failed with; None after one that worked.
    trouble: Option<String>,
    leaving: bool,
}

impl Health {
    /// Alive: a receive completed in the last three long polls, and leases were looked at within a
    /// third of the visibility timeout.
    pub fn new(keeper: Arc<Keeper>, barrier: Trouble, wait: Duration, visibility: Duration) -> Self {
        let polls = Polls { last_completed: Instant::now(), trouble: None, leaving: false };
        Self {
            keeper,
            barrier,
            polls: Arc::new(Mutex::new(polls)),
            poll_limit: 3 * (wait + Duration::from_secs(5)),
            tick_limit: visibility / 3,
        }
    }

    /// A receive came back with messages or with none.
    pub fn polled(&self) {
        let mut polls = self.polls();
        polls.last_completed = Instant::now();
        polls.trouble = None;
    }

    /// A receive failed. One that was not answered at all does not show that the poller lives: after
    /// three of those the process should be replaced.
    pub fn troubled(&self, trouble: String, answered: bool) {
        let mut polls = self.polls();
        polls.trouble = Some(trouble);
        if answered {
            polls.last_completed = Instant::now();
        }
    }

    /// The poller waits on purpose.
    pub fn busy(&self) {
        self.polls().last_completed = Instant::now();
    }

    /// No receive will come any more, and none is missed.
    pub fn leaving(&self) {
        self.polls().leaving = true;
    }

    fn polls(&self) -> MutexGuard<'_, Polls> {
        self.polls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    ///
    /// Why the process should be replaced.
    pub fn live(&self) -> Result<(), String> {
        let (polled, leaving) = {
            let polls = self.polls();
            (polls.last_completed.elapsed(), polls.leaving)
        };
        if polled > self.poll_limit && !leaving {
            return Err(format!("no receive has come back for {} s", polled.as_secs()));
        }
        let ticked = self.keeper.last_tick().elapsed();
        if ticked > self.tick_limit {
            return Err(format!("no lease was looked at for {} s", ticked.as_secs()));
        }
        Ok(())
    }

    /// # Errors
    ///
    /// Why the worker gets nowhere, though it lives.
    pub fn ready(&self) -> Result<(), String> {
        self.live()?;
        let poll = self.polls().trouble.clone();
        poll.or_else(|| self.barrier.get()).or_else(|| self.keeper.trouble()).map_or(Ok(()), Err)
    }
}
