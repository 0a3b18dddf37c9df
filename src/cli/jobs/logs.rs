//! `longshore logs`: what the script printed.

use super::{JobArgs, Opened};
use crate::cli::{FAILED, OK};
use crate::command::layout::{self, State};
use crate::command::states::Counts;
use crate::error::Error;
use crate::ops::Phase;
use crate::store::listing::{Listed, Listing};
use std::collections::HashSet;
use std::io::{IsTerminal, Write};
use std::time::{Duration, SystemTime};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    job: JobArgs,
    /// Only of this row. [default: every row that has a log]
    #[arg(value_name = "ROW")]
    row: Option<u64>,
    /// Only of this attempt. [default: the last one of each row]
    #[arg(long, value_name = "NUMBER")]
    attempt: Option<u32>,
    /// Goes on until the row, or the whole job, has ended.
    #[arg(long)]
    follow: bool,
}

/// What is read of a log at once.
const PIECE: u64 = 4 << 20;
const PAUSE: Duration = Duration::from_secs(1);
/// S3 may list an object a little after others that are newer.
const OVERLAP: Duration = Duration::from_secs(5);

pub fn run(args: &Args) -> u8 {
    super::run(&args.job, Vec::new(), |opened| async move {
        opened.job()?;
        let mut printer = Printer { clean: std::io::stdout().is_terminal(), last: b'\n' };
        match (args.row, args.follow) {
            (Some(row), follow) => one(&opened, row, args.attempt, follow, &mut printer).await,
            (None, false) => all(&opened, args.attempt, &mut printer).await,
            (None, true) => follow_all(&opened, args.attempt, &mut printer).await,
        }
    })
}

/// A log by its key.
struct Log {
    row: u64,
    attempt: u32,
    key: String,
    modified: SystemTime,
}

impl Log {
    fn of(listed: Listed) -> Option<Self> {
        let mut parts = listed.key.rsplit('/');
        let attempt = parts.next()?.parse().ok()?;
        let row = parts.next()?.parse().ok()?;
        let modified = listed.modified.unwrap_or(SystemTime::UNIX_EPOCH);
        Some(Self { row, attempt, modified, key: listed.key })
    }
}

/// The logs of one row: the attempt that is asked for, or the last.
async fn of_row(opened: &Opened, row: u64, attempt: Option<u32>) -> Result<Option<Log>, Error> {
    let first = layout::log(&opened.name, row, 0);
    let prefix = first.strip_suffix('0').unwrap_or(&first);
    let mut listing = Listing::new(opened.jobs.store.clone(), &opened.jobs.bucket, prefix, None);
    let mut found: Option<Log> = None;
    while let Some(listed) = listing.next().await? {
        let Some(log) = Log::of(listed) else { continue };
        let asked = attempt.is_none_or(|attempt| attempt == log.attempt);
        if asked && found.as_ref().is_none_or(|found| log.attempt > found.attempt) {
            found = Some(log);
        }
    }
    Ok(found)
}

async fn one(
    opened: &Opened,
    row: u64,
    attempt: Option<u32>,
    follow: bool,
    printer: &mut Printer,
) -> Result<u8, Error> {
    let mut printed: Option<(u32, u64)> = None;
    loop {
        // Asked first: what is printed after the end is whole.
        let over = !follow || is_over(opened, row).await?;
        if let Some(log) = of_row(opened, row, attempt).await? {
            let from = match printed {
                Some((attempt, bytes)) if attempt == log.attempt => bytes,
                _ => 0,
            };
            if follow && printed.is_some_and(|(attempt, _)| attempt != log.attempt) {
                printer.heading(&log)?;
            }
            printed = Some((log.attempt, print(opened, &log, from, printer).await?));
        }
        if over {
            printer.end();
            if printed.is_none() {
                return Err(Error::new(format!(
                    "row {row} has no log{}",
                    attempt.map_or(String::new(), |n| format!(" of attempt {n}"))
                )));
            }
            return Ok(OK);
        }
        if pause(opened).await {
            return Ok(FAILED);
        }
    }
}

