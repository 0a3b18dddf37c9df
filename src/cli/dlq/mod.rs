//! `longshore dlq`: what ended in the dead-letter queue, and the way back.

mod list;
mod progress;
mod redrive;
mod select;

use super::connect::{self, ConnectArgs};
use super::{EXIT_CODES, block_on, failed, misconfigured, out};
use crate::config::{LogFormat, LogSettings};
use crate::ops::{Shutdown, logs};
use crate::queue::letters::Letters;
use select::{SelectArgs, Selection};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Counts what is in it, by reason, with an example of each.
    #[command(after_help = EXIT_CODES)]
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Shows messages whole: reason, objects, age, body.
    #[command(after_help = EXIT_CODES)]
    Show {
        #[command(flatten)]
        common: Common,
        /// Shows so many at most.
        #[arg(long, value_name = "COUNT", default_value_t = 10)]
        limit: usize,
    },
    /// Sends messages back to the queue. All of them at once by SQS itself, or those selected one by one; a
    /// message is deleted here only after the queue has it.
    #[command(
        after_help = "Exit codes: 0 all are sent back, or SQS goes on with it by itself; 1 some could not be, or it was \
                            interrupted; 2 the configuration or the command line is wrong."
    )]
    Redrive {
        #[command(flatten)]
        common: Common,
        /// Only counts what would be sent.
        #[arg(long)]
        dry_run: bool,
    },
    /// Deletes messages for good. Asks, or takes --yes.
    #[command(
        after_help = "Exit codes: 0 all are deleted; 1 some could not be, it was interrupted, or the answer was no; 2 the \
                            configuration or the command line is wrong, or there is no terminal to ask at and no --yes."
    )]
    Drop {
        #[command(flatten)]
        common: Common,
        /// Only counts what would be deleted.
        #[arg(long)]
        dry_run: bool,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    select: SelectArgs,
    /// Output for programs: a JSON object a line.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> u8 {
    let common = match &args.command {
        Command::List { common }
        | Command::Show { common, .. }
        | Command::Redrive { common, .. }
        | Command::Drop { common, .. } => common,
    };
    let config = common.connect.read();
    let selection = Selection::read(&common.select);
    let (config, selection) = match (config, selection) {
        (Ok(config), Ok(selection)) => (config, selection),
        (config, selection) => {
            let mistakes: Vec<String> = config.err().into_iter().chain(selection.err()).flatten().collect();
            return misconfigured(&mistakes);
        }
    };
    logs::start(&LogSettings { format: LogFormat::Auto, filter: "warn".into() }, None);
    block_on(async {
        let shutdown = match Shutdown::on_signals() {
            Ok(shutdown) => shutdown,
            Err(e) => return failed(format_args!("cannot handle signals: {e}")),
        };
        let clients = connect::clients(&config).await;
        let letters = match Letters::open(clients, config.queue_url, config.dlq_url).await {
            Ok(letters) => letters,
            Err(e) => return failed(e),
        };
        let stop = || out::is_over(&shutdown);
        let done = match &args.command {
            Command::List { common } => list::list(&letters, &selection, common.json, stop).await,
            Command::Show { common, limit } => {
                list::show(&letters, &selection, *limit, common.json, stop).await
            }
            Command::Redrive { common, dry_run } => {
                redrive::redrive(&letters, &selection, *dry_run, common.json, stop).await
            }
            Command::Drop { common, dry_run, yes } => {
                redrive::drop(&letters, &selection, *dry_run, *yes, common.json, &shutdown, stop).await
            }
        };
        done.unwrap_or_else(failed)
    })
}
