//! What a row costs beside its script: look, fetch, spawn, store, write down, settle. Embedded servers here, the
//! worker in a process of its own with two places, logging as it does by default, into a file.
//! `cargo bench --bench commands [-- COUNT]`
//!
//! With `-- submit [COUNT]`: what it takes to submit a table of that many rows, a million unless said; all of them are
//! sent. The queue is in this process's memory, about a kilobyte a row.
//!
//! Told: CPU milliseconds a row of the worker with all its processes, the script included (a shell that runs `cat`
//! once, whose own part is told too), and rows a second. Linux only, as it reads `/proc`.
#![allow(clippy::unwrap_used)] // a figure that cannot be taken is not one

#[path = "../tests/common/mod.rs"]
mod common;

use aws_sdk_sqs::types::{QueueAttributeName as Attribute, SendMessageBatchRequestEntry};
use common::job::job;
use common::process::run_for_peak_memory;
use longshore::command::layout;
use longshore::command::wire::{Job, Kind, Row, hex};
use longshore::local::setup::{self, Made, OUTPUT_BUCKET, WORK_BUCKET};
use longshore::local::{Servers, s3};
use longshore::queue::Queue;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const DEFAULT_COUNT: u64 = 1000;
const DEFAULT_TABLE: u64 = 1_000_000;
/// What a table of any size may take more than one of a thousand rows.
const GROWTH: u64 = 16 << 20;
/// A row, at most.
const GOAL_MS: f64 = 25.0;
/// Linux counts CPU time in these (USER_HZ), whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;
const SCRIPT: &str = "cat \"$IN\" >\"$OUT\"\n";

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.iter().find_map(|a| a.parse().ok());
    if arguments.iter().any(|a| a == "submit") {
        return submit(count.unwrap_or(DEFAULT_TABLE)).await;
    }
    let count = count.unwrap_or(DEFAULT_COUNT);
    let folder = tempfile::tempdir().unwrap();
    let servers = Servers::start(folder.path(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let made = setup::make(&servers.endpoint).await.unwrap();
    setup::make_bucket(&made.clients, WORK_BUCKET).await.unwrap();
    let put = async |bucket: &str, key: &str, bytes: Vec<u8>| {
        made.clients.write.put_object().bucket(bucket).key(key).body(bytes.into()).send().await.unwrap();
    };
    // Not in the bucket that is watched for pictures, whose events nobody here serves.
    put(WORK_BUCKET, "inputs/input.txt", b"to be or not\n".to_vec()).await;
    let job = Job {
        rows: count,
        script_sha256: hex(&Sha256::digest(SCRIPT)),
        shell: vec!["/bin/sh".into()],
        ..job("bench", &[(Kind::Input, "IN"), (Kind::Output, "OUT")])
    };
    put(WORK_BUCKET, &layout::script("bench"), SCRIPT.into()).await;
    put(WORK_BUCKET, &layout::job("bench"), serde_json::to_vec(&job).unwrap()).await;
    let rows: Vec<u64> = (1..=count).collect();
    for ten in rows.chunks(10) {
        let entry = |row: &u64| {
            let entry = SendMessageBatchRequestEntry::builder().id(row.to_string());
            entry.message_body(message(&job, *row)).build().unwrap()
        };
        let send = made.clients.send.send_message_batch().queue_url(&made.queue_url);
        send.set_entries(Some(ten.iter().map(entry).collect())).send().await.unwrap();
    }

    let began = Instant::now();
    // What is logged of a row is part of what it costs.
    let log = File::create(folder.path().join("log")).unwrap();
    let mut worker = longshore(&servers, &made)
        .arg("work")
        .env("LONGSHORE_JOBS", "commands")
        .env("LONGSHORE_CONCURRENCY", "2")
        .env("LONGSHORE_WAIT_TIME", "1s")
        .env("LONGSHORE_ADMIN_ADDR", "off")
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    loop {
        let ask = made.clients.send.get_queue_attributes().queue_url(&made.queue_url);
        let ask = ask.attribute_names(Attribute::ApproximateNumberOfMessages);
        let ask = ask.attribute_names(Attribute::ApproximateNumberOfMessagesNotVisible);
        let told = ask.send().await.unwrap().attributes.unwrap();
        if told.values().all(|n| n == "0") {
            break;
        }
        assert!(worker.try_wait().unwrap().is_none(), "the worker has ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let (own, children) = cpu(worker.id());
    worker.kill().unwrap();
    worker.wait().unwrap();
    let list = made.clients.read.head_object().bucket(OUTPUT_BUCKET).key(format!("out/{count}.txt"));
    list.send().await.expect("the output of the last row");
    let script = script_alone();
    let each = |seconds: f64| seconds * 1e3 / count as f64;
    let total = each(own + children);
    println!("{count} rows on two places: {:.0} a second", count as f64 / seconds);
    println!("CPU a row: {total:.1} ms = {:.1} worker + {:.1} its processes", each(own), each(children));
    println!("of those {script:.1} ms are the script's own");
    let overhead = total - script;
    println!(
        "overhead {overhead:.1} ms, goal {GOAL_MS} ms: {}",
        if overhead <= GOAL_MS { "met" } else { "not met" }
    );
}

/// The program, for these servers.
fn longshore(servers: &Servers, made: &Made) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command
        .env("AWS_ENDPOINT_URL", &servers.endpoint)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", s3::SECRET_ACCESS_KEY)
        .env("LONGSHORE_QUEUE_URL", &made.queue_url)
        .env("LONGSHORE_WORK_BUCKET", WORK_BUCKET)
        .env_remove("LONGSHORE_LOG");
    command
}

/// Submits a small table, then a large one, and compares what memory that took.
async fn submit(count: u64) {
    let folder = tempfile::tempdir().unwrap();
    let servers = Servers::start(folder.path(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let made = setup::make(&servers.endpoint).await.unwrap();
    setup::make_bucket(&made.clients, WORK_BUCKET).await.unwrap();
    let script = folder.path().join("run.sh");
    std::fs::write(&script, SCRIPT).unwrap();
    let waiting =
        async || Queue::new(made.clients.clone(), made.queue_url.clone()).depth().await.unwrap().waiting;
    // What S3 sends when it is first told to send.
    let before = waiting().await;
    let mut peaks = Vec::new();
    for rows in [1000, count] {
        let table = folder.path().join(format!("{rows}.tsv"));
        let mut text = BufWriter::new(File::create(&table).unwrap());
        writeln!(text, "--env NAME\t--output OUT").unwrap();
        for row in 1..=rows {
            writeln!(text, "row number {row}\ts3://{OUTPUT_BUCKET}/of/a/table/{row}.txt").unwrap();
        }
        let bytes = text.into_inner().unwrap().metadata().unwrap().len();
        let mut command = longshore(&servers, &made);
        command.arg("submit").arg(&table).arg("--script").arg(&script);
        let began = Instant::now();
        let peak = tokio::task::spawn_blocking(|| run_for_peak_memory(command)).await.unwrap();
        let seconds = began.elapsed().as_secs_f64();
        peaks.push(peak);
        let (mb, peak_mb) = (bytes as f64 / 1e6, peak as f64 / 1e6);
        println!(
            "| {rows} rows, {mb:.0} MB as text | {seconds:.1} s | {:.0} a second | {peak_mb:.0} MB at most |",
            rows as f64 / seconds
        );
    }
    assert_eq!(waiting().await - before, 1000 + count, "not all of them were sent");
    let growth = peaks[1].saturating_sub(peaks[0]);
    println!(
        "{:.1} MB more than for 1000 rows, goal {:.0} MB: {}",
        growth as f64 / 1e6,
        GROWTH as f64 / 1e6,
        if growth <= GROWTH { "met" } else { "not met" }
    );
}

fn message(job: &Job, row: u64) -> String {
    let values =
        vec![format!("s3://{WORK_BUCKET}/inputs/input.txt"), format!("s3://{OUTPUT_BUCKET}/out/{row}.txt")];
    let digest = Row::digest(&job.columns, &values);
    job.message(row, &digest, Some(values))
}

/// Seconds of a process itself, and of all that it has waited for.
fn cpu(process: u32) -> (f64, f64) {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<f64> =
        stat.rsplit(") ").next().unwrap().split(' ').skip(11).take(4).map(|f| f.parse().unwrap()).collect();
    ((fields[0] + fields[1]) / TICKS_PER_SECOND, (fields[2] + fields[3]) / TICKS_PER_SECOND)
}

/// CPU milliseconds of the script, run by itself.
fn script_alone() -> f64 {
    const TIMES: u32 = 200;
    let before = cpu(std::process::id()).1;
    for _ in 0..TIMES {
        let mut run = Command::new("/bin/sh");
        run.args(["-c", SCRIPT]).env("IN", "/dev/null").env("OUT", "/dev/null");
        assert!(run.status().unwrap().success());
    }
    (cpu(std::process::id()).1 - before) * 1e3 / f64::from(TIMES)
}
