//! A run: uploads by the minute, a fleet that scales by the template, and what must hold all along.
//!
//! A simulated minute is a second; a worker's second is a twelfth (a stop timeout of 120 s becomes 10 s), as the
//! worker itself takes no less than 8 s.

use super::fleet::{Fleet, Image, START, Service};
use super::rules::{Rules, Sample};
use crate::common::pictures::{jpeg, picture};
use crate::common::stage::Stage;
use crate::template::world::IRELAND;
use crate::template::{Stack, template, text};
use longshore::render::spec;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(1);
/// Worker's seconds in a real one.
const SCALE: u32 = 12;
/// The worker takes no less.
const LEAST_STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// What a run has of its own.
pub struct Plan<'a> {
    /// Of the pictures.
    pub size: (u32, u32),
    /// Parameters of the template.
    pub given: &'a [(&'a str, &'a str)],
    /// Told to the worker in spite of the template.
    pub settings: &'a [(&'a str, &'a str)],
    /// Real time between SIGTERM and SIGKILL, in spite of the template.
    pub grace: Option<Duration>,
}

pub const USUAL: Plan = Plan { size: (200, 150), given: &[], settings: &[], grace: None };

pub struct Run {
    pub stage: Stage,
    pub stack: Stack,
    pub fleet: Fleet,
    pub history: Vec<Sample>,
    /// What should not have been.
    pub wrong: Vec<String>,
    pub rules: Rules,
    pub desired: u64,
    /// Keys, by number.
    pub good: Vec<String>,
    broken: Vec<String>,
    /// Names of the renditions.
    renditions: Vec<String>,
    picture: Vec<u8>,
    /// A fixed number of tasks, whatever the rules say.
    pub pinned: Option<u64>,
    /// When the floor last moved.
    floor_since: usize,
}

impl Run {
    pub async fn new() -> Self {
        Self::with(USUAL).await
    }

    pub async fn with(plan: Plan<'_>) -> Self {
        let mut given = vec![("Image", "longshore"), ("MaxTasks", "4"), ("BacklogPerTask", "25")];
        given.extend(plan.given);
        let stack = Stack::resolve(&template(), "scaling", IRELAND, &given).unwrap();
        let whole = |value: &Value| text(value).unwrap().parse().unwrap();
        let stop = Duration::from_secs(whole(&stack.container()["StopTimeout"]));
        let deployment = &stack.properties("Service")["DeploymentConfiguration"];
        let service = Service {
            grace: plan.grace.unwrap_or((stop / SCALE).max(LEAST_STOP_TIMEOUT)),
            healthy_percent: whole(&deployment["MinimumHealthyPercent"]),
            maximum_percent: whole(&deployment["MaximumPercent"]),
            rolls_back: ["Enable", "Rollback"]
                .iter()
                .all(|on| deployment["DeploymentCircuitBreaker"][*on] == true),
        };
        let redrive = &stack.properties("Queue")["RedrivePolicy"];
        let receives = u32::try_from(whole(&redrive["maxReceiveCount"])).unwrap();

        let mut settings = stack.environment();
        for (name, value) in &mut settings {
            match name.as_str() {
                "LONGSHORE_STOP_TIMEOUT" => *value = scaled(value, LEAST_STOP_TIMEOUT),
                "LONGSHORE_VISIBILITY_TIMEOUT" => *value = scaled(value, Duration::ZERO),
                _ => {}
            }
        }
        let renditions = settings.iter().find(|(n, _)| n == "LONGSHORE_RENDITIONS").unwrap();
        let renditions = spec::parse(&renditions.1).unwrap().iter().map(|s| s.name.clone()).collect();
        let own = [("LONGSHORE_CONCURRENCY", "2"), ("LONGSHORE_RENDER_THREADS", "1")];
        settings.extend(own.iter().chain(plan.settings).map(|(n, v)| ((*n).into(), (*v).into())));
        let rules = Rules::read(&stack);
        Self {
            stage: Stage::with_receives(receives).await,
            stack,
            fleet: Fleet::new(service, settings),
            history: Vec::new(),
            wrong: Vec::new(),
            desired: rules.min,
            rules,
            good: Vec::new(),
            broken: Vec::new(),
            renditions,
            picture: jpeg(&picture(plan.size.0, plan.size.1)),
            pinned: None,
            floor_since: 0,
        }
    }

