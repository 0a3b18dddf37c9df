//! `longshore config check`: what `work` would do with this environment, and whether it may.

mod probe;

use super::{FAILED, OK, RenderArgs, WorkArgs, block_on, misconfigured, told, work};
use crate::aws::Clients;
use crate::config::{Config, LogFormat, LogSettings};
use crate::ops::logs;
use crate::ops::page::Told;
use crate::queue::DeadLetters;
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
    let mut settings = told::settings(&["config", "check"], &config);
    if check.offline {
        show(&settings, check.json);
        return OK;
    }
    logs::start(&LogSettings { format: LogFormat::Auto, filter: "error".into() }, None);
    block_on(async {
        let clients = work::clients(&config).await;
        resolve(&mut settings, &config, &clients).await;
        show(&settings, check.json);
        let probes = probe::all(&config, &clients).await;
        tell(&probes, check.json)
    })
}

/// Names what the SDK and the queue say where no setting does.
async fn resolve(settings: &mut [Told], config: &Config, clients: &Clients) {
    let letters = DeadLetters::new(clients.clone(), config.queue_url.clone(), config.dlq_url.clone());
    for setting in settings.iter_mut().filter(|setting| setting.from == "default") {
        let found = match setting.flag.as_str() {
            "region" => clients.region().map(|region| (region.to_string(), "the AWS SDK")),
            "endpoint-url" => {
                clients.config.endpoint_url().map(|url| (told::without_password(url), "the AWS SDK"))
            }
            "dlq-url" => letters.url().await.ok().map(|url| (url, "the queue's redrive policy")),
            _ => None,
        };
        if let Some((value, from)) = found {
            (setting.value, setting.from) = (value, from.to_owned());
        }
    }
}

fn show(settings: &[Told], json: bool) {
    let width = settings.iter().map(|s| s.flag.len()).max().unwrap_or(0);
    for Told { flag, value, from } in settings {
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
