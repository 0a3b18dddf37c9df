//! What must hold in every scenario, read from the log of everything that went over the wire.

use super::hoarding;
use super::ledger::{Expected, Upload};
use super::log::{Exchange, Received};
use super::picture::MADE;
use super::proxy::call::{Operation, short};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

/// What the workers were told, as far as it is checked.
#[derive(Debug, Clone)]
pub struct Terms {
    pub concurrency: HashMap<String, usize>,
    /// Visibility timeout in seconds: a change to anything else lets go of a message.
    pub visibility: u64,
    /// Near the cap of 12 h, renewals ask for less.
    pub capped: bool,
    /// Which worker stood still, and from when to when: see [`Terms::was_read`].
    pub still: Vec<(String, Duration, Duration)>,
}

/// A reply that was handed over so shortly before a worker stood still may not have been read by then.
const UNREAD: Duration = Duration::from_millis(200);

impl Terms {
    /// Whether a worker went on after a reply was handed over to it, and so has read it soon.
    fn was_read(&self, e: &Exchange) -> bool {
        let ended = e.ended.unwrap_or(e.at);
        !self.still.iter().any(|(worker, from, to)| {
            *worker == e.worker && from.saturating_sub(UNREAD) <= ended && ended <= *to
        })
    }
}

/// A life of a worker.
pub type Life = (String, u64);

/// A message that reached a worker.
pub struct Delivery<'a> {
    pub message: &'a Received,
    pub life: Life,
    pub at: Duration,
}

/// A line for everything that broke a rule.
pub fn check(exchanges: &[Exchange], uploads: &[Upload], terms: &Terms) -> Vec<String> {
    let deliveries = deliveries(exchanges);
    let mut broken = deletes_come_last(exchanges, uploads, &deliveries);
    broken.extend(nothing_after_the_end(exchanges, terms));
    broken.extend(hoarding::check(exchanges, &deliveries, terms));
    broken.extend(failures_are_paced(exchanges, terms));
    broken.extend(nothing_goes_backwards(exchanges));
    broken
}

/// By receipt handle; only what reached its worker.
fn deliveries(exchanges: &[Exchange]) -> HashMap<&str, Delivery<'_>> {
    let reached = exchanges.iter().filter(|e| e.reached && e.told == Some(200));
    let all = reached.flat_map(|e| e.messages.iter().map(move |m| (e, m)));
    all.map(|(e, message)| {
        let at = e.ended.unwrap_or(e.at);
        (message.receipt.as_str(), Delivery { message, life: (e.worker.clone(), e.life), at })
    })
    .collect()
}

