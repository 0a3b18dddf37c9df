//! Puts a job into the work bucket and its rows into the queue.
//!
//! Told in this order, so that whoever comes after a crash knows enough: the script and the job; what the
//! table is to become; then row after row, with how far it is. Rows whose message may not have been sent are
//! sent again, as a message too many does no harm.

use super::plan::{Plan, disk};
use super::stored::Stored;
use super::{bar, is_leaving};
use crate::aws::Clients;
use crate::command::layout;
use crate::command::spool::beside;
use crate::command::states::ALL;
use crate::command::wire::{Job, Progress, Row};
use crate::error::Error;
use crate::ops::Shutdown;
use crate::queue;
use crate::store::jobs::{DELETES, JobStore};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use std::time::Duration;

pub struct Queueing<'a> {
    pub jobs: &'a JobStore,
    pub clients: &'a Clients,
    pub queue_url: &'a str,
    pub job: &'a Job,
}

pub enum Ended {
    Whole,
    /// Interrupted when rows up to this one were queued.
    After(u64),
}

/// Rows between two words about how far it is.
const CHUNK: usize = 1000;
const CHUNK_BYTES: usize = 8 << 20;
const BATCH: usize = 10;
/// SQS takes 1 MiB a batch; less, for what JSON escapes.
const BATCH_BYTES: usize = 512 << 10;
/// A longer message goes to S3, and a short one says so.
const MAX_MESSAGE: usize = 200 << 10;
const BATCHES_AT_ONCE: usize = 16;
const TRIES: u32 = 6;

/// Some rows, in order.
#[derive(Default)]
struct Chunk {
    rows: Vec<Row>,
    /// Those of them whose records are removed.
    again: Vec<u64>,
    bytes: usize,
}

