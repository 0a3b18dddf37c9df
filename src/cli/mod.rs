//! The words a person types, with their environment names. Nothing is checked here: `config`
//! reads all values together, so that all mistakes are reported at once.

mod backfill;
#[cfg(feature = "status")]
mod completions;
mod config;
#[cfg(any(feature = "status", feature = "submit"))]
mod confirm;
#[cfg(any(feature = "status", feature = "submit"))]
mod connect;
#[cfg(feature = "status")]
mod dlq;
mod healthcheck;
mod http;
#[cfg(feature = "submit")]
mod jobs;
#[cfg(feature = "local")]
mod local;
#[cfg(feature = "status")]
mod man;
mod out;
mod render;
mod settings;
#[cfg(feature = "status")]
mod status;
#[cfg(feature = "submit")]
mod submit;
mod told;
mod work;

pub use settings::{RenderArgs, WorkArgs};
pub use work::build as build_worker;

use clap::{Parser, Subcommand};
use std::fmt;
use std::process::ExitCode;
#[cfg(any(feature = "status", feature = "submit"))]
use std::time::Duration;

/// Turns pictures uploaded to S3 into renditions, through a queue, and never loses one.
#[derive(Debug, Parser)]
#[command(name = "longshore", version, propagate_version = true, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // there is one in a process
pub enum Command {
    /// Runs the service: takes S3 events from a queue and stores the renditions of each picture.
    ///
    /// Everything is set by flags or by the environment. Region, credentials, profile and endpoint
    /// come from the usual places of the AWS SDK (AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL, the
    /// ECS task role …). SIGTERM drains: running pictures are finished, the rest is handed back.
    #[command(
        after_help = "Exit codes: 0 it has stopped, as it was told to; 1 it could not start, or a part of it \
                      broke; 2 the configuration or the command line is wrong, and nothing was started."
    )]
    Work(work::Args),
    /// Runs the same service with no AWS account, on an S3 and an SQS inside this program.
    #[cfg(feature = "local")]
    #[command(
        after_help = "Exit codes: 0 every picture that was named is done; 1 one is not, it was interrupted \
                      before, or it could not start; 2 the configuration or the command line is wrong, or \
                      there is nothing to do."
    )]
    Local(local::Args),
    /// Makes renditions of files on disk: no queue, the quickest way to try a setting.
    #[command(
        after_help = "Exit codes: 0 every file is rendered; 1 one could not be; 2 the configuration or the \
                      command line is wrong, and nothing was rendered."
    )]
    Render(render::Args),
    /// Asks the worker in this container whether it is alive; exits 0 if it is, 1 if not.
    #[command(after_help = EXIT_CODES)]
    Healthcheck(healthcheck::Args),
    /// Shows what goes on: queues, workers, and in ECS service, tasks, instances and scaling.
    #[cfg(feature = "status")]
    #[command(
        after_help = "Exit codes: 0 all that was asked for could be read, but for services that the endpoint \
                      does not have; 1 some of it could not; 2 the configuration or the command line is \
                      wrong, and nothing was asked."
    )]
    Status(status::Args),
    /// Queues pictures that have no rendition yet, or one made with other settings.
    #[command(after_help = EXIT_CODES)]
    Backfill(backfill::Args),
    /// Queues the rows of a table, for each of which the workers run a script.
    ///
    /// Table, inputs, buckets and outputs are checked before anything is queued, and all mistakes are told
    /// at once. Submitting the same job again queues what is new or was changed, and goes on where an
    /// earlier submission was interrupted.
    #[cfg(feature = "submit")]
    #[command(
        after_help = "Exit codes: 0 all is queued, and with --wait every row is done; 1 a row is not, it was \
                      interrupted, or a service failed; 2 the configuration, the command line, the table or \
                      what it names is wrong, and nothing was queued."
    )]
    Submit(submit::Args),
    /// Tells what became of each row of a job: as a table, JSON or TSV.
    #[cfg(feature = "submit")]
    #[command(
        after_help = "Exit codes: 0 it was told, whatever became of the rows; 1 it could not be read, there \
                      is no such job, or it was interrupted; 2 the configuration or the command line is \
                      wrong."
    )]
    Report(jobs::report::Args),
    /// Prints what the script printed, of one row or all.
    #[cfg(feature = "submit")]
    #[command(
        after_help = "Exit codes: 0 they were printed; 1 there are none, they could not be read, or it was \
                      interrupted; 2 the configuration or the command line is wrong."
    )]
    Logs(jobs::logs::Args),
    /// Lets no further row of a job begin; rows that run go on to their end.
    #[cfg(feature = "submit")]
    #[command(
        after_help = "Exit codes: 0 no further row begins; 1 there is no such job, or it could not be marked; \
                      2 the configuration or the command line is wrong."
    )]
    Cancel(jobs::cancel::Args),
    /// Deletes everything that the work bucket has of a job. Asks, or takes --yes.
    #[cfg(feature = "submit")]
    #[command(
        after_help = "Exit codes: 0 all is deleted; 1 some could not be, rows still run, it was interrupted, \
                      or the answer was no; 2 the configuration or the command line is wrong, or there is no \
                      terminal to ask at and no --yes."
    )]
    Delete(jobs::delete::Args),
    /// Looks at the dead-letter queue, and puts right what is in it.
    #[command(after_help = EXIT_CODES)]
    #[cfg(feature = "status")]
    Dlq(dlq::Args),
    /// Looks at the configuration of this environment.
    #[command(after_help = EXIT_CODES)]
    Config(config::Args),
    /// Prints a completion script for a shell.
    #[cfg(feature = "status")]
    #[command(after_help = "Exit codes: 0 it was printed; 2 the command line is wrong.")]
    Completions(completions::Args),
    /// Writes the manual pages into a folder.
    #[cfg(feature = "status")]
    #[command(after_help = "Exit codes: 0 all are written; 1 one could not be; 2 the command line is wrong.")]
    Man(man::Args),
}

