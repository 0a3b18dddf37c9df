//! Operations on queues as a whole: make, find, list, configure, tag, purge, delete.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::address::check_name;
use super::clock::wall_millis;
use super::fault::{Fault, Kind};
use super::journal::Event;
use super::queue::Identity;
use super::redrive;
use super::request::{
    CreateQueue, GetQueueAttributes, GetQueueUrl, ListDeadLetterSourceQueues, ListQueues, Map, OnQueue,
    SetQueueAttributes, TagQueue, UntagQueue, number,
};
use super::server::{Server, done};
use super::settings::Settings;
use super::state::State;

/// Far more than one person needs, far less than what a runaway script would make.
const MAX_QUEUES: usize = 10_000;
/// As in SQS, so that a purge cannot become a habit.
const PURGE_PAUSE: Duration = Duration::from_secs(60);

impl Server {
    pub fn create_queue(&self, request: CreateQueue) -> Result<Json, Fault> {
        let name = request.queue_name.ok_or_else(|| Fault::missing("QueueName"))?;
        check_name(&name)?;
        let attributes = request.attributes.unwrap_or_default();
        let tags = request.tags.unwrap_or_default();
        check_tags(&tags)?;
        let mut state = self.state();
        let old = state.queues.get(&name).map(|queue| queue.settings.clone());
        let mut settings = old.clone().unwrap_or_default();
        settings.apply(&attributes)?;
        if let Some(old) = old {
            return if old == settings {
                Ok(json!({ "QueueUrl": self.url(&name) }))
            } else {
                Err(Kind::QueueNameExists
                    .with(format!("queue {name} exists with other attributes: use SetQueueAttributes")))
            };
        }
        self.check_redrive(&state, &name, &settings)?;
        if state.queues.len() >= MAX_QUEUES {
            return Err(
                Kind::ServiceUnavailable.with(format!("there are {MAX_QUEUES} queues here: delete some"))
            );
        }
        let now = wall_millis() / 1000;
        let identity = Identity { tag: fastrand::u64(..), created: now, modified: now };
        let queue = name.clone();
        state.commit(vec![Event::Created { queue, identity, attributes: settings.shown(), tags }])?;
        Ok(json!({ "QueueUrl": self.url(&name) }))
    }

    pub fn delete_queue(&self, request: &OnQueue) -> Result<Json, Fault> {
        let name = self.address.name_in_url(request.queue_url.as_deref())?;
        let mut state = self.state();
        state.queue(name)?;
        state.commit(vec![Event::Removed { queue: name.to_owned() }])?;
        Ok(done())
    }

    pub fn get_queue_url(&self, request: &GetQueueUrl) -> Result<Json, Fault> {
        let name = request.queue_name.as_deref().ok_or_else(|| Fault::missing("QueueName"))?;
        let ours = request.owner.as_ref().is_none_or(|owner| *owner == self.address.account);
        if !ours || !self.state().queues.contains_key(name) {
            return Err(Fault::no_queue(name));
        }
        Ok(json!({ "QueueUrl": self.url(name) }))
    }

    pub fn list_queues(&self, request: &ListQueues) -> Result<Json, Fault> {
        let prefix = request.queue_name_prefix.as_deref().unwrap_or_default();
        let state = self.state();
        let names = after(&state, request.next_token.as_deref()).filter(|name| name.starts_with(prefix));
        self.page("QueueUrls", names, request.max_results)
    }

    pub fn list_dead_letter_source_queues(
        &self,
        request: &ListDeadLetterSourceQueues,
    ) -> Result<Json, Fault> {
        let name = self.address.name_in_url(request.queue_url.as_deref())?;
        let mut state = self.state();
        state.queue(name)?;
        let arn = self.address.arn(name);
        let is_source = |name: &&str| {
            let redrive = state.queues.get(*name).and_then(|queue| queue.settings.redrive.as_ref());
            redrive.is_some_and(|redrive| redrive.target_arn == arn)
        };
        let names = after(&state, request.next_token.as_deref()).filter(is_source);
        // Lower case, unlike everything else.
        self.page("queueUrls", names, request.max_results)
    }

    pub fn get_queue_attributes(&self, request: &GetQueueAttributes) -> Result<Json, Fault> {
        let name = self.address.name_in_url(request.queue_url.as_deref())?;
        let wanted = request.attribute_names.as_deref().unwrap_or_default();
        let attributes = self.state().queue(name)?.attributes(name, &self.address, wanted)?;
        if attributes.is_empty() { Ok(done()) } else { Ok(json!({ "Attributes": attributes })) }
    }

