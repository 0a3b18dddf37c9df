//! `longshore man`: a manual page for each command.

use super::{Cli, OK, failed};
use clap::CommandFactory;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder that gets `longshore.1`, `longshore-work.1` and so on.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub fn run(args: &Args) -> u8 {
    let folder = &args.folder;
    let written =
        std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    match written {
        Ok(()) => OK,
        Err(e) => failed(format_args!("cannot write manual pages into {}: {e}", folder.display())),
    }
}
