//! `longshore logs`: what the script printed.

use super::follow::{Follow, News};
use super::{JobArgs, Opened};
use crate::cli::{FAILED, OK};
use crate::command::layout::{self, State};
use crate::command::states::Counts;
use crate::error::Error;
use crate::ops::Phase;
use crate::store::listing::{Listed, Listing};
use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

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

/// A log is cut long before.
const MOST: u64 = 16 << 20;
const PAUSE: Duration = Duration::from_secs(1);

pub fn run(args: &Args) -> u8 {
    super::run(&args.job, Vec::new(), |opened| async move {
        opened.job()?;
        let mut printer = Printer { clean: std::io::stdout().is_terminal(), last: b'\n', of: None };
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
    etag: String,
}

impl Log {
    fn of(listed: Listed) -> Option<Self> {
        let mut parts = listed.key.rsplit('/');
        let attempt = parts.next()?.parse().ok()?;
        let row = parts.next()?.parse().ok()?;
        Some(Self { row, attempt, etag: listed.etag, key: listed.key })
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
    let mut told: Option<(u32, Told)> = None;
    loop {
        // Asked first: what is printed after the end is whole.
        let over = !follow || is_over(opened, row).await?;
        if let Some(log) = of_row(opened, row, attempt).await? {
            let of_it = match &mut told {
                Some((attempt, of_it)) if *attempt == log.attempt => of_it,
                before => {
                    if before.is_some() {
                        printer.heading(&log)?;
                    }
                    printer.of = Some((log.row, log.attempt));
                    &mut before.insert((log.attempt, Told::default())).1
                }
            };
            of_it.go_on(opened, &log, printer).await?;
        }
        if over {
            printer.end();
            if told.is_none() {
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
                    held = Some(Log { key: log.key.clone(), etag: log.etag.clone(), ..*log });
                }
                continue;
            }
            _ => {}
        }
        if let Some(before) = held.take() {
            count += 1;
            printer.heading(&before)?;
            printer.print(&text(opened, &before).await?)?;
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

/// Of all rows, as it comes.
async fn follow_all(opened: &Opened, attempt: Option<u32>, printer: &mut Printer) -> Result<u8, Error> {
    let mut told: HashMap<(u64, u32), Told> = HashMap::new();
    loop {
        let over = is_job_over(opened).await?;
        let prefix = format!("{}/logs/", opened.name);
        let mut listing = Listing::new(opened.jobs.store.clone(), &opened.jobs.bucket, &prefix, None);
        while let Some(listed) = listing.next().await? {
            let Some(log) = Log::of(listed) else { continue };
            if attempt.is_none_or(|attempt| attempt == log.attempt) {
                told.entry((log.row, log.attempt)).or_default().go_on(opened, &log, printer).await?;
            }
        }
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

/// What was told of a log, and which one it was.
#[derive(Default)]
struct Told {
    etag: String,
    follow: Follow,
}

impl Told {
    /// Prints what has come since.
    async fn go_on(&mut self, opened: &Opened, log: &Log, printer: &mut Printer) -> Result<(), Error> {
        if self.etag == log.etag {
            return Ok(());
        }
        let News { is_another, text } = self.follow.news(&text(opened, log).await?);
        self.etag.clone_from(&log.etag);
        if is_another || (!text.is_empty() && printer.of != Some((log.row, log.attempt))) {
            printer.heading(log)?;
        }
        printer.print(&text)
    }
}

/// Empty: it was deleted meanwhile.
async fn text(opened: &Opened, log: &Log) -> Result<Vec<u8>, Error> {
    Ok(opened.jobs.get(&log.key, MOST).await?.unwrap_or_default())
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
    /// Row and attempt that are being told of.
    of: Option<(u64, u32)>,
}

impl Printer {
    fn heading(&mut self, log: &Log) -> Result<(), Error> {
        self.end();
        self.of = Some((log.row, log.attempt));
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
