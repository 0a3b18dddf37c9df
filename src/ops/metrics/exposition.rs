//! All that is counted, and its text in Prometheus's exposition format 0.0.4.
//!
//! The registry is that of `metrics-util`, out of which `metrics-exporter-prometheus` is made as well. That exporter
//! makes the text of the labels again for each bucket: 6 to 10 ms for 10,000 series. Here it is made once.
//! (Format: "Exposition formats", Prometheus documentation.)

use metrics::atomics::AtomicU64;
use metrics::{CounterFn, GaugeFn, HistogramFn, Key, KeyName};
use metrics_util::registry::{Registry, Storage};
use metrics_util::storage::Histogram;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// Every metric by its name, and every value of it by its labels.
pub struct Exposition {
    registry: Registry<Key, Values>,
    help: Vec<(&'static str, &'static str)>,
}

/// Upper bounds of the buckets of a metric: ascending, at least one.
pub type Bounds = fn(name: &str) -> &'static [f64];

impl Exposition {
    /// `help`: a line for each name.
    pub fn new(bounds: Bounds, help: Vec<(&'static str, &'static str)>) -> Self {
        Self { registry: Registry::new(Values { bounds }), help }
    }

    /// Adds to a counter, which is born with it.
    pub fn add(&self, key: &Key, more: u64) {
        self.registry.get_or_create_counter(key, |counter| CounterFn::increment(counter, more));
    }

    /// Sets a counter, never back.
    pub fn raise(&self, key: &Key, to: u64) {
        self.registry.get_or_create_counter(key, |counter| CounterFn::absolute(counter, to));
    }

    pub fn set(&self, key: &Key, to: f64) {
        self.registry.get_or_create_gauge(key, |gauge| GaugeFn::set(gauge, to));
    }

    /// Puts a sample into its buckets.
    pub fn sample(&self, key: &Key, value: f64) {
        self.registry.get_or_create_histogram(key, |samples| samples.record(value));
    }

    /// Sorted by name, then by labels.
    pub fn text(&self) -> String {
        let mut series = self.series();
        series.sort_unstable_by(|one, other| (&one.name, &one.labels).cmp(&(&other.name, &other.labels)));
        let mut text = String::new();
        for metric in series.chunk_by(|one, other| one.name == other.name) {
            self.head(&mut text, &metric[0]);
            for one in metric {
                one.tell(&mut text);
            }
        }
        text
    }

    fn series(&self) -> Vec<Series> {
        let mut series = Vec::new();
        let registry = &self.registry;
        registry.visit_counters(|key, counter| {
            series.push(Series::new(key, Value::Counter(counter.load(Ordering::Acquire))));
        });
        registry.visit_gauges(|key, gauge| {
            series.push(Series::new(key, Value::Gauge(f64::from_bits(gauge.load(Ordering::Acquire)))));
        });
        registry.visit_histograms(|key, samples| {
            series.push(Series::new(key, Value::Histogram(samples.now())));
        });
        series
    }

    fn head(&self, text: &mut String, series: &Series) {
        let name = series.name.as_str();
        if let Some((_, help)) = self.help.iter().find(|(told, _)| *told == name) {
            line(text, format_args!("# HELP {name} {help}"));
        }
        line(text, format_args!("# TYPE {name} {}", series.value.kind()));
    }
}

/// Makes what is behind a series.
struct Values {
    bounds: Bounds,
}

impl Storage<Key> for Values {
    type Counter = Arc<AtomicU64>;
    type Gauge = Arc<AtomicU64>;
    type Histogram = Arc<Samples>;

    fn counter(&self, _: &Key) -> Self::Counter {
        Arc::default()
    }

    fn gauge(&self, _: &Key) -> Self::Gauge {
        Arc::default()
    }

    fn histogram(&self, key: &Key) -> Self::Histogram {
        let bounds = (self.bounds)(key.name());
        Arc::new(Samples(Mutex::new(Histogram::new(bounds).expect("every histogram has a bucket"))))
    }
}

/// Locked for as long as it takes to count one, so that buckets, sum and count are always of the same samples.
struct Samples(Mutex<Histogram>);

impl Samples {
    fn now(&self) -> Histogram {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).record(value);
    }
}

