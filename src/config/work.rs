//! The settings of `work`, checked as a whole.

use super::values::{Reader, Secret, present};
use super::{RenderConfig, traces};
use crate::cli::{RenderArgs, WorkArgs};
use crate::event::is_bucket_name;
use crate::job::memory;
use crate::queue::queue_name;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub render: RenderConfig,
    pub queue_url: String,
    pub dlq_url: Option<String>,
    pub concurrency: usize,
    /// Bytes that all pictures in work may take together.
    pub memory_budget: u64,
    pub task_protection: TaskProtection,
    /// Long-poll wait, W.
    pub wait: Duration,
    /// Visibility timeout, VT.
    pub visibility: Duration,
    pub max_job_time: Duration,
    pub stop_timeout: Duration,
    pub jobs: Jobs,
    /// Where jobs are kept; empty if commands are not served.
    pub work_bucket: String,
    /// Where rows have their folders.
    pub work_dir: PathBuf,
    /// Empty if renditions are not served.
    pub output_bucket: String,
    /// Empty: any bucket that the credentials can read.
    pub input_buckets: Vec<String>,
    pub input_prefix: String,
    /// Empty: every key.
    pub suffixes: Vec<String>,
    pub suffix_case: SuffixCase,
    pub cache_control: Option<String>,
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
    pub profile: Option<String>,
    pub admin_addr: Option<SocketAddr>,
    pub emf_namespace: Option<String>,
    pub traces: traces::Traces,
    pub admin_token: Option<Secret>,
    pub log: LogSettings,
}

/// What a fleet serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jobs {
    pub renditions: bool,
    pub commands: bool,
}

/// ECS task scale-in protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskProtection {
    Off,
    /// Where ECS offers it (`ECS_AGENT_URI`).
    Auto,
    /// The same, but only while there is a row that may take longer than the drain budget.
    Long,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuffixCase {
    Ignore,
    Match,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub format: LogFormat,
    /// In the syntax of `tracing_subscriber::EnvFilter`.
    pub filter: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    Json,
    Text,
}

const DEFAULT_SUFFIXES: &str = ".jpg,.jpeg,.jpe,.jfif,.png,.webp,.gif,.tif,.tiff,.bmp";
const DEFAULT_ADMIN_ADDR: &str = "127.0.0.1:9464";

const LEAST_MEMORY: u64 = 48 << 20;
/// Where nobody says how much memory there is.
const UNKNOWN_MEMORY: u64 = 1 << 30;

/// Three quarters of what there is: the rest is for the program, the SDK and what allocators hold back.
fn default_memory_budget() -> u64 {
    memory::available().map_or(UNKNOWN_MEMORY, |bytes| (bytes / 4 * 3).max(LEAST_MEMORY))
}

/// Between the end of draining and SIGKILL: releases, the last log lines, the exit.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Which queue, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    pub queue_url: String,
    pub dlq_url: Option<String>,
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
    pub profile: Option<String>,
}

impl QueueConfig {
    /// # Errors
    ///
    /// All mistakes, a line each, with the remedy.
    pub fn read(work: &WorkArgs) -> Result<Self, Vec<String>> {
        let mut reader = Reader::default();
        let config = Self::read_with(work, &mut reader);
        reader.finish(config)
    }

    fn read_with(work: &WorkArgs, reader: &mut Reader) -> Self {
        let config = Self {
            queue_url: queue_url(reader, work),
            dlq_url: optional_url(reader, "--dlq-url", &work.dlq_url),
            region: region(reader, work),
            endpoint_url: endpoint_url(reader, work),
            profile: present(&work.profile).map(str::to_owned),
        };
        config.check_dead_letters(reader);
        config
    }

    fn check_dead_letters(&self, reader: &mut Reader) {
        if self.dlq_url.as_ref().is_some_and(|dlq| *dlq == self.queue_url) {
            reader.mistake("--dlq-url is the queue itself: rejected messages would come back for ever");
        }
        if self.dlq_url.as_ref().is_some_and(|dlq| dlq.ends_with(".fifo")) {
            reader.mistake(
                "--dlq-url names a FIFO queue: a standard queue's dead letters go to a standard queue; name one",
            );
        }
    }
}

