//! What only the page of `longshore local` can do: it is on one's own machine, with one's own pictures.
//!
//! | route | does |
//! | --- | --- |
//! | `POST /pictures` | stores the body as a picture named in `x-longshore-name`, through the SDK |
//! | `GET /pictures/{id}/{number}` | one rendition of a picture |
//! | `POST /pictures/{id}/retry` | sends its dead letter back to the queue |
//! | `POST /renditions` | changes what is made of pictures, and queues all pictures once more |
//!
//! Everything that changes something must come from the page itself: see `access::from_page`.

mod recall;
mod routes;

pub use routes::routes;

use super::super::history::{History, NOT_UPLOADED, Picture, Pictures, Shown};
use crate::aws::{self, Clients};
use crate::cli::RenderArgs;
use crate::config::RenderConfig;
use crate::error::{Error, Printable};
use crate::event;
use crate::job::Recipes;
use crate::queue::letters::{Fate, Letter, Letters, Reasons};
use crate::queue::send_batch;
use crate::render::{Damaged, IccMode};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as Turn, Notify, Semaphore};

/// Whether a picture in work has ended is looked up so often.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub struct Studio {
    clients: Clients,
    queue_url: String,
    input: String,
    output: String,
    history: History,
    recipes: Recipes,
    /// The settings as they were typed; those that the page does not change stay as they were.
    typed: Mutex<RenderArgs>,
    /// They are not those of the command line any more.
    changed: AtomicBool,
    /// Just now: somebody has to look after what was in work.
    applied: Notify,
    suffixes: Vec<String>,
    max_bytes: u64,
    /// Who goes through the letters hides them from others: one at a time.
    letters: Turn<Letters>,
    uploads: Semaphore,
}

/// Where pictures and messages are.
pub struct Places {
    pub clients: Clients,
    pub queue_url: String,
    pub dlq_url: String,
    pub input: String,
    pub output: String,
    /// What keys of pictures end in; empty: in anything.
    pub suffixes: Vec<String>,
}

/// What can be changed on the page, as it is typed.
#[derive(Debug, Deserialize)]
struct Wanted {
    renditions: String,
    icc: String,
    damaged: String,
}

/// Uploads are held in memory, each up to `--max-bytes`.
const UPLOADS_AT_ONCE: usize = 3;
/// No more letters than this are looked at; the terminal shows all.
pub const MOST_LETTERS: u64 = 2000;
/// S3 allows 1,024 bytes; the prefix of a rendition has to fit as well.
const MOST_KEY_BYTES: usize = 900;

impl Studio {
    /// # Errors
    ///
    /// The dead-letter queue is not to be found.
    pub async fn open(
        places: Places,
        history: History,
        recipes: Recipes,
        typed: RenderArgs,
        max_bytes: u64,
    ) -> Result<Self, Error> {
        history.remember_pictures();
        let Places { clients, queue_url, dlq_url, input, output, suffixes } = places;
        let letters = Letters::open(clients.clone(), queue_url.clone(), Some(dlq_url)).await?;
        Ok(Self {
            clients,
            queue_url,
            input,
            output,
            suffixes,
            history,
            recipes,
            typed: Mutex::new(typed),
            changed: AtomicBool::new(false),
            applied: Notify::new(),
            max_bytes,
            letters: Turn::new(letters),
            uploads: Semaphore::new(UPLOADS_AT_ONCE),
        })
    }

    pub fn suffixes(&self) -> &[String] {
        &self.suffixes
    }

    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// What is made of pictures now, as the page's form has it.
    pub fn recipe(&self) -> Value {
        let recipe = self.recipes.current();
        let settings = &recipe.settings;
        let renditions: Vec<String> = settings.specs.iter().map(ToString::to_string).collect();
        json!({
            "changed": self.changed.load(Ordering::Relaxed),
            "renditions": renditions.join("; "),
            "icc": match settings.icc { IccMode::Srgb => "srgb", IccMode::Keep => "keep" },
            "damaged": match settings.limits.damaged { Damaged::Reject => "reject", Damaged::Accept => "accept" },
        })
    }

