//! A worker under the script's control: the real binary behind a proxy of its own.

use super::ending::Exit;
use super::log::Log;
use super::metrics::{self, Sums, Watch, sums};
use super::picture::RENDITIONS;
use super::process::{self, Footprint, Process};
use super::proxy::Proxy;
use super::proxy::rule::Callback;
use super::shim::Shim;
use crate::common::process::longshore;
use crate::common::stage::Stage;
use aws_sdk_sqs::types::QueueAttributeName;
use longshore::local::s3;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Started, stopped and started again; every life has the same proxy and the same settings.
pub struct Worker {
    pub name: String,
    pub proxy: Proxy,
    pub shim: Shim,
    settings: Mutex<BTreeMap<String, String>>,
    /// Memory that its next life may take, in KiB.
    limit: Mutex<Option<u64>>,
    /// Where its next life begins, and has its home.
    folder: Mutex<Option<PathBuf>>,
    process: Arc<Mutex<Option<Process>>>,
    /// The log of all lives.
    lines: Arc<Mutex<Vec<String>>>,
    log: Log,
    watch: Mutex<Option<Watch>>,
    violations: Arc<Mutex<Vec<String>>>,
    sqs: aws_sdk_sqs::Client,
    queue: String,
    /// When this life was first told to stop.
    told: Mutex<Option<Duration>>,
    /// Ends of its lives with exit code 0.
    exits: Mutex<Vec<Exit>>,
}

/// Short times, so that scenarios take seconds.
pub const VISIBILITY: Duration = Duration::from_secs(6);
pub const CONCURRENCY: usize = 4;
pub const STOP_TIMEOUT: Duration = Duration::from_secs(8);

