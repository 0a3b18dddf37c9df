//! What telling costs: `cargo bench --bench operate [-- scrape telling idle seconds=60 program=PATH]`
//!
//! `idle` is of the program as the image has it, which takes some minutes to build for the first time; `program` names one
//! that is there already.
//!
//! The real program on the embedded servers, and the CPU time of its threads as the kernel counts it: a scrape of
//! `/metrics`, metrics and log lines of a picture, and a worker that has nothing to do.
//! The photographs are those in the folder that `LONGSHORE_TEST_PHOTOS` names, else in `../shared/photos`, else one
//! made on the spot. Linux only, as it reads `/proc`.
#![allow(clippy::unwrap_used)] // a figure that cannot be taken is not one

#[path = "../tests/page/client.rs"]
#[allow(dead_code)] // the tests of the page need more of it
mod client;
#[path = "../tests/common/mod.rs"]
mod common;

use common::LIMIT;
use common::pictures::{jpeg, picture};
use common::process::{Process, worker};
use common::stage::Stage;
use longshore::job::{Made, Outcome, Output};
use longshore::ops::Metrics;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

#[tokio::main]
async fn main() {
    let seconds = std::env::args().find_map(|a| a.strip_prefix("seconds=")?.parse().ok()).unwrap_or(60);
    let named: Vec<String> = std::env::args().skip(1).filter(|a| !a.contains(['-', '='])).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|n| n == name);
    let mut rows = Vec::new();
    if wanted("scrape") {
        rows.extend(scrape().await);
    }
    if wanted("telling") {
        rows.extend(telling().await);
    }
    if wanted("idle") {
        rows.extend(idle(Duration::from_secs(seconds)).await);
    }
    println!("| figure | found | goal | |\n| --- | --- | --- | --- |");
    for Row { what, found, goal, met } in &rows {
        println!("| {what} | {found} | {goal} | {} |", if *met { "met" } else { "not met" });
    }
}

struct Row {
    what: String,
    found: String,
    goal: &'static str,
    met: bool,
}

/// A worker with its admin port, and how to look at it from outside.
struct Watched {
    process: Process,
    pid: u64,
    address: String,
}

impl Watched {
    fn start(stage: &Stage, settings: &[(&str, &str)]) -> Self {
        Self::start_command(worker(stage), settings)
    }

    fn start_command(mut command: Command, settings: &[(&str, &str)]) -> Self {
        command.env("LONGSHORE_ADMIN_ADDR", "127.0.0.1:0").env("LONGSHORE_LOG_FORMAT", "json");
        // Only this line of its log is of use here.
        command.env("LONGSHORE_LOG", "info").envs(settings.iter().copied());
        let mut process = Process::start(command);
        let started: Value = serde_json::from_str(&process.wait_for_line("\"started\"", LIMIT)).unwrap();
        let address = started["admin"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/');
        Self { pid: process.id().into(), address: address.to_owned(), process }
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.pid)).expect("Linux has /proc")
    }

    /// User and system time of its threads, by the scheduler's own count: ticks are too coarse.
    fn cpu(&self) -> Spent {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid)).expect("Linux has /proc");
        let ran = threads.flatten().filter_map(|thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            Some((thread.file_name(), text.split(' ').next()?.parse().ok()?))
        });
        Spent(ran.collect())
    }

    fn rss_mb(&self) -> f64 {
        let status = self.file("status");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("resident memory");
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1e3
    }

    async fn finish(mut self, stage: &Stage) {
        stage.wait_until_empty().await;
        self.process.signal("TERM");
        assert!(self.process.wait(LIMIT).success());
    }
}

/// Nanoseconds of each thread.
struct Spent(HashMap<OsString, u64>);

impl Spent {
    /// Of the threads that are left: what others took before they ended is told nowhere.
    fn since(&self, before: &Self) -> Duration {
        let more = self.0.iter().map(|(thread, now)| now.saturating_sub(*before.0.get(thread).unwrap_or(&0)));
        Duration::from_nanos(more.sum())
    }
}

