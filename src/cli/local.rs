//! `longshore local`: the service, on servers inside this process.

mod page;
mod pictures;
mod table;

use super::{FAILED, OK, RenderArgs, USAGE, WorkArgs, failed, misconfigured, work};
use crate::cli::out::out;
use crate::config::{Config, LogFormat, LogSettings};
use crate::error::{Error, Printable};
use crate::local::setup::{self, INPUT_BUCKET, MAX_RECEIVE_COUNT, OUTPUT_BUCKET, WORK_BUCKET};
use crate::local::{Servers, s3};
use crate::ops::{Phase, Shutdown, logs};
use crate::worker::Report;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use pictures::{Picture, Source};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;
use table::{Row, State};
use tokio::sync::mpsc;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pictures to upload, as files or folders; of folders, the files that look like pictures.
    #[arg(value_name = "PHOTOS")]
    photos: Vec<PathBuf>,
    /// Makes this many varied pictures and uploads them; from five on, one is broken on purpose.
    #[arg(long, env = "LONGSHORE_SAMPLE", value_name = "COUNT")]
    sample: Option<String>,
    /// Stays up for other programs until Ctrl-C, and prints how to reach it.
    #[arg(long, env = "LONGSHORE_SERVE", value_parser = clap::builder::FalseyValueParser::new())]
    serve: bool,
    /// Folder that the buckets are kept in, as plain files.
    #[arg(long, env = "LONGSHORE_DATA_DIR", value_name = "DIR", default_value = "./longshore-data")]
    data_dir: PathBuf,
    /// Address of the embedded S3 and SQS; port 0 takes a free one. Anyone who can reach it can use
    /// it, so keep it on loopback.
    #[arg(long, env = "LONGSHORE_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Address of the page, health and metrics, or `off`. [default: 127.0.0.1:9464, or a free port if that
    /// is taken]
    #[arg(long, env = "LONGSHORE_ADMIN_ADDR", value_name = "ADDRESS")]
    admin_addr: Option<String>,
    /// What must be known to see the page and the metrics: 16 characters or more. [default: none]
    #[arg(long, env = "LONGSHORE_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    admin_token: Option<String>,
    /// How many messages are in work at once. [default: twice the render threads]
    #[arg(long, env = "LONGSHORE_CONCURRENCY", value_name = "COUNT")]
    concurrency: Option<String>,
    /// Log lines as `json` or `text`. [default: text on a terminal, json elsewhere]
    #[arg(long, env = "LONGSHORE_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<String>,
    /// Which log lines: `error`, `warn`, `info`, `debug`, or a filter. [default: error, or info with
    /// --serve]
    #[arg(long, env = "LONGSHORE_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// What is served: `renditions`, `commands` (rows of `longshore submit`: scripts are run on this machine,
    /// as the user that this is), or both with a comma between them. [default: renditions]
    #[arg(long, env = "LONGSHORE_JOBS", value_name = "LIST")]
    jobs: Option<String>,
    #[command(flatten)]
    render: RenderArgs,
}

/// A sample is made in memory; more pictures than this are better brought as files.
const MAX_SAMPLE: usize = 500;
const UPLOADS_AT_ONCE: usize = 4;

pub fn run(args: Args) -> u8 {
    let (config, sample) = match read(&args) {
        Ok(read) => read,
        Err(mistakes) => return misconfigured(&mistakes),
    };
    let default = LogSettings { format: LogFormat::Auto, filter: "error".into() };
    let said = args.serve || args.log.is_some() || args.log_format.is_some();
    logs::start(if said { &config.log } else { &default }, None);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(e) => return failed(format_args!("cannot start the runtime: {e}")),
    };
    let code = runtime.block_on(session(args, config, sample)).unwrap_or_else(failed);
    runtime.shutdown_background();
    code
}