    pub async fn upload(&mut self, count: usize) {
        for _ in 0..count {
            let key = format!("p{}.jpg", self.good.len());
            self.send(&key, self.picture.clone()).await;
            self.good.push(key);
        }
    }

    /// What never becomes a picture, for the dead-letter queue.
    pub async fn upload_broken(&mut self) {
        let key = format!("broken{}.jpg", self.broken.len());
        self.send(&key, b"no picture".to_vec()).await;
        self.broken.push(key);
    }

    async fn send(&self, key: &str, bytes: Vec<u8>) {
        let etag = self.stage.upload(key, bytes).await;
        self.stage.send(self.stage.message(&[self.stage.record(key, &etag, "01")])).await;
    }

    /// One simulated minute.
    pub async fn minute(&mut self) {
        let ends = tokio::time::Instant::now() + MINUTE;
        let minute = self.history.len();
        self.fleet.keep(&self.stage, self.desired, minute).await;
        let (visible, hidden) = self.stage.depth(&self.stage.queue).await;
        let sample = Sample { visible, hidden, running: self.fleet.running(), desired: self.desired };
        self.history.push(sample);
        // Read before the rest, and nobody is there to have taken anything since.
        if hidden > 0 && self.fleet.all_gone() && self.fleet.ended(None) == 0 {
            self.wrong.push(format!("minute {minute}: {hidden} messages are hidden and no task is there"));
        }
        if !(self.rules.min..=self.rules.max).contains(&self.desired) {
            self.wrong.push(format!("minute {minute}: {} tasks are wanted", self.desired));
        }
        self.check_running(minute, sample.running);
        self.desired = self.pinned.unwrap_or_else(|| self.rules.decide(&self.history, self.desired));
        tokio::time::sleep_until(ends).await;
    }

    /// Within the template's bounds at every moment: more only in a deployment, fewer only while a task starts.
    fn check_running(&mut self, minute: usize, running: u64) {
        let (most, least) = match self.fleet.is_deploying() {
            true => (self.fleet.most(self.rules.max), self.fleet.least(self.rules.min)),
            false => (self.rules.max, self.rules.min),
        };
        let starting = minute <= self.fleet.lost.max(self.floor_since) + START + 1;
        if running > most || running < least && !starting {
            self.wrong.push(format!("minute {minute}: {running} tasks run, not {least} to {most}"));
        }
    }

    /// One of the template's schedules comes due.
    pub fn schedule(&mut self, name: &str) {
        self.rules.register(self.stack.properties(name));
        // A floor that is raised takes the service with it, alarms or not.
        self.desired = self.desired.max(self.rules.min);
        self.floor_since = self.history.len();
    }

    pub fn interrupt(&mut self) {
        self.fleet.interrupt(self.history.len());
    }

    /// No task is wanted, from the beginning of the next minute.
    pub fn stop_all(&mut self) {
        (self.pinned, self.desired) = (Some(0), 0);
    }

    pub async fn minutes(&mut self, count: usize) {
        for _ in 0..count {
            self.minute().await;
        }
    }

    /// Uploads as many as it takes to keep this many waiting for some minutes: the same on a fast machine
    /// and on a slow one.
    pub async fn burst(&mut self, waiting: u64, minutes: usize) {
        for _ in 0..minutes {
            let (visible, _) = self.stage.depth(&self.stage.queue).await;
            self.upload(usize::try_from(waiting.saturating_sub(visible)).unwrap()).await;
            self.minute().await;
        }
    }