/// The program as `docker/Dockerfile` builds it.
fn shipped() -> PathBuf {
    if let Some(program) = std::env::args().find_map(|a| Some(PathBuf::from(a.strip_prefix("program=")?))) {
        return program;
    }
    let file = include_str!("../docker/Dockerfile");
    let flags = file.split("RUSTFLAGS=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let features = ["--no-default-features", "--features", "commands"];
    assert!(file.contains(&features.join(" ")), "the image is built with other features");
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("shipped");
    eprintln!("building what the image has, in {}", folder.display());
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--profile", "dist", "--bin", "longshore", "--target", &target]);
    cargo.args(features).arg("--target-dir").arg(&folder).env("RUSTFLAGS", flags);
    assert!(cargo.status().unwrap().success());
    folder.join(target).join("dist/longshore")
}

/// The same command, but of another program.
fn of(program: &Path, command: &Command) -> Command {
    let mut other = Command::new(program);
    other.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    other
}

async fn upload(stage: &Stage, count: usize, bytes: impl Fn(usize) -> Vec<u8>) {
    for n in 0..count {
        let key = format!("{n}-{:08x}.jpg", fastrand::u32(..));
        let etag = stage.upload(&key, bytes(n)).await;
        stage.send(stage.message(&[stage.record(&key, &etag, "01")])).await;
    }
}

fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|one, other| one.partial_cmp(other).unwrap());
    values[values.len() / 2]
}

const SCRAPES: u32 = 50;
/// As many as there may be.
const RENDITIONS: usize = 16;

/// What the program can have at most, asked over the network; and ten times as much, without it.
async fn scrape() -> Vec<Row> {
    let stage = Stage::new().await;
    let renditions: Vec<String> = (0..RENDITIONS).map(|n| format!("r{n}=16x16")).collect();
    let worker = Watched::start(&stage, &[("LONGSHORE_RENDITIONS", &renditions.join(";"))]);
    upload(&stage, 100, |_| jpeg(&picture(64, 48))).await;
    stage.wait_until_empty().await;
    let series = series(&client::get(&worker.address, "/metrics").text());
    let before = worker.cpu();
    let mut times = Vec::new();
    for _ in 0..SCRAPES {
        let began = Instant::now();
        assert_eq!(client::get(&worker.address, "/metrics").status, 200);
        times.push(began.elapsed());
    }
    let (cpu, took) = (worker.cpu().since(&before) / SCRAPES, median(times));
    worker.finish(&stage).await;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let most = Duration::from_millis(5);
    let real = Row {
        what: format!(
            "scrape of a worker with {RENDITIONS} renditions ({series} series): CPU / until it is there"
        ),
        found: format!("{:.1} ms / {:.1} ms", ms(cpu), ms(took)),
        goal: "≤ 5 ms",
        met: cpu <= most && took <= most,
    };
    let (series, cpu) = many_series();
    let many = Row {
        what: format!("the text of {series} series, which no settings make: CPU"),
        found: format!("{:.1} ms", ms(cpu)),
        goal: "≤ 5 ms with 10,000",
        met: series >= 10_000 && cpu <= most,
    };
    vec![real, many]
}

fn series(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count()
}

/// How many, and CPU for all of them as text.
fn many_series() -> (usize, Duration) {
    let metrics = Metrics::default();
    let names: Vec<String> = (0..162).map(|n| format!("r{n}")).collect();
    for _ in 0..20 {
        metrics.record(&done(names.iter().map(|name| output(name)).collect()));
    }
    let render = || metrics.render(|| (longshore::queue::Counts::default(), 1));
    let series = series(&render());
    let before = thread_cpu();
    for _ in 0..SCRAPES {
        render();
    }
    (series, (thread_cpu() - before) / SCRAPES)
}

const SOME: Duration = Duration::from_millis(7);

fn output(name: &str) -> Output {
    Output {
        name: name.into(),
        bytes: 5000,
        width: 192,
        height: 144,
        written: true,
        resize: SOME,
        encode: SOME,
        upload: SOME,
    }
}

fn done(outputs: Vec<Output>) -> Outcome {
    Outcome::Done(Made { bytes_in: 2_500_000, outputs, download: SOME, ..Made::default() })
}

/// CPU of a worker for one of so many pictures.
async fn cpu_a_picture(stage: &Stage, count: usize, log: &str, bytes: impl Fn(usize) -> Vec<u8>) -> Duration {
    // The line that it has started is wanted whatever is logged of the rest.
    let log = format!("error,longshore::cli=info,longshore::worker={log},longshore::job={log}");
    let worker = Watched::start(stage, &[("LONGSHORE_LOG", &log), ("LONGSHORE_WAIT_TIME", "1")]);
    let before = worker.cpu();
    upload(stage, count, bytes).await;
    stage.wait_until_empty().await;
    let cpu = worker.cpu().since(&before);
    worker.finish(stage).await;
    cpu / u32::try_from(count).unwrap()
}

