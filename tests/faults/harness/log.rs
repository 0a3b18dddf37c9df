//! Everything that went over the wire, in order, with monotonic times.

use super::proxy::call::{Call, Operation, short};
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A message in the answer to a receive.
#[derive(Debug, Clone)]
pub struct Received {
    pub id: String,
    pub receipt: String,
    pub body: String,
    pub receive_count: u64,
}

/// One request, and what became of it.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub number: usize,
    /// Which worker asked, and which of its lives (it is started and killed many times).
    pub worker: String,
    pub life: u64,
    /// Since the scenario began.
    pub at: Duration,
    pub ended: Option<Duration>,
    pub call: Call,
    pub fault: Option<String>,
    /// What the server answered; None: it was not asked, or has not answered.
    pub status: Option<u16>,
    /// When the server had answered.
    pub effect_at: Option<Duration>,
    /// What the client was told.
    pub told: Option<u16>,
    /// The code of an error of S3, where its body says one.
    pub code: Option<String>,
    /// The whole reply was handed to the client.
    pub reached: bool,
    /// Bytes of its body, as far as they were taken.
    pub sent: u64,
    pub messages: Vec<Received>,
    /// Ids of the entries of a batch that the server has done.
    pub done: Vec<String>,
    /// Ids of the entries whose receipt handle was not valid any more.
    pub lost: Vec<String>,
}

impl Exchange {
    pub fn took_effect(&self) -> bool {
        self.status.is_some_and(|s| (200..300).contains(&s))
    }

    /// An error that belongs to the day's work: nothing is there yet, it has gone, somebody was quicker.
    fn is_ordinary(&self) -> bool {
        match self.told {
            Some(404) => matches!(self.code.as_deref(), None | Some("NoSuchKey" | "NoSuchVersion")),
            Some(status) => matches!(status, 409 | 412),
            None => false,
        }
    }

    /// What a worker must not answer with the next call at once.
    pub fn is_trouble(&self) -> bool {
        let refused = self.told.is_some_and(|status| status >= 400);
        refused && (self.fault.is_some() || !self.is_ordinary()) || (self.fault.is_some() && !self.reached)
    }

    /// Took effect, and the client knows.
    pub fn confirmed(&self) -> bool {
        self.took_effect() && self.reached && self.told == self.status
    }

    fn line(&self) -> String {
        let ended = self.ended.map_or("…".to_owned(), |e| format!("{:.3}", e.as_secs_f64()));
        let number = |n: Option<u16>| n.map_or("-".to_owned(), |n| n.to_string());
        let messages: Vec<String> = self
            .messages
            .iter()
            .map(|m| format!("{}x{}:{}", short(&m.receipt), m.receive_count, m.id))
            .collect();
        format!(
            "{:>9.3} – {ended} {}.{} {} → server {}, client {}{}{} {}",
            self.at.as_secs_f64(),
            self.worker,
            self.life,
            self.call.summary(),
            number(self.status),
            number(self.told),
            if self.reached { "" } else { " (not reached)" },
            self.fault.as_ref().map_or(String::new(), |f| format!(" [{f}]")),
            messages.join(" ")
        )
    }
}

/// Shared by all proxies of a scenario.
#[derive(Clone)]
pub struct Log {
    began: Instant,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    exchanges: Vec<Exchange>,
    /// What the script did: signals, restarts.
    events: Vec<(Duration, String)>,
    /// Which worker stood still, since when, and until when if it goes on.
    still: Vec<(String, Duration, Option<Duration>)>,
}

impl Default for Log {
    fn default() -> Self {
        Self { began: Instant::now(), inner: Arc::default() }
    }
}

impl Log {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The moment that a time in the log stands for.
    pub fn instant(&self, at: Duration) -> Instant {
        self.began + at
    }

    pub fn event(&self, what: impl Into<String>) {
        let now = self.now();
        self.inner().events.push((now, what.into()));
    }

    /// A worker stands still from now on, or goes on.
    pub fn stands(&self, worker: &str, still: bool) {
        let now = self.now();
        let mut inner = self.inner();
        let open = inner.still.iter_mut().find(|(name, _, until)| name == worker && until.is_none());
        match (open, still) {
            (Some((_, _, until)), false) => *until = Some(now),
            (None, true) => inner.still.push((worker.to_owned(), now, None)),
            _ => {}
        }
    }

