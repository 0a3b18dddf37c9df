//! Who may run beside whom. A message on its third delivery may be the one that kills the process: it
//! runs alone, nothing is received meanwhile, and its neighbours of the same receive go first, up to
//! their confirmed delete.

use crate::job::Job;
use std::sync::Arc;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch};

/// From this delivery on a message is suspected.
pub const SUSPECT_AFTER: u32 = 3;

pub struct Gate {
    lock: Arc<RwLock<()>>,
    /// How many suspects are in our hands and have not been tried yet.
    suspects: Arc<watch::Sender<usize>>,
}

/// The leave to run, as given when a message was received.
pub enum Pass {
    /// None: somebody runs alone just now.
    Together(Option<OwnedRwLockReadGuard<()>>),
    Alone(Suspect),
    /// Whatever else runs: its work is another process's.
    Apart,
}

/// Keeps others from being received, until dropped.
#[derive(Debug)]
pub struct Suspect(Arc<watch::Sender<usize>>);

/// The leave to run now, and the note that a suspect does, until dropped.
pub type Entered = (Inside, Option<Suspect>);

/// The leave itself: with others, or alone.
#[derive(Debug)]
#[allow(dead_code)] // held, never read
pub enum Inside {
    Together(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
    Apart,
}

impl Gate {
    pub fn new() -> Self {
        Self { lock: Arc::default(), suspects: Arc::new(watch::Sender::new(0)) }
    }

    /// What a message that was just received may do. To be asked for all of a receive before any of
    /// them runs.
    pub fn admit(&self, receive_count: u32) -> Pass {
        if receive_count >= SUSPECT_AFTER {
            return Pass::Alone(self.suspect());
        }
        Pass::Together(Arc::clone(&self.lock).try_read_owned().ok())
    }

    fn suspect(&self) -> Suspect {
        self.suspects.send_modify(|n| *n += 1);
        Suspect(Arc::clone(&self.suspects))
    }

    /// The first try: the pass is used up.
    pub async fn enter(&self, pass: Pass) -> Entered {
        match pass {
            Pass::Together(Some(guard)) => (Inside::Together(guard), None),
            Pass::Together(None) => (Inside::Together(Arc::clone(&self.lock).read_owned().await), None),
            Pass::Apart => (Inside::Apart, None),
            Pass::Alone(suspect) => {
                (Inside::Alone(Arc::clone(&self.lock).write_owned().await), Some(suspect))
            }
        }
    }

    /// Any later try.
    pub async fn enter_again(&self, receive_count: u32, job: &Job) -> Entered {
        if job.is_command() {
            return (Inside::Apart, None);
        }
        let lock = Arc::clone(&self.lock);
        if receive_count >= SUSPECT_AFTER {
            let alone = lock.write_owned().await;
            (Inside::Alone(alone), Some(self.suspect()))
        } else {
            (Inside::Together(lock.read_owned().await), None)
        }
    }

    /// Whether a suspect is in work or about to be.
    pub fn has_suspect(&self) -> bool {
        *self.suspects.borrow() > 0
    }

    /// Waits until there is no suspect, in work or about to be.
    pub async fn clear(&self) {
        let mut watch = self.suspects.subscribe();
        watch.wait_for(|n| *n == 0).await.expect("self holds the sender");
        drop(self.lock.read().await);
    }
}

impl Drop for Suspect {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn waits<T>(future: impl Future<Output = T>) -> bool {
        tokio::time::timeout(Duration::from_millis(50), future).await.is_err()
    }

    #[tokio::test]
    async fn a_suspect_waits_for_its_neighbours_and_nothing_is_received_until_it_was_tried() {
        let gate = Gate::new();
        let neighbour = gate.admit(1);
        let suspect = gate.admit(SUSPECT_AFTER);
        assert!(waits(gate.clear()).await, "received beside a suspect");
        let (inside, _) = gate.enter(neighbour).await;
        let mut alone = Box::pin(gate.enter(suspect));
        assert!(waits(&mut alone).await, "ran beside its neighbour");
        drop(inside);
        let (inside, suspect) = alone.await;
        assert!(waits(gate.clear()).await);
        drop((inside, suspect));
        gate.clear().await;
    }

    #[tokio::test]
    async fn a_suspect_that_is_given_up_blocks_nobody() {
        let gate = Gate::new();
        drop(gate.admit(9));
        gate.clear().await;
        let picture = Job::Renditions(Vec::new());
        let _first = gate.enter_again(1, &picture).await;
        assert!(!waits(gate.enter_again(2, &picture)).await);
    }
}