impl Worker {
    pub async fn new(name: &str, stage: &Stage, log: &Log) -> Arc<Self> {
        let proxy = Proxy::start(name, &stage.world.endpoint, log.clone()).await;
        let mut settings = BTreeMap::new();
        for (name, value) in [
            ("AWS_ENDPOINT_URL", proxy.endpoint.as_str()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", s3::SECRET_ACCESS_KEY),
            ("LONGSHORE_QUEUE_URL", &stage.queue),
            ("LONGSHORE_OUTPUT_BUCKET", &stage.output),
            ("LONGSHORE_ADMIN_ADDR", "127.0.0.1:0"),
            ("LONGSHORE_VISIBILITY_TIMEOUT", "6s"),
            ("LONGSHORE_WAIT_TIME", "1s"),
            ("LONGSHORE_STOP_TIMEOUT", "8s"),
            ("LONGSHORE_CONCURRENCY", "4"),
            ("LONGSHORE_RENDER_THREADS", "2"),
            ("LONGSHORE_RENDITIONS", RENDITIONS),
        ] {
            settings.insert(name.to_owned(), value.to_owned());
        }
        Arc::new(Self {
            name: name.to_owned(),
            proxy,
            shim: Shim::new(),
            settings: Mutex::new(settings),
            limit: Mutex::default(),
            folder: Mutex::default(),
            process: Arc::default(),
            lines: Arc::default(),
            log: log.clone(),
            watch: Mutex::default(),
            violations: Arc::default(),
            sqs: stage.world.sqs.clone(),
            queue: stage.queue.clone(),
            told: Mutex::default(),
            exits: Mutex::default(),
        })
    }

    /// A setting of its next life.
    pub fn set(&self, name: &str, value: impl Into<String>) -> &Self {
        lock(&self.settings).insert(name.to_owned(), value.into());
        self
    }

    pub fn unset(&self, name: &str) -> &Self {
        lock(&self.settings).remove(name);
        self
    }

    pub fn setting(&self, name: &str) -> Option<String> {
        lock(&self.settings).get(name).cloned()
    }

    /// In seconds.
    pub fn visibility(&self) -> u64 {
        let said = self.setting("LONGSHORE_VISIBILITY_TIMEOUT");
        said.and_then(|v| v.trim_end_matches('s').parse().ok()).unwrap_or(VISIBILITY.as_secs())
    }

    pub fn concurrency(&self) -> usize {
        self.setting("LONGSHORE_CONCURRENCY").and_then(|n| n.parse().ok()).unwrap_or(CONCURRENCY)
    }

    /// Its clocks and its resolver can be spoilt from its next life on.
    pub fn with_shim(&self) -> &Self {
        for (name, value) in self.shim.environment() {
            self.set(name, value);
        }
        self
    }

    /// A limit of the kernel's on what its next life may write to: whoever asks for more is given nothing, and ends.
    pub fn limit_memory(&self, bytes: u64) -> &Self {
        *lock(&self.limit) = Some(bytes >> 10);
        self
    }

    /// What its next life stores by a name of its own would be stored in here.
    pub fn live_in(&self, folder: &Path) -> &Self {
        *lock(&self.folder) = Some(folder.to_owned());
        self
    }

    /// Begins a new life.
    pub fn start(&self) {
        let mut command = longshore();
        if let Some(kib) = *lock(&self.limit) {
            let bare = std::mem::replace(&mut command, Command::new("sh"));
            command.arg("-c").arg(format!("ulimit -d {kib} && exec \"$0\" \"$@\"")).arg(bare.get_program());
            for (name, value) in bare.get_envs() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
        }
        command.arg("work").envs(lock(&self.settings).iter());
        if let Some(folder) = &*lock(&self.folder) {
            command.current_dir(folder).env("HOME", folder).env("TMPDIR", folder);
        }
        let life = self.proxy.next_life();
        *lock(&self.told) = None;
        self.log.event(format!("{}: start, life {life}", self.name));
        let mut process = lock(&self.process);
        assert!(process.as_mut().is_none_or(|p| p.ended().is_some()), "{} runs already", self.name);
        let started = Process::start(command, Arc::clone(&self.lines));
        *lock(&self.watch) = Some(metrics::watch(started.pid(), &self.name, Arc::clone(&self.violations)));
        *process = Some(started);
    }

    /// Waits until it says that it has started.
    pub async fn started(&self) {
        let before = self.count_lines("\"started\"");
        self.start();
        self.until("its start", Duration::from_secs(30), || self.count_lines("\"started\"") > before).await;
    }

    pub fn running(&self) -> bool {
        lock(&self.process).as_mut().is_some_and(|p| p.ended().is_none())
    }

    pub fn pid(&self) -> u32 {
        lock(&self.process).as_ref().expect("it was started").pid()
    }

    fn signal(&self, signal: Signal, name: &str) {
        self.log.event(format!("{}: {name}", self.name));
        if let Some(process) = lock(&self.process).as_ref() {
            process.signal(signal);
        }
    }

    pub fn terminate(&self) {
        lock(&self.told).get_or_insert(self.log.now());
        self.signal(Signal::TERM, "SIGTERM");
    }

    pub fn interrupt(&self) {
        lock(&self.told).get_or_insert(self.log.now());
        self.signal(Signal::INT, "SIGINT");
    }

    /// It stands still, with all its connections open.
    pub fn freeze(&self) {
        self.log.stands(&self.name, true);
        self.signal(Signal::STOP, "SIGSTOP");
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT, "SIGCONT");
        self.log.stands(&self.name, false);
    }

    pub fn kill(&self) {
        self.killer()();
    }

    /// Kills whichever life runs when it is called; for rules of the proxy.
    pub fn killer(&self) -> Callback {
        let process = Arc::clone(&self.process);
        let (log, name) = (self.log.clone(), self.name.clone());
        Arc::new(move || {
            log.event(format!("{name}: SIGKILL"));
            if let Some(process) = lock(&process).as_mut() {
                process.kill();
            }
        })
    }

    /// Waits until handlers for its signals are set: from then on a stop is orderly.
    pub async fn until_it_handles_sigterm(&self) {
        let pid = self.pid();
        self.until("a handler for SIGTERM", Duration::from_secs(30), || process::handles(pid, Signal::TERM))
            .await;
    }

