//! Somebody who looks at the output bucket all the time: every object must be a whole picture of
//! its own key, and never of an older upload than the last one seen.

use super::ledger::Ledger;
use super::picture::{self, MADE};
use crate::common::World;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

pub struct Reader {
    looking: JoinHandle<()>,
    shared: Arc<Shared>,
}

struct Shared {
    world: World,
    bucket: String,
    ledger: Ledger,
    violations: Mutex<Vec<String>>,
    /// By output key: ETag, and the sequencer of the upload that it showed.
    seen: Mutex<HashMap<String, (String, String)>>,
    read: AtomicU64,
}

const PAUSE: Duration = Duration::from_millis(25);

impl Reader {
    pub fn start(world: &World, bucket: &str, ledger: &Ledger) -> Self {
        let shared = Arc::new(Shared {
            world: world.clone(),
            bucket: bucket.to_owned(),
            ledger: ledger.clone(),
            violations: Mutex::default(),
            seen: Mutex::default(),
            read: AtomicU64::new(0),
        });
        let looker = Arc::clone(&shared);
        let looking = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                // What cannot be seen now is seen later.
                let _ = looker.look().await;
                // A full bucket takes a while to list: looking must not be what the machine does.
                tokio::time::sleep(PAUSE.max(5 * began.elapsed())).await;
            }
        });
        Self { looking, shared }
    }

    /// Looks once more, and tells what was seen that must never be.
    pub async fn finish(&self) -> Vec<String> {
        self.looking.abort();
        let seen_all = self.shared.look().await;
        let mut violations = self.shared.violations.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Who sees nothing finds no fault.
        violations
            .extend(seen_all.err().map(|why| format!("what is stored at the end cannot be seen: {why}")));
        violations
    }

    pub fn read(&self) -> u64 {
        self.shared.read.load(Ordering::Relaxed)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

impl Shared {
    async fn look(&self) -> Result<(), String> {
        let list = self.world.s3.list_objects_v2().bucket(&self.bucket);
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| format!("{}: {e:?}", self.bucket))?;
            for object in page.contents() {
                let (Some(key), Some(etag)) = (object.key(), object.e_tag()) else { continue };
                let known = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
                if known.is_none_or(|(seen, _)| seen != etag) {
                    self.look_at(key).await?;
                }
            }
        }
        Ok(())
    }

    async fn look_at(&self, key: &str) -> Result<(), String> {
        let answer = self.world.s3.get_object().bucket(&self.bucket).key(key).send().await;
        let answer = answer.map_err(|e| format!("{key}: {e:?}"))?;
        let etag = answer.e_tag().unwrap_or_default().to_owned();
        let bytes = answer.body.collect().await.map_err(|e| format!("{key}: {e:?}"))?;
        self.read.fetch_add(1, Ordering::Relaxed);
        if let Err(why) = self.judge(key, etag, &bytes.into_bytes()) {
            self.violations
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(format!("seen in the bucket: {key}: {why}"));
        }
        Ok(())
    }

    fn judge(&self, key: &str, etag: String, bytes: &[u8]) -> Result<(), String> {
        let named =
            MADE.iter().find_map(|(name, size)| Some((key.strip_prefix(name)?.strip_prefix('/')?, *size)));
        let Some((source, size)) = named else { return Err("nobody should have stored this".into()) };
        let number = picture::read(bytes, size)?;
        let upload = self.ledger.shown(source, number);
        let upload = upload.ok_or_else(|| format!("shows {number}, which is no upload of this key"))?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.insert(key.to_owned(), (etag, upload.sequencer.clone()));
        match before {
            Some((_, newer)) if newer > upload.sequencer => {
                Err(format!("went back to upload {number} ({}) from {newer}", upload.sequencer))
            }
            _ => Ok(()),
        }
    }
}
