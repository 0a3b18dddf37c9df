//! How far a log was told that is written anew again and again, longer each time; and cut in the middle, in the end.

use crate::command::kept::{Kept, gap};
use sha2::{Digest, Sha256};

/// One log, as far as it was told.
#[derive(Debug, Clone, Default)]
pub struct Follow {
    /// Bytes that were printed before what comes next.
    told: u64,
    /// Of what was told of its beginning.
    head: [u8; 8],
}

/// What is to be told of a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// It is another log than what was told: the row began again.
    pub is_another: bool,
    pub text: Vec<u8>,
}

impl Follow {
    /// What there is beyond what was told.
    pub fn news(&mut self, text: &[u8]) -> News {
        let kept = Kept::read(text);
        let is_another =
            self.told > 0 && (kept.total() < self.told || digest(kept.first, self.told) != self.head);
        if is_another {
            self.told = 0;
        }
        let first = kept.first.len() as u64;
        let mut news = kept.first[at(self.told, kept.first)..].to_vec();
        let missed = (first + kept.left_out).saturating_sub(self.told.max(first));
        if missed > 0 {
            news.extend(gap(missed));
        }
        let told_of_last = self.told.saturating_sub(first + kept.left_out);
        news.extend(&kept.last[at(told_of_last, kept.last)..]);
        self.told = kept.total();
        self.head = digest(kept.first, self.told);
        News { is_another, text: news }
    }
}

fn at(told: u64, text: &[u8]) -> usize {
    usize::try_from(told).map_or(text.len(), |told| told.min(text.len()))
}

/// Of as much of the beginning as was told. Nobody forges it: it tells a log from the one before.
fn digest(first: &[u8], told: u64) -> [u8; 8] {
    let hash = Sha256::digest(&first[..at(told, first)]);
    std::array::from_fn(|n| hash[n])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::kept::KEPT;

    /// What a script has printed that printed so many lines, as it is kept.
    fn kept(lines: std::ops::Range<u64>) -> Vec<u8> {
        let text: Vec<u8> = lines.flat_map(|n| format!("line {n:06}\n").into_bytes()).collect();
        let left_out = text.len().saturating_sub(2 * KEPT);
        if left_out == 0 {
            return text;
        }
        let (first, last) = (&text[..KEPT], &text[text.len() - KEPT..]);
        Kept { first, left_out: left_out as u64, last }.text()
    }

    #[test]
    fn every_line_is_told_once_however_long_it_gets() {
        let mut follow = Follow::default();
        let mut told = Vec::new();
        // Beyond the first mebibyte, beyond both, and a little at a time.
        for lines in [0, 1, 10, 90_000, 150_000, 180_000, 250_000, 250_000, 250_001] {
            let news = follow.news(&kept(0..lines));
            assert!(!news.is_another, "at {lines}");
            told.extend(news.text);
        }
        let expected: Vec<u8> = (0..250_001).flat_map(|n| format!("line {n:06}\n").into_bytes()).collect();
        assert!(told == expected, "{} of {} bytes", told.len(), expected.len());
    }

    #[test]
    fn what_was_cut_before_it_was_told_is_said_to_be_missing() {
        let mut follow = Follow::default();
        follow.news(&kept(0..100_000));
        let text = follow.news(&kept(0..400_000)).text;
        let missing = 12 * 300_000 - KEPT;
        let expected =
            [gap(missing as u64), kept(0..400_000)[kept(0..400_000).len() - KEPT..].to_vec()].concat();
        assert!(text == expected, "{:?}", String::from_utf8_lossy(&text[..80]));
        // Nothing was told yet: all that is kept.
        assert_eq!(Follow::default().news(&kept(0..400_000)).text, kept(0..400_000));
    }

    #[test]
    fn a_row_that_began_again_is_told_anew() {
        for (before, after) in [("one\ntwo\n", "one\n"), ("one\ntwo\n", "One\ntwo\nthree\n")] {
            let mut follow = Follow::default();
            follow.news(before.as_bytes());
            let news = News { is_another: true, text: after.into() };
            assert_eq!(follow.news(after.as_bytes()), news);
            assert_eq!(follow.news(after.as_bytes()), News::default());
        }
    }
}
