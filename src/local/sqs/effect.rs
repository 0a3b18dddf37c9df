//! What each event does to the queues: the same at its first run and at its replay.

use super::backlog::{Backlog, Entry};
use super::journal::{Event, Sent};
use super::message::MessageId;
use super::queue::Queue;
use super::snapshot::settings;
use super::state::State;

impl State {
    /// Changes what is in memory, without a word to the journal.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Created { queue, identity, attributes, tags } => {
                self.queues.insert(queue, Queue::new(identity, settings(&attributes), tags));
            }
            Event::Configured { queue, modified, attributes } => self.change(&queue, |queue| {
                queue.identity.modified = modified;
                queue.settings = settings(&attributes);
            }),
            Event::Tagged { queue, tags } => self.change(&queue, |queue| queue.tags = tags),
            Event::Removed { queue } => {
                // Wakes the long polls, which then find the queue gone.
                self.change(&queue, |_| ());
                self.queues.remove(&queue);
                self.moves.forget(&queue);
            }
            Event::Purged { queue } => self.change(&queue, |queue| queue.backlog = Backlog::default()),
            Event::Sent(sent) => self.insert(sent),
            Event::Deleted { queue, messages } => self.change(&queue, |queue| {
                messages.into_iter().for_each(|id| drop(queue.backlog.remove(id)));
            }),
            Event::Buried { queue, to, dead_from, messages } => {
                for id in messages {
                    if let Some(entry) = self.take(&queue, id) {
                        let buried = Entry { dead_from: Some(dead_from.clone()), last: None, ..entry };
                        self.change(&to, |queue| queue.backlog.insert(buried, None));
                    }
                }
            }
            Event::Redriven { queue, message, sent } => {
                self.take(&queue, message);
                self.insert(sent);
            }
        }
    }

    fn insert(&mut self, sent: Sent) {
        let clock = self.clock;
        let delayed = sent.not_before.map(|wall| clock.moment_of(wall));
        let entry = Entry {
            dead_from: sent.dead_from,
            aged_from: clock.moment_of(sent.message.sent),
            ..Entry::new(sent.message, clock.now())
        };
        self.change(&sent.queue, |queue| queue.backlog.insert(entry, delayed));
    }

    fn take(&mut self, queue: &str, id: MessageId) -> Option<Entry> {
        self.queues.get_mut(queue)?.backlog.remove(id)
    }

    /// A journal may speak of a queue that is gone: then there is nothing to change.
    fn change(&mut self, queue: &str, change: impl FnOnce(&mut Queue)) {
        if let Some(queue) = self.queues.get_mut(queue) {
            change(queue);
            queue.arrival.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::clock::Clock;
    use super::super::snapshot::from_now;
    use super::super::state::tests::{HIDDEN, created, grave, sent};
    use super::super::state::{Grave, Received};
    use super::*;

    fn journal(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("longshore-state-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder.join("queues.jsonl")
    }

    fn bodies(received: &[Received]) -> Vec<&str> {
        received.iter().map(|received| received.entry.message.body.as_str()).collect()
    }

    #[test]
    fn queues_messages_and_dead_letters_survive_a_restart() {
        let path = journal("restart");
        let mut state = State::open(Clock::start(), Some(&path)).unwrap();
        let delay = Sent { not_before: Some(from_now(HIDDEN)), ..sent("q", "delayed") };
        state.commit(vec![created("q", &[("VisibilityTimeout", "77")]), created("dead", &[])]).unwrap();
        state.send("q", vec![sent("q", "deleted"), sent("q", "poison")]).unwrap();
        let handle = state.receive("q", 1, HIDDEN, None).unwrap()[0].handle;
        state.delete("q", &[handle]).unwrap();
        let grave = Grave { max_receives: 1, ..grave() };
        for _ in 0..2 {
            state.receive("q", 1, Duration::ZERO, Some(&grave)).unwrap();
        }
        state.send("q", vec![sent("q", "in flight"), delay]).unwrap();
        state.receive("q", 1, HIDDEN, Some(&grave)).unwrap();
        // Once from the journal as it grew, once as the first restart compacted it.
        for _ in 0..2 {
            drop(state);
            state = State::open(Clock::start(), Some(&path)).unwrap();
            assert_eq!(state.queue("q").unwrap().settings.visibility, 77);
            assert_eq!(state.queue("q").unwrap().backlog.counts().delayed, 1);
            let dead: Vec<_> = state.queue("dead").unwrap().backlog.ready().cloned().collect();
            assert_eq!(
                (dead[0].message.body.as_str(), dead[0].dead_from.as_deref()),
                ("poison", Some("arn:q"))
            );
            state.delete("q", &[handle]).unwrap();
            let received = state.receive("q", 10, HIDDEN, None).unwrap();
            assert_eq!(bodies(&received), ["in flight"], "what was in flight is visible again");
        }
    }

    #[test]
    fn a_handle_from_before_a_restart_deletes_nothing() {
        let path = journal("handles");
        let mut state = State::open(Clock::start(), Some(&path)).unwrap();
        state.commit(vec![created("q", &[])]).unwrap();
        state.send("q", vec![sent("q", "a")]).unwrap();
        let handle = state.receive("q", 1, HIDDEN, None).unwrap()[0].handle;
        drop(state);
        let mut state = State::open(Clock::start(), Some(&path)).unwrap();
        state.delete("q", &[handle]).unwrap();
        assert_eq!(state.queue("q").unwrap().backlog.counts().ready, 1);
    }
}