/// Key and sequencer of each record of a message.
pub fn records(message: &Received) -> Vec<(String, String)> {
    let body: Value = serde_json::from_str(&message.body).unwrap_or_default();
    let list = body["Records"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list.iter().map(|r| (text(&r["s3"]["object"]["key"]), text(&r["s3"]["object"]["sequencer"]))).collect()
}

/// No delete before all outputs of a message, or its dead letter, are confirmed to who deletes.
fn deletes_come_last(
    exchanges: &[Exchange],
    uploads: &[Upload],
    deliveries: &HashMap<&str, Delivery<'_>>,
) -> Vec<String> {
    let mut by_key: HashMap<&str, Vec<&Exchange>> = HashMap::new();
    for exchange in exchanges.iter().filter(|e| e.call.operation.is_s3()) {
        by_key.entry(&exchange.call.key).or_default().push(exchange);
    }
    let mut letters: HashMap<&str, Vec<&Exchange>> = HashMap::new();
    for exchange in exchanges.iter().filter(|e| e.call.operation == Operation::Send && e.confirmed()) {
        let id = exchange.call.json["MessageAttributes"]["longshore.message-id"]["StringValue"].as_str();
        letters.entry(id.unwrap_or_default()).or_default().push(exchange);
    }
    let uploads: HashMap<(&str, &str), &Upload> =
        uploads.iter().map(|u| ((u.key.as_str(), u.sequencer.as_str()), u)).collect();
    let mut broken = Vec::new();
    for delete in exchanges.iter().filter(|e| e.call.operation == Operation::Delete) {
        for entry in &delete.call.entries {
            let Some(delivery) = deliveries.get(entry.receipt.as_str()) else {
                broken.push(format!("delete of {}, which its worker was never given", short(&entry.receipt)));
                continue;
            };
            let mut letters = letters.get(delivery.message.id.as_str()).into_iter().flatten();
            if letters.any(|e| e.ended.is_some_and(|ended| ended <= delete.at)) {
                continue;
            }
            for (key, sequencer) in records(delivery.message) {
                let Some(upload) = uploads.get(&(key.as_str(), sequencer.as_str())) else { continue };
                let looked = by_key.get(key.as_str()).into_iter().flatten();
                let gone = looked.clone().any(|e| e.told == Some(404) && e.at <= delete.at);
                if upload.expected == Expected::Gone && gone {
                    continue;
                }
                let calls = |name: &str| {
                    let output = format!("{name}/{key}");
                    by_key.get(output.as_str()).map(Vec::as_slice).unwrap_or_default()
                };
                // Whatever has a newer output has a message of its own, which answers for the rest.
                if MADE
                    .iter()
                    .any(|(name, _)| stored_before(delete, calls(name), |s| s > sequencer.as_str()).is_ok())
                {
                    continue;
                }
                for (name, _) in MADE {
                    if let Err(why) = stored_before(delete, calls(name), |s| s >= sequencer.as_str()) {
                        broken.push(format!(
                            "delete of the message of {key} ({sequencer}) at {:.3} s by {}.{}: {name} {why}",
                            delete.at.as_secs_f64(),
                            delete.worker,
                            delete.life
                        ));
                    }
                }
            }
        }
    }
    broken
}

/// Whether an output was stored in such an order before a delete, and its sender knew.
fn stored_before(
    delete: &Exchange,
    calls: &[&Exchange],
    order: impl Fn(&str) -> bool,
) -> Result<(), &'static str> {
    let before = |e: &&&Exchange| e.at <= delete.at;
    let stored = calls.iter().filter(before).any(|e| {
        e.call.operation == Operation::PutObject
            && e.took_effect()
            && e.effect_at.is_some_and(|at| at <= delete.at)
            && e.call.metadata("longshore-sequencer").is_some_and(&order)
    });
    if !stored {
        return Err("was not stored before");
    }
    let known = calls.iter().filter(before).any(|e| {
        matches!(e.call.operation, Operation::PutObject | Operation::HeadObject)
            && e.confirmed()
            && (&e.worker, e.life) == (&delete.worker, delete.life)
    });
    if known { Ok(()) } else { Err("was stored, but its worker could not know") }
}

/// No output is stored that is older than one that was there before its upload began.
fn nothing_goes_backwards(exchanges: &[Exchange]) -> Vec<String> {
    let mut by_key: HashMap<&str, Vec<(&Exchange, &str)>> = HashMap::new();
    for e in exchanges.iter().filter(|e| e.call.operation == Operation::PutObject && e.took_effect()) {
        if let Some(sequencer) = e.call.metadata("longshore-sequencer") {
            by_key.entry(&e.call.key).or_default().push((e, sequencer));
        }
    }
    let mut broken = Vec::new();
    for (key, stored) in by_key {
        for (later, sequencer) in &stored {
            let before = stored.iter().filter(|(e, _)| e.effect_at.is_some_and(|at| at < later.at));
            if let Some(newest) = before.map(|(_, newer)| newer).max().filter(|newer| newer > &sequencer) {
                let at = later.at.as_secs_f64();
                broken
                    .push(format!("{key} was {newest}, and {sequencer} was stored at {at:.3} s: backwards"));
            }
        }
    }
    broken
}

/// Whether this change of visibility lets go of a message.
pub fn lets_go(visibility: Option<u64>, terms: &Terms) -> bool {
    visibility == Some(0) || (!terms.capped && visibility != Some(terms.visibility))
}

