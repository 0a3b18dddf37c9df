//! `longshore submit` and what belongs to it, through the real program against real protocols. What workers
//! would write is written by the tests themselves.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

mod common;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};
use common::process::{Process, longshore, run_aside, run_for_peak_memory, worker};
use common::stage::Stage;
use common::{LIMIT, unique, wait_for};
use futures_util::StreamExt;
use longshore::command::kept::{KEPT, Kept};
use longshore::command::layout::{self, State};
use longshore::command::wire::{Envelope, Job, Record, Row, Started, Ticket};
use longshore::local::s3;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A stage with a work bucket, and a folder for tables and scripts.
struct Yard {
    stage: Stage,
    work: String,
    folder: tempfile::TempDir,
}

const SCRIPT: &str = "wc -w < \"$IN\" > \"$OUT\"\n";

impl Yard {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let work = unique("work");
        stage.world.s3.create_bucket().bucket(&work).send().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("run.sh"), SCRIPT).unwrap();
        Self { stage, work, folder }
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = longshore();
        command
            .args(arguments)
            .env("AWS_ENDPOINT_URL", &self.stage.world.endpoint)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", s3::SECRET_ACCESS_KEY)
            .env("LONGSHORE_QUEUE_URL", &self.stage.queue)
            .env("LONGSHORE_WORK_BUCKET", &self.work)
            .stdin(std::process::Stdio::null());
        command
    }

    /// `submit` of a table as `t.tsv`, under the name `job`.
    fn submission(&self, table: &str, more: &[&str]) -> Command {
        let tasks = self.file("t.tsv", table);
        let script = self.folder.path().join("run.sh");
        let mut command = self.command(&["submit", "--name", "job"]);
        command.arg("--tasks").arg(tasks).arg("--script").arg(script).args(more);
        command
    }

    async fn submit(&self, table: &str, more: &[&str]) -> (Option<i32>, String, String) {
        run_aside(self.submission(table, more)).await
    }

    /// What the submission says of itself.
    async fn submitted(&self, table: &str, more: &[&str]) -> Value {
        let (code, out, errors) = self.submit(table, &[more, &["--json"]].concat()).await;
        assert_eq!(code, Some(0), "{out}{errors}");
        serde_json::from_str(&out).unwrap()
    }

    async fn about(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        run_aside(self.command(arguments)).await
    }

    async fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        let put = self.stage.world.s3.put_object().bucket(&self.work).key(key);
        put.body(ByteStream::from(bytes.into())).send().await.unwrap();
    }

    async fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.stage.get(&self.work, key).await.map(|stored| stored.bytes)
    }

    async fn keys(&self) -> Vec<String> {
        let mut pages = self.stage.world.s3.list_objects_v2().bucket(&self.work).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            keys.extend(page.unwrap().contents().iter().filter_map(|o| o.key.clone()));
        }
        keys
    }

    /// Takes every message that is there: tickets by row, with how many there were of each.
    async fn take_all(&self) -> BTreeMap<u64, (Ticket, usize)> {
        let mut taken = BTreeMap::new();
        while self.stage.depth(&self.stage.queue).await.0 > 0 {
            let some = futures_util::future::join_all((0..8).map(|_| self.take_some())).await;
            for ticket in some.into_iter().flatten() {
                taken.entry(ticket.row).or_insert((ticket, 0)).1 += 1;
            }
        }
        taken
    }

    async fn take_some(&self) -> Vec<Ticket> {
        let (sqs, queue) = (&self.stage.world.sqs, &self.stage.queue);
        let receive = sqs.receive_message().queue_url(queue).max_number_of_messages(10);
        let answer = receive.visibility_timeout(600).wait_time_seconds(0).send().await.unwrap();
        let messages = answer.messages.unwrap_or_default();
        if messages.is_empty() {
            return Vec::new();
        }
        let entry = |(n, message): (usize, &Message)| {
            let receipt = message.receipt_handle().unwrap();
            DeleteMessageBatchRequestEntry::builder()
                .id(n.to_string())
                .receipt_handle(receipt)
                .build()
                .unwrap()
        };
        let entries = messages.iter().enumerate().map(entry).collect();
        sqs.delete_message_batch().queue_url(queue).set_entries(Some(entries)).send().await.unwrap();
        let ticket = |message: &Message| serde_json::from_str::<Envelope>(message.body().unwrap()).unwrap();
        messages.iter().map(|message| ticket(message).longshore).collect()
    }

    /// The rows that have a message, each of them once.
    async fn queued(&self) -> Vec<u64> {
        let taken = self.take_all().await;
        assert!(taken.values().all(|(_, count)| *count == 1), "{taken:?}");
        taken.into_keys().collect()
    }

    /// As a worker that has run a row would.
    async fn record(&self, state: State, ticket: &Ticket, exit_code: Option<i32>, seconds: i64) {
        let record = Record {
            row: ticket.row,
            digest: ticket.digest.clone(),
            attempt: 2,
            worker: "task-1".into(),
            started_at: 1_763_000_000_000,
            ended_at: 1_763_000_000_000 + 1000 * seconds,
            exit_code,
            reason: if exit_code == Some(0) { String::new() } else { "exit code 3".into() },
            slug: None,
            bytes_in: 2_000_000,
            bytes_out: 10,
            peak_memory: 5_000_000,
            cpu_seconds: 1.5,
            seconds_before: 0.0,
            cpu_seconds_before: 0.0,
            log: layout::log("job", ticket.row, 2),
        };
        self.put(&layout::state("job", state, ticket.row), serde_json::to_vec(&record).unwrap()).await;
    }

    fn ticket(&self, row: u64) -> Ticket {
        Ticket { version: 1, job: "job".into(), values: None, row, digest: "d".into(), submitted_at: 0 }
    }

    async fn started(&self, ticket: &Ticket) {
        let started = Started {
            row: ticket.row,
            digest: ticket.digest.clone(),
            attempt: 1,
            worker: "task-2".into(),
            at: 1_763_000_000_000,
        };
        self.put(&layout::state("job", State::Started, ticket.row), serde_json::to_vec(&started).unwrap())
            .await;
    }
}

