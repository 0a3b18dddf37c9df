//! What workers tell on their admin ports.

use super::gather::Answers;
use crate::cli::http;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

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
    /// Pictures a second since the look before; null at the first.
    pub per_second: Option<f64>,
    /// Seconds from the receipt of a message to its end, of the last five minutes; null: there was none.
    pub p50_seconds: Option<f64>,
    pub p99_seconds: Option<f64>,
}

/// Whom to ask, and what they said before.
pub struct Workers {
    given: Vec<String>,
    token: Option<String>,
    before: BTreeMap<String, (Instant, u64)>,
}

const DEFAULT: &str = "127.0.0.1:9464";
/// Bytes: far more than any answer of an admin port has.
const MOST: u64 = 4 << 20;

impl Workers {
    pub fn new(given: &[String], token: Option<String>) -> Self {
        Self { given: given.to_vec(), token, before: BTreeMap::new() }
    }

    /// Asks those given, and these; or, if there is none, the one that would be here.
    pub async fn look(&mut self, more: Vec<String>) -> Answers {
        let mut addresses: BTreeSet<String> = self.given.iter().cloned().chain(more).collect();
        if addresses.is_empty() {
            addresses.insert(DEFAULT.to_owned());
        }
        let ask = |address: String| {
            let token = self.token.clone();
            tokio::task::spawn_blocking(move || {
                let answer = ask(&address, token.as_deref());
                (address, Instant::now(), answer)
            })
        };
        let questions: Vec<_> = addresses.into_iter().map(ask).collect();
        let mut answers = Vec::new();
        for question in questions {
            let Ok((address, at, mut answer)) = question.await else { continue };
            if let Ok(worker) = &mut answer {
                let before = self.before.insert(address.clone(), (at, worker.done));
                // Fewer than before: it is another process.
                worker.per_second = before.filter(|(_, done)| *done <= worker.done).map(|(then, done)| {
                    (worker.done - done) as f64 / at.duration_since(then).as_secs_f64().max(1e-3)
                });
            }
            answers.push((address, answer));
        }
        answers
    }
}

fn ask(address: &str, token: Option<&str>) -> Result<Worker, String> {
    let host = address.trim_start_matches("http://").trim_end_matches('/');
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
    // None: no message ended in that time.
    let quantile = |q: &str| {
        let label = format!("quantile=\"{q}\"");
        let mut alike = samples
            .iter()
            .filter(|(n, l, _)| *n == "longshore_recent_duration_seconds" && l.contains(&label));
        alike.next().map(|(_, _, value)| *value).filter(|value| value.is_finite())
    };
    Worker {
        in_flight: sum("longshore_messages_in_flight", ""),
        done: sum("longshore_records_total", "outcome=\"done\""),
        rejected: sum("longshore_records_total", "outcome=\"rejected\""),
        retried: sum("longshore_messages_retried_total", ""),
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
             longshore_recent_duration_seconds{quantile=\"0.99\"} 1.5\n",
        );
        assert_eq!((worker.done, worker.rejected, worker.in_flight, worker.retried), (7, 3, 3, 4));
        assert_eq!((worker.p50_seconds, worker.p99_seconds), (Some(0.25), Some(1.5)));
    }

    #[test]
    fn without_samples_there_is_no_quantile() {
        assert_eq!(read("").p50_seconds, None);
        assert_eq!(read("longshore_recent_duration_seconds{quantile=\"0.5\"} NaN\n").p50_seconds, None);
    }
}