/// Beside each command that an operator's script may ask.
const EXIT_CODES: &str = "Exit codes: 0 all is well; 1 some of it is not, or it was interrupted; 2 the configuration or the \
                          command line is wrong, and nothing was done.";

/// Everything worked.
pub const OK: u8 = 0;
/// Some of it did not: a picture was rejected, a check failed.
pub const FAILED: u8 = 1;
/// The configuration or the command line is wrong; nothing was started.
pub const USAGE: u8 = 2;

pub fn run(cli: Cli) -> ExitCode {
    let code = match cli.command {
        Command::Work(args) => work::run(&args),
        #[cfg(feature = "local")]
        Command::Local(args) => local::run(args),
        Command::Render(args) => render::run(&args),
        Command::Healthcheck(args) => healthcheck::run(&args),
        #[cfg(feature = "status")]
        Command::Status(args) => status::run(&args),
        Command::Backfill(args) => backfill::run(&args),
        #[cfg(feature = "submit")]
        Command::Submit(args) => submit::run(&args),
        #[cfg(feature = "submit")]
        Command::Report(args) => jobs::report::run(&args),
        #[cfg(feature = "submit")]
        Command::Logs(args) => jobs::logs::run(&args),
        #[cfg(feature = "submit")]
        Command::Cancel(args) => jobs::cancel::run(&args),
        #[cfg(feature = "submit")]
        Command::Delete(args) => jobs::delete::run(&args),
        #[cfg(feature = "status")]
        Command::Dlq(args) => dlq::run(&args),
        Command::Config(args) => config::run(&args),
        #[cfg(feature = "status")]
        Command::Completions(args) => completions::run(&args),
        #[cfg(feature = "status")]
        Command::Man(args) => man::run(&args),
    };
    // Not all of it could be told.
    ExitCode::from(if code == OK && out::is_closed() { FAILED } else { code })
}

/// Says why a command failed, and gives the exit code.
fn failed(why: impl fmt::Display) -> u8 {
    eprintln!("error: {why}");
    FAILED
}

/// In the largest unit that makes a whole number, rounded down.
#[cfg(any(feature = "status", feature = "submit"))]
fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5_999 => format!("{} min", seconds / 60),
        6_000..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Runs a command that mostly waits for answers, on this thread alone.
fn block_on(command: impl Future<Output = u8>) -> u8 {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(e) => failed(format_args!("cannot start the runtime: {e}")),
    }
}

/// The same for one that blocks threads with questions: who interrupts it waits for none of their answers.
#[cfg(feature = "status")]
fn block_on_and_leave(command: impl Future<Output = u8>) -> u8 {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(command);
            runtime.shutdown_background();
            code
        }
        Err(e) => failed(format_args!("cannot start the runtime: {e}")),
    }
}

/// Says what is wrong with the configuration, a line each, and gives the exit code.
fn misconfigured(mistakes: &[String]) -> u8 {
    for mistake in mistakes {
        eprintln!("error: {mistake}");
    }
    let count = mistakes.len();
    let noun = if count == 1 { "mistake" } else { "mistakes" };
    eprintln!("{count} {noun} in the configuration; nothing was started (see longshore --help)");
    USAGE
}
