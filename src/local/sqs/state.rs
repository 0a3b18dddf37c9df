//! All queues behind one lock. Whatever changes for good is an [`Event`]: first into the journal,
//! then into effect, so a replay after a restart takes the same path as the first run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::Error;
use super::backlog::Entry;
use super::clock::Clock;
use super::fault::{Fault, Kind};
use super::handle::Handle;
use super::journal::{Event, Journal, Sent};
use super::message::MessageId;
use super::moves::Moves;
use super::queue::Queue;

/// SQS gives out no more messages of one queue than this.
const MAX_IN_FLIGHT: usize = 120_000;
/// Moved to the dead-letter queue in one receive at most, so that a receive stays short.
const MAX_BURIED: usize = 100;
/// The messages of one queue are kept in memory: refuse before the machine suffers.
const MAX_QUEUE_BYTES: usize = 1024 * 1024 * 1024;
/// From the receive, however often it is extended.
const MAX_HIDDEN: Duration = Duration::from_secs(43_200);

#[derive(Debug)]
pub struct State {
    pub clock: Clock,
    pub queues: BTreeMap<String, Queue>,
    pub moves: Moves,
    pub(super) journal: Option<Journal>,
}

/// Where the messages of a queue go that were received too often.
#[derive(Debug, Clone)]
pub struct Grave {
    pub queue: String,
    pub max_receives: u32,
    pub dead_from: String,
}

/// A message given out, and the handle that settles it.
#[derive(Debug, Clone)]
pub struct Received {
    pub entry: Entry,
    pub handle: Handle,
}

impl State {
    pub fn open(clock: Clock, journal: Option<&Path>) -> Result<State, Error> {
        let mut state = State { clock, queues: BTreeMap::new(), moves: Moves::default(), journal: None };
        if let Some(path) = journal {
            let journal = Journal::open(path, |event| state.apply(event))?;
            let now = clock.now();
            state.queues.values_mut().for_each(|queue| queue.advance(now));
            state.journal = Some(journal);
            state.compact();
        }
        Ok(state)
    }

    /// The queue with its time line brought up to now.
    pub fn queue(&mut self, name: &str) -> Result<&mut Queue, Fault> {
        let now = self.clock.now();
        let queue = self.queues.get_mut(name).ok_or_else(|| Fault::no_queue(name))?;
        queue.advance(now);
        Ok(queue)
    }

    /// Makes the events durable, then real. On failure nothing has changed.
    pub fn commit(&mut self, events: Vec<Event>) -> Result<(), Fault> {
        if let Some(journal) = &mut self.journal
            && let Err(failure) = journal.append(&events)
        {
            tracing::error!(%failure, "cannot write the queue journal: free space on its disk");
            return Err(Kind::InternalError.with(format!("cannot write the queue journal: {failure}")));
        }
        events.into_iter().for_each(|event| self.apply(event));
        if self.journal.as_ref().is_some_and(Journal::is_overgrown) {
            self.compact();
        }
        Ok(())
    }

    pub fn send(&mut self, queue: &str, sent: Vec<Sent>) -> Result<(), Fault> {
        let held = self.queue(queue)?.backlog.bytes();
        let more: usize = sent.iter().map(|sent| sent.message.bytes()).sum();
        if held + more > MAX_QUEUE_BYTES {
            return Err(Kind::ServiceUnavailable.with(format!(
                "queue {queue} holds {held} bytes and is full here: purge it or let a worker drain it"
            )));
        }
        self.commit(sent.into_iter().map(Event::Sent).collect())
    }