    /// Waits for its end. None: a signal ended it.
    pub async fn exit_code(&self, limit: Duration) -> Option<i32> {
        self.until("its end", limit, || !self.running()).await;
        let code = lock(&self.process).as_mut().and_then(Process::ended).and_then(|s| s.code());
        self.log.event(format!("{}: ended with {code:?}", self.name));
        if code == Some(0) {
            self.note_exit().await;
        }
        code
    }

    /// Asks the queue at once what is hidden.
    pub async fn note_exit(&self) {
        let (at, life) = (self.log.now(), self.proxy.life());
        if lock(&self.exits).iter().any(|exit| exit.life == life) {
            return;
        }
        let name = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        let ask = self.sqs.get_queue_attributes().queue_url(&self.queue).attribute_names(name.clone());
        let answer = ask.send().await.ok().and_then(|answer| answer.attributes?.remove(&name));
        let said = self.lines().into_iter().rev().filter_map(|l| serde_json::from_str::<Value>(&l).ok());
        let farewell = said.take_while(|l| l["message"] != "started").find(|l| l["message"] == "stopped");
        let last = lock(&self.watch).as_ref().and_then(Watch::last);
        if let (Some(last), Some(farewell)) = (last, &farewell)
            && let Err(why) = metrics::check_end(&last, farewell)
        {
            lock(&self.violations).push(format!("{}.{life}: {why}", self.name));
        }
        let (hidden, told) = (answer.and_then(|n| n.parse().ok()), *lock(&self.told));
        let exit =
            Exit { worker: self.name.clone(), life, told, at, hidden, asked: self.log.now(), farewell };
        lock(&self.exits).push(exit);
    }

    /// As if it had said so; for those that are no process.
    pub fn farewell(&self, line: &str) {
        lock(&self.lines).push(line.to_owned());
    }

    pub fn exits(&self) -> Vec<Exit> {
        lock(&self.exits).clone()
    }

    /// SIGTERM, and an orderly end.
    pub async fn stop(&self) {
        self.terminate();
        let code = self.exit_code(STOP_TIMEOUT + Duration::from_secs(20)).await;
        assert_eq!(code, Some(0), "{} after SIGTERM; its log:\n{}", self.name, self.tail());
    }

    async fn until(&self, what: &str, limit: Duration, mut ask: impl FnMut() -> bool) {
        let started = Instant::now();
        while !ask() {
            let late = started.elapsed() > limit;
            assert!(!late, "{}: no {what} in {limit:?}; its log:\n{}", self.name, self.tail());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn until_line(&self, part: &str, limit: Duration) {
        self.until(&format!("line with {part:?}"), limit, || self.count_lines(part) > 0).await;
    }

    pub fn count_lines(&self, part: &str) -> usize {
        lock(&self.lines).iter().filter(|l| l.contains(part)).count()
    }

    pub fn lines(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }

    pub fn tail(&self) -> String {
        let lines = lock(&self.lines);
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    pub fn footprint(&self) -> Footprint {
        process::footprint(self.pid())
    }

    /// Waits until it holds nothing: what it counts then.
    pub async fn idle(&self, limit: Duration) -> Result<Sums, String> {
        let started = Instant::now();
        loop {
            let told = self.ask("/metrics").await.filter(|(status, _)| *status == 200);
            let why = match told {
                Some((_, text)) => {
                    metrics::check(&text)?;
                    let sums = sums(&text);
                    match sums.get("longshore_messages_in_flight") {
                        Some(0.0) => return Ok(sums),
                        held => format!("holds {held:?} messages, though the queue is empty"),
                    }
                }
                None => "does not tell its metrics".to_owned(),
            };
            if started.elapsed() > limit {
                return Err(why);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Tasks of its runtime that are alive. None: it does not answer.
    pub async fn tasks(&self) -> Option<f64> {
        let (_, text) = self.ask("/metrics").await?;
        sums(&text).get("longshore_tasks").copied()
    }

    /// What the admin port says to GET: status and body.
    pub async fn ask(&self, path: &str) -> Option<(u16, String)> {
        metrics::get(process::listening_port(self.pid())?, path).await
    }

    /// What was seen while it ran that must never be.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
