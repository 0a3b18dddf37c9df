//! `longshore submit`: the rows of a table as jobs.
//!
//! Nothing is queued before all of the table is known to be sound. What is queued is told in the work bucket
//! in such an order that a submission which ended in the middle is gone on with by the next one.

mod describe;
mod plan;
mod queueing;
pub mod stored;
mod verify;

use super::connect::{self, JobsArgs};
use super::{FAILED, OK, USAGE, failed};
use crate::aws::Clients;
use crate::cli::out::out;
use crate::command::clashes;
use crate::command::spool::{Spool, Writer};
use crate::command::states::States;
use crate::command::table::{self, Format, Mistakes, Place};
use crate::command::wire::Column;
use crate::config::{JobsConfig, LogFormat, LogSettings};
use crate::error::{Error, Printable};
use crate::ops::{Phase, Shutdown, logs};
use crate::queue::{self, Queue};
use crate::store::Store;
use crate::store::jobs::JobStore;
use describe::Draft;
use indicatif::{ProgressBar, ProgressStyle};
use plan::{Plan, Selection};
use queueing::{Ended, Queueing};
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;
use stored::Stored;
use verify::Checks;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Table of the rows: tab-separated, or CSV if its name ends so. The header's cells are `--TYPE NAME`,
    /// where TYPE is env, secret-env, input, input-recursive, output or output-recursive.
    #[arg(value_name = "TASKS", required_unless_present = "tasks", conflicts_with = "tasks")]
    table: Option<PathBuf>,
    /// The same, as a flag.
    #[arg(long, value_name = "FILE")]
    tasks: Option<PathBuf>,
    /// Script that is run for each row.
    #[arg(long, value_name = "FILE")]
    script: PathBuf,
    /// Name of the job. Submitting the same job again queues only rows that are new or were changed.
    /// [default: the names of script and table]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Program that reads the script, with its arguments.
    #[arg(long, value_name = "COMMAND", default_value = "/bin/bash")]
    shell: String,
    /// A variable for every row; may be repeated. A column of the same name goes before it.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The longest that one attempt may take.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    timeout: String,
    /// After so many failed attempts a row has failed. Handing it back is no attempt.
    #[arg(long, value_name = "COUNT", default_value = "3")]
    attempts: String,
    /// Exit codes that will not get better, like 2,64-78: the row fails at once. [default: none]
    #[arg(long, value_name = "CODES")]
    permanent: Option<String>,
    /// The most memory that one attempt may take, like 2GiB, where the worker can limit it. [default: no limit]
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// The most processors that one attempt may take, like 0.5, where the worker can limit it. [default: no limit]
    #[arg(long, value_name = "COUNT")]
    cpus: Option<String>,
    /// Gives the script the worker's AWS credentials.
    #[arg(long)]
    credentials: bool,
    /// Keeps the outputs of failed attempts in the work bucket, under failed/.
    #[arg(long)]
    keep_failed: bool,
    /// Pays for what is read from and written to the buckets of the table, where these want that (Requester Pays).
    #[arg(long)]
    request_payer: bool,
    /// Waits until every row has ended, and shows how they stand. Interrupting this stops nothing.
    #[arg(long)]
    wait: bool,
    /// With --wait: ends with 1 when the queue was empty for so long, and rows have not ended. SQS tells late what
    /// it has.
    #[arg(long, value_name = "TIME", default_value = "90s")]
    wait_empty: String,
    /// Checks everything, queues nothing, and tells what would be queued.
    #[arg(long)]
    dry_run: bool,
    /// Queues the rows that have failed again, and no other.
    #[arg(long, conflicts_with = "rows")]
    only_failed: bool,
    /// Queues these rows, like 3,7-9, and no other; again, if they were queued before.
    #[arg(long, value_name = "ROWS")]
    rows: Option<String>,
    /// Takes up a job that was cancelled: every row that is not done is queued again.
    #[arg(long)]
    resume: bool,
    /// Does not look whether every input exists.
    #[arg(long)]
    no_verify_inputs: bool,
    /// Does not look whether every bucket answers.
    #[arg(long)]
    no_verify_buckets: bool,
    /// Does not look whether all buckets are in one region.
    #[arg(long)]
    no_verify_regions: bool,
    /// Output for programs: a JSON object.
    #[arg(long)]
    json: bool,
    /// URL of the queue that the workers receive from. Required.
    #[arg(long, env = "LONGSHORE_QUEUE_URL", value_name = "URL", help_heading = "Connection")]
    queue_url: Option<String>,
    #[command(flatten)]
    jobs: JobsArgs,
}