impl Queueing<'_> {
    pub async fn run(
        &self,
        plan: &Plan,
        stored: &Stored,
        script: Vec<u8>,
        shutdown: &Shutdown,
    ) -> Result<Ended, Error> {
        let (jobs, name) = (self.jobs, self.job.name.as_str());
        if stored.job.is_some() && plan.queue.rows == 0 && !plan.changes && !stored.interrupted {
            return self.uncancel(stored).await.map(|()| Ended::Whole);
        }
        self.begin(plan, stored, script).await?;
        if let Ended::After(row) = self.queue(plan, stored, shutdown).await? {
            return Ok(Ended::After(row));
        }
        let table = &plan.next;
        jobs.put_file(&layout::table(name), table.path(), table.bytes).await?;
        jobs.delete(&[layout::submitting(name), layout::next_table(name)]).await?;
        Ok(Ended::Whole)
    }

    async fn begin(&self, plan: &Plan, stored: &Stored, script: Vec<u8>) -> Result<(), Error> {
        let (jobs, name) = (self.jobs, self.job.name.as_str());
        let description = json(self.job);
        if stored.job.is_none() {
            jobs.put(&layout::script(name), script).await?;
            if !jobs.put_new(&layout::job(name), description).await? {
                return Err(Error::new(format!(
                    "another submission of {name} has just begun: wait for its end, then submit it again"
                )));
            }
        } else if stored.job.as_ref().is_some_and(|was| was.rows != self.job.rows) {
            jobs.put(&layout::job(name), description).await?;
        }
        if stored.interrupted {
            let table = &stored.table;
            jobs.put_file(&layout::table(name), table.path(), table.bytes).await?;
        }
        // From here on the next table says nothing yet.
        self.tell(0, stored.owed.clone()).await?;
        jobs.put_file(&layout::next_table(name), plan.next.path(), plan.next.bytes).await?;
        self.uncancel(stored).await
    }

    async fn uncancel(&self, stored: &Stored) -> Result<(), Error> {
        match stored.cancelled {
            true => self.jobs.delete(&[layout::cancelled(&self.job.name)]).await,
            false => Ok(()),
        }
    }

    async fn tell(&self, queued: u64, again: Vec<u64>) -> Result<(), Error> {
        self.jobs.put(&layout::submitting(&self.job.name), json(&Progress { queued, again })).await
    }

    async fn queue(&self, plan: &Plan, stored: &Stored, shutdown: &Shutdown) -> Result<Ended, Error> {
        let bar = bar(plan.queue.rows, "rows queued");
        let mut queued = 0;
        let mut chunk = Chunk::default();
        for pair in beside(plan.queue.rows().map_err(disk)?, plan.again.rows().map_err(disk)?) {
            let (row, again) = pair.map_err(disk)?;
            let Some(row) = row else { continue };
            chunk.bytes += row.values.iter().map(String::len).sum::<usize>();
            chunk.again.extend(again.map(|again| again.row));
            chunk.rows.push(row);
            if chunk.rows.len() < CHUNK && chunk.bytes < CHUNK_BYTES {
                continue;
            }
            queued = self.queue_chunk(std::mem::take(&mut chunk), queued, stored).await?;
            bar.inc(CHUNK as u64);
            if is_leaving(shutdown) {
                self.tell(queued, owed_behind(stored, queued)).await?;
                return Ok(Ended::After(queued));
            }
        }
        if !chunk.rows.is_empty() {
            self.queue_chunk(chunk, queued, stored).await?;
        }
        bar.finish_and_clear();
        Ok(Ended::Whole)
    }

    /// Gives the last row that is queued then.
    async fn queue_chunk(&self, chunk: Chunk, queued: u64, stored: &Stored) -> Result<u64, Error> {
        let last = chunk.rows.last().map_or(queued, |row| row.row);
        let mut owed = owed_behind(stored, queued);
        owed.extend(&chunk.again);
        owed.sort_unstable();
        owed.dedup();
        self.tell(queued, owed).await?;
        self.forget(&chunk.again).await?;
        let bodies = stream::iter(chunk.rows).map(|row| self.body(row)).buffered(BATCHES_AT_ONCE);
        let bodies: Vec<String> = bodies.try_collect().await?;
        let sends = batches(bodies).into_iter().map(|batch| self.send(batch));
        let sends = stream::iter(sends).buffer_unordered(BATCHES_AT_ONCE);
        sends.try_collect::<Vec<()>>().await?;
        Ok(last)
    }

    /// Removes what is known of these rows.
    async fn forget(&self, rows: &[u64]) -> Result<(), Error> {
        let name = &self.job.name;
        let keys = rows.iter().flat_map(|row| ALL.map(|state| layout::state(name, state, *row)));
        let keys: Vec<String> = keys.collect();
        let calls = stream::iter(keys.chunks(DELETES)).map(|keys| self.jobs.delete(keys));
        calls.buffer_unordered(4).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    /// What is sent for a row; values that do not fit are stored first.
    async fn body(&self, row: Row) -> Result<String, Error> {
        let body = self.job.message(row.row, &row.digest, Some(row.values.clone()));
        if body.len() <= MAX_MESSAGE && is_sent_whole(&body) {
            return Ok(body);
        }
        self.jobs.put(&layout::attributes(&self.job.name, row.row), json(&row)).await?;
        Ok(self.job.message(row.row, &row.digest, None))
    }

    async fn send(&self, mut bodies: Vec<String>) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            let results = queue::send_batch(self.clients, self.queue_url, &bodies).await;
            let why = results.iter().find_map(|result| result.as_ref().err().cloned());
            let Some(why) = why else { return Ok(()) };
            let mut results = results.into_iter();
            bodies.retain(|_| results.next().is_none_or(|result| result.is_err()));
            tries += 1;
            if tries == TRIES {
                return Err(Error::new(format!(
                    "cannot send to {}: {why} (allow sqs:SendMessage on it, or check --queue-url; submit again to go on)",
                    self.queue_url
                )));
            }
            let pause = Duration::from_millis(100 << tries).mul_f64(0.5 + fastrand::f64() / 2.0);
            tokio::time::sleep(pause).await;
        }
    }
}

/// What an earlier submission owes, and this one has not come to.
fn owed_behind(stored: &Stored, queued: u64) -> Vec<u64> {
    stored.owed.iter().copied().filter(|row| *row > queued).collect()
}

fn batches(bodies: Vec<String>) -> Vec<Vec<String>> {
    let mut batches: Vec<Vec<String>> = Vec::new();
    let mut bytes = 0;
    for body in bodies {
        bytes += body.len();
        match batches.last_mut().filter(|batch| batch.len() < BATCH && bytes <= BATCH_BYTES) {
            Some(batch) => batch.push(body),
            None => {
                bytes = body.len();
                batches.push(vec![body]);
            }
        }
    }
    batches
}

/// SQS takes the characters of XML 1.0 only; JSON escapes the others but for two.
fn is_sent_whole(body: &str) -> bool {
    !body.contains(['\u{fffe}', '\u{ffff}'])
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers become JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_have_ten_messages_and_half_a_mebibyte_at_most() {
        let bodies = (0..37).map(|n| "x".repeat(if n < 20 { 10 } else { 200 << 10 })).collect();
        let batches = batches(bodies);
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 37);
        assert_eq!(batches[0].len(), BATCH);
        for batch in batches {
            assert!(batch.len() <= BATCH && batch.iter().map(String::len).sum::<usize>() <= BATCH_BYTES);
        }
    }
}
