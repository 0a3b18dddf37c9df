//! The dead-letter queue by reason. `local` goes through it, as it is its own; `work` looks at letters without
//! hiding them, and where it may not, it tells what it sent itself.

use super::{ASK_EMBEDDED_EVERY, ASK_SQS_EVERY, Inner, lock};
use crate::error::Error;
#[cfg(feature = "local")]
use crate::ops::page::studio::MOST_LETTERS;
use crate::queue::letters::{self, Reasons};
use crate::queue::{Depth, Queue};
use serde_json::{Value, json};

/// What is known of it.
#[derive(Default)]
pub struct Letters {
    pub url: Option<String>,
    /// All that are in it, by SQS's own estimate.
    pub count: Option<u64>,
    /// Why that is not known.
    pub trouble: Option<String>,
    /// Reason, count, an example, where somebody looked into it.
    pub groups: Option<Vec<(String, u64, String)>>,
    /// Why nobody could.
    pub unseen: Option<String>,
}

impl Inner {
    /// As the page is told.
    pub(super) fn letters(&self) -> Value {
        let letters = lock(&self.letters);
        let sent = || self.admin.history.letters().into_iter();
        let (scope, groups) = match &letters.groups {
            Some(groups) => ("queue", groups.clone()),
            None if self.is_local() => ("queue", Vec::new()),
            None => {
                ("worker", sent().map(|(reason, count)| (reason.to_owned(), count, String::new())).collect())
            }
        };
        // Whoever goes through the queue sees all.
        let seen = (scope == "queue" && !self.is_local())
            .then(|| groups.iter().map(|(_, count, _)| count).sum::<u64>());
        let groups: Vec<Value> = groups
            .into_iter()
            .map(|(reason, count, example)| json!({"reason": reason, "count": count, "example": example}))
            .collect();
        json!({
            "url": letters.url, "count": letters.count, "groups": groups, "scope": scope, "seen": seen,
            "trouble": letters.trouble.as_ref().or(letters.unseen.as_ref()),
        })
    }

    pub(super) async fn ask_letters(&self) {
        let every = if self.is_local() { ASK_EMBEDDED_EVERY } else { ASK_SQS_EVERY };
        // How many there were when they were last looked at.
        let mut looked = None;
        loop {
            if self.is_watched() {
                let depth = self.count_letters().await;
                if self.is_local() {
                    let count = depth.map(|d| d.waiting + d.hidden);
                    // Going through takes seconds and hides letters meanwhile: only when there is something new.
                    if count.is_some() && count != looked {
                        let all = self.go_through(count).await;
                        // One that went and came back meanwhile is not in it, and the count is the same.
                        looked = count.filter(|_| all);
                    }
                } else {
                    let visible = depth.map(|d| d.waiting);
                    if visible.is_none() || visible != looked {
                        let done = self.look_into(visible).await;
                        looked = visible.filter(|_| done);
                    }
                }
            } else if !self.is_local() {
                // As many may be others, for who looks next.
                looked = None;
            }
            self.pause(every, &self.joined_letters).await;
        }
    }

    async fn count_letters(&self) -> Option<Depth> {
        let url = match self.page.dead_letters.url().await {
            Ok(url) => url,
            Err(why) => {
                let mut letters = lock(&self.letters);
                // What was counted before is not known to be so any more.
                (letters.count, letters.trouble) = (None, Some(why.to_string()));
                return None;
            }
        };
        let depth = Queue::new(self.admin.queue.clients().clone(), url.clone()).depth().await;
        let mut letters = lock(&self.letters);
        letters.url = Some(url);
        letters.count = depth.as_ref().ok().map(|d| d.waiting + d.hidden);
        letters.trouble = depth.as_ref().err().map(ToString::to_string);
        depth.ok()
    }

    /// Whether what is visible is known by reason now.
    async fn look_into(&self, visible: Option<u64>) -> bool {
        let reasons = match visible {
            Some(visible) => self.peek(visible).await.map(Some),
            None => Ok(None),
        };
        let mut letters = lock(&self.letters);
        (letters.groups, letters.unseen) = match reasons {
            Ok(reasons) => (reasons.map(Reasons::ranked), None),
            Err(why) => (None, Some(why.to_string())),
        };
        letters.groups.is_some()
    }

    async fn peek(&self, visible: u64) -> Result<Reasons, Error> {
        let queue = &self.admin.queue;
        let url = self.page.dead_letters.url().await?;
        let letters = letters::Letters::open(queue.clients().clone(), queue.url.clone(), Some(url)).await?;
        letters.peek(visible).await
    }

    #[cfg(not(feature = "local"))]
    async fn go_through(&self, _: Option<u64>) -> bool {
        true
    }

    #[cfg(feature = "local")]
    async fn go_through(&self, count: Option<u64>) -> bool {
        let Some(studio) = &self.page.studio else { return true };
        let reasons =
            if count == Some(0) { Ok(Reasons::default()) } else { studio.letters_by_reason().await };
        match reasons {
            Ok(reasons) => {
                let groups = reasons.ranked();
                let seen: u64 = groups.iter().map(|(_, count, _)| count).sum();
                lock(&self.letters).groups = Some(groups);
                seen >= count.unwrap_or(0).min(MOST_LETTERS)
            }
            Err(why) => {
                lock(&self.letters).trouble = Some(why.to_string());
                false
            }
        }
    }
}