impl Args {
    fn tasks(&self) -> &Path {
        let said = self.table.as_deref().or(self.tasks.as_deref());
        said.expect("one of them is required")
    }
}

/// What is to be submitted, sound as far as can be told without asking anybody.
struct Submission {
    config: JobsConfig,
    draft: Draft,
    columns: Vec<Column>,
    /// Of its rows those that are sound.
    spool: Spool,
    selection: Selection,
    mistakes: Mistakes,
}

pub fn run(args: &Args) -> u8 {
    logs::start(&LogSettings { format: LogFormat::Auto, filter: "warn".into() }, None);
    let submission = match read(args) {
        Ok(Ok(submission)) => submission,
        Ok(Err(lines)) => return refused(&lines),
        Err(e) => return failed(e),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(e) => return failed(format_args!("cannot start the runtime: {e}")),
    };
    runtime.block_on(async {
        match Shutdown::on_signals() {
            Ok(shutdown) => submit(args, submission, &shutdown).await.unwrap_or_else(failed),
            Err(e) => failed(format_args!("cannot handle signals: {e}")),
        }
    })
}

/// Everything that is wrong, settings and table together.
fn read(args: &Args) -> Result<Result<Submission, Vec<String>>, Error> {
    let config = args.jobs.read_with_queue(&args.queue_url);
    let draft = Draft::read(args);
    let selection = Selection::read(args.only_failed, args.rows.as_deref());
    let mut mistakes = Mistakes::new(&args.tasks().display().to_string());
    let (columns, spool) = read_table(args, &mut mistakes)?;
    match (config, draft, selection) {
        (Ok(config), Ok(draft), Ok(selection)) => {
            Ok(Ok(Submission { config, draft, columns, spool, selection, mistakes }))
        }
        (config, draft, selection) => {
            let settings = config.err().into_iter().chain(draft.err()).flatten().chain(selection.err());
            Ok(Err(settings.chain(mistakes.told()).collect()))
        }
    }
}

fn read_table(args: &Args, mistakes: &mut Mistakes) -> Result<(Vec<Column>, Spool), Error> {
    let disk =
        |e: std::io::Error| Error::new(format!("cannot keep the rows in a temporary file: {e} (set TMPDIR)"));
    let file = match File::open(args.tasks()) {
        Ok(file) => file,
        Err(e) => {
            mistakes.add(&Place::Table, format!("cannot be read: {e}"));
            return Ok((Vec::new(), Spool::empty().map_err(disk)?));
        }
    };
    let bar = spinner("{spinner} {pos} rows read");
    let mut writer = Writer::new().map_err(disk)?;
    let format = Format::of(args.tasks());
    let columns = table::read(file, format, mistakes, |row| {
        if row.row.is_multiple_of(1000) {
            bar.set_position(row.row);
        }
        writer.add(&row)
    });
    let columns = columns.map_err(|e| Error::new(format!("cannot read {}: {e}", args.tasks().display())))?;
    let spool = writer.finish().map_err(disk)?;
    clashes::find(&spool, &columns, mistakes).map_err(disk)?;
    bar.finish_and_clear();
    Ok((columns, spool))
}

fn refused(lines: &[String]) -> u8 {
    for line in lines {
        eprintln!("error: {line}");
    }
    eprintln!("nothing was queued");
    USAGE
}