/// The configuration of the service, with what only the servers know filled in later, and how many
/// pictures to make.
fn read(args: &Args) -> Result<(Config, usize), Vec<String>> {
    let work = WorkArgs {
        queue_url: Some("http://localhost/to-be-made".into()),
        output_bucket: Some(OUTPUT_BUCKET.into()),
        jobs: args.jobs.clone(),
        work_bucket: Some(WORK_BUCKET.into()),
        input_buckets: Some(INPUT_BUCKET.into()),
        concurrency: args.concurrency.clone(),
        // At the end the parked receive is awaited: nobody wants to sit through a long one.
        wait_time: Some("1s".into()),
        admin_addr: args.admin_addr.clone(),
        admin_token: args.admin_token.clone(),
        // With an endpoint and a region here the caller's own AWS_ENDPOINT_URL and AWS_REGION do not matter.
        endpoint_url: Some("http://localhost/to-be-made".into()),
        region: Some(crate::local::REGION.into()),
        log_format: args.log_format.clone(),
        log: args.log.clone(),
        ..WorkArgs::default()
    };
    let config = Config::read(&work, &args.render);
    let mut mistakes = config.as_ref().err().cloned().unwrap_or_default();
    let said = args.sample.as_deref().map(str::trim).filter(|s| !s.is_empty());
    let sample = said.map_or(Some(0), |s| s.parse().ok()).filter(|n| *n <= MAX_SAMPLE);
    if sample.is_none() {
        mistakes.push(format!(
            "--sample is {:?}: write a whole number up to {MAX_SAMPLE}",
            said.unwrap_or_default()
        ));
    }
    if args.photos.is_empty() && sample == Some(0) && !args.serve {
        mistakes.push("nothing to do: name pictures or folders, or pass --sample 12, or --serve".into());
    }
    for photo in args.photos.iter().filter(|p| !p.exists()) {
        mistakes.push(format!("{}: there is no such file or folder", Printable(&photo.to_string_lossy())));
    }
    match (config, sample) {
        (Ok(config), Some(sample)) if mistakes.is_empty() => Ok((config, sample)),
        _ => Err(mistakes),
    }
}

async fn session(args: Args, mut config: Config, sample: usize) -> Result<u8, Error> {
    let started = Instant::now();
    let shutdown = Shutdown::on_signals().map_err(|e| Error::new(format!("cannot handle signals: {e}")))?;
    let photos = args.photos.clone();
    let found = tokio::task::spawn_blocking(move || pictures::find(&photos, sample));
    let pictures = tokio::select! {
        found = found => found.map_err(|e| Error::new(format!("cannot make the sample: {e}")))??,
        () = shutdown.reached(Phase::Draining) => return Ok(FAILED),
    };
    if pictures.is_empty() && !args.serve {
        eprintln!(
            "error: no picture found in what was named (.jpg, .png, …); pass --sample 12 to have some made"
        );
        return Ok(USAGE);
    }
    let servers = Servers::start(&args.data_dir, args.listen).await?;
    let made = setup::make(&servers.endpoint).await?;
    if config.jobs.commands {
        setup::make_bucket(&made.clients, WORK_BUCKET).await?;
    }
    config.endpoint_url = Some(servers.endpoint.clone());
    config.queue_url.clone_from(&made.queue_url);
    config.dlq_url = Some(made.dlq_url.clone());

    let (reports, inbox) = mpsc::unbounded_channel();
    let worker = work::build(&config, &made.connection, shutdown.clone(), Some(reports)).await;
    let worker = worker.map_err(|e| Error::new(format!("cannot start: {e}")))?;
    let page = page::serve(&args, &config, &made, &worker, shutdown.clone()).await?;
    if let Some(page) = page {
        out!("The page is http://{page}/");
    }
    let worker = tokio::spawn(worker.run());
    if args.serve {
        print_endpoints(&servers, &made, page, started);
        if config.jobs.commands {
            print_submit();
        }
    }

    let mut code = OK;
    if !pictures.is_empty() {
        let names: Vec<String> = config.render.settings.specs.iter().map(|s| s.name.clone()).collect();
        let rows = process(&pictures, &made, inbox, &shutdown).await;
        out!("{}", table::render(&rows, &names));
        out!("{}", table::summary(&rows, started.elapsed(), &args.data_dir.join(OUTPUT_BUCKET)));
        if sample >= pictures::SAMPLE_HAS_BROKEN_FROM {
            out!("(one picture of the sample is broken on purpose, to show what becomes of it)");
        }
        if rows.iter().any(Row::failed) {
            code = FAILED;
        }
    }
    if args.serve {
        shutdown.reached(Phase::Draining).await;
    }
    shutdown.advance(Phase::Draining);
    match worker.await {
        Ok(Ok(_)) => Ok(code),
        Ok(Err(panicked)) => Err(Error::new(panicked.to_string())),
        Err(e) => Err(Error::new(format!("the worker ended: {e}"))),
    }
}

