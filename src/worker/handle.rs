//! One message, from its body to its settlement.

use super::breaker::{Breaker, Source, Turn};
use super::gate::{Entered, Gate, Pass};
use super::row;
use crate::command::run::Commands;
use crate::error::{Barrier, Error, Printable, Reason, Rejection};
use crate::event::{Created, Meaning, Record};
use crate::job::{self, Context, Job, Outcome};
use crate::ops::{History, Metrics, Phase, Shutdown, traces};
use crate::queue::keeper::{Cause, Settlement, back_off};
use crate::queue::{DeadLetter, DeadLetters, Lease, Message};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tracing::{Instrument, Span, error, info, info_span, warn};

/// What handling a message takes.
pub struct Handler {
    pub context: Context,
    pub queue_url: String,
    /// Whether this fleet makes renditions.
    pub renditions: bool,
    /// None: this fleet runs no commands.
    pub commands: Option<Commands>,
    pub dead_letters: DeadLetters,
    pub max_job_time: Duration,
    pub gate: Gate,
    pub shutdown: Shutdown,
    pub breaker: Breaker,
    pub metrics: Metrics,
    pub history: History,
    pub reports: Option<mpsc::UnboundedSender<Report>>,
}

/// How one record ended, for whoever watches.
#[derive(Debug, Clone)]
pub struct Report {
    /// None: the record could not be read.
    pub created: Option<Created>,
    pub outcome: Outcome,
    pub elapsed: Duration,
    pub receive_count: u32,
}

/// How a message ends: what its records came to.
#[derive(Debug)]
pub enum Ended {
    /// Every record is done, superseded, gone or noise.
    Finished,
    /// A record may work later; the others are harmless to repeat.
    Retry,
    /// A record works when the configuration is mended.
    Blocked { barrier: Barrier, source: Source, why: Error },
    /// An attempt of a row failed, counted from 1.
    Again(u32),
    /// The worker leaves, and it was not begun.
    Left,
    /// The worker leaves before there was an end.
    Stopped,
    /// These records never will; all others are finished.
    Rejected { body: String, rejection: Rejection },
}

impl Ended {
    /// Why it is not finished; empty if it is.
    fn error(&self) -> &'static str {
        match self {
            Self::Finished => "",
            Self::Retry => "retry",
            Self::Blocked { barrier, .. } => barrier.slug(),
            Self::Again(_) => "retry",
            Self::Left | Self::Stopped => "left",
            Self::Rejected { rejection, .. } => rejection.reason.slug(),
        }
    }

    fn tell(&self, trace: &Span) {
        match self {
            Self::Finished | Self::Left | Self::Stopped => {}
            Self::Again(_) => traces::failed(trace, self.error(), "an attempt of the row failed"),
            Self::Retry => traces::failed(trace, self.error(), "a record is to be tried again"),
            Self::Blocked { why, .. } => traces::failed(trace, self.error(), why),
            Self::Rejected { rejection, .. } => traces::failed(trace, self.error(), &rejection.detail),
        }
    }
}

/// SQS hides a message for 12 h from its receive, whatever is asked.
pub const HOLD_AT_MOST: Duration = Duration::from_secs(11 * 3600);
/// A first delivery that is denied waits like this many more: 20 s at most instead of 5 s.
const BLOCKED_WAITS_LIKE: u32 = 2;

/// How long a suspect's turn lasts when SQS does not confirm what it is told.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(5);

pub async fn handle(handler: &Handler, mut message: Message, job: Job, lease: Lease, pass: Pass) {
    let trace = traces::message(&mut message, &handler.queue_url);
    // It may have been made only now.
    lease.trace(message.trace_id());
    let span = info_span!(
        "message",
        message_id = message.id,
        receive_count = message.receive_count,
        trace_id = message.trace_id(),
        trace = message.trace_header
    );
    async {
        let give_up = message.received_at + HOLD_AT_MOST;
        // Left when the message is let go of: what could kill the process waits for that.
        let mut inside = None;
        let work = work(handler, &message, &job, &lease, pass, &mut inside);
        let ended = tokio::time::timeout_at(give_up.into(), work).await;
        let ended = ended.unwrap_or(Ended::Retry);
        handler.metrics.processed(message.received_at.elapsed(), ended.error());
        ended.tell(&trace);
        settle(handler, &message, lease, ended).await;
        if let Some((_, Some(_))) = &inside {
            // Its job may be given up, but its picture can still kill the process.
            tokio::select! {
                () = handler.shutdown.reached(Phase::Draining) => {}
                () = pixels_idle(handler) => {}
            }
        }
    }
    .instrument(span)
    .instrument(trace.clone())
    .await;
}

