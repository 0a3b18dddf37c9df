//! The `sequencer` of events: tells which of two writes to a key came later.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Rises with every write, also across restarts and when the clock is set back.
#[derive(Debug, Default)]
pub struct Sequence(AtomicU64);

impl Sequence {
    /// Later numbers are larger than one that was given out before a restart.
    pub fn resume_after(&self, number: u64) {
        self.0.fetch_max(number, Ordering::Relaxed);
    }

    pub fn next(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_nanos()).unwrap_or_default();
        let rise = |last: u64| now.max(last + 1);
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(rise(last)));
        rise(before.unwrap_or_else(|last| last))
    }
}

/// As it stands in an event. AWS promises no length, so readers must right-pad before comparing:
/// the tail changes the length and never the order.
pub fn format(number: u64) -> String {
    let tail = ["", "3", "9A"][(number % 3) as usize];
    format!("00{number:016X}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(text: &str) -> String {
        format!("{text:0<24}")
    }

    #[test]
    fn right_padded_sequencers_rise_whatever_their_length() {
        let sequence = Sequence::default();
        let texts: Vec<String> = (0..1000).map(|_| format(sequence.next())).collect();
        assert!(texts.windows(2).all(|pair| padded(&pair[0]) < padded(&pair[1])));
        assert!(texts.iter().any(|text| text.len() != texts[0].len()));
        assert!(texts[0].bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)));
    }

    #[test]
    fn a_clock_set_back_does_not_set_the_sequence_back() {
        let sequence = Sequence::default();
        let future = u64::MAX / 2;
        sequence.resume_after(future);
        assert_eq!(sequence.next(), future + 1);
        assert_eq!(sequence.next(), future + 2);
    }
}
