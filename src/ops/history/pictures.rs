//! Pictures on their way, for the page of `local`: uploaded, queued, in work, done.

use crate::error::Printable;
use crate::event::Created;
use crate::job::{Made, Outcome};
use serde::Serialize;
use std::collections::VecDeque;
use std::time::Duration;

/// The newest so many, oldest first.
#[derive(Default)]
pub struct Pictures {
    pictures: VecDeque<Picture>,
    next_id: u64,
    uploads: u64,
    /// Goes up with every change; a picture has the one of its last.
    revision: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Picture {
    pub id: u64,
    pub bucket: String,
    pub key: String,
    pub bytes: u64,
    #[serde(skip)]
    pub etag: String,
    /// In work when the settings changed, so what comes out may be of the old ones.
    #[serde(skip)]
    stale: bool,
    /// When it was uploaded last, in the order of uploads.
    pub uploaded: u64,
    /// Changes with every change.
    pub revision: u64,
    /// The revision that its renditions were made in.
    pub made: u64,
    #[serde(flatten)]
    pub shown: Shown,
    pub receives: u32,
    /// Milliseconds.
    pub queued_ms: Option<u64>,
    pub total_ms: Option<f64>,
    pub stages: Vec<(&'static str, f64)>,
    pub outputs: Vec<Rendition>,
}

/// Where a picture is, and why it is not further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Shown {
    Uploading,
    Queued,
    Working,
    Done,
    Skipped { detail: String },
    Retrying { detail: String },
    Failed { reason: String, detail: String },
}

#[derive(Debug, Clone, Serialize)]
pub struct Rendition {
    pub name: String,
    pub bytes: u64,
    /// 0 if that is not known any more.
    pub width: u32,
    pub height: u32,
}

pub const MOST: usize = 300;
/// The reason of one that never reached its bucket.
pub const NOT_UPLOADED: &str = "not-uploaded";

impl Pictures {
    /// One that is about to be uploaded, or uploaded anew.
    pub fn uploading(&mut self, bucket: &str, key: &str, bytes: u64) -> u64 {
        self.uploads += 1;
        let uploads = self.uploads;
        self.set(bucket, key, |picture| {
            picture.bytes = bytes;
            picture.shown = Shown::Uploading;
            picture.uploaded = uploads;
        })
    }

    /// The upload is over; a worker may have begun with it before we heard so.
    pub fn uploaded(&mut self, id: u64, etag: &str) {
        self.change(id, |picture| {
            if picture.etag.is_empty() {
                picture.etag = etag.into();
            }
            if picture.shown == Shown::Uploading {
                picture.shown = Shown::Queued;
            }
        });
    }

    pub fn is_now(&mut self, id: u64, shown: Shown) {
        self.change(id, |picture| picture.shown = shown);
    }

    pub fn begun(&mut self, created: &Created, queued_ms: Option<u64>, receives: u32) {
        // Other bytes of a key that had come to its end: somebody stored it anew, not through the page.
        let anew = self.pictures.iter().any(|p| {
            let same = p.key == created.key && p.bucket == created.bucket;
            same && p.has_ended() && created.etag.as_ref().is_some_and(|etag| *etag != p.etag)
        });
        self.uploads += u64::from(anew);
        let uploads = self.uploads;
        self.set(&created.bucket, &created.key, |picture| {
            picture.shown = Shown::Working;
            if anew {
                picture.uploaded = uploads;
            }
            picture.queued_ms = queued_ms;
            picture.receives = receives;
            picture.bytes = created.size.unwrap_or(picture.bytes);
            if let Some(etag) = &created.etag {
                picture.etag.clone_from(etag);
            }
        });
    }

    pub fn ended(&mut self, created: &Created, outcome: &Outcome, elapsed: Duration, receives: u32) {
        self.set(&created.bucket, &created.key, |picture| {
            picture.total_ms = Some(ms(elapsed));
            picture.receives = receives;
            let line = |text: &str| Printable(text).to_string();
            picture.shown = match outcome {
                Outcome::Done(made) => {
                    picture.made(made);
                    Shown::Done
                }
                // An older event that comes late takes nothing away.
                Outcome::Superseded if !picture.outputs.is_empty() => Shown::Done,
                Outcome::Superseded => Shown::Skipped { detail: "superseded by a newer version".into() },
                Outcome::Ignored(noise) => Shown::Skipped { detail: format!("ignored: {}", noise.slug()) },
                Outcome::Gone(error) => Shown::Skipped { detail: line(&error.to_string()) },
                Outcome::Rejected(rejection) => {
                    Shown::Failed { reason: rejection.reason.slug().into(), detail: line(&rejection.detail) }
                }
                Outcome::Retry(error) | Outcome::Blocked(_, error) => {
                    Shown::Retrying { detail: line(&error.to_string()) }
                }
                Outcome::Left => Shown::Queued,
            };
        });
    }

    /// One of an earlier run, whose renditions are there.
    pub fn recalled(&mut self, bucket: &str, key: &str, bytes: u64, etag: &str, outputs: Vec<Rendition>) {
        if self.pictures.iter().any(|p| p.key == key && p.bucket == bucket) {
            return;
        }
        let id = self.add(bucket, key);
        self.change(id, |picture| {
            picture.bytes = bytes;
            picture.etag = etag.into();
            picture.outputs = outputs;
            picture.made = picture.revision;
            picture.shown = Shown::Done;
        });
    }

