//! The README tells every setting that the commands have, and none that they have not; three commands deploy; and
//! what is shipped is built as it says.
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
    // The benchmarks and tests have names of their own, and so has what a script finds.
    const OTHERS: [&str; 5] =
        ["LONGSHORE_PEERS", "LONGSHORE_FAULT_TIMES", "LONGSHORE_JOB", "LONGSHORE_ROW", "LONGSHORE_ATTEMPT"];
    let others = |w: &&str| !w.starts_with("LONGSHORE_TEST_") && !OTHERS.contains(w);
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

/// The lines of the first block of code after a sentence.
fn block_after(sentence: &str) -> Vec<&'static str> {
    let (_, rest) = README.split_once(sentence).unwrap_or_else(|| panic!("nowhere {sentence:?}"));
    rest.lines().skip_while(|l| !l.starts_with("```")).skip(1).take_while(|l| !l.starts_with("```")).collect()
}

#[test]
fn three_commands_deploy() {
    let commands = block_after("Then three commands deploy it:");
    let [build, push, deploy] = commands[..] else { panic!("{commands:?}") };
    let image = "\"$REGISTRY/longshore:1\"";
    assert!(
        build.starts_with("docker build ") && build.ends_with(&format!(" -f docker/Dockerfile -t {image} ."))
    );
    assert_eq!(push, format!("docker push {image}"));
    // The image is all that must be given, and the transform wants the second capability.
    let given =
        format!("--capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND --parameter-overrides Image={image}");
    assert!(deploy.starts_with("aws cloudformation deploy --template-file cloudformation/longshore.yaml "));
    assert!(deploy.ends_with(&given), "{deploy}");
}

const DOCKERFILE: &str = include_str!("../docker/Dockerfile");
const MANIFEST: &str = include_str!("../Cargo.toml");

#[test]
fn the_image_is_made_of_public_bases_each_of_which_can_be_replaced() {
    let (head, stages) = DOCKERFILE.split_at(DOCKERFILE.find("\nFROM ").unwrap());
    let public = [
        ("BUILD_BASE", "rust:1.95-slim-bookworm"),
        ("SHELL_BASE", "debian:bookworm-slim"),
        ("WORKER_BASE", "scratch"),
    ];
    for (argument, base) in public {
        assert!(head.lines().any(|l| l == format!("ARG {argument}={base}")), "{argument} is not {base}");
    }
    // A stage stands on such an argument or on a stage before it, and names no image of its own.
    let mut known: BTreeSet<String> = public.iter().map(|(a, _)| format!("${{{a}}}")).collect();
    let mut used = BTreeSet::new();
    for line in stages.lines().filter(|l| l.starts_with("FROM ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, base, "AS", stage] = words[..] else { panic!("{line}") };
        assert!(known.contains(base), "{line}");
        used.insert(base.to_owned());
        known.insert(stage.to_owned());
    }
    assert!(public.iter().all(|(a, _)| used.contains(&format!("${{{a}}}"))), "{used:?}");
}

#[test]
fn what_is_shipped_is_stripped_and_optimised_across_crates() {
    let head = DOCKERFILE.split("\nFROM ").next().unwrap();
    assert!(head.lines().any(|l| l == "ARG CARGO_PROFILE=dist"), "another profile is shipped");
    let (_, profile) = MANIFEST.split_once("\n[profile.dist]\n").unwrap();
    let profile: Vec<&str> = profile.lines().take_while(|l| !l.starts_with('[')).collect();
    for setting in ["lto = \"thin\"", "strip = \"symbols\""] {
        assert!(profile.contains(&setting), "{setting} is not in {profile:?}");
    }
}
