//! `longshore report`: what became of each row.

use super::lines::{Filter, Line, Price, lines};
use super::{JobArgs, Opened};
use crate::cli::{FAILED, OK};
use crate::command::layout;
use crate::command::spool;
use crate::command::states::Standing;
use crate::command::wire::Job;
use crate::config::{Reader, parse_time};
use crate::error::{Error, Printable};
use futures_util::StreamExt;
use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::pin::pin;
use std::time::SystemTime;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    job: JobArgs,
    /// Only rows that have failed.
    #[arg(long)]
    failed: bool,
    /// Only rows of which something became known within this time, like 24h.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only rows of which nothing became known within this time; with --since, of what lies between.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Largest first by one of the columns; rows and times smallest first. [default: by row]
    #[arg(long, value_name = "COLUMN")]
    sort: Option<Sort>,
    /// So many rows at most. [default: all; with --sort the first 10000]
    #[arg(long, value_name = "COUNT")]
    max: Option<usize>,
    /// Output for programs: a JSON object a line.
    #[arg(long, conflicts_with = "tsv")]
    json: bool,
    /// Output for spreadsheets: tab-separated, with a header.
    #[arg(long)]
    tsv: bool,
    /// Processors of a worker's slot, where the job does not limit them.
    #[arg(long, value_name = "COUNT", default_value_t = 1.0, help_heading = "Cost")]
    vcpus: f64,
    /// Memory of a worker's slot, where the job does not limit it.
    #[arg(long, value_name = "SIZE", default_value = "2GiB", help_heading = "Cost")]
    memory: String,
    /// Dollars for an hour of a processor. The default is Fargate's list price (us-east-1, Linux on x86).
    #[arg(long, value_name = "DOLLARS", default_value_t = VCPU_HOUR, help_heading = "Cost")]
    vcpu_hour: f64,
    /// Dollars for an hour of a gibibyte of memory. The default is Fargate's list price.
    #[arg(long, value_name = "DOLLARS", default_value_t = GIB_HOUR, help_heading = "Cost")]
    gib_hour: f64,
}

/// Fargate on demand, us-east-1, Linux on x86: <https://aws.amazon.com/fargate/pricing/>, unchanged since
/// January 2019.
const VCPU_HOUR: f64 = 0.04048;
const GIB_HOUR: f64 = 0.004_445;
/// A sorted report is held in memory.
const MAX_SORTED: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    Row,
    State,
    ExitCode,
    Attempts,
    Start,
    End,
    Seconds,
    Worker,
    BytesIn,
    BytesOut,
    PeakMemory,
    CpuSeconds,
    Cost,
}

pub fn run(args: &Args) -> u8 {
    let mut reader = Reader::default();
    let memory = reader.size("--memory", &Some(args.memory.clone()), 2 << 30, 1..=1 << 50);
    let mut ago = |flag: &str, text: &Option<String>| {
        let text = text.as_deref()?;
        let Some(time) = parse_time(text) else {
            reader.mistake(format!("{flag} is {text:?}: write a time like 90m or 24h"));
            return None;
        };
        SystemTime::now().checked_sub(time)
    };
    let (since, until) = (ago("--since", &args.since), ago("--until", &args.until));
    for (flag, value) in
        [("--vcpus", args.vcpus), ("--vcpu-hour", args.vcpu_hour), ("--gib-hour", args.gib_hour)]
    {
        if !(0.0..1e9).contains(&value) {
            reader.mistake(format!("{flag} is {value}: write a number that is not negative"));
        }
    }
    if args.max == Some(0) {
        reader.mistake("--max is 0: write how many rows");
    }
    let filter = Filter { failed: args.failed, since, until };
    super::run(
        &args.job,
        reader.mistakes,
        |opened| async move { report(args, &opened, filter, memory).await },
    )
}

impl Args {
    fn price(&self, job: &Job, memory: u64) -> Price {
        let vcpus = job.milli_cpus.map_or(self.vcpus, |milli| milli as f64 / 1000.0);
        let gib = job.memory.unwrap_or(memory) as f64 / f64::from(1 << 30);
        Price { a_second: (vcpus * self.vcpu_hour + gib * self.gib_hour) / 3600.0 }
    }
}