fn numbers(rows: std::ops::RangeInclusive<u64>) -> String {
    let rows: String = rows.map(|n| format!("value {n}\n")).collect();
    format!("--env N\n{rows}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_stores_the_job_and_queues_every_row_once() {
    let yard = Yard::new().await;
    let input = &yard.stage.input;
    for play in ["hamlet", "macbeth"] {
        yard.stage.upload(&format!("plays/{play}.txt"), b"words".to_vec()).await;
    }
    let table = format!(
        "# plays\n--env TITLE\t--input IN\t--input-recursive ALL\t--output OUT\n\
         Ha$(id)mlet\ts3://{input}/plays/hamlet.txt\ts3://{input}/plays\ts3://{input}/counts/1\n\
         Macbeth \"x\"\ts3://{input}/plays/macbeth.txt\t\ts3://{input}/counts/2\n"
    );
    let settings = [
        "--env",
        "LANG=C=D",
        "--timeout",
        "2h",
        "--permanent",
        "2,64-66",
        "--memory",
        "2GiB",
        "--cpus",
        "0.5",
    ];
    let (code, out, errors) = yard.submit(&table, &[&settings[..], &["--dry-run"]].concat()).await;
    assert_eq!((code, out.trim()), (Some(0), "job: 2 rows, 2 would be queued"), "{errors}");
    assert!(yard.keys().await.is_empty() && yard.queued().await.is_empty());

    let (code, out, errors) = yard.submit(&table, &settings).await;
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.starts_with("job: 2 rows, 2 queued\n") && out.contains("longshore report job"), "{out}");
    assert_eq!(yard.keys().await, ["job/job.json", "job/script", "job/table"]);
    assert_eq!(yard.object("job/script").await.unwrap(), SCRIPT.as_bytes());
    let job: Job = serde_json::from_slice(&yard.object("job/job.json").await.unwrap()).unwrap();
    assert_eq!((job.name.as_str(), job.rows, job.timeout, job.attempts), ("job", 2, 7200, 3));
    assert_eq!(
        (job.permanent.as_slice(), job.memory, job.milli_cpus),
        (&[2, 64, 65, 66][..], Some(2 << 30), Some(500))
    );
    assert_eq!((job.shell.as_slice(), job.env["LANG"].as_str()), (&["/bin/bash".to_owned()][..], "C=D"));

    let taken = yard.take_all().await;
    assert_eq!(taken.len(), 2);
    let (first, count) = &taken[&1];
    assert_eq!((*count, first.job.as_str(), first.submitted_at), (1, "job", job.submitted_at));
    let values = first.values.clone().unwrap();
    assert_eq!(values[..2], ["Ha$(id)mlet".to_owned(), format!("s3://{input}/plays/hamlet.txt")]);
    assert_eq!(first.digest, Row::digest(&job.columns, &values));
    let stored = yard.object("job/table").await.unwrap();
    let rows: Vec<Row> = stored
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    assert_eq!((rows.len(), &rows[0].values), (2, &values));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_of_settings_and_table_are_told_at_once_and_nothing_is_queued() {
    let yard = Yard::new().await;
    let table = "--input IN\t--output OUT\nhttp://a\ts3://out/1\n\ts3://out/1\nx\ts3://out/1\n";
    let (code, out, errors) = yard
        .submit(
            table,
            &["--timeout", "soon", "--permanent", "0", "--env", "A", "--rows", "3-1", "--attempts", "0"],
        )
        .await;
    assert_eq!((code, out.as_str()), (Some(2), ""));
    for part in [
        "--timeout is \"soon\"",
        "--permanent is \"0\"",
        "--env is \"A\"",
        "--rows is \"3-1\"",
        "--attempts is \"0\"",
        "row 1 (line 2), column 1 (--input IN): \"http://a\" does not begin with s3://",
        "row 3 (line 4), column 1 (--input IN)",
        "nothing was queued",
    ] {
        assert!(errors.contains(part), "{part:?} in\n{errors}");
    }
    // What is wrong in one row hides nothing of another.
    let input = &yard.stage.input;
    let table =
        format!("--secret-env S\t--input IN\nb64+=\t\n/name\ts3://{input}/nothing\narn:aws:s3:::b\t\n");
    let (code, _, errors) = yard.submit(&table, &[]).await;
    assert_eq!((code, errors.lines().count()), (Some(2), 4), "{errors}");
    for part in [
        "row 1 (line 2), column 1 (--secret-env S): is no name or ARN",
        "row 3 (line 4), column 1 (--secret-env S): is the ARN of neither",
        &format!("row 2, column --input IN: \"s3://{input}/nothing\" does not exist"),
    ] {
        assert!(errors.contains(part), "{part:?} in\n{errors}");
    }
    assert!(!errors.contains("b64+="), "it may be the secret itself: {errors}");
    let table = "--output OUT\ns3://out/1\ns3://out/2\ns3://out/1\n";
    let (code, _, errors) = yard.submit(table, &["--no-verify-buckets"]).await;
    assert_eq!(code, Some(2));
    assert!(
        errors.contains("row 3, column --output OUT: \"s3://out/1\" is an output of row 1 as well"),
        "{errors}"
    );
    assert!(yard.keys().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_is_named_with_a_flag_or_without_but_once() {
    let yard = Yard::new().await;
    let table = yard.file("plays.tsv", numbers(1..=2));
    let script = yard.folder.path().join("run.sh");
    let submit = async |tables: &[&std::ffi::OsStr]| {
        let mut command = yard.command(&["submit"]);
        command.args(tables).arg("--script").arg(&script);
        run_aside(command).await
    };
    let (flag, table) = ("--tasks".as_ref(), table.as_os_str());
    let (code, out, errors) = submit(&[table]).await;
    assert!(code == Some(0) && out.starts_with("run-plays: 2 rows, 2 queued"), "{out}{errors}");
    let (code, out, errors) = submit(&[flag, table]).await;
    assert!(code == Some(0) && out.starts_with("run-plays: 2 rows, 0 queued"), "{out}{errors}");
    for wrong in [&[table, flag, table][..], &[]] {
        let (code, _, errors) = submit(wrong).await;
        assert_eq!(code, Some(2), "{errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_is_looked_for_before_anything_is_queued() {
    let yard = Yard::new().await;
    let input = &yard.stage.input;
    yard.stage.upload("there/a", b"x".to_vec()).await;
    let far = unique("far");
    let place = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::EuWest1);
    let make = yard.stage.world.s3.create_bucket().bucket(&far).create_bucket_configuration(place.build());
    make.send().await.unwrap();
    let table = format!(
        "--input IN\t--input-recursive DIR\t--output OUT\n\
         s3://{input}/there/a\ts3://{input}/there\ts3://{input}/o1\n\
         s3://{input}/there/b\ts3://{input}/ther\ts3://nobodys-{input}/o2\n\
         \t\ts3://{far}/o3\n"
    );
    let (code, _, errors) = yard.submit(&table, &[]).await;
    assert_eq!(code, Some(2), "{errors}");
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 5, "{errors}");
    for part in [
        format!("row 2, column --output OUT: s3://nobodys-{input} does not exist"),
        format!(
            "row 3, column --output OUT: s3://{far} is in eu-west-1, and the work bucket is in us-east-1"
        ),
        "row 2, column --input IN: \"s3://".into(),
        "row 2, column --input-recursive DIR: \"s3://".into(),
        "nothing was queued".into(),
    ] {
        assert!(errors.contains(&part), "{part:?} in\n{errors}");
    }
    assert!(yard.keys().await.is_empty() && yard.queued().await.is_empty());

    // Each can be switched off.
    for (flags, left) in [
        (&["--no-verify-inputs"][..], 3),
        (&["--no-verify-buckets"], 4),
        (&["--no-verify-regions"], 4),
        (&["--no-verify-inputs", "--no-verify-buckets", "--no-verify-regions"], 0),
    ] {
        let (code, _, errors) = yard.submit(&table, flags).await;
        assert_eq!(errors.lines().count(), left, "{flags:?}: {errors}");
        assert_eq!(code, Some(if left == 0 { 0 } else { 2 }), "{flags:?}: {errors}");
    }
    assert_eq!(yard.queued().await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_job_again_changes_nothing_and_another_is_refused() {
    let yard = Yard::new().await;
    assert_eq!(yard.submitted(&numbers(1..=25), &[]).await["queued"], 25);
    let tickets = yard.take_all().await;
    assert_eq!(tickets.len(), 25);
    let before = yard.object("job/job.json").await.unwrap();
    let told = yard.submitted(&numbers(1..=25), &[]).await;
    assert_eq!((&told["queued"], &told["unchanged"]), (&json!(0), &json!(25)));
    assert_eq!(yard.queued().await, [0; 0]);
    assert_eq!(yard.object("job/job.json").await.unwrap(), before);

    // Rows at the end are added; one that has ended may be changed; a waiting one may not.
    yard.record(State::Done, &tickets[&7].0, Some(0), 5).await;
    let changed = numbers(1..=27).replace("value 7\n", "seven\n");
    let told = yard.submitted(&changed, &[]).await;
    assert_eq!(
        (&told["rows"], &told["new"], &told["changed"], &told["unchanged"]),
        (&json!(27), &json!(2), &json!(1), &json!(24))
    );
    let taken = yard.take_all().await;
    assert_eq!(taken.keys().copied().collect::<Vec<_>>(), [7, 26, 27]);
    assert_eq!(taken[&7].0.values.as_deref(), Some(&["seven".to_owned()][..]));
    assert!(
        yard.object(&layout::state("job", State::Done, 7)).await.is_none(),
        "its record is of another row"
    );
    let job: Job = serde_json::from_slice(&yard.object("job/job.json").await.unwrap()).unwrap();
    assert_eq!((job.rows, job.submitted_at), (27, taken[&7].0.submitted_at));

    let (code, _, errors) = yard.submit(&changed.replace("value 9\n", "nine\n"), &[]).await;
    assert_eq!(code, Some(2));
    let tasks = yard.folder.path().join("t.tsv").display().to_string();
    let why = "was changed in column --env N, and what it was is waiting: wait for its end, or say that both may run with --rows 9";
    assert_eq!(errors.lines().next(), Some(format!("error: {tasks}, row 9 {why}").as_str()), "{errors}");
    let (code, _, errors) = yard.submit(&numbers(1..=20), &[]).await;
    assert_eq!(code, Some(2));
    assert!(errors.contains("t.tsv, row 21 was submitted before and is not in it any more"), "{errors}");

    yard.file("run.sh", "true\n");
    let (code, _, errors) = yard.submit(&changed, &["--timeout", "5m", "--env", "SECRET=hunter2"]).await;
    assert_eq!(code, Some(2));
    for part in
        ["another script", "another --timeout (3600 s, now 300 s)", "another --env", "longshore delete job"]
    {
        assert!(errors.contains(part), "{part:?} in {errors}");
    }
    assert!(!errors.contains("hunter2"), "{errors}");
    assert_eq!(yard.queued().await, [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn chosen_rows_are_queued_first_or_again() {
    let yard = Yard::new().await;
    // To try a few of them.
    let told = yard.submitted(&numbers(1..=12), &["--rows", "3,7-9"]).await;
    assert_eq!((&told["rows"], &told["queued"]), (&json!(4), &json!(4)));
    let tickets = yard.take_all().await;
    assert_eq!(tickets.keys().copied().collect::<Vec<_>>(), [3, 7, 8, 9]);
    yard.record(State::Done, &tickets[&3].0, Some(0), 1).await;
    yard.record(State::Failed, &tickets[&7].0, Some(3), 1).await;
    yard.record(State::Failed, &tickets[&8].0, Some(3), 1).await;
    yard.record(State::Retried, &tickets[&8].0, Some(3), 1).await;
    yard.started(&tickets[&9].0).await;

    let (_, out, _) = yard.submit(&numbers(1..=12), &["--only-failed", "--dry-run"]).await;
    assert_eq!(out.trim(), "job: 4 rows, 2 would be queued (2 again, 2 as before)");
    assert_eq!(yard.submitted(&numbers(1..=12), &["--only-failed"]).await["again"], 2);
    assert_eq!(yard.queued().await, [7, 8]);
    let left: Vec<String> = yard.keys().await.into_iter().filter(|key| key.contains("/state/")).collect();
    assert_eq!(left, [layout::state("job", State::Done, 3), layout::state("job", State::Started, 9)]);

    // The others, and nothing twice; then one of them once more, though it is done.
    assert_eq!(yard.submitted(&numbers(1..=12), &[]).await["new"], 8);
    assert_eq!(yard.queued().await, [1, 2, 4, 5, 6, 10, 11, 12]);
    assert_eq!(yard.submitted(&numbers(1..=12), &["--rows", "3"]).await["again"], 1);
    assert_eq!(yard.queued().await, [3]);
    assert!(yard.object(&layout::state("job", State::Done, 3)).await.is_none());
    let (code, _, errors) = yard.submit(&numbers(1..=12), &["--rows", "12-13"]).await;
    assert!(code == Some(2) && errors.contains("has 12 rows, and --rows names row 13"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_a_message_goes_to_the_work_bucket() {
    let yard = Yard::new().await;
    let long = "x".repeat(120_000);
    let table = format!("--env A\t--env B\nshort\t\n{long}\t{long}\n\u{ffff}\t\n");
    yard.submitted(&table, &[]).await;
    let taken = yard.take_all().await;
    assert!(taken[&1].0.values.is_some());
    for n in [2, 3] {
        let ticket = &taken[&n].0;
        assert_eq!(ticket.values, None);
        let row: Row =
            serde_json::from_slice(&yard.object(&layout::attributes("job", n)).await.unwrap()).unwrap();
        assert_eq!((row.row, &row.digest), (n, &ticket.digest));
    }
    assert!(yard.object(&layout::attributes("job", 1)).await.is_none());
}

/// Killed again and again, at moments of its own choosing: in the end every row is queued.
#[tokio::test(flavor = "multi_thread")]
async fn a_submission_that_is_killed_is_gone_on_with() {
    const ROWS: u64 = 8_000;
    let yard = Yard::new().await;
    let table = numbers(1..=ROWS);
    let mut taken: BTreeMap<u64, usize> = BTreeMap::new();
    let mut kills = 0;
    for share in [0, 1, 4] {
        let mut process = Process::start(yard.submission(&table, &[]));
        // Once it tells that it is so far.
        let deadline = Instant::now() + LIMIT;
        while process.ended().is_none() {
            assert!(Instant::now() < deadline, "it neither goes on nor ends");
            let told = yard.object(&layout::submitting("job")).await;
            let told = told.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
            if told.is_some_and(|told| told["queued"].as_u64() >= Some(share * 1000)) {
                process.signal("KILL");
                process.wait(LIMIT);
                kills += 1;
            }
        }
        for (row, (_, count)) in yard.take_all().await {
            *taken.entry(row).or_default() += count;
        }
    }
    assert!(kills > 0, "it was never caught in the middle");
    assert!((taken.len() as u64) < ROWS, "it was done before it was killed");
    yard.submitted(&table, &[]).await;
    for (row, (_, count)) in yard.take_all().await {
        *taken.entry(row).or_default() += count;
    }
    assert!(taken.keys().copied().eq(1..=ROWS), "rows are missing: {} of {ROWS}", taken.len());
    let twice = taken.values().filter(|count| **count > 1).count();
    assert!(twice <= kills * 1000, "{twice} rows were queued more than once");
    assert_eq!(yard.keys().await, ["job/job.json", "job/script", "job/table"]);
    assert_eq!(yard.submitted(&table, &[]).await["queued"], 0);
}

/// Its records are gone and its message is not sent: the very moment that matters.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_records_were_removed_is_queued_whatever_is_submitted_next() {
    let yard = Yard::new().await;
    let table = numbers(1..=5);
    yard.submitted(&table, &[]).await;
    let tickets = yard.take_all().await;
    for (ticket, _) in tickets.values() {
        yard.record(State::Done, ticket, Some(0), 1).await;
    }
    // As a submission with --rows 2,4 leaves it when it is killed just then.
    let next = yard.object("job/table").await.unwrap();
    yard.put(&layout::next_table("job"), next).await;
    yard.put(&layout::submitting("job"), json!({"queued": 2, "again": [4]}).to_string()).await;
    let gone = yard.stage.world.s3.delete_object().bucket(&yard.work);
    gone.key(layout::state("job", State::Done, 4)).send().await.unwrap();
    yard.submitted(&table, &["--rows", "1"]).await;
    assert_eq!(yard.queued().await, [1, 4]);
    assert_eq!(yard.submitted(&table, &[]).await["queued"], 0);
    assert!(yard.object(&layout::submitting("job")).await.is_none());
}

/// As a crash in between would be: nothing can be sent when the records are removed already.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_could_not_be_sent_are_sent_by_the_next_submission() {
    let yard = Yard::new().await;
    let table = numbers(1..=5);
    let lost = async |more: &[&str]| {
        let mut command = yard.submission(&table, more);
        command.env("LONGSHORE_QUEUE_URL", yard.stage.queue.replace("/q-", "/nobodys-"));
        let (code, _, errors) = run_aside(command).await;
        assert!(code == Some(1) && errors.contains("check --queue-url; submit again to go on"), "{errors}");
    };
    lost(&[]).await;
    assert_eq!(yard.submitted(&table, &[]).await["new"], 5);
    let tickets = yard.take_all().await;
    for (ticket, _) in tickets.values() {
        yard.record(State::Done, ticket, Some(0), 1).await;
    }
    lost(&["--rows", "2,4"]).await;
    assert!(yard.object(&layout::state("job", State::Done, 2)).await.is_none());
    assert_eq!(yard.submitted(&table, &[]).await["queued"], 2);
    assert_eq!(yard.queued().await, [2, 4]);
    assert_eq!(yard.submitted(&table, &[]).await["queued"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_beyond_the_receives_of_the_queue_are_warned_of() {
    let yard = Yard::new().await;
    let (code, _, errors) = yard.submit(&numbers(1..=1), &["--attempts", "6"]).await;
    assert_eq!(code, Some(0));
    assert!(errors.contains("after 5 receives (maxReceiveCount), and --attempts is 6"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_rows_with_an_input_each_are_submitted_in_a_minute() {
    let yard = Yard::new().await;
    let input = &yard.stage.input;
    let yard = &yard;
    let uploads = futures_util::stream::iter(0..10_000)
        .map(|n| async move { yard.stage.upload(&format!("in/{n}"), Vec::new()).await });
    uploads.buffer_unordered(64).collect::<Vec<_>>().await;
    let row = |n| format!("s3://{input}/in/{n}\ts3://{input}/out/{n}\n");
    let rows: String = (0..10_000).map(row).collect();
    let table = format!("--input IN\t--output OUT\n{rows}");
    let missing = table.replace("/in/777\t", "/in/777x\t").replace("/in/9999\t", "/other/9999\t");
    let (code, _, errors) = yard.submit(&missing, &[]).await;
    assert_eq!((code, errors.lines().count()), (Some(2), 3), "{errors}");
    assert!(
        errors.contains("row 778, column --input IN") && errors.contains("row 10000, column"),
        "{errors}"
    );
    let began = Instant::now();
    assert_eq!(yard.submitted(&table, &[]).await["queued"], 10_000);
    let took = began.elapsed();
    eprintln!("10,000 rows in {took:.1?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert_eq!(yard.stage.depth(&yard.stage.queue).await.0, 10_000);
}

/// A large table takes no more memory than a small one.
#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_the_table() {
    let yard = Yard::new().await;
    let peak = |rows: u64| {
        let text: String =
            (0..rows).map(|n| format!("row {n}\ts3://{}/out/{n:08}\n", yard.stage.input)).collect();
        let command = yard.submission(&format!("--env N\t--output OUT\n{text}"), &["--dry-run"]);
        tokio::task::spawn_blocking(move || run_for_peak_memory(command))
    };
    let small = peak(1000).await.unwrap();
    let large = peak(100_000).await.unwrap();
    eprintln!("peak memory: {} MiB for 1,000 rows, {} MiB for 100,000", small >> 20, large >> 20);
    // The rows are 6 MB as text; the filter for outputs that clash takes two bits of a byte each.
    assert!(large < small + (6 << 20), "{small} and {large} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_when_every_row_has_and_tells_whether_all_are_done() {
    let yard = Yard::new().await;
    let mut process = Process::start(yard.submission(&numbers(1..=3), &["--wait"]));
    process.wait_for_line("3 waiting", LIMIT);
    let tickets = yard.take_all().await;
    for (ticket, _) in tickets.values() {
        yard.started(ticket).await;
        yard.record(State::Done, ticket, Some(0), 1).await;
    }
    assert_eq!(process.wait(LIMIT).code(), Some(0));

    // One that fails, in a run that is left and taken up again.
    let table = numbers(1..=4);
    let mut process = Process::start(yard.submission(&table, &["--wait"]));
    process.wait_for_line("1 waiting", LIMIT);
    process.signal("INT");
    assert_eq!(process.wait(LIMIT).code(), Some(1));
    assert!(process.whole_log().contains("the job goes on"));
    let tickets = yard.take_all().await;
    yard.record(State::Failed, &tickets[&4].0, Some(3), 1).await;
    let (code, out, _) = yard.submit(&table, &["--wait"]).await;
    assert_eq!(code, Some(1));
    assert!(out.contains("job: 3 of 4 rows done, 1 failed") && out.contains("--only-failed"), "{out}");
}

/// `script` makes the terminal: it belongs to util-linux, as `kill` does.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_the_rows_stand_in_a_table_that_is_redrawn_in_place() {
    let yard = Yard::new().await;
    let submission = yard.submission(&numbers(1..=3), &["--wait"]);
    let words = std::iter::once(submission.get_program()).chain(submission.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut command = Command::new("script");
    command.args(["-qec", &format!("stty cols 120 rows 30; exec {}", line.join(" ")), "/dev/null"]);
    for (name, value) in submission.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("TERM", "xterm").stdin(std::process::Stdio::null());
    let screen = tempfile::NamedTempFile::new().unwrap();
    let mut process = Process::start_printing_to(command, screen.reopen().unwrap());
    let so_far = || String::from_utf8_lossy(&std::fs::read(screen.path()).unwrap()).into_owned();
    // Headings and figures stand one above the other.
    let row = |figures: [u8; 5]| figures.map(|n| format!("{n:>9}")).join(" ");
    let shown = async |figures: [u8; 5]| {
        let row = row(figures);
        wait_for(&row, LIMIT, || async { so_far().contains(&row).then_some(()) }).await;
    };
    shown([3, 0, 0, 0, 0]).await;
    let tickets = yard.take_all().await;
    yard.started(&tickets[&1].0).await;
    shown([2, 1, 0, 0, 0]).await;
    yard.record(State::Done, &tickets[&1].0, Some(0), 1).await;
    yard.record(State::Failed, &tickets[&2].0, Some(3), 1).await;
    shown([1, 0, 0, 1, 1]).await;
    yard.record(State::Done, &tickets[&3].0, Some(0), 1).await;
    assert_eq!(process.wait(LIMIT).code(), Some(1), "{}", so_far());
    let text = so_far();
    assert!(text.contains("  waiting   running  retrying      done    failed"), "{text:?}");
    assert!(text.contains("\u{1b}[2A"), "the cursor does not go up: {text:?}");
    assert!(text.contains("job: 2 of 3 rows done, 1 failed"), "{text:?}");
}

/// As when SQS has moved them to the dead-letter queue: nobody has written down that they failed.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_when_nothing_is_left_that_could_end_a_row() {
    let yard = Yard::new().await;
    let table = numbers(1..=3);
    let command = yard.submission(&table, &["--wait", "--json", "--wait-empty", "2s"]);
    let printed = tempfile::NamedTempFile::new().unwrap();
    let mut process = Process::start_printing_to(command, printed.reopen().unwrap());
    process.wait_for_line("3 waiting", LIMIT);
    // A message that is in somebody's hands is not gone.
    let receive = yard.stage.world.sqs.receive_message().queue_url(&yard.stage.queue);
    let held = receive.visibility_timeout(600).send().await.unwrap().messages.unwrap().remove(0);
    let tickets = yard.take_all().await;
    assert_eq!(tickets.len(), 2);
    yard.started(tickets.values().next().map(|(ticket, _)| ticket).unwrap()).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(process.ended().is_none(), "{}", process.log());
    let delete = yard.stage.world.sqs.delete_message().queue_url(&yard.stage.queue);
    delete.receipt_handle(held.receipt_handle().unwrap()).send().await.unwrap();
    assert_eq!(process.wait(LIMIT).code(), Some(1));
    let log = process.whole_log();
    assert!(
        log.contains("the queue is empty, and 3 rows have not ended") && log.contains("--resume"),
        "{log}"
    );
    let out = std::fs::read_to_string(printed.path()).unwrap();
    let counts: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(counts, json!({"rows": 3, "waiting": 2, "running": 1, "retrying": 0, "done": 0, "failed": 0}));

    assert_eq!(yard.submitted(&table, &["--only-failed"]).await["queued"], 0);
    assert_eq!(yard.submitted(&table, &["--resume"]).await["again"], 3);
    assert_eq!(yard.queued().await, [1, 2, 3]);
}

/// Rows 1 and 2 done, 3 failed, 4 retrying, 5 running, 6 waiting.
async fn various() -> Yard {
    let yard = Yard::new().await;
    yard.submitted(&numbers(1..=6), &[]).await;
    let tickets = yard.take_all().await;
    yard.record(State::Done, &tickets[&1].0, Some(0), 10).await;
    yard.record(State::Done, &tickets[&2].0, Some(0), 7200).await;
    yard.record(State::Failed, &tickets[&3].0, Some(3), 30).await;
    yard.started(&tickets[&4].0).await;
    yard.record(State::Retried, &tickets[&4].0, None, 20).await;
    yard.started(&tickets[&5].0).await;
    yard
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_tells_of_each_row_as_a_table_as_json_and_as_tsv() {
    let yard = various().await;
    let (code, out, errors) = yard.about(&["report", "job"]).await;
    assert_eq!(code, Some(0), "{errors}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 8, "{out}");
    for (line, parts) in lines.iter().skip(1).zip([
        ["1", "done", "0", "2025-11-13T02:13:20Z", "10.0", "2.0 MB"],
        ["2", "done", "0", "2025-11-13T04:13:20Z", "7200.0", "5.0 MB"],
        ["3", "failed", "3", "exit code 3", "job/logs/00000003/2", "task-1"],
        ["4", "retrying", "-", "exit code 3", "20.0", "task-1"],
        ["5", "running", "-", "2025-11-13T02:13:20Z", "1", "task-2"],
        ["6", "waiting", "-", "0", "-", "-"],
    ]) {
        for part in parts {
            assert!(line.contains(part), "{part:?} in {line}");
        }
    }
    assert!(
        lines[7].starts_with("6 rows: 1 waiting, 1 running, 1 retrying, 2 done, 1 failed; 7260.0 s"),
        "{out}"
    );

    let (_, out, _) = yard.about(&["report", "job", "--json"]).await;
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let columns: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
    let (_, tsv, _) = yard.about(&["report", "job", "--tsv"]).await;
    let mut head: Vec<&str> = tsv.lines().next().unwrap().split('\t').collect();
    let cells = |line: &str| line.split('\t').count();
    assert!(tsv.lines().all(|line| cells(line) == 15) && tsv.lines().count() == 7, "{tsv}");
    head.sort_unstable();
    let mut sorted = columns.clone();
    sorted.sort_unstable();
    assert_eq!(head, sorted);
    // Two hours of one processor and two gibibytes.
    let cost = rows[1]["cost"].as_f64().unwrap();
    assert!((cost - 2.0 * (0.04048 + 2.0 * 0.004445)).abs() < 1e-9, "{cost}");
    let (_, out, _) =
        yard.about(&["report", "job", "--json", "--vcpu-hour", "1", "--gib-hour", "0", "--vcpus", "3"]).await;
    let row: Value = serde_json::from_str(out.lines().nth(1).unwrap()).unwrap();
    assert_eq!(row["cost"], 6.0);

    let of = async |more: &[&str]| {
        let (code, out, errors) = yard.about(&[&["report", "job", "--json"], more].concat()).await;
        assert_eq!(code, Some(0), "{errors}");
        let rows = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.map(|row| row["row"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of(&["--failed"]).await, [3]);
    assert_eq!(of(&["--sort", "seconds", "--max", "3"]).await, [2, 3, 4]);
    assert_eq!(of(&["--sort", "cost"]).await, [2, 3, 4, 1, 5, 6]);
    assert_eq!(of(&["--max", "2"]).await, [1, 2]);
    assert_eq!(of(&["--since", "1h"]).await, [1, 2, 3, 4, 5]);
    assert_eq!(of(&["--until", "1h"]).await, [0_u64; 0]);
    // Of what was told some seconds ago.
    tokio::time::sleep(Duration::from_secs(3)).await;
    yard.started(&yard.ticket(6)).await;
    assert_eq!(of(&["--until", "2s"]).await, [1, 2, 3, 4, 5]);
    assert_eq!(of(&["--since", "1h", "--until", "2s", "--failed"]).await, [3]);
    // Failed attempts cost, too.
    let mut before: Record =
        serde_json::from_slice(&yard.object(&layout::state("job", State::Done, 2)).await.unwrap()).unwrap();
    (before.seconds_before, before.cpu_seconds_before) = (3600.0, 1.0);
    yard.put(&layout::state("job", State::Done, 2), serde_json::to_vec(&before).unwrap()).await;
    let (_, out, _) =
        yard.about(&["report", "job", "--json", "--vcpu-hour", "1", "--gib-hour", "0", "--vcpus", "3"]).await;
    let row: Value = serde_json::from_str(out.lines().nth(1).unwrap()).unwrap();
    assert_eq!((row["cost"].as_f64(), row["seconds"].as_f64()), (Some(9.0), Some(7200.0)));
    let (code, _, errors) =
        yard.about(&["report", "job", "--since", "yesterday", "--until", "x", "--max", "0"]).await;
    assert!(
        code == Some(2)
            && errors.contains("--since")
            && errors.contains("--until")
            && errors.contains("--max"),
        "{errors}"
    );
    let (code, _, errors) = yard.about(&["report", "other"]).await;
    assert!(code == Some(1) && errors.contains("there is no job other"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_printed_by_row_and_followed_to_the_end() {
    let yard = various().await;
    for (row, attempt, text) in [(1, 1, "first\n"), (1, 2, "second"), (3, 10, "tenth\n"), (3, 9, "ninth\n")] {
        yard.put(&layout::log("job", row, attempt), text).await;
    }
    let (code, out, errors) = yard.about(&["logs", "job"]).await;
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(out, "==> row 1, attempt 2 <==\nsecond\n==> row 3, attempt 10 <==\ntenth\n");
    assert_eq!(yard.about(&["logs", "job", "1"]).await.1, "second\n");
    assert_eq!(yard.about(&["logs", "job", "3", "--attempt", "9"]).await.1, "ninth\n");
    let (code, _, errors) = yard.about(&["logs", "job", "5"]).await;
    assert!(code == Some(1) && errors.contains("row 5 has no log"), "{errors}");

    // A running row: its log grows, and what is printed is printed once.
    yard.put(&layout::log("job", 5, 1), "one\n").await;
    let printed = tempfile::NamedTempFile::new().unwrap();
    let command = yard.command(&["logs", "job", "5", "--follow"]);
    let mut process = Process::start_printing_to(command, printed.reopen().unwrap());
    let shown = async |text: &str| {
        wait_for(text, LIMIT, || async {
            std::fs::read_to_string(printed.path()).ok().filter(|t| t.contains(text))
        })
        .await
    };
    shown("one\n").await;
    yard.put(&layout::log("job", 5, 1), "one\ntwo\n").await;
    shown("two\n").await;
    assert!(process.ended().is_none());
    yard.put(&layout::log("job", 5, 1), "one\ntwo\nthree\n").await;
    yard.put(&layout::state("job", State::Done, 5), "{}").await;
    assert_eq!(process.wait(LIMIT).code(), Some(0), "{}", process.log());
    assert_eq!(std::fs::read_to_string(printed.path()).unwrap(), "one\ntwo\nthree\n");
}

/// A log that was cut in the middle, rows that began again with the same attempt, and all rows together.
#[tokio::test(flavor = "multi_thread")]
async fn logs_that_are_followed_are_told_once_though_they_are_written_anew() {
    let yard = various().await;
    let printed = tempfile::NamedTempFile::new().unwrap();
    let follow = |arguments: &[&str]| {
        let file = printed.reopen().unwrap();
        file.set_len(0).unwrap();
        Process::start_printing_to(yard.command(arguments), file)
    };
    let so_far = || String::from_utf8(std::fs::read(printed.path()).unwrap()).unwrap();
    let shown = async |text: &str| {
        wait_for(text, LIMIT, || async { so_far().ends_with(text).then_some(()) }).await;
    };
    let line = |n: u64| format!("line {n:06}\n");
    let lines = |count: u64| -> String { (0..count).map(line).collect() };
    // As workers keep it: the first and the last mebibyte.
    let kept = |count: u64| {
        let text = lines(count).into_bytes();
        let (first, last) = (&text[..KEPT], &text[text.len() - KEPT..]);
        Kept { first, left_out: (text.len() - 2 * KEPT) as u64, last }.text()
    };
    let log = layout::log("job", 5, 1);
    yard.put(&log, lines(170_000)).await;
    let mut process = follow(&["logs", "job", "5", "--follow"]);
    shown(&line(169_999)).await;
    for count in [200_000, 200_001] {
        yard.put(&log, kept(count)).await;
        shown(&line(count - 1)).await;
    }
    assert!(so_far() == lines(200_001), "not every line once");
    // It was handed back, and runs again.
    yard.put(&log, "begun again\n").await;
    shown("==> row 5, attempt 1 <==\nbegun again\n").await;
    yard.put(&layout::state("job", State::Done, 5), "{}").await;
    assert_eq!(process.wait(LIMIT).code(), Some(0), "{}", process.log());

    // All rows: a heading where the row changes, and nothing twice.
    yard.put("job/cancelled", "{}").await;
    yard.started(&yard.ticket(6)).await;
    yard.put(&layout::log("job", 6, 1), "six\n").await;
    let mut process = follow(&["logs", "job", "--follow"]);
    let mut expected = "==> row 5, attempt 1 <==\nbegun again\n==> row 6, attempt 1 <==\nsix\n".to_owned();
    shown(&expected).await;
    for (row, text, news) in [
        (6, "six\nseven\n", "seven\n"),
        (5, "begun again\ngone on\n", "==> row 5, attempt 1 <==\ngone on\n"),
        (6, "6\n", "==> row 6, attempt 1 <==\n6\n"),
    ] {
        yard.put(&layout::log("job", row, 1), text).await;
        shown(news).await;
        expected += news;
    }
    yard.put(&layout::state("job", State::Done, 6), "{}").await;
    assert_eq!(process.wait(LIMIT).code(), Some(0), "{}", process.log());
    assert_eq!(so_far(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_says_how_many_and_is_taken_up_again_only_when_asked() {
    let yard = various().await;
    let (code, out, errors) = yard.about(&["cancel", "job"]).await;
    assert_eq!(code, Some(0), "{errors}");
    assert!(
        out.starts_with("job: 2 rows do not begin any more; 1 run to their end, 2 done, 1 failed"),
        "{out}"
    );
    assert!(yard.object("job/cancelled").await.is_some());
    let table = numbers(1..=6);
    let (code, _, errors) = yard.submit(&table, &[]).await;
    assert!(code == Some(2) && errors.contains("was cancelled: pass --resume"), "{errors}");
    assert_eq!(yard.submitted(&table, &["--resume"]).await["again"], 4);
    assert_eq!(yard.queued().await, [3, 4, 5, 6]);
    assert!(yard.object("job/cancelled").await.is_none());
    assert!(
        yard.object(&layout::state("job", State::Retried, 4)).await.is_some(),
        "its attempts are counted on"
    );
    let (code, _, errors) = yard.about(&["cancel", "other"]).await;
    assert!(code == Some(1) && errors.contains("there is no job other"), "{errors}");
}

/// Both halves: what is queued is run, and what is told is what was done.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_submitted_are_run_and_told_of() {
    let yard = Yard::new().await;
    let input = &yard.stage.input;
    for n in 1..=4 {
        yard.stage.upload(&format!("in/{n}"), "to be ".repeat(n).into_bytes()).await;
    }
    let rows: String = (1..=4).map(|n| format!("s3://{input}/in/{n}\ts3://{input}/out/{n}\n")).collect();
    let table = format!("--input IN\t--output OUT\n{rows}");
    let flag = yard.folder.path().join("flag");
    yard.file("run.sh", "echo \"row $LONGSHORE_ROW\"; wc -w <\"$IN\" >\"$OUT\"; test \"$LONGSHORE_ROW\" != 3 || test -e \"$FLAG\"\n");
    let env = format!("FLAG={}", flag.display());
    let settings = ["--env", env.as_str(), "--attempts", "1", "--wait"];
    let mut command = worker(&yard.stage);
    command.env("LONGSHORE_JOBS", "commands").env("LONGSHORE_WORK_BUCKET", &yard.work);
    command.env("LONGSHORE_WORK_DIR", yard.folder.path()).env("LONGSHORE_WAIT_TIME", "1");
    let mut process = Process::start(command);

    let (code, out, errors) = yard.submit(&table, &settings).await;
    assert_eq!(code, Some(1), "{out}{errors}");
    assert!(out.contains("job: 3 of 4 rows done, 1 failed"), "{out}");
    let (_, out, _) = yard.about(&["report", "job", "--failed", "--json"]).await;
    let row: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!(
        (&row["row"], &row["exit_code"], &row["reason"]),
        (&json!(3), &json!(1), &json!("exit code 1"))
    );
    assert_eq!(yard.about(&["logs", "job", "3"]).await.1, "row 3\n");
    assert!(yard.stage.get(input, "out/3").await.is_none());

    std::fs::write(&flag, "").unwrap();
    let (code, out, errors) = yard.submit(&table, &[&settings[..], &["--only-failed"]].concat()).await;
    assert_eq!(code, Some(0), "{out}{errors}");
    for n in 1..=4 {
        let stored = yard.stage.get(input, &format!("out/{n}")).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&stored.bytes).trim(), (2 * n).to_string());
    }
    yard.stage.wait_until_empty().await;
    assert_eq!(yard.about(&["delete", "job", "--yes"]).await.0, Some(0));
    assert_eq!(yard.keys().await, [""; 0]);
    process.signal("TERM");
    assert_eq!(process.wait(LIMIT).code(), Some(0), "{}", process.log());
}

/// What is left in the queue of a deleted job is no row of the next one with its name.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_deleted_job_are_let_go_of() {
    let yard = Yard::new().await;
    let out = format!("s3://{}/out", yard.stage.input);
    yard.submitted(&format!("--env N\t--output OUT\nold\t{out}\n"), &[]).await;
    assert_eq!(yard.about(&["delete", "job", "--yes"]).await.0, Some(0));
    yard.file("run.sh", "echo \"$N\" >\"$OUT\"\n");
    yard.submitted(&format!("--env N\t--output OUT\nnew\t{out}\n"), &[]).await;
    assert_eq!(yard.stage.depth(&yard.stage.queue).await.0, 2);
    let mut command = worker(&yard.stage);
    command.env("LONGSHORE_JOBS", "commands").env("LONGSHORE_WORK_BUCKET", &yard.work);
    command.env("LONGSHORE_WORK_DIR", yard.folder.path()).env("LONGSHORE_WAIT_TIME", "1");
    let mut process = Process::start(command);
    yard.stage.wait_until_empty().await;
    let stored = yard.stage.get(&yard.stage.input, "out").await.unwrap();
    assert_eq!(stored.bytes, b"new\n");
    process.signal("TERM");
    assert_eq!(process.wait(LIMIT).code(), Some(0));
    assert!(process.whole_log().contains("of the same name that was deleted"), "{}", process.log());
    assert_eq!(yard.stage.depth(&yard.stage.dlq).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_job_leaves_nothing_and_takes_no_neighbour_along() {
    let yard = various().await;
    for n in 0..1100 {
        if n % 100 == 0 {
            yard.put(&format!("job/logs/{n:08}/1"), "x").await;
        }
    }
    yard.put("job2/job.json", "{}").await;
    let (code, _, errors) = yard.about(&["delete", "job", "--yes"]).await;
    assert!(code == Some(1) && errors.contains("1 rows of job run"), "{errors}");
    let (code, _, errors) = yard.about(&["delete", "job", "--force"]).await;
    assert!(code == Some(2) && errors.contains("--yes"), "{errors}");
    assert!(yard.object("job/job.json").await.is_some());
    let (code, out, errors) = yard.about(&["delete", "job", "--force", "--yes"]).await;
    assert_eq!(code, Some(0), "{errors}");
    assert!(
        out.contains("objects deleted") && out.contains("messages of 3 rows may still be in the queue"),
        "{out}"
    );
    assert_eq!(yard.keys().await, ["job2/job.json"]);
    let (code, _, errors) = yard.about(&["delete", "job", "--yes"]).await;
    assert!(code == Some(1) && errors.contains("there is no job job"), "{errors}");
    // The name is free again, for another script.
    yard.file("run.sh", "true\n");
    assert_eq!(yard.submitted(&numbers(1..=2), &[]).await["queued"], 2);
}