    pub fn set_queue_attributes(&self, request: &SetQueueAttributes) -> Result<Json, Fault> {
        let name = self.address.name_in_url(request.queue_url.as_deref())?;
        let attributes = request.attributes.as_ref().ok_or_else(|| Fault::missing("Attributes"))?;
        let mut state = self.state();
        let mut settings = state.queue(name)?.settings.clone();
        settings.apply(attributes)?;
        if attributes.contains_key("RedrivePolicy") {
            self.check_redrive(&state, name, &settings)?;
        }
        let (queue, modified) = (name.to_owned(), wall_millis() / 1000);
        state.commit(vec![Event::Configured { queue, modified, attributes: settings.shown() }])?;
        Ok(done())
    }

    pub fn purge_queue(&self, request: &OnQueue) -> Result<Json, Fault> {
        let name = self.address.name_in_url(request.queue_url.as_deref())?;
        let mut state = self.state();
        let now = state.clock.now();
        if state.queue(name)?.purged.is_some_and(|purged| now.since(purged) < PURGE_PAUSE) {
            return Err(Kind::PurgeQueueInProgress
                .with(format!("queue {name} was purged within the last 60 seconds: wait a minute")));
        }
        state.commit(vec![Event::Purged { queue: name.to_owned() }])?;
        state.queue(name)?.purged = Some(now);
        Ok(done())
    }

    pub fn tag_queue(&self, request: TagQueue) -> Result<Json, Fault> {
        let name = self.address.name_in_url(request.queue_url.as_deref())?;
        let added = request.tags.ok_or_else(|| Fault::missing("Tags"))?;
        self.retag(name, |tags| tags.extend(added))
    }

    pub fn untag_queue(&self, request: &UntagQueue) -> Result<Json, Fault> {
        let name = self.address.name_in_url(request.queue_url.as_deref())?;
        let gone = request.tag_keys.as_ref().ok_or_else(|| Fault::missing("TagKeys"))?;
        self.retag(name, |tags| tags.retain(|key, _| !gone.contains(key)))
    }

    pub fn list_queue_tags(&self, request: &OnQueue) -> Result<Json, Fault> {
        let name = self.address.name_in_url(request.queue_url.as_deref())?;
        let tags = self.state().queue(name)?.tags.clone();
        if tags.is_empty() { Ok(done()) } else { Ok(json!({ "Tags": tags })) }
    }

    fn retag(&self, name: &str, change: impl FnOnce(&mut Map)) -> Result<Json, Fault> {
        let mut state = self.state();
        let mut tags = state.queue(name)?.tags.clone();
        change(&mut tags);
        check_tags(&tags)?;
        state.commit(vec![Event::Tagged { queue: name.to_owned(), tags }])?;
        Ok(done())
    }

    /// A dead-letter queue must exist, be another queue, and let this one in.
    fn check_redrive(&self, state: &State, name: &str, settings: &Settings) -> Result<(), Fault> {
        let Some(redrive) = &settings.redrive else { return Ok(()) };
        let arn = &redrive.target_arn;
        let target = self.address.name_in_arn(arn).filter(|target| *target != name);
        let target = target
            .ok_or_else(|| redrive::refused(arn, "it must be another queue of this region and account"))?;
        let Some(queue) = state.queues.get(target) else {
            return Err(redrive::refused(arn, "the dead-letter queue does not exist, create it first"));
        };
        match &queue.settings.redrive_allow {
            Some(allowed) if !allowed.admits(&self.address.arn(name)) => {
                Err(redrive::refused(arn, "its RedriveAllowPolicy does not admit this queue"))
            }
            _ => Ok(()),
        }
    }

    fn page<'a>(
        &self,
        list: &str,
        names: impl Iterator<Item = &'a str>,
        most: Option<i64>,
    ) -> Result<Json, Fault> {
        let limit = number("MaxResults", most, 1, 1000, 1000)? as usize;
        let mut names: Vec<&str> = names.take(limit + 1).collect();
        let more = names.len() > limit;
        names.truncate(limit);
        let urls: Vec<String> = names.iter().map(|name| self.url(name)).collect();
        let mut page = BTreeMap::new();
        // As in SQS: who sets no MaxResults gets the first thousand and no token.
        if more && most.is_some() {
            page.insert("NextToken", json!(names.last()));
        }
        if !urls.is_empty() {
            page.insert(list, json!(urls));
        }
        Ok(json!(page))
    }
}

/// Queue names in order, behind the one a page ended with.
fn after<'a>(state: &'a State, token: Option<&str>) -> impl Iterator<Item = &'a str> {
    let start = token.map_or(Bound::Unbounded, Bound::Excluded);
    state.queues.range::<str, _>((start, Bound::Unbounded)).map(|(name, _)| name.as_str())
}

fn check_tags(tags: &Map) -> Result<(), Fault> {
    let odd = |(key, value): (&String, &String)| key.is_empty() || key.len() > 128 || value.len() > 256;
    if tags.len() > 50 || tags.iter().any(odd) {
        return Err(Kind::InvalidParameterValue
            .with("a queue has at most 50 tags, with keys of 1 to 128 and values of up to 256 characters"));
    }
    Ok(())
}
