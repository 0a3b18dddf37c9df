//! What the worker counts, as Prometheus text, and as CloudWatch's embedded metric format if asked for.
//!
//! Names are those of OpenTelemetry's messaging conventions where it has one (v1.37, "Semantic conventions for
//! messaging client metrics"), as Prometheus writes them. The counters of messages are read off the keeper's book
//! when asked for, all under one lock, so that
//! `consumed = deleted + dead_lettered + retried + released + ownership_lost + in_flight` holds in
//! every answer.

mod exposition;

use super::emf::Emf;
use super::history::rank;
use crate::error::Barrier;
use crate::job::Outcome;
use crate::queue::Counts;
use exposition::Exposition;
use metrics::{Key, Label, SharedString};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};
use tokio::runtime::Handle;

/// Cheap to clone; every clone counts into the same figures.
#[derive(Clone)]
pub struct Metrics {
    exposition: Arc<Exposition>,
    rendering: Arc<Mutex<()>>,
    /// When the last messages ended, and the time that they took.
    recent: Arc<Mutex<VecDeque<(Instant, Duration)>>>,
    started: Instant,
    /// And what was told of the messages' counters so far.
    emf: Option<Arc<(Emf, Mutex<Counts>)>>,
}

/// OpenTelemetry's `messaging.system` for Amazon SQS.
const SYSTEM: &str = "aws_sqs";
/// Its `messaging.operation.name` for what the worker does with a message.
const PROCESS: &str = "process";
/// Seconds: pictures take tens of milliseconds, large ones seconds.
const TIMES: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
/// Seconds: scripts take a second or hours.
const LONG_TIMES: [f64; 12] =
    [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4.0 * 3600.0, 12.0 * 3600.0];
/// Bytes: thumbnails have thousands, sources millions.
const SIZES: [f64; 8] = [4e3, 16e3, 64e3, 256e3, 1e6, 4e6, 16e6, 64e6];

/// Seconds: messages are in the queue for milliseconds, or for as long as nobody came: 14 days at most, by SQS. And one
/// may be a row that takes hours.
const WAITS: [f64; 16] = [
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    5.0,
    15.0,
    60.0,
    300.0,
    900.0,
    3600.0,
    14_400.0,
    86_400.0,
    1_209_600.0,
];

const CONSUMED: &str = "messaging_client_consumed_messages_total";
const PROCESS_SECONDS: &str = "messaging_process_duration_seconds";
const OPERATION_SECONDS: &str = "messaging_client_operation_duration_seconds";
const RECORDS: &str = "longshore_records_total";
const IN_FLIGHT: &str = "longshore_messages_in_flight";
const TASKS: &str = "longshore_tasks";
const DEAD_LETTERS: &str = "longshore_dead_letters_total";
const STAGE_SECONDS: &str = "longshore_stage_seconds";
const COMMAND_SECONDS: &str = "longshore_command_seconds";
const LEASE_LAG_SECONDS: &str = "longshore_lease_lag_seconds";
const QUEUE_LAG_SECONDS: &str = "longshore_queue_lag_seconds";
const DRAIN_SECONDS: &str = "longshore_drain_seconds";
const SOURCE_BYTES: &str = "longshore_source_bytes";
const RENDITION_BYTES: &str = "longshore_rendition_bytes";
const RECENT_SECONDS: &str = "longshore_recent_duration_seconds";
const RECENT_RATE: &str = "longshore_recent_messages_per_second";

const RECENT_WITHIN: Duration = Duration::from_secs(300);
const RATE_WITHIN: Duration = Duration::from_secs(60);
/// More than these are enough to know the median of.
const MOST_RECENT: usize = 4096;

/// Name, help.
const HISTOGRAMS: [(&str, &str); 8] = [
    (PROCESS_SECONDS, "From the receipt of a message to the decision what becomes of it."),
    (OPERATION_SECONDS, "Calls of SQS, long polls included, by operation."),
    (STAGE_SECONDS, "Time of each stage of a picture, by rendition where each has its own."),
    (COMMAND_SECONDS, "Time of each stage of a row: fetch, run, store."),
    (LEASE_LAG_SECONDS, "How late leases were renewed."),
    (QUEUE_LAG_SECONDS, "From the sending of a message to its receipt here."),
    (SOURCE_BYTES, "Bytes of the sources."),
    (RENDITION_BYTES, "Bytes of the renditions."),
];