/// No change of visibility or delete after a confirmed delete or release, or the loss of a message.
fn nothing_after_the_end(exchanges: &[Exchange], terms: &Terms) -> Vec<String> {
    let mut ended: HashMap<(&str, &str, u64), Duration> = HashMap::new();
    let mut broken = Vec::new();
    let settles = |e: &&Exchange| matches!(e.call.operation, Operation::Delete | Operation::ChangeVisibility);
    // In the order in which they were sent; ends count from when they were confirmed.
    for exchange in exchanges.iter().filter(settles) {
        for entry in &exchange.call.entries {
            let name = (entry.receipt.as_str(), exchange.worker.as_str(), exchange.life);
            if let Some(end) = ended.get(&name).filter(|end| **end < exchange.at) {
                broken.push(format!(
                    "{} at {:.3} s, though the message was let go by {:.3} s",
                    exchange.call.summary(),
                    exchange.at.as_secs_f64(),
                    end.as_secs_f64()
                ));
            }
            let ends = exchange.call.operation == Operation::Delete || lets_go(entry.visibility, terms);
            // The worker waits a sixth of the visibility timeout for an answer: about one that takes
            // a good part of that, nobody can say whether it came in time.
            let took = exchange.ended.unwrap_or(exchange.at).saturating_sub(exchange.at);
            let in_time = took < Duration::from_secs(terms.visibility) / 30;
            // Whoever is told that a message is not his any more has no say in it.
            let ends = ends && exchange.done.contains(&entry.id) || exchange.lost.contains(&entry.id);
            if ends && in_time && exchange.confirmed() && terms.was_read(exchange) {
                ended.insert(name, exchange.ended.unwrap_or(exchange.at));
            }
        }
    }
    broken
}

/// Polls that fail: one a second or so. Other calls that fail: a few for each place and second.
fn failures_are_paced(exchanges: &[Exchange], terms: &Terms) -> Vec<String> {
    let mut polls: HashMap<Life, Vec<Duration>> = HashMap::new();
    let mut calls: HashMap<Life, Vec<Duration>> = HashMap::new();
    for e in exchanges.iter().filter(|e| e.is_trouble()) {
        let list = if e.call.operation == Operation::Receive { &mut polls } else { &mut calls };
        list.entry((e.worker.clone(), e.life)).or_default().push(e.at);
    }
    let mut broken = Vec::new();
    for (kind, lists) in [("polls", polls), ("calls", calls)] {
        for ((worker, life), times) in lists {
            let places = terms.concurrency.get(&worker).copied().unwrap_or(1);
            let most = if kind == "polls" { 5 } else { 20 + 40 * places };
            let window = Duration::from_secs(5);
            let busiest =
                (0..times.len()).map(|n| (times.partition_point(|t| *t < times[n] + window) - n, times[n]));
            if let Some((count, at)) = busiest.max().filter(|(count, _)| *count > most) {
                broken.push(format!(
                    "{worker}.{life}: {count} {kind} failed in the 5 s from {:.3} s, at most {most} are decent",
                    at.as_secs_f64()
                ));
            }
        }
    }
    broken
}

/// Receipts that a life was given and never let go of, as far as the server knows.
pub fn unsettled(exchanges: &[Exchange], worker: &str, life: u64, terms: &Terms) -> Vec<String> {
    let mut open: Vec<String> = deliveries(exchanges)
        .into_iter()
        .filter(|(_, d)| d.life == (worker.to_owned(), life))
        .map(|(receipt, _)| receipt.to_owned())
        .collect();
    for e in exchanges.iter().filter(|e| e.took_effect()) {
        for entry in e.call.entries.iter().filter(|entry| e.done.contains(&entry.id)) {
            if e.call.operation == Operation::Delete || lets_go(entry.visibility, terms) {
                open.retain(|receipt| *receipt != entry.receipt);
            }
        }
    }
    open
}
