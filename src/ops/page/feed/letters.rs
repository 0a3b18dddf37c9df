//! The dead-letter queue by reason. `local` goes through it, as it is its own; `work` must not hide letters
//! from an operator and tells what it sent itself.

use super::{ASK_EMBEDDED_EVERY, ASK_SQS_EVERY, Inner, lock};
use crate::queue::Queue;
use serde_json::{Value, json};

/// What is known of it.
#[derive(Default)]
pub struct Letters {
    pub url: Option<String>,
    /// All that are in it, by SQS's own estimate.
    pub count: Option<u64>,
    /// Why that is not known.
    pub trouble: Option<String>,
    /// Reason, count, an example, where somebody goes through it.
    pub groups: Vec<(String, u64, String)>,
}

impl Inner {
    /// As the page is told.
    pub(super) fn letters(&self) -> Value {
        let letters = lock(&self.letters);
        let sent = || self.admin.history.letters().into_iter();
        let groups = match self.is_local() {
            true => letters.groups.clone(),
            false => sent().map(|(reason, count)| (reason.to_owned(), count, String::new())).collect(),
        };
        let groups: Vec<Value> = groups
            .into_iter()
            .map(|(reason, count, example)| json!({"reason": reason, "count": count, "example": example}))
            .collect();
        json!({
            "url": letters.url, "count": letters.count, "trouble": letters.trouble, "groups": groups,
            "scope": if self.is_local() { "queue" } else { "worker" },
        })
    }

    pub(super) async fn ask_letters(&self) {
        let every = if self.is_local() { ASK_EMBEDDED_EVERY } else { ASK_SQS_EVERY };
        let mut gone_through = None;
        loop {
            if self.is_watched() {
                let count = self.count_letters().await;
                // Going through takes seconds and hides letters meanwhile: only when there is something new.
                if self.is_local() && count.is_some() && count != gone_through {
                    self.go_through(count).await;
                    gone_through = count;
                }
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn count_letters(&self) -> Option<u64> {
        let url = match self.page.dead_letters.url().await {
            Ok(url) => url,
            Err(why) => {
                lock(&self.letters).trouble = Some(why.to_string());
                return None;
            }
        };
        let depth = Queue::new(self.admin.queue.clients().clone(), url.clone()).depth().await;
        let mut letters = lock(&self.letters);
        letters.url = Some(url);
        let count = depth.as_ref().ok().map(|d| d.waiting + d.hidden);
        (letters.count, letters.trouble) = (count, depth.err().map(|why| why.to_string()));
        count
    }

    #[cfg(not(feature = "local"))]
    async fn go_through(&self, _: Option<u64>) {}

    #[cfg(feature = "local")]
    async fn go_through(&self, count: Option<u64>) {
        let Some(studio) = &self.page.studio else { return };
        let groups = if count == Some(0) { Ok(Vec::new()) } else { studio.letters_by_reason().await };
        match groups {
            Ok(groups) => lock(&self.letters).groups = groups,
            Err(why) => lock(&self.letters).trouble = Some(why.to_string()),
        }
    }
}
