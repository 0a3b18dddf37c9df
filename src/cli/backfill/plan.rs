//! Which pictures need work, without holding more than a few of them.

use crate::config::Config;
use crate::error::{Error, Failure};
use crate::event::{self, Created};
use crate::job::{Rules, settings_hashes};
use crate::store::listing::{Listed, Listing};
use crate::store::{Location, Store};
use std::time::SystemTime;

pub struct Plan {
    bucket: String,
    prefix: String,
    since: Option<SystemTime>,
    missing_only: bool,
    output_bucket: String,
    /// Name and settings hash of each rendition.
    renditions: Vec<(String, String)>,
}

/// An object that is ours to work on.
pub struct Candidate {
    pub object: Listed,
    /// A rendition is not there, by the lists.
    pub misses: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Missing,
    /// A rendition was made of other bytes or with other settings.
    Outdated,
    Current,
}

impl Plan {
    pub fn new(
        config: &Config,
        bucket: String,
        prefix: String,
        since: Option<SystemTime>,
        missing_only: bool,
    ) -> Self {
        let names = config.render.settings.specs.iter().map(|spec| spec.name.clone());
        Self {
            bucket,
            prefix,
            since,
            missing_only,
            output_bucket: config.output_bucket.clone(),
            renditions: names.zip(settings_hashes(&config.render.settings)).collect(),
        }
    }

    /// Looks at the outputs of one object.
    ///
    /// # Errors
    ///
    /// S3 does not say what is there.
    pub async fn judge(&self, store: &Store, candidate: &Candidate) -> Result<Why, Error> {
        if candidate.misses {
            return Ok(Why::Missing);
        }
        if self.missing_only {
            return Ok(Why::Current);
        }
        for (name, hash) in &self.renditions {
            let key = format!("{name}/{}", candidate.object.key);
            let location = Location { bucket: self.output_bucket.clone(), key, version: None };
            let existing = store.head(&location).await.map_err(told)?;
            let Some(existing) = existing else { return Ok(Why::Missing) };
            let current =
                existing.provenance.is_some_and(|p| p.etag == candidate.object.etag && p.settings == *hash);
            if !current {
                return Ok(Why::Outdated);
            }
        }
        Ok(Why::Current)
    }

    /// What is sent for it.
    pub fn event(&self, candidate: &Candidate) -> String {
        let Listed { key, bytes, etag, .. } = &candidate.object;
        event::body_for(&self.bucket, key, *bytes, etag)
    }
}

fn told(failure: Failure) -> Error {
    Error::new(failure.to_string())
}

/// The objects that are ours, in order, each with whether all of its outputs are listed. Outputs are
/// listed in the same order, so one page of each is all that is held.
pub struct Candidates<'a> {
    plan: &'a Plan,
    rules: Rules,
    objects: Listing,
    outputs: Vec<(String, Listing)>,
}

/// What the next key is.
pub enum Step {
    Ours(Candidate),
    /// Nothing to be done for this key.
    Other(String),
    Over,
}

impl<'a> Candidates<'a> {
    pub fn new(plan: &'a Plan, rules: Rules, store: Store, after: Option<String>) -> Self {
        let listing = |(name, _): &(String, String)| {
            let prefix = format!("{name}/{}", plan.prefix);
            let after = after.as_ref().map(|after| format!("{name}/{after}"));
            (name.clone(), Listing::new(store.clone(), &plan.output_bucket, &prefix, after))
        };
        let outputs = plan.renditions.iter().map(listing).collect();
        let objects = Listing::new(store.clone(), &plan.bucket, &plan.prefix, after.clone());
        Self { plan, rules, objects, outputs }
    }

    /// # Errors
    ///
    /// A bucket cannot be listed.
    pub async fn next(&mut self) -> Result<Step, Error> {
        let Some(object) = self.objects.next().await? else { return Ok(Step::Over) };
        if !self.is_ours(&object) {
            return Ok(Step::Other(object.key));
        }
        let mut misses = false;
        for (name, outputs) in &mut self.outputs {
            misses |= !outputs.has(&format!("{name}/{}", object.key)).await?;
        }
        Ok(Step::Ours(Candidate { object, misses }))
    }

    fn is_ours(&self, object: &Listed) -> bool {
        let created = Created {
            bucket: self.plan.bucket.clone(),
            key: object.key.clone(),
            version: None,
            sequencer: None,
            size: Some(object.bytes),
            etag: None,
        };
        let folder = object.bytes == 0 && object.key.ends_with('/');
        let recent = self.plan.since.is_none_or(|since| object.modified.is_some_and(|at| at >= since));
        !folder && recent && self.rules.noise(&created).is_none() && self.rules.check(&created).is_ok()
    }
}
