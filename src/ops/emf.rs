//! The metrics as CloudWatch's embedded metric format: lines of JSON on standard output, which CloudWatch
//! Logs takes out of a log group by itself. No call, no permission, no agent.
//!
//! Names and labels are those of `/metrics`; labels are dimensions, beside the queue's name. Counters are
//! told as what was added since the last line, samples one by one, at most [`MOST`] a line.
//! (Specification: "Embedded metric format", Amazon CloudWatch User Guide.)

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::mem::take;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The most values that a metric may have in one document.
const MOST: usize = 100;

/// Gathers, and writes a line a set of dimensions.
pub struct Emf {
    namespace: String,
    queue: String,
    gathered: Mutex<BTreeMap<Dimensions, BTreeMap<&'static str, Values>>>,
    out: Mutex<Box<dyn Write + Send>>,
}

type Dimensions = Vec<(&'static str, String)>;

enum Values {
    Sum(f64),
    Each(Vec<f64>),
}

impl Emf {
    /// `queue`: the queue's name, the dimension that all metrics have.
    pub fn new(namespace: String, queue: String, out: impl Write + Send + 'static) -> Self {
        Self { namespace, queue, gathered: Mutex::default(), out: Mutex::new(Box::new(out)) }
    }

    pub fn add(&self, name: &'static str, labels: &[(&'static str, &str)], more: f64) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let values = gathered.entry(dimensions(labels)).or_default().entry(name).or_insert(Values::Sum(0.0));
        if let Values::Sum(sum) = values {
            *sum += more;
        }
    }

    pub fn sample(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let dimensions = dimensions(labels);
        let document = gathered.entry(dimensions.clone()).or_default();
        let Values::Each(values) = document.entry(name).or_insert(Values::Each(Vec::new())) else { return };
        values.push(value);
        if values.len() < MOST {
            return;
        }
        let document = take(document);
        drop(gathered);
        self.write(&dimensions, document);
    }

    /// Writes what was gathered.
    pub fn flush(&self) {
        let gathered = take(&mut *self.gathered.lock().unwrap_or_else(PoisonError::into_inner));
        for (dimensions, document) in gathered {
            self.write(&dimensions, document);
        }
    }

    fn write(&self, dimensions: &Dimensions, document: BTreeMap<&'static str, Values>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let names: Vec<&str> =
            ["queue"].into_iter().chain(dimensions.iter().map(|(name, _)| *name)).collect();
        let metrics: Vec<Value> =
            document.keys().map(|name| json!({ "Name": name, "Unit": unit(name) })).collect();
        let directive = json!({ "Namespace": self.namespace, "Dimensions": [names], "Metrics": metrics });
        let mut line = Map::new();
        line.insert("_aws".into(), json!({ "Timestamp": now, "CloudWatchMetrics": [directive] }));
        line.insert("queue".into(), self.queue.clone().into());
        line.extend(dimensions.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())));
        for (name, values) in document {
            let value = match values {
                Values::Sum(sum) => sum.into(),
                Values::Each(values) => values.into(),
            };
            line.insert(name.to_owned(), value);
        }
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody to tell is no reason to stop working.
        let _ = writeln!(out, "{}", Value::from(line)).and_then(|()| out.flush());
    }
}

fn dimensions(labels: &[(&'static str, &str)]) -> Dimensions {
    labels.iter().filter(|(_, value)| !value.is_empty()).map(|(n, value)| (*n, (*value).to_owned())).collect()
}

fn unit(name: &str) -> &'static str {
    match name.rsplit('_').next() {
        Some("seconds") => "Seconds",
        Some("bytes") => "Bytes",
        _ => "Count",
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::sync::Arc;

    /// What was written.
    #[derive(Clone, Default)]
    pub struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    pub fn lines(page: &Page) -> Vec<Value> {
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_what_the_specification_asks_for() {
        let page = Page::default();
        let emf = Emf::new("Pictures".into(), "uploads".into(), page.clone());
        emf.add("longshore_records_total", &[("outcome", "done"), ("reason", "")], 1.0);
        emf.add("longshore_records_total", &[("outcome", "done"), ("reason", "")], 2.0);
        emf.sample("longshore_stage_seconds", &[("stage", "decode")], 0.25);
        emf.sample("longshore_stage_seconds", &[("stage", "decode")], 0.5);
        emf.flush();
        emf.flush();
        let lines = lines(&page);
        assert_eq!(lines.len(), 2, "one for each set of dimensions, and nothing twice");
        let (records, stages) = (&lines[0], &lines[1]);
        assert_eq!(records["longshore_records_total"], 3.0);
        assert_eq!(records["outcome"], "done");
        let directive = &stages["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "Pictures");
        assert_eq!(directive["Dimensions"], json!([["queue", "stage"]]));
        assert_eq!(directive["Metrics"], json!([{ "Name": "longshore_stage_seconds", "Unit": "Seconds" }]));
        assert_eq!((&stages["queue"], &stages["stage"]), (&json!("uploads"), &json!("decode")));
        assert_eq!(stages["longshore_stage_seconds"], json!([0.25, 0.5]));
        let told = stages["_aws"]["Timestamp"].as_u64().unwrap();
        assert!(told > 1_700_000_000_000, "milliseconds: {told}");
    }

    #[test]
    fn no_line_has_more_values_than_may_be() {
        let page = Page::default();
        let emf = Emf::new("Pictures".into(), "uploads".into(), page.clone());
        for n in 0..250 {
            emf.sample("longshore_source_bytes", &[], f64::from(n));
        }
        emf.flush();
        let sizes: Vec<usize> =
            lines(&page).iter().map(|l| l["longshore_source_bytes"].as_array().unwrap().len()).collect();
        assert_eq!(sizes, [100, 100, 50]);
    }
}
