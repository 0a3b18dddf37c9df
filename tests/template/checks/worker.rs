//! What the task definition tells the worker is what the worker reads, and the times fit together.

use super::want;
use crate::template::{Stack, text};
use clap::{CommandFactory, Parser};
use longshore::cli::{Cli, RenderArgs, WorkArgs};
use longshore::config::{Config, TaskProtection};
use std::collections::BTreeMap;
use std::time::Duration;

/// The settings of `work`, as the command line knows them: flags by environment name.
fn settings() -> BTreeMap<String, String> {
    let cli = Cli::command();
    let work = cli.find_subcommand("work").expect("there is a command work");
    let pair = |a: &clap::Arg| Some((a.get_env()?.to_str()?.to_owned(), a.get_long()?.to_owned()));
    work.get_arguments().filter_map(pair).collect()
}

#[derive(Parser)]
struct Work {
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    render: RenderArgs,
}

/// What the worker makes of its environment.
pub fn config(stack: &Stack) -> Result<Config, Vec<String>> {
    let settings = settings();
    let mut arguments = vec!["longshore".to_owned()];
    for (name, value) in stack.environment() {
        let Some(flag) = settings.get(&name) else {
            return Err(vec![format!("the worker reads no {name}")]);
        };
        arguments.push(format!("--{flag}={value}"));
    }
    let parsed = Work::try_parse_from(arguments).map_err(|e| vec![e.to_string()])?;
    Config::read(&parsed.work, &parsed.render)
}

pub fn check(stack: &Stack, wrong: &mut Vec<String>) {
    let config = match config(stack) {
        Ok(config) => config,
        Err(mistakes) => return wrong.extend(mistakes),
    };
    let mut names: Vec<String> = stack.environment().into_iter().map(|(name, _)| name).collect();
    names.sort();
    want(wrong, names.windows(2).all(|w| w[0] != w[1]), || "a name is there twice".into());

    want(wrong, config.queue_url == stack.value("Queue", ""), || "it works on another queue".into());
    let letters = stack.value("DeadLetterQueue", "");
    // Without it the worker would have to ask for it, which the role does not allow.
    want(wrong, config.dlq_url.as_deref() == Some(&letters), || "it has another dead-letter queue".into());
    want(wrong, config.output_bucket == stack.value("OutputBucket", ""), || "it stores elsewhere".into());
    want(wrong, config.input_buckets == [stack.input_bucket()], || "it takes other buckets' events".into());
    want(wrong, config.input_prefix == stack.parameter("InputPrefix"), || "it has another prefix".into());
    let suffixes: Vec<String> = stack.parameter("Suffixes").split(',').map(str::to_lowercase).collect();
    let taken: Vec<String> = config.suffixes.iter().map(|s| s.to_lowercase()).collect();
    want(wrong, suffixes.iter().all(|s| taken.contains(s)), || format!("it ignores some of {suffixes:?}"));
    want(wrong, config.region.as_deref() == Some(stack.place.region), || "it is in another region".into());
    let jobs = stack.parameter("WorkBucketName");
    want(wrong, config.work_bucket == jobs, || "its jobs are elsewhere".into());
    let renditions = jobs.is_empty() || stack.parameter("Jobs") != "commands";
    want(wrong, config.jobs.renditions == renditions && config.jobs.commands != jobs.is_empty(), || {
        "it does other jobs".into()
    });
    let protection = match stack.parameter("TaskProtection") {
        "auto" => TaskProtection::Auto,
        "long" => TaskProtection::Long,
        "" if !jobs.is_empty() => TaskProtection::Long,
        _ => TaskProtection::Off,
    };
    want(wrong, config.task_protection == protection, || {
        format!("protection is {:?}", config.task_protection)
    });
    times(stack, &config, wrong);
    defaults(stack, &config, wrong);
}

fn times(stack: &Stack, config: &Config, wrong: &mut Vec<String>) {
    let seconds = |v: &serde_json::Value| text(v).ok().and_then(|t| t.parse().ok()).unwrap_or(0);
    let visibility = seconds(&stack.properties("Queue")["VisibilityTimeout"]);
    want(wrong, Duration::from_secs(visibility) == config.visibility, || {
        format!("the queue hides for {visibility} s, the worker for {} s", config.visibility.as_secs())
    });
    // Renewed at a third, by calls that may take a sixth: less leaves no time for a second try.
    want(wrong, config.visibility >= Duration::from_secs(60), || format!("a lease of only {visibility} s"));
    want(wrong, config.visibility > 2 * config.wait, || "a lease may end while a receive is parked".into());
    let stop = Duration::from_secs(seconds(&stack.container()["StopTimeout"]));
    want(wrong, (2..=120).contains(&stop.as_secs()), || format!("a stop timeout of {} s", stop.as_secs()));
    want(wrong, stop >= config.drain_budget() + Duration::from_secs(5), || {
        format!("draining takes up to {} s of {} s", config.drain_budget().as_secs(), stop.as_secs())
    });
    want(wrong, stop == config.stop_timeout, || "the worker counts with another stop timeout".into());
    want(wrong, config.wait + Duration::from_secs(1) <= config.drain_budget(), || {
        "a parked receive is cut".into()
    });
    let poll = seconds(&stack.properties("Queue")["ReceiveMessageWaitTimeSeconds"]);
    want(wrong, poll <= 20, || format!("a long poll of {poll} s"));
}

/// With only the image given, the worker does what it does by itself.
fn defaults(stack: &Stack, config: &Config, wrong: &mut Vec<String>) {
    // Rows may take longer than any stop timeout, and nobody has to think of it.
    let protected =
        stack.set != crate::template::sets::COMMANDS || config.task_protection == TaskProtection::Long;
    want(wrong, protected, || format!("rows have protection {:?} by default", config.task_protection));
    if stack.set == crate::template::sets::DEFAULTS {
        let own = longshore::render::spec::parse(longshore::render::spec::DEFAULT_RENDITIONS);
        want(wrong, own == Ok(config.render.settings.specs.clone()), || "other renditions by default".into());
        // As long as Fargate allows.
        let stop = text(&stack.container()["StopTimeout"]).unwrap_or_default();
        want(wrong, stop == "120", || format!("a stop timeout of {stop} s by default"));
    }
}