    /// Stores a picture, as any program would.
    async fn upload(&self, key: &str, body: Bytes) -> Result<u64, String> {
        let id =
            self.history.pictures(|p| p.uploading(&self.input, key, body.len() as u64)).unwrap_or_default();
        let put = self.clients.write.put_object().bucket(&self.input).key(key).body(ByteStream::from(body));
        match put.send().await {
            Ok(answer) => {
                let etag = answer.e_tag().unwrap_or_default().trim_matches('"').to_owned();
                self.history.pictures(|p| p.uploaded(id, &etag));
                Ok(id)
            }
            Err(e) => {
                let why = Printable(&aws::explain(&e)).to_string();
                let failed = Shown::Failed { reason: NOT_UPLOADED.into(), detail: why.clone() };
                self.history.pictures(|p| p.is_now(id, failed));
                Err(why)
            }
        }
    }

    /// One rendition, by its place in the list of a picture.
    async fn rendition(&self, id: u64, number: usize) -> Option<Bytes> {
        let key = self.history.pictures(|p| {
            let picture = p.get(id)?;
            Some(format!("{}/{}", picture.outputs.get(number)?.name, picture.key))
        })??;
        let answer = self.clients.read.get_object().bucket(&self.output).key(key).send().await.ok()?;
        answer.body.collect().await.ok().map(|body| body.into_bytes())
    }

    /// Sends the letter of one picture back. What fails again comes again.
    async fn retry(&self, id: u64) -> Result<(), String> {
        let failed =
            self.history.pictures(|p| p.get(id).cloned()).flatten().ok_or("there is no such picture")?;
        if !matches!(failed.shown, Shown::Failed { .. }) {
            return Err("it has not failed".into());
        }
        // Said first: the worker may begin with it before we know that it was sent.
        self.history.pictures(|p| p.is_now(id, Shown::Queued));
        match self.redrive(&[failed]).await? {
            0 => Err("no letter of it is in the dead-letter queue: upload it again".into()),
            _ => Ok(()),
        }
    }

    /// What is in the dead-letter queue.
    pub async fn letters_by_reason(&self) -> Result<Reasons, Error> {
        let letters = self.letters.lock().await;
        let mut reasons = Reasons::default();
        let seen = AtomicU64::new(0);
        let count = |letter: &Letter| {
            seen.fetch_add(1, Ordering::Relaxed);
            for (bucket, key) in letter.objects.iter().filter_map(|place| split(place)) {
                let detail = letter.detail.as_deref().unwrap_or("given up after its last receive");
                self.history.pictures(|p| p.buried(bucket, key, &letter.reason, detail));
            }
            reasons.count(letter);
            Fate::Keep
        };
        letters.go_through(count, || seen.load(Ordering::Relaxed) >= MOST_LETTERS).await?;
        Ok(reasons)
    }