const GAUGES: [(&str, &str); 4] = [
    (IN_FLIGHT, "Messages in our hands now."),
    (TASKS, "Tasks of the asynchronous runtime that are alive."),
    (RECENT_SECONDS, "Median and p99 of the time that messages took in the last five minutes."),
    (RECENT_RATE, "Messages that came to an end a second, in the last minute."),
];

const COUNTERS: [(&str, &str); 9] = [
    (CONSUMED, "Messages received, redeliveries while the job runs not counted."),
    ("longshore_messages_deleted_total", "Messages deleted after all their work was done."),
    (
        "longshore_messages_dead_lettered_total",
        "Messages deleted after a copy was stored in the dead-letter queue.",
    ),
    ("longshore_messages_retried_total", "Messages that were made visible again after a back-off."),
    ("longshore_messages_released_total", "Messages handed back at once because the worker left, by reason."),
    ("longshore_messages_ownership_lost_total", "Messages whose receipt handle was not valid any more."),
    ("longshore_messages_redelivered_total", "Messages received again while their job ran."),
    (RECORDS, "Records of messages, by outcome and reason."),
    (DEAD_LETTERS, "Copies stored in the dead-letter queue, by reason."),
];

impl Default for Metrics {
    fn default() -> Self {
        let exposition = Exposition::new(bounds, [&COUNTERS[..], &GAUGES, &HISTOGRAMS].concat());
        // From 0 on, so that the first is an increase.
        for barrier in Barrier::ALL {
            exposition.add(&key(RECORDS, &[("outcome", "blocked"), ("reason", barrier.slug())]), 0);
        }
        Self {
            exposition: Arc::new(exposition),
            rendering: Arc::default(),
            recent: Arc::default(),
            started: Instant::now(),
            emf: None,
        }
    }
}

/// Of the buckets of a histogram.
fn bounds(name: &str) -> &'static [f64] {
    match name {
        COMMAND_SECONDS => &LONG_TIMES,
        PROCESS_SECONDS | QUEUE_LAG_SECONDS => &WAITS,
        SOURCE_BYTES | RENDITION_BYTES => &SIZES,
        _ => &TIMES,
    }
}

type Labels<'a> = &'a [(&'static str, &'a str)];

impl Metrics {
    /// Tells CloudWatch too.
    #[must_use]
    pub fn with_emf(self, emf: Emf) -> Self {
        Self { emf: Some(Arc::new((emf, Mutex::default()))), ..self }
    }

    /// One record has come to its end.
    pub fn record(&self, outcome: &Outcome) {
        let (name, reason) = outcome.names();
        self.count_record(name, reason);
        if let Outcome::Done(made) = outcome
            && !made.outputs.is_empty()
        {
            self.time(STAGE_SECONDS, &[("stage", "download")], made.download);
            self.time(STAGE_SECONDS, &[("stage", "decode")], made.stages.decode);
            self.sample(SOURCE_BYTES, &[], made.bytes_in as f64);
            for output in &made.outputs {
                let rendition = ("rendition", output.name.as_str());
                for (stage, time) in
                    [("resize", output.resize), ("encode", output.encode), ("upload", output.upload)]
                {
                    self.time(STAGE_SECONDS, &[("stage", stage), rendition], time);
                }
                self.sample(RENDITION_BYTES, &[rendition], output.bytes as f64);
            }
        }
    }

    /// A row has come to its end, or an attempt of it.
    pub fn row(&self, outcome: &Outcome) {
        let (name, reason) = outcome.names();
        self.add(RECORDS, &[("kind", "command"), ("outcome", name), ("reason", reason)], 1);
    }

    /// A stage of a row: `fetch`, `run` or `store`.
    pub fn command(&self, stage: &str, time: Duration) {
        self.time(COMMAND_SECONDS, &[("stage", stage)], time);
    }

