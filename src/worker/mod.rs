//! The loop: receive, hold, run, settle; and how it leaves.

mod breaker;
mod gate;
mod handle;
mod protection;
mod row;

pub use handle::{Ended, Report};

use crate::command::run::Commands;
use crate::config::{Config, TaskProtection};
use crate::job::{Context, Job, Recipes};
use crate::ops::admin::Admin;
use crate::ops::{Health, History, Metrics, Phase, Shutdown, Trouble};
use crate::queue::keeper::{Cause, Settlement};
use crate::queue::{Counts, DeadLetters, Keeper, Message, Queue, ReceiveError};
use breaker::Breaker;
use gate::{Gate, Pass, SUSPECT_AFTER};
use handle::{Handler, handle};
use protection::Protection;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tracing::{error, info, warn};

/// Takes messages from a queue and does what they say, until told to stop.
pub struct Worker {
    queue: Queue,
    keeper: Arc<Keeper>,
    handler: Arc<Handler>,
    places: Arc<Semaphore>,
    health: Health,
    shutdown: Shutdown,
    wait: Duration,
    visibility: Duration,
    drain_budget: Duration,
    protection: Protection,
    protected: TaskProtection,
    failures: u32,
    /// Receives in a row that were not answered at all, and since when.
    dead_polls: u32,
    silent_since: Instant,
    /// The next receive asks for one message: the last one brought a suspect, or this process may be here
    /// because a suspect killed the one before.
    cautious: bool,
}

/// What a worker did, told when it has left.
#[derive(Debug, Clone, Copy)]
pub struct Farewell {
    pub counts: Counts,
    /// Messages that could not be handed back; they show again when their visibility timeout ends.
    pub still_held: usize,
}

/// Why the process should be replaced; it ends non-zero.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A job panicked outside the image engine, or the loop did.
    #[error("a task of the worker panicked: {0}")]
    Panicked(String),
    #[error(
        "the thread that keeps the leases panicked: stopping, as nothing would be renewed; messages in work show \
         again when their visibility timeout ends"
    )]
    NoLeases,
    #[error(
        "no receive was answered {DEAD_POLLS} times in a row: stopping, as a new process may have better luck"
    )]
    DeadPolls,
}

/// Three black holes in a row are the network's or the process's; ECS starts another elsewhere.
const DEAD_POLLS: u32 = 3;
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// SQS answers with `OverLimit` until messages in flight are done with.
const OVER_LIMIT_PAUSE: Duration = Duration::from_secs(5);
/// For the last releases, after the drain budget is over.
const RELEASE_BUDGET: Duration = Duration::from_secs(3);

impl Worker {
    #[allow(clippy::too_many_arguments)] // its parts, put together in one place
    pub fn new(
        config: &Config,
        queue: Queue,
        keeper: Arc<Keeper>,
        dead_letters: DeadLetters,
        context: Context,
        commands: Option<Commands>,
        shutdown: Shutdown,
        metrics: Metrics,
    ) -> Self {
        let trouble = Trouble::default();
        let handler = Handler {
            context,
            queue_url: config.queue_url.clone(),
            renditions: config.jobs.renditions,
            commands,
            dead_letters,
            max_job_time: config.max_job_time,
            gate: Gate::new(),
            breaker: Breaker::new(&config.input_buckets, trouble.clone(), shutdown.clone()),
            shutdown: shutdown.clone(),
            metrics,
            history: History::default(),
            reports: None,
        };
        Self {
            health: Health::new(Arc::clone(&keeper), trouble, config.wait, config.visibility),
            queue,
            keeper,
            handler: Arc::new(handler),
            places: Arc::new(Semaphore::new(config.concurrency)),
            shutdown,
            wait: config.wait,
            visibility: config.visibility,
            drain_budget: config.drain_budget(),
            protection: Protection::new(config.task_protection, config.max_job_time),
            protected: config.task_protection,
            failures: 0,
            dead_polls: 0,
            silent_since: Instant::now(),
            cautious: true,
        }
    }