/// Works on a message until there is something to say of it. While the configuration stands in the
/// way of every picture, that is not yet: the message is kept, under its lease.
async fn work(
    handler: &Handler,
    message: &Message,
    job: &Job,
    lease: &Lease,
    pass: Pass,
    inside: &mut Option<Entered>,
) -> Ended {
    let count = message.receive_count;
    let leaving = || handler.shutdown.reached(Phase::Draining);
    *inside = tokio::select! {
        biased;
        () = leaving() => return Ended::Left,
        entered = enter(handler, lease, handler.gate.enter(pass)) => Some(entered),
    };
    let mut repeated = count > 1;
    let mut turn = None;
    loop {
        let ended = attempt(handler, message, job, lease, repeated).await;
        let others_passed = matches!(turn, Some(Turn::Closed));
        drop(turn);
        let Ended::Blocked { barrier, source, why } = &ended else { return ended };
        // Others get through, this one does not: it is no matter of the configuration as a whole.
        if others_passed || !handler.breaker.ran_into(*barrier, source, why) {
            return ended;
        }
        *inside = None;
        turn = match handler.breaker.turn(count).await {
            Turn::GiveBack => return ended,
            Turn::Leave => return Ended::Left,
            next => Some(next),
        };
        repeated = true;
        let again = handler.gate.enter_again(count, job);
        *inside = tokio::select! {
            biased;
            () = leaving() => return Ended::Left,
            entered = enter(handler, lease, again) => Some(entered),
        };
    }
}

/// A suspect begins when it could take nothing along: no picture of a job that was given up is in work, and
/// whatever was done before is told to the queue.
async fn enter(handler: &Handler, lease: &Lease, gate: impl Future<Output = Entered>) -> Entered {
    let entered = gate.await;
    if entered.1.is_some() {
        tokio::join!(pixels_idle(handler), lease.others_settled(CONFIRMED_WITHIN));
    }
    entered
}

/// Not for ever: a picture that never ends must not end all work.
async fn pixels_idle(handler: &Handler) {
    let limit = handler.max_job_time;
    if tokio::time::timeout(limit, handler.context.idle()).await.is_err() {
        warn!("a picture of a job that was given up is still in work after {} s more", limit.as_secs());
    }
}

async fn attempt(handler: &Handler, message: &Message, job: &Job, lease: &Lease, repeated: bool) -> Ended {
    match job {
        Job::Renditions(records) if handler.renditions => {
            attempt_in_time(handler, message, records, repeated).await
        }
        Job::Command(ticket) if handler.commands.is_some() => {
            row::attempt(handler, message, lease, ticket).await
        }
        Job::Renditions(_) => not_served("renditions"),
        Job::Command(_) => not_served("commands"),
        Job::Nothing(noise) => {
            info!(reason = noise.slug(), "ignored");
            handler.metrics.ignored(noise.slug());
            Ended::Finished
        }
        Job::Unknown(why) => {
            let rejection = Rejection::new(Reason::Malformed, why);
            warn!(reason = rejection.reason.slug(), "rejected: {}", Printable(&rejection.detail));
            let outcome = Outcome::Rejected(rejection.clone());
            handler.history.ended(None, &outcome, Duration::ZERO, message.receive_count);
            Ended::Rejected { body: message.body.clone(), rejection }
        }
    }
}

/// For another fleet on the same queue, or for this one when it is configured as its owner meant.
fn not_served(kind: &str) -> Ended {
    warn!(kind, "not served here: a message for {kind} goes back to the queue (see --jobs)");
    Ended::Retry
}

