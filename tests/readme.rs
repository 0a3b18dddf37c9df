//! The README tells every setting that the commands have, and none that they have not.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

use clap::CommandFactory;
use longshore::cli::Cli;
use std::collections::BTreeSet;

const README: &str = include_str!("../README.md");

/// `--flag` and its environment name, of every command.
fn settings() -> BTreeSet<(String, String)> {
    let cli = Cli::command();
    let of_command = |command: &clap::Command| {
        let with_env = |a: &clap::Arg| Some((a.get_long()?.to_owned(), a.get_env()?.to_str()?.to_owned()));
        command.get_arguments().filter_map(with_env).collect::<Vec<_>>()
    };
    cli.get_subcommands().flat_map(of_command).collect()
}

#[test]
fn the_settings_table_names_every_setting() {
    for (flag, env) in settings() {
        let row = format!("| `--{flag}` | `{env}` |");
        assert!(README.contains(&row), "no row {row}");
    }
}

#[test]
fn the_readme_names_no_setting_that_is_not_there() {
    let known: BTreeSet<String> = settings().into_iter().map(|(_, env)| env).collect();
    let words = README.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    // The benchmarks and tests have names of their own.
    let others = |w: &&str| {
        !w.starts_with("LONGSHORE_TEST_") && !["LONGSHORE_PEERS", "LONGSHORE_FAULT_TIMES"].contains(w)
    };
    for word in words.filter(|w| w.starts_with("LONGSHORE_")).filter(others) {
        assert!(known.contains(word) || word == "LONGSHORE_", "{word} is no setting");
    }
}

#[test]
fn every_setting_is_a_flag_and_an_environment_variable() {
    let cli = Cli::command();
    for name in ["work", "local", "render"] {
        let command = cli.find_subcommand(name).unwrap();
        for argument in command.get_arguments().filter(|a| a.get_long().is_some() && !a.is_global_set()) {
            let flag = argument.get_long().unwrap();
            if !["help", "version"].contains(&flag) {
                let env = argument.get_env().map(|e| e.to_string_lossy().into_owned());
                let wanted = format!("LONGSHORE_{}", flag.to_uppercase().replace('-', "_"));
                assert_eq!(env.as_deref(), Some(wanted.as_str()), "{name} --{flag}");
            }
        }
    }
}
