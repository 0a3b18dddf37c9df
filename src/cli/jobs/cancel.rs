//! `longshore cancel`: no further row of a job begins.

use super::{JobArgs, Opened};
use crate::cli::OK;
use crate::cli::out::out;
use crate::command::layout;
use crate::command::states::Counts;
use crate::command::wire::now;
use crate::error::Error;
use serde_json::json;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    job: JobArgs,
    /// Output for programs: a JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> u8 {
    super::run(&args.job, Vec::new(), |opened| async move { cancel(args, &opened).await })
}

async fn cancel(args: &Args, opened: &Opened) -> Result<u8, Error> {
    let (job, jobs) = (opened.job()?, &opened.jobs);
    mark(opened).await?;
    // After the marker: what was counted as waiting does not begin any more.
    let counts = Counts::read(&jobs.store, &jobs.bucket, &job.name, job.rows).await?;
    let stopped = counts.waiting + counts.retrying;
    if args.json {
        out!(
            "{}",
            json!({"job": job.name, "stopped": stopped, "running": counts.running, "done": counts.done, "failed": counts.failed})
        );
        return Ok(OK);
    }
    let Counts { running, done, failed, .. } = counts;
    out!(
        "{}: {stopped} rows do not begin any more; {running} run to their end, {done} done, {failed} failed",
        job.name
    );
    if stopped > 0 {
        out!("to take it up again: submit it with --resume");
    }
    Ok(OK)
}

/// Tells the workers; theirs to look.
pub async fn mark(opened: &Opened) -> Result<(), Error> {
    let at = json!({"at": now()});
    opened.jobs.put(&layout::cancelled(&opened.name), at.to_string().into_bytes()).await
}