async fn attempt_in_time(handler: &Handler, message: &Message, records: &[Record], repeated: bool) -> Ended {
    let limit = handler.max_job_time;
    let attempt = attempt_records(handler, message, records, repeated);
    tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| {
        warn!("not finished within {} s (--max-job-time)", limit.as_secs());
        Ended::Retry
    })
}

/// Attempts every record: one that fails takes nothing from its neighbours.
async fn attempt_records(handler: &Handler, message: &Message, records: &[Record], repeated: bool) -> Ended {
    let mut rejected: Vec<(Value, Rejection)> = Vec::new();
    let mut retry = false;
    let mut blocked = None;
    for Record { meaning, json } in records {
        let source = meaning.created().map(|c| Source { bucket: c.bucket.clone(), key: c.key.clone() });
        let source = source.unwrap_or_default();
        match attempt_record(handler, message, meaning.clone(), repeated).await {
            Outcome::Rejected(rejection) => rejected.push((json.clone(), rejection)),
            Outcome::Retry(_) => retry = true,
            Outcome::Left => return Ended::Left,
            Outcome::Blocked(barrier, why) => blocked = Some(Ended::Blocked { barrier, source, why }),
            Outcome::Done(_) | Outcome::Superseded | Outcome::Ignored(_) | Outcome::Gone(_) => {}
        }
    }
    // Rejected records wait until no record is to be tried again, or each retry would send them once
    // more. If that never comes, the queue moves the whole body after its last receive.
    if let Some(blocked) = blocked {
        return blocked;
    }
    if retry {
        return Ended::Retry;
    }
    if rejected.is_empty() { Ended::Finished } else { dead_letter(rejected) }
}

async fn attempt_record(handler: &Handler, message: &Message, meaning: Meaning, repeated: bool) -> Outcome {
    let started = Instant::now();
    let trace = traces::record(meaning.created());
    let (created, outcome) = match meaning {
        Meaning::Created(created) => {
            handler.history.begun(&created, message.sent_at, message.receive_count);
            let outcome = job::run(&handler.context, &created, repeated).instrument(trace.clone()).await;
            (Some(created), outcome)
        }
        Meaning::Noise(noise) => (None, Outcome::Ignored(noise)),
        Meaning::Malformed(why) => (None, Outcome::Rejected(Rejection::new(Reason::Malformed, why))),
    };
    traces::record_ended(&trace, &outcome);
    log(created.as_ref(), &outcome);
    handler.tell(created.as_ref(), &outcome);
    let elapsed = started.elapsed();
    handler.history.ended(created.as_ref(), &outcome, elapsed, message.receive_count);
    if let Some(reports) = &handler.reports {
        let report =
            Report { created, outcome: outcome.clone(), elapsed, receive_count: message.receive_count };
        // Whoever watched may have left.
        let _ = reports.send(report);
    }
    outcome
}

impl Handler {
    fn tell(&self, created: Option<&Created>, outcome: &Outcome) {
        self.metrics.record(outcome);
        let bucket = created.map_or("", |c| c.bucket.as_str());
        match outcome {
            Outcome::Done(made) if made.outputs.iter().any(|o| o.written) => self.breaker.stored(bucket),
            Outcome::Done(made) if !made.outputs.is_empty() => self.breaker.read(bucket),
            Outcome::Gone(_) => self.breaker.read(bucket),
            Outcome::Rejected(rejection) if rejection.reason.is_of_the_bytes() => self.breaker.read(bucket),
            _ => {}
        }
    }
}

fn log(created: Option<&Created>, outcome: &Outcome) {
    let bucket = created.map_or("", |c| c.bucket.as_str());
    let key = Printable(created.map_or("", |c| c.key.as_str()));
    match outcome {
        // The job has told it in full.
        Outcome::Done(_) => {}
        Outcome::Left => info!(bucket, %key, "not begun: the worker leaves"),
        Outcome::Superseded => info!(bucket, %key, "superseded by a newer version"),
        Outcome::Ignored(noise) => info!(bucket, %key, reason = noise.slug(), "ignored"),
        Outcome::Gone(error) => warn!(bucket, %key, "gone: {error}"),
        Outcome::Rejected(rejection) => {
            let detail = Printable(&rejection.detail);
            warn!(bucket, %key, reason = rejection.reason.slug(), "rejected: {detail}");
        }
        Outcome::Retry(error) | Outcome::Blocked(_, error) => {
            warn!(bucket, %key, "will be tried again: {error}");
        }
    }
}