impl Config {
    /// # Errors
    ///
    /// All mistakes, a line each, with the remedy.
    pub fn read(work: &WorkArgs, render: &RenderArgs) -> Result<Self, Vec<String>> {
        let mut reader = Reader::default();
        let render = RenderConfig::read_with(render, &mut reader);
        let stop_timeout =
            reader.time("--stop-timeout", &work.stop_timeout, Duration::from_secs(30), 8..=7200);
        // A parked receive is awaited when draining: with 20 s it would eat the default budget.
        let wait = Duration::from_secs(if stop_timeout >= Duration::from_secs(60) { 20 } else { 10 });
        let QueueConfig { queue_url, dlq_url, region, endpoint_url, profile } =
            QueueConfig::read_with(work, &mut reader);
        let jobs = jobs(&mut reader, work);
        let protections =
            [("off", TaskProtection::Off), ("auto", TaskProtection::Auto), ("long", TaskProtection::Long)];
        let protection = match present(&work.task_protection) {
            None if jobs.commands => TaskProtection::Long,
            _ => reader.choice("--task-protection", &work.task_protection, &protections),
        };
        let config = Self {
            jobs,
            work_bucket: work_bucket(&mut reader, work, jobs),
            work_dir: present(&work.work_dir).map_or_else(std::env::temp_dir, PathBuf::from),
            queue_url,
            dlq_url,
            region,
            endpoint_url,
            profile,
            concurrency: reader.whole("--concurrency", &work.concurrency, 2 * render.threads, 1..=1000),
            memory_budget: reader.size(
                "--memory-budget",
                &work.memory_budget,
                default_memory_budget(),
                LEAST_MEMORY..=1 << 50,
            ),
            task_protection: protection,
            wait: reader.time("--wait-time", &work.wait_time, wait, 1..=20),
            visibility: reader.time(
                "--visibility-timeout",
                &work.visibility_timeout,
                Duration::from_secs(90),
                3..=43_200,
            ),
            max_job_time: reader.time(
                "--max-job-time",
                &work.max_job_time,
                Duration::from_secs(900),
                1..=42_000,
            ),
            stop_timeout,
            output_bucket: output_bucket(&mut reader, work, jobs),
            input_buckets: input_buckets(&mut reader, work),
            input_prefix: present(&work.input_prefix).unwrap_or_default().to_owned(),
            suffixes: suffixes(&mut reader, work),
            suffix_case: reader.choice(
                "--suffix-case",
                &work.suffix_case,
                &[("ignore", SuffixCase::Ignore), ("match", SuffixCase::Match)],
            ),
            cache_control: cache_control(&mut reader, work),
            admin_addr: admin_addr(&mut reader, work),
            emf_namespace: emf_namespace(&mut reader, work),
            traces: traces::read(&mut reader, &work.traces),
            admin_token: reader.secret("--admin-token", &work.admin_token),
            log: log_settings(&mut reader, work),
            render,
        };
        config.check_together(&mut reader);
        reader.finish(config)
    }

    /// The last part of the queue's URL.
    pub fn queue_name(&self) -> &str {
        queue_name(&self.queue_url)
    }

    /// Time from SIGTERM to the end of draining, D.
    pub fn drain_budget(&self) -> Duration {
        self.stop_timeout.saturating_sub(STOP_MARGIN)
    }

    fn check_together(&self, reader: &mut Reader) {
        let wait = self.wait.as_secs();
        if self.wait + Duration::from_secs(1) > self.drain_budget() {
            reader.mistake(format!(
                "--wait-time of {wait}s does not fit: a parked receive is awaited at SIGTERM, and draining ends \
                 {}s before the stop timeout of {}s; lower --wait-time or raise --stop-timeout",
                STOP_MARGIN.as_secs(),
                self.stop_timeout.as_secs()
            ));
        }
        self.check_loops(reader);
        if self.jobs.commands
            && self.input_prefix.is_empty()
            && self.input_buckets.contains(&self.work_bucket)
        {
            reader.mistake(format!(
                "--work-bucket {:?} is watched for pictures: every record of a job would be an event; use another \
                 bucket, or an --input-prefix like uploads/",
                self.work_bucket
            ));
        }
    }

