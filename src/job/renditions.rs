//! The image job: fetch, render, store each rendition unless something newer is there.

use super::Outcome;
use super::memory::{Memory, Taken};
use super::recent::Recent;
use super::recipe::{Recipe, Recipes};
use super::rules::Rules;
use crate::config::Config;
use crate::error::{Failure, Printable};
use crate::event::Created;
use crate::ops::{Shutdown, traces};
use crate::render::{Pool, Rendered, Settings, Stages, memory_bound_guarded};
use crate::store::provenance::Verdict;
use crate::store::{Existing, Got, Location, Object, Provenance, PutCondition, PutOutcome, Store, Upload};
use sha2::{Digest, Sha256};
use std::cmp::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// What every job shares.
pub struct Context {
    pub store: Store,
    pub rules: Rules,
    pool: Pool,
    pub recipes: Recipes,
    output_bucket: String,
    cache_control: Option<String>,
    max_bytes: u64,
    memory: Memory,
    recent: Recent,
}

/// A finished picture.
#[derive(Debug, Clone, Default)]
pub struct Made {
    pub bytes_in: u64,
    pub outputs: Vec<Output>,
    pub download: Duration,
    pub stages: Stages,
    pub upload: Duration,
}

/// One rendition of a finished picture.
#[derive(Debug, Clone)]
pub struct Output {
    pub name: String,
    pub bytes: u64,
    /// In pixels.
    pub width: u32,
    pub height: u32,
    /// False: it was there already.
    pub written: bool,
    pub resize: Duration,
    pub encode: Duration,
    pub upload: Duration,
}

/// For events that do not say; an object that is larger is read again.
const UNKNOWN_SIZE: u64 = 4 << 20;

/// Turns of look-and-write before a contended output is left for a later delivery.
const TURNS: u32 = 5;

impl Context {
    pub fn new(config: &Config, store: Store, pool: Pool, shutdown: Shutdown) -> Self {
        Self {
            store,
            rules: Rules::new(config),
            recipes: Recipes::new(config.render.settings.clone()),
            output_bucket: config.output_bucket.clone(),
            cache_control: config.cache_control.clone(),
            max_bytes: config.render.max_bytes,
            memory: Memory::new(config.memory_budget - pool.kept(), shutdown),
            recent: Recent::default(),
            pool,
        }
    }

    /// Ends when no picture waits for memory: before that, another one could not be started.
    pub async fn has_room(&self) {
        self.memory.has_room().await;
    }

    /// Ends when no picture is in work, nor one whose job was given up.
    pub async fn idle(&self) {
        self.pool.idle().await;
    }

    fn output(&self, name: &str, key: &str) -> Location {
        Location { bucket: self.output_bucket.clone(), key: format!("{name}/{key}"), version: None }
    }
}

/// One hash a rendition, in the order of the specs: what an output says of how it was made.
pub fn settings_hashes(settings: &Settings) -> Vec<String> {
    let hash = |spec: &crate::render::Spec| settings_hash(&format!("{spec};icc={:?}", settings.icc));
    settings.specs.iter().map(hash).collect()
}

/// Tells renditions made with other settings. Half a SHA-256 is enough to tell, and short to store.
fn settings_hash(canonical: &str) -> String {
    let digest = Sha256::digest(canonical.as_bytes());
    digest.iter().take(16).map(|b| format!("{b:02x}")).collect()
}

/// Does what an event asks. `repeated`: the message was delivered before, so its work may be done.
pub async fn run(context: &Context, created: &Created, repeated: bool) -> Outcome {
    if let Some(noise) = context.rules.noise(created) {
        return Outcome::Ignored(noise);
    }
    if let Err(rejection) = context.rules.check(created) {
        return Outcome::Rejected(rejection);
    }
    let known = context.recent.compare(created);
    if known == Some(Ordering::Less) {
        return Outcome::Superseded;
    }
    let recipe = context.recipes.current();
    let result = match repeated || known == Some(Ordering::Equal) {
        true => finish_or_make(context, &recipe, created).await,
        false => make(context, &recipe, created).await,
    };
    match result {
        Ok(Some(made)) => {
            context.recent.finished(created);
            Outcome::Done(made)
        }
        Ok(None) => Outcome::Superseded,
        Err(Failure::Retry(error)) => Outcome::Retry(error),
        Err(Failure::Blocked(barrier, error)) => Outcome::Blocked(barrier, error),
        Err(Failure::Left) => Outcome::Left,
        Err(Failure::Gone(error)) => Outcome::Gone(error),
        Err(Failure::Reject(rejection)) => Outcome::Rejected(rejection),
    }
}

