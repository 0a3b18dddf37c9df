//! How a life may end in order: nothing is left in its hands, and nothing was begun after it was told to stop.

use super::invariants::Terms;
use super::log::{Exchange, Received};
use super::proxy::call::{Entry, Operation, short};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

/// The end of a life with exit code 0.
#[derive(Debug, Clone)]
pub struct Exit {
    pub worker: String,
    pub life: u64,
    /// When it was first told to stop.
    pub told: Option<Duration>,
    pub at: Duration,
    /// Messages that the queue counted as hidden, asked at once.
    pub hidden: Option<u64>,
    /// When the queue had answered.
    pub asked: Duration,
    /// What it said of itself when it left.
    pub farewell: Option<Value>,
}

/// A signal is noticed within this time, on a busy machine too.
const NOTICED_WITHIN: Duration = Duration::from_secs(1);

struct Delivery<'a> {
    message: &'a Received,
    by: &'a Exchange,
}

impl Delivery<'_> {
    fn is_of(&self, exit: &Exit) -> bool {
        (&self.by.worker, self.by.life) == (&exit.worker, exit.life)
    }
}

/// What SQS was told of each receipt handle, in order.
type Words<'a> = HashMap<&'a str, Vec<(&'a Exchange, &'a Entry)>>;

pub fn check(exchanges: &[Exchange], exits: &[Exit], terms: &Terms) -> Vec<String> {
    let mut words = Words::new();
    let settles = |e: &&Exchange| matches!(e.call.operation, Operation::Delete | Operation::ChangeVisibility);
    for e in exchanges.iter().filter(settles) {
        for entry in &e.call.entries {
            words.entry(&entry.receipt).or_default().push((e, entry));
        }
    }
    exits.iter().flat_map(|exit| check_one(exchanges, &words, exit, terms)).collect()
}

fn check_one(exchanges: &[Exchange], words: &Words<'_>, exit: &Exit, terms: &Terms) -> Vec<String> {
    let name = format!("{}.{}", exit.worker, exit.life);
    let mut broken = Vec::new();
    // The last delivery of each message decides who has it: of polls that wait side by side, the one that began
    // first may be answered last.
    let mut last: HashMap<&str, Delivery<'_>> = HashMap::new();
    let mut receives: Vec<&Exchange> = exchanges.iter().filter(|e| e.at <= exit.asked).collect();
    receives.sort_by_key(|e| e.effect_at.unwrap_or(e.at));
    for by in receives {
        for message in &by.messages {
            last.insert(&message.id, Delivery { message, by });
        }
    }
    let said = |what: &str| exit.farewell.as_ref().and_then(|line| line[what].as_u64());
    let (mut backed_off, mut elsewhere, mut held) = (0, 0, Vec::new());
    for delivery in last.values() {
        if !delivery.is_of(exit) || !delivery.by.reached {
            let word = last_word(words, delivery, exit.at);
            elsewhere += u64::from(matches!(word, Word::None | Word::Hidden(_)));
            continue;
        }
        match last_word(words, delivery, exit.asked) {
            Word::Deleted | Word::Released | Word::Lost => {}
            Word::Hidden(seconds) if terms.capped || seconds != terms.visibility => backed_off += 1,
            Word::Hidden(_) | Word::None => held.push(delivery),
        }
    }
    // A back-off of just the visibility timeout looks like a renewal on the wire.
    let unseen = said("retried").map_or(held.len() as u64, |retried| retried.saturating_sub(backed_off));
    let excused = unseen + said("still_held").unwrap_or(0);
    if held.len() as u64 > excused {
        let receipts: Vec<&str> = held.iter().map(|d| short(&d.message.receipt)).collect();
        broken.push(format!("{name} ended with 0 and still held {}", receipts.join(" ")));
    }
    if let Some(hidden) = exit.hidden.filter(|hidden| *hidden > elsewhere + backed_off + excused) {
        broken.push(format!(
            "{name} ended with 0, and the queue says that {hidden} messages are hidden: {backed_off} wait for another \
             try, {elsewhere} may be with others"
        ));
    }
    if let Some(told) = exit.told {
        broken.extend(begun_late(exchanges, words, exit, told + NOTICED_WITHIN, &name));
    }
    broken
}

/// No receive is sent, and what a parked one brings is given back at once.
fn begun_late(
    exchanges: &[Exchange],
    words: &Words<'_>,
    exit: &Exit,
    noticed: Duration,
    name: &str,
) -> Vec<String> {
    let mine = |e: &&Exchange| (&e.worker, e.life) == (&exit.worker, exit.life);
    let mut broken = Vec::new();
    for by in exchanges.iter().filter(mine).filter(|e| e.call.operation == Operation::Receive) {
        if by.at > noticed {
            broken.push(format!("{name} was told to stop, and receives at {:.3} s", by.at.as_secs_f64()));
        }
        let late = by.reached && by.effect_at.is_some_and(|at| at > noticed);
        for message in by.messages.iter().filter(|_| late) {
            if !matches!(last_word(words, &Delivery { message, by }, exit.asked), Word::Released) {
                broken.push(format!(
                    "{name} was told to stop, and did not give back {}, which came at {:.3} s",
                    short(&message.receipt),
                    by.at.as_secs_f64()
                ));
            }
        }
    }
    broken
}

/// The last thing that the server was told of a delivery, and did.
enum Word {
    None,
    Hidden(u64),
    Released,
    Deleted,
    /// It ran out, so it shows by itself.
    Lost,
}

/// As far as the server had answered by a time.
fn last_word(words: &Words<'_>, delivery: &Delivery<'_>, by: Duration) -> Word {
    let mut word = Word::None;
    let told = words.get(delivery.message.receipt.as_str()).map(Vec::as_slice).unwrap_or_default();
    for (e, entry) in told.iter().filter(|(e, _)| e.effect_at.is_some_and(|at| at <= by)) {
        if e.lost.contains(&entry.id) {
            return Word::Lost;
        }
        if !e.took_effect() || !e.done.contains(&entry.id) {
            continue;
        }
        word = match (e.call.operation, entry.visibility) {
            (Operation::Delete, _) => return Word::Deleted,
            (_, Some(0)) => Word::Released,
            (_, seconds) => Word::Hidden(seconds.unwrap_or(0)),
        };
    }
    word
}
