//! Every upload, and what became of it. What has no good end is lost.

use super::picture::{self, MADE};
use crate::common::stage::Stage;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How an upload is meant to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Its renditions are there, or those of a newer upload of its key.
    Picture,
    /// It was taken away before anyone could look at it.
    Gone,
    /// In the dead-letter queue, with this reason.
    Rejected(&'static str),
    /// In the dead-letter queue, moved there by SQS after its last receive.
    Moved,
    /// Its renditions, or moved by SQS: which of both depends on how often it was hit.
    PictureOrMoved,
}

/// One object that was stored in the input bucket and announced in the queue.
#[derive(Debug, Clone)]
pub struct Upload {
    /// What its picture shows; unique in its scenario.
    pub number: u32,
    pub key: String,
    pub etag: String,
    pub version: Option<String>,
    /// Orders the uploads of a key.
    pub sequencer: String,
    /// SHA-256 of its bytes.
    pub digest: String,
    pub expected: Expected,
}

/// How an upload ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Right,
    Superseded { by: u32 },
    Gone,
    Rejected(String),
    Moved,
    Lost(String),
}

#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Vec<Upload>>>);

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Vec<Upload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn enter(&self, upload: Upload) {
        self.lock().push(upload);
    }

    pub fn uploads(&self) -> Vec<Upload> {
        self.lock().clone()
    }

    pub fn expect(&self, number: u32, expected: Expected) {
        if let Some(upload) = self.lock().iter_mut().find(|u| u.number == number) {
            upload.expected = expected;
        }
    }

    /// It was stored, but nobody was told of it.
    pub fn forget(&self, number: u32) {
        self.lock().retain(|u| u.number != number);
    }

    /// The upload that a picture shows, if it is one of this key.
    pub fn shown(&self, key: &str, number: u32) -> Option<Upload> {
        self.lock().iter().find(|u| u.number == number && u.key == key).cloned()
    }

    /// How every upload ended, by what is stored now.
    pub async fn fates(&self, stage: &Stage) -> Vec<(Upload, Fate)> {
        let uploads = self.uploads();
        let letters = dead_letters(stage).await;
        let mut keys: BTreeMap<&str, Vec<&Upload>> = BTreeMap::new();
        for upload in &uploads {
            keys.entry(&upload.key).or_default().push(upload);
        }
        let shown = stream::iter(keys.keys().map(|key| async move { (*key, shown(stage, key).await) }));
        let shown: HashMap<&str, Vec<Result<u32, String>>> = shown.buffer_unordered(8).collect().await;
        let fate = |upload: &Upload| {
            if let Some(reason) = letters.get(&(upload.key.clone(), upload.sequencer.clone())) {
                return reason.clone().map_or(Fate::Moved, Fate::Rejected);
            }
            if upload.expected == Expected::Gone {
                return Fate::Gone;
            }
            by_outputs(upload, &keys[upload.key.as_str()], &shown[upload.key.as_str()])
        };
        uploads.iter().map(|upload| (upload.clone(), fate(upload))).collect()
    }
}

/// A line for each upload that did not end as it should; with its key.
pub fn wrong(fates: &[(Upload, Fate)]) -> Vec<(String, String)> {
    let fits = |upload: &Upload, fate: &Fate| match (upload.expected, fate) {
        (Expected::Picture | Expected::PictureOrMoved, Fate::Right | Fate::Superseded { .. }) => true,
        (Expected::Gone, Fate::Gone) | (Expected::Moved | Expected::PictureOrMoved, Fate::Moved) => true,
        (Expected::Rejected(wanted), Fate::Rejected(reason)) => wanted == reason,
        _ => false,
    };
    let wrong = fates.iter().filter(|(upload, fate)| !fits(upload, fate));
    wrong.map(|(upload, fate)| (upload.key.clone(), format!("{upload:?} ended as {fate:?}"))).collect()
}

fn by_outputs(upload: &Upload, uploads: &[&Upload], shown: &[Result<u32, String>]) -> Fate {
    let mut newest = upload;
    for (result, (name, _)) in shown.iter().zip(MADE) {
        let number = match result {
            Ok(number) => *number,
            Err(why) => return Fate::Lost(format!("{name}: {why}")),
        };
        let Some(source) = uploads.iter().find(|u| u.number == number) else {
            return Fate::Lost(format!("{name} shows {number}, which is no upload of this key"));
        };
        if source.sequencer < upload.sequencer {
            return Fate::Lost(format!("{name} still shows the older upload {number}"));
        }
        if source.sequencer > newest.sequencer {
            newest = source;
        }
    }
    if newest.number == upload.number { Fate::Right } else { Fate::Superseded { by: newest.number } }
}

/// What the renditions of a key show, in the order of `MADE`.
async fn shown(stage: &Stage, key: &str) -> Vec<Result<u32, String>> {
    let mut shown = Vec::new();
    for (name, size) in MADE {
        shown.push(match stage.get(&stage.output, &format!("{name}/{key}")).await {
            Some(stored) => picture::read(&stored.bytes, size),
            None => Err("is not there".into()),
        });
    }
    shown
}

/// Key and sequencer of every record in the dead-letter queue, with its reason; None: moved by SQS.
async fn dead_letters(stage: &Stage) -> HashMap<(String, String), Option<String>> {
    let mut found = HashMap::new();
    loop {
        let receive = stage.world.sqs.receive_message().queue_url(&stage.dlq).max_number_of_messages(10);
        // Hidden while the rest is read; whoever looks again sees all of them.
        let receive = receive.message_attribute_names("All").visibility_timeout(60);
        let messages = receive.send().await.unwrap().messages.unwrap_or_default();
        if messages.is_empty() {
            return found;
        }
        for message in messages {
            let attributes = message.message_attributes.unwrap_or_default();
            let reason = attributes.get("longshore.reason").and_then(|a| a.string_value()).map(str::to_owned);
            let body: Value = serde_json::from_str(&message.body.unwrap_or_default()).unwrap_or_default();
            for record in body["Records"].as_array().into_iter().flatten() {
                let object = &record["s3"]["object"];
                let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
                found.insert((text("key"), text("sequencer")), reason.clone());
            }
        }
    }
}

pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
