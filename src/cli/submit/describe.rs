//! The job as the command line describes it.

use super::Args;
use crate::command::layout::is_job_name;
use crate::command::table::check_env;
use crate::command::wire::{Column, Job, VERSION, hex, now};
use crate::config::Reader;
use crate::error::Printable;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Everything but the table.
pub struct Draft {
    pub name: String,
    pub script: Vec<u8>,
    shell: Vec<String>,
    env: BTreeMap<String, String>,
    timeout: u64,
    attempts: u32,
    permanent: Vec<i32>,
    credentials: bool,
    keep_failed: bool,
    request_payer: bool,
    memory: Option<u64>,
    milli_cpus: Option<u64>,
    /// For how long the queue is empty when nobody waits for more.
    pub settled: Duration,
}

/// Far more than anybody writes; a larger one is a program, and belongs into the image.
const MAX_SCRIPT: u64 = 4 << 20;
/// An empty queue may just be told late: SQS says that its counts settle within a minute.
const SETTLED: Duration = Duration::from_secs(90);
/// SQS keeps a message hidden for 12 hours in all.
const MAX_TIMEOUT: u64 = 42_000;

impl Draft {
    /// # Errors
    ///
    /// All mistakes, a line each.
    pub fn read(args: &Args) -> Result<Self, Vec<String>> {
        let mut reader = Reader::default();
        let some = |text: &str| Some(text.to_owned());
        let hour = Duration::from_secs(3600);
        let draft = Self {
            name: name(&mut reader, args),
            script: script(&mut reader, &args.script),
            shell: shell(&mut reader, &args.shell),
            env: env(&mut reader, &args.env),
            timeout: reader.time("--timeout", &some(&args.timeout), hour, 1..=MAX_TIMEOUT).as_secs(),
            attempts: reader.whole("--attempts", &some(&args.attempts), 3, 1..=1000),
            permanent: permanent(&mut reader, args.permanent.as_deref()),
            credentials: args.credentials,
            keep_failed: args.keep_failed,
            request_payer: args.request_payer,
            memory: args
                .memory
                .is_some()
                .then(|| reader.size("--memory", &args.memory, 0, 1 << 20..=1 << 50)),
            milli_cpus: args.cpus.as_deref().and_then(|text| cpus(&mut reader, text)),
            settled: reader.time("--wait-empty", &some(&args.wait_empty), SETTLED, 1..=86_400),
        };
        reader.finish(draft)
    }

    pub fn job(&self, columns: Vec<Column>) -> Job {
        Job {
            version: VERSION,
            name: self.name.clone(),
            submitted_at: now(),
            columns,
            rows: 0,
            script_sha256: hex(&Sha256::digest(&self.script)),
            shell: self.shell.clone(),
            env: self.env.clone(),
            timeout: self.timeout,
            attempts: self.attempts,
            permanent: self.permanent.clone(),
            credentials: self.credentials,
            keep_failed: self.keep_failed,
            request_payer: self.request_payer,
            memory: self.memory,
            milli_cpus: self.milli_cpus,
        }
    }
}

fn name(reader: &mut Reader, args: &Args) -> String {
    let said = args.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let name = said.map_or_else(|| default_name(&args.script, args.tasks()), str::to_owned);
    if !is_job_name(&name) {
        reader.mistake(format!(
            "--name is {name:?}: write up to 100 letters, digits and - _ . with a letter or digit first"
        ));
    }
    name
}

/// Of both files, so that the same script over another table is another job.
fn default_name(script: &Path, tasks: &Path) -> String {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name: String = format!("{}-{}", stem(script), stem(tasks))
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .take(100)
        .collect();
    name.trim_start_matches(['-', '_', '.']).to_owned()
}

fn script(reader: &mut Reader, path: &Path) -> Vec<u8> {
    let read = std::fs::metadata(path).and_then(|about| {
        if about.len() > MAX_SCRIPT { Ok(Err(about.len())) } else { std::fs::read(path).map(Ok) }
    });
    match read {
        Ok(Ok(script)) if script.is_empty() => {
            reader.mistake(format!("--script {} is empty", path.display()))
        }
        Ok(Ok(script)) => return script,
        Ok(Err(bytes)) => reader.mistake(format!(
            "--script {} has {bytes} bytes, {MAX_SCRIPT} at most: put programs into the image",
            path.display()
        )),
        Err(e) => reader.mistake(format!("--script {} cannot be read: {e}", path.display())),
    }
    Vec::new()
}