    /// A rendition must never be an upload that makes renditions.
    fn check_loops(&self, reader: &mut Reader) {
        if !self.input_buckets.contains(&self.output_bucket) {
            return;
        }
        for spec in &self.render.settings.specs {
            let output = format!("{}/", spec.name);
            if output.starts_with(&self.input_prefix) || self.input_prefix.starts_with(&output) {
                reader.mistake(format!(
                    "output prefix {output:?} lies in what is watched (bucket {:?}, prefix {:?}): every rendition \
                     would be made into renditions again; use another --output-bucket, or an --input-prefix like \
                     uploads/",
                    self.output_bucket, self.input_prefix
                ));
            }
        }
    }
}

pub fn is_http_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|r| !r.is_empty() && !r.starts_with('/') && !r.contains(char::is_whitespace))
}

pub(super) fn queue_url(reader: &mut Reader, work: &WorkArgs) -> String {
    const EXAMPLE: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/uploads";
    let what = format!("the queue's URL, like {EXAMPLE}");
    let url = reader.required("--queue-url", "LONGSHORE_QUEUE_URL", &work.queue_url, &what);
    if !url.is_empty() && !is_http_url(&url) {
        let hint = if url.starts_with("arn:") { "that is an ARN; " } else { "" };
        reader.mistake(format!("--queue-url is {url:?}: {hint}write the queue's URL, like {EXAMPLE}"));
    }
    if url.ends_with(".fifo") {
        reader.mistake(
            "--queue-url names a FIFO queue: S3 sends events to standard queues only; make one of those",
        );
    }
    url
}

pub(super) fn optional_url(reader: &mut Reader, flag: &str, value: &Option<String>) -> Option<String> {
    let url = present(value)?;
    if !is_http_url(url) {
        reader.mistake(format!("{flag} is {url:?}: write a URL that starts with https:// or http://"));
    }
    Some(url.to_owned())
}

/// The one that is named, else None: then those of the environment must be ones that the SDK can take.
pub(super) fn endpoint_url(reader: &mut Reader, work: &WorkArgs) -> Option<String> {
    let named = optional_url(reader, "--endpoint-url", &work.endpoint_url);
    if named.is_none() {
        // What is no text is no endpoint either.
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        reader.mistakes.extend(endpoint_mistakes(std::env::vars_os().filter_map(text)));
    }
    named
}

/// The SDK panics at an endpoint that is no URL, an empty one included, and cannot be told to pass over it.
fn endpoint_mistakes(variables: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    let variables: BTreeMap<String, String> = variables.into_iter().collect();
    let ignored = variables.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
    if ignored.is_some_and(|ignored| ignored.eq_ignore_ascii_case("true")) {
        return Vec::new();
    }
    let of_endpoints = variables.iter().filter(|(name, url)| {
        (*name == "AWS_ENDPOINT_URL" || name.starts_with("AWS_ENDPOINT_URL_")) && !is_http_url(url)
    });
    let tell = |(name, url): (&String, &String)| match url.trim() {
        "" => format!("{name} is empty, which the AWS SDK takes for an endpoint: unset it"),
        _ => format!("{name} is {url:?}: write a URL that starts with https:// or http://"),
    };
    of_endpoints.map(tell).collect()
}

fn jobs(reader: &mut Reader, work: &WorkArgs) -> Jobs {
    let list = present(&work.jobs).unwrap_or("renditions");
    let mut jobs = Jobs { renditions: false, commands: false };
    for word in list.split(',').map(str::trim) {
        match word {
            "renditions" => jobs.renditions = true,
            "commands" => jobs.commands = true,
            _ => {
                reader.mistake(format!(
                    "--jobs is {list:?}: write renditions, commands, or both with a comma between them"
                ));
                return jobs;
            }
        }
    }
    jobs
}

