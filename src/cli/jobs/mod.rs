//! What is asked and done about jobs that were submitted: `report`, `logs`, `cancel`, `delete`, and waiting.

pub mod cancel;
pub mod delete;
mod follow;
mod lines;
pub mod logs;
pub mod report;
mod wait;

pub use wait::wait;

use super::connect::{self, JobsArgs};
use super::submit::stored;
use super::{block_on, failed, misconfigured, out};
use crate::command::layout::is_job_name;
use crate::command::wire::Job;
use crate::config::{LogFormat, LogSettings};
use crate::error::{Error, Printable};
use crate::ops::Shutdown;
use crate::store::Store;
use crate::store::jobs::JobStore;

#[derive(Debug, clap::Args)]
pub struct JobArgs {
    /// Name of the job.
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    jobs: JobsArgs,
}

/// A job, and how to look at it.
pub struct Opened {
    pub jobs: JobStore,
    pub name: String,
    /// None: it is not there, or no more.
    pub job: Option<Job>,
    pub shutdown: Shutdown,
}

impl Opened {
    /// # Errors
    ///
    /// It is not there.
    pub fn job(&self) -> Result<&Job, Error> {
        self.job.as_ref().ok_or_else(|| {
            Error::new(format!("there is no job {} in s3://{}", Printable(&self.name), self.jobs.bucket))
        })
    }

    pub fn is_leaving(&self) -> bool {
        out::is_over(&self.shutdown)
    }
}

/// Runs a command about one job. `mistakes`: what is wrong with its own settings.
fn run<F>(args: &JobArgs, mut mistakes: Vec<String>, command: impl FnOnce(Opened) -> F) -> u8
where
    F: Future<Output = Result<u8, Error>>,
{
    let config = args.jobs.read();
    if !is_job_name(&args.job) {
        mistakes.push(format!("{:?} is no name of a job", Printable(&args.job).to_string()));
    }
    let config = match config {
        Ok(config) if mistakes.is_empty() => config,
        config => {
            mistakes.extend(config.err().unwrap_or_default());
            return misconfigured(&mistakes);
        }
    };
    crate::ops::logs::start(&LogSettings { format: LogFormat::Auto, filter: "warn".into() }, None);
    block_on(async {
        let shutdown = match Shutdown::on_signals() {
            Ok(shutdown) => shutdown,
            Err(e) => return failed(format_args!("cannot handle signals: {e}")),
        };
        let store = Store::new(connect::clients(&config.queue).await);
        let jobs = JobStore::new(store, &config.work_bucket);
        match stored::job(&jobs, &args.job).await {
            Ok(job) => {
                let opened = Opened { jobs, name: args.job.clone(), job, shutdown };
                command(opened).await.unwrap_or_else(failed)
            }
            Err(e) => failed(e),
        }
    })
}
