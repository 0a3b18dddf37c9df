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
        let polled = (!leaving).then_some(polled);
        alive(polled, self.poll_limit, self.keeper.last_tick().elapsed(), self.tick_limit)
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

/// By the time since the last receive, if one is to be expected, and since leases were looked at.
fn alive(
    polled: Option<Duration>,
    poll_limit: Duration,
    ticked: Duration,
    tick_limit: Duration,
) -> Result<(), String> {
    if let Some(polled) = polled.filter(|polled| *polled > poll_limit) {
        return Err(format!("no receive has come back for {} s", polled.as_secs()));
    }
    if ticked > tick_limit {
        return Err(format!("no lease was looked at for {} s", ticked.as_secs()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::alive;
    use std::time::Duration;

    #[test]
    fn alive_is_who_receives_and_looks_at_leases() {
        let seconds = Duration::from_secs;
        let told = |polled: Option<u64>, ticked| {
            alive(polled.map(seconds), seconds(45), seconds(ticked), seconds(30))
        };
        assert_eq!(told(Some(45), 30), Ok(()));
        assert!(told(Some(46), 0).unwrap_err().contains("no receive has come back for 46 s"));
        assert!(told(Some(0), 31).unwrap_err().contains("no lease was looked at for 31 s"));
        // Whoever leaves receives nothing, but what it holds is held on to.
        assert_eq!(told(None, 0), Ok(()));
        assert!(told(None, 31).is_err());
    }
}
