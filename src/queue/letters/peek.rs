//! A look at letters that takes none: each is visible again at once, so whoever receives meanwhile misses nothing.
//!
//! SQS counts it as a receive all the same. Only a redrive policy would mind, and dead-letter queues have none.

use super::{Letter, Letters};
use crate::error::{Error, Printable};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// A look costs no more requests than this. Each brings ten letters at most, some of them perhaps not for the
/// first time: SQS picks at random.
const MOST_RECEIVES: usize = 10;

/// How many letters there are of each reason, with an example.
#[derive(Default)]
pub struct Reasons(BTreeMap<String, (u64, String)>);

impl Reasons {
    pub fn count(&mut self, letter: &Letter) {
        let example = || Printable(letter.objects.first().unwrap_or(&letter.id)).to_string();
        self.0.entry(letter.reason.clone()).or_insert_with(|| (0, example())).0 += 1;
    }

    /// Reason, count, example: the most frequent first.
    pub fn ranked(self) -> Vec<(String, u64, String)> {
        let groups = self.0.into_iter().map(|(reason, (count, example))| (reason, count, example));
        let mut groups: Vec<_> = groups.collect();
        groups.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
        groups
    }
}

impl Letters {
    /// Looks at letters, of which so many are visible; at a hundred at most.
    ///
    /// # Errors
    ///
    /// A receive failed.
    pub async fn peek(&self, visible: u64) -> Result<Reasons, Error> {
        let (mut reasons, mut seen) = (Reasons::default(), HashSet::new());
        for _ in 0..MOST_RECEIVES {
            if seen.len() as u64 >= visible {
                break;
            }
            for letter in self.receive(Duration::ZERO).await? {
                if seen.insert(letter.id.clone()) {
                    reasons.count(&letter);
                }
            }
        }
        Ok(reasons)
    }
}