    /// Every record's end is told here as well as in the log.
    #[must_use]
    pub fn reporting_to(mut self, reports: mpsc::UnboundedSender<Report>) -> Self {
        let handler = Arc::get_mut(&mut self.handler).expect("nothing runs yet");
        handler.reports = Some(reports);
        self
    }

    /// What the admin port serves.
    pub fn admin(&self) -> Admin {
        Admin {
            health: self.health.clone(),
            metrics: self.handler.metrics.clone(),
            keeper: Arc::clone(&self.keeper),
            queue: self.queue.clone(),
            history: self.handler.history.clone(),
        }
    }

    /// What it makes of pictures, and where that can be changed.
    pub fn recipes(&self) -> Recipes {
        self.handler.context.recipes.clone()
    }

    /// Works until shutdown is asked for and done.
    ///
    /// # Errors
    ///
    /// A task panicked, and what it held has been handed back; or the worker cannot go on, and why.
    pub async fn run(mut self) -> Result<Farewell, Broken> {
        let mut jobs = JoinSet::new();
        let handler = Arc::clone(&self.handler);
        let reaper = tokio::spawn(async move {
            if let Some(commands) = &handler.commands {
                commands.reap().await;
            }
        });
        let keeper = Arc::clone(&self.keeper);
        let broken = tokio::select! {
            ended = self.receive_and_run(&mut jobs) => ended.err(),
            () = keeper.ended() => Some(Broken::NoLeases),
        };
        match broken {
            // Nobody is left to tell the queue.
            Some(Broken::NoLeases) => {
                jobs.shutdown().await;
                self.shutdown.advance(Phase::Leaving);
            }
            _ => self.drain(&mut jobs).await,
        }
        reaper.abort();
        let _ = reaper.await;
        let farewell = Farewell { counts: self.keeper.counts(), still_held: self.keeper.in_flight() };
        broken.map_or(Ok(farewell), Err)
    }

    async fn receive_and_run(&mut self, jobs: &mut JoinSet<()>) -> Result<(), Broken> {
        while let Some(places) = self.places(jobs).await? {
            self.protect().await;
            match self.receive(places.len(), jobs).await {
                None => return Ok(()),
                Some(Ok(messages)) => {
                    (self.failures, self.dead_polls) = (0, 0);
                    self.silent_since = Instant::now();
                    self.health.polled();
                    let idle = messages.is_empty() && jobs.is_empty();
                    self.take(messages, places, jobs);
                    if idle {
                        self.offer_to_be_stopped().await;
                    }
                }
                Some(Err(error)) => {
                    if self.is_cut_off(&error) {
                        error!("{error}");
                        return Err(Broken::DeadPolls);
                    }
                    self.pause(&error).await;
                }
            }
        }
        Ok(())
    }

    /// Counts receives that nothing answered; in time as well, as a connection that cannot be made tells
    /// sooner than a receive that hangs.
    fn is_cut_off(&mut self, error: &ReceiveError) -> bool {
        if !error.is_silence() {
            self.dead_polls = 0;
            self.silent_since = Instant::now();
            return false;
        }
        self.dead_polls += 1;
        let patience = DEAD_POLLS * (self.wait + Duration::from_secs(5));
        self.dead_polls >= DEAD_POLLS && self.silent_since.elapsed() >= patience
    }

    /// Before a receive and while there is work; or only while there is a row that could not end in time.
    async fn protect(&mut self) {
        let long = || self.handler.commands.as_ref().is_some_and(Commands::has_long_row);
        if self.protected != TaskProtection::Long || long() {
            self.protection.take().await;
        } else {
            self.protection.drop_it().await;
        }
    }

