//! Who holds what: the state of every message in our hands, with no I/O. One entry a message, one
//! request at a time for each, so that a renewal can never land after a release or a delete
//! (sqs-consumer 260 and 303, novu 12437).

use super::sqs::{Entry, EntryError};
use super::{Counts, Message};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// The times that leases go by.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    pub visibility: Duration,
    /// How long a delete waits for others to share its batch.
    pub linger: Duration,
}

impl Timing {
    pub fn new(visibility: Duration) -> Self {
        Self { visibility, linger: Duration::from_millis(100) }
    }
}

/// SQS lets no message stay hidden for longer than 12 h from its receive; two seconds less, as
/// times on the wire are rounded up to whole seconds.
const HIDDEN_AT_MOST: Duration = Duration::from_secs(12 * 3600 - 2);
const BATCH: usize = 10;

/// How a job lets go of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Done, or wants nothing of us.
    Delete,
    /// Stored in the dead-letter queue, so it can go from here.
    DeadLettered,
    /// Could work later: visible again after this time.
    Retry(Duration),
    /// We leave: visible to others at once.
    Release(Cause),
}

/// Why a message was handed back when the worker left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its job had not begun, or waited for its turn to try again.
    NotBegun,
    /// Its job was cut off: the drain budget was over, or a second signal came.
    CutOff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Renew,
    Delete,
    Leave,
}

/// Up to ten requests of one kind, with whom they are for.
#[derive(Debug)]
pub struct Batch {
    pub action: Action,
    pub tickets: Vec<Ticket>,
    pub entries: Vec<Entry>,
    /// How late the latest of them is.
    pub lag: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub id: String,
    /// Of the trace that the message belongs to, if it is known.
    pub trace_id: Option<String>,
    generation: u64,
    receipt: String,
}

#[derive(Debug)]
struct Held {
    generation: u64,
    receipt: String,
    trace_id: Option<String>,
    received_at: Instant,
    renew_at: Instant,
    /// As far as we know: from then on others may have it.
    hidden_until: Instant,
    state: State,
    /// A request for this message is under way.
    busy: bool,
    /// Failures of the present step in a row, and when it may be tried again.
    failures: u32,
    next_try: Instant,
}

#[derive(Debug)]
enum State {
    Running,
    /// The receipt handle is not valid any more, the job has not noticed yet.
    Lost,
    /// Renewed until the delete is confirmed. Holds its place in the bounded delete buffer.
    Settling {
        settlement: Settlement,
        since: Instant,
        _slot: Option<OwnedSemaphorePermit>,
    },
}

pub struct Book {
    timing: Timing,
    held: HashMap<String, Held>,
    generations: u64,
    hurried: bool,
    pub counts: Counts,
}