fn shell(reader: &mut Reader, text: &str) -> Vec<String> {
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    if words.is_empty() {
        reader.mistake("--shell is empty: name the program that reads the script, like /bin/bash");
    }
    words
}

fn env(reader: &mut Reader, pairs: &[String]) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=') else {
            reader.mistake(format!("--env is {:?}: write NAME=VALUE", Printable(pair).to_string()));
            continue;
        };
        // The value may be a secret.
        if let Err(why) = check_env(name, value) {
            reader.mistake(format!("--env {} {why}", Printable(name)));
        }
        if env.insert(name.to_owned(), value.to_owned()).is_some() {
            reader.mistake(format!("--env {} is said twice", Printable(name)));
        }
    }
    env
}

fn permanent(reader: &mut Reader, text: Option<&str>) -> Vec<i32> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Vec::new() };
    match ranges(text) {
        Some(ranges) if ranges.iter().all(|range| range.0 >= 1 && range.1 <= 255) => {
            let mut codes: Vec<i32> =
                ranges.iter().flat_map(|(low, high)| *low as i32..=*high as i32).collect();
            codes.sort_unstable();
            codes.dedup();
            codes
        }
        _ => {
            reader.mistake(format!("--permanent is {text:?}: write exit codes from 1 to 255, like 2,64-78"));
            Vec::new()
        }
    }
}

fn cpus(reader: &mut Reader, text: &str) -> Option<u64> {
    match text.trim().parse::<f64>() {
        Ok(count) if (0.001..=1024.0).contains(&count) => Some((count * 1000.0).round() as u64),
        _ => {
            reader.mistake(format!("--cpus is {text:?}: write a count like 0.5 or 2"));
            None
        }
    }
}

/// Numbers and ranges like `3,7-9`.
pub fn ranges(text: &str) -> Option<Vec<(u64, u64)>> {
    let range = |part: &str| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
        (low <= high).then_some((low, high))
    };
    text.split(',').map(range).collect()
}

/// What is said otherwise than it was.
pub fn differences(was: &Job, is: &Job) -> Vec<String> {
    let mut differences = Vec::new();
    // Values of variables may be secrets: of some it is not shown what they were.
    let mut compare = |what: &str, same: bool, shown: Option<(String, String)>| {
        if !same {
            let from_to = shown.map_or_else(String::new, |(was, is)| format!(" ({was}, now {is})"));
            differences.push(format!("{what}{from_to}"));
        }
    };
    compare("another script", was.script_sha256 == is.script_sha256, None);
    compare("other columns", was.columns == is.columns, None);
    let shells = (was.shell.join(" "), is.shell.join(" "));
    compare("another --shell", was.shell == is.shell, Some(shells));
    compare("another --env", was.env == is.env, None);
    let limit = |n: Option<u64>| n.map_or("no limit".into(), |n| n.to_string());
    let told = |job: &Job| {
        [
            ("another --timeout", format!("{} s", job.timeout)),
            ("other --attempts", job.attempts.to_string()),
            ("another --permanent", format!("{:?}", job.permanent)),
            ("--credentials", job.credentials.to_string()),
            ("--keep-failed", job.keep_failed.to_string()),
            ("--request-payer", job.request_payer.to_string()),
            ("another --memory", limit(job.memory)),
            ("other --cpus", limit(job.milli_cpus)),
        ]
    };
    for ((what, was), (_, is)) in told(was).into_iter().zip(told(is)) {
        compare(what, was == is, Some((was, is)));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_numbers_and_pairs() {
        assert_eq!(ranges("3,7-9"), Some(vec![(3, 3), (7, 9)]));
        for bad in ["", "3,", "9-7", "a", "1-2-3", "-1"] {
            assert_eq!(ranges(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_job_is_named_after_script_and_table() {
        let name = |script: &str, tasks: &str| default_name(Path::new(script), Path::new(tasks));
        assert_eq!(name("x/word count.sh", "../plays.tsv"), "word-count-plays");
        assert!(is_job_name(&name(".run", &"ü".repeat(200))));
    }
}
