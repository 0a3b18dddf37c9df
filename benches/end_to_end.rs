//! Photographs through the queue: embedded servers here, the worker in a process of its own, as it
//! is deployed. `cargo bench --bench end_to_end [-- COUNT]`
//!
//! Told: pictures a second, CPU milliseconds a picture of the worker alone, and its peak RSS. The
//! photographs are those in the folder that `LONGSHORE_TEST_PHOTOS` names, else in
//! `../shared/photos`, else made on the spot. Linux only, as it reads `/proc`.

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use longshore::local::setup::{self, INPUT_BUCKET, Made, OUTPUT_BUCKET};
use longshore::local::{Servers, s3, sample};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
const DEFAULT_COUNT: usize = 110;
/// Linux counts CPU time in these (USER_HZ), whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

struct Round {
    pictures_per_second: f64,
    cpu_ms_per_picture: f64,
    peak_rss_mb: f64,
}

#[tokio::main]
async fn main() {
    let count = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(DEFAULT_COUNT);
    let photos = photos();
    let megabytes = photos.iter().map(Vec::len).sum::<usize>() as f64 / 1e6 / photos.len() as f64;
    println!("{count} uploads of {} photographs, {megabytes:.1} MB each on average", photos.len());
    let mut rounds = Vec::new();
    for number in 1..=ROUNDS {
        let round = round(&photos, count).await;
        println!(
            "round {number}: {:.1} pictures/s, {:.1} ms CPU a picture, {:.0} MB peak RSS",
            round.pictures_per_second, round.cpu_ms_per_picture, round.peak_rss_mb
        );
        rounds.push(round);
    }
    println!(
        "median:  {:.1} pictures/s, {:.1} ms CPU a picture, {:.0} MB peak RSS",
        median(&rounds, |r| r.pictures_per_second),
        median(&rounds, |r| r.cpu_ms_per_picture),
        median(&rounds, |r| r.peak_rss_mb)
    );
}

fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn photos() -> Vec<Vec<u8>> {
    let folder = std::env::var_os("LONGSHORE_TEST_PHOTOS").map_or("../shared/photos".into(), PathBuf::from);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .map(|entries| entries.flatten().map(|e| e.path()).collect())
        .unwrap_or_default();
    paths.retain(|p| p.extension().is_some_and(|e| e == "jpg"));
    paths.sort();
    let read: Vec<Vec<u8>> = paths.iter().filter_map(|p| std::fs::read(p).ok()).collect();
    if !read.is_empty() {
        return read;
    }
    println!("no photographs in {}: made pictures instead, so figures differ", folder.display());
    let made = sample::make(12).expect("samples can be made");
    made.into_iter().filter(|s| !s.name.contains("broken")).map(|s| s.bytes).collect()
}

async fn round(photos: &[Vec<u8>], count: usize) -> Round {
    let folder = tempfile::tempdir().expect("a folder for the servers");
    let servers = Servers::start(folder.path(), "127.0.0.1:0".parse().expect("an address")).await;
    let servers = servers.expect("the servers start");
    let made = setup::make(&servers.endpoint).await.expect("buckets and queues");
    for n in 0..count {
        let photo = &photos[n % photos.len()];
        let put = made.clients.write.put_object().bucket(INPUT_BUCKET).key(format!("{n}.jpg"));
        put.body(photo.clone().into()).send().await.expect("an upload");
    }
    let started = Instant::now();
    let mut worker = worker(&servers, &made);
    wait_until_empty(&made, &mut worker).await;
    let seconds = started.elapsed().as_secs_f64();
    let cpu = cpu_seconds(&worker);
    let peak = peak_rss_mb(&worker);
    let stopped = Command::new("kill").arg(worker.id().to_string()).status();
    assert!(
        stopped.is_ok_and(|s| s.success()) && worker.wait().is_ok_and(|s| s.success()),
        "an orderly stop"
    );
    let stored = made.clients.read.list_objects_v2().bucket(OUTPUT_BUCKET).max_keys(1000).send().await;
    let stored = stored.expect("a list").key_count().unwrap_or(0);
    assert!(usize::try_from(stored).is_ok_and(|n| n == (2 * count).min(1000)), "{stored} renditions");
    Round {
        pictures_per_second: count as f64 / seconds,
        cpu_ms_per_picture: cpu * 1e3 / count as f64,
        peak_rss_mb: peak,
    }
}

fn worker(servers: &Servers, made: &Made) -> Child {
    Command::new(env!("CARGO_BIN_EXE_longshore"))
        .arg("work")
        .env("AWS_ENDPOINT_URL", &servers.endpoint)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", s3::SECRET_ACCESS_KEY)
        .env("LONGSHORE_QUEUE_URL", &made.queue_url)
        .env("LONGSHORE_OUTPUT_BUCKET", OUTPUT_BUCKET)
        .env("LONGSHORE_ADMIN_ADDR", "off")
        .env("LONGSHORE_WAIT_TIME", "1")
        .stderr(Stdio::null())
        .spawn()
        .expect("the worker starts")
}

async fn wait_until_empty(made: &Made, worker: &mut Child) {
    loop {
        let ask = made.clients.send.get_queue_attributes().queue_url(&made.queue_url);
        let answer = ask.attribute_names(Attribute::All).send().await.expect("attributes");
        let count = |name: Attribute| {
            answer.attributes().and_then(|a| a.get(&name)).and_then(|n| n.parse::<u64>().ok()).unwrap_or(1)
        };
        if count(Attribute::ApproximateNumberOfMessages)
            + count(Attribute::ApproximateNumberOfMessagesNotVisible)
            == 0
        {
            return;
        }
        assert!(worker.try_wait().is_ok_and(|s| s.is_none()), "the worker ended early");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn proc_file(worker: &Child, name: &str) -> String {
    std::fs::read_to_string(format!("/proc/{}/{name}", worker.id())).expect("Linux has /proc")
}

/// User and system time of all threads.
fn cpu_seconds(worker: &Child) -> f64 {
    let stat = proc_file(worker, "stat");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: f64 = fields[11..13].iter().map(|f| f.parse::<f64>().expect("a number")).sum();
    ticks / TICKS_PER_SECOND
}

fn peak_rss_mb(worker: &Child) -> f64 {
    let status = proc_file(worker, "status");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("the peak");
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().expect("a number") / 1e3
}
