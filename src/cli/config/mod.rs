//! `longshore config check`: what `work` would do with this environment, and whether it may.

mod probe;

use super::{FAILED, OK, RenderArgs, WorkArgs, block_on, misconfigured, told, work};
use crate::aws::{self, Clients};
use crate::cli::out::out;
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
    #[command(
        after_help = "Exit codes: 0 the worker may do all that was tried; 1 it may not, or no answer came; 2 the \
                            configuration or the command line is wrong, and nothing was tried."
    )]
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
        if let Some(warning) = work::few_receives(&config, &clients).await {
            warn(&warning, check.json);
        }
        let needed = probe::all(&config, &clients).await;
        let of_page = probe::page(&config, &clients).await;
        tell(&needed, &of_page, check.json)
    })
}

/// Names what the SDK and the queue say where no setting does.
async fn resolve(settings: &mut [Told], config: &Config, clients: &Clients) {
    let letters = DeadLetters::new(clients.clone(), config.queue_url.clone(), config.dlq_url.clone());
    let endpoint = |service| Some((aws::endpoint(&clients.config, service)?, "the AWS SDK".to_owned()));
    for setting in settings.iter_mut().filter(|setting| setting.from == "default") {
        let found = match setting.flag.as_str() {
            "region" => clients.region().map(|region| (region.to_string(), "the AWS SDK".to_owned())),
            // From a profile: variables were looked at before.
            "endpoint-url" => told::endpoints(endpoint("SQS"), endpoint("S3"))
                .map(|(url, from)| (told::without_password(&url), from))
                .or_else(|| Some(("AWS's own".into(), "default".into()))),
            "dlq-url" => letters.url().await.ok().map(|url| (url, "the queue's redrive policy".into())),
            _ => None,
        };
        if let Some((value, from)) = found {
            (setting.value, setting.from) = (value, from);
        }
    }
}

fn show(settings: &[Told], json: bool) {
    let width = settings.iter().map(|s| s.flag.len()).max().unwrap_or(0);
    for Told { flag, value, from } in settings {
        if json {
            out!("{}", json!({"setting": flag, "value": value, "from": from}));
        } else {
            out!("{flag:width$}  {value}  ({from})");
        }
    }
}

/// What `work` says when it starts.
fn warn(warning: &str, json: bool) {
    if json {
        out!("{}", json!({"warning": warning}));
    } else {
        out!("\nwarning: {warning}");
    }
}

fn tell(needed: &[Probe], of_page: &[Probe], json: bool) -> u8 {
    let all =
        || needed.iter().map(|probe| ("work", probe)).chain(of_page.iter().map(|probe| ("page", probe)));
    let width = all().map(|(_, probe)| probe.action.len()).max().unwrap_or(0);
    if !json {
        out!("");
    }
    for (whom, Probe { action, on, verdict }) in all() {
        let (word, why) = (verdict.word(), verdict.why());
        if json {
            out!("{}", json!({"action": action, "on": on, "for": whom, "verdict": word, "why": why}));
        } else {
            let whom = if whom == "page" { " (for the page)" } else { "" };
            out!("{word:11}  {action:width$}  {on}{whom}{}{why}", if why.is_empty() { "" } else { ": " });
        }
    }
    let bad = |probes: &[Probe]| {
        probes.iter().filter(|p| !matches!(p.verdict, Verdict::Allowed | Verdict::NotTried(_))).count()
    };
    let failed = bad(needed);
    let untried = needed.iter().filter(|p| matches!(p.verdict, Verdict::NotTried(_))).count();
    if !json {
        let untried = match untried {
            0 => String::new(),
            n => format!("; {n} could not be tried"),
        };
        match (failed, bad(of_page)) {
            (0, 0) => out!("\nthe worker may do all that was tried{untried}"),
            (0, n) => {
                out!(
                    "\nthe worker may do all that it needs{untried}; without {n} of these the page shows less"
                )
            }
            (n, _) => out!("\n{n} of {} would keep the worker from its work{untried}", needed.len()),
        }
    }
    if failed == 0 { OK } else { FAILED }
}
