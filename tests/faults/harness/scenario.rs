//! A scenario: a stage, its workers, its ledger, and the checks at its end.

use super::PATIENCE;
use super::ending;
use super::invariants::{self, Terms};
use super::ledger::{Expected, Fate, Ledger, Upload, digest, wrong};
use super::log::Log;
use super::metrics::{Sums, check_idle_end};
use super::picture;
use super::reader::Reader;
use super::worker::{VISIBILITY, Worker};
use crate::common::stage::Stage;
use crate::common::{unique, wait_for};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use aws_sdk_sqs::types::{QueueAttributeName as Attribute, SendMessageBatchRequestEntry};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Each scenario is several busy processes: more at once would measure the machine.
const AT_ONCE: u32 = 3;
static PLACES: Semaphore = Semaphore::const_new(AT_ONCE as usize);

pub struct Scenario {
    pub stage: Stage,
    pub log: Log,
    pub ledger: Ledger,
    workers: Mutex<Vec<Arc<Worker>>>,
    reader: Reader,
    next: AtomicU32,
    capped: AtomicBool,
    _place: SemaphorePermit<'static>,
}

/// An idle worker has a few connections and threads; a leak would have many. The runtime, the
/// resolver and the pool keep some threads for a while.
const IDLE_DESCRIPTORS: usize = 40;
const IDLE_THREADS: usize = 48;
const IDLE_TASKS: f64 = 32.0;

impl Scenario {
    pub async fn new() -> Self {
        Self::with_receives(1000).await
    }

    /// A queue that gives a message up after this many receives.
    pub async fn with_receives(most: u32) -> Self {
        Self::begin(most, 1).await
    }

    /// With the machine to itself.
    pub async fn alone(receives: u32) -> Self {
        Self::begin(receives, AT_ONCE).await
    }

    async fn begin(receives: u32, places: u32) -> Self {
        let place = PLACES.acquire_many(places).await.expect("never closed");
        let stage = Stage::with_receives(receives).await;
        let ledger = Ledger::default();
        let reader = Reader::start(&stage.world, &stage.output, &ledger);
        Self {
            reader,
            stage,
            log: Log::default(),
            ledger,
            workers: Mutex::default(),
            next: AtomicU32::new(1),
            capped: AtomicBool::new(false),
            _place: place,
        }
    }

