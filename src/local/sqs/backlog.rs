//! The messages of one queue: which are ready, which are hidden until when, and which grow too old.
//!
//! Every step costs the logarithm of the queue's length, so that a hundred thousand messages behind
//! one lock do not matter.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::clock::{Moment, wall_millis};
use super::message::{Message, MessageId};

/// A message as it stands in its queue.
#[derive(Debug, Clone)]
pub struct Entry {
    pub message: Arc<Message>,
    /// Counted from the first send, also in a dead-letter queue.
    pub aged_from: Moment,
    /// ARN of the queue that gave up on it.
    pub dead_from: Option<String>,
    pub receives: u32,
    /// Milliseconds since 1970.
    pub first_received: Option<u64>,
    /// The newest receive; older handles are stale.
    pub last: Option<Receive>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receive {
    pub nonce: u64,
    pub at: Moment,
}

/// Where an entry is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready { turn: u64 },
    Delayed { until: Moment },
    InFlight { until: Moment },
}

/// The three live counts SQS shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub ready: usize,
    pub in_flight: usize,
    pub delayed: usize,
}

#[derive(Debug, Default)]
pub struct Backlog {
    entries: HashMap<MessageId, (Entry, Place)>,
    /// In the order they became visible: a message released again waits its turn.
    ready: BTreeMap<u64, MessageId>,
    /// Delayed and in flight, by the moment they become visible.
    hidden: BTreeSet<(Moment, MessageId)>,
    ages: BTreeSet<(Moment, MessageId)>,
    next_turn: u64,
    in_flight: usize,
    bytes: usize,
}

impl Entry {
    pub fn new(message: Arc<Message>, aged_from: Moment) -> Entry {
        Entry { message, aged_from, dead_from: None, receives: 0, first_received: None, last: None }
    }
}

impl Backlog {
    /// Takes a message in, visible at once or from `delayed` on.
    pub fn insert(&mut self, entry: Entry, delayed: Option<Moment>) {
        let id = entry.message.id;
        self.remove(id);
        self.bytes += entry.message.bytes();
        self.ages.insert((entry.aged_from, id));
        let place = match delayed {
            Some(until) => self.hide(id, until, false),
            None => self.show(id),
        };
        self.entries.insert(id, (entry, place));
    }

    pub fn remove(&mut self, id: MessageId) -> Option<Entry> {
        let (entry, place) = self.entries.remove(&id)?;
        self.unlist(id, place);
        self.ages.remove(&(entry.aged_from, id));
        self.bytes -= entry.message.bytes();
        Some(entry)
    }

    /// Lets time pass: drops what is older than `retention`, shows what is hidden no longer.
    pub fn advance(&mut self, now: Moment, retention: Duration) {
        while let Some(&(from, id)) = self.ages.first()
            && from.after(retention) <= now
        {
            self.remove(id);
        }
        while let Some(&(until, id)) = self.hidden.first()
            && until <= now
        {
            self.move_to(id, |backlog| backlog.show(id));
        }
    }

    /// The next ready messages, in turn.
    pub fn ready(&self) -> impl Iterator<Item = &Entry> {
        self.ready.values().filter_map(|id| self.get(*id))
    }

    /// Hides a ready message for `hidden`, counts the receive and gives it a fresh nonce.
    pub fn receive(&mut self, id: MessageId, now: Moment, hidden: Duration) -> Option<(&Entry, u64)> {
        self.move_to(id, |backlog| backlog.hide(id, now.after(hidden), true));
        let (entry, _) = self.entries.get_mut(&id)?;
        entry.receives = entry.receives.saturating_add(1);
        entry.first_received.get_or_insert_with(wall_millis);
        let nonce = fastrand::u64(..);
        entry.last = Some(Receive { nonce, at: now });
        Some((entry, nonce))
    }

    /// Hides a message in flight until `until` instead.
    pub fn rehide(&mut self, id: MessageId, until: Moment) {
        self.move_to(id, |backlog| backlog.hide(id, until, true));
    }

    pub fn get(&self, id: MessageId) -> Option<&Entry> {
        self.entries.get(&id).map(|(entry, _)| entry)
    }

    pub fn is_in_flight(&self, id: MessageId) -> bool {
        matches!(self.entries.get(&id), Some((_, Place::InFlight { .. })))
    }

    /// Until when a message that was never received is held back.
    pub fn delayed_until(&self, id: MessageId) -> Option<Moment> {
        match self.entries.get(&id) {
            Some((_, Place::Delayed { until })) => Some(*until),
            _ => None,
        }
    }

    /// When the next hidden message becomes visible.
    pub fn next_visible(&self) -> Option<Moment> {
        self.hidden.first().map(|(until, _)| *until)
    }

    /// All messages, oldest first.
    pub fn oldest_first(&self) -> impl Iterator<Item = &Entry> {
        self.ages.iter().filter_map(|(_, id)| self.get(*id))
    }

