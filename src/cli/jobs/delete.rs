//! `longshore delete`: everything that the work bucket has of a job.

use super::{JobArgs, Opened, cancel};
use crate::cli::confirm::refusal;
use crate::cli::out::out;
use crate::cli::{FAILED, OK};
use crate::command::layout;
use crate::command::states::Counts;
use crate::error::{Error, Printable};
use crate::store::jobs::DELETES;
use crate::store::listing::Listing;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    job: JobArgs,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
    /// Deletes it even while rows run: what becomes of these is not told then.
    #[arg(long)]
    force: bool,
    /// Output for programs: a JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> u8 {
    super::run(&args.job, Vec::new(), |opened| async move { delete(args, &opened).await })
}

async fn delete(args: &Args, opened: &Opened) -> Result<u8, Error> {
    let (jobs, name) = (&opened.jobs, Printable(&opened.name));
    // Without its description, something may be left of it all the same: an earlier deletion was interrupted.
    let rows = opened.job.as_ref().map_or(0, |job| job.rows);
    let counts = Counts::read(&jobs.store, &jobs.bucket, &opened.name, rows).await?;
    if counts.running > 0 && !args.force {
        return Err(Error::new(format!(
            "{} rows of {name} run: wait for their end (longshore cancel {name} lets no other begin), or pass --force",
            counts.running
        )));
    }
    if opened.job.is_none() && !is_anything_left(opened).await? {
        opened.job()?;
    }
    let open = counts.rows.saturating_sub(counts.over());
    let what = match open {
        0 => "its script, table, records and logs".to_owned(),
        open => format!("its script, table, records and logs, with {open} rows that have not ended"),
    };
    let question = format!("Delete the job {name} in s3://{}, {what}?", jobs.bucket);
    if let Some(code) = refusal(&question, args.yes, &opened.shutdown).await {
        return Ok(code);
    }
    let deleted = remove(opened).await?;
    let interrupted = opened.is_leaving();
    if args.json {
        out!("{}", json!({"job": opened.name, "deleted": deleted, "interrupted": interrupted}));
    } else {
        let end = if interrupted { "; interrupted, delete it again" } else { "" };
        out!("{name}: {deleted} objects deleted{end}");
        if open > 0 && !interrupted {
            out!("messages of {open} rows may still be in the queue; the workers let them go as they come");
        }
    }
    Ok(if interrupted { FAILED } else { OK })
}

async fn is_anything_left(opened: &Opened) -> Result<bool, Error> {
    let prefix = format!("{}/", opened.name);
    let mut listing = Listing::new(opened.jobs.store.clone(), &opened.jobs.bucket, &prefix, None);
    Ok(listing.next().await?.is_some())
}

/// No row begins meanwhile, and the description goes last: what was deleted in part is still a job to delete.
async fn remove(opened: &Opened) -> Result<u64, Error> {
    cancel::mark(opened).await?;
    let (jobs, name) = (&opened.jobs, &opened.name);
    let last = [layout::job(name), layout::cancelled(name)];
    let style = ProgressStyle::with_template("{spinner} {pos} objects deleted  {per_sec}");
    let bar = ProgressBar::new_spinner().with_style(style.expect("the template is fixed"));
    let mut listing = Listing::new(jobs.store.clone(), &jobs.bucket, &format!("{name}/"), None);
    let mut deleted = 0;
    let mut keys = Vec::new();
    loop {
        let object = listing.next().await?;
        let over = object.is_none() || opened.is_leaving();
        keys.extend(object.map(|object| object.key).filter(|key| !last.contains(key)));
        if keys.len() == DELETES || over {
            jobs.delete(&keys).await?;
            deleted += keys.len() as u64;
            bar.set_position(deleted);
            keys.clear();
        }
        if over {
            break;
        }
    }
    bar.finish_and_clear();
    if !opened.is_leaving() {
        jobs.delete(&last).await?;
        deleted += 1;
    }
    Ok(deleted)
}