    /// Goes on until the queue is empty and everybody went home; that must come before the limit.
    pub async fn until_idle(&mut self, limit: usize) {
        for _ in 0..limit {
            self.minute().await;
            let last = self.history[self.history.len() - 1];
            let idle = last.visible + last.hidden == 0 && last.desired == self.rules.min;
            if idle && self.fleet.running() == self.rules.min && self.fleet.is_settled() {
                return;
            }
        }
        let last = self.history.last();
        self.wrong.push(format!("not idle after {limit} minutes: {last:?}"));
    }

    /// Everything that must be true of a run that is over. Gives what is not.
    pub async fn verdict(&mut self) -> Vec<String> {
        self.fleet.close(self.history.len()).await;
        let mut wrong = std::mem::take(&mut self.wrong);
        for end in &self.fleet.ends {
            let expected = match (end.why, end.image) {
                (Some(_), _) => "exit status: 0",
                // As for every wrong configuration.
                (None, Image::Crashes) => "exit status: 2",
                (None, _) => "no end by itself",
            };
            if end.status != expected {
                wrong.push(format!("a task ended with {}, not {expected}: {end:?}", end.status));
            }
        }
        let (visible, hidden) = self.stage.depth(&self.stage.queue).await;
        if visible + hidden > 0 {
            wrong.push(format!("{visible} messages wait and {hidden} are hidden, with no task there"));
        }
        self.outputs(&mut wrong).await;
        self.letters(&mut wrong).await;
        wrong
    }

    /// Two for each picture, whole, and nothing else.
    async fn outputs(&self, wrong: &mut Vec<String>) {
        let wanted: BTreeSet<String> = self
            .good
            .iter()
            .flat_map(|key| self.renditions.iter().map(move |r| format!("{r}/{key}")))
            .collect();
        let list = self.stage.world.s3.list_objects_v2().bucket(&self.stage.output);
        let pages = list.into_paginator().send().try_collect().await.unwrap();
        let objects = pages.iter().flat_map(|page| page.contents());
        let found: BTreeSet<String> = objects.filter_map(|o| o.key.clone()).collect();
        wrong.extend(wanted.difference(&found).map(|key| format!("{key} was never made")));
        wrong.extend(found.difference(&wanted).map(|key| format!("nobody asked for {key}")));
        for key in &found {
            let stored = self.stage.get(&self.stage.output, key).await;
            if stored.is_none_or(|s| image::load_from_memory(&s.bytes).is_err()) {
                wrong.push(format!("{key} is half a picture"));
            }
        }
    }

    /// One for each upload that is no picture, and for no other.
    async fn letters(&self, wrong: &mut Vec<String>) {
        let mut left: BTreeMap<String, i32> = self.broken.iter().map(|key| (key.clone(), 1)).collect();
        loop {
            let receive = self.stage.world.sqs.receive_message().queue_url(&self.stage.dlq);
            let answer = receive.max_number_of_messages(10).visibility_timeout(600).send().await.unwrap();
            let Some(messages) = answer.messages.filter(|m| !m.is_empty()) else { break };
            for message in messages {
                let body: Value =
                    serde_json::from_str(message.body().unwrap_or_default()).unwrap_or_default();
                let key = body["Records"][0]["s3"]["object"]["key"].as_str().unwrap_or("what cannot be read");
                *left.entry(key.to_owned()).or_default() -= 1;
            }
        }
        for (key, count) in left.iter().filter(|(_, count)| **count != 0) {
            wrong.push(format!("{key} has {count} dead letters too few"));
        }
    }

    /// Pictures that more than one job was done for.
    pub fn made_twice(&self) -> usize {
        self.fleet.made.values().filter(|times| **times > 1).count()
    }

    /// Seen at any time.
    pub fn most(&self, of: fn(&Sample) -> u64) -> u64 {
        self.history.iter().map(of).max().unwrap_or(0)
    }

    pub fn deploy(&mut self, image: Image) {
        self.fleet.image = image;
    }
}

/// A time for the worker, as the template says it, in real time.
fn scaled(value: &str, least: Duration) -> String {
    let seconds: u64 = value.strip_suffix('s').unwrap().parse().unwrap();
    format!("{}ms", (Duration::from_secs(seconds) / SCALE).max(least).as_millis())
}