/// One body for all rejected records of a message, in a form that can be sent again as it is.
fn dead_letter(mut rejected: Vec<(Value, Rejection)>) -> Ended {
    let detail = |(_, r): &(Value, Rejection)| r.detail.clone();
    let rejection = match rejected.as_slice() {
        [(_, only)] => only.clone(),
        several => {
            let details: Vec<String> = several.iter().map(detail).collect();
            Rejection::new(several[0].1.reason, format!("{} records: {}", several.len(), details.join("; ")))
        }
    };
    let is_bridged = |record: &Value| record.get("detail-type").is_some();
    let body = match rejected.as_mut_slice() {
        [(only, _)] if is_bridged(only) => only.take(),
        records => json!({ "Records": records.iter_mut().map(|(json, _)| json.take()).collect::<Vec<_>>() }),
    };
    Ended::Rejected { body: body.to_string(), rejection }
}

/// The only place where a message is let go. It is deleted last: after its outputs are stored, or
/// after the dead-letter queue has it. A crash in between costs a repetition, never a picture.
async fn settle(handler: &Handler, message: &Message, lease: Lease, ended: Ended) {
    let again = |receive_count| {
        let delay = back_off(receive_count);
        info!("back to the queue for {:.0} s", delay.as_secs_f64());
        Settlement::Retry(delay)
    };
    let settlement = match ended {
        Ended::Finished => Settlement::Delete,
        Ended::Retry => again(message.receive_count),
        // Somebody has to mend something first, or it is gone and S3 does not say so.
        Ended::Blocked { .. } => again(message.receive_count + BLOCKED_WAITS_LIKE),
        Ended::Again(attempt) => again(attempt),
        Ended::Left => Settlement::Release(Cause::NotBegun),
        Ended::Stopped => Settlement::Release(Cause::CutOff),
        // Not ours any more: whoever has it now sends it.
        Ended::Rejected { .. } if lease.is_lost() => Settlement::Release(Cause::CutOff),
        Ended::Rejected { body, rejection } => {
            let letter = DeadLetter { message, body, rejection: &rejection };
            let begun = Instant::now();
            let sent = handler.dead_letters.send(&letter).await;
            handler.metrics.operation("send_message", begun.elapsed(), sent.is_err());
            match sent {
                Ok(()) => {
                    handler.metrics.dead_lettered(rejection.reason.slug());
                    handler.history.dead_lettered(rejection.reason.slug());
                    Settlement::DeadLettered
                }
                // SQS moves it after its last receive; until then nothing is lost.
                Err(why) => {
                    error!("{why}");
                    again(message.receive_count)
                }
            }
        }
    };
    if handler.gate.has_suspect() {
        lease.settle_surely(settlement, CONFIRMED_WITHIN).await;
    } else {
        lease.settle(settlement).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(json: Value, reason: Reason) -> (Value, Rejection) {
        (json, Rejection::new(reason, reason.slug()))
    }

    #[test]
    fn the_dead_letter_holds_just_the_records_that_failed() {
        let two = vec![
            rejected(json!({"eventSource": "aws:s3", "n": 1}), Reason::Corrupt),
            rejected(json!({"eventSource": "aws:s3", "n": 2}), Reason::Empty),
        ];
        let Ended::Rejected { body, rejection } = dead_letter(two) else { panic!("not rejected") };
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["Records"].as_array().unwrap().len(), 2);
        assert_eq!(rejection.reason, Reason::Corrupt);
        assert!(rejection.detail.contains("empty"), "{rejection}");
    }

    #[test]
    fn an_eventbridge_event_is_dead_lettered_in_its_own_form() {
        let event = json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {}});
        let Ended::Rejected { body, .. } = dead_letter(vec![rejected(event.clone(), Reason::Corrupt)]) else {
            panic!("not rejected")
        };
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), event);
    }
}