fn work_bucket(reader: &mut Reader, work: &WorkArgs, jobs: Jobs) -> String {
    let said = present(&work.work_bucket).unwrap_or_default();
    if said.is_empty() && jobs.commands {
        let what = "the bucket that jobs are kept in, as --jobs names commands";
        return reader.required("--work-bucket", "LONGSHORE_WORK_BUCKET", &work.work_bucket, what);
    }
    if !said.is_empty() {
        check_bucket(reader, "--work-bucket", said);
    }
    said.to_owned()
}

fn output_bucket(reader: &mut Reader, work: &WorkArgs, jobs: Jobs) -> String {
    if !jobs.renditions && present(&work.output_bucket).is_none() {
        return String::new();
    }
    let what = "the bucket that renditions are stored in";
    let bucket = reader.required("--output-bucket", "LONGSHORE_OUTPUT_BUCKET", &work.output_bucket, what);
    if !bucket.is_empty() {
        check_bucket(reader, "--output-bucket", &bucket);
    }
    bucket
}

fn input_buckets(reader: &mut Reader, work: &WorkArgs) -> Vec<String> {
    let list = present(&work.input_buckets).unwrap_or_default();
    let buckets: Vec<String> =
        list.split(',').map(str::trim).filter(|b| !b.is_empty()).map(str::to_owned).collect();
    for bucket in &buckets {
        check_bucket(reader, "--input-buckets", bucket);
    }
    buckets
}

pub(super) fn check_bucket(reader: &mut Reader, flag: &str, bucket: &str) {
    if !is_bucket_name(bucket) {
        reader.mistake(format!(
            "{flag}: {bucket:?} is not a bucket name: write the name alone, like my-pictures"
        ));
    }
}

fn suffixes(reader: &mut Reader, work: &WorkArgs) -> Vec<String> {
    let list = present(&work.suffixes).unwrap_or(DEFAULT_SUFFIXES);
    if list == "*" {
        return Vec::new();
    }
    let suffixes: Vec<String> =
        list.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
    if suffixes.iter().any(|s| s.contains('*')) || suffixes.is_empty() {
        reader.mistake(format!(
            "--suffixes is {list:?}: write endings like .jpg,.png, or * alone for every key"
        ));
    }
    suffixes
}

fn cache_control(reader: &mut Reader, work: &WorkArgs) -> Option<String> {
    let value = present(&work.cache_control)?;
    if !value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        reader.mistake("--cache-control holds characters that a header cannot carry: write printable ASCII");
    }
    Some(value.to_owned())
}

/// The region, and whether the queue's URL agrees with it: SQS answers a wrong one with a signature
/// error that helps nobody.
pub(super) fn region(reader: &mut Reader, work: &WorkArgs) -> Option<String> {
    let from_env = |name| std::env::var(name).ok().filter(|r: &String| !r.trim().is_empty());
    let said = present(&work.region).map(str::to_owned);
    let known = said.clone().or_else(|| from_env("AWS_REGION")).or_else(|| from_env("AWS_DEFAULT_REGION"));
    let url = present(&work.queue_url).unwrap_or_default();
    let in_url = region_of(url);
    if let (Some(known), Some(in_url)) = (&known, in_url)
        && known != in_url
    {
        reader.mistake(format!(
            "the region is {known} but --queue-url is in {in_url}: set AWS_REGION={in_url}, or name a queue in {known}"
        ));
    }
    // The queue's own region is the right one when nothing else is said.
    said.or_else(|| if known.is_none() { in_url.map(str::to_owned) } else { None })
}

/// `https://sqs.REGION.amazonaws.com/…` (also .com.cn and FIPS hosts).
fn region_of(queue_url: &str) -> Option<&str> {
    let host = queue_url.split("://").nth(1)?.split('/').next()?;
    let (service, rest) = host.split_once('.')?;
    let (region, domain) = rest.split_once('.')?;
    (matches!(service, "sqs" | "sqs-fips") && domain.starts_with("amazonaws.com")).then_some(region)
}

