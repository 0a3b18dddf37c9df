//! The service: keeps as many real worker processes as are wanted, the way ECS does.

use crate::common::LIMIT;
use crate::common::process::{Process, longshore};
use crate::common::stage::Stage;
use crate::ecs::Agent;
use longshore::local::s3;
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// What a task runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    Good,
    /// The next version, as good as the first.
    AlsoGood,
    /// Ends as soon as it begins.
    Crashes,
    /// As PID 1 without a handler: SIGTERM is ignored.
    IgnoresSigterm,
    /// Ends at once on SIGTERM, whatever is in work.
    DropsEverything,
}

/// Why a task was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    ScaleIn,
    Deployment,
    Spot,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Running,
    /// SIGKILL comes then.
    Stopping(Why, Instant),
}

/// How a task ended.
#[derive(Debug)]
pub struct End {
    pub image: Image,
    /// None: nobody told it to.
    pub why: Option<Why>,
    pub status: String,
}

/// How the service is run, by the template.
#[derive(Debug)]
pub struct Service {
    /// Real time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// Of the tasks that are wanted: how many must run during a deployment, and how many may.
    pub healthy_percent: u64,
    pub maximum_percent: u64,
    /// Whether a deployment whose tasks end by themselves is taken back.
    pub rolls_back: bool,
}

/// ECS takes a deployment back after as many failures as half of its tasks, and no fewer than these.
const FAILURES: usize = 3;

struct Task {
    process: Process,
    image: Image,
    state: State,
    /// The minute in which it began; its health is seen in the next.
    since: usize,
    /// Takes requests for protection, if tasks may ask for it.
    agent: Option<Agent>,
}

impl Task {
    /// As ECS sees it: asked for last, and granted.
    fn is_protected(&self) -> bool {
        let asked = self.agent.as_ref().and_then(|agent| agent.asked().pop());
        asked.is_some_and(|asked| asked.enabled)
    }
}

/// Simulated minutes from the decision to a running task.
pub const START: usize = 1;

pub struct Fleet {
    tasks: Vec<Task>,
    /// The minutes in which tasks that were asked for will run.
    starting: Vec<usize>,
    pub image: Image,
    /// What the last deployment that came to its end runs, and how often tasks of the present one failed.
    steady: Image,
    failures: usize,
    pub rolled_back: usize,
    service: Service,
    settings: Vec<(String, String)>,
    /// Whether tasks find an endpoint for scale-in protection.
    pub offers_protection: bool,
    /// How often scale-in or a deployment left a task alone because of it.
    pub spared: usize,
    pub ends: Vec<End>,
    /// When a task was last lost that the service wanted to keep.
    pub lost: usize,
    /// How often the renditions of each key were made, by the log.
    pub made: BTreeMap<String, usize>,
}

impl Fleet {
    pub fn new(service: Service, settings: Vec<(String, String)>) -> Self {
        Self {
            tasks: Vec::new(),
            starting: Vec::new(),
            image: Image::Good,
            steady: Image::Good,
            failures: 0,
            rolled_back: 0,
            service,
            settings,
            offers_protection: false,
            spared: 0,
            ends: Vec::new(),
            lost: 0,
            made: BTreeMap::new(),
        }
    }

    pub fn running(&self) -> u64 {
        self.tasks.iter().filter(|t| t.state == State::Running).count() as u64
    }