    /// A whole message was noise.
    pub fn ignored(&self, reason: &'static str) {
        self.count_record("ignored", reason);
    }

    /// A copy is in the dead-letter queue.
    pub fn dead_lettered(&self, reason: &'static str) {
        self.add(DEAD_LETTERS, &[("reason", reason)], 1);
    }

    /// How late a lease was renewed.
    pub fn lease_lag(&self, lag: Duration) {
        self.time(LEASE_LAG_SECONDS, &[], lag);
    }

    /// A message came that was sent at this time, in milliseconds since 1970.
    pub fn received(&self, sent_at: Option<i64>) {
        let sent =
            sent_at.and_then(|ms| u64::try_from(ms).ok()).map(|ms| UNIX_EPOCH + Duration::from_millis(ms));
        if let Some(lag) = sent.and_then(|sent| sent.elapsed().ok()) {
            self.time(QUEUE_LAG_SECONDS, &[], lag);
        }
    }

    /// What becomes of a message is decided. `error`: why it is not done, if it is not.
    pub fn processed(&self, time: Duration, error: &str) {
        let labels =
            [("messaging_system", SYSTEM), ("messaging_operation_name", PROCESS), ("error_type", error)];
        self.time(PROCESS_SECONDS, &labels, time);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == MOST_RECENT {
            recent.pop_front();
        }
        recent.push_back((Instant::now(), time));
    }

    /// A call of SQS has ended, by its name in AWS's API in snake case.
    pub fn operation(&self, name: &str, time: Duration, failed: bool) {
        let error = if failed { "failed" } else { "" };
        let labels =
            [("messaging_system", SYSTEM), ("messaging_operation_name", name), ("error_type", error)];
        self.time(OPERATION_SECONDS, &labels, time);
    }

    /// The worker has let go of everything. Nobody can ask any more: only CloudWatch is told.
    pub fn drained(&self, time: Duration) {
        if let Some(emf) = &self.emf {
            emf.0.sample(DRAIN_SECONDS, &[], time.as_secs_f64());
        }
    }

    fn count_record(&self, outcome: &str, reason: &str) {
        self.add(RECORDS, &[("outcome", outcome), ("reason", reason)], 1);
    }

    fn add(&self, name: &'static str, labels: Labels, more: u64) {
        self.exposition.add(&key(name, labels), more);
        if let Some(emf) = &self.emf {
            emf.0.add(name, labels, more as f64);
        }
    }

    fn time(&self, name: &'static str, labels: Labels, time: Duration) {
        self.sample(name, labels, time.as_secs_f64());
    }

    fn sample(&self, name: &'static str, labels: Labels, value: f64) {
        self.exposition.sample(&key(name, labels), value);
        if let Some(emf) = &self.emf {
            emf.0.sample(name, labels, value);
        }
    }

    /// Tells CloudWatch what was gathered since the last time, if it is to be told at all.
    pub fn publish(&self, snapshot: impl FnOnce() -> (Counts, usize)) {
        let Some(emf) = &self.emf else { return };
        let (emf, told) = &**emf;
        let (counts, in_flight) = snapshot();
        let before = std::mem::replace(&mut *told.lock().unwrap_or_else(PoisonError::into_inner), counts);
        for ((name, labels, now), (_, _, before)) in totals(&counts).into_iter().zip(totals(&before)) {
            emf.add(name, &labels, now.saturating_sub(before) as f64);
        }
        emf.sample(IN_FLIGHT, &[], in_flight as f64);
        if let Some(tasks) = tasks() {
            emf.sample(TASKS, &[], tasks);
        }
        emf.flush();
    }

    /// The Prometheus text format, with the messages' counters as they are in the book.
    pub fn render(&self, snapshot: impl FnOnce() -> (Counts, usize)) -> String {
        // One at a time, or an answer would mix two moments.
        let _one = self.rendering.lock().unwrap_or_else(PoisonError::into_inner);
        let (counts, in_flight) = snapshot();
        for (name, labels, total) in totals(&counts) {
            self.exposition.raise(&key(name, &labels), total);
        }
        self.exposition.set(&key(IN_FLIGHT, &[]), in_flight as f64);
        if let Some(tasks) = tasks() {
            self.exposition.set(&key(TASKS, &[]), tasks);
        }
        self.tell_recent();
        self.exposition.text()
    }