async fn report(args: &Args, opened: &Opened, filter: Filter, memory: u64) -> Result<u8, Error> {
    let job = opened.job()?;
    let table = tempfile::NamedTempFile::with_prefix("longshore-").map_err(disk)?.into_temp_path();
    // Rows without a history fail neither, nor did anything become known of them.
    let whole = !filter.failed && filter.since.is_none() && filter.until.is_none();
    if whole {
        opened.jobs.fetch(&layout::table(&job.name), &table).await?;
    }
    let rows = if whole { Some(File::open(&table).and_then(spool::rows).map_err(disk)?) } else { None };
    let mut lines = pin!(lines(opened, filter, args.price(job, memory), rows));
    let mut out = Out::new(args);
    let mut total = Total::default();
    let mut sorted = Vec::new();
    let most = args.max.unwrap_or(if args.sort.is_some() { MAX_SORTED } else { usize::MAX });
    while let Some(line) = lines.next().await {
        let line = line?;
        if opened.is_leaving() {
            return Ok(FAILED);
        }
        total.add(&line);
        match args.sort {
            Some(sort) => {
                sorted.push(line);
                if sorted.len() >= 2 * most.max(1000) {
                    cut(&mut sorted, sort, most);
                }
            }
            None if out.line(&line).is_err() => return Ok(OK),
            None => {}
        }
        if args.sort.is_none() && total.rows == most as u64 {
            break;
        }
    }
    if let Some(sort) = args.sort {
        cut(&mut sorted, sort, most);
        for line in &sorted {
            if out.line(line).is_err() {
                return Ok(OK);
            }
        }
    }
    let _ = out.end(&total);
    Ok(OK)
}

fn disk(error: std::io::Error) -> Error {
    Error::new(format!("cannot keep the rows in a temporary file: {error} (set TMPDIR)"))
}

fn cut(lines: &mut Vec<Line>, sort: Sort, most: usize) {
    lines.sort_by(|a, b| sort.compare(a, b).then(a.row.cmp(&b.row)));
    lines.truncate(most);
}

impl Sort {
    /// What is not known comes last.
    fn compare(self, a: &Line, b: &Line) -> Ordering {
        fn largest<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Ordering {
            b.partial_cmp(&a).unwrap_or(Ordering::Equal)
        }
        let smallest =
            |a: &Option<String>, b: &Option<String>| a.is_none().cmp(&b.is_none()).then_with(|| a.cmp(b));
        match self {
            Self::Row => a.row.cmp(&b.row),
            Self::State => a.state.word().cmp(b.state.word()),
            Self::ExitCode => largest(a.exit_code, b.exit_code),
            Self::Attempts => b.attempts.cmp(&a.attempts),
            Self::Start => smallest(&a.start, &b.start),
            Self::End => smallest(&a.end, &b.end),
            Self::Seconds => largest(a.seconds, b.seconds),
            Self::Worker => smallest(&a.worker, &b.worker),
            Self::BytesIn => largest(a.bytes_in, b.bytes_in),
            Self::BytesOut => largest(a.bytes_out, b.bytes_out),
            Self::PeakMemory => largest(a.peak_memory, b.peak_memory),
            Self::CpuSeconds => largest(a.cpu_seconds, b.cpu_seconds),
            Self::Cost => largest(a.cost, b.cost),
        }
    }
}

/// What all rows come to, shown or not.
#[derive(Default)]
struct Total {
    rows: u64,
    by_standing: [u64; 5],
    seconds: f64,
    cost: f64,
}

impl Total {
    fn add(&mut self, line: &Line) {
        self.rows += 1;
        self.by_standing[line.state as usize] += 1;
        self.seconds += line.all_seconds;
        self.cost += line.cost.unwrap_or(0.0);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Table,
    Json,
    Tsv,
}

/// Line after line, without the whole in memory: the columns have widths of their own.
struct Out {
    out: BufWriter<std::io::Stdout>,
    form: Form,
    begun: bool,
}

const COLUMNS: [(&str, usize); 15] = [
    ("row", 8),
    ("state", 8),
    ("exit", 4),
    ("attempts", 8),
    ("start", 20),
    ("end", 20),
    ("seconds", 9),
    ("in", 9),
    ("out", 9),
    ("memory", 9),
    ("cpu", 9),
    ("cost", 10),
    ("worker", 24),
    ("log", 24),
    ("reason", 0),
];
const TSV: &str = "row\tstate\texit_code\tattempts\tstart\tend\tseconds\tworker\tbytes_in\tbytes_out\tpeak_memory\tcpu_seconds\tcost\tlog\treason";

impl Out {
    fn new(args: &Args) -> Self {
        let form = match (args.json, args.tsv) {
            (true, _) => Form::Json,
            (_, true) => Form::Tsv,
            _ => Form::Table,
        };
        Self { out: BufWriter::new(std::io::stdout()), form, begun: false }
    }

