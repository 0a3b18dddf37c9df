//! Follows a job to its end. Whoever stops following stops nothing.

use crate::cli::out::out;
use crate::cli::submit::stored;
use crate::cli::{FAILED, OK, age};
use crate::command::layout;
use crate::command::states::Counts;
use crate::command::wire::Job;
use crate::error::Error;
use crate::ops::{Phase, Shutdown};
use crate::queue::Queue;
use crate::store::jobs::JobStore;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// Between two looks, at least; a look at many rows takes time itself, and calls.
const PAUSE: Duration = Duration::from_secs(1);
/// Where there is no terminal, a line no more often than this.
const LINES: Duration = Duration::from_secs(10);

/// 0 only if every row is done. `settled`: when a queue that is said to be empty is.
pub async fn wait(
    jobs: &JobStore,
    job: &Job,
    queue: Queue,
    settled: Duration,
    as_json: bool,
    shutdown: &Shutdown,
) -> Result<u8, Error> {
    let mut screen = Screen::new(job);
    let mut stall = Stall::default();
    loop {
        let asked = Instant::now();
        let looked = tokio::select! {
            () = shutdown.reached(Phase::Draining) => None,
            looked = look(jobs, job) => Some(looked?),
        };
        let Some((counts, cancelled)) = looked else { return Ok(left(&screen, job)) };
        screen.draw(&counts);
        if counts.are_over() || (cancelled && counts.running == 0) {
            screen.finish();
            return Ok(end(job, &counts, cancelled, as_json));
        }
        if stall.look(&queue, &counts).await >= settled {
            screen.finish();
            return Ok(stalled(job, &counts, as_json));
        }
        tokio::select! {
            () = shutdown.reached(Phase::Draining) => return Ok(left(&screen, job)),
            () = tokio::time::sleep(PAUSE.max(4 * asked.elapsed())) => {}
        }
    }
}

/// How the rows stand, and whether the job was cancelled.
async fn look(jobs: &JobStore, job: &Job) -> Result<(Counts, bool), Error> {
    let counts = Counts::read(&jobs.store, &jobs.bucket, &job.name, job.rows).await?;
    let cancelled = match counts.are_over() {
        true => false,
        false => jobs.get(&layout::cancelled(&job.name), 1 << 20).await?.is_some(),
    };
    if counts.waiting == counts.rows && stored::job(jobs, &job.name).await?.is_none() {
        return Err(Error::new(format!("the job {} was deleted", job.name)));
    }
    Ok((counts, cancelled))
}

fn left(screen: &Screen, job: &Job) -> u8 {
    screen.finish();
    eprintln!("not waiting any more; the job goes on: longshore report {}", job.name);
    FAILED
}

fn end(job: &Job, counts: &Counts, cancelled: bool, as_json: bool) -> u8 {
    if as_json {
        out!("{}", serde_json::to_string(counts).unwrap_or_default());
    } else {
        let name = &job.name;
        let end = if cancelled { ", cancelled" } else { "" };
        out!("{name}: {} of {} rows done, {} failed{end}", counts.done, counts.rows, counts.failed);
        if counts.failed > 0 {
            out!("why: longshore report {name} --failed; once more: submit it with --only-failed");
        }
    }
    if counts.done == counts.rows { OK } else { FAILED }
}

/// Nobody will end what has not ended: its messages are with the dead letters, or were deleted.
fn stalled(job: &Job, counts: &Counts, as_json: bool) -> u8 {
    let open = counts.rows - counts.over();
    eprintln!(
        "the queue is empty, and {open} rows have not ended: see longshore dlq list; to queue them again, submit the \
         job with --resume (--only-failed leaves them out, having no record of a failure)"
    );
    end(job, counts, false, as_json)
}

/// Rows that have not ended, and no message that could end them.
#[derive(Default)]
struct Stall {
    since: Option<Instant>,
    counts: Counts,
}

impl Stall {
    /// For how long nothing has moved, nor could.
    async fn look(&mut self, queue: &Queue, counts: &Counts) -> Duration {
        // Nobody may be allowed to ask: then nothing is known, and it is waited for.
        let empty = queue.depth().await.is_ok_and(|depth| depth.waiting + depth.hidden + depth.delayed == 0);
        if !empty || *counts != self.counts {
            self.since = None;
            self.counts = *counts;
            return Duration::ZERO;
        }
        self.since.get_or_insert_with(Instant::now).elapsed()
    }
}

/// Redrawn in place on a terminal; lines elsewhere.
struct Screen {
    bar: ProgressBar,
    began: Instant,
    /// How many had ended at the first look.
    first: Option<u64>,
    told: Option<(Instant, Counts)>,
}

impl Screen {
    fn new(job: &Job) -> Self {
        let style =
            ProgressStyle::with_template("{bar:40} {pos}/{len}\n{msg}").expect("the template is fixed");
        let bar = ProgressBar::new(job.rows).with_style(style);
        Self { bar, began: Instant::now(), first: None, told: None }
    }

    fn draw(&mut self, counts: &Counts) {
        let first = *self.first.get_or_insert(counts.over());
        let elapsed = self.began.elapsed();
        let left =
            estimate(counts, first, elapsed).map_or("unknown".into(), |left| format!("about {}", age(left)));
        self.bar.set_position(counts.over());
        let Counts { waiting, running, retrying, done, failed, .. } = counts;
        let elapsed = age(elapsed);
        self.bar.set_message(format!(
            "{:>9} {:>9} {:>9} {:>9} {:>9}   {:>9}   {}\n\
             {waiting:>9} {running:>9} {retrying:>9} {done:>9} {failed:>9}   {elapsed:>9}   {left}",
            "waiting", "running", "retrying", "done", "failed", "elapsed", "left"
        ));
        self.bar.tick();
        let due = self.told.is_none_or(|(at, told)| told != *counts && at.elapsed() >= LINES);
        if self.bar.is_hidden() && due {
            self.told = Some((Instant::now(), *counts));
            eprintln!(
                "{waiting} waiting, {running} running, {retrying} retrying, {done} done, {failed} failed; {elapsed} \
                 elapsed, left: {left}"
            );
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// How long the rest takes, if it goes on as it did.
fn estimate(counts: &Counts, first: u64, elapsed: Duration) -> Option<Duration> {
    let ended = counts.over().checked_sub(first).filter(|ended| *ended > 0)?;
    let left = counts.rows.saturating_sub(counts.over());
    Some(elapsed.mul_f64(left as f64 / ended as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_estimated_from_what_has_ended_meanwhile() {
        let counts = |done, failed| Counts { rows: 100, done, failed, ..Counts::default() };
        let minute = Duration::from_secs(60);
        assert_eq!(estimate(&counts(40, 0), 40, minute), None);
        assert_eq!(estimate(&counts(60, 10), 40, minute), Some(minute));
        assert_eq!(estimate(&counts(100, 0), 40, minute), Some(Duration::ZERO));
    }
}
