//! `longshore completions`: a completion script on standard output.

use super::{Cli, OK};
use clap::CommandFactory;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell to complete in.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub fn run(args: &Args) -> u8 {
    clap_complete::generate(args.shell, &mut Cli::command(), "longshore", &mut std::io::stdout());
    OK
}
