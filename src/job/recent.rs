//! The newest event finished for each key of late: stale and repeated events need no download.

use crate::event::{Created, Sequencer};
use lru::LruCache;
use std::cmp::Ordering;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

/// Bounded: what was not used for longest goes first. Losing an entry costs a download, never correctness.
pub struct Recent {
    newest: Mutex<LruCache<(String, String), Sequencer>>,
}

const CAPACITY: NonZeroUsize = NonZeroUsize::new(10_000).expect("not 0");

impl Default for Recent {
    fn default() -> Self {
        Self { newest: Mutex::new(LruCache::new(CAPACITY)) }
    }
}

impl Recent {
    /// How an event compares with the newest one finished for its key; None if that is not known.
    pub fn compare(&self, created: &Created) -> Option<Ordering> {
        let mut entries = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = entries.get(&(created.bucket.clone(), created.key.clone()))?;
        created.sequencer.as_ref()?.compare(newest)
    }

    /// All outputs of this event are stored.
    pub fn finished(&self, created: &Created) {
        let Some(sequencer) = &created.sequencer else { return };
        let place = (created.bucket.clone(), created.key.clone());
        let mut entries = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.get_mut(&place) {
            Some(newest) if sequencer.compare(newest) == Some(Ordering::Less) => {}
            Some(newest) => *newest = sequencer.clone(),
            None => drop(entries.put(place, sequencer.clone())),
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
    fn memory_is_bounded_and_what_is_in_use_stays() {
        let recent = Recent::default();
        for n in 0..CAPACITY.get() {
            recent.finished(&event(&n.to_string(), "01"));
        }
        assert!(recent.compare(&event("0", "01")).is_some(), "used again");
        recent.finished(&event("1", "02"));
        for n in 0..10 {
            recent.finished(&event(&format!("new{n}"), "01"));
        }
        assert!(recent.compare(&event("0", "01")).is_some() && recent.compare(&event("1", "01")).is_some());
        assert_eq!(recent.compare(&event("2", "01")), None);
        assert_eq!(recent.newest.lock().unwrap().len(), CAPACITY.get());
    }
}