/// As [`make`], but looks first whether all is there already.
async fn finish_or_make(
    context: &Context,
    recipe: &Recipe,
    created: &Created,
) -> Result<Option<Made>, Failure> {
    let Some(etag) = &created.etag else { return make(context, recipe, created).await };
    for (spec, hash) in recipe.settings.specs.iter().zip(&recipe.hashes) {
        let existing = match context.store.head(&context.output(&spec.name, &created.key)).await {
            // Looking first only saves work: without the right to look, the write itself decides.
            Err(Failure::Blocked(_, why)) => {
                warn!("made again, as it cannot be seen whether that is needed: {why}");
                return make(context, recipe, created).await;
            }
            other => other?,
        };
        let ours = Provenance::new(created, etag, hash);
        let theirs = existing.and_then(|e| e.provenance);
        if !theirs.is_some_and(|theirs| ours.against(&theirs) == Verdict::Done) {
            return make(context, recipe, created).await;
        }
    }
    info!(bucket = created.bucket, key = %Printable(&created.key), "was finished before");
    Ok(Some(Made::default()))
}

/// None: a newer version of the source has its renditions already.
async fn make(context: &Context, recipe: &Recipe, created: &Created) -> Result<Option<Made>, Failure> {
    let source = Location {
        bucket: created.bucket.clone(),
        key: created.key.clone(),
        version: created.version.clone(),
    };
    let (object, room, download) = fetch(context, created, &source).await?;
    let bytes_in = object.bytes.len() as u64;
    let (bytes, needed) = measure(object.bytes, Arc::clone(&recipe.settings)).await?;
    let pixels = context.memory.for_pixels(needed, &source).await?;
    let render = context.pool.render(bytes, Arc::clone(&recipe.settings), (pixels, room));
    let rendered = traces::within(traces::render(), async { Ok(render.await?) }).await?;
    for note in &rendered.notes {
        warn!(bucket = created.bucket, key = %Printable(&created.key), "{note}");
    }

    let started = Instant::now();
    let mut outputs = Vec::new();
    for ((rendition, times), hash) in rendered.renditions.iter().zip(&rendered.each).zip(&recipe.hashes) {
        let begun = Instant::now();
        let location = context.output(&rendition.name, &created.key);
        let provenance = Provenance::new(created, &object.etag, hash);
        let upload = Upload {
            location: &location,
            bytes: &rendition.bytes,
            content_type: rendition.content_type,
            cache_control: context.cache_control.as_deref(),
            provenance: &provenance,
        };
        let span = traces::upload(&rendition.name, &location);
        let written = match traces::within(span, put_forward(context, created, &upload)).await? {
            Put::Written => true,
            Put::WasThere => false,
            Put::Superseded => return Ok(None),
        };
        outputs.push(Output {
            name: rendition.name.clone(),
            bytes: rendition.bytes.len() as u64,
            width: rendition.width,
            height: rendition.height,
            written,
            resize: times.resize,
            encode: times.encode,
            upload: begun.elapsed(),
        });
    }
    let made = Made { bytes_in, outputs, download, stages: rendered.stages, upload: started.elapsed() };
    log_finished(created, &rendered, &made);
    Ok(Some(made))
}