/// Uploads the pictures and waits until the worker has told the end of each.
async fn process(
    pictures: &[Picture],
    made: &setup::Made,
    mut inbox: mpsc::UnboundedReceiver<Report>,
    shutdown: &Shutdown,
) -> Vec<Row> {
    let mut rows: Vec<Row> = pictures.iter().map(|p| Row::new(&p.key, p.source.size())).collect();
    let mut by_key: HashMap<&str, usize> =
        pictures.iter().enumerate().map(|(i, p)| (p.key.as_str(), i)).collect();
    let progress = Progress::new(pictures.len());
    let mut uploads = stream::iter(pictures.iter().enumerate())
        .map(|(index, picture)| async move { (index, upload(picture, made).await) })
        .buffer_unordered(UPLOADS_AT_ONCE);
    let mut uploading = true;
    while !by_key.is_empty() {
        tokio::select! {
            biased;
            () = shutdown.reached(Phase::Draining) => break,
            uploaded = uploads.next(), if uploading => match uploaded {
                None => uploading = false,
                Some((_, Ok(()))) => {}
                Some((index, Err(why))) => {
                    rows[index].state = State::Failed(format!("not uploaded: {why}"));
                    by_key.remove(pictures[index].key.as_str());
                    progress.tell(&rows[index]);
                }
            },
            report = inbox.recv() => {
                let Some(report) = report else { break };
                let Some(key) = report.created.as_ref().map(|c| c.key.as_str()) else { continue };
                // Not in the table: left over from an earlier run, or uploaded by another program.
                let Some(&index) = by_key.get(key) else { continue };
                rows[index].take(&report, MAX_RECEIVE_COUNT);
                if rows[index].is_final() {
                    by_key.remove(key);
                    progress.tell(&rows[index]);
                }
            }
        }
    }
    progress.finish();
    rows
}

async fn upload(picture: &Picture, made: &setup::Made) -> Result<(), String> {
    let body = match &picture.source {
        Source::Made(bytes) => aws_sdk_s3::primitives::ByteStream::from(bytes.clone()),
        Source::File { path, .. } => {
            aws_sdk_s3::primitives::ByteStream::from_path(path).await.map_err(|e| e.to_string())?
        }
    };
    let put = made.clients.write.put_object().bucket(INPUT_BUCKET).key(&picture.key).body(body);
    put.send().await.map_err(|e| crate::aws::explain(&e))?;
    Ok(())
}

/// A bar on a terminal, a line a picture elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    total: usize,
    told: std::cell::Cell<usize>,
}

impl Progress {
    fn new(total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {msg}");
            ProgressBar::new(total as u64).with_style(style.expect("the template is fixed"))
        });
        Self { bar, total, told: std::cell::Cell::new(0) }
    }

    fn tell(&self, row: &Row) {
        self.told.set(self.told.get() + 1);
        match &self.bar {
            Some(bar) => {
                bar.set_message(row.name());
                bar.inc(1);
            }
            None => out!("[{}/{}] {}", self.told.get(), self.total, row.line()),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn print_endpoints(servers: &Servers, made: &setup::Made, page: Option<SocketAddr>, started: Instant) {
    let endpoint = &servers.endpoint;
    out!("S3 and SQS are up on {endpoint} after {} ms (Ctrl-C stops)", started.elapsed().as_millis());
    out!("  queue          {}", made.queue_url);
    out!("  dead letters   {}", made.dlq_url);
    out!("  input bucket   {INPUT_BUCKET}");
    out!("  output bucket  {OUTPUT_BUCKET}");
    out!("Try it from another terminal:");
    out!(
        "  export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={} AWS_DEFAULT_REGION={} AWS_ENDPOINT_URL={endpoint}",
        s3::ACCESS_KEY_ID,
        s3::SECRET_ACCESS_KEY,
        crate::local::REGION
    );
    out!("  export LONGSHORE_QUEUE_URL={}", made.queue_url);
    out!("  export LONGSHORE_OUTPUT_BUCKET={OUTPUT_BUCKET} LONGSHORE_INPUT_BUCKETS={INPUT_BUCKET}");
    if let Some(page) = page {
        out!("  export LONGSHORE_WORKERS={page}");
    }
    out!(
        "  longshore status          (also dlq list, config check, backfill --bucket {INPUT_BUCKET} --dry-run)"
    );
    // Older versions of the CLI do not read AWS_ENDPOINT_URL.
    out!("  aws --endpoint-url {endpoint} s3 cp photo.jpg s3://{INPUT_BUCKET}/");
    out!("  aws --endpoint-url {endpoint} s3 ls --recursive s3://{OUTPUT_BUCKET}/");
}

fn print_submit() {
    out!("Rows of a table as jobs, after the export lines above:");
    out!("  export LONGSHORE_WORK_BUCKET={WORK_BUCKET}");
    out!("  longshore submit tasks.tsv --script run.sh --wait");
}
