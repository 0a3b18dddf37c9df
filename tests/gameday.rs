//! The game day of the README: five faults, what an operator sees of each on the page, in `longshore status`, in the
//! log and in the metrics, and what mends it. What the README quotes is held against what the programs say: `…` stands
//! for anything, and names are those of the README.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

#[path = "page/client.rs"]
#[allow(dead_code)] // the tests of the page need more of it
mod client;
mod common;
#[path = "faults/harness/mod.rs"]
#[allow(unused_imports)] // the scenarios need more of it
mod harness;

use client::Events;
use common::pictures::{jpeg, picture};
use common::process::{longshore, run_aside};
use harness::log::Log;
use harness::process::listening_port;
use harness::proxy::Proxy;
use harness::proxy::rule::On;
use harness::scenario::eventually;
use harness::{Expected, Fault, Operation, PATIENCE, Scenario, Worker, on};
use longshore::local::s3;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The quotes of one fault, by where they are seen; and the commands that mend it.
struct Told {
    quotes: Vec<(&'static str, &'static str)>,
    mend: Vec<&'static str>,
}

/// The part of the README about a fault.
fn told(fault: &str) -> Told {
    let readme = include_str!("../README.md");
    let day = readme.split("### Game day").nth(1).unwrap().split("\n## ").next().unwrap();
    let part =
        day.split("\n**").find(|part| part.starts_with(fault)).unwrap_or_else(|| panic!("no {fault:?}"));
    let mut blocks = part.split("\n```").skip(1).step_by(2);
    let mut block = || blocks.next().unwrap().lines().skip(1).filter(|line| !line.is_empty());
    let quotes =
        block().map(|line| line.split_once(' ').unwrap()).map(|(place, quote)| (place, quote.trim()));
    let (quotes, mend) =
        (quotes.collect(), block().map(|line| line.split("  #").next().unwrap().trim()).collect());
    Told { quotes, mend }
}

/// Whether a line is like a quote, in which `…` stands for anything.
fn is_like(line: &str, quote: &str) -> bool {
    let mut rest = line;
    let parts: Vec<&str> = quote.split('…').map(str::trim).collect();
    for (nth, part) in parts.iter().enumerate() {
        let Some(at) = rest.find(part) else { return false };
        if nth == 0 && at > 0 {
            return false;
        }
        rest = &rest[at + part.len()..];
    }
    quote.ends_with('…') || rest.is_empty()
}

/// A fault that somebody is called for.
struct Day {
    scenario: Scenario,
    worker: Arc<Worker>,
    /// The way of those who are refused what the worker is refused.
    operator: Proxy,
    told: Told,
    /// Lines of the log when it was last looked at.
    logged: AtomicUsize,
}

impl Day {
    async fn new(fault: &str) -> Self {
        let scenario = Scenario::with_receives(5).await;
        let worker = scenario.worker("w").await;
        // What the worker asks is checked to the last call; what an operator asks is no part of that.
        let operator = Proxy::start("operator", &scenario.stage.world.endpoint, Log::default()).await;
        Self { scenario, worker, operator, told: told(fault), logged: AtomicUsize::default() }
    }

    fn refuse(&self, on: On, status: u16, code: &'static str, message: &'static str) {
        for proxy in [&self.worker.proxy, &self.operator] {
            proxy.fault(on.clone(), Fault::RefuseSaying(status, code, message));
        }
    }

    fn heal(&self) {
        self.worker.proxy.heal();
        self.operator.heal();
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", listening_port(self.worker.pid()).unwrap())
    }