fn admin_addr(reader: &mut Reader, work: &WorkArgs) -> Option<SocketAddr> {
    let text = present(&work.admin_addr).unwrap_or(DEFAULT_ADMIN_ADDR);
    if text == "off" {
        return None;
    }
    let address = text.parse().ok();
    if address.is_none() {
        reader.mistake(format!(
            "--admin-addr is {text:?}: write ADDRESS:PORT, like {DEFAULT_ADMIN_ADDR}, or off"
        ));
    }
    address
}

/// CloudWatch's rule: "PutMetricData", Amazon CloudWatch API Reference. `AWS/` is Amazon's.
fn emf_namespace(reader: &mut Reader, work: &WorkArgs) -> Option<String> {
    let name = present(&work.emf_namespace).filter(|name| *name != "off")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_/#:".contains(c);
    if name.len() > 255 || !name.chars().all(allowed) || name.starts_with("AWS/") {
        reader.mistake(format!(
            "--emf-namespace is {name:?}: write up to 255 letters, digits and . - _ / # : that do not begin \
             with AWS/, like Longshore; or off"
        ));
    }
    Some(name.to_owned())
}

fn log_settings(reader: &mut Reader, work: &WorkArgs) -> LogSettings {
    let filter = present(&work.log).unwrap_or("info").to_owned();
    if let Err(why) = tracing_subscriber::EnvFilter::builder().parse(&filter) {
        reader.mistake(format!("--log is {filter:?}: {why}; write error, warn, info or debug"));
    }
    let formats = [("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)];
    LogSettings { format: reader.choice("--log-format", &work.log_format, &formats), filter }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> WorkArgs {
        WorkArgs {
            queue_url: Some("https://sqs.eu-west-1.amazonaws.com/123456789012/uploads".into()),
            output_bucket: Some("renditions".into()),
            region: Some("eu-west-1".into()),
            ..WorkArgs::default()
        }
    }

    fn mistakes(work: &WorkArgs, render: &RenderArgs) -> Vec<String> {
        Config::read(work, render).expect_err("a mistake was planted")
    }

    #[test]
    fn an_endpoint_that_the_sdk_would_panic_at_is_a_mistake() {
        let mistakes = |variables: &[(&str, &str)]| {
            endpoint_mistakes(variables.iter().map(|(name, url)| ((*name).to_owned(), (*url).to_owned())))
        };
        let found = mistakes(&[("AWS_ENDPOINT_URL", ""), ("AWS_ENDPOINT_URL_S3", "minio:9000")]);
        assert!(found.len() == 2 && found[0].contains("AWS_ENDPOINT_URL is empty"), "{found:?}");
        let ignored = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
        assert_eq!(mistakes(&[("AWS_ENDPOINT_URL", ""), ignored]), [""; 0]);
        assert_eq!(mistakes(&[("AWS_ENDPOINT_URL_SQS", "http://localhost:9324")]), [""; 0]);
    }

    #[test]
    fn the_defaults_are_sound() {
        let config = Config::read(&good(), &RenderArgs::default()).unwrap();
        assert_eq!((config.wait.as_secs(), config.drain_budget().as_secs()), (10, 25));
        assert_eq!(config.concurrency, 2 * config.render.threads);
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let work = WorkArgs {
            concurrency: Some("many".into()),
            suffix_case: Some("maybe".into()),
            admin_addr: Some("9464".into()),
            cache_control: Some("a\nb".into()),
            emf_namespace: Some("AWS/SQS".into()),
            ..WorkArgs::default()
        };
        let render =
            RenderArgs { renditions: Some("x=1".into()), icc: Some("cmyk".into()), ..RenderArgs::default() };
        let found = mistakes(&work, &render).join("\n");
        for flag in [
            "--queue-url is missing",
            "LONGSHORE_OUTPUT_BUCKET",
            "--concurrency",
            "--suffix-case",
            "--admin-addr",
            "--cache-control",
            "--emf-namespace",
            "rendition 1",
            "--icc",
        ] {
            assert!(found.contains(flag), "{flag} in\n{found}");
        }
    }

    #[test]
    fn an_output_prefix_that_feeds_the_watched_bucket_is_refused() {
        let looped = WorkArgs { input_buckets: Some("a-bucket, renditions".into()), ..good() };
        assert!(mistakes(&looped, &RenderArgs::default())[0].contains("again"));
        let inside = WorkArgs { input_prefix: Some("thumbs/new/".into()), ..looped.clone() };
        assert_eq!(mistakes(&inside, &RenderArgs::default()).len(), 1);
        let apart = WorkArgs { input_prefix: Some("uploads/".into()), ..looped };
        assert!(Config::read(&apart, &RenderArgs::default()).is_ok());
    }

    #[test]
    fn a_region_that_is_not_the_queues_is_refused() {
        let wrong = WorkArgs { region: Some("us-east-1".into()), ..good() };
        assert!(mistakes(&wrong, &RenderArgs::default())[0].contains("AWS_REGION=eu-west-1"));
        assert_eq!(region_of("https://sqs.cn-north-1.amazonaws.com.cn/1/q"), Some("cn-north-1"));
        assert_eq!(region_of("http://127.0.0.1:4566/000000000000/q"), None);
    }

    #[test]
    fn a_wait_that_outlasts_the_stop_timeout_is_refused() {
        let long = WorkArgs { wait_time: Some("20s".into()), stop_timeout: Some("25s".into()), ..good() };
        assert!(mistakes(&long, &RenderArgs::default())[0].contains("--wait-time of 20s"));
        let patient = WorkArgs { stop_timeout: Some("120s".into()), ..good() };
        assert_eq!(Config::read(&patient, &RenderArgs::default()).unwrap().wait.as_secs(), 20);
    }

    #[test]
    fn a_dead_letter_queue_that_cannot_be_one_is_refused() {
        for url in [good().queue_url.unwrap(), "https://sqs.eu-west-1.amazonaws.com/1/dead.fifo".into()] {
            let wrong = WorkArgs { dlq_url: Some(url.clone()), ..good() };
            assert!(mistakes(&wrong, &RenderArgs::default())[0].contains("--dlq-url"), "{url}");
        }
    }

    #[test]
    fn commands_take_a_work_bucket_and_no_output_bucket() {
        let commands = WorkArgs { jobs: Some("commands".into()), output_bucket: None, ..good() };
        assert!(mistakes(&commands, &RenderArgs::default())[0].contains("LONGSHORE_WORK_BUCKET"));
        let whole = WorkArgs { work_bucket: Some("work-bucket".into()), ..commands };
        let config = Config::read(&whole, &RenderArgs::default()).unwrap();
        assert_eq!((config.jobs.renditions, config.jobs.commands), (false, true));
        assert_eq!(config.task_protection, TaskProtection::Long);
        let both = WorkArgs { jobs: Some("renditions, commands".into()), ..whole.clone() };
        assert!(mistakes(&both, &RenderArgs::default())[0].contains("--output-bucket"));
        let wrong = WorkArgs { jobs: Some("pictures".into()), ..whole.clone() };
        assert!(mistakes(&wrong, &RenderArgs::default())[0].contains("--jobs"));
        let watched = WorkArgs { input_buckets: Some("work-bucket".into()), ..whole };
        assert!(mistakes(&watched, &RenderArgs::default())[0].contains("--work-bucket"));
    }

    #[test]
    fn the_admin_port_is_on_loopback_unless_it_is_said_otherwise() {
        let at = |text: Option<&str>| {
            let work = WorkArgs { admin_addr: text.map(str::to_owned), ..good() };
            Config::read(&work, &RenderArgs::default()).unwrap().admin_addr.map(|a| a.to_string())
        };
        for absent in [None, Some(""), Some(" ")] {
            assert_eq!(at(absent).as_deref(), Some("127.0.0.1:9464"));
        }
        assert_eq!(at(Some("off")), None);
        assert_eq!(at(Some("127.0.0.1:1")).as_deref(), Some("127.0.0.1:1"));
    }

    #[test]
    fn an_arn_for_a_queue_url_says_so() {
        let arn = WorkArgs { queue_url: Some("arn:aws:sqs:eu-west-1:1:q".into()), ..good() };
        assert!(mistakes(&arn, &RenderArgs::default())[0].contains("that is an ARN"));
    }
}
