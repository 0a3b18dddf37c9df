//! The worker never holds more messages than it has places for.

use super::invariants::{Delivery, Life, Terms, lets_go, records};
use super::log::Exchange;
use super::picture::MADE;
use super::proxy::call::Operation;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// When things ended, as the wire shows it.
#[derive(Default)]
struct Ends<'a> {
    /// Confirmed uploads and looks at what is there, by key.
    outputs: HashMap<&'a str, Vec<&'a Exchange>>,
    /// When a receipt was first let go of.
    settled: HashMap<&'a str, Duration>,
    /// When a receipt was first given back to the queue, for others or for another try.
    given_back: HashMap<&'a str, Duration>,
    /// Its last change of visibility that looks like a renewal.
    renewed: HashMap<&'a str, Duration>,
    /// Dead letters by message id.
    letters: HashMap<&'a str, Duration>,
    /// The last that was seen of a life.
    lives: HashMap<Life, Duration>,
}

/// A job has given up its place a moment before the wire shows what became of its message, and a
/// receive may be quicker.
const WORD_ON_ITS_WAY: Duration = Duration::from_millis(500);
/// What gives a message back may have to wait for a renewal that is on its way, and that for an answer.
const BEHIND_A_RENEWAL: Duration = Duration::from_millis(1500);

/// Changes of how many are held, by life.
type Changes = HashMap<Life, Vec<(Duration, i64)>>;

/// Messages in work never exceed the places; finished ones may wait for their delete, but not more
/// of them than the buffer holds.
pub fn check(exchanges: &[Exchange], deliveries: &HashMap<&str, Delivery<'_>>, terms: &Terms) -> Vec<String> {
    let ends = Ends::read(exchanges, terms);
    // A message received again while it runs is one message with two receipts.
    let mut held: BTreeMap<(Life, &str), Vec<&Delivery<'_>>> = BTreeMap::new();
    for delivery in deliveries.values() {
        held.entry((delivery.life.clone(), &delivery.message.id)).or_default().push(delivery);
    }
    let (mut in_work, mut in_hand) = (Changes::new(), Changes::new());
    for ((life, _), mut deliveries) in held {
        deliveries.sort_by_key(|d| d.at);
        for (n, delivery) in deliveries.iter().enumerate() {
            let last = ends.lives.get(&life).copied().unwrap_or_default();
            let next = deliveries.get(n + 1).map_or(last, |d| d.at);
            let let_go = ends.let_go(delivery, terms);
            let end = let_go.unwrap_or(last).min(next.max(delivery.at));
            in_hand.entry(life.clone()).or_default().extend([(delivery.at, 1), (end, -1)]);
            let finished = ends.finished(delivery).map(|at| at.min(end));
            let given_back = ends.given_back(delivery).map(|at| at.min(end));
            // Work that was done before is over when that is seen, and the wire does not show when.
            if let Some(end) = finished.or(given_back).or(let_go.is_none().then_some(end)) {
                in_work.entry(life.clone()).or_default().extend([(delivery.at, 1), (end, -1)]);
            }
        }
    }
    let mut broken = Vec::new();
    for (changes, what, buffer) in [(in_work, "in work", false), (in_hand, "in hand", true)] {
        for (life, changes) in changes {
            let places = terms.concurrency.get(&life.0).copied().unwrap_or(1);
            let most = if buffer { places + places.max(10) } else { places };
            let (peak, at) = peak(changes);
            if peak > most {
                broken.push(format!(
                    "{}.{} had {peak} messages {what} at {at:.3} s, at most {most} are allowed",
                    life.0, life.1
                ));
            }
        }
    }
    broken
}