    /// Gives out up to `most` messages, and buries those received too often before.
    pub fn receive(
        &mut self,
        name: &str,
        most: usize,
        hidden: Duration,
        grave: Option<&Grave>,
    ) -> Result<Vec<Received>, Fault> {
        let queue = self.queue(name)?;
        let room = MAX_IN_FLIGHT.saturating_sub(queue.backlog.counts().in_flight);
        if room == 0 {
            return Err(
                Kind::OverLimit.with(format!("{MAX_IN_FLIGHT} messages are in flight: delete some first"))
            );
        }
        let (mut next, mut doomed) = (Vec::new(), Vec::new());
        for entry in queue.backlog.ready() {
            if next.len() == most.min(room) || doomed.len() == MAX_BURIED {
                break;
            }
            let too_often = grave.is_some_and(|grave| entry.receives >= grave.max_receives);
            if too_often { &mut doomed } else { &mut next }.push(entry.message.id);
        }
        if let Some(grave) = grave
            && !doomed.is_empty()
        {
            self.commit(vec![Event::Buried {
                queue: name.to_owned(),
                to: grave.queue.clone(),
                dead_from: grave.dead_from.clone(),
                messages: doomed,
            }])?;
        }
        let now = self.clock.now();
        let queue = self.queue(name)?;
        let tag = queue.identity.tag;
        let mut received = Vec::new();
        for id in next {
            if let Some((entry, nonce)) = queue.backlog.receive(id, now, hidden) {
                let handle = Handle { queue_tag: tag, message: id, nonce };
                received.push(Received { entry: entry.clone(), handle });
            }
        }
        Ok(received)
    }

    /// Deletes what the handles stand for. A stale one deletes nothing: the message belongs to
    /// whoever received it since.
    pub fn delete(&mut self, name: &str, handles: &[Handle]) -> Result<(), Fault> {
        let backlog = &self.queue(name)?.backlog;
        let is_newest = |handle: &&Handle| {
            backlog
                .get(handle.message)
                .and_then(|entry| entry.last)
                .is_some_and(|last| last.nonce == handle.nonce)
        };
        let messages: Vec<MessageId> =
            handles.iter().filter(is_newest).map(|handle| handle.message).collect();
        if messages.is_empty() {
            return Ok(());
        }
        self.commit(vec![Event::Deleted { queue: name.to_owned(), messages }])
    }

    /// Hides a message in flight for `hidden` from now; zero releases it.
    pub fn change_visibility(&mut self, name: &str, handle: Handle, hidden: Duration) -> Result<(), Fault> {
        let now = self.clock.now();
        let queue = self.queue(name)?;
        let Some(entry) = queue.backlog.get(handle.message) else {
            return Err(Kind::InvalidParameterValue.with(
                "the message of this receipt handle does not exist or is not available for visibility timeout change",
            ));
        };
        let receive = entry.last.filter(|last| last.nonce == handle.nonce);
        let Some(receive) = receive.filter(|_| queue.backlog.is_in_flight(handle.message)) else {
            return Err(Kind::MessageNotInflight.with(
                "the message is not in flight under this receipt handle: its visibility timeout ran out",
            ));
        };
        // Whole seconds, or the longest extension right after a receive would fail.
        let spent = Duration::from_secs(now.since(receive.at).as_secs());
        if spent + hidden > MAX_HIDDEN {
            let reason =
                format!("the total since the receive is limited to {} seconds", MAX_HIDDEN.as_secs());
            return Err(Fault::invalid("VisibilityTimeout", hidden.as_secs(), &reason));
        }
        queue.backlog.rehide(handle.message, now.after(hidden));
        // Even an extension changes what a long poll must wait for.
        queue.arrival.notify_waiters();
        Ok(())
    }
}

#[cfg(test)]
pub mod tests {
    use std::sync::Arc;

    use super::super::message::Message;
    use super::super::queue::Identity;
    use super::super::value::Values;
    use super::*;

    pub const HIDDEN: Duration = Duration::from_secs(30);

    pub fn created(name: &str, attributes: &[(&str, &str)]) -> Event {
        let attributes =
            attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let identity = Identity { tag: 7, created: 0, modified: 0 };
        Event::Created { queue: name.into(), identity, attributes, tags: BTreeMap::new() }
    }

    pub fn sent(queue: &str, body: &str) -> Sent {
        let message = Message::new(body.into(), Values::new(), None, None);
        Sent { queue: queue.into(), message: Arc::new(message), not_before: None, dead_from: None }
    }

    fn state() -> State {
        let mut state = State::open(Clock::start(), None).unwrap();
        state
            .commit(vec![created("q", &[("MessageRetentionPeriod", "1209600")]), created("dead", &[])])
            .unwrap();
        state
    }

    pub fn grave() -> Grave {
        Grave { queue: "dead".into(), max_receives: 2, dead_from: "arn:q".into() }
    }

