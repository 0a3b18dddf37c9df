//! A work bucket of its own for a test, jobs put into it as `submit` does, and what is found there after.

use crate::common::process::{Process, longshore, worker};
use crate::common::stage::Stage;
use crate::common::{LIMIT, unique, wait_for};
use aws_sdk_s3::primitives::ByteStream;
use longshore::command::layout::{self, State};
use longshore::command::wire::{Job, Record, Row, hex};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub struct Jobs {
    pub stage: Stage,
    pub bucket: String,
    /// Where workers have their rows' folders.
    folder: tempfile::TempDir,
}

impl Jobs {
    pub async fn new() -> Self {
        Self::with_receives(100).await
    }

    pub async fn with_receives(most: u32) -> Self {
        let stage = Stage::with_receives(most).await;
        let bucket = unique("work");
        stage.world.s3.create_bucket().bucket(&bucket).send().await.unwrap();
        Self { stage, bucket, folder: tempfile::tempdir().unwrap() }
    }

    /// A name of a file that is not there, outside the rows' folders.
    pub fn flag(&self) -> PathBuf {
        std::env::temp_dir().join(unique("flag"))
    }

    pub async fn put(&self, bucket: &str, key: &str, bytes: impl Into<Vec<u8>>) {
        let put = self.stage.world.s3.put_object().bucket(bucket).key(key);
        put.body(ByteStream::from(bytes.into())).send().await.unwrap();
    }

    /// Puts a job and queues its rows.
    pub async fn submit(&self, job: Job, script: &str, rows: &[&[&str]]) {
        self.put_job(&job, script).await;
        for (row, values) in (1..).zip(rows) {
            self.queue(&job, row, values).await;
        }
    }

    pub async fn put_job(&self, job: &Job, script: &str) {
        let job = Job { script_sha256: hex(&Sha256::digest(script)), ..job.clone() };
        self.put(&self.bucket, &layout::script(&job.name), script).await;
        self.put(&self.bucket, &layout::job(&job.name), serde_json::to_vec(&job).unwrap()).await;
    }

    pub fn message(&self, job: &Job, row: u64, values: &[&str]) -> String {
        let values: Vec<String> = values.iter().map(|v| (*v).to_owned()).collect();
        let digest = Row::digest(&job.columns, &values);
        job.message(row, &digest, Some(values))
    }

    pub async fn queue(&self, job: &Job, row: u64, values: &[&str]) {
        self.stage.send(self.message(job, row, values)).await;
    }

    pub fn worker(&self) -> Command {
        let mut command = worker(&self.stage);
        command
            .env("LONGSHORE_JOBS", "renditions,commands")
            .env("LONGSHORE_WORK_BUCKET", &self.bucket)
            .env("LONGSHORE_WORK_DIR", self.folder.path())
            .env("LONGSHORE_WAIT_TIME", "1s")
            .env("LONGSHORE_STOP_TIMEOUT", "10s")
            .env("LONGSHORE_CONCURRENCY", "4");
        command
    }

    /// `longshore` with other arguments, and the settings of its workers.
    pub fn operator(&self, arguments: &[&str]) -> Command {
        let mut command = longshore();
        command.args(arguments);
        command.envs(self.worker().get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    pub fn start(&self) -> Process {
        Process::start(self.worker())
    }

    pub async fn text(&self, key: &str) -> Option<String> {
        let stored = self.stage.get(&self.bucket, key).await?;
        Some(String::from_utf8_lossy(&stored.bytes).into_owned())
    }

    pub async fn record(&self, state: State, job: &str, row: u64) -> Option<Record> {
        serde_json::from_str(&self.text(&layout::state(job, state, row)).await?).ok()
    }

    /// How a row ended, waited for.
    pub async fn ended(&self, job: &str, row: u64) -> (State, Record) {
        wait_for(&format!("end of row {row} of {job}"), LIMIT, || async {
            for state in [State::Done, State::Failed] {
                if let Some(record) = self.record(state, job, row).await {
                    return Some((state, record));
                }
            }
            None
        })
        .await
    }

    pub async fn done(&self, job: &str, row: u64) -> Record {
        let (state, record) = self.ended(job, row).await;
        assert_eq!(state, State::Done, "{record:?}");
        record
    }

    pub async fn failed(&self, job: &str, row: u64) -> Record {
        let (state, record) = self.ended(job, row).await;
        assert_eq!(state, State::Failed, "{record:?}");
        record
    }

    pub async fn log(&self, record: &Record) -> String {
        self.text(&record.log).await.expect("a log")
    }

    /// SIGTERM, an orderly end, and nothing left on the disk.
    pub fn stop(&self, mut process: Process) -> String {
        process.signal("TERM");
        let status = process.wait(Duration::from_secs(60));
        assert_eq!(status.code(), Some(0), "{}", process.log());
        assert_eq!(self.left_on_disk(), Vec::<String>::new(), "{}", process.log());
        process.whole_log()
    }

    /// Folders of rows that are in work.
    pub fn rows_on_disk(&self) -> Vec<String> {
        let folders = self.left_on_disk().into_iter().filter(|path| !path.ends_with(".lock"));
        let rows = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
        rows.map(|e| e.unwrap().path().display().to_string()).collect()
    }

    pub fn left_on_disk(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries.map(|e| e.unwrap().path().display().to_string()).collect()
    }
}

/// Processes whose command line has this.
pub fn processes_with(part: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let line = |n: u32| std::fs::read(format!("/proc/{n}/cmdline")).unwrap_or_default();
    numbers.filter(|n| String::from_utf8_lossy(&line(*n)).contains(part)).collect()
}

pub async fn until_no_process_with(part: &str) {
    wait_for(&format!("end of all processes with {part}"), LIMIT, || async {
        processes_with(part).is_empty().then_some(())
    })
    .await;
}
