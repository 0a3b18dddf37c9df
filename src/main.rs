//! The `longshore` program: reads the command line and hands over.

use clap::Parser;
use longshore::cli::{self, Cli};
use longshore::command::supervise;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Once a row: before anything that takes time.
    if supervise::is_asked_for() {
        return supervise::run();
    }
    cli::run(Cli::parse())
}