    pub fn counts(&self) -> Counts {
        let delayed = self.hidden.len() - self.in_flight;
        Counts { ready: self.ready.len(), in_flight: self.in_flight, delayed }
    }

    /// What the bodies and attributes take in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn move_to(&mut self, id: MessageId, place: impl FnOnce(&mut Backlog) -> Place) {
        if let Some((entry, old)) = self.entries.remove(&id) {
            self.unlist(id, old);
            let place = place(self);
            self.entries.insert(id, (entry, place));
        }
    }

    fn show(&mut self, id: MessageId) -> Place {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.ready.insert(turn, id);
        Place::Ready { turn }
    }

    fn hide(&mut self, id: MessageId, until: Moment, received: bool) -> Place {
        self.hidden.insert((until, id));
        self.in_flight += usize::from(received);
        if received { Place::InFlight { until } } else { Place::Delayed { until } }
    }

    fn unlist(&mut self, id: MessageId, place: Place) {
        match place {
            Place::Ready { turn } => drop(self.ready.remove(&turn)),
            Place::Delayed { until } => drop(self.hidden.remove(&(until, id))),
            Place::InFlight { until } => {
                self.hidden.remove(&(until, id));
                self.in_flight -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::Clock;
    use super::super::value::Values;
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn backlog_of(now: Moment, bodies: &[&str]) -> (Backlog, Vec<MessageId>) {
        let mut backlog = Backlog::default();
        let mut ids = Vec::new();
        for body in bodies {
            let message = Message::new((*body).into(), Values::new(), None, None);
            ids.push(message.id);
            backlog.insert(Entry::new(Arc::new(message), now), None);
        }
        (backlog, ids)
    }

    fn ready(backlog: &Backlog) -> Vec<String> {
        backlog.ready().map(|entry| entry.message.body.clone()).collect()
    }

    #[test]
    fn a_received_message_is_hidden_and_comes_back_behind_the_others() {
        let now = Clock::start().now();
        let (mut backlog, ids) = backlog_of(now, &["a", "b"]);
        let (entry, _) = backlog.receive(ids[0], now, Duration::from_secs(30)).unwrap();
        assert_eq!(entry.receives, 1);
        assert_eq!(ready(&backlog), ["b"]);
        assert_eq!(backlog.counts(), Counts { ready: 1, in_flight: 1, delayed: 0 });
        backlog.advance(now.after(Duration::from_secs(29)), LONG);
        assert!(backlog.is_in_flight(ids[0]));
        backlog.advance(now.after(Duration::from_secs(30)), LONG);
        assert_eq!(ready(&backlog), ["b", "a"]);
    }

    #[test]
    fn each_receive_has_another_nonce() {
        let now = Clock::start().now();
        let (mut backlog, ids) = backlog_of(now, &["a"]);
        let (_, first) = backlog.receive(ids[0], now, Duration::ZERO).unwrap();
        backlog.advance(now, LONG);
        let (_, second) = backlog.receive(ids[0], now, Duration::ZERO).unwrap();
        assert_ne!(first, second);
    }

    #[test]
    fn an_old_message_is_dropped_wherever_it_is() {
        let now = Clock::start().now();
        let (mut backlog, ids) = backlog_of(now, &["ready", "in flight"]);
        backlog.receive(ids[1], now, LONG);
        let delayed = Message::new("delayed".into(), Values::new(), None, None);
        backlog.insert(Entry::new(Arc::new(delayed), now), Some(now.after(LONG)));
        assert_eq!(backlog.counts(), Counts { ready: 1, in_flight: 1, delayed: 1 });
        backlog.advance(now.after(Duration::from_secs(60)), Duration::from_secs(60));
        assert_eq!(backlog.counts(), Counts { ready: 0, in_flight: 0, delayed: 0 });
        assert_eq!((backlog.bytes(), backlog.next_visible()), (0, None));
    }

    #[test]
    fn the_next_visible_moment_follows_a_change_of_visibility() {
        let now = Clock::start().now();
        let (mut backlog, ids) = backlog_of(now, &["a"]);
        backlog.receive(ids[0], now, LONG);
        let soon = now.after(Duration::from_secs(1));
        backlog.rehide(ids[0], soon);
        assert_eq!(backlog.next_visible(), Some(soon));
        assert_eq!(backlog.counts().in_flight, 1);
    }

    /// A receive must not walk the queue: a hundred thousand of them pass in a moment.
    #[test]
    fn a_long_queue_is_as_fast_as_a_short_one() {
        let now = Clock::start().now();
        let (mut backlog, _) = backlog_of(now, &vec!["x"; 100_000]);
        let started = std::time::Instant::now();
        for _ in 0..100_000 {
            let id = backlog.ready().next().unwrap().message.id;
            backlog.receive(id, now, LONG);
            backlog.advance(now, LONG);
        }
        assert_eq!(backlog.counts(), Counts { ready: 0, in_flight: 100_000, delayed: 0 });
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}