    /// In the README's names.
    fn named(&self, text: &str) -> String {
        let stage = &self.scenario.stage;
        let name = |url: &str| url.rsplit('/').next().unwrap().to_owned();
        let mut names = vec![
            (stage.output.clone(), "renditions"),
            (stage.input.clone(), "pictures"),
            (name(&stage.queue), "uploads"),
            (name(&stage.dlq), "uploads-dlq"),
        ];
        if self.worker.running() {
            names.push((self.address(), "127.0.0.1:9464"));
        }
        names.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// A command of the program, as an operator of this queue gives it; with the worker's role, or with one of their
    /// own. Gives what it prints, and whether all is well.
    async fn run(&self, arguments: &str, as_the_worker: bool) -> (String, Option<i32>) {
        let stage = &self.scenario.stage;
        let mut command: Command = longshore();
        command.args(arguments.split(' '));
        for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            command.env(name, self.worker.setting(name).unwrap_or_default());
        }
        let endpoint = if as_the_worker { &self.operator.endpoint } else { &stage.world.endpoint };
        command
            .env("AWS_ENDPOINT_URL", endpoint)
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", s3::SECRET_ACCESS_KEY)
            .env("LONGSHORE_QUEUE_URL", &stage.queue)
            .env("LONGSHORE_OUTPUT_BUCKET", &stage.output)
            .env("LONGSHORE_INPUT_BUCKETS", &stage.input)
            .env("LONGSHORE_WORKERS", self.address())
            .env("LONGSHORE_ADMIN_ADDR", self.address());
        let (code, out, errors) = run_aside(command).await;
        (self.named(&format!("{out}{errors}")), code)
    }

    /// The page's own words of its last sample, failures and letters.
    fn page(&self) -> String {
        if self.stands_still() {
            let script = include_str!("../src/ops/page/main.js");
            let words = "The worker does not answer,";
            assert!(script.contains(&format!("lost({words:?})")), "the browser says it otherwise");
            return format!("closed: {words} since");
        }
        let mut events = Events::open(&self.address(), &[]);
        let whole = events.next("whole", |_| true).unwrap();
        // SQS is asked once somebody looks.
        let sample = events.next("sample", |s| s["waiting"].is_u64() || s["unasked"].is_string()).unwrap();
        let mut lines = vec![match sample["trouble"].as_str() {
            Some(trouble) => format!("not ready: {trouble}"),
            None => "working".to_owned(),
        }];
        lines.push(format!("Backlog {}, held by workers {}", sample["waiting"], sample["hidden"]));
        for failure in whole["failures"].as_array().unwrap() {
            let text = |name: &str| failure[name].as_str().unwrap();
            let tag = match (text("outcome"), failure["mended"].as_bool().unwrap()) {
                (_, true) => "done since",
                ("rejected", false) => text("reason"),
                ("retry", false) => "tried again",
                (outcome, false) => outcome,
            };
            lines.push(format!("{} {tag}: {}", text("key"), text("detail")));
        }
        for group in whole["letters"]["groups"].as_array().unwrap() {
            lines.push(format!("Dead letters: {} {}", group["reason"].as_str().unwrap(), group["count"]));
        }
        self.named(&lines.join("\n"))
    }

