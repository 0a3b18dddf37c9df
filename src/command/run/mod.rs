//! What a worker does with a row: looks whether it is to be run, fetches its inputs, runs the script, stores its
//! outputs, and writes down what became of it.

mod cgroup;
mod child;
mod ended;
mod environment;
mod folder;
mod identity;
mod inputs;
mod job;
mod mask;
mod outputs;
mod plan;
mod printed;
mod secrets;
mod verdict;

use super::layout::{self, State};
use super::supervise::{Ending, Order};
use super::wire::{Record, Started, Ticket, now};
use crate::aws::Clients;
use crate::config::Config;
use crate::error::{Error, Printable, Reason, Rejection};
use crate::ops::{Metrics, Phase, Shutdown, traces};
use crate::store::Store;
use cgroup::{Cgroup, Cgroups};
use child::{Children, Script};
pub use ended::Ended;
use ended::Trouble;
use environment::surroundings;
use folder::{Folder, Folders};
use futures_util::future::BoxFuture;
use job::{Jobs, Look, Start};
use lru::LruCache;
use mask::Secrets;
use plan::Plan;
use printed::Printed;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, Semaphore};
use tracing::{Instrument, Span, info, info_span, warn};
use verdict::judge;

/// What all rows of a worker share.
pub struct Commands {
    jobs: Jobs,
    store: Store,
    clients: Clients,
    bucket: String,
    folders: Folders,
    children: Children,
    cgroups: Option<Cgroups>,
    transfers: Semaphore,
    secrets: Mutex<LruCache<String, (Instant, String)>>,
    worker: OnceCell<String>,
    shutdown: Shutdown,
    drain_budget: Duration,
    long_rows: AtomicUsize,
    metrics: Metrics,
}

/// Ends when the message is not ours any more. Not asked again after.
pub type Lost<'a> = BoxFuture<'a, ()>;

/// What an attempt used, told whether it worked or not.
#[derive(Debug, Default)]
struct Used {
    exit_code: Option<i32>,
    bytes_in: u64,
    bytes_out: u64,
    peak_memory: u64,
    cpu_seconds: f64,
    log: String,
}

/// Bytes of a range of an input, and of a part of an output; smaller files go in one.
const PART: u64 = 8 << 20;
/// Ranges and parts in memory at once, of all rows together.
const PARTS_AT_ONCE: usize = 8;
/// From SIGTERM to SIGKILL, when the time limit of a row is over.
const GRACE: Duration = Duration::from_secs(5);
/// Of the drain budget: for writing down how the script ended.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// From one look at what a script has printed to the next, for those who follow it.
const LOG_EVERY: Duration = Duration::from_secs(15);
/// What a message can be held for beyond a row's own time: to store its outputs.
const STORING: Duration = Duration::from_secs(600);
const SECRETS: NonZeroUsize = NonZeroUsize::new(100).expect("not 0");
/// From one look at strays to the next.
const STRAYS_EVERY: Duration = Duration::from_secs(10);

