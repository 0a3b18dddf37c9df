//! What the page is told: looked up once a second, whoever many look on.

mod letters;
mod stream;

use super::Page;
use crate::ops::admin::Admin;
use crate::ops::history::{Pace, now};
use crate::ops::{Phase, Shutdown};
use crate::queue::Depth;
use letters::Letters;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio::time::MissedTickBehavior;

/// Cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    admin: Admin,
    page: Page,
    shutdown: Shutdown,
    started: u64,
    samples: Mutex<VecDeque<Sample>>,
    depth: Mutex<Asked>,
    letters: Mutex<Letters>,
    news: broadcast::Sender<News>,
    /// Streams that may still be opened.
    seats: Arc<Semaphore>,
    /// Somebody began to look: told to each of those who ask SQS.
    joined: Notify,
    joined_letters: Notify,
}

/// Name and data of an event.
type News = (&'static str, Arc<str>);

/// One moment of the charts.
#[derive(Debug, Clone, Serialize)]
struct Sample {
    /// Milliseconds since 1970.
    at: u64,
    phase: &'static str,
    trouble: Option<String>,
    /// Why SQS did not say how much waits.
    unasked: Option<String>,
    /// Messages in our hands.
    in_flight: usize,
    /// None: not asked for, or SQS did not say.
    waiting: Option<u64>,
    hidden: Option<u64>,
    /// Pictures a second.
    rate: f64,
    failures: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

/// What SQS last said of the queue.
#[derive(Default)]
struct Asked {
    depth: Option<Depth>,
    trouble: Option<String>,
}

/// Five minutes of seconds.
const SAMPLES: usize = 300;
/// Samples that a rate is told over: a second holds few pictures.
const SMOOTHED: usize = 5;
/// More pages than an operator has; each costs a connection.
const SEATS: usize = 32;
/// Events that a slow page may fall behind before it is told everything anew.
const BACKLOG: usize = 64;
/// Moving pictures are told of so often, at most.
const BEAT: Duration = Duration::from_millis(200);
const BEATS_A_SAMPLE: u32 = 5;
/// SQS takes money for questions, and nobody's eyes are faster.
const ASK_SQS_EVERY: Duration = Duration::from_secs(5);
const ASK_EMBEDDED_EVERY: Duration = Duration::from_secs(1);

impl Feed {
    pub fn new(admin: Admin, page: Page, shutdown: Shutdown) -> Self {
        Self(Arc::new(Inner {
            admin,
            page,
            shutdown,
            started: now(),
            samples: Mutex::default(),
            depth: Mutex::default(),
            letters: Mutex::default(),
            news: broadcast::Sender::new(BACKLOG),
            seats: Arc::new(Semaphore::new(SEATS)),
            joined: Notify::new(),
            joined_letters: Notify::new(),
        }))
    }

    /// Looks, for as long as it is polled.
    pub async fn run(&self) {
        tokio::join!(self.0.sample(), self.0.ask_queue(), self.0.ask_letters());
    }
}

impl Inner {
    #[cfg(feature = "local")]
    fn is_local(&self) -> bool {
        self.page.studio.is_some()
    }

    #[cfg(not(feature = "local"))]
    fn is_local(&self) -> bool {
        false
    }

    fn is_watched(&self) -> bool {
        self.news.receiver_count() > 0
    }

    async fn sample(&self) {
        // Without pictures there is nothing to tell between two samples.
        let beats = if self.is_local() { BEATS_A_SAMPLE } else { 1 };
        let mut clock = tokio::time::interval(BEAT * BEATS_A_SAMPLE / beats);
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut paces = VecDeque::from([(Instant::now(), Pace::default())]);
        let mut told = Told::default();
        for beat in 0_u64.. {
            clock.tick().await;
            if beat % u64::from(beats) == 0 {
                let pace = self.admin.history.pace();
                let (since, before) = paces.front().expect("there is always one");
                let sample = self.look(before, &pace, since.elapsed());
                paces.push_back((Instant::now(), pace));
                if paces.len() > SMOOTHED {
                    paces.pop_front();
                }
                self.publish("sample", || json!(sample));
                let mut samples = lock(&self.samples);
                samples.push_back(sample);
                if samples.len() > SAMPLES {
                    samples.pop_front();
                }
            }
            if self.is_watched() {
                self.tell_changes(&mut told);
            }
        }
    }

    fn look(&self, before: &Pace, pace: &Pace, passed: Duration) -> Sample {
        let a_second = |n: u64| (n as f64 / passed.as_secs_f64().max(1.0) * 10.0).round() / 10.0;
        let ms = |time: Option<Duration>| time.map(|time| (time.as_secs_f64() * 1e4).round() / 10.0);
        let asked = lock(&self.depth);
        let phase = match self.shutdown.phase() {
            Phase::Running => "running",
            Phase::Draining => "draining",
            Phase::Leaving => "leaving",
        };
        Sample {
            at: now(),
            phase,
            trouble: self.admin.health.ready().err(),
            unasked: asked.trouble.clone(),
            in_flight: self.admin.keeper.in_flight(),
            waiting: asked.depth.map(|d| d.waiting),
            hidden: asked.depth.map(|d| d.hidden),
            rate: a_second(pace.done - before.done),
            failures: a_second(pace.failed - before.failed),
            p50_ms: ms(pace.p50),
            p99_ms: ms(pace.p99),
        }
    }

    fn publish(&self, name: &'static str, data: impl FnOnce() -> Value) {
        if self.is_watched() {
            // Whoever looked may have left meanwhile.
            let _ = self.news.send((name, data().to_string().into()));
        }
    }

    /// What changes seldom, when it has.
    fn tell_changes(&self, told: &mut Told) {
        let changes = self.admin.history.changes();
        if told.failures != Some(changes) {
            told.failures = Some(changes);
            self.publish("failures", || json!(self.admin.history.failures()));
        }
        let letters = self.letters();
        if told.letters != letters {
            told.letters.clone_from(&letters);
            self.publish("letters", || letters);
        }
        self.tell_pictures(told);
    }

    #[cfg(not(feature = "local"))]
    fn tell_pictures(&self, _: &mut Told) {}

    #[cfg(feature = "local")]
    fn tell_pictures(&self, told: &mut Told) {
        let Some(studio) = &self.page.studio else { return };
        let changed = self.admin.history.pictures(|p| p.since(told.pictures));
        if let Some((changed, newest)) = changed
            && !changed.is_empty()
        {
            told.pictures = newest;
            self.publish("pictures", || json!(changed));
        }
        let recipe = studio.recipe();
        if told.recipe != recipe {
            told.recipe.clone_from(&recipe);
            self.publish("recipe", || recipe);
        }
    }

    /// Everything, for a page that has just been opened or has fallen behind.
    fn whole(&self) -> Value {
        let whole = json!({
            "about": self.about(),
            "settings": *self.page.settings,
            "samples": *lock(&self.samples),
            "failures": self.admin.history.failures(),
            "letters": self.letters(),
        });
        self.with_studio(whole)
    }

    #[cfg(not(feature = "local"))]
    fn with_studio(&self, whole: Value) -> Value {
        whole
    }

    #[cfg(feature = "local")]
    fn with_studio(&self, mut whole: Value) -> Value {
        if let Some(studio) = &self.page.studio {
            let pictures = self.admin.history.pictures(|p| p.since(0).0);
            whole["studio"] = json!({"recipe": studio.recipe(), "max_bytes": studio.max_bytes(),
                "suffixes": studio.suffixes(), "pictures": pictures});
        }
        whole
    }

    fn about(&self) -> Value {
        json!({
            "mode": if self.is_local() { "local" } else { "work" },
            "queue": self.admin.queue.url,
            "started": self.started,
            "now": now(),
            "pid": std::process::id(),
            "versions": [
                ["longshore", env!("CARGO_PKG_VERSION")],
                ["aws-sdk-sqs", aws_sdk_sqs::meta::PKG_VERSION],
                ["aws-sdk-s3", aws_sdk_s3::meta::PKG_VERSION],
                ["target", format!("{} {}", std::env::consts::ARCH, std::env::consts::OS)],
            ],
        })
    }

    async fn ask_queue(&self) {
        let every = if self.is_local() { ASK_EMBEDDED_EVERY } else { ASK_SQS_EVERY };
        loop {
            if self.is_watched() {
                let asked = match self.admin.queue.depth().await {
                    Ok(depth) => Asked { depth: Some(depth), trouble: None },
                    Err(why) => Asked { depth: None, trouble: Some(why.to_string()) },
                };
                *lock(&self.depth) = asked;
            } else {
                // What was true when somebody looked last is no answer for who looks next.
                *lock(&self.depth) = Asked::default();
            }
            self.pause(every, &self.joined).await;
        }
    }

    /// Until it is time to ask again, or somebody looks.
    async fn pause(&self, every: Duration, joined: &Notify) {
        if tokio::time::timeout(every, joined.notified()).await.is_ok() {
            // Many that join at once do not ask many times.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// What the pages know already.
#[derive(Default)]
struct Told {
    failures: Option<u64>,
    letters: Value,
    #[cfg(feature = "local")]
    pictures: u64,
    #[cfg(feature = "local")]
    recipe: Value,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
