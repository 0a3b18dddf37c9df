//! What workers tell on their admin ports.

use crate::cli::http;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A worker by its own figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Worker {
    pub ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Messages in its hands.
    pub in_flight: u64,
    /// Pictures since it started.
    pub done: u64,
    pub rejected: u64,
    pub retried: u64,
    /// Messages that came to an end a second, in the last minute; null: it does not say.
    pub per_second: Option<f64>,
    /// Seconds from the receipt of a message to its end, of the last five minutes; null: there was none.
    pub p50_seconds: Option<f64>,
    pub p99_seconds: Option<f64>,
}

/// What each said, or why it said nothing.
pub type Answers = BTreeMap<String, Result<Worker, String>>;

const DEFAULT: &str = "127.0.0.1:9464";
/// Bytes: far more than any answer of an admin port has.
const MOST: u64 = 4 << 20;

/// Whom to ask before anything is known of tasks: those given, or the one that would be here. The workers of a cluster
/// are elsewhere.
pub fn given(workers: &[String], of_cluster: bool) -> BTreeSet<String> {
    match workers {
        [] if !of_cluster => [DEFAULT.to_owned()].into(),
        given => given.iter().cloned().collect(),
    }
}

/// Asks them all at once.
pub async fn look(addresses: BTreeSet<String>, token: Option<&str>) -> Answers {
    let ask = |address: String| {
        let token = token.map(str::to_owned);
        tokio::task::spawn_blocking(move || {
            let answer = ask(&address, token.as_deref());
            (address, answer)
        })
    };
    let questions: Vec<_> = addresses.into_iter().map(ask).collect();
    let mut answers = Answers::new();
    for question in questions {
        answers.extend(question.await);
    }
    answers
}

/// Of an address as people write it.
pub fn host_and_port(address: &str) -> &str {
    address.trim_start_matches("http://").trim_end_matches('/')
}

fn ask(address: &str, token: Option<&str>) -> Result<Worker, String> {
    let host = host_and_port(address);
    let get = |path| http::get(host, path, token, MOST).map_err(|e| format!("no answer: {e}"));
    let (status, text) = get("/metrics")?;
    match status {
        200 => {}
        401 | 403 => return Err("it asks for a token: pass --admin-token".into()),
        other => return Err(format!("/metrics answers {other}")),
    }
    let (ready, why) = get("/readyz")?;
    Ok(Worker { ready: ready == 200, trouble: (ready != 200).then(|| why.trim().to_owned()), ..read(&text) })
}

/// Reads the Prometheus text format as far as it is needed.
fn read(text: &str) -> Worker {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples: Vec<(&str, &str, f64)> = lines
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            Some((name, labels, value.parse().ok()?))
        })
        .collect();
    let sum = |name: &str, label: &str| {
        let alike = samples.iter().filter(|(n, labels, _)| *n == name && labels.contains(label));
        alike.map(|(_, _, value)| value).sum::<f64>() as u64
    };
    let one = |name: &str, label: &str| {
        let mut alike = samples.iter().filter(|(n, labels, _)| *n == name && labels.contains(label));
        alike.next().map(|(_, _, value)| *value).filter(|value| value.is_finite())
    };
    // None: no message ended in that time.
    let quantile = |q: &str| one("longshore_recent_duration_seconds", &format!("quantile=\"{q}\""));
    Worker {
        in_flight: sum("longshore_messages_in_flight", ""),
        done: sum("longshore_records_total", "outcome=\"done\""),
        rejected: sum("longshore_records_total", "outcome=\"rejected\""),
        retried: sum("longshore_messages_retried_total", ""),
        per_second: one("longshore_recent_messages_per_second", ""),
        p50_seconds: quantile("0.5"),
        p99_seconds: quantile("0.99"),
        ..Worker::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_whatever_their_labels() {
        let worker = read(
            "# TYPE longshore_records_total counter\nlongshore_records_total{outcome=\"done\"} 7\n\
             longshore_records_total{outcome=\"rejected\",reason=\"corrupt\"} 1\n\
             longshore_records_total{outcome=\"rejected\",reason=\"empty\"} 2\nlongshore_messages_in_flight 3\n\
             longshore_messages_retried_total 4\n\
             longshore_recent_duration_seconds{quantile=\"0.5\"} 0.25\n\
             longshore_recent_duration_seconds{quantile=\"0.99\"} 1.5\nlongshore_recent_messages_per_second 0.5\n",
        );
        assert_eq!((worker.done, worker.rejected, worker.in_flight, worker.retried), (7, 3, 3, 4));
        assert_eq!((worker.p50_seconds, worker.p99_seconds), (Some(0.25), Some(1.5)));
        assert_eq!((worker.per_second, read("").per_second), (Some(0.5), None));
    }

    #[test]
    fn without_samples_there_is_no_quantile() {
        assert_eq!(read("").p50_seconds, None);
        assert_eq!(read("longshore_recent_duration_seconds{quantile=\"0.5\"} NaN\n").p50_seconds, None);
    }
}