/// The source, read into room that was taken for it, and how long that took.
async fn fetch(
    context: &Context,
    created: &Created,
    source: &Location,
) -> Result<(Object, Taken, Duration), Failure> {
    // S3 says the size in every event that we know. It may have been replaced by a larger one since.
    let mut size = created.size.unwrap_or(UNKNOWN_SIZE).min(context.max_bytes);
    loop {
        let room = context.memory.for_bytes(size, source).await?;
        let started = Instant::now();
        let get = context.store.get(source, size, context.max_bytes);
        match traces::within(traces::download(source), get).await? {
            Got::Object(object) => return Ok((object, room, started.elapsed())),
            Got::Larger(actual) => size = actual,
        }
    }
}

/// What the engine will take for a picture. Headers are strangers' bytes too: read apart from the
/// threads that talk to the network.
async fn measure(bytes: Vec<u8>, settings: Arc<Settings>) -> Result<(Vec<u8>, u64), Failure> {
    let measured = tokio::task::spawn_blocking(move || {
        let needed = memory_bound_guarded(&bytes, &settings);
        (bytes, needed)
    });
    let (bytes, needed) =
        measured.await.map_err(|e| Failure::retry(format!("cannot look at a header: {e}")))?;
    Ok((bytes, needed?))
}

fn log_finished(created: &Created, rendered: &Rendered, made: &Made) {
    let ms = |d: Duration| (d.as_secs_f64() * 1e4).round() / 10.0;
    let names: Vec<&str> = made.outputs.iter().map(|o| o.name.as_str()).collect();
    info!(
        bucket = created.bucket,
        key = %Printable(&created.key),
        bytes_in = made.bytes_in,
        bytes_out = made.outputs.iter().map(|o| o.bytes).sum::<u64>(),
        width = rendered.width,
        height = rendered.height,
        download_ms = ms(made.download),
        decode_ms = ms(made.stages.decode),
        resize_ms = ms(made.stages.resize),
        encode_ms = ms(made.stages.encode),
        upload_ms = ms(made.upload),
        "stored {}",
        names.join(", ")
    );
}

enum Put {
    Written,
    WasThere,
    Superseded,
}

/// Stores an output unless the same or a newer one is there. Readers see either the old or the new
/// one, whole; two workers on two versions end with the newer.
async fn put_forward(context: &Context, created: &Created, upload: &Upload<'_>) -> Result<Put, Failure> {
    let mut condition = PutCondition::Absent;
    let mut raising = false;
    for turn in 0..TURNS {
        match context.store.put(upload, &condition).await? {
            // The same bytes were there, with an older order.
            PutOutcome::Stored if raising => return Ok(Put::WasThere),
            PutOutcome::Stored => return Ok(Put::Written),
            PutOutcome::Conflict => {
                tokio::time::sleep(Duration::from_millis(50 << turn).mul_f64(fastrand::f64())).await;
                continue;
            }
            PutOutcome::ConditionFailed => {}
        }
        let Some(existing) = context.store.head(upload.location).await? else {
            condition = PutCondition::Absent;
            raising = false;
            continue;
        };
        let verdict = judge(context, created, upload.provenance, &existing).await?;
        match verdict {
            Verdict::Done => return Ok(Put::WasThere),
            Verdict::Superseded => return Ok(Put::Superseded),
            Verdict::Raise | Verdict::Overwrite | Verdict::AskSource => {
                condition = PutCondition::Is(existing.etag);
                raising = verdict == Verdict::Raise;
            }
        }
    }
    Err(Failure::retry(format!("cannot store {}: others kept writing it for {TURNS} turns", upload.location)))
}

/// Never `AskSource`: it asks.
async fn judge(
    context: &Context,
    created: &Created,
    ours: &Provenance,
    existing: &Existing,
) -> Result<Verdict, Failure> {
    // Written by something else: there is no order, and the event says that this key is ours.
    let Some(theirs) = &existing.provenance else { return Ok(Verdict::Overwrite) };
    let verdict = ours.against(theirs);
    if verdict != Verdict::AskSource {
        return Ok(verdict);
    }
    let current = context.store.current_etag(&created.bucket, &created.key).await?;
    Ok(match current {
        // With nothing to compare with, what is there stays: that cannot go backwards.
        None => Verdict::Superseded,
        Some(current) if current == theirs.etag && current != ours.etag => Verdict::Superseded,
        Some(_) => Verdict::Overwrite,
    })
}
