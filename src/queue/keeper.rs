//! Keeps leases alive and lets go of messages, on a thread and a runtime of its own: no amount of
//! work elsewhere in the process may delay a renewal (aws-sdk-rust 1202).

use super::Message;
use super::book::{Action, Batch, Book, Timing};
use super::sqs::{EntryError, Queue};
use crate::ops::Metrics;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, watch};
use tracing::warn;

pub use super::book::{Cause, Settlement};

/// What became of the messages received so far. At all times
/// `received = deleted + dead_lettered + retried + released + ownership_lost + in flight`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub received: u64,
    pub deleted: u64,
    pub dead_lettered: u64,
    pub retried: u64,
    pub released_not_begun: u64,
    pub released_cut_off: u64,
    pub ownership_lost: u64,
    /// Received again while their job ran here; not part of `received`.
    pub redelivered: u64,
}

impl Counts {
    /// None: the message was not ours any more.
    pub(super) fn end(&mut self, settlement: Option<Settlement>) {
        *match settlement {
            Some(Settlement::Delete) => &mut self.deleted,
            Some(Settlement::DeadLettered) => &mut self.dead_lettered,
            Some(Settlement::Retry(_)) => &mut self.retried,
            Some(Settlement::Release(Cause::NotBegun)) => &mut self.released_not_begun,
            Some(Settlement::Release(Cause::CutOff)) => &mut self.released_cut_off,
            None => &mut self.ownership_lost,
        } += 1;
    }

    /// For whatever cause.
    pub fn released(&self) -> u64 {
        self.released_not_begun + self.released_cut_off
    }

    pub fn ended(&self) -> u64 {
        self.deleted + self.dead_lettered + self.retried + self.released() + self.ownership_lost
    }
}

struct Shared {
    book: Mutex<Book>,
    /// Something changed that the thread should look at.
    wake: Notify,
    /// A message was let go.
    changed: Notify,
    /// Places for messages that are let go of and not confirmed yet.
    slots: Arc<Semaphore>,
    /// The worker leaves: nothing waits for company, what is dropped is released at once.
    leaving: AtomicBool,
    stopped: AtomicBool,
    /// Batches of deletes or releases in a row of which nothing was done, and why.
    refused: Mutex<(u32, String)>,
    last_tick: Mutex<Instant>,
}

/// Takes every message that is received, and is the only one that talks to SQS about it after.
pub struct Keeper {
    shared: Arc<Shared>,
    /// Closed when the thread has ended.
    alive: watch::Receiver<()>,
}

impl Keeper {
    /// `unsettled`: how many messages may wait for their delete before jobs have to wait.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread.
    pub fn start(
        queue: Queue,
        visibility: Duration,
        unsettled: usize,
        metrics: Metrics,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            book: Mutex::new(Book::new(Timing::new(visibility))),
            wake: Notify::new(),
            changed: Notify::new(),
            slots: Arc::new(Semaphore::new(unsettled)),
            leaving: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            refused: Mutex::default(),
            last_tick: Mutex::new(Instant::now()),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = Arc::clone(&shared);
        let (life, alive) = watch::channel(());
        std::thread::Builder::new().name("leases".into()).spawn(move || {
            let _life = life;
            runtime.block_on(run(&thread, &queue, visibility, &metrics));
        })?;
        Ok(Self { shared, alive })
    }

    /// Ends when the thread has ended, which it does only by a panic as long as this value lives: no lease is
    /// renewed any more, and no message is let go of.
    pub async fn ended(&self) {
        // Nothing is ever sent.
        let _ = self.alive.clone().changed().await;
    }

    /// Holds a message until its lease is settled or dropped. None: its job runs already.
    pub fn hold(&self, message: &Message) -> Option<Lease> {
        let generation = self.shared.book().hold(message)?;
        self.shared.wake.notify_one();
        Some(Lease {
            shared: Arc::clone(&self.shared),
            id: message.id.clone(),
            generation,
            receive_count: message.receive_count,
            settled: false,
        })
    }

    pub fn counts(&self) -> Counts {
        self.shared.book().counts
    }

    pub fn in_flight(&self) -> usize {
        self.shared.book().len()
    }

    /// Counts and messages in flight, of one moment.
    pub fn snapshot(&self) -> (Counts, usize) {
        let book = self.shared.book();
        (book.counts, book.len())
    }

