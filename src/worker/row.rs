//! One message that stands for a row: run, told, and what it means for the message.

use super::breaker::Source;
use super::handle::{Ended, HOLD_AT_MOST, Handler, Report};
use crate::command::run;
use crate::command::wire::Ticket;
use crate::error::{Error, Printable};
use crate::event::{Created, Noise};
use crate::job::{Made, Outcome};
use crate::queue::{Lease, Message};
use std::time::Instant;
use tracing::{info, warn};

/// A row has a time limit of its own; only SQS's is above it.
pub async fn attempt(handler: &Handler, message: &Message, lease: &Lease, ticket: &Ticket) -> Ended {
    let commands = handler.commands.as_ref().expect("asked before");
    let started = Instant::now();
    let ended = commands.run(ticket, message.received_at + HOLD_AT_MOST, Box::pin(lease.lost())).await;
    if !matches!(
        ended,
        run::Ended::NotBegun | run::Ended::Lost | run::Ended::Later(_) | run::Ended::Blocked(..)
    ) {
        handler.breaker.worked();
    }
    let outcome = outcome(&ended);
    log(ticket, &ended);
    handler.metrics.row(&outcome);
    // Told where pictures are: by a place that is a job's and a row's.
    let created = Created {
        bucket: commands.bucket().to_owned(),
        key: format!("{}/{:08}", ticket.job, ticket.row),
        version: None,
        sequencer: None,
        size: None,
        etag: None,
    };
    let (elapsed, receive_count) = (started.elapsed(), message.receive_count);
    handler.history.ended(Some(&created), &outcome, elapsed, receive_count);
    if let Some(reports) = &handler.reports {
        // Whoever watched may have left.
        let _ = reports.send(Report { created: Some(created.clone()), outcome, elapsed, receive_count });
    }
    match ended {
        run::Ended::Done | run::Ended::FinishedBefore | run::Ended::Cancelled | run::Ended::Gone(_) => {
            Ended::Finished
        }
        run::Ended::Failed(rejection) => Ended::Rejected { body: message.body.clone(), rejection },
        run::Ended::Again { attempt, .. } => Ended::Again(attempt),
        run::Ended::Later(_) | run::Ended::Lost => Ended::Retry,
        run::Ended::Blocked(barrier, why) => {
            Ended::Blocked { barrier, source: Source { bucket: created.bucket, key: created.key }, why }
        }
        run::Ended::NotBegun => Ended::Left,
        run::Ended::Stopped => Ended::Stopped,
    }
}

/// In the words that pictures have.
fn outcome(ended: &run::Ended) -> Outcome {
    match ended {
        run::Ended::Done | run::Ended::FinishedBefore => Outcome::Done(Made::default()),
        run::Ended::Cancelled => Outcome::Ignored(Noise::Cancelled),
        run::Ended::Gone(why) => Outcome::Gone(why.clone()),
        run::Ended::Failed(rejection) => Outcome::Rejected(rejection.clone()),
        run::Ended::Again { why, .. } | run::Ended::Later(why) => Outcome::Retry(why.clone()),
        run::Ended::Lost => Outcome::Retry(Error::new("the message is not ours any more")),
        run::Ended::Blocked(barrier, why) => Outcome::Blocked(*barrier, why.clone()),
        run::Ended::NotBegun | run::Ended::Stopped => Outcome::Left,
    }
}

fn log(ticket: &Ticket, ended: &run::Ended) {
    let (job, row) = (Printable(&ticket.job), ticket.row);
    match ended {
        // Told in full where it ended.
        run::Ended::Done => {}
        run::Ended::FinishedBefore => info!(%job, row, "was finished before"),
        run::Ended::Cancelled => info!(%job, row, "not run: the job is cancelled"),
        run::Ended::Gone(why) => warn!(%job, row, "gone: {why}"),
        run::Ended::Failed(rejection) => {
            let detail = Printable(&rejection.detail);
            warn!(%job, row, reason = rejection.reason.slug(), "failed: {detail}");
        }
        run::Ended::Again { attempt, why } => {
            let why = Printable(&why.to_string()).to_string();
            warn!(%job, row, attempt, "failed, will be tried again: {why}");
        }
        run::Ended::Later(why) | run::Ended::Blocked(_, why) => {
            warn!(%job, row, "will be tried again: {}", Printable(&why.to_string()));
        }
        run::Ended::Lost => warn!(%job, row, "given up: the message is not ours any more"),
        run::Ended::NotBegun => info!(%job, row, "not begun: the worker leaves"),
        run::Ended::Stopped => info!(%job, row, "cut off: the worker leaves, it runs elsewhere"),
    }
}
