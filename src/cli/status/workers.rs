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
    /// Seconds from the receipt of a message to its end, since the worker started.
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
    let buckets = buckets(&samples);
    Worker {
        in_flight: sum("longshore_messages_in_flight", ""),
        done: sum("longshore_records_total", "outcome=\"done\""),
        rejected: sum("longshore_records_total", "outcome=\"rejected\""),
        retried: sum("longshore_messages_retried_total", ""),
        p50_seconds: quantile(&buckets, 0.5),
        p99_seconds: quantile(&buckets, 0.99),
        ..Worker::default()
    }
}

/// Of the time that messages take: upper bound, how many are below; all labels together.
fn buckets(samples: &[(&str, &str, f64)]) -> Vec<(f64, f64)> {
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for (name, labels, value) in samples {
        if *name != "messaging_process_duration_seconds_bucket" {
            continue;
        }
        let bound = labels.split("le=\"").nth(1).and_then(|rest| rest.split('"').next());
        let Some(bound) = bound.and_then(|b| b.parse::<f64>().ok()) else { continue };
        match buckets.iter_mut().find(|(b, _)| *b == bound) {
            Some((_, count)) => *count += value,
            None => buckets.push((bound, *value)),
        }
    }
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    buckets
}

/// As Prometheus' `histogram_quantile`: within a bucket, samples are taken to lie evenly. None: no samples.
fn quantile(buckets: &[(f64, f64)], q: f64) -> Option<f64> {
    let all = buckets.last()?.1;
    if all <= 0.0 {
        return None;
    }
    let rank = q * all;
    let at = buckets.iter().position(|(_, count)| *count >= rank)?;
    let (lower, below) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
    let (upper, count) = buckets[at];
    if upper.is_infinite() {
        return Some(lower);
    }
    Some(lower + (upper - lower) * (rank - below) / (count - below).max(f64::MIN_POSITIVE))
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
             messaging_process_duration_seconds_bucket{error_type=\"corrupt\",le=\"0.1\"} 1\n\
             messaging_process_duration_seconds_bucket{error_type=\"corrupt\",le=\"1\"} 1\n\
             messaging_process_duration_seconds_bucket{error_type=\"corrupt\",le=\"+Inf\"} 1\n\
             messaging_process_duration_seconds_bucket{le=\"0.1\"} 4\n\
             messaging_process_duration_seconds_bucket{le=\"1\"} 9\n\
             messaging_process_duration_seconds_bucket{le=\"+Inf\"} 9\n",
        );
        assert_eq!((worker.done, worker.rejected, worker.in_flight, worker.retried), (7, 3, 3, 4));
        assert_eq!(worker.p50_seconds, Some(0.1), "half of ten, all in the first bucket");
        assert!((worker.p99_seconds.unwrap() - 0.982).abs() < 1e-9, "{worker:?}");
    }

    #[test]
    fn without_samples_there_is_no_quantile() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[(0.1, 0.0), (f64::INFINITY, 0.0)], 0.5), None);
        assert_eq!(quantile(&[(0.1, 0.0), (f64::INFINITY, 4.0)], 0.5), Some(0.1), "beyond the last bound");
    }
}