    /// As text: level and message. Of a worker that stands still, what is new since the last look.
    fn log(&self) -> String {
        let lines = self.worker.lines().len();
        if self.stands_still() && self.logged.swap(lines, Ordering::SeqCst) == lines {
            return "no line".into();
        }
        let lines = self.worker.lines().into_iter().filter_map(|l| serde_json::from_str::<Value>(&l).ok());
        let lines = lines.map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let reason =
                line["reason"].as_str().map_or(String::new(), |reason| format!(" reason={reason:?}"));
            format!("{} {}{reason}", text("level"), text("message"))
        });
        self.named(&lines.collect::<Vec<_>>().join("\n"))
    }

    async fn metrics(&self) -> String {
        let asked = tokio::time::timeout(Duration::from_secs(5), self.worker.ask("/metrics")).await;
        // What is told from 0 on has not happened yet.
        let happened =
            |text: String| text.lines().filter(|l| !l.ends_with(" 0")).collect::<Vec<_>>().join("\n");
        asked.ok().flatten().map_or("no answer".into(), |(_, text)| happened(text))
    }

    /// By the kernel's word: stopped.
    fn stands_still(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.worker.pid())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    }

    async fn look(&self, place: &str) -> String {
        match place {
            "page" => self.page(),
            "status" => self.run("status", false).await.0,
            "check" => self.run("config check", true).await.0,
            "health" => self.run("healthcheck", false).await.0,
            "log" => self.log(),
            "metrics" => self.metrics().await,
            other => panic!("{other:?} is nowhere to look"),
        }
    }

    /// Waits until each quote of the README is seen where it is said to be.
    async fn is_seen(&self) {
        let began = Instant::now();
        let mut left = self.told.quotes.clone();
        loop {
            let mut seen = BTreeMap::new();
            for (place, _) in &left {
                if !seen.contains_key(place) {
                    seen.insert(*place, self.look(place).await);
                }
            }
            left.retain(|(place, quote)| !seen[place].lines().any(|line| is_like(line.trim(), quote)));
            if left.is_empty() {
                return;
            }
            let all: Vec<String> = seen.iter().map(|(place, text)| format!("{place}:\n{text}")).collect();
            assert!(began.elapsed() < PATIENCE, "nowhere {left:?}; seen at last:\n{}", all.join("\n\n"));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Runs what the README says of this program to mend it.
    async fn mend(&self) {
        let commands: Vec<&str> =
            self.told.mend.iter().filter_map(|c| c.strip_prefix("longshore ")).collect();
        for command in commands {
            let (text, code) = self.run(command, false).await;
            assert_eq!(code, Some(0), "longshore {command}: {text}");
        }
    }

    async fn is_ready(&self) {
        let ready =
            async || self.worker.ask("/readyz").await.filter(|(status, _)| *status == 200).map(|_| ());
        eventually("word that it is ready", PATIENCE, ready).await;
    }
}

const REFUSED: &str = "User: arn:aws:sts::123456789012:assumed-role/worker/task is not authorized to perform: \
                       s3:PutObject because no identity-based policy allows the s3:PutObject action";

#[tokio::test(flavor = "multi_thread")]
async fn no_permission_on_the_output_bucket() {
    let day = Day::new("1.").await;
    day.refuse(on([Operation::PutObject]), 403, "AccessDenied", REFUSED);
    day.scenario.upload_many("a", 6).await;
    day.worker.started().await;
    day.is_seen().await;
    let received = day.scenario.log.exchanges();
    let most = received.iter().flat_map(|e| e.messages.iter().map(|m| m.receive_count)).max().unwrap();
    assert!(most <= 2, "receives are not used up meanwhile: {most}");

    // The policy is put right.
    day.heal();
    day.is_ready().await;
    let (text, code) = day.run("config check", true).await;
    assert_eq!(code, Some(0), "{text}");
    day.mend().await;
    day.worker.until_line("works again after", PATIENCE).await;
    day.scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_picture() {
    let day = Day::new("2.").await;
    let whole = jpeg(&picture(900, 900));
    let half = whole[..whole.len() / 2].to_vec();
    day.scenario.upload_bytes("cut.jpg", half, Expected::Rejected("truncated")).await;
    day.scenario.upload("neighbour.jpg").await;
    day.worker.started().await;
    day.scenario.stage.output("thumbs/neighbour.jpg").await;
    day.is_seen().await;

    day.scenario.stage.upload("cut.jpg", whole).await;
    day.mend().await;
    day.scenario.stage.output("thumbs/cut.jpg").await;
    day.scenario.until_empty(PATIENCE).await;
    let (text, _) = day.run("status", false).await;
    assert!(text.contains("0 dead letters"), "{text}");
    assert!(day.page().contains("cut.jpg done since"), "{}", day.page());
    day.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_the_role_may_not_look_at_are_those_that_this_worker_sent() {
    let scenario = Scenario::with_receives(5).await;
    let worker = scenario.worker("w").await;
    worker.proxy.fault(on([Operation::Look]), Fault::RefuseSaying(403, "AccessDenied", "not authorized"));
    scenario.upload_bytes("empty.jpg", Vec::new(), Expected::Rejected("empty")).await;
    worker.started().await;
    let mut events = Events::open(&format!("127.0.0.1:{}", listening_port(worker.pid()).unwrap()), &[]);
    let told = events.next("letters", |l| l["trouble"].is_string() && l["groups"] != json!([])).unwrap();
    assert_eq!((&told["scope"], &told["seen"]), (&json!("worker"), &Value::Null));
    assert_eq!(told["groups"], json!([{"reason": "empty", "count": 1, "example": ""}]));
    let trouble = told["trouble"].as_str().unwrap();
    for part in [&scenario.stage.dlq, "AccessDenied", "allow sqs:ReceiveMessage on it"] {
        assert!(trouble.contains(part), "{part} in {trouble}");
    }

    // The grant is given.
    worker.proxy.heal();
    let told = events.next("letters", |l| l["seen"] == 1).unwrap();
    assert_eq!((&told["scope"], &told["trouble"]), (&json!("queue"), &Value::Null));
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_worker() {
    let day = Day::new("3.").await;
    day.worker.proxy.fault(on([Operation::GetObject]), Fault::Delay(Duration::from_secs(600)));
    day.scenario.upload_many("s", 4).await;
    day.worker.started().await;
    let begun = || day.scenario.log.count(|e| e.call.operation == Operation::GetObject);
    day.scenario.until("all in work", PATIENCE, || begun() >= 4).await;
    day.worker.freeze();
    day.scenario.until("its standstill", PATIENCE, || day.stands_still()).await;
    day.is_seen().await;
    let (text, code) = day.run("healthcheck", false).await;
    assert_eq!(code, Some(1), "{text}");

    // ECS stops it, and starts another.
    day.worker.kill();
    day.worker.exit_code(PATIENCE).await;
    day.worker.proxy.heal();
    day.worker.started().await;
    day.mend().await;
    day.scenario.finish().await;
}

/// The number that follows a name at the beginning of a line.
fn number_after(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split([' ', ',']).next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_that_grows() {
    let day = Day::new("4.").await;
    day.worker.set("LONGSHORE_CONCURRENCY", "1").set("LONGSHORE_RENDER_THREADS", "1");
    day.worker.proxy.fault(on([Operation::GetObject]), Fault::Delay(Duration::from_secs(2)));
    day.scenario.upload_many("b", 30).await;
    day.worker.started().await;
    day.is_seen().await;
    // Wherever it is looked at, it grows.
    let lag = "longshore_queue_lag_seconds_sum ";
    let places = [("page", "Backlog "), ("status", "queue      uploads: "), ("metrics", lag)];
    let mut before = Vec::new();
    for (place, name) in places {
        before.push(number_after(&day.look(place).await, name).unwrap());
    }
    day.scenario.upload_many("c", 30).await;
    for ((place, name), before) in places.into_iter().zip(before) {
        let more = async || number_after(&day.look(place).await, name).filter(|now| *now > before + 2.0);
        eventually("growth", PATIENCE, async || more().await.map(|_| ())).await;
    }
    assert!(!day.log().contains("WARN") && !day.log().contains("ERROR"), "nothing is amiss:\n{}", day.log());

    // More tasks.
    let another = day.scenario.worker("another").await;
    another.started().await;
    day.mend().await;
    let began = Instant::now();
    day.scenario.until_empty(PATIENCE).await;
    assert!(began.elapsed() < Duration::from_secs(55), "one alone takes two seconds for each");
    day.scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_role() {
    let day = Day::new("5.").await;
    day.worker.started().await;
    let told = "The security token included in the request is expired";
    day.refuse(on([]), 403, "ExpiredToken", told);
    day.scenario.upload_many("e", 3).await;
    day.is_seen().await;
    assert_eq!(day.scenario.depth().await, (3, 0), "nothing is lost, and no receive is used up");

    // The role may be assumed again.
    day.heal();
    day.is_ready().await;
    day.mend().await;
    day.scenario.finish().await;
}