    pub fn all_gone(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Nothing is on its way out.
    pub fn is_settled(&self) -> bool {
        self.tasks.iter().all(|t| t.state == State::Running)
    }

    pub fn is_deploying(&self) -> bool {
        self.tasks.iter().any(|t| t.image != self.image)
    }

    /// How many tasks may run during a deployment, and how many must.
    pub fn most(&self, wanted: u64) -> u64 {
        wanted * self.service.maximum_percent / 100
    }

    pub fn least(&self, wanted: u64) -> u64 {
        (wanted * self.service.healthy_percent).div_ceil(100)
    }

    pub fn ended(&self, why: Option<Why>) -> usize {
        self.ends.iter().filter(|end| end.why == why).count()
    }

    /// One minute of the service scheduler.
    pub async fn keep(&mut self, stage: &Stage, desired: u64, minute: usize) {
        self.reap(minute);
        let ready = self.starting.iter().filter(|m| **m <= minute).count();
        self.starting.retain(|m| *m > minute);
        for _ in 0..ready {
            self.start(stage, minute).await;
        }
        let count = |n: u64| usize::try_from(n).unwrap();
        self.judge(count(desired), minute);
        let new = self.of(|t| t.image == self.image);
        let old = self.of(|t| t.image != self.image);
        let wanted = count(desired);
        self.starting.truncate(wanted.saturating_sub(new.len()));
        // A deployment starts as many as may run beside the old ones, and stops as many old ones as need not.
        let room = count(self.most(desired)).saturating_sub(new.len() + old.len() + self.starting.len());
        let missing = wanted.saturating_sub(new.len() + self.starting.len()).min(room);
        self.starting.extend(std::iter::repeat_n(minute + START, missing));
        let spare = self.of(|t| t.since < minute).len().saturating_sub(count(self.least(desired)));
        old.into_iter().take(spare).for_each(|i| self.stop_unless_protected(i, Why::Deployment));
        // The newest first, on purpose: it is the one that has just begun.
        let surplus = new.len().saturating_sub(wanted);
        new.into_iter().rev().take(surplus).for_each(|i| self.stop_unless_protected(i, Why::ScaleIn));
    }

    /// A deployment ends when all that is wanted of it runs, or with the version before it.
    fn judge(&mut self, desired: usize, minute: usize) {
        if self.image == self.steady {
            return;
        }
        // One that began in this minute may have ended already.
        let healthy = self.of(|t| t.image == self.image && t.since < minute).len();
        if healthy >= desired {
            (self.steady, self.failures) = (self.image, 0);
        } else if self.service.rolls_back && self.failures >= FAILURES.max(desired.div_ceil(2)) {
            (self.image, self.failures) = (self.steady, 0);
            self.rolled_back += 1;
        }
    }

    /// Stops everything, protected or not, and waits for it.
    pub async fn close(&mut self, minute: usize) {
        self.starting.clear();
        self.of(|_| true).into_iter().for_each(|i| self.stop(i, Why::ScaleIn));
        while !self.all_gone() {
            self.reap(minute);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn of(&self, is: impl Fn(&Task) -> bool) -> Vec<usize> {
        let running = self.tasks.iter().enumerate().filter(|(_, t)| t.state == State::Running && is(t));
        running.map(|(i, _)| i).collect()
    }

    /// Spot takes a task back: the same signal, at a time that nobody chose.
    pub fn interrupt(&mut self, minute: usize) {
        if let Some(&first) = self.of(|_| true).first() {
            self.lost = minute;
            self.stop(first, Why::Spot);
        }
    }

    /// A task ends, and nobody told it to.
    pub fn kill_one(&mut self) {
        let first = self.of(|_| true)[0];
        self.tasks[first].process.kill_group();
        self.tasks[first].process.wait(LIMIT);
    }

    /// Scale-in and deployments ask; Spot does not.
    fn stop_unless_protected(&mut self, index: usize, why: Why) {
        if self.tasks[index].is_protected() {
            self.spared += 1;
        } else {
            self.stop(index, why);
        }
    }

    fn stop(&mut self, index: usize, why: Why) {
        let task = &mut self.tasks[index];
        task.process.signal("TERM");
        task.state = State::Stopping(why, Instant::now() + self.service.grace);
    }

    fn reap(&mut self, minute: usize) {
        for mut task in std::mem::take(&mut self.tasks) {
            let Some(status) = task.process.ended() else {
                if matches!(task.state, State::Stopping(_, killed) if Instant::now() >= killed) {
                    task.process.kill_group();
                }
                self.tasks.push(task);
                continue;
            };
            let why = match task.state {
                State::Stopping(why, _) => Some(why),
                State::Running => None,
            };
            if why.is_none() {
                self.lost = minute;
                self.failures += usize::from(task.image == self.image && self.image != self.steady);
            }
            self.ends.push(End { image: task.image, why, status: status.to_string() });
            for line in task.process.whole_log().lines() {
                let line: Value = serde_json::from_str(line).unwrap_or_default();
                if line["message"].as_str().is_some_and(|m| m.starts_with("stored ")) {
                    *self.made.entry(line["key"].as_str().unwrap().to_owned()).or_default() += 1;
                }
            }
        }
    }

    async fn start(&mut self, stage: &Stage, minute: usize) {
        let binary = env!("CARGO_BIN_EXE_longshore");
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", &script.replace("WORK", &format!("{binary} work"))]);
            command
        };
        let plain = longshore();
        let mut command = match self.image {
            Image::Good | Image::AlsoGood | Image::Crashes => longshore(),
            Image::IgnoresSigterm => shell("trap '' TERM; WORK & wait"),
            Image::DropsEverything => shell("trap 'kill -KILL $!; exit 0' TERM; WORK & wait"),
        };
        if matches!(self.image, Image::Good | Image::AlsoGood | Image::Crashes) {
            command.arg("work");
        }
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        // What the template tells the worker; then what is another here.
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
            .env("AWS_ENDPOINT_URL", &stage.world.endpoint)
            .env("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", s3::SECRET_ACCESS_KEY)
            .env("LONGSHORE_REGION", "us-east-1")
            .env("LONGSHORE_QUEUE_URL", &stage.queue)
            .env("LONGSHORE_DLQ_URL", &stage.dlq)
            .env("LONGSHORE_INPUT_BUCKETS", &stage.input)
            .env("LONGSHORE_OUTPUT_BUCKET", &stage.output)
            .env("LONGSHORE_ADMIN_ADDR", "off")
            .env("LONGSHORE_WAIT_TIME", "1s");
        if self.image == Image::Crashes {
            command.env("LONGSHORE_OUTPUT_BUCKET", "not a bucket");
        }
        let agent = if self.offers_protection { Some(Agent::start().await) } else { None };
        if let Some(agent) = &agent {
            command.env("ECS_AGENT_URI", &agent.uri);
        }
        command.process_group(0);
        let process = Process::start(command);
        self.tasks.push(Task { process, image: self.image, state: State::Running, since: minute, agent });
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for task in &mut self.tasks {
            task.process.kill_group();
        }
    }
}