async fn submit(args: &Args, submission: Submission, shutdown: &Shutdown) -> Result<u8, Error> {
    let Submission { config, draft, columns, spool, selection, mut mistakes } = submission;
    let clients = connect::clients(&config.queue).await;
    let jobs = JobStore::new(Store::new(clients.clone()), &config.work_bucket);
    let checks = Checks {
        inputs: !args.no_verify_inputs,
        buckets: !args.no_verify_buckets,
        regions: !args.no_verify_regions,
        request_payer: args.request_payer,
    };
    let mut job = draft.job(columns);
    if mistakes.count() > 0 {
        // What else is wrong, so that it can be mended in one go; if nobody answers, this is enough.
        if selection == Selection::All && mistakes.has_room() {
            let verified = verify::verify(&jobs, &job.columns, &spool, checks, shutdown, &mut mistakes).await;
            if let Err(e) = verified {
                eprintln!("not all was looked at: {e}");
            }
        }
        return Ok(refused(&mistakes.told()));
    }
    let stored = Stored::load(&jobs, &job.name).await?;
    let refusals = stored.refusals(&mut job, args.resume);
    if !refusals.is_empty() {
        return Ok(refused(&refusals));
    }
    let states = States::new(&jobs.store, &jobs.bucket, &job.name);
    let plan =
        Plan::make(&job.columns, &spool, &stored, &selection, args.resume, states, &mut mistakes).await?;
    drop(spool);
    // Only what is to be queued: the rest was looked at when it was.
    if !verify::verify(&jobs, &job.columns, &plan.queue, checks, shutdown, &mut mistakes).await? {
        return Ok(interrupted(&job.name, None));
    }
    if mistakes.count() > 0 {
        return Ok(refused(&mistakes.told()));
    }
    job.rows = plan.next.rows;
    if args.dry_run {
        tell(args, &job.name, &plan);
        return Ok(OK);
    }
    let queueing = Queueing { jobs: &jobs, clients: &clients, queue_url: &config.queue.queue_url, job: &job };
    warn_of_receives(&clients, &config, job.attempts).await;
    match queueing.run(&plan, &stored, draft.script, shutdown).await? {
        Ended::Whole => tell(args, &job.name, &plan),
        Ended::After(row) => return Ok(interrupted(&job.name, Some(row))),
    }
    if args.wait {
        super::jobs::wait(
            &jobs,
            &job,
            Queue::new(clients, config.queue.queue_url.clone()),
            draft.settled,
            args.json,
            shutdown,
        )
        .await
    } else {
        Ok(OK)
    }
}

/// What SQS gives up by itself has no record, and nobody waiting would hear of it.
async fn warn_of_receives(clients: &Clients, config: &JobsConfig, attempts: u32) {
    match queue::most_receives(clients, &config.queue.queue_url).await {
        Some(most) if most <= attempts => eprintln!(
            "warning: the queue gives a message up after {most} receives (maxReceiveCount), and --attempts is \
             {attempts}: rows that fail so often end in the dead-letter queue without a record"
        ),
        _ => {}
    }
}

fn interrupted(name: &str, row: Option<u64>) -> u8 {
    match row {
        Some(row) => eprintln!(
            "interrupted after row {row} of {}: submit it again, and it goes on from there",
            Printable(name)
        ),
        None => eprintln!("interrupted; nothing was queued"),
    }
    FAILED
}

fn tell(args: &Args, name: &str, plan: &Plan) {
    let tally = &plan.tally;
    let queued = plan.queue.rows;
    if args.json {
        let line = json!({
            "job": name, "rows": plan.next.rows, "queued": queued, "new": tally.new, "changed": tally.changed,
            "again": tally.again, "unchanged": tally.unchanged, "dry_run": args.dry_run,
        });
        out!("{line}");
        return;
    }
    let verb = if args.dry_run { "would be queued" } else { "queued" };
    let mut parts = Vec::new();
    for (count, what) in [(tally.changed, "changed"), (tally.again, "again"), (tally.unchanged, "as before")]
    {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    out!("{name}: {} rows, {queued} {verb}{parts}", plan.next.rows);
    if queued > 0 && !args.dry_run && !args.wait {
        out!("how they stand: longshore report {name}");
    }
}

fn spinner(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    let bar = ProgressBar::new_spinner().with_style(style.expect("the template is fixed"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn bar(total: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}  {per_sec}  {eta}");
    let bar = ProgressBar::new(total).with_style(style.expect("the template is fixed"));
    bar.set_message(what.to_owned());
    bar
}

fn is_leaving(shutdown: &Shutdown) -> bool {
    shutdown.phase() > Phase::Running
}