/// Log lines: the program with and without them, on pictures so small that the difference shows; the least of some
/// rounds, as other work on the machine only ever adds. Metrics cannot be turned off: what is told of a picture is told
/// again and again, here.
async fn telling() -> Vec<Row> {
    let stage = Stage::new().await;
    let photos = photos();
    let picture_cpu =
        cpu_a_picture(&stage, 3 * photos.len().max(8), "info", |n| photos[n % photos.len()].clone()).await;
    let tiny = jpeg(&picture(16, 12));
    let (mut without, mut with) = (Duration::MAX, Duration::MAX);
    for _ in 0..8 {
        without = without.min(cpu_a_picture(&stage, 400, "error", |_| tiny.clone()).await);
        with = with.min(cpu_a_picture(&stage, 400, "info", |_| tiny.clone()).await);
    }
    let (lines, metrics) = (with.saturating_sub(without).as_secs_f64(), metrics_a_picture());
    let part = 100.0 * (lines + metrics) / picture_cpu.as_secs_f64();
    vec![Row {
        what: format!(
            "log lines and metrics of a picture, of the {:.1} ms that the worker takes for it",
            picture_cpu.as_secs_f64() * 1e3
        ),
        found: format!("{:.0} µs and {:.0} µs: {part:.2} %", lines * 1e6, metrics * 1e6),
        goal: "≤ 1 %",
        met: part <= 1.0,
    }]
}

/// Seconds of CPU, scrapes included: one for every hundred pictures.
fn metrics_a_picture() -> f64 {
    const PICTURES: u32 = 20_000;
    let outcome = done(vec![output("resized"), output("thumbs")]);
    let metrics = Metrics::default();
    let before = thread_cpu();
    for n in 0..PICTURES {
        metrics.received(Some(0));
        for operation in ["receive_message", "delete_message_batch"] {
            metrics.operation(operation, SOME, false);
        }
        metrics.record(&outcome);
        metrics.processed(SOME, "");
        if n % 100 == 0 {
            metrics.render(|| (longshore::queue::Counts::default(), 1));
        }
    }
    (thread_cpu() - before).as_secs_f64() / f64::from(PICTURES)
}

fn thread_cpu() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("a time since the thread began")
}

fn photos() -> Vec<Vec<u8>> {
    let folder = std::env::var_os("LONGSHORE_TEST_PHOTOS").map_or("../shared/photos".into(), PathBuf::from);
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|e| e.path());
    let photos = entries.filter(|p| p.extension().is_some_and(|e| e == "jpg"));
    let read: Vec<Vec<u8>> = photos.filter_map(|p| std::fs::read(p).ok()).collect();
    if read.is_empty() { vec![jpeg(&picture(4000, 3000))] } else { read }
}

/// A worker that was just started, and one that has worked: the program and the allocator's setting of the image, and
/// nobody who looks on.
async fn idle(time: Duration) -> Vec<Row> {
    let mut rows = Vec::new();
    let (program, photos) = (shipped(), photos());
    for (when, pictures) in [("just started", 0), ("after 40 pictures", 40)] {
        let stage = Stage::new().await;
        let command = of(&program, &worker(&stage));
        let worker = Watched::start_command(command, &[("MALLOC_TRIM_THRESHOLD_", "131072")]);
        upload(&stage, pictures, |n| photos[n % photos.len()].clone()).await;
        stage.wait_until_empty().await;
        // Connections and threads that are not needed any more go after a while.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (before, began) = (worker.cpu(), Instant::now());
        tokio::time::sleep(time).await;
        let part = 100.0 * worker.cpu().since(&before).as_secs_f64() / began.elapsed().as_secs_f64();
        let rss = worker.rss_mb();
        worker.finish(&stage).await;
        rows.push(Row {
            what: format!("a worker without work, {when}: CPU / resident memory"),
            found: format!("{part:.3} % / {rss:.1} MB"),
            goal: "≤ 0.1 % / ≤ 20 MB",
            met: part <= 0.1 && rss <= 20.0,
        });
    }
    rows
}