    fn tell_recent(&self) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        while recent.front().is_some_and(|(at, _)| at.elapsed() > RECENT_WITHIN) {
            recent.pop_front();
        }
        let mut times: Vec<Duration> = recent.iter().map(|(_, time)| *time).collect();
        let rate = rate(&recent, self.started.elapsed());
        drop(recent);
        self.exposition.set(&key(RECENT_RATE, &[]), rate);
        times.sort_unstable();
        for (name, q) in [("0.5", 0.5), ("0.99", 0.99)] {
            // Of nothing there is no median.
            let time = rank(&times, q).map_or(f64::NAN, |time| time.as_secs_f64());
            self.exposition.set(&key(RECENT_SECONDS, &[("quantile", name)]), time);
        }
    }
}

/// None outside of a runtime.
fn tasks() -> Option<f64> {
    Some(Handle::try_current().ok()?.metrics().num_alive_tasks() as f64)
}

/// Of what ended within the last minute, or since the worker began, or since the oldest that is remembered.
fn rate(recent: &VecDeque<(Instant, Duration)>, uptime: Duration) -> f64 {
    let within = recent.iter().rev().take_while(|(at, _)| at.elapsed() <= RATE_WITHIN).count();
    let remembered = match recent.front() {
        Some((oldest, _)) if within == MOST_RECENT => oldest.elapsed(),
        _ => RATE_WITHIN,
    };
    within as f64 / remembered.min(uptime).as_secs_f64().max(1.0)
}