    /// Why messages cannot be let go of, if that has been so for a while.
    pub fn trouble(&self) -> Option<String> {
        let refused = self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner);
        (refused.0 >= REFUSALS).then(|| refused.1.clone())
    }

    /// When the thread last looked at its leases; it does so several times a visibility timeout.
    pub fn last_tick(&self) -> Instant {
        *self.shared.last_tick.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, whatever is dropped is released at once and deletes go out at once.
    pub fn leave(&self) {
        self.shared.leaving.store(true, Ordering::SeqCst);
        self.shared.wake.notify_one();
    }

    /// Waits until nothing is held any more, or until the deadline. Gives what is still held.
    pub async fn drained(&self, deadline: Instant) -> usize {
        loop {
            let changed = self.shared.changed.notified();
            let held = self.in_flight();
            if held == 0 || tokio::time::timeout_at(deadline.into(), changed).await.is_err() {
                return self.in_flight();
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        // The book is plain data and whole between any two calls.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, lease: &Lease, settlement: Settlement, slot: Option<tokio::sync::OwnedSemaphorePermit>) {
        self.book().settle(&lease.id, lease.generation, settlement, slot, Instant::now());
        self.wake.notify_one();
        self.changed.notify_waiters();
    }

    async fn hurry_until(&self, at_most: Duration, over: impl Fn(&Book) -> bool) {
        let deadline = tokio::time::Instant::now() + at_most;
        self.book().hurry();
        self.wake.notify_one();
        loop {
            let changed = self.changed.notified();
            let over = over(&self.book());
            if over || tokio::time::timeout_at(deadline, changed).await.is_err() {
                return;
            }
        }
    }
}

/// A message that is ours, for as long as this value lives. Dropped unsettled (a panic, an aborted
/// job), it is made visible again.
pub struct Lease {
    shared: Arc<Shared>,
    id: String,
    generation: u64,
    receive_count: u32,
    settled: bool,
}

impl Lease {
    /// What is done for its message belongs to this trace.
    pub fn trace(&self, trace_id: Option<String>) {
        if let Some(trace_id) = trace_id {
            self.shared.book().trace(&self.id, self.generation, trace_id);
        }
    }

    /// The message is not ours any more: finishing its job does no harm and no good.
    pub fn is_lost(&self) -> bool {
        self.shared.book().is_lost(&self.id, self.generation)
    }

    /// Ends when others may have the message. For work that must not be done twice at once.
    pub async fn lost(&self) {
        loop {
            let changed = self.shared.changed.notified();
            if self.shared.book().may_be_others(&self.id, self.generation, Instant::now()) {
                return;
            }
            // A lease that is not renewed ends without a word.
            let _ = tokio::time::timeout(Duration::from_secs(1), changed).await;
        }
    }

    /// Lets go of the message. Waits while too many are not confirmed: that is what holds up new
    /// receives when SQS takes no deletes and gives nothing back.
    pub async fn settle(mut self, settlement: Settlement) {
        let mut slot = None;
        // Who leaves waits for nobody.
        if !matches!(settlement, Settlement::Release(_)) {
            let slots = Arc::clone(&self.shared.slots);
            slot = Some(slots.acquire_owned().await.expect("the semaphore is never closed"));
        }
        self.settled = true;
        self.shared.settle(&self, settlement, slot);
    }

    /// As `settle`; then its request goes out at once, and is waited for until it is confirmed or this time is
    /// over.
    pub async fn settle_surely(self, settlement: Settlement, at_most: Duration) {
        let (shared, id, generation) = (Arc::clone(&self.shared), self.id.clone(), self.generation);
        self.settle(settlement).await;
        shared.hurry_until(at_most, |book| book.is_over(&id, generation)).await;
    }

    /// What was let go of before goes out at once, and is waited for until it is confirmed or this time is over.
    pub async fn others_settled(&self, at_most: Duration) {
        self.shared.hurry_until(at_most, |book| !book.is_settling()).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let leaving = self.shared.leaving.load(Ordering::SeqCst);
        let settlement = match leaving {
            true => Settlement::Release(Cause::CutOff),
            false => Settlement::Retry(back_off(self.receive_count)),
        };
        self.shared.settle(self, settlement, None);
    }
}

/// How long a message that failed stays hidden: 5 s, doubling with each receive, up to 15 min, half
/// of it by chance.
pub fn back_off(receive_count: u32) -> Duration {
    let doublings = receive_count.saturating_sub(1).min(12);
    let base = Duration::from_secs((5_u64 << doublings).min(900));
    base / 2 + (base / 2).mul_f64(fastrand::f64())
}

type Done = (Batch, Instant, Vec<Result<(), EntryError>>);

async fn run(shared: &Shared, queue: &Queue, visibility: Duration, metrics: &Metrics) {
    let mut under_way = FuturesUnordered::new();
    while !shared.stopped.load(Ordering::SeqCst) {
        *shared.last_tick.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let flush = shared.leaving.load(Ordering::SeqCst);
        let (batches, wake) = shared.book().due(Instant::now(), flush);
        for batch in batches {
            if batch.action == Action::Renew {
                metrics.lease_lag(batch.lag);
            }
            under_way.push(send(queue, batch, metrics));
        }
        // Looks at least this often, so that `last_tick` tells a living thread.
        let heartbeat = Instant::now() + visibility / 6;
        let wake = wake.map_or(heartbeat, |w| w.min(heartbeat));
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep_until(wake.into()) => {}
            Some(done) = under_way.next(), if !under_way.is_empty() => record(shared, done),
        }
    }
}

async fn send(queue: &Queue, batch: Batch, metrics: &Metrics) -> Done {
    let started = Instant::now();
    let results = match batch.action {
        Action::Renew | Action::Leave => queue.change_visibility(&batch.entries).await,
        Action::Delete => {
            let receipts: Vec<String> = batch.entries.iter().map(|e| e.receipt.clone()).collect();
            queue.delete(&receipts).await
        }
    };
    let name = match batch.action {
        Action::Renew | Action::Leave => "change_message_visibility_batch",
        Action::Delete => "delete_message_batch",
    };
    metrics.operation(name, started.elapsed(), results.iter().all(Result::is_err));
    (batch, started, results)
}

fn record(shared: &Shared, (batch, started, results): Done) {
    let what = match batch.action {
        Action::Renew => "renew the lease of a message",
        Action::Delete => "delete a message",
        Action::Leave => "make a message visible again",
    };
    let now = Instant::now();
    let mut book = shared.book();
    for (ticket, result) in batch.tickets.iter().zip(&results) {
        match result {
            Ok(()) => {}
            Err(EntryError::OwnershipLost(why)) => {
                let (message_id, trace_id) = (&ticket.id, ticket.trace_id.as_deref());
                warn!(message_id, trace_id, "cannot {what}: it is not ours any more: {why}");
            }
            Err(EntryError::Transient(_)) => {}
        }
        book.complete(batch.action, ticket, result, started, now);
    }
    drop(book);
    if batch.action != Action::Renew {
        note_refusal(shared, what, &results);
    }
    tell_failed(&batch, what, &results);
    shared.changed.notify_waiters();
}

/// One line for a batch, as mostly all of it fails alike; each message by its id, and by its trace if it has one.
fn tell_failed(batch: &Batch, what: &str, results: &[Result<(), EntryError>]) {
    let (mut messages, mut traces, mut last) = (Vec::new(), Vec::new(), None);
    for (ticket, result) in batch.tickets.iter().zip(results) {
        let Err(EntryError::Transient(why)) = result else { continue };
        messages.push(ticket.id.as_str());
        traces.extend(ticket.trace_id.as_deref());
        last = Some(why);
    }
    let Some(why) = last else { return };
    let (failed, of) = (messages.len(), results.len());
    let trace_id = (!traces.is_empty()).then(|| traces.join(" "));
    warn!(message_id = messages.join(" "), trace_id, "cannot {what} ({failed} of {of}), trying again: {why}");
}

/// So many batches in a row are no accident.
const REFUSALS: u32 = 3;

fn note_refusal(shared: &Shared, what: &str, results: &[Result<(), EntryError>]) {
    let mut refused = shared.refused.lock().unwrap_or_else(PoisonError::into_inner);
    let why = results.iter().find_map(|r| match r {
        Err(EntryError::Transient(why)) => Some(why),
        _ => None,
    });
    match why {
        Some(why) if results.iter().all(Result::is_err) => {
            *refused = (refused.0 + 1, format!("cannot {what}: {why}"));
        }
        _ => *refused = (0, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::back_off;

    #[test]
    fn back_off_doubles_up_to_a_quarter_of_an_hour() {
        for (count, seconds) in [(1, 5.0), (2, 10.0), (3, 20.0), (8, 640.0), (9, 900.0), (u32::MAX, 900.0)] {
            for _ in 0..100 {
                let waits = back_off(count).as_secs_f64();
                assert!((seconds / 2.0..=seconds).contains(&waits), "{count}: {waits}");
            }
        }
    }
}