    #[test]
    fn an_unknown_handle_deletes_nothing_and_a_stale_one_neither() {
        let mut state = state();
        state.send("q", vec![sent("q", "a")]).unwrap();
        let first = state.receive("q", 10, HIDDEN, None).unwrap()[0].handle;
        state.clock.leap(HIDDEN);
        let second = state.receive("q", 10, HIDDEN, None).unwrap()[0].handle;
        state.delete("q", &[first]).unwrap();
        assert_eq!(state.queue("q").unwrap().backlog.counts().in_flight, 1);
        state.delete("q", &[second]).unwrap();
        assert_eq!(state.queue("q").unwrap().backlog.counts().in_flight, 0);
    }

    #[test]
    fn a_message_can_be_hidden_for_twelve_hours_in_all() {
        let mut state = state();
        state.send("q", vec![sent("q", "a")]).unwrap();
        let handle = state.receive("q", 1, HIDDEN, None).unwrap()[0].handle;
        state.change_visibility("q", handle, MAX_HIDDEN).unwrap();
        state.clock.leap(Duration::from_secs(10));
        let refused = state.change_visibility("q", handle, MAX_HIDDEN).unwrap_err();
        assert_eq!(refused.kind, Kind::InvalidParameterValue);
        state.change_visibility("q", handle, MAX_HIDDEN - Duration::from_secs(11)).unwrap();
    }

    #[test]
    fn the_visibility_of_a_message_back_in_the_queue_cannot_be_changed() {
        let mut state = state();
        state.send("q", vec![sent("q", "a")]).unwrap();
        let handle = state.receive("q", 1, HIDDEN, None).unwrap()[0].handle;
        state.clock.leap(HIDDEN);
        let refused = state.change_visibility("q", handle, HIDDEN).unwrap_err();
        assert_eq!(refused.kind, Kind::MessageNotInflight);
        state.delete("q", &[handle]).unwrap();
        let refused = state.change_visibility("q", handle, HIDDEN).unwrap_err();
        assert_eq!(refused.kind, Kind::InvalidParameterValue);
    }

    #[test]
    fn a_message_received_too_often_is_buried_at_the_next_receive() {
        let mut state = state();
        state.send("q", vec![sent("q", "poison")]).unwrap();
        for _ in 0..2 {
            assert_eq!(state.receive("q", 1, HIDDEN, Some(&grave())).unwrap().len(), 1);
            state.clock.leap(HIDDEN);
        }
        assert_eq!(state.queue("dead").unwrap().backlog.counts().ready, 0, "moved before a receive");
        assert!(state.receive("q", 1, HIDDEN, Some(&grave())).unwrap().is_empty());
        let dead = state.receive("dead", 1, HIDDEN, None).unwrap();
        assert_eq!(dead[0].entry.dead_from.as_deref(), Some("arn:q"));
        assert_eq!(dead[0].entry.receives, 3, "counted across queues");
    }

    #[test]
    fn a_dead_letter_ages_from_its_first_send() {
        let mut state = state();
        state.send("q", vec![sent("q", "poison")]).unwrap();
        let days = Duration::from_secs(86_400);
        state.clock.leap(3 * days);
        for _ in 0..3 {
            state.receive("q", 1, HIDDEN, Some(&grave())).unwrap();
            state.clock.leap(HIDDEN);
        }
        assert_eq!(state.queue("dead").unwrap().backlog.counts().ready, 1);
        state.clock.leap(days);
        assert_eq!(state.queue("dead").unwrap().backlog.counts().ready, 0);
    }

    #[test]
    fn more_in_flight_than_sqs_allows_is_over_limit() {
        let mut state = state();
        for _ in 0..MAX_IN_FLIGHT / 1000 {
            state.send("q", (0..1000).map(|_| sent("q", "x")).collect()).unwrap();
        }
        state.send("q", vec![sent("q", "one more")]).unwrap();
        let mut received = 0;
        while received < MAX_IN_FLIGHT {
            received += state.receive("q", 10, MAX_HIDDEN, None).unwrap().len();
        }
        assert_eq!(state.receive("q", 1, HIDDEN, None).unwrap_err().kind, Kind::OverLimit);
    }

    #[test]
    fn a_journal_that_cannot_be_written_refuses_the_send_and_changes_nothing() {
        let mut state = state();
        state.journal = Some(Journal::broken());
        assert_eq!(state.send("q", vec![sent("q", "lost?")]).unwrap_err().kind, Kind::InternalError);
        assert_eq!(state.queue("q").unwrap().backlog.counts().ready, 0);
    }
}