    /// With nothing to do, a protected task is unprotected for a moment.
    async fn offer_to_be_stopped(&mut self) {
        tokio::select! {
            () = self.shutdown.reached(Phase::Draining) => {}
            () = self.protection.drop_it() => {}
        }
    }

    /// Free places, at least one and at most ten: a message is asked for only when it can be started.
    /// None when it is time to stop.
    async fn places(&mut self, jobs: &mut JoinSet<()>) -> Result<Option<Vec<OwnedSemaphorePermit>>, Broken> {
        let one = loop {
            let semaphore = Arc::clone(&self.places);
            tokio::select! {
                biased;
                () = self.shutdown.reached(Phase::Draining) => return Ok(None),
                Some(ended) = jobs.join_next() => {
                    self.health.busy();
                    check(ended)?;
                }
                place = semaphore.acquire_owned() => break place.expect("the semaphore is never closed"),
                // Full for long is no sign of death.
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    self.health.busy();
                    self.handler.breaker.make_room();
                    self.protect().await;
                }
            }
        };
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.reached(Phase::Draining) => return Ok(None),
                Some(ended) = jobs.join_next() => {
                    self.health.busy();
                    check(ended)?;
                }
                () = self.ready_for_more() => break,
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    self.health.busy();
                    if !jobs.is_empty() {
                        self.protect().await;
                    }
                }
            }
        }
        let mut places = vec![one];
        // While the breaker is open, one message is enough to find out.
        let most = if self.cautious || self.handler.breaker.is_open() { 1 } else { 10 };
        while places.len() < most
            && let Ok(place) = Arc::clone(&self.places).try_acquire_owned()
        {
            places.push(place);
        }
        Ok(Some(places))
    }

    /// Nothing new beside a message that is suspected of killing the process, nor while pictures wait
    /// for memory, nor while the configuration keeps every picture from working.
    async fn ready_for_more(&self) {
        loop {
            self.handler.gate.clear().await;
            self.handler.context.has_room().await;
            self.handler.breaker.passable().await;
            // One may have come to its turn again while the others were waited for.
            if !self.handler.gate.has_suspect() {
                return;
            }
        }
    }

    /// One receive, awaited to its end whatever happens: SQS may already have handed its messages to
    /// a socket that we drop, and they would stay hidden for a whole visibility timeout. What a
    /// receive brings while we leave is given back at once, unstarted. None when it is time to stop.
    async fn receive(
        &self,
        places: usize,
        jobs: &mut JoinSet<()>,
    ) -> Option<Result<Vec<Message>, ReceiveError>> {
        if self.shutdown.phase() > Phase::Running {
            return None;
        }
        let receive = async {
            let begun = Instant::now();
            let answer = self.queue.receive(places, self.wait, self.visibility).await;
            self.handler.metrics.operation("receive_message", begun.elapsed(), answer.is_err());
            answer
        };
        let mut receive = pin!(receive);
        let answer = tokio::select! {
            biased;
            answer = &mut receive => answer,
            () = self.shutdown.reached(Phase::Draining) => {
                let limit = self.wait + Duration::from_secs(1);
                let hurry = self.shutdown.reached(Phase::Leaving);
                tokio::select! {
                    biased;
                    answer = &mut receive => answer,
                    () = tokio::time::sleep(limit) => return None,
                    () = hurry => {
                        // What runs is handed back now. The receive is not abandoned, but patience ends.
                        self.keeper.leave();
                        jobs.abort_all();
                        tokio::time::timeout(RELEASE_BUDGET, receive).await.ok()?
                    }
                }
            }
        };
        if self.shutdown.phase() == Phase::Running {
            return Some(answer);
        }
        self.keeper.leave();
        for message in answer.unwrap_or_default() {
            if let Some(lease) = self.keeper.hold(&message) {
                lease.settle(Settlement::Release(Cause::NotBegun)).await;
            }
        }
        None
    }

    fn take(&mut self, messages: Vec<Message>, places: Vec<OwnedSemaphorePermit>, jobs: &mut JoinSet<()>) {
        let plan = |message: Message| (Job::plan(&message.body), message);
        let planned: Vec<(Job, Message)> = messages.into_iter().map(plan).collect();
        if !planned.is_empty() {
            let suspect = |(job, m): &(Job, Message)| !job.is_command() && m.receive_count >= SUSPECT_AFTER;
            self.cautious = planned.iter().any(suspect);
        }
        // Everybody's pass before anybody runs.
        let admit = |(job, message): &(Job, Message)| match job.is_command() {
            true => Pass::Apart,
            false => self.handler.gate.admit(message.receive_count),
        };
        let passes: Vec<_> = planned.iter().map(admit).collect();
        for (((job, message), place), pass) in planned.into_iter().zip(places).zip(passes) {
            // None: its job runs already, and has been given the new receipt handle.
            let Some(lease) = self.keeper.hold(&message) else { continue };
            self.handler.metrics.received(message.sent_at);
            let handler = Arc::clone(&self.handler);
            jobs.spawn(async move {
                handle(&handler, message, job, lease, pass).await;
                drop(place);
            });
        }
    }

    /// After a failed receive: longer each time, with jitter, up to 30 s.
    async fn pause(&mut self, error: &ReceiveError) {
        let pause = match error {
            ReceiveError::OverLimit => OVER_LIMIT_PAUSE,
            ReceiveError::NoAnswer(_) | ReceiveError::Other(_) => {
                let base = Duration::from_secs(1 << self.failures.min(5)).min(MAX_PAUSE);
                self.failures += 1;
                (base + (base / 2).mul_f64(fastrand::f64())).min(MAX_PAUSE)
            }
        };
        error!("{error}; trying again in {:.1} s", pause.as_secs_f64());
        let answered = !matches!(error, ReceiveError::NoAnswer(_));
        self.health.troubled(error.to_string(), answered);
        let end = tokio::time::Instant::now() + pause;
        loop {
            tokio::select! {
                () = self.shutdown.reached(Phase::Draining) => return,
                () = tokio::time::sleep_until(end) => return,
                () = tokio::time::sleep(Duration::from_secs(1)), if answered => self.health.busy(),
            }
        }
    }

    /// Lets running jobs finish within the budget, then hands back what is left.
    async fn drain(&self, jobs: &mut JoinSet<()>) {
        self.shutdown.advance(Phase::Draining);
        self.keeper.leave();
        self.health.leaving();
        // From the signal, not from here: a parked receive may have been awaited in between.
        let started = self.shutdown.asked_at();
        if !jobs.is_empty() {
            info!("draining: {} in work, {} s at most", jobs.len(), self.drain_budget.as_secs());
        }
        let finished = async {
            while let Some(ended) = jobs.join_next().await {
                if let Err(panicked) = check(ended) {
                    error!("{panicked}");
                }
            }
        };
        tokio::select! {
            () = finished => {}
            () = tokio::time::sleep_until((started + self.drain_budget).into()) => {
                warn!("the drain budget of {} s is over: handing back what still runs", self.drain_budget.as_secs());
            }
            () = self.shutdown.reached(Phase::Leaving) => {}
        }
        // Aborted jobs drop their leases, and a lease dropped while leaving is a release.
        jobs.shutdown().await;
        let held = self.keeper.drained(Instant::now() + RELEASE_BUDGET).await;
        if held > 0 {
            warn!("{held} messages could not be handed back; they show when their visibility timeout ends");
        }
        self.shutdown.advance(Phase::Leaving);
        self.handler.metrics.drained(started.elapsed());
        info!("drained in {} ms", started.elapsed().as_millis());
    }
}

fn check(ended: Result<(), JoinError>) -> Result<(), Broken> {
    match ended {
        Err(e) if e.is_panic() => Err(Broken::Panicked(e.to_string())),
        _ => Ok(()),
    }
}