enum Value {
    Counter(u64),
    Gauge(f64),
    Histogram(Histogram),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

struct Series {
    name: KeyName,
    /// As they stand between braces.
    labels: String,
    value: Value,
}

impl Series {
    fn new(key: &Key, value: Value) -> Self {
        let mut labels = String::new();
        for label in key.labels() {
            let comma = if labels.is_empty() { "" } else { "," };
            labels.extend([comma, label.key(), "=\""]);
            escape(&mut labels, label.value());
            labels.push('"');
        }
        Self { name: key.name_shared(), labels, value }
    }

    fn tell(&self, text: &mut String) {
        let (name, labels) = (self.name.as_str(), self.labels.as_str());
        let all = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        match &self.value {
            Value::Counter(value) => line(text, format_args!("{name}{all} {value}")),
            Value::Gauge(value) => line(text, format_args!("{name}{all} {value}")),
            Value::Histogram(samples) => {
                let comma = if labels.is_empty() { "" } else { "," };
                for (bound, count) in samples.buckets() {
                    line(text, format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}"));
                }
                let (sum, count) = (samples.sum(), samples.count());
                line(text, format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"));
                line(text, format_args!("{name}_sum{all} {sum}"));
                line(text, format_args!("{name}_count{all} {count}"));
            }
        }
    }
}

fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

fn line(text: &mut String, line: std::fmt::Arguments) {
    writeln!(text, "{line}").expect("a string takes it");
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::Label;

    fn key(name: &'static str, labels: &[(&'static str, &'static str)]) -> Key {
        let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, *value)).collect();
        Key::from_parts(name, labels)
    }

    fn exposition() -> Exposition {
        Exposition::new(|_| &[0.5, 2.0], vec![("a_seconds", "How long."), ("b_total", "How many.")])
    }

    #[test]
    fn each_kind_is_told_as_prometheus_reads_it() {
        let told = exposition();
        told.add(&key("b_total", &[("reason", "new")]), 2);
        told.add(&key("b_total", &[("reason", "new")]), 3);
        told.raise(&key("b_total", &[]), 7);
        told.raise(&key("b_total", &[]), 4);
        told.set(&key("c", &[]), -1.5);
        told.set(&key("d", &[("quantile", "0.5")]), f64::NAN);
        for sample in [0.25, 0.5, 1.0, 8.0] {
            told.sample(&key("a_seconds", &[("stage", "run")]), sample);
        }
        told.sample(&key("a_seconds", &[]), 1.0);
        let expected = "\
# HELP a_seconds How long.
# TYPE a_seconds histogram
a_seconds_bucket{le=\"0.5\"} 0
a_seconds_bucket{le=\"2\"} 1
a_seconds_bucket{le=\"+Inf\"} 1
a_seconds_sum 1
a_seconds_count 1
a_seconds_bucket{stage=\"run\",le=\"0.5\"} 2
a_seconds_bucket{stage=\"run\",le=\"2\"} 3
a_seconds_bucket{stage=\"run\",le=\"+Inf\"} 4
a_seconds_sum{stage=\"run\"} 9.75
a_seconds_count{stage=\"run\"} 4
# HELP b_total How many.
# TYPE b_total counter
b_total 7
b_total{reason=\"new\"} 5
# TYPE c gauge
c -1.5
# TYPE d gauge
d{quantile=\"0.5\"} NaN
";
        assert_eq!(told.text(), expected);
    }

    #[test]
    fn a_label_cannot_end_its_line() {
        let told = exposition();
        told.add(&key("b_total", &[("key", "a\"b\\c\nd{é}")]), 1);
        let text = told.text();
        assert_eq!(text.lines().last(), Some(r#"b_total{key="a\"b\\c\nd{é}"} 1"#));
    }

    /// Whoever asks in the middle of it sees samples that are in all of buckets, sum and count, or in none.
    #[test]
    fn threads_lose_no_sample_and_no_answer_is_half_of_one() {
        const EACH: u64 = 20_000;
        let told = exposition();
        let value = |text: &str, start: &str| -> f64 {
            text.lines().find_map(|line| line.strip_prefix(start)).map_or(0.0, |rest| rest.parse().unwrap())
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        told.sample(&key("a_seconds", &[]), 1.0);
                        told.add(&key("b_total", &[]), 1);
                    }
                });
            }
            for _ in 0..100 {
                let text = told.text();
                let count = value(&text, "a_seconds_count ");
                assert_eq!(count, value(&text, "a_seconds_sum "));
                assert_eq!(count, value(&text, "a_seconds_bucket{le=\"2\"} "));
            }
        });
        let text = told.text();
        for start in ["a_seconds_count ", "b_total "] {
            assert_eq!(value(&text, start), (4 * EACH) as f64);
        }
    }
}
