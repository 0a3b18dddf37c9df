//! `longshore config check`: what `work` would do with this environment, and whether it may.

mod probe;

use super::{Cli, FAILED, OK, RenderArgs, WorkArgs, block_on, misconfigured, work};
use crate::config::{Config, LogFormat, LogSettings};
use crate::ops::logs;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory};
use probe::{Probe, Verdict};
use serde_json::json;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Shows every setting with its value and where it comes from, then tries every permission that the
    /// worker needs. Changes nothing: no message is received or sent, no object is written.
    Check(Box<Check>),
}

#[derive(Debug, clap::Args)]
struct Check {
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    render: RenderArgs,
    /// Output for programs: a JSON object a line.
    #[arg(long)]
    json: bool,
    /// Shows the settings and asks AWS nothing.
    #[arg(long)]
    offline: bool,
}

pub fn run(args: &Args) -> u8 {
    let Command::Check(check) = &args.command;
    let config = match Config::read(&check.work, &check.render) {
        Ok(config) => config,
        Err(mistakes) => return misconfigured(&mistakes),
    };
    show(&settings(&config), check.json);
    if check.offline {
        return OK;
    }
    logs::start(&LogSettings { format: LogFormat::Auto, filter: "error".into() });
    block_on(async {
        let probes = probe::all(&config, &work::clients(&config).await).await;
        tell(&probes, check.json)
    })
}

/// One setting: flag, value, where it comes from.
struct Setting {
    flag: String,
    value: String,
    from: String,
}

fn settings(config: &Config) -> Vec<Setting> {
    let command = Cli::command();
    let check = command.find_subcommand("config").and_then(|c| c.find_subcommand("check"));
    let check = check.expect("it is the command that runs");
    // Read once more, as the derived structs do not tell where a value was found.
    let matches = command.clone().get_matches();
    let found = matches.subcommand_matches("config").and_then(|m| m.subcommand_matches("check"));
    let found = found.expect("it is the command that runs");
    check.get_arguments().filter_map(|argument| setting(argument, found, config)).collect()
}

fn setting(argument: &Arg, found: &ArgMatches, config: &Config) -> Option<Setting> {
    let (flag, env) = (argument.get_long()?, argument.get_env()?.to_str()?);
    let id = argument.get_id().as_str();
    // An empty value counts as absent.
    let said = found.get_one::<String>(id).filter(|value| !value.trim().is_empty());
    let (value, from) = match said {
        Some(value) if found.value_source(id) == Some(ValueSource::CommandLine) => {
            (value.clone(), format!("--{flag}"))
        }
        Some(value) => (value.clone(), env.to_owned()),
        None => (computed(flag, config).unwrap_or_else(|| told_default(argument)), "default".into()),
    };
    Some(Setting { flag: flag.to_owned(), value, from })
}

/// Defaults that depend on the machine or on other settings.
fn computed(flag: &str, config: &Config) -> Option<String> {
    Some(match flag {
        "concurrency" => config.concurrency.to_string(),
        "render-threads" => config.render.threads.to_string(),
        "memory-budget" => format!("{} MiB", config.memory_budget >> 20),
        "wait-time" => format!("{}s", config.wait.as_secs()),
        "region" => config.region.clone()?,
        _ => return None,
    })
}

/// The default that the help names.
fn told_default(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let default = help.split("[default: ").nth(1).and_then(|rest| rest.split(']').next());
    default.unwrap_or("–").split_whitespace().collect::<Vec<_>>().join(" ").trim_matches('"').to_owned()
}

fn show(settings: &[Setting], json: bool) {
    let width = settings.iter().map(|s| s.flag.len()).max().unwrap_or(0);
    for Setting { flag, value, from } in settings {
        if json {
            println!("{}", json!({"setting": flag, "value": value, "from": from}));
        } else {
            println!("{flag:width$}  {value}  ({from})");
        }
    }
}

fn tell(probes: &[Probe], json: bool) -> u8 {
    let width = probes.iter().map(|p| p.action.len()).max().unwrap_or(0);
    if !json {
        println!();
    }
    for Probe { action, on, verdict } in probes {
        let (word, why) = (verdict.word(), verdict.why());
        if json {
            println!("{}", json!({"action": action, "on": on, "verdict": word, "why": why}));
        } else {
            println!("{word:11}  {action:width$}  {on}{}{why}", if why.is_empty() { "" } else { ": " });
        }
    }
    let bad = probes.iter().filter(|p| !matches!(p.verdict, Verdict::Allowed | Verdict::NotTried(_))).count();
    if !json {
        match bad {
            0 => println!("\nthe worker may do all that was tried"),
            n => println!("\n{n} of {} would keep the worker from its work", probes.len()),
        }
    }
    if bad == 0 { OK } else { FAILED }
}
