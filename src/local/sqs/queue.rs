//! One queue: its settings, its tags, its messages, and who waits for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::address::Address;
use super::backlog::Backlog;
use super::clock::Moment;
use super::fault::{Fault, Kind};
use super::settings::Settings;

/// What identifies one queue among all that ever had its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub tag: u64,
    /// Seconds since 1970.
    pub created: u64,
    pub modified: u64,
}

#[derive(Debug)]
pub struct Queue {
    pub identity: Identity,
    pub settings: Settings,
    pub tags: BTreeMap<String, String>,
    pub backlog: Backlog,
    /// Wakes long polls when a message arrives or is released, or the queue goes away.
    pub arrival: Arc<Notify>,
    pub purged: Option<Moment>,
}

impl Queue {
    pub fn new(identity: Identity, settings: Settings, tags: BTreeMap<String, String>) -> Queue {
        let (backlog, arrival) = (Backlog::default(), Arc::default());
        Queue { identity, settings, tags, backlog, arrival, purged: None }
    }

    pub fn advance(&mut self, now: Moment) {
        self.backlog.advance(now, self.settings.retention());
    }

    /// The attributes a person asked for by name; `All` for all of them.
    pub fn attributes(
        &self,
        name: &str,
        address: &Address,
        wanted: &[String],
    ) -> Result<BTreeMap<String, String>, Fault> {
        let counts = self.backlog.counts();
        let mut known = self.settings.shown();
        known.extend(
            [
                ("QueueArn", address.arn(name)),
                ("ApproximateNumberOfMessages", counts.ready.to_string()),
                ("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string()),
                ("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string()),
                ("CreatedTimestamp", self.identity.created.to_string()),
                ("LastModifiedTimestamp", self.identity.modified.to_string()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        if wanted.iter().any(|name| name == "All") {
            return Ok(known);
        }
        // Known to SQS, but only shown when set.
        let optional = [
            "Policy",
            "RedrivePolicy",
            "RedriveAllowPolicy",
            "KmsMasterKeyId",
            "KmsDataKeyReusePeriodSeconds",
            "FifoQueue",
            "ContentBasedDeduplication",
            "DeduplicationScope",
            "FifoThroughputLimit",
        ];
        let mut shown = BTreeMap::new();
        for name in wanted {
            match known.remove(name) {
                Some(value) => drop(shown.insert(name.clone(), value)),
                None if optional.contains(&name.as_str()) || shown.contains_key(name) => {}
                None => return Err(Kind::InvalidAttributeName.with(format!("unknown attribute {name}"))),
            }
        }
        Ok(shown)
    }
}
