//! `longshore backfill`: pictures that were there before the queue was, or before the settings.

mod enqueue;
mod plan;

use super::{FAILED, OK, RenderArgs, WorkArgs, failed, misconfigured, work};
use crate::cli::out::{self, out};
use crate::config::{Config, LogFormat, LogSettings, parse_time};
use crate::error::{Error, Printable};
use crate::job::Rules;
use crate::ops::{Phase, Shutdown, logs};
use crate::store::Store;
use enqueue::Enqueuer;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use plan::{Candidates, Plan, Step, Why};
use serde_json::json;
use std::io::IsTerminal;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bucket to look through. [default: the one in --input-buckets, if it is one]
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<String>,
    /// Only keys that start with this. [default: --input-prefix]
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Only pictures without a rendition; those made with other settings or of other bytes stay as they
    /// are. Much cheaper: reads lists only.
    #[arg(long)]
    missing: bool,
    /// Only objects stored within this time, like 24h.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only keys after this one: goes on where an earlier run stopped.
    #[arg(long, value_name = "KEY")]
    start_after: Option<String>,
    /// Messages sent a second at most.
    #[arg(long, value_name = "COUNT", default_value_t = 500)]
    rate: u32,
    /// Sends nothing, only tells what would be sent.
    #[arg(long)]
    dry_run: bool,
    /// Output for programs: a JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    render: RenderArgs,
}

/// Outputs looked at together.
const LOOKS_AT_ONCE: usize = 32;

/// What was done so far.
#[derive(Debug, Default)]
struct Tally {
    /// Keys, ours or not.
    listed: u64,
    seen: u64,
    missing: u64,
    outdated: u64,
    /// Everything up to this key is dealt with.
    last: Option<String>,
}

pub fn run(args: &Args) -> u8 {
    let (config, plan) = match read(args) {
        Ok(read) => read,
        Err(mistakes) => return misconfigured(&mistakes),
    };
    logs::start(&LogSettings { format: LogFormat::Auto, filter: "warn".into() }, None);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(e) => return failed(format_args!("cannot start the runtime: {e}")),
    };
    runtime.block_on(async {
        match Shutdown::on_signals() {
            Ok(shutdown) => go_through(args, &config, plan, &shutdown).await,
            Err(e) => failed(format_args!("cannot handle signals: {e}")),
        }
    })
}

fn read(args: &Args) -> Result<(Config, Plan), Vec<String>> {
    let config = Config::read(&args.work, &args.render);
    let mut mistakes = config.as_ref().err().cloned().unwrap_or_default();
    let since = args.since.as_deref().map(|text| (text, parse_time(text)));
    if let Some((text, None)) = since {
        mistakes.push(format!("--since is {text:?}: write a time like 90m or 24h"));
    }
    if args.rate == 0 {
        mistakes.push("--rate is 0: write how many messages a second, like 500".into());
    }
    let known = config.as_ref().map(|c| c.input_buckets.clone()).unwrap_or_default();
    let bucket = match (&args.bucket, known.as_slice()) {
        (Some(bucket), _) if known.is_empty() || known.contains(bucket) => Some(bucket.clone()),
        (Some(bucket), _) => {
            mistakes.push(format!(
                "--bucket is {bucket:?}, which --input-buckets does not name: the worker would refuse it"
            ));
            None
        }
        (None, [only]) => Some(only.clone()),
        (None, _) => {
            mistakes.push("--bucket is missing: name the bucket to look through".into());
            None
        }
    };
    match (config, bucket) {
        (Ok(config), Some(bucket)) if mistakes.is_empty() => {
            let prefix = args.prefix.clone().unwrap_or_else(|| config.input_prefix.clone());
            let since = since.and_then(|(_, time)| time).and_then(|time| SystemTime::now().checked_sub(time));
            let plan = Plan::new(&config, bucket, prefix, since, args.missing);
            Ok((config, plan))
        }
        _ => Err(mistakes),
    }
}

async fn go_through(args: &Args, config: &Config, plan: Plan, shutdown: &Shutdown) -> u8 {
    let clients = work::clients(config).await;
    let store = Store::new(clients.clone());
    let mut enqueuer = Enqueuer::new(clients, config.queue_url.clone(), args.rate);
    let mut tally = Tally::default();
    let mut progress = Progress::default();
    let rules = Rules::new(config);
    let ended = walk(args, plan, rules, store, &mut enqueuer, &mut tally, &mut progress, shutdown).await;
    progress.bar.finish_and_clear();
    let interrupted = out::is_over(shutdown);
    let Tally { listed, seen, missing, outdated, last } = tally;
    let queued = enqueuer.sent;
    if args.json {
        let line = json!({"listed": listed, "seen": seen, "missing": missing, "outdated": outdated, "queued": queued,
            "dry_run": args.dry_run, "interrupted": interrupted, "last": last});
        out!("{line}");
    } else {
        let end = match args.dry_run {
            true => format!("{} would be queued", missing + outdated),
            false => format!("{queued} queued"),
        };
        out!("{seen} pictures looked at: {missing} without a rendition, {outdated} outdated; {end}");
    }
    if let Err(why) = &ended {
        eprintln!("error: {why}");
    }
    if (ended.is_err() || interrupted)
        && let Some(last) = &last
    {
        eprintln!("to go on from here: --start-after {}", shell_word(last));
    }
    if ended.is_err() || interrupted { FAILED } else { OK }
}

