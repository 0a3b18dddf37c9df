//! Time on the embedded queue: a pausable line for deadlines, the wall clock for what people see.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A point on the server's own time line, in milliseconds since it opened. Negative for messages
/// that an earlier run left in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

impl Moment {
    pub fn after(self, pause: Duration) -> Moment {
        Moment(self.0.saturating_add(millis(pause)))
    }

    pub fn before(self, pause: Duration) -> Moment {
        Moment(self.0.saturating_sub(millis(pause)))
    }

    /// Zero when `earlier` is in fact later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Tells the moment. Follows tokio's clock, so a test may pause it; or let it leap.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    opened: Instant,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { opened: Instant::now() }
    }

    pub fn now(self) -> Moment {
        Moment(millis(self.opened.elapsed()))
    }

    #[cfg(test)]
    pub fn leap(&mut self, ahead: Duration) {
        self.opened -= ahead;
    }

    /// When to wake up for `moment`; already past for moments of an earlier run.
    pub fn instant(self, moment: Moment) -> Instant {
        self.opened + Duration::from_millis(u64::try_from(moment.0).unwrap_or(0))
    }

    /// Where a wall-clock timestamp (milliseconds since 1970) lies on this line.
    pub fn moment_of(self, wall: u64) -> Moment {
        let (now, wall_now) = (self.now(), wall_millis());
        if wall > wall_now {
            now.after(Duration::from_millis(wall - wall_now))
        } else {
            now.before(Duration::from_millis(wall_now - wall))
        }
    }
}

/// Milliseconds since 1970, for the timestamps SQS shows.
pub fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn millis(pause: Duration) -> i64 {
    i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_follow_the_clock() {
        let mut clock = Clock::start();
        let start = clock.now();
        clock.leap(Duration::from_secs(7));
        assert!(clock.now().since(start) >= Duration::from_secs(7));
        assert_eq!(start.since(clock.now()), Duration::ZERO);
    }

    #[test]
    fn a_timestamp_of_an_earlier_run_lies_before_the_start() {
        let clock = Clock::start();
        let old = clock.moment_of(wall_millis() - 60_000);
        assert!(clock.now().since(old) >= Duration::from_secs(59));
        assert_eq!(clock.instant(old), clock.opened);
    }
}