/// Name, labels, value.
type Total = (&'static str, [(&'static str, &'static str); 2], u64);

fn totals(counts: &Counts) -> [Total; 8] {
    let [consumed, deleted, dead_lettered, retried, released, lost, redelivered, ..] =
        COUNTERS.map(|(name, _)| name);
    // A label without a value is none.
    let none = [("", ""); 2];
    let because = |reason| [("reason", reason), ("", "")];
    let received = [("messaging_system", SYSTEM), ("messaging_operation_name", "receive_message")];
    [
        (consumed, received, counts.received),
        (deleted, none, counts.deleted),
        (dead_lettered, none, counts.dead_lettered),
        (retried, none, counts.retried),
        (released, because("not-begun"), counts.released_not_begun),
        (released, because("cut-off"), counts.released_cut_off),
        (lost, none, counts.ownership_lost),
        (redelivered, none, counts.redelivered),
    ]
}

fn key(name: &'static str, labels: Labels) -> Key {
    let told = labels.iter().filter(|(_, value)| !value.is_empty());
    let labels: Vec<Label> = told.map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(SharedString::const_str(name), labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Noise;
    use crate::job::{Made, Output};
    use crate::ops::emf::tests::{Page, lines};
    use std::collections::BTreeSet;
    use std::time::SystemTime;

    #[test]
    fn the_readme_tells_every_metric_and_no_other() {
        let readme = include_str!("../../README.md");
        let table = readme.split("### Metrics").nth(1).and_then(|rest| rest.split("\n### ").next()).unwrap();
        let words = table.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        let told: BTreeSet<&str> = words
            .filter(|w| {
                ["longshore_", "messaging_client_", "messaging_process_"]
                    .iter()
                    .any(|name| w.starts_with(name))
            })
            .map(|w| w.trim_end_matches("_bucket"))
            .collect();
        let counters = COUNTERS.iter().map(|(name, _)| *name);
        let histograms = HISTOGRAMS.iter().map(|(name, _)| *name);
        let known = counters
            .chain(histograms)
            .chain(GAUGES.iter().map(|(name, _)| *name))
            .chain([DRAIN_SECONDS])
            .collect();
        assert_eq!(told, known);
    }

    #[test]
    fn the_last_minutes_have_quantiles_of_their_own() {
        let metrics = Metrics::default();
        let told = |value: &str, q: &str| {
            let line = format!("longshore_recent_duration_seconds{{quantile=\"{q}\"}} {value}");
            let text = metrics.render(|| (Counts::default(), 0));
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        };
        told("NaN", "0.5");
        for ms in 1..=100 {
            metrics.processed(Duration::from_millis(ms), "");
        }
        told("0.05", "0.5");
        told("0.099", "0.99");
        for _ in 0..2 * MOST_RECENT {
            metrics.processed(Duration::from_secs(2), "");
        }
        told("2", "0.5");
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let now = Instant::now();
        let Some(long_ago) = now.checked_sub(Duration::from_secs(90)) else { return };
        let mut recent: VecDeque<_> = [(long_ago, Duration::ZERO); 500].into();
        recent.extend([(now, Duration::ZERO); 120]);
        let near = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.1, "{found}");
        near(rate(&recent, Duration::from_secs(600)), 2.0);
        // A worker that began ten seconds ago.
        near(rate(&[(now, Duration::ZERO); 120].into(), Duration::from_secs(10)), 12.0);
        // More than are remembered: all of them ended within twenty seconds.
        let twenty = now - Duration::from_secs(20);
        near(rate(&vec![(twenty, Duration::ZERO); MOST_RECENT].into(), Duration::from_secs(600)), 204.8);
        assert_eq!(rate(&VecDeque::new(), Duration::ZERO), 0.0);
    }

    /// An alarm on `increase` never sees the first of a series that is born with it.
    #[test]
    fn what_alarms_watch_is_told_before_it_happens() {
        let readme = include_str!("../../README.md");
        let alarms = readme.split("```promql").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let alarms: Vec<&str> = alarms.lines().filter(|line| line.contains("> 0")).collect();
        assert_eq!(alarms.len(), 3);
        let text = Metrics::default().render(|| (Counts::default(), 0));
        for alarm in alarms {
            let series = alarm.split('(').nth(1).and_then(|rest| rest.split('[').next()).unwrap();
            let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap_or((series, ""));
            let born = |l: &str| l.starts_with(name) && l.contains(labels) && l.ends_with(" 0");
            assert!(text.lines().any(born), "{series} in\n{text}");
        }
    }

    #[test]
    fn counters_are_told_with_their_labels_and_histograms_with_buckets() {
        let metrics = Metrics::default();
        metrics.record(&Outcome::Ignored(Noise::TestEvent));
        metrics.lease_lag(Duration::from_millis(3));
        let counts =
            Counts { received: 10, deleted: 4, retried: 1, released_not_begun: 3, ..Counts::default() };
        let text = metrics.render(|| (counts, 2));
        for line in [
            r#"longshore_records_total{outcome="ignored",reason="test-event"} 1"#,
            r#"messaging_client_consumed_messages_total{messaging_system="aws_sqs",messaging_operation_name="receive_message"} 10"#,
            r#"longshore_records_total{outcome="blocked",reason="output"} 0"#,
            r#"longshore_messages_released_total{reason="not-begun"} 3"#,
            r#"longshore_messages_released_total{reason="cut-off"} 0"#,
            "longshore_messages_in_flight 2",
            r#"longshore_lease_lag_seconds_bucket{le="0.005"} 1"#,
            "# TYPE longshore_messages_deleted_total counter",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    /// Else the quantiles that the README asks for would be those of a quiet day.
    #[test]
    fn hours_in_the_queue_and_hours_of_a_row_are_told_from_minutes() {
        let metrics = Metrics::default();
        let hours = |hours: u64| Duration::from_secs(3600 * hours);
        let sent = (SystemTime::now() - hours(30)).duration_since(UNIX_EPOCH).unwrap().as_millis();
        metrics.received(i64::try_from(sent).ok());
        metrics.processed(hours(3), "");
        metrics.command("run", hours(10));
        let text = metrics.render(|| (Counts::default(), 0));
        for (name, below, above) in [
            (QUEUE_LAG_SECONDS, "86400", "1209600"),
            (PROCESS_SECONDS, "3600", "14400"),
            (COMMAND_SECONDS, "14400", "43200"),
        ] {
            for (bound, count) in [(below, 0), (above, 1)] {
                let at_bound = |l: &&str| {
                    l.starts_with(&format!("{name}_bucket")) && l.contains(&format!("le=\"{bound}\""))
                };
                let line = text.lines().find(at_bound).unwrap_or_else(|| panic!("{name} {bound} in\n{text}"));
                assert!(line.ends_with(&format!(" {count}")), "{line}");
            }
        }
    }

    /// The same by both ways, under the same names and with the same labels; but for what the README says.
    #[tokio::test]
    async fn cloudwatch_is_told_what_prometheus_is_told() {
        let page = Page::default();
        let emf = Emf::new("Pictures".into(), "uploads".into(), page.clone());
        let metrics = Metrics::default().with_emf(emf);
        let output = Output {
            name: "thumbs".into(),
            bytes: 5000,
            width: 192,
            height: 144,
            written: true,
            resize: Duration::ZERO,
            encode: Duration::ZERO,
            upload: Duration::ZERO,
        };
        metrics.record(&Outcome::Done(Made { outputs: vec![output], ..Made::default() }));
        metrics.row(&Outcome::Ignored(Noise::TestEvent));
        metrics.command("run", Duration::ZERO);
        metrics.dead_lettered("truncated");
        metrics.lease_lag(Duration::ZERO);
        metrics.received(Some(0));
        metrics.processed(Duration::ZERO, "rejected");
        metrics.operation("send_message", Duration::ZERO, true);
        let counts = Counts {
            received: 8,
            deleted: 1,
            dead_lettered: 1,
            retried: 1,
            released_not_begun: 1,
            released_cut_off: 1,
            ownership_lost: 1,
            redelivered: 1,
        };
        metrics.publish(|| (counts, 2));
        // What has not happened is told to Prometheus alone, and so are quantiles.
        let text = metrics.render(|| (counts, 2));
        let prometheus: BTreeSet<(String, BTreeSet<String>)> = text
            .lines()
            .filter(|l| !l.starts_with('#') && !l.contains("_bucket") && !l.contains("_sum"))
            .filter(|l| !l.contains("outcome=\"blocked\"") && !l.starts_with("longshore_recent_"))
            .map(|line| {
                let (series, _) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let labels = labels.trim_end_matches('}').split(',').filter(|l| !l.is_empty());
                (name.trim_end_matches("_count").to_owned(), labels.map(str::to_owned).collect())
            })
            .collect();
        let mut cloudwatch = BTreeSet::new();
        for line in lines(&page) {
            let told = &line["_aws"]["CloudWatchMetrics"][0];
            let labels = told["Dimensions"][0].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
            let labels = labels.filter(|name| *name != "queue").map(|name| format!("{name}={}", line[name]));
            let labels: BTreeSet<String> = labels.collect();
            for metric in told["Metrics"].as_array().unwrap() {
                cloudwatch.insert((metric["Name"].as_str().unwrap().to_owned(), labels.clone()));
            }
        }
        assert_eq!(cloudwatch, prometheus);
        let known = COUNTERS.iter().chain(&HISTOGRAMS).map(|(name, _)| *name).chain([IN_FLIGHT, TASKS]);
        let told: BTreeSet<&str> = cloudwatch.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(told, known.collect());
    }

    #[test]
    fn every_metric_has_a_help() {
        let metrics = Metrics::default();
        metrics.dead_lettered("truncated");
        metrics.processed(Duration::from_millis(1), "");
        let text = metrics.render(|| (Counts::default(), 0));
        let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        for name in kinds.map(|kind| kind.split(' ').next().unwrap()) {
            assert!(text.contains(&format!("# HELP {name} ")), "{name} in\n{text}");
        }
        let processed = r#"messaging_process_duration_seconds_count{messaging_system="aws_sqs",messaging_operation_name="process"} 1"#;
        assert!(text.lines().any(|l| l == processed), "{text}");
    }
}