#[allow(clippy::too_many_arguments)]
async fn walk(
    args: &Args,
    plan: Plan,
    rules: Rules,
    store: Store,
    enqueuer: &mut Enqueuer,
    tally: &mut Tally,
    progress: &mut Progress,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let mut candidates = Candidates::new(&plan, rules, store.clone(), args.start_after.clone());
    let mut left = pin!(shutdown.reached(Phase::Draining));
    let mut is_over = false;
    while !is_over && !out::is_over(shutdown) {
        // A batch at a time: what was looked at is queued before more is looked at, so that `last` holds.
        let mut batch = Vec::new();
        while batch.len() < LOOKS_AT_ONCE && !is_over {
            // Of a large bucket, pages may be listed for minutes without a key that is ours.
            let step = tokio::select! {
                biased;
                () = &mut left => return Ok(()),
                step = candidates.next() => step?,
            };
            match step {
                Step::Ours(candidate) => batch.push(candidate),
                Step::Other(key) if batch.is_empty() => tally.last = Some(key),
                Step::Other(_) => {}
                Step::Over => is_over = true,
            }
            tally.listed += u64::from(!is_over);
            progress.tell(tally, enqueuer.sent);
        }
        let looks = batch.iter().map(|candidate| plan.judge(&store, candidate));
        let verdicts: Vec<_> = stream::iter(looks).buffered(LOOKS_AT_ONCE).collect().await;
        for (candidate, verdict) in batch.iter().zip(verdicts) {
            tally.seen += 1;
            match verdict? {
                Why::Current => continue,
                Why::Missing => tally.missing += 1,
                Why::Outdated => tally.outdated += 1,
            }
            if !args.dry_run {
                enqueuer.add(plan.event(candidate)).await?;
            } else if args.json {
                out!("{}", json!({"key": candidate.object.key}));
            }
        }
        enqueuer.flush().await?;
        tally.last = batch.pop().map(|candidate| candidate.object.key).or(tally.last.take());
    }
    Ok(())
}

/// For a shell to be read as it is; bytes that a terminal would not show as `$'…'` of bash and zsh.
fn shell_word(text: &str) -> String {
    if Printable(text).to_string() == text {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut word = String::from("$'");
    for c in text.chars() {
        match c {
            '\'' | '\\' => word.extend(['\\', c]),
            c if Printable(c.encode_utf8(&mut [0; 4])).to_string().starts_with('\\') => {
                let mut buffer = [0; 4];
                word.extend(c.encode_utf8(&mut buffer).bytes().map(|byte| format!("\\{byte:03o}")));
            }
            c => word.push(c),
        }
    }
    word.push('\'');
    word
}

/// A bar without an end, as S3 does not say how many keys there are; a line now and then where there is no terminal.
struct Progress {
    bar: ProgressBar,
    told: Option<Instant>,
}

/// From one line to the next.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

impl Default for Progress {
    fn default() -> Self {
        let style = ProgressStyle::with_template("{spinner} {pos} keys  {per_sec}  {msg}");
        let bar = ProgressBar::new_spinner().with_style(style.expect("the template is fixed"));
        bar.enable_steady_tick(Duration::from_millis(200));
        let told = (!std::io::stderr().is_terminal()).then(Instant::now);
        Self { bar, told }
    }
}

impl Progress {
    fn tell(&mut self, tally: &Tally, queued: u64) {
        self.bar.set_position(tally.listed);
        if tally.listed.is_multiple_of(LOOKS_AT_ONCE as u64) {
            self.bar.set_message(format!("{} looked at, {queued} queued", tally.seen));
        }
        if self.told.is_none_or(|at| at.elapsed() < BETWEEN_LINES) {
            return;
        }
        self.told = Some(Instant::now());
        let last = tally.last.as_deref().map_or(String::new(), |key| format!(", up to {}", shell_word(key)));
        eprintln!("{} keys listed, {} looked at, {queued} queued{last}", tally.listed, tally.seen);
    }
}

#[cfg(test)]
mod tests {
    use super::shell_word;
    use std::process::Command;

    #[test]
    fn a_shell_reads_a_key_as_it_is() {
        for key in
            ["a b.jpg", "it's ü.jpg", "$HOME `id` \\ \"x\"", "two\nlines\t'1'\\n.jpg", "\u{202e}gpj.exe"]
        {
            let word = shell_word(key);
            assert!(!word.contains(['\n', '\u{202e}']), "{word}");
            let said = Command::new("bash").args(["-c", &format!("printf %s {word}")]).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), key, "{word}");
        }
    }
}