impl Book {
    pub fn new(timing: Timing) -> Self {
        Self { timing, held: HashMap::new(), generations: 0, hurried: false, counts: Counts::default() }
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Takes a message into our hands. None: its job runs already, and has been given the newest
    /// receipt handle (a delete with an old one succeeds and deletes nothing: MassTransit 4857).
    pub fn hold(&mut self, message: &Message) -> Option<u64> {
        let renew_at = message.received_at + self.renewal_after();
        if let Some(held) = self.held.get_mut(&message.id)
            && held.is_ours_to_finish()
        {
            held.receipt.clone_from(&message.receipt);
            held.received_at = message.received_at;
            held.renew_at = renew_at;
            held.hidden_until = message.received_at + self.timing.visibility;
            if matches!(held.state, State::Lost) {
                held.state = State::Running;
            }
            self.counts.redelivered += 1;
            return None;
        }
        self.generations += 1;
        let held = Held {
            generation: self.generations,
            receipt: message.receipt.clone(),
            trace_id: message.trace_id(),
            received_at: message.received_at,
            renew_at,
            hidden_until: message.received_at + self.timing.visibility,
            state: State::Running,
            busy: false,
            failures: 0,
            next_try: message.received_at,
        };
        // One that was being let go while SQS handed it out again has come to its end by this.
        if let Some(before) = self.held.insert(message.id.clone(), held) {
            self.counts.end(before.settlement());
        }
        self.counts.received += 1;
        Some(self.generations)
    }

    /// What is done for it belongs to this trace.
    pub fn trace(&mut self, id: &str, generation: u64, trace_id: String) {
        if let Some(held) = self.held.get_mut(id).filter(|held| held.generation == generation) {
            held.trace_id = Some(trace_id);
        }
    }

    pub fn is_lost(&self, id: &str, generation: u64) -> bool {
        self.held.get(id).is_none_or(|h| h.generation != generation || matches!(h.state, State::Lost))
    }

    /// Whether others may have it: it is lost, or could not be renewed in time.
    pub fn may_be_others(&self, id: &str, generation: u64, now: Instant) -> bool {
        self.is_lost(id, generation) || self.held.get(id).is_some_and(|h| h.hidden_until < now)
    }

    /// The job is over. Ends the entry at once if it is not ours any more.
    pub fn settle(
        &mut self,
        id: &str,
        generation: u64,
        settlement: Settlement,
        slot: Option<OwnedSemaphorePermit>,
        now: Instant,
    ) {
        let Some(held) = self.held.get_mut(id).filter(|h| h.generation == generation) else { return };
        if matches!(held.state, State::Lost) {
            self.held.remove(id);
            self.counts.ownership_lost += 1;
            return;
        }
        held.state = State::Settling { settlement, since: now, _slot: slot };
        held.failures = 0;
        held.next_try = now;
    }

    /// The deletes that are there now do not wait for company.
    pub fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Whether something is let go of and not confirmed yet.
    pub fn is_settling(&self) -> bool {
        self.held.values().any(|held| held.settlement().is_some())
    }

    /// Let go of, and confirmed.
    pub fn is_over(&self, id: &str, generation: u64) -> bool {
        self.held.get(id).is_none_or(|h| h.generation != generation)
    }

    /// What to send now, and when to look again. `flush`: deletes do not wait for company.
    pub fn due(&mut self, now: Instant, flush: bool) -> (Vec<Batch>, Option<Instant>) {
        let flush = std::mem::take(&mut self.hurried) || flush;
        let mut deletes = Vec::new();
        let mut oldest_delete: Option<Instant> = None;
        let mut renewals: Vec<(&Held, &String)> = Vec::new();
        let mut ready: Vec<(Action, String)> = Vec::new();
        let mut wake: Option<Instant> = None;
        let mut wake_at = |at: Instant| wake = Some(wake.map_or(at, |w| w.min(at)));
        // Renewals that are almost due go along with one that is.
        let soon = now + self.timing.visibility / 20;
        for (id, held) in &self.held {
            if held.busy {
                continue;
            }
            match &held.state {
                State::Settling { settlement: Settlement::Retry(_) | Settlement::Release(_), .. } => {
                    if held.next_try <= now {
                        ready.push((Action::Leave, id.clone()));
                    } else {
                        wake_at(held.next_try);
                    }
                    continue;
                }
                State::Settling { since, .. } if held.next_try <= now => {
                    deletes.push(id.clone());
                    oldest_delete = Some(oldest_delete.map_or(*since, |o| o.min(*since)));
                    continue;
                }
                State::Settling { .. } => wake_at(held.next_try),
                State::Running => {}
                State::Lost => continue,
            }
            if held.may_renew(now) {
                renewals.push((held, id));
            }
        }
        // A renewal that failed goes along with any other: while SQS throttles, fewer and fuller
        // requests, and no message is left behind.
        let renewing = renewals.iter().any(|(held, _)| held.renew_at <= now);
        // Who failed most goes first: where one place in a request fares better, all come to it in turn.
        renewals.sort_by_key(|(held, _)| Reverse(held.failures));
        for (held, id) in renewals {
            let failed = held.failures > 0 && matches!(held.state, State::Running);
            if renewing && (held.renew_at <= soon || failed) {
                ready.push((Action::Renew, id.clone()));
            } else {
                wake_at(held.renew_at);
            }
        }
        if let Some(oldest) = oldest_delete {
            let send_at = oldest + self.timing.linger;
            if flush || deletes.len() >= BATCH || send_at <= now {
                ready.extend(deletes.into_iter().map(|id| (Action::Delete, id)));
            } else {
                wake_at(send_at);
            }
        }
        (self.batches(ready, now), wake)
    }

    fn batches(&mut self, mut ready: Vec<(Action, String)>, now: Instant) -> Vec<Batch> {
        ready.sort_by_key(|(action, _)| *action as u8);
        let mut batches: Vec<Batch> = Vec::new();
        for (action, id) in ready {
            let held = self.held.get_mut(&id).expect("listed a moment ago, under the same lock");
            held.busy = true;
            let ticket = Ticket {
                id,
                trace_id: held.trace_id.clone(),
                generation: held.generation,
                receipt: held.receipt.clone(),
            };
            let visibility = match held.settlement() {
                Some(Settlement::Retry(delay)) => delay.min(held.hidden_for_at_most(now)),
                Some(Settlement::Release(_)) => Duration::ZERO,
                _ => self.timing.visibility.min(held.hidden_for_at_most(now)),
            };
            let entry = Entry { receipt: held.receipt.clone(), visibility };
            let lag = now.saturating_duration_since(held.renew_at);
            match batches.last_mut().filter(|b| b.action == action && b.entries.len() < BATCH) {
                Some(batch) => {
                    batch.tickets.push(ticket);
                    batch.entries.push(entry);
                    batch.lag = batch.lag.max(lag);
                }
                None => batches.push(Batch { action, tickets: vec![ticket], entries: vec![entry], lag }),
            }
        }
        batches
    }

    /// What became of one request. `started`: when it was sent.
    pub fn complete(
        &mut self,
        action: Action,
        ticket: &Ticket,
        result: &Result<(), EntryError>,
        started: Instant,
        now: Instant,
    ) {
        let renewal_after = self.renewal_after();
        let Some(held) = self.held.get_mut(&ticket.id).filter(|h| h.generation == ticket.generation) else {
            return;
        };
        held.busy = false;
        if held.receipt != ticket.receipt {
            // Received again meanwhile: what was said of the old handle does not hold for the new one.
            held.next_try = now;
            return;
        }
        match (action, result) {
            (Action::Renew, Ok(())) => {
                held.renew_at = started + renewal_after;
                held.hidden_until = started + self.timing.visibility;
                if matches!(held.state, State::Running) {
                    held.failures = 0;
                }
            }
            (Action::Renew, Err(EntryError::OwnershipLost(_))) => match held.state {
                State::Settling { .. } => self.end(&ticket.id, None),
                _ => held.state = State::Lost,
            },
            (Action::Renew, Err(EntryError::Transient(_))) => {
                held.failures += 1;
                held.renew_at = now
                    + retry_after(held.failures, (self.timing.visibility / 10).max(Duration::from_secs(1)));
            }
            (Action::Delete | Action::Leave, Ok(())) => {
                let settlement = held.settlement();
                self.end(&ticket.id, settlement);
            }
            (Action::Delete | Action::Leave, Err(EntryError::OwnershipLost(_))) => self.end(&ticket.id, None),
            (Action::Delete, Err(EntryError::Transient(_))) => {
                held.failures += 1;
                held.next_try = now + retry_after(held.failures, Duration::from_secs(5));
            }
            (Action::Leave, Err(EntryError::Transient(_))) => {
                held.failures += 1;
                held.next_try = now + retry_after(held.failures, Duration::from_secs(5));
                // It shows by itself when its visibility timeout ends; no call is needed any more.
                if now >= held.renew_at + self.timing.visibility {
                    let settlement = held.settlement();
                    self.end(&ticket.id, settlement);
                }
            }
        }
    }

    fn end(&mut self, id: &str, settlement: Option<Settlement>) {
        self.held.remove(id);
        self.counts.end(settlement);
    }

    /// A third of the visibility timeout, a little earlier for each differently, so that renewals
    /// do not come in waves.
    fn renewal_after(&self) -> Duration {
        self.timing.visibility.mul_f64((0.9 + 0.1 * fastrand::f64()) / 3.0)
    }
}

impl Held {
    /// A job runs for it, or its delete is on the way: not to be started again.
    fn is_ours_to_finish(&self) -> bool {
        !matches!(self.settlement(), Some(Settlement::Retry(_) | Settlement::Release(_)))
    }

    fn settlement(&self) -> Option<Settlement> {
        match self.state {
            State::Settling { settlement, .. } => Some(settlement),
            State::Running | State::Lost => None,
        }
    }

    fn hidden_for_at_most(&self, now: Instant) -> Duration {
        HIDDEN_AT_MOST.saturating_sub(now.saturating_duration_since(self.received_at))
    }

    fn may_renew(&self, now: Instant) -> bool {
        self.hidden_for_at_most(now) > Duration::from_secs(1)
    }
}

/// 200 ms, doubling, up to `most`; half of it by chance.
fn retry_after(failures: u32, most: Duration) -> Duration {
    let base = Duration::from_millis(200 << failures.min(8)).min(most);
    base / 2 + (base / 2).mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests;
