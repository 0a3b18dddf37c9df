//! The state as the shortest journal that leads to it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::backlog::Entry;
use super::clock::wall_millis;
use super::journal::{Event, Sent};
use super::queue::Queue;
use super::settings::Settings;
use super::state::State;

impl State {
    /// The events that rebuild all queues as they are now, but for what is in flight.
    pub fn snapshot(&self) -> impl Iterator<Item = Event> {
        self.queues.iter().flat_map(|(name, queue)| {
            let created = Event::Created {
                queue: name.clone(),
                identity: queue.identity,
                attributes: queue.settings.shown(),
                tags: queue.tags.clone(),
            };
            let sent = queue.backlog.oldest_first().map(|entry| Event::Sent(self.sent(name, queue, entry)));
            std::iter::once(created).chain(sent)
        })
    }

    /// Rewrites the journal without what is about messages long gone.
    pub fn compact(&mut self) {
        let Some(mut journal) = self.journal.take() else { return };
        if let Err(failure) = journal.rewrite(self.snapshot()) {
            // Nothing is lost: the old file goes on.
            tracing::error!(%failure, "cannot compact the queue journal: free space on its disk");
        }
        self.journal = Some(journal);
    }

    fn sent(&self, name: &str, queue: &Queue, entry: &Entry) -> Sent {
        let now = self.clock.now();
        let delayed = queue.backlog.delayed_until(entry.message.id).map(|until| until.since(now));
        Sent {
            queue: name.to_owned(),
            message: entry.message.clone(),
            not_before: delayed.map(from_now),
            dead_from: entry.dead_from.clone(),
        }
    }
}

/// The wall-clock time after `pause`, in milliseconds since 1970.
pub fn from_now(pause: Duration) -> u64 {
    wall_millis().saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
}

/// Settings out of a journal. They were checked before they were written; what a later version
/// wrote and this one does not know keeps its default.
pub fn settings(attributes: &BTreeMap<String, String>) -> Settings {
    let mut settings = Settings::default();
    for (name, value) in attributes {
        let one = BTreeMap::from([(name.clone(), value.clone())]);
        if let Err(fault) = settings.apply(&one) {
            tracing::warn!(%name, "ignored an attribute in the queue journal: {}", fault.message);
        }
    }
    settings
}