    fn begin(&mut self) -> std::io::Result<()> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        match self.form {
            Form::Json => Ok(()),
            Form::Tsv => writeln!(self.out, "{TSV}"),
            Form::Table => {
                let head = COLUMNS.map(|(name, _)| name.to_uppercase());
                self.cells(head)
            }
        }
    }

    fn line(&mut self, line: &Line) -> std::io::Result<()> {
        self.begin()?;
        match self.form {
            Form::Json => {
                serde_json::to_writer(&mut self.out, line)?;
                writeln!(self.out)
            }
            Form::Tsv => {
                let text = tsv(line);
                writeln!(self.out, "{text}")
            }
            Form::Table => self.cells(table(line)),
        }
    }

    fn cells(&mut self, cells: [String; 15]) -> std::io::Result<()> {
        let mut text = String::new();
        for (nth, (cell, (_, width))) in cells.iter().zip(COLUMNS).enumerate() {
            // Figures to the right, words to the left.
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) = if nth == 0 || (2..4).contains(&nth) || (6..12).contains(&nth) {
                (pad.as_str(), "")
            } else {
                ("", pad.as_str())
            };
            text.extend([before, cell.as_str(), after, "  "]);
        }
        writeln!(self.out, "{}", text.trim_end())
    }

    fn end(&mut self, total: &Total) -> std::io::Result<()> {
        self.begin()?;
        if self.form == Form::Table {
            let standings =
                [Standing::Waiting, Standing::Running, Standing::Retrying, Standing::Done, Standing::Failed];
            let parts: Vec<String> = standings
                .iter()
                .map(|standing| (total.by_standing[*standing as usize], standing.word()))
                .filter(|(count, _)| *count > 0)
                .map(|(count, word)| format!("{count} {word}"))
                .collect();
            let parts = if parts.is_empty() { "none".into() } else { parts.join(", ") };
            writeln!(
                self.out,
                "{} rows: {parts}; {:.1} s in all attempts, about ${:.4}",
                total.rows, total.seconds, total.cost
            )?;
        }
        self.out.flush()
    }
}

fn or<T>(value: &Option<T>, missing: &str, text: impl Fn(&T) -> String) -> String {
    value.as_ref().map_or_else(|| missing.to_owned(), text)
}

fn table(line: &Line) -> [String; 15] {
    let clean = |text: &String| Printable(text).to_string();
    [
        line.row.to_string(),
        line.state.word().to_owned(),
        or(&line.exit_code, "-", i32::to_string),
        line.attempts.to_string(),
        or(&line.start, "-", clean),
        or(&line.end, "-", clean),
        or(&line.seconds, "-", |s| format!("{s:.1}")),
        or(&line.bytes_in, "-", |n| bytes(*n)),
        or(&line.bytes_out, "-", |n| bytes(*n)),
        or(&line.peak_memory, "-", |n| bytes(*n)),
        or(&line.cpu_seconds, "-", |s| format!("{s:.1}")),
        or(&line.cost, "-", |cost| format!("{cost:.6}")),
        or(&line.worker, "-", clean),
        or(&line.log, "-", clean),
        or(&line.reason, "", clean),
    ]
}

fn tsv(line: &Line) -> String {
    let clean = |text: &String| Printable(text).to_string();
    [
        line.row.to_string(),
        line.state.word().to_owned(),
        or(&line.exit_code, "", i32::to_string),
        line.attempts.to_string(),
        or(&line.start, "", clean),
        or(&line.end, "", clean),
        or(&line.seconds, "", f64::to_string),
        or(&line.worker, "", clean),
        or(&line.bytes_in, "", u64::to_string),
        or(&line.bytes_out, "", u64::to_string),
        or(&line.peak_memory, "", u64::to_string),
        or(&line.cpu_seconds, "", f64::to_string),
        or(&line.cost, "", |cost| format!("{cost:.9}")),
        or(&line.log, "", clean),
        or(&line.reason, "", clean),
    ]
    .join("\t")
}

fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} B"),
        10_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.1} GB", n as f64 / 1e9),
    }
}
