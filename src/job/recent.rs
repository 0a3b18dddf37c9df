//! The newest event finished for each key of late: stale and repeated events need no download.

use crate::event::{Created, Sequencer};
use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Bounded, oldest out first. Losing an entry costs a download, never correctness.
#[derive(Default)]
pub struct Recent {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    newest: HashMap<(String, String), Sequencer>,
    order: VecDeque<(String, String)>,
}

const CAPACITY: usize = 10_000;

impl Recent {
    /// How an event compares with the newest one finished for its key; None if that is not known.
    pub fn compare(&self, created: &Created) -> Option<Ordering> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = entries.newest.get(&(created.bucket.clone(), created.key.clone()))?;
        created.sequencer.as_ref()?.compare(newest)
    }

    /// All outputs of this event are stored.
    pub fn finished(&self, created: &Created) {
        let Some(sequencer) = &created.sequencer else { return };
        let place = (created.bucket.clone(), created.key.clone());
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.newest.get_mut(&place) {
            Some(newest) if sequencer.compare(newest) == Some(Ordering::Less) => {}
            Some(newest) => *newest = sequencer.clone(),
            None => {
                if entries.order.len() == CAPACITY
                    && let Some(oldest) = entries.order.pop_front()
                {
                    entries.newest.remove(&oldest);
                }
                entries.order.push_back(place.clone());
                entries.newest.insert(place, sequencer.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Channel;

    fn event(key: &str, hex: &str) -> Created {
        Created {
            bucket: "b".into(),
            key: key.into(),
            version: None,
            sequencer: Sequencer::new(Channel::S3, hex),
            size: None,
            etag: None,
        }
    }

    #[test]
    fn the_newest_finished_event_is_remembered() {
        let recent = Recent::default();
        assert_eq!(recent.compare(&event("k", "02")), None);
        recent.finished(&event("k", "02"));
        recent.finished(&event("k", "01"));
        assert_eq!(recent.compare(&event("k", "01")), Some(Ordering::Less));
        assert_eq!(recent.compare(&event("k", "02")), Some(Ordering::Equal));
        assert_eq!(recent.compare(&event("k", "03")), Some(Ordering::Greater));
    }

    #[test]
    fn memory_is_bounded() {
        let recent = Recent::default();
        for n in 0..CAPACITY + 10 {
            recent.finished(&event(&n.to_string(), "01"));
        }
        assert_eq!(recent.compare(&event("0", "01")), None);
        assert_eq!(recent.entries.lock().unwrap().newest.len(), CAPACITY);
    }
}
