//! `longshore man`: a manual page for each command.

use super::{Cli, OK, failed};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use std::fmt::Write;
use std::io::Result;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder that gets `longshore.1`, `longshore-work.1` and so on.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub fn run(args: &Args) -> u8 {
    let folder = &args.folder;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    match std::fs::create_dir_all(folder).and_then(|()| write(&command, folder)) {
        Ok(()) => OK,
        Err(e) => failed(format_args!("cannot write manual pages into {}: {e}", folder.display())),
    }
}

fn write(command: &Command, folder: &Path) -> Result<()> {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        write(inner, folder)?;
    }
    let page = Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    // What stands after the help are the exit codes, for which manual pages have a heading.
    let text = String::from_utf8_lossy(&text).replacen(".SH EXTRA\n", ".SH \"EXIT STATUS\"\n", 1);
    let (before, after) = text.split_at(text.find(".SH VERSION\n").unwrap_or(text.len()));
    std::fs::write(folder.join(page.get_filename()), format!("{before}{}{after}", environment(command)))
}

/// The generator of pages tells flags alone.
fn environment(command: &Command) -> String {
    let variables = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
        .filter_map(|argument| Some((argument.get_env()?.to_str()?, argument.get_long()?)));
    let mut text = String::new();
    for (variable, flag) in variables {
        let _ = writeln!(text, ".TP\n\\fB{variable}\\fR\nThe same as \\-\\-{}.", flag.replace('-', "\\-"));
    }
    match text.is_empty() {
        true => text,
        false => {
            format!(
                ".SH ENVIRONMENT\nA flag goes before its variable; an empty value counts as absent.\n{text}"
            )
        }
    }
}