impl Commands {
    /// # Errors
    ///
    /// There is no place for the rows' folders.
    pub fn new(
        config: &Config,
        clients: Clients,
        shutdown: Shutdown,
        metrics: Metrics,
    ) -> std::io::Result<Self> {
        let folders = Folders::new(&config.work_dir)?;
        // What scripts run as could read this process's environment otherwise, with whatever credentials are in it.
        // And whoever a supervisor leaves behind when it is killed comes here.
        #[cfg(target_os = "linux")]
        {
            use rustix::process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior};
            set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
            set_child_subreaper(Some(getpid()))?;
        }
        let cgroups = Cgroups::find();
        match &cgroups {
            Ok(_) => info!("memory and processors of rows are limited by cgroup v2"),
            Err(why) => info!(
                "memory of rows is limited by RLIMIT_DATA for each process and by looking at all of them twice a \
                 second, and processors are not limited: {why}"
            ),
        }
        let store = Store::new(clients.clone());
        Ok(Self {
            jobs: Jobs::new(store.clone(), config.work_bucket.clone()),
            store,
            clients,
            bucket: config.work_bucket.clone(),
            folders,
            children: Children::default(),
            cgroups: cgroups.ok(),
            transfers: Semaphore::new(PARTS_AT_ONCE),
            secrets: Mutex::new(LruCache::new(SECRETS)),
            worker: OnceCell::new(),
            shutdown,
            drain_budget: config.drain_budget(),
            long_rows: AtomicUsize::new(0),
            metrics,
        })
    }

    /// The only bucket that jobs are taken from.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Whether a row is in work that may take longer than a leaving worker waits.
    pub fn has_long_row(&self) -> bool {
        self.long_rows.load(Ordering::SeqCst) > 0
    }

    /// Waits for strays that have come to this process, for ever.
    pub async fn reap(&self) {
        let mut seen = HashSet::new();
        loop {
            tokio::time::sleep(STRAYS_EVERY).await;
            seen = self.children.adopt(&seen);
        }
    }

    /// Does what a message says. `give_up`: when the message must be let go; `lost` ends when it is not ours any
    /// more.
    pub async fn run(&self, ticket: &Ticket, give_up: Instant, mut lost: Lost<'_>) -> Ended {
        let began = now();
        let looked = tokio::select! {
            biased;
            () = self.leaving() => return Ended::NotBegun,
            () = &mut lost => return Ended::Lost,
            looked = self.jobs.look(ticket) => looked,
        };
        let worker = self.worker.get_or_init(identity::worker).await.clone();
        let mut record = Record {
            row: ticket.row,
            digest: ticket.digest.clone(),
            attempt: 0,
            worker,
            started_at: began,
            ended_at: began,
            exit_code: None,
            reason: String::new(),
            slug: None,
            bytes_in: 0,
            bytes_out: 0,
            peak_memory: 0,
            cpu_seconds: 0.0,
            seconds_before: 0.0,
            cpu_seconds_before: 0.0,
            log: String::new(),
        };
        let start = match looked {
            Ok(Look::Begin(start)) => start,
            Ok(Look::FinishedBefore) => return Ended::FinishedBefore,
            Ok(Look::Cancelled { failures }) => {
                record.attempt = failures;
                record.reason = "cancelled".into();
                let written = self.jobs.write(layout::state(&ticket.job, State::Failed, ticket.row), &record);
                return written.await.map_or_else(Ended::from, |()| Ended::Cancelled);
            }
            Err(Trouble::Failed { rejection, .. }) => return self.refuse(ticket, record, rejection).await,
            Err(trouble) => return trouble.into(),
        };
        record.attempt = start.attempt;
        (record.seconds_before, record.cpu_seconds_before) = start.before;
        let started = Started {
            row: record.row,
            digest: record.digest.clone(),
            attempt: record.attempt,
            worker: record.worker.clone(),
            at: began,
        };
        if let Err(trouble) =
            self.jobs.write(layout::state(&ticket.job, State::Started, ticket.row), &started).await
        {
            return trouble.into();
        }
        // It was queued again: from here on it runs.
        if start.has_failed {
            self.jobs.remove(layout::state(&ticket.job, State::Failed, ticket.row)).await;
        }
        let mut used = Used::default();
        let ended = self.attempt(ticket, &start, give_up, &mut lost, &mut used).await;
        record.ended_at = now();
        record.exit_code = used.exit_code;
        record.bytes_in = used.bytes_in;
        record.bytes_out = used.bytes_out;
        record.peak_memory = used.peak_memory;
        record.cpu_seconds = used.cpu_seconds;
        record.log = used.log;
        let ended = self.conclude(ticket, &start, record, ended).await;
        // It waits again, and nobody should take it for running.
        if matches!(ended, Ended::Later(_) | Ended::Blocked(..) | Ended::Stopped) {
            let removed = self.jobs.remove(layout::state(&ticket.job, State::Started, ticket.row));
            // Who leaves has little time, and the message goes back all the same.
            let _ = tokio::time::timeout(LAST_WORDS / 2, removed).await;
        }
        ended
    }

    async fn leaving(&self) {
        self.shutdown.reached(Phase::Draining).await;
    }

    /// A row that cannot be run at all.
    async fn refuse(&self, ticket: &Ticket, mut record: Record, rejection: Rejection) -> Ended {
        // Else there is no telling where its record belongs.
        if layout::is_job_name(&ticket.job) {
            record.reason.clone_from(&rejection.detail);
            record.slug = Some(rejection.reason.slug().to_owned());
            let key = layout::state(&ticket.job, State::Failed, ticket.row);
            if let Err(trouble) = self.jobs.write(key, &record).await {
                return trouble.into();
            }
        }
        Ended::Failed(rejection)
    }

    /// Writes down how an attempt ended; the message is let go of only after.
    async fn conclude(
        &self,
        ticket: &Ticket,
        start: &Start,
        mut record: Record,
        ended: Result<(), Trouble>,
    ) -> Ended {
        let (state, ended) = match ended {
            Ok(()) => (State::Done, Ended::Done),
            Err(Trouble::Failed { rejection, for_good }) => {
                record.reason = Printable(&rejection.detail).to_string();
                record.slug = Some(rejection.reason.slug().to_owned());
                if for_good || record.attempt >= start.known.job.attempts {
                    (State::Failed, Ended::Failed(rejection))
                } else {
                    let why = Error::new(rejection.detail);
                    (State::Retried, Ended::Again { attempt: record.attempt, why })
                }
            }
            Err(trouble) => return trouble.into(),
        };
        if let Err(trouble) = self.jobs.write(layout::state(&ticket.job, state, ticket.row), &record).await {
            return trouble.into();
        }
        let seconds = record.seconds();
        info!(
            job = ticket.job,
            row = ticket.row,
            attempt = record.attempt,
            exit_code = record.exit_code,
            seconds,
            bytes_in = record.bytes_in,
            bytes_out = record.bytes_out,
            peak_memory = record.peak_memory,
            cpu_seconds = record.cpu_seconds,
            "row {} of {}: {}",
            ticket.row,
            ticket.job,
            if record.reason.is_empty() { "done" } else { &record.reason }
        );
        // Who queues it again begins to count anew.
        if state != State::Retried && start.was_retried {
            self.jobs.remove(layout::state(&ticket.job, State::Retried, ticket.row)).await;
        }
        ended
    }

    async fn attempt(
        &self,
        ticket: &Ticket,
        start: &Start,
        give_up: Instant,
        lost: &mut Lost<'_>,
        used: &mut Used,
    ) -> Result<(), Trouble> {
        let span = info_span!("row", job = ticket.job, row = ticket.row, attempt = start.attempt);
        let attempt = async {
            info!("row {} of {} begins, attempt {}", ticket.row, ticket.job, start.attempt);
            let no_folder = |e| Trouble::Later(Error::new(format!("cannot make a folder for the row: {e}")));
            let folder = self.folders.row().map_err(no_folder)?;
            let ended = self.attempt_in(&folder, ticket, start, give_up, lost, used).await;
            let removed = apart(move || {
                drop(folder);
                Ok(())
            });
            ended.and(removed.await)
        };
        Trouble::traced(traces::row(ticket, start.attempt), attempt.instrument(span)).await
    }

    async fn attempt_in(
        &self,
        folder: &Folder,
        ticket: &Ticket,
        start: &Start,
        give_up: Instant,
        lost: &mut Lost<'_>,
        used: &mut Used,
    ) -> Result<(), Trouble> {
        let began = Instant::now();
        let prepare = self.prepare(ticket, start, folder, used);
        let (plan, masked) = tokio::select! {
            biased;
            () = self.leaving() => return Err(Trouble::Stopped),
            () = &mut *lost => return Err(Trouble::Lost),
            prepared = Trouble::traced(traces::step("fetch", ticket), prepare) => prepared?,
        };
        self.metrics.command("fetch", began.elapsed());
        let began = Instant::now();
        let run = self.run_script(ticket, start, &plan, masked, folder, give_up, lost, used);
        let ran = Trouble::traced(traces::step("run", ticket), run).await;
        self.metrics.command("run", began.elapsed());
        let ended = match ran {
            Ok(()) => {
                let store = self.store_outputs(start, &plan, folder, lost);
                Trouble::traced(traces::step("upload", ticket), store).await
            }
            Err(trouble) => Err(trouble),
        };
        if matches!(ended, Err(Trouble::Failed { .. })) && start.known.job.keep_failed {
            self.keep_failed(ticket, start, &plan, folder, lost).await;
        }
        used.bytes_out = ended?;
        Ok(())
    }

    /// Everything that the script finds when it begins.
    async fn prepare(
        &self,
        ticket: &Ticket,
        start: &Start,
        folder: &Folder,
        used: &mut Used,
    ) -> Result<(Plan, Secrets), Trouble> {
        let job = &start.known.job;
        let invalid = |why: String| Trouble::never(Reason::CommandInvalid, why);
        let mut plan = Plan::new(job, &start.values, &folder.path).map_err(invalid)?;
        let mut values = Vec::new();
        for (variable, name) in std::mem::take(&mut plan.secrets) {
            let value = self.secret(&name).await?;
            if value.contains('\0') {
                return Err(invalid(format!("the secret of {variable} holds a NUL, which no variable can")));
            }
            plan.environment.insert(variable, value.clone());
            values.push(value);
        }
        if job.credentials {
            let credentials = self.credentials().await?;
            values.extend(credentials.get("AWS_SECRET_ACCESS_KEY").cloned());
            values.extend(credentials.get("AWS_SESSION_TOKEN").cloned());
            plan.environment.extend(credentials);
        }
        for (name, value) in surroundings(&folder.path) {
            plan.environment.entry(name).or_insert(value);
        }
        plan.environment.insert("LONGSHORE_JOB".into(), ticket.job.clone());
        plan.environment.insert("LONGSHORE_ROW".into(), ticket.row.to_string());
        plan.environment.insert("LONGSHORE_ATTEMPT".into(), start.attempt.to_string());
        let store = self.store.for_rows(job.request_payer);
        used.bytes_in = inputs::fetch(&store, &self.transfers, &self.folders, &plan.inputs).await?;
        let places =
            plan.outputs.iter().map(|o| if o.is_folder { Some(o.local.as_path()) } else { o.local.parent() });
        for place in places.flatten() {
            std::fs::create_dir_all(place).map_err(|e| Trouble::Later(Error::new(e.to_string())))?;
        }
        write_script(&folder.path.join(SCRIPT), &start.known.script)
            .map_err(|e| Trouble::Later(Error::new(format!("cannot write the script: {e}"))))?;
        Ok((plan, Secrets::new(values.iter().map(String::as_str))))
    }

    #[allow(clippy::too_many_arguments)] // the parts of an attempt
    async fn run_script(
        &self,
        ticket: &Ticket,
        start: &Start,
        plan: &Plan,
        masked: Secrets,
        folder: &Folder,
        give_up: Instant,
        lost: &mut Lost<'_>,
        used: &mut Used,
    ) -> Result<(), Trouble> {
        let job = &start.known.job;
        let mut command = job.shell.clone();
        command.push(folder.path.join(SCRIPT).to_string_lossy().into_owned());
        let cgroup = self.cgroup(job.memory, job.milli_cpus);
        let home = self.cgroups.as_ref().map(|c| c.home.clone());
        // SQS gives no message for longer than half a day.
        let most = give_up.saturating_duration_since(Instant::now()).saturating_sub(STORING);
        let timeout = Duration::from_secs(job.timeout).min(most);
        let order = Order {
            command,
            folder: folder.path.clone(),
            environment: plan.environment.clone(),
            timeout,
            grace: GRACE,
            memory: job.memory.filter(|_| cgroup.is_none()),
            cgroup: cgroup.as_ref().map(|c| c.path.clone()).zip(home),
        };
        let _long = (timeout > self.drain_budget).then(|| Long::new(&self.long_rows));
        let title = format!("{} {}", ticket.job, ticket.row);
        let started = self.children.start(&title, &order).await;
        let (mut script, stdout, stderr) =
            started.map_err(|e| Trouble::Later(Error::new(format!("cannot start a process: {e}"))))?;
        let printed = Printed::default();
        let follow = |name, stream: Stream| {
            let reader = printed.clone().follow(name, stream, masked.clone());
            tokio::spawn(reader.instrument(Span::current()))
        };
        let readers = [follow("stdout", Box::new(stdout)), follow("stderr", Box::new(stderr))];
        used.log = layout::log(&ticket.job, ticket.row, start.attempt);
        let waited = self.wait_for(&mut script, &printed, &used.log, lost).await;
        for mut reader in readers {
            // Its pipe ends with the last process that has it.
            if tokio::time::timeout(Duration::from_secs(5), &mut reader).await.is_err() {
                reader.abort();
            }
        }
        let ending = match waited {
            Ok(ending) => ending,
            // Told on the way out, if there is time: the next attempt has this number again.
            Err(trouble) => {
                let log = self.jobs.write_log(&used.log, printed.kept());
                let _ = tokio::time::timeout(LAST_WORDS / 2, log).await;
                return Err(trouble);
            }
        };
        if let Some(ending) = &ending {
            used.exit_code = ending.code;
            used.peak_memory = ending.peak_memory;
            used.cpu_seconds = ending.cpu_seconds;
            if ending.left_behind > 0 {
                warn!("it left {} processes behind: they were killed", ending.left_behind);
            }
        }
        if let Some(cgroup) = &cgroup {
            used.peak_memory = cgroup.peak_memory().unwrap_or(used.peak_memory);
            used.cpu_seconds = cgroup.cpu_seconds().unwrap_or(used.cpu_seconds);
        }
        self.jobs.write_log(&used.log, printed.kept()).await?;
        let ran_out = cgroup.as_ref().is_some_and(Cgroup::ran_out_of_memory);
        judge(ending, ran_out, &job.permanent, timeout, job.memory)
    }

    fn cgroup(&self, memory: Option<u64>, milli_cpus: Option<u64>) -> Option<Cgroup> {
        let made = self.cgroups.as_ref()?.make(memory, milli_cpus);
        made.inspect_err(|e| warn!("no cgroup for this row: {e}")).ok()
    }

    /// Until the script has ended, of itself or because it must. None: its supervisor was killed.
    async fn wait_for(
        &self,
        script: &mut Script,
        printed: &Printed,
        log: &str,
        lost: &mut Lost<'_>,
    ) -> Result<Option<Ending>, Trouble> {
        let mut line = Vec::new();
        let mut told = 0;
        let mut stopping = None;
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOG_EVERY, LOG_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let patience = async {
                match stopping {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut *lost => {
                    warn!("the message is not ours any more: the script is killed");
                    script.kill().await;
                    return Err(Trouble::Lost);
                }
                // However it ended: nobody can tell whether it was whole.
                ending = script.ending(&mut line) => return match stopping {
                    None => Ok(ending),
                    Some(_) => Err(Trouble::Stopped),
                },
                () = self.leaving(), if stopping.is_none() => {
                    let end = self.shutdown.asked_at() + self.drain_budget.saturating_sub(LAST_WORDS);
                    info!("the worker leaves: SIGTERM to the script, which runs elsewhere");
                    stopping = Some(end.into());
                    script.stop().await;
                }
                () = patience => {
                    warn!("the script did not end within the drain budget: it is killed");
                    script.kill().await;
                    return Err(Trouble::Stopped);
                }
                _ = look.tick() => {
                    let total = printed.total();
                    if total != told {
                        told = total;
                        // Whoever follows sees it later, or at the end.
                        let written = tokio::time::timeout(LOG_EVERY, self.jobs.write_log(log, printed.kept()));
                        let _ = written.await;
                    }
                }
            }
        }
    }

    /// Gives how many bytes they have. To be finished even if the worker leaves: its drain budget is what ends it.
    async fn store_outputs(
        &self,
        start: &Start,
        plan: &Plan,
        folder: &Folder,
        lost: &mut Lost<'_>,
    ) -> Result<u64, Trouble> {
        let began = Instant::now();
        let (row, wanted) = (folder.path.clone(), plan.outputs.clone());
        let bucket = self.store.for_rows(start.known.job.request_payer);
        let store = async {
            let files = apart(move || outputs::collect(&row, &wanted)).await?;
            outputs::store(&bucket, &self.transfers, &files).await
        };
        let stored = tokio::select! {
            biased;
            () = &mut *lost => Err(Trouble::Lost),
            stored = store => stored,
        };
        self.metrics.command("store", began.elapsed());
        stored
    }

    /// So that nothing learned is lost.
    async fn keep_failed(
        &self,
        ticket: &Ticket,
        start: &Start,
        plan: &Plan,
        folder: &Folder,
        lost: &mut Lost<'_>,
    ) {
        let key = |name: &str| layout::failed_output(&ticket.job, ticket.row, start.attempt, name);
        let files = outputs::collect_failed(&folder.path, &plan.outputs, &self.bucket, key);
        tokio::select! {
            () = &mut *lost => {}
            stored = outputs::store(&self.store, &self.transfers, &files) => {
                if let Err(trouble) = stored {
                    warn!("the outputs of the failed attempt are not kept: {}", trouble.detail());
                }
            }
        }
    }
}

/// Work on many files, which must not hold up those that wait for the network.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Trouble::Later(Error::new(format!("cannot look at files: {e}")))))
}

type Stream = Box<dyn tokio::io::AsyncRead + Send + Unpin>;

/// Counts a row that takes long, until dropped.
struct Long<'a>(&'a AtomicUsize);

impl<'a> Long<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Long<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// In the row's folder.
const SCRIPT: &str = "script";

fn write_script(path: &Path, script: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(path)?;
    std::io::Write::write_all(&mut file, script)
}