impl<'a> Ends<'a> {
    fn read(exchanges: &'a [Exchange], terms: &Terms) -> Self {
        let mut ends = Self::default();
        for e in exchanges {
            let ended = e.ended.unwrap_or(e.at);
            let last = ends.lives.entry((e.worker.clone(), e.life)).or_default();
            *last = ended.max(*last);
            match e.call.operation {
                Operation::PutObject | Operation::HeadObject if e.confirmed() => {
                    ends.outputs.entry(&e.call.key).or_default().push(e);
                }
                Operation::Delete | Operation::ChangeVisibility => {
                    for entry in &e.call.entries {
                        if e.call.operation == Operation::ChangeVisibility && lets_go(entry.visibility, terms)
                        {
                            ends.given_back.entry(&entry.receipt).or_insert(e.at);
                        }
                        if e.call.operation == Operation::Delete || lets_go(entry.visibility, terms) {
                            ends.settled.entry(&entry.receipt).or_insert(e.at);
                        } else if e.lost.contains(&entry.id) {
                            // Not ours any more: its job ends without another word.
                            ends.settled.entry(&entry.receipt).or_insert(ended);
                        } else {
                            ends.renewed.insert(&entry.receipt, e.at);
                        }
                    }
                }
                Operation::Send => {
                    let id = e.call.json["MessageAttributes"]["longshore.message-id"]["StringValue"].as_str();
                    ends.letters.insert(id.unwrap_or_default(), ended);
                }
                _ => {}
            }
        }
        ends
    }

    fn let_go(&self, delivery: &Delivery<'_>, terms: &Terms) -> Option<Duration> {
        let receipt = delivery.message.receipt.as_str();
        let last = self.lives.get(&delivery.life).copied().unwrap_or_default();
        // A back-off can be as long as the visibility timeout and looks like a renewal then, but no
        // renewal follows it.
        let alone = |at: &&Duration| **at + Duration::from_secs(terms.visibility) < last;
        let let_go = self.settled.get(receipt).or(self.renewed.get(receipt).filter(alone));
        let_go.map(|at| at.saturating_sub(WORD_ON_ITS_WAY).max(delivery.at))
    }

    /// When it had given up work on a message, if it gave it back.
    fn given_back(&self, delivery: &Delivery<'_>) -> Option<Duration> {
        let at = self.given_back.get(delivery.message.receipt.as_str())?;
        Some(at.saturating_sub(BEHIND_A_RENEWAL).max(delivery.at))
    }

    /// When this life had stored all outputs of a message, or its dead letter; None if the wire does
    /// not show it.
    fn finished(&self, delivery: &Delivery<'_>) -> Option<Duration> {
        let records = records(delivery.message);
        let outputs =
            records.iter().flat_map(|(key, order)| MADE.iter().map(move |(name, _)| (name, key, order)));
        let stored = outputs.map(|(name, key, order)| {
            let calls = self.outputs.get(format!("{name}/{key}").as_str())?;
            let mine = |e: &&Exchange| {
                (&e.worker, e.life) == (&delivery.life.0, delivery.life.1) && e.at >= delivery.at
            };
            let put = |e: &&Exchange| e.call.metadata("longshore-sequencer") == Some(order);
            let looked = |e: &&Exchange| e.call.operation == Operation::HeadObject;
            let ours: Vec<&Exchange> = calls.iter().copied().filter(mine).collect();
            let stored = ours.iter().copied().find(put).or_else(|| ours.iter().copied().find(looked));
            // From then on its worker can know, and be quicker than whoever writes the log.
            stored.and_then(|e| e.effect_at.or(e.ended))
        });
        let stored: Option<Vec<Duration>> = stored.collect();
        let stored = stored.and_then(|times| times.into_iter().max());
        stored.or_else(|| self.letters.get(delivery.message.id.as_str()).copied())
    }
}

fn peak(mut changes: Vec<(Duration, i64)>) -> (usize, f64) {
    // What ends at the same moment ends first.
    changes.sort();
    let (mut now, mut most, mut when) = (0, 0, 0.0);
    for (at, change) in changes {
        now += change;
        if now > most {
            (most, when) = (now, at.as_secs_f64());
        }
    }
    (usize::try_from(most).unwrap_or(0), when)
}
