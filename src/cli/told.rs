//! Every setting of a command as it is, and where it comes from.

use super::Cli;
use crate::config::{Config, TaskProtection};
use crate::ops::logs;
use crate::ops::page::Told;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory};

/// `path`: the names of the command that runs, like `config`, `check`. Secrets are told as such.
pub fn settings(path: &[&str], config: &Config) -> Vec<Told> {
    // Read once more, as the derived structs do not tell where a value was found.
    let mut command = Cli::command();
    let Ok(mut found) = command.clone().try_get_matches() else { return Vec::new() };
    for name in path {
        let inner = command.find_subcommand(name).cloned();
        let (Some(inner), Some((ran, matches))) = (inner, found.remove_subcommand()) else {
            return Vec::new();
        };
        if ran != *name {
            return Vec::new();
        }
        (command, found) = (inner, matches);
    }
    command.get_arguments().filter_map(|argument| setting(argument, &found, config)).collect()
}

fn setting(argument: &Arg, found: &ArgMatches, config: &Config) -> Option<Told> {
    let (flag, env) = (argument.get_long()?, argument.get_env()?.to_str()?);
    let id = argument.get_id().as_str();
    let source = found.value_source(id);
    let raw = found.try_get_raw(id).ok().flatten().and_then(|mut values| values.next());
    // An empty value counts as absent.
    let said = raw.map(|v| v.to_string_lossy().into_owned()).filter(|v| !v.trim().is_empty());
    let (value, from) = match (said, source) {
        (Some(value), Some(ValueSource::CommandLine)) => (value, format!("--{flag}")),
        (Some(value), Some(ValueSource::EnvVariable)) => (value, env.to_owned()),
        (Some(value), _) => (value, "default".into()),
        (None, _) => found_by_the_sdk(flag).unwrap_or_else(|| {
            (computed(flag, config).unwrap_or_else(|| told_default(argument)), "default".into())
        }),
    };
    let value = match from.as_str() {
        "default" => value,
        _ if argument.is_hide_env_values_set() => "(secret)".into(),
        _ => without_password(&value),
    };
    Some(Told { flag: flag.to_owned(), value, from })
}

/// What the environment tells the AWS SDK, and by which name.
fn found_by_the_sdk(flag: &str) -> Option<(String, String)> {
    let names: &[&str] = match flag {
        "region" => &["AWS_REGION", "AWS_DEFAULT_REGION"],
        "profile" => &["AWS_PROFILE"],
        "endpoint-url" => {
            let of = |service: &str| {
                let own = format!("AWS_ENDPOINT_URL_{service}");
                let found = [own, "AWS_ENDPOINT_URL".to_owned()];
                found.into_iter().find_map(|name| Some((std::env::var(&name).ok()?, name)))
            };
            return endpoints(of("SQS"), of("S3"));
        }
        _ => return None,
    };
    let set = |name: &&str| Some((std::env::var(name).ok().filter(|v| !v.is_empty())?, (*name).to_owned()));
    names.iter().find_map(set)
}

/// Those of the two services as one setting, each as its URL and where that comes from. None: neither has one.
pub fn endpoints(sqs: Option<(String, String)>, s3: Option<(String, String)>) -> Option<(String, String)> {
    let own = || ("AWS's own".to_owned(), String::new());
    let (sqs, s3) = match (sqs, s3) {
        (None, None) => return None,
        (sqs, s3) => (sqs.unwrap_or_else(own), s3.unwrap_or_else(own)),
    };
    if sqs == s3 {
        return Some(sqs);
    }
    let mut from = vec![sqs.1, s3.1];
    from.retain(|name| !name.is_empty());
    from.dedup();
    let value = format!("SQS: {}, S3: {}", without_password(&sqs.0), without_password(&s3.0));
    Some((value, from.join(", ")))
}

/// URLs may carry one: `https://user:password@host`.
pub fn without_password(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://…{}", &rest[at..]),
        None => value.to_owned(),
    }
}

/// Defaults that depend on the machine or on other settings.
fn computed(flag: &str, config: &Config) -> Option<String> {
    Some(match flag {
        "concurrency" => config.concurrency.to_string(),
        "render-threads" => config.render.threads.to_string(),
        "memory-budget" => format!("{} MiB", config.memory_budget >> 20),
        "wait-time" => format!("{}s", config.wait.as_secs()),
        "region" => config.region.clone()?,
        // Where nobody names one, the SDK reads this.
        "profile" => "default".into(),
        "work-dir" => config.work_dir.display().to_string(),
        "task-protection" => match config.task_protection {
            TaskProtection::Off => "off".into(),
            TaskProtection::Auto => "auto".into(),
            TaskProtection::Long => "long".into(),
        },
        "log-format" if logs::is_json(config.log.format) => "json".into(),
        "log-format" => "text".into(),
        _ => return None,
    })
}

/// The default that the help names.
fn told_default(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let default = help.split("[default: ").nth(1).and_then(|rest| rest.split(']').next());
    default.unwrap_or("–").split_whitespace().collect::<Vec<_>>().join(" ").trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_not_told() {
        assert_eq!(without_password("https://u:p@w@host/q@1"), "https://…@host/q@1");
        for plain in ["https://host/q@1", "s3", "a@b"] {
            assert_eq!(without_password(plain), plain);
        }
    }
}