async fn is_over(opened: &Opened, row: u64) -> Result<bool, Error> {
    for state in [State::Done, State::Failed] {
        let place = opened.jobs.place(&layout::state(&opened.name, state, row));
        if opened.jobs.store.ask_object(&place).await? == crate::store::jobs::Presence::Present {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Row after row, the last attempt of each.
async fn all(opened: &Opened, attempt: Option<u32>, printer: &mut Printer) -> Result<u8, Error> {
    let prefix = format!("{}/logs/", opened.name);
    let mut listing = Listing::new(opened.jobs.store.clone(), &opened.jobs.bucket, &prefix, None);
    let mut held: Option<Log> = None;
    let mut count = 0;
    loop {
        let log = match listing.next().await? {
            Some(listed) => match Log::of(listed) {
                Some(log) if attempt.is_none_or(|attempt| attempt == log.attempt) => Some(log),
                _ => continue,
            },
            None => None,
        };
        // "10" comes before "9" in a listing.
        match (&held, &log) {
            (Some(before), Some(log)) if before.row == log.row => {
                if log.attempt > before.attempt {
                    held = Some(Log { key: log.key.clone(), ..*log });
                }
                continue;
            }
            _ => {}
        }
        if let Some(before) = held.take() {
            count += 1;
            printer.heading(&before)?;
            print(opened, &before, 0, printer).await?;
        }
        if log.is_none() || opened.is_leaving() {
            break;
        }
        held = log;
    }
    printer.end();
    if count == 0 {
        return Err(Error::new(format!("the job {} has no log yet", opened.name)));
    }
    Ok(if opened.is_leaving() { FAILED } else { OK })
}

/// Logs as they come, whole.
async fn follow_all(opened: &Opened, attempt: Option<u32>, printer: &mut Printer) -> Result<u8, Error> {
    let mut since = SystemTime::UNIX_EPOCH;
    // Of those that are so new that the next listing may tell of them again.
    let mut seen: HashSet<(String, SystemTime)> = HashSet::new();
    loop {
        let over = is_job_over(opened).await?;
        let prefix = format!("{}/logs/", opened.name);
        let mut listing = Listing::new(opened.jobs.store.clone(), &opened.jobs.bucket, &prefix, None);
        let (mut newest, mut now_seen) = (since, HashSet::new());
        while let Some(listed) = listing.next().await? {
            let Some(log) = Log::of(listed) else { continue };
            if log.modified + OVERLAP < since || attempt.is_some_and(|attempt| attempt != log.attempt) {
                continue;
            }
            newest = newest.max(log.modified);
            let mark = (log.key.clone(), log.modified);
            if !seen.contains(&mark) {
                printer.heading(&log)?;
                print(opened, &log, 0, printer).await?;
            }
            now_seen.insert(mark);
        }
        since = newest;
        now_seen.retain(|(_, modified)| *modified + OVERLAP >= since);
        seen = now_seen;
        if over {
            printer.end();
            return Ok(OK);
        }
        if pause(opened).await {
            return Ok(FAILED);
        }
    }
}

async fn is_job_over(opened: &Opened) -> Result<bool, Error> {
    let job = opened.job()?;
    let jobs = &opened.jobs;
    let counts = Counts::read(&jobs.store, &jobs.bucket, &job.name, job.rows).await?;
    let cancelled = jobs.get(&layout::cancelled(&job.name), 1 << 20).await?.is_some();
    Ok(counts.are_over() || (cancelled && counts.running == 0))
}

/// Prints what is behind `from`, and gives how many bytes there are.
async fn print(opened: &Opened, log: &Log, from: u64, printer: &mut Printer) -> Result<u64, Error> {
    let mut at = from;
    loop {
        let piece = opened.jobs.behind(&log.key, at, PIECE).await?.unwrap_or_default();
        at += piece.len() as u64;
        printer.print(&piece)?;
        if (piece.len() as u64) < PIECE || opened.is_leaving() {
            return Ok(at);
        }
    }
}

/// True: interrupted.
async fn pause(opened: &Opened) -> bool {
    tokio::select! {
        () = opened.shutdown.reached(Phase::Draining) => true,
        () = tokio::time::sleep(PAUSE) => false,
    }
}

/// Bytes as they are, but on a terminal nothing that moves its cursor.
struct Printer {
    clean: bool,
    last: u8,
}

impl Printer {
    fn heading(&mut self, log: &Log) -> Result<(), Error> {
        self.end();
        self.write(format!("==> row {}, attempt {} <==\n", log.row, log.attempt).as_bytes())
    }

    fn print(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if !self.clean {
            return self.write(bytes);
        }
        let mut text = String::new();
        for c in String::from_utf8_lossy(bytes).chars() {
            match c {
                '\n' | '\t' => text.push(c),
                c if c.is_control() => text.extend(c.escape_unicode()),
                c => text.push(c),
            }
        }
        self.write(text.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(last) = bytes.last() else { return Ok(()) };
        self.last = *last;
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| Error::new(format!("cannot print: {e}")))
    }

    /// The next thing begins a line.
    fn end(&mut self) {
        if self.last != b'\n' {
            let _ = self.write(b"\n");
        }
    }
}