    /// A letter of this picture is in the dead-letter queue. Only news for one that nobody knows, and for
    /// one that SQS has given up.
    pub fn buried(&mut self, bucket: &str, key: &str, reason: &str, detail: &str) {
        let known = self.pictures.iter().find(|p| p.key == key && p.bucket == bucket);
        if known.is_some_and(|p| !matches!(p.shown, Shown::Retrying { .. })) {
            return;
        }
        let id = known.map(|p| p.id).unwrap_or_else(|| self.add(bucket, key));
        self.change(id, |picture| {
            picture.shown = Shown::Failed { reason: reason.into(), detail: Printable(detail).to_string() };
        });
    }

    pub fn get(&self, id: u64) -> Option<&Picture> {
        self.pictures.iter().find(|p| p.id == id)
    }

    /// The settings have changed: takes those that are to be made anew, as they were, and has them queued. Those
    /// in work come later, by `take_stale`: two jobs of one picture would race for its renditions. What waits
    /// begins with the new settings anyway.
    pub fn take_for_new_settings(&mut self) -> (Vec<Picture>, usize) {
        let mut in_work = 0;
        for picture in &mut self.pictures {
            picture.stale = picture.shown == Shown::Working;
            in_work += usize::from(picture.stale);
        }
        (self.take(|_| true), in_work)
    }

    /// Those that were in work then and have ended since. None: no more are to come.
    pub fn take_stale(&mut self) -> Option<Vec<Picture>> {
        for picture in &mut self.pictures {
            // Whatever waits begins anew by itself.
            picture.stale &=
                !matches!(picture.shown, Shown::Queued | Shown::Retrying { .. } | Shown::Uploading);
        }
        self.pictures.iter().any(|p| p.stale).then(|| self.take(|p| p.stale))
    }

    fn take(&mut self, which: impl Fn(&Picture) -> bool) -> Vec<Picture> {
        let ended = |p: &&Picture| p.can_be_made_again() && which(p);
        let taken: Vec<Picture> = self.pictures.iter().filter(ended).cloned().collect();
        for picture in &taken {
            self.is_now(picture.id, Shown::Queued);
        }
        for picture in self.pictures.iter_mut().filter(|p| p.shown != Shown::Working) {
            picture.stale = false;
        }
        taken
    }

    /// What changed after a revision, and the newest revision.
    pub fn since(&self, revision: u64) -> (Vec<Picture>, u64) {
        let changed = self.pictures.iter().filter(|p| p.revision > revision).cloned().collect();
        (changed, self.revision)
    }

    fn set(&mut self, bucket: &str, key: &str, change: impl FnOnce(&mut Picture)) -> u64 {
        let known = self.pictures.iter().find(|p| p.key == key && p.bucket == bucket).map(|p| p.id);
        let id = known.unwrap_or_else(|| self.add(bucket, key));
        self.change(id, change);
        id
    }

    fn add(&mut self, bucket: &str, key: &str) -> u64 {
        self.next_id += 1;
        self.uploads += 1;
        self.pictures.push_back(Picture {
            id: self.next_id,
            bucket: bucket.into(),
            key: key.into(),
            bytes: 0,
            etag: String::new(),
            stale: false,
            uploaded: self.uploads,
            revision: 0,
            made: 0,
            shown: Shown::Queued,
            receives: 0,
            queued_ms: None,
            total_ms: None,
            stages: Vec::new(),
            outputs: Vec::new(),
        });
        if self.pictures.len() > MOST {
            self.pictures.pop_front();
        }
        self.next_id
    }

    fn change(&mut self, id: u64, change: impl FnOnce(&mut Picture)) {
        let Some(picture) = self.pictures.iter_mut().find(|p| p.id == id) else { return };
        self.revision += 1;
        picture.revision = self.revision;
        change(picture);
    }
}

impl Picture {
    fn has_ended(&self) -> bool {
        matches!(self.shown, Shown::Done | Shown::Skipped { .. } | Shown::Failed { .. })
    }

    /// It has come to an end, and something of it is there to begin with: the object, or its letter.
    fn can_be_made_again(&self) -> bool {
        match &self.shown {
            Shown::Done => !self.etag.is_empty(),
            Shown::Failed { reason, .. } => reason != NOT_UPLOADED,
            _ => false,
        }
    }

    fn made(&mut self, made: &Made) {
        // Nothing to do, as it was there: what is known of it stays.
        if made.outputs.is_empty() {
            return;
        }
        self.made = self.revision;
        let stages = &made.stages;
        self.stages = [
            ("download", made.download),
            ("decode", stages.decode),
            ("resize", stages.resize),
            ("encode", stages.encode),
            ("upload", made.upload),
        ]
        .map(|(name, time)| (name, ms(time)))
        .to_vec();
        let outputs = made.outputs.iter().map(|output| Rendition {
            name: output.name.clone(),
            bytes: output.bytes,
            width: output.width,
            height: output.height,
        });
        self.outputs = outputs.collect();
    }
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}
