//! What an output says of its source, and which of two may replace the other. This is what keeps
//! outputs from going backwards, with no database.

use crate::event::{Channel, Created, Sequencer};
use std::cmp::Ordering;
use std::collections::HashMap;

/// Kept as user metadata of every output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// ETag of the source bytes that were rendered, without quotes.
    pub etag: String,
    pub version: Option<String>,
    pub sequencer: Option<Sequencer>,
    /// Whether the sequencer is that of these very bytes. False: the object was replaced between the
    /// event and the download, so the bytes are newer than the sequencer says.
    pub exact: bool,
    /// Hash of the rendition's settings.
    pub settings: String,
}

/// What to do about an output that exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was made from the same bytes with the same settings: a duplicate, or our own write whose
    /// reply was lost.
    Done,
    /// The same work, but ours is of a newer event: its order must be raised, or a slow writer of an
    /// event in between could still replace it (A, then B, then A again).
    Raise,
    /// It was made from something newer.
    Superseded,
    Overwrite,
    /// The two cannot be ordered by what they say: whichever the source object is now is newer.
    AskSource,
}

const ETAG: &str = "longshore-source-etag";
const VERSION: &str = "longshore-source-version";
const SEQUENCER: &str = "longshore-sequencer";
const CHANNEL: &str = "longshore-channel";
const ORDER: &str = "longshore-order";
const SETTINGS: &str = "longshore-settings";

impl Provenance {
    pub fn new(created: &Created, etag: &str, settings: &str) -> Self {
        Self {
            etag: etag.to_owned(),
            version: created.version.clone(),
            sequencer: created.sequencer.clone(),
            exact: created.version.is_some() || created.etag.as_deref() == Some(etag),
            settings: settings.to_owned(),
        }
    }

    /// `self` is about to be written where `existing` is.
    pub fn against(&self, existing: &Self) -> Verdict {
        let order = match (&self.sequencer, &existing.sequencer) {
            (Some(ours), Some(theirs)) => ours.compare(theirs),
            _ => None,
        };
        if existing.etag == self.etag && existing.settings == self.settings {
            return if order == Some(Ordering::Greater) { Verdict::Raise } else { Verdict::Done };
        }
        match (order, self.exact, existing.exact) {
            (Some(Ordering::Less), true, true) => Verdict::Superseded,
            (Some(_), true, true) => Verdict::Overwrite,
            // Ours is newer than it says; theirs is just what it says.
            (Some(Ordering::Greater | Ordering::Equal), false, true) => Verdict::Overwrite,
            // Theirs is newer than it says; ours is just what it says.
            (Some(Ordering::Less | Ordering::Equal), true, false) => Verdict::Superseded,
            _ => Verdict::AskSource,
        }
    }

    pub fn to_metadata(&self) -> HashMap<String, String> {
        let mut metadata = HashMap::new();
        let mut put = |name: &str, value: &str| metadata.insert(name.to_owned(), value.to_owned());
        put(ETAG, &self.etag);
        put(SETTINGS, &self.settings);
        put(ORDER, if self.exact { "exact" } else { "after" });
        if let Some(version) = &self.version {
            put(VERSION, version);
        }
        if let Some(sequencer) = &self.sequencer {
            put(SEQUENCER, &sequencer.hex);
            put(CHANNEL, sequencer.channel.name());
        }
        metadata
    }

    /// None: the object was not written by a worker like us.
    pub fn from_metadata(metadata: &HashMap<String, String>) -> Option<Self> {
        let get = |name: &str| metadata.get(name).map(String::as_str);
        let channel = match get(CHANNEL) {
            Some("eventbridge") => Channel::EventBridge,
            _ => Channel::S3,
        };
        Some(Self {
            etag: get(ETAG)?.to_owned(),
            version: get(VERSION).map(str::to_owned),
            sequencer: get(SEQUENCER).and_then(|hex| Sequencer::new(channel, hex)),
            exact: get(ORDER) == Some("exact"),
            settings: get(SETTINGS)?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(etag: &str, hex: &str, exact: bool) -> Provenance {
        Provenance {
            etag: etag.into(),
            version: None,
            sequencer: Sequencer::new(Channel::S3, hex),
            exact,
            settings: "s".into(),
        }
    }

    #[test]
    fn the_same_bytes_and_settings_are_done_whatever_the_order() {
        assert_eq!(made("a", "01", true).against(&made("a", "02", false)), Verdict::Done);
        let other = Provenance { settings: "t".into(), ..made("a", "01", true) };
        assert_eq!(other.against(&made("a", "01", true)), Verdict::Overwrite);
    }

    #[test]
    fn the_same_bytes_of_a_newer_event_raise_the_order() {
        // A is stored, B is slow, A comes again: B must find that it is too late.
        assert_eq!(made("a", "03", true).against(&made("a", "01", true)), Verdict::Raise);
        assert_eq!(made("b", "02", true).against(&made("a", "03", true)), Verdict::Superseded);
        assert_eq!(made("a", "01", true).against(&made("a", "01", true)), Verdict::Done);
    }

    #[test]
    fn exact_sequencers_decide() {
        assert_eq!(made("a", "01", true).against(&made("b", "02", true)), Verdict::Superseded);
        assert_eq!(made("b", "02", true).against(&made("a", "01", true)), Verdict::Overwrite);
        assert_eq!(made("b", "1", true).against(&made("a", "10", true)), Verdict::Overwrite);
    }

    #[test]
    fn bytes_newer_than_their_event_are_ordered_by_what_is_certain() {
        // Read after event 5, so newer than an exact 5 or 4; against an exact 6, nobody can tell.
        assert_eq!(made("x", "05", false).against(&made("e", "05", true)), Verdict::Overwrite);
        assert_eq!(made("x", "05", false).against(&made("e", "04", true)), Verdict::Overwrite);
        assert_eq!(made("x", "05", false).against(&made("e", "06", true)), Verdict::AskSource);
        assert_eq!(made("e", "05", true).against(&made("x", "05", false)), Verdict::Superseded);
        assert_eq!(made("e", "06", true).against(&made("x", "05", false)), Verdict::AskSource);
        assert_eq!(made("x", "05", false).against(&made("y", "05", false)), Verdict::AskSource);
    }

    #[test]
    fn without_comparable_sequencers_the_source_decides() {
        let bridged =
            Provenance { sequencer: Sequencer::new(Channel::EventBridge, "09"), ..made("b", "09", true) };
        assert_eq!(bridged.against(&made("a", "01", true)), Verdict::AskSource);
        let none = Provenance { sequencer: None, ..made("b", "", true) };
        assert_eq!(none.against(&made("a", "01", true)), Verdict::AskSource);
    }

    #[test]
    fn metadata_round_trips() {
        let bridged = Provenance {
            version: Some("v".into()),
            sequencer: Sequencer::new(Channel::EventBridge, "0A"),
            ..made("a", "", false)
        };
        for provenance in [made("a", "01", true), bridged] {
            assert_eq!(Provenance::from_metadata(&provenance.to_metadata()), Some(provenance));
        }
        assert_eq!(Provenance::from_metadata(&HashMap::new()), None);
    }
}
