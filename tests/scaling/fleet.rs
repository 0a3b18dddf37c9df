//! The service: keeps as many real worker processes as are wanted, the way ECS does.

use crate::common::process::{Process, longshore};
use crate::common::stage::Stage;
use crate::ecs::Agent;
use longshore::local::s3;
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

#[derive(Debug, PartialEq, Eq)]
enum State {
    Running,
    /// SIGKILL comes then.
    Stopping(Instant),
}

struct Task {
    process: Process,
    image: Image,
    state: State,
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
const START: usize = 1;

pub struct Fleet {
    tasks: Vec<Task>,
    /// The minutes in which tasks that were asked for will run.
    starting: Vec<usize>,
    pub image: Image,
    grace: Duration,
    settings: Vec<(&'static str, String)>,
    /// Whether tasks find an endpoint for scale-in protection.
    pub offers_protection: bool,
    /// How often scale-in or a deployment left a task alone because of it.
    pub spared: usize,
    /// How tasks ended that were told to stop.
    pub ends: Vec<String>,
    pub crashes: usize,
}

impl Fleet {
    /// `grace`: real time between SIGTERM and SIGKILL.
    pub fn new(grace: Duration, settings: Vec<(&'static str, String)>) -> Self {
        let (tasks, starting) = (Vec::new(), Vec::new());
        Self {
            tasks,
            starting,
            image: Image::Good,
            grace,
            settings,
            offers_protection: false,
            spared: 0,
            ends: Vec::new(),
            crashes: 0,
        }
    }

    pub fn running(&self) -> u64 {
        self.tasks.iter().filter(|t| t.state == State::Running).count() as u64
    }

    pub fn all_gone(&self) -> bool {
        self.tasks.is_empty()
    }

    /// One minute of the service scheduler.
    pub async fn keep(&mut self, stage: &Stage, desired: u64, minute: usize) {
        self.reap();
        let ready = self.starting.iter().filter(|m| **m <= minute).count();
        self.starting.retain(|m| *m > minute);
        for _ in 0..ready {
            self.start(stage).await;
        }
        let wanted = usize::try_from(desired).unwrap();
        // A deployment: new ones first (200 % are allowed), old ones when as many of the new run.
        let new = self.of(|t| t.image == self.image);
        let missing = wanted.saturating_sub(new.len() + self.starting.len());
        self.starting.extend(std::iter::repeat_n(minute + START, missing));
        if self.starting.len() + new.len() > wanted {
            self.starting.truncate(wanted.saturating_sub(new.len()));
        }
        if new.len() >= wanted {
            self.of(|t| t.image != self.image).into_iter().for_each(|i| self.stop_unless_protected(i));
        }
        // The newest first, on purpose: it is the one that has just begun.
        let surplus = new.len().saturating_sub(wanted);
        new.into_iter().rev().take(surplus).for_each(|i| self.stop_unless_protected(i));
    }

    fn of(&self, is: impl Fn(&Task) -> bool) -> Vec<usize> {
        let running = self.tasks.iter().enumerate().filter(|(_, t)| t.state == State::Running && is(t));
        running.map(|(i, _)| i).collect()
    }

    /// Spot takes a task back: the same signal, at a time that nobody chose.
    pub fn interrupt(&mut self) {
        if let Some(&first) = self.of(|_| true).first() {
            self.stop(first);
        }
    }

    /// Scale-in and deployments ask; Spot does not.
    fn stop_unless_protected(&mut self, index: usize) {
        if self.tasks[index].is_protected() {
            self.spared += 1;
        } else {
            self.stop(index);
        }
    }

    fn stop(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        task.process.signal("TERM");
        task.state = State::Stopping(Instant::now() + self.grace);
    }

    fn reap(&mut self) {
        let (ends, crashes) = (&mut self.ends, &mut self.crashes);
        self.tasks.retain_mut(|task| {
            if let Some(status) = task.process.ended() {
                match task.state {
                    State::Stopping(_) => ends.push(status.to_string()),
                    State::Running => *crashes += 1,
                }
                return false;
            }
            if matches!(task.state, State::Stopping(killed) if Instant::now() >= killed) {
                task.process.kill_group();
            }
            true
        });
    }

    async fn start(&mut self, stage: &Stage) {
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
        command
            .env("AWS_ENDPOINT_URL", &stage.world.endpoint)
            .env("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", s3::SECRET_ACCESS_KEY)
            .env("LONGSHORE_REGION", "us-east-1")
            .env("LONGSHORE_QUEUE_URL", &stage.queue)
            .env("LONGSHORE_DLQ_URL", &stage.dlq)
            .env("LONGSHORE_OUTPUT_BUCKET", &stage.output)
            .env("LONGSHORE_ADMIN_ADDR", "off")
            .env("LONGSHORE_WAIT_TIME", "1s");
        for (name, value) in &self.settings {
            command.env(name, value);
        }
        if self.image == Image::Crashes {
            command.env("LONGSHORE_OUTPUT_BUCKET", "not a bucket");
        }
        let agent = if self.offers_protection { Some(Agent::start().await) } else { None };
        if let Some(agent) = &agent {
            command.env("ECS_AGENT_URI", &agent.uri);
        }
        command.process_group(0);
        let process = Process::start(command);
        self.tasks.push(Task { process, image: self.image, state: State::Running, agent });
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for task in &mut self.tasks {
            task.process.kill_group();
        }
    }
}