    /// Changes what is made of pictures, checked as the settings of the command line are.
    fn change(&self, wanted: Wanted) -> Result<(), Vec<String>> {
        let mut typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        let args = RenderArgs {
            renditions: Some(wanted.renditions),
            icc: Some(wanted.icc),
            damaged: Some(wanted.damaged),
            ..typed.clone()
        };
        let config = RenderConfig::read(&args)?;
        *typed = args;
        self.recipes.replace(config.settings);
        self.changed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Queues every picture once more, that of a letter too; gives how many, with those that are in work.
    async fn again(&self) -> Result<usize, String> {
        let (ended, in_work) = self.history.pictures(Pictures::take_for_new_settings).unwrap_or_default();
        self.applied.notify_one();
        Ok(in_work + self.queue(ended).await?)
    }

    /// Queues what was in work when the settings changed, as soon as it ends.
    pub async fn follow(&self) {
        loop {
            self.applied.notified().await;
            while let Some(ended) = self.history.pictures(Pictures::take_stale).flatten() {
                if let Err(why) = self.queue(ended).await {
                    tracing::warn!("a picture stays as the settings were: {why}");
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    /// Queues pictures that ended: those that are done as if they were uploaded, failed ones by their letters. What
    /// cannot be queued is again what it was.
    async fn queue(&self, ended: Vec<Picture>) -> Result<usize, String> {
        let (done, failed): (Vec<_>, Vec<_>) = ended.into_iter().partition(|p| p.shown == Shown::Done);
        let sent = self.send(&done).await;
        let redriven = self.redrive(&failed).await;
        Ok(sent? + redriven?)
    }

    async fn send(&self, done: &[Picture]) -> Result<usize, String> {
        let (mut sent, mut trouble) = (0, None);
        for chunk in done.chunks(10) {
            let bodies: Vec<String> =
                chunk.iter().map(|p| event::body_for(&p.bucket, &p.key, p.bytes, &p.etag)).collect();
            let results = send_batch(&self.clients, &self.queue_url, &bodies).await;
            for (picture, result) in chunk.iter().zip(results) {
                match result {
                    Ok(()) => sent += 1,
                    Err(why) => {
                        self.history.pictures(|p| p.is_now(picture.id, Shown::Done));
                        trouble = Some(format!("cannot queue {}: {why}", Printable(&picture.key)));
                    }
                }
            }
        }
        trouble.map_or(Ok(sent), Err)
    }

    /// Sends the letters of these back.
    async fn redrive(&self, failed: &[Picture]) -> Result<usize, String> {
        if failed.is_empty() {
            return Ok(0);
        }
        let letters = self.letters.lock().await;
        let found = Mutex::new(HashSet::new());
        let place = |p: &Picture| format!("s3://{}/{}", p.bucket, p.key);
        let places: HashSet<String> = failed.iter().map(place).collect();
        let mine = |letter: &Letter| {
            let mut theirs = letter.objects.iter().filter(|object| places.contains(*object)).peekable();
            if theirs.peek().is_none() {
                return Fate::Keep;
            }
            found.lock().unwrap_or_else(PoisonError::into_inner).extend(theirs.cloned());
            Fate::Redrive
        };
        let all = || found.lock().unwrap_or_else(PoisonError::into_inner).len() == places.len();
        let tally = letters.go_through(mine, all).await;
        let sent = tally.as_ref().is_ok_and(|tally| tally.redriven > 0);
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let found = if sent { found } else { HashSet::new() };
        for picture in failed.iter().filter(|p| !found.contains(&place(p))) {
            self.history.pictures(|p| p.is_now(picture.id, picture.shown.clone()));
        }
        tally.map(|_| found.len()).map_err(|why| why.to_string())
    }
}

/// Bucket and key of `s3://bucket/key`.
fn split(place: &str) -> Option<(&str, &str)> {
    place.strip_prefix("s3://")?.split_once('/')
}

/// A key that is no path to anywhere: the names of its folders and its own. None: nothing is left.
fn sanitised(name: &str) -> Option<String> {
    let harmless = |c: char| if c.is_control() { '_' } else { c };
    let parts = name.split(['/', '\\']).map(str::trim).filter(|part| !matches!(*part, "" | "." | ".."));
    let key: String = parts.collect::<Vec<_>>().join("/").chars().map(harmless).collect();
    // The end tells what it is; the beginning can go.
    let from = (key.len().saturating_sub(MOST_KEY_BYTES)..key.len()).find(|at| key.is_char_boundary(*at))?;
    Some(key[from..].trim_start_matches('/').to_owned()).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_keys_that_lead_nowhere() {
        for (name, key) in [
            ("a.jpg", Some("a.jpg")),
            ("<script>alert(1)</script>.jpg", Some("<script>alert(1)<_script>.jpg")),
            ("../../etc/./passwd", Some("etc/passwd")),
            ("C:\\photos\\b.jpg", Some("C:/photos/b.jpg")),
            ("/x\n\u{7f}.jpg", Some("x__.jpg")),
            ("..", None),
            ("", None),
        ] {
            let key = key.map(|k| k.replace("<_script>", "</script>"));
            assert_eq!(sanitised(name), key, "{name:?}");
        }
        let long = format!("{}ü.jpg", "é".repeat(1000));
        let key = sanitised(&long).unwrap();
        assert!(key.len() <= MOST_KEY_BYTES && key.ends_with("éü.jpg"), "{}", key.len());
    }
}
