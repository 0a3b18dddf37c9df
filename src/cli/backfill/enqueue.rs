//! Sends messages in batches, no faster than asked.

use crate::aws::Clients;
use crate::error::Error;
use crate::queue;
use std::time::Duration;
use tokio::time::Instant;

pub struct Enqueuer {
    clients: Clients,
    queue_url: String,
    waiting: Vec<String>,
    waiting_bytes: usize,
    /// From one batch of ten to the next.
    interval: Duration,
    next: Instant,
    /// Messages that the queue has.
    pub sent: u64,
}

const BATCH: usize = 10;
/// SQS takes 1 MiB a batch; less, for what JSON escapes.
const BATCH_BYTES: usize = 512 << 10;
const TRIES: u32 = 6;

impl Enqueuer {
    pub fn new(clients: Clients, queue_url: String, a_second: u32) -> Self {
        let interval = Duration::from_secs(BATCH as u64) / a_second.max(1);
        Self {
            clients,
            queue_url,
            waiting: Vec::new(),
            waiting_bytes: 0,
            interval,
            next: Instant::now(),
            sent: 0,
        }
    }

    /// # Errors
    ///
    /// The queue did not take messages, tried again and again.
    pub async fn add(&mut self, body: String) -> Result<(), Error> {
        if self.waiting.len() == BATCH || self.waiting_bytes + body.len() > BATCH_BYTES {
            self.flush().await?;
        }
        self.waiting_bytes += body.len();
        self.waiting.push(body);
        Ok(())
    }

    /// Sends what waits.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.waiting_bytes = 0;
        let mut tries = 0;
        while !self.waiting.is_empty() {
            let share = self.interval.mul_f64(self.waiting.len() as f64 / BATCH as f64);
            tokio::time::sleep_until(self.next).await;
            self.next = self.next.max(Instant::now()) + share;
            let results = queue::send_batch(&self.clients, &self.queue_url, &self.waiting).await;
            let mut why = None;
            let mut results = results.into_iter();
            self.waiting.retain(|_| {
                let result = results.next().unwrap_or_else(|| Err("no answer".into()));
                why = result.as_ref().err().cloned().or(why.take());
                self.sent += u64::from(result.is_ok());
                result.is_err()
            });
            let Some(why) = why else { continue };
            tries += 1;
            if tries == TRIES {
                return Err(Error::new(format!(
                    "cannot send to {}: {why} (allow sqs:SendMessage on it, or check --queue-url)",
                    self.queue_url
                )));
            }
            tokio::time::sleep(Duration::from_millis(100 << tries).mul_f64(0.5 + fastrand::f64() / 2.0))
                .await;
        }
        Ok(())
    }
}