    /// A worker that is not started yet.
    pub async fn worker(&self, name: &str) -> Arc<Worker> {
        let worker = Worker::new(name, &self.stage, &self.log).await;
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&worker));
        worker
    }

    pub fn workers(&self) -> Vec<Arc<Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its messages are held for so long that renewals ask for less than the visibility timeout.
    pub fn nears_the_cap(&self) {
        self.capped.store(true, Ordering::SeqCst);
    }

    pub async fn version_the_input(&self) {
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let put = self.stage.world.s3.put_bucket_versioning().bucket(&self.stage.input);
        put.versioning_configuration(enabled).send().await.unwrap();
    }

    /// Stores a picture and tells the queue of it.
    pub async fn upload(&self, key: &str) -> Upload {
        let upload = self.put(key).await;
        self.announce(&upload).await;
        upload
    }

    /// Keys are made of the prefix and a number.
    pub async fn upload_many(&self, prefix: &str, count: usize) -> Vec<Upload> {
        let mut uploads = Vec::new();
        for n in 0..count {
            uploads.push(self.upload(&format!("{prefix}{n}.jpg")).await);
        }
        uploads
    }

    /// Stores a picture; the queue is not told yet.
    pub async fn put(&self, key: &str) -> Upload {
        self.put_at(key, 1).await
    }

    /// The same, so many times larger.
    pub async fn put_at(&self, key: &str, scale: u32) -> Upload {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        self.store(key, number, picture::numbered_at(number, scale), Expected::Picture).await
    }

    /// Stores a PNG so many times larger, and tells the queue of it.
    pub async fn upload_png(&self, key: &str, scale: u32, expected: Expected) -> Upload {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let upload = self.store(key, number, picture::numbered_png(number, scale), expected).await;
        self.announce(&upload).await;
        upload
    }

    /// Stores anything, and tells the queue of it.
    pub async fn upload_bytes(&self, key: &str, bytes: Vec<u8>, expected: Expected) -> Upload {
        let upload = self.put_bytes(key, bytes, expected).await;
        self.announce(&upload).await;
        upload
    }

    /// Stores anything; the queue is not told yet.
    pub async fn put_bytes(&self, key: &str, bytes: Vec<u8>, expected: Expected) -> Upload {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        self.store(key, number, bytes, expected).await
    }

    async fn store(&self, key: &str, number: u32, bytes: Vec<u8>, expected: Expected) -> Upload {
        let digest = digest(&bytes);
        let put = self.stage.world.s3.put_object().bucket(&self.stage.input).key(key);
        let answer = put.body(bytes.into()).send().await.unwrap();
        let upload = Upload {
            number,
            key: key.to_owned(),
            etag: answer.e_tag().unwrap_or_default().trim_matches('"').to_owned(),
            version: answer.version_id().filter(|v| *v != "null").map(str::to_owned),
            sequencer: format!("{number:018X}"),
            digest,
            expected,
        };
        self.ledger.enter(upload.clone());
        upload
    }

    pub fn record(&self, upload: &Upload) -> Value {
        let mut record = self.stage.record(&upload.key, &upload.etag, &upload.sequencer);
        if let Some(version) = &upload.version {
            record["s3"]["object"]["versionId"] = json!(version);
        }
        record
    }

    /// Tells the queue of an upload; as often as it is called.
    pub async fn announce(&self, upload: &Upload) {
        self.stage.send(self.stage.message(&[self.record(upload)])).await;
    }

    /// Tells the queue of ten at most, in one call.
    pub async fn announce_all(&self, uploads: &[Upload]) {
        let entry = |(n, upload): (usize, &Upload)| {
            let body = self.stage.message(&[self.record(upload)]);
            let entry = SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(body);
            entry.build().unwrap()
        };
        let entries = uploads.iter().enumerate().map(entry).collect();
        let batch = self.stage.world.sqs.send_message_batch().queue_url(&self.stage.queue);
        let answer = batch.set_entries(Some(entries)).send().await.unwrap();
        assert!(answer.failed.is_empty(), "{:?}", answer.failed);
    }

    pub async fn delete_source(&self, upload: &Upload) {
        self.ledger.expect(upload.number, Expected::Gone);
        let delete = self.stage.world.s3.delete_object().bucket(&self.stage.input).key(&upload.key);
        delete.send().await.unwrap();
    }

    /// Visible and hidden messages.
    pub async fn depth(&self) -> (u64, u64) {
        // In one question: between two, a message can go from hidden to visible, unseen.
        let ask = self.stage.world.sqs.get_queue_attributes().queue_url(&self.stage.queue);
        let answer = ask.attribute_names(Attribute::All).send().await.unwrap();
        let attributes = answer.attributes.unwrap_or_default();
        let number = |name| attributes.get(&name).and_then(|n| n.parse().ok()).unwrap_or(0);
        let visible = number(Attribute::ApproximateNumberOfMessages);
        (visible, number(Attribute::ApproximateNumberOfMessagesNotVisible))
    }

    /// Waits for something, and tells what went over the wire if it does not come.
    pub async fn until(&self, what: &str, limit: Duration, ask: impl Fn() -> bool) {
        let late = async {
            while !ask() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(limit, late).await.is_err() {
            panic!("no {what} within {limit:?}\n{}", self.epilogue(""));
        }
    }

    pub async fn until_empty(&self, limit: Duration) {
        let began = tokio::time::Instant::now();
        while self.depth().await != (0, 0) {
            if began.elapsed() > limit {
                panic!("{:?} messages are left after {limit:?}\n{}", self.depth().await, self.epilogue(""));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn terms(&self) -> Terms {
        Terms {
            concurrency: self.workers().iter().map(|w| (w.name.clone(), w.concurrency())).collect(),
            visibility: self.workers().first().map_or(VISIBILITY.as_secs(), |w| w.visibility()),
            capped: self.capped.load(Ordering::SeqCst),
            still: self.log.still(),
        }
    }

    /// Waits until nothing is left to do, stops all workers in order, and checks everything.
    pub async fn finish(self) -> Vec<(Upload, Fate)> {
        self.finish_within(Duration::from_secs(60)).await
    }

    pub async fn finish_within(self, limit: Duration) -> Vec<(Upload, Fate)> {
        self.until_empty(limit).await;
        let (mut broken, mut idle) = (Vec::new(), HashMap::new());
        for worker in self.workers().iter().filter(|w| w.running()) {
            let told = match worker.idle(PATIENCE).await {
                Ok(told) => told,
                Err(why) => {
                    broken.push(format!("{} {why}", worker.name));
                    Sums::default()
                }
            };
            let footprint = worker.footprint();
            // Three pools keep a connection a place for a while.
            let descriptors = IDLE_DESCRIPTORS + 3 * worker.concurrency();
            if footprint.descriptors > descriptors || footprint.threads > IDLE_THREADS {
                broken.push(format!("{} is idle with {footprint:?}", worker.name));
            }
            // One for each connection, and ours.
            let tasks = told.get("longshore_tasks").copied().unwrap_or(f64::INFINITY);
            if tasks > IDLE_TASKS + 3.0 * worker.concurrency() as f64 {
                broken.push(format!("{} is idle with {tasks} tasks", worker.name));
            }
            idle.insert(worker.name.clone(), told);
            worker.terminate();
        }
        for worker in self.workers().iter().filter(|w| idle.contains_key(&w.name)) {
            let code = worker.exit_code(Duration::from_secs(20)).await;
            if code != Some(0) {
                broken.push(format!("{} ended with {code:?} after SIGTERM", worker.name));
            }
            if let Some(farewell) = worker.exits().last().and_then(|exit| exit.farewell.as_ref())
                && let Err(why) = check_idle_end(&idle[&worker.name], farewell)
            {
                broken.push(format!("{} had nothing to do: {why}", worker.name));
            }
        }
        let left = self.depth().await;
        if left != (0, 0) {
            broken.push(format!("after the workers' end {left:?} messages are visible and hidden"));
        }
        self.check(broken).await
    }

    /// The checks alone, for scenarios that stop their workers themselves.
    pub async fn check(self, broken: Vec<String>) -> Vec<(Upload, Fate)> {
        let (fates, broken, about) = self.judge(broken).await;
        assert!(broken.is_empty(), "{}\n{}", broken.join("\n"), self.epilogue(&about));
        fates
    }

    /// Every fate, every broken rule, and the first key that ended wrong.
    pub async fn judge(&self, mut broken: Vec<String>) -> (Vec<(Upload, Fate)>, Vec<String>, String) {
        for worker in self.workers() {
            broken.extend(worker.violations());
            let panicked = worker.lines().into_iter().filter(|l| l.contains("panicked"));
            broken.extend(panicked.map(|line| format!("{}: {line}", worker.name)));
            broken.extend(farewells(&worker));
        }
        broken.extend(self.reader.finish().await);
        let fates = self.ledger.fates(&self.stage).await;
        let wrong = wrong(&fates);
        let about = wrong.first().map(|(key, _)| key.clone()).unwrap_or_default();
        broken.extend(wrong.into_iter().map(|(_, line)| line));
        let (exchanges, terms) = (self.log.exchanges(), self.terms());
        broken.extend(invariants::check(&exchanges, &self.ledger.uploads(), &terms));
        let exits: Vec<_> = self.workers().iter().flat_map(|w| w.exits()).collect();
        broken.extend(ending::check(&exchanges, &exits, &terms));
        (fates, broken, about)
    }

    /// The whole story of a key, or the last that was seen of everything.
    pub fn epilogue(&self, key: &str) -> String {
        let mut text = match key {
            "" => format!("the last exchanges:\n{}", self.log.tail(60)),
            key => format!("the story of {key}:\n{}", self.log.story(key)),
        };
        for worker in self.workers() {
            text.push_str(&format!("\nthe log of {}:\n{}", worker.name, worker.tail()));
        }
        text
    }
}

/// What a worker tells when it has left must add up.
fn farewells(worker: &Worker) -> Vec<String> {
    let lines = worker.lines();
    let farewells = lines.iter().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    let farewells = farewells.filter(|line| line["message"] == "stopped");
    let wrong = farewells.filter(|line| {
        let number = |name: &str| line[name].as_u64().unwrap_or(u64::MAX / 8);
        let ends = ["deleted", "dead_lettered", "retried", "released", "ownership_lost", "still_held"];
        number("received") != ends.into_iter().map(number).sum::<u64>()
    });
    wrong.map(|line| format!("{}: its counts do not add up: {line}", worker.name)).collect()
}

/// Whether storms and heaps are as long and as high as they are said to be: `LONGSHORE_FAULT_TIMES` is
/// `whole`.
pub fn whole() -> bool {
    std::env::var("LONGSHORE_FAULT_TIMES").is_ok_and(|v| v == "whole")
}

/// How long a storm or an outage lasts: a third of what is said, unless the whole is asked for.
pub fn lasting(seconds: u64) -> Duration {
    Duration::from_secs(if whole() { seconds } else { seconds.div_ceil(3) })
}

/// A name for something that must not exist.
pub fn nowhere(what: &str) -> String {
    unique(what)
}

/// Waits with a test's patience for an async condition.
pub async fn eventually<T, F>(what: &str, limit: Duration, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    wait_for(what, limit, ask).await
}
