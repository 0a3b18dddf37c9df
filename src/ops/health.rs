//! Whether the worker lives, and whether it gets anywhere.

use crate::queue::Keeper;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the poller and the keeper leave behind for whoever asks.
#[derive(Clone)]
pub struct Health {
    keeper: Arc<Keeper>,
    polls: Arc<Mutex<Polls>>,
    /// A receive older than this means the poller hangs.
    poll_limit: Duration,
    tick_limit: Duration,
}

struct Polls {
    last_completed: Instant,
    /// What the last receive failed with; None after one that worked.
    trouble: Option<String>,
}

impl Health {
    /// Alive: a receive completed in the last three long polls, and leases were looked at within a
    /// third of the visibility timeout.
    pub fn new(keeper: Arc<Keeper>, wait: Duration, visibility: Duration) -> Self {
        let polls = Polls { last_completed: Instant::now(), trouble: None };
        Self {
            keeper,
            polls: Arc::new(Mutex::new(polls)),
            poll_limit: 3 * (wait + Duration::from_secs(5)),
            tick_limit: visibility / 3,
        }
    }

    /// A receive came back; an error that the queue service answered with counts as coming back.
    pub fn polled(&self, trouble: Option<String>) {
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        *polls = Polls { last_completed: Instant::now(), trouble };
    }

    /// The poller waits for a free place on purpose.
    pub fn busy(&self) {
        self.polls.lock().unwrap_or_else(PoisonError::into_inner).last_completed = Instant::now();
    }

    /// # Errors
    ///
    /// Why the process should be replaced.
    pub fn live(&self) -> Result<(), String> {
        let polled = self.polls.lock().unwrap_or_else(PoisonError::into_inner).last_completed.elapsed();
        if polled > self.poll_limit {
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
        let polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        polls.trouble.clone().map_or(Ok(()), Err)
    }
}