    /// Which worker stood still, and from when to when.
    pub fn still(&self) -> Vec<(String, Duration, Duration)> {
        let inner = self.inner();
        inner.still.iter().map(|(w, from, to)| (w.clone(), *from, to.unwrap_or(Duration::MAX))).collect()
    }

    pub fn begin(&self, worker: &str, life: u64, call: Call) -> usize {
        let at = self.now();
        let mut inner = self.inner();
        let number = inner.exchanges.len();
        inner.exchanges.push(Exchange {
            number,
            worker: worker.to_owned(),
            life,
            at,
            ended: None,
            call,
            fault: None,
            status: None,
            effect_at: None,
            told: None,
            code: None,
            reached: false,
            sent: 0,
            messages: Vec::new(),
            done: Vec::new(),
            lost: Vec::new(),
        });
        number
    }

    pub fn change(&self, number: usize, change: impl FnOnce(&mut Exchange)) {
        change(&mut self.inner().exchanges[number]);
    }

    /// The server has answered.
    pub fn effect(&self, number: usize, status: u16, body: &[u8]) {
        let now = self.now();
        let mut inner = self.inner();
        let exchange = &mut inner.exchanges[number];
        exchange.status = Some(status);
        exchange.effect_at = Some(now);
        match exchange.call.operation {
            Operation::Receive => exchange.messages = messages(body),
            Operation::Delete | Operation::ChangeVisibility if exchange.took_effect() => {
                exchange.done = done(&exchange.call, body);
                exchange.lost = lost(body);
            }
            _ => {}
        }
    }

    /// Every exchange so far.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.inner().exchanges.clone()
    }

    pub fn count(&self, filter: impl Fn(&Exchange) -> bool) -> usize {
        self.inner().exchanges.iter().filter(|e| filter(e)).count()
    }

    pub fn find(&self, filter: impl Fn(&Exchange) -> bool) -> Option<Exchange> {
        self.inner().exchanges.iter().find(|e| filter(e)).cloned()
    }

    /// Everything about keys and messages whose text contains this, and what the script did.
    pub fn story(&self, about: &str) -> String {
        let inner = self.inner();
        let mut receipts: Vec<&str> = Vec::new();
        let messages = || inner.exchanges.iter().flat_map(|e| &e.messages);
        for message in messages().filter(|m| m.body.contains(about)) {
            receipts.push(&message.receipt);
        }
        let concerns = |e: &&Exchange| {
            e.call.key.contains(about)
                || e.messages.iter().any(|m| m.body.contains(about))
                || e.call.entries.iter().any(|entry| receipts.contains(&entry.receipt.as_str()))
                || e.call.json["MessageBody"].as_str().is_some_and(|body| body.contains(about))
        };
        let mut lines: Vec<(Duration, String)> =
            inner.exchanges.iter().filter(concerns).map(|e| (e.at, e.line())).collect();
        lines.extend(
            inner.events.iter().map(|(at, what)| (*at, format!("{:>9.3}   {what}", at.as_secs_f64()))),
        );
        lines.sort_by_key(|(at, _)| *at);
        lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n")
    }

    /// The last exchanges of any kind.
    pub fn tail(&self, count: usize) -> String {
        let inner = self.inner();
        let from = inner.exchanges.len().saturating_sub(count);
        inner.exchanges[from..].iter().map(Exchange::line).collect::<Vec<_>>().join("\n")
    }
}

fn messages(body: &[u8]) -> Vec<Received> {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let read = |m: &Value| Received {
        id: text(&m["MessageId"]),
        receipt: text(&m["ReceiptHandle"]),
        body: text(&m["Body"]),
        receive_count: m["Attributes"]["ApproximateReceiveCount"]
            .as_str()
            .and_then(|n| n.parse().ok())
            .unwrap_or(1),
    };
    json["Messages"].as_array().map(|list| list.iter().map(read).collect()).unwrap_or_default()
}

fn done(call: &Call, body: &[u8]) -> Vec<String> {
    if !call.json["Entries"].is_array() {
        return call.entries.iter().map(|e| e.id.clone()).collect();
    }
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let list = json["Successful"].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(|e| e["Id"].as_str().map(str::to_owned)).collect()
}

fn lost(body: &[u8]) -> Vec<String> {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let list = json["Failed"].as_array().cloned().unwrap_or_default();
    let blamed = list.iter().filter(|e| e["SenderFault"] == true);
    blamed.filter_map(|e| e["Id"].as_str().map(str::to_owned)).collect()
}
