//! A run: uploads by the minute, a fleet that scales by the template, and what must hold all along.
//!
//! A simulated minute is a second; a worker's second is a twelfth (a stop timeout of 120 s becomes 10 s), as the
//! worker itself takes no less than 8 s.

use super::fleet::{Fleet, Image};
use super::rules::{Rules, Sample};
use crate::common::pictures::{jpeg, picture};
use crate::common::stage::Stage;
use crate::template::world::IRELAND;
use crate::template::{Stack, template};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(1);
/// Worker's seconds in a real one.
const SCALE: u64 = 12;

pub struct Run {
    pub stage: Stage,
    pub fleet: Fleet,
    pub history: Vec<Sample>,
    /// What should not have been.
    pub wrong: Vec<String>,
    pub rules: Rules,
    pub desired: u64,
    uploads: usize,
    picture: Vec<u8>,
    /// A fixed number of tasks, whatever the rules say.
    pub pinned: Option<u64>,
}

impl Run {
    pub async fn new() -> Self {
        Self::with((200, 150), None, &[]).await
    }

    /// `grace`: instead of the template's stop timeout.
    pub async fn with(size: (u32, u32), grace: Option<Duration>, settings: &[(&'static str, &str)]) -> Self {
        let given = [("Image", "longshore"), ("MaxTasks", "4"), ("BacklogPerTask", "25")];
        let stack = Stack::resolve(&template(), "scaling", IRELAND, &given).unwrap();
        let rules = Rules::read(&stack);
        let stop = (rules.stop_timeout / SCALE).max(8);
        let mut all = vec![
            ("LONGSHORE_STOP_TIMEOUT", format!("{stop}s")),
            ("LONGSHORE_VISIBILITY_TIMEOUT", "6s".to_owned()),
            ("LONGSHORE_CONCURRENCY", "2".to_owned()),
            ("LONGSHORE_RENDER_THREADS", "1".to_owned()),
        ];
        all.extend(settings.iter().map(|(n, v)| (*n, (*v).to_owned())));
        Self {
            stage: Stage::new().await,
            fleet: Fleet::new(grace.unwrap_or(Duration::from_secs(stop)), all),
            history: Vec::new(),
            wrong: Vec::new(),
            desired: rules.min,
            rules,
            uploads: 0,
            picture: jpeg(&picture(size.0, size.1)),
            pinned: None,
        }
    }

    pub async fn upload(&mut self, count: usize) {
        for _ in 0..count {
            let key = format!("p{}.jpg", self.uploads);
            self.uploads += 1;
            let etag = self.stage.upload(&key, self.picture.clone()).await;
            self.stage.send(self.stage.message(&[self.stage.record(&key, &etag, "01")])).await;
        }
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
        if hidden > 0 && self.fleet.all_gone() && self.fleet.crashes == 0 {
            self.wrong.push(format!("minute {minute}: {hidden} messages are hidden and no task is there"));
        }
        if !(self.rules.min..=self.rules.max).contains(&self.desired) {
            self.wrong.push(format!("minute {minute}: {} tasks are wanted", self.desired));
        }
        self.desired = self.pinned.unwrap_or_else(|| self.rules.decide(&self.history, self.desired));
        tokio::time::sleep_until(ends).await;
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
            if idle && self.fleet.running() == self.rules.min && self.fleet.all_gone() {
                return;
            }
        }
        let last = self.history.last();
        self.wrong.push(format!("not idle after {limit} minutes: {last:?}"));
    }

    /// Everything that must be true of a run that is over. Gives what is not.
    pub async fn verdict(&mut self) -> Vec<String> {
        let mut wrong = std::mem::take(&mut self.wrong);
        for end in self.fleet.ends.iter().filter(|e| *e != "exit status: 0") {
            wrong.push(format!("a task that was told to stop ended with {end}"));
        }
        let (dead, _) = self.stage.depth(&self.stage.dlq).await;
        let mut outputs = 0;
        for index in 0..self.uploads {
            let mut made = 0;
            for name in ["resized", "thumbs"] {
                let key = format!("{name}/p{index}.jpg");
                let Some(stored) = self.stage.get(&self.stage.output, &key).await else { continue };
                made += 1;
                if image::load_from_memory(&stored.bytes).is_err() {
                    wrong.push(format!("{key} is half a picture"));
                }
            }
            outputs += usize::from(made == 2);
            if made == 1 {
                wrong.push(format!("p{index} has one output"));
            }
        }
        let done = outputs as u64 + dead;
        if done != self.uploads as u64 {
            wrong.push(format!("{} uploads, {outputs} done, {dead} dead letters", self.uploads));
        }
        wrong
    }

    /// Seen at any time.
    pub fn most(&self, of: fn(&Sample) -> u64) -> u64 {
        self.history.iter().map(of).max().unwrap_or(0)
    }

    pub fn deploy(&mut self, image: Image) {
        self.fleet.image = image;
    }
}
