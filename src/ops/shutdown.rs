//! When to stop: SIGTERM or SIGINT asks to drain, a second one to leave at once.

use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Running,
    /// Finish what runs, start nothing.
    Draining,
    /// Hand everything back and go.
    Leaving,
}

/// Cheap to clone; every clone sees the same phase, which only ever moves forward.
#[derive(Clone)]
pub struct Shutdown {
    phase: Arc<watch::Sender<Phase>>,
    /// When draining was asked for: its budget counts from here.
    asked: Arc<OnceLock<Instant>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Running)), asked: Arc::default() }
    }
}

impl Shutdown {
    /// One that follows SIGTERM and SIGINT. Call it before anything slow: until then the signals'
    /// default is to kill (or, as PID 1, to be ignored).
    ///
    /// # Errors
    ///
    /// The operating system refuses a signal handler.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::default();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let follow = shutdown.clone();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    Some(()) = terminate.recv() => "SIGTERM",
                    Some(()) = interrupt.recv() => "SIGINT",
                    else => return,
                };
                follow.signalled(name);
            }
        });
        Ok(shutdown)
    }

    /// The phase first: who reads of it in the log may count on it.
    fn signalled(&self, name: &str) {
        if self.phase() == Phase::Running {
            self.advance(Phase::Draining);
            info!("{name}: finishing what runs, starting nothing new; a second signal leaves at once");
        } else {
            self.advance(Phase::Leaving);
            info!("{name} again: handing everything back");
        }
    }

    pub fn advance(&self, to: Phase) {
        if to > Phase::Running {
            self.asked.get_or_init(Instant::now);
        }
        self.phase.send_if_modified(|phase| {
            let forward = to > *phase;
            *phase = to.max(*phase);
            forward
        });
    }

    /// When it was asked for first; now, if it was not yet.
    pub fn asked_at(&self) -> Instant {
        self.asked.get().copied().unwrap_or_else(Instant::now)
    }

    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Ends when the phase is at least this one; can be awaited by any number, dropped at any time.
    pub async fn reached(&self, phase: Phase) {
        let mut watch = self.phase.subscribe();
        watch.wait_for(|now| *now >= phase).await.expect("self holds the sender");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn phases_only_move_forward() {
        let shutdown = Shutdown::default();
        shutdown.signalled("SIGTERM");
        shutdown.reached(Phase::Draining).await;
        shutdown.signalled("SIGTERM");
        shutdown.advance(Phase::Draining);
        assert_eq!(shutdown.phase(), Phase::Leaving);
    }
}
