//! How long a picture may be in work: its time on a processor counts, not how long it waits for one. A machine
//! with too much to do is no reason to reject a picture for good.

use crate::error::{Reason, Rejection};
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// When the thread that set it has worked for so long since. Where threads have no clock of their own (on
/// neither Linux nor macOS), the clock on the wall has to do.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    budget: Duration,
    set: Instant,
    /// CPU time of the thread until then.
    before: Option<Duration>,
    /// Another thread has another clock: this stays where it is.
    here: PhantomData<*const ()>,
}

impl Deadline {
    pub fn after(budget: Duration) -> Self {
        Self { budget, set: Instant::now(), before: cpu_time(), here: PhantomData }
    }

    /// CPU time since it was set.
    pub fn spent(&self) -> Duration {
        match (self.before, cpu_time()) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => self.set.elapsed(),
        }
    }

    /// Cheap enough to be asked for each row of a picture: no thread works for longer than the clock on the
    /// wall says, and that is read without a system call.
    pub fn is_over(&self) -> bool {
        self.set.elapsed() >= self.budget && self.spent() >= self.budget
    }

    /// Refuses to go on with a picture whose time is over.
    pub fn check(&self) -> Result<(), Rejection> {
        if self.is_over() { Err(self.rejection()) } else { Ok(()) }
    }

    pub fn rejection(&self) -> Rejection {
        let detail = format!(
            "{:.1} s of CPU time are more than the limit of {:.1} s (--max-render-time)",
            self.spent().as_secs_f64(),
            self.budget.as_secs_f64()
        );
        Rejection::new(Reason::TimeLimit, detail)
    }
}

/// Of this thread.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn cpu_time() -> Option<Duration> {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).try_into().ok()
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn cpu_time() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(target_os = "linux", target_os = "macos"))]
    #[test]
    fn waiting_is_free_and_working_is_not() {
        let deadline = Deadline::after(Duration::from_millis(100));
        std::thread::sleep(Duration::from_millis(200));
        assert!(deadline.check().is_ok(), "{:?} spent asleep", deadline.spent());
        // What another thread does is its own affair.
        let busy = || {
            let deadline = Deadline::after(Duration::from_millis(150));
            while !deadline.is_over() {}
            deadline.rejection().detail
        };
        let told = std::thread::spawn(busy).join().unwrap();
        assert!(
            told.ends_with("s of CPU time are more than the limit of 0.1 s (--max-render-time)"),
            "{told}"
        );
        assert!(deadline.check().is_ok(), "{:?} spent waiting", deadline.spent());

        let begun = Instant::now();
        while deadline.check().is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(120), "{:?} spent", deadline.spent());
        }
        assert!(deadline.spent() >= Duration::from_millis(100));
    }
}
