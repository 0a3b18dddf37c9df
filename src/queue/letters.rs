//! The dead-letter queue as an operator goes through it: each message once, then back where it was.
//!
//! SQS knows no way to look without receiving, so what is gone through is hidden meanwhile. Everything
//! that is kept is made visible again at the end; after a crash it shows by itself.

mod peek;

pub use peek::Reasons;

use super::sqs::{Entry, EntryError, Queue};
use super::{DeadLetters, sqs};
use crate::aws::{self, Clients};
use crate::error::Error;
use crate::event::{Event, Record};
use aws_sdk_sqs::types::{
    ListMessageMoveTasksResultEntry as MoveTask, Message, MessageSystemAttributeName as Attribute,
    QueueAttributeName,
};
use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A message of the dead-letter queue.
#[derive(Debug, Clone)]
pub struct Letter {
    pub id: String,
    receipt: String,
    pub body: String,
    /// Why it is there; see [`crate::error::Reason`], and [`MOVED_BY_SQS`].
    pub reason: String,
    pub detail: Option<String>,
    /// `s3://bucket/key` of each record that can be read.
    pub objects: Vec<String>,
    /// Of the message that it was made from, else its own.
    pub original_id: String,
    /// Since the message was first received, else since it came here.
    pub age: Duration,
    pub trace_header: Option<String>,
}

/// The reason of what has none: the queue's redrive policy moved it after its last receive.
pub const MOVED_BY_SQS: &str = "receives-used-up";

/// What is to become of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Keep,
    /// Sent to the queue, then deleted here.
    Redrive,
    Drop,
}

/// What became of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub seen: u64,
    pub redriven: u64,
    pub dropped: u64,
    /// Left here because a call failed.
    pub failed: u64,
    /// It was stopped before the last letter.
    pub cut_short: bool,
    /// Not seen, as somebody else hides them.
    pub hidden: u64,
}

/// SQS moves all letters, whoever began it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    handle: String,
    /// It was under way already.
    pub adopted: bool,
}

/// How far SQS is with moving all letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveState {
    pub moved: u64,
    /// How many there were when it began.
    pub to_move: u64,
    /// `RUNNING`, `COMPLETED`, `CANCELLING`, `CANCELLED` or `FAILED`.
    pub status: String,
    /// Why it failed, if it did.
    pub why: Option<String>,
    pub is_over: bool,
}

pub struct Letters {
    clients: Clients,
    queue: Queue,
    dlq: Queue,
}

/// While we go through them, letters are hidden from others for so long at most.
const HIDDEN: Duration = Duration::from_secs(300);
const WAIT: Duration = Duration::from_secs(1);
/// SQS answers a receive from some of its servers only: one empty answer is no end.
const EMPTY_ANSWERS: u32 = 2;

impl Letters {
    /// `dlq_url`: None to take the one that the queue's redrive policy names.
    ///
    /// # Errors
    ///
    /// The dead-letter queue is not to be found.
    pub async fn open(clients: Clients, queue_url: String, dlq_url: Option<String>) -> Result<Self, Error> {
        let dlq_url = DeadLetters::new(clients.clone(), queue_url.clone(), dlq_url).url().await?;
        Ok(Self {
            queue: Queue::new(clients.clone(), queue_url),
            dlq: Queue::new(clients.clone(), dlq_url),
            clients,
        })
    }

    pub fn dlq_url(&self) -> &str {
        &self.dlq.url
    }

    /// How many there are, by SQS's own estimate: visible, and hidden.
    ///
    /// # Errors
    ///
    /// SQS did not say.
    pub async fn estimate(&self) -> Result<(u64, u64), Error> {
        let (visible, hidden) = (
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        );
        let ask = self.clients.send.get_queue_attributes().queue_url(&self.dlq.url);
        let answer = ask.attribute_names(visible.clone()).attribute_names(hidden.clone()).send().await;
        let answer =
            answer.map_err(|e| self.failed("ask about", "sqs:GetQueueAttributes", &aws::explain(&e)))?;
        let number =
            |name| answer.attributes().and_then(|a| a.get(name)).and_then(|n| n.parse().ok()).unwrap_or(0);
        Ok((number(&visible), number(&hidden)))
    }

    /// Has SQS move all letters back to the queue, or joins the move that is under way. None: this SQS cannot, and
    /// moves nothing.
    ///
    /// # Errors
    ///
    /// SQS refuses, or does not say whether it moves letters already.
    pub async fn start_move(&self) -> Result<Option<Move>, Error> {
        let (from, to) = (self.arn(&self.dlq.url).await?, self.arn(&self.queue.url).await?);
        // First of all: what an earlier run began goes on without it, and must not be raced.
        let Some(tasks) = self.moves(&from).await? else { return Ok(None) };
        if let Some(under_way) = under_way(&tasks) {
            return Ok(Some(under_way));
        }
        let start = self.clients.send.start_message_move_task().source_arn(&from).destination_arn(to);
        match start.send().await {
            // The handle is given for tasks under way only; one that is over already has none.
            Ok(answer) => Ok(Some(Move { handle: answer.task_handle.unwrap_or_default(), adopted: false })),
            // Somebody was a moment faster; or it cannot be done here.
            Err(e) if aws::code(&e).is_some_and(|c| c.contains("UnsupportedOperation")) => {
                Ok(self.moves(&from).await?.as_deref().and_then(under_way))
            }
            Err(e) => Err(self.failed("move all of", "sqs:StartMessageMoveTask", &aws::explain(&e))),
        }
    }

    /// How far a move is.
    ///
    /// # Errors
    ///
    /// SQS did not say.
    pub async fn move_state(&self, task: &Move) -> Result<MoveState, Error> {
        let from = self.arn(&self.dlq.url).await?;
        let tasks = self.moves(&from).await?.unwrap_or_default();
        // Newest first; one that is over has lost its handle.
        let ours = tasks.iter().find(|t| t.task_handle.as_ref() == Some(&task.handle)).or(tasks.first());
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        let status = ours.and_then(|t| t.status.clone()).unwrap_or_else(|| "COMPLETED".into());
        Ok(MoveState {
            moved: ours.map_or(0, |t| number(t.approximate_number_of_messages_moved)),
            to_move: ours.and_then(|t| t.approximate_number_of_messages_to_move).map_or(0, number),
            is_over: !matches!(status.as_str(), "RUNNING" | "CANCELLING"),
            why: ours.and_then(|t| t.failure_reason.clone()),
            status,
        })
    }

    /// The last moves of the dead-letter queue, newest first. None: this SQS knows none.
    async fn moves(&self, from: &str) -> Result<Option<Vec<MoveTask>>, Error> {
        let answer =
            self.clients.send.list_message_move_tasks().source_arn(from).max_results(10).send().await;
        match answer {
            Ok(answer) => Ok(Some(answer.results.unwrap_or_default())),
            Err(e) if is_unknown(aws::code(&e), e.raw_response().map(|r| r.status().as_u16())) => Ok(None),
            Err(e) => Err(self.failed("ask about", "sqs:ListMessageMoveTasks", &aws::explain(&e))),
        }
    }

    async fn arn(&self, url: &str) -> Result<String, Error> {
        let name = QueueAttributeName::QueueArn;
        let ask = self.clients.send.get_queue_attributes().queue_url(url).attribute_names(name.clone());
        let answer = ask.send().await;
        let why = match answer {
            Ok(answer) => match answer.attributes.and_then(|mut a| a.remove(&name)) {
                Some(arn) => return Ok(arn),
                None => "SQS did not tell its ARN".to_owned(),
            },
            Err(e) => aws::explain(&e),
        };
        let remedy = aws::remedy(&why, "sqs:GetQueueAttributes");
        Err(Error::new(format!("cannot ask about {url}: {why}{remedy}")))
    }

    /// Goes through all letters, each once, until there are no more or `stop` says so. Kept ones are
    /// visible again at the end, whatever ended it.
    ///
    /// # Errors
    ///
    /// A receive failed, or letters could not be made visible again.
    pub async fn go_through(
        &self,
        mut decide: impl FnMut(&Letter) -> Fate,
        stop: impl Fn() -> bool,
    ) -> Result<Tally, Error> {
        let mut kept = Vec::new();
        let walked = self.walk(&mut decide, &stop, &mut kept).await;
        let put_back = self.put_back(&kept).await;
        let tally = walked?;
        put_back.map(|()| tally)
    }

    async fn walk(
        &self,
        decide: &mut impl FnMut(&Letter) -> Fate,
        stop: &impl Fn() -> bool,
        kept: &mut Vec<String>,
    ) -> Result<Tally, Error> {
        let (mut tally, mut seen, mut empty) = (Tally::default(), HashSet::new(), 0);
        let mut returned = HashSet::new();
        while empty < EMPTY_ANSWERS && !stop() {
            let letters = self.receive(HIDDEN).await?;
            let (mut redrive, mut drop) = (Vec::new(), Vec::new());
            let mut any = false;
            for letter in letters {
                // One that went back and has failed again already is not sent round and round.
                if returned.contains(&letter.original_id) || !seen.insert(letter.id.clone()) {
                    kept.push(letter.receipt);
                    continue;
                }
                any = true;
                match decide(&letter) {
                    Fate::Keep => kept.push(letter.receipt),
                    Fate::Redrive => redrive.push(letter),
                    Fate::Drop => drop.push(letter),
                }
            }
            empty = if any { 0 } else { empty + 1 };
            let sent = self.send_back(&redrive, &mut returned).await;
            tally.redriven += self.delete(&sent, kept, &mut tally.failed).await;
            tally.failed += (redrive.len() - sent.len()) as u64;
            kept.extend(
                redrive.iter().filter(|l| !sent.iter().any(|s| s.id == l.id)).map(|l| l.receipt.clone()),
            );
            let drop: Vec<&Letter> = drop.iter().collect();
            tally.dropped += self.delete(&drop, kept, &mut tally.failed).await;
        }
        tally.seen = seen.len() as u64;
        tally.cut_short = empty < EMPTY_ANSWERS;
        Ok(tally)
    }

    async fn receive(&self, hidden: Duration) -> Result<Vec<Letter>, Error> {
        let answer = self
            .clients
            .poll
            .receive_message()
            .queue_url(&self.dlq.url)
            .max_number_of_messages(10)
            .wait_time_seconds(i32::try_from(WAIT.as_secs()).unwrap_or(1))
            .visibility_timeout(i32::try_from(hidden.as_secs()).unwrap_or(i32::MAX))
            .message_system_attribute_names(Attribute::All)
            .message_attribute_names("All")
            .send()
            .await
            .map_err(|e| self.failed("receive from", "sqs:ReceiveMessage", &aws::explain(&e)))?;
        Ok(answer.messages.unwrap_or_default().into_iter().map(read).collect())
    }

    /// Sends letters to the queue; gives those that arrived, and adds the ids that they have there. Their reasons
    /// stay behind: a new failure finds its own.
    async fn send_back<'a>(&self, letters: &'a [Letter], ids: &mut HashSet<String>) -> Vec<&'a Letter> {
        let mut sent = Vec::new();
        for letter in letters {
            match sqs::send(&self.clients, &self.queue.url, &letter.body, letter.trace_header.as_deref())
                .await
            {
                Ok(id) => {
                    ids.insert(id);
                    sent.push(letter);
                }
                Err(why) => tracing::error!("cannot send {} to {}: {why}", letter.id, self.queue.url),
            }
        }
        sent
    }

    async fn delete(&self, letters: &[&Letter], kept: &mut Vec<String>, failed: &mut u64) -> u64 {
        let receipts: Vec<String> = letters.iter().map(|l| l.receipt.clone()).collect();
        let mut deleted = 0;
        for chunk in receipts.chunks(10) {
            for (result, receipt) in self.dlq.delete(chunk).await.into_iter().zip(chunk) {
                match result {
                    // Somebody else has it: then it is theirs to count.
                    Ok(()) | Err(EntryError::OwnershipLost(_)) => deleted += 1,
                    Err(EntryError::Transient(why)) => {
                        tracing::error!("cannot delete a letter: {why}");
                        *failed += 1;
                        kept.push(receipt.clone());
                    }
                }
            }
        }
        deleted
    }

    async fn put_back(&self, receipts: &[String]) -> Result<(), Error> {
        let mut failed = 0;
        for chunk in receipts.chunks(10) {
            let entry = |receipt: &String| Entry { receipt: receipt.clone(), visibility: Duration::ZERO };
            let entries: Vec<Entry> = chunk.iter().map(entry).collect();
            let results = self.dlq.change_visibility(&entries).await;
            failed += results.iter().filter(|r| matches!(r, Err(EntryError::Transient(_)))).count();
        }
        if failed == 0 {
            return Ok(());
        }
        Err(Error::new(format!(
            "{failed} letters could not be made visible at once (allow sqs:ChangeMessageVisibility on {}); they show by \
             themselves within {} s",
            self.dlq.url,
            HIDDEN.as_secs()
        )))
    }

    fn failed(&self, what: &str, action: &str, why: &str) -> Error {
        Error::new(format!(
            "cannot {what} {}: {why} (allow {action} on it, or check --dlq-url)",
            self.dlq.url
        ))
    }
}

fn under_way(tasks: &[MoveTask]) -> Option<Move> {
    let running = tasks.iter().find(|t| matches!(t.status.as_deref(), Some("RUNNING" | "CANCELLING")))?;
    Some(Move { handle: running.task_handle.clone().unwrap_or_default(), adopted: true })
}

/// Whether an SQS does not have this call at all: it says so by name, or breaks without a word of AWS's.
fn is_unknown(code: Option<&str>, status: Option<u16>) -> bool {
    const NAMES: [&str; 4] = ["UnknownOperation", "InvalidAction", "NotImplemented", "UnsupportedOperation"];
    match code {
        Some(code) => NAMES.iter().any(|name| code.contains(name)),
        None => matches!(status, Some(404 | 500 | 501)),
    }
}

fn read(message: Message) -> Letter {
    let attributes = message.message_attributes.unwrap_or_default();
    let text = |name: &str| attributes.get(name).and_then(|a| a.string_value()).map(str::to_owned);
    let system = message.attributes.unwrap_or_default();
    let sent_at = system.get(&Attribute::SentTimestamp).cloned();
    let since = text("longshore.first-received").or(sent_at).and_then(|ms| ms.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let id = message.message_id.unwrap_or_default();
    let body = message.body.unwrap_or_default();
    // Only what SQS itself has moved here has a source. If we had sent it before, a redrive by SQS took its reason along
    // to the queue, and it has come back with it.
    let moved_by_sqs = system.contains_key(&Attribute::DeadLetterQueueSourceArn);
    let (reason, detail) = match (text("longshore.reason"), text("longshore.detail")) {
        (Some(former), _) if moved_by_sqs => {
            (MOVED_BY_SQS.into(), Some(format!("it was here before, as {former}, and was sent back")))
        }
        (reason, detail) => (reason.unwrap_or_else(|| MOVED_BY_SQS.into()), detail),
    };
    Letter {
        receipt: message.receipt_handle.unwrap_or_default(),
        reason,
        detail,
        objects: objects(&body),
        original_id: text("longshore.message-id").unwrap_or_else(|| id.clone()),
        age: since.map_or(Duration::ZERO, |ms| now.saturating_sub(Duration::from_millis(ms))),
        trace_header: system.get(&Attribute::AwsTraceHeader).cloned(),
        id,
        body,
    }
}

fn objects(body: &str) -> Vec<String> {
    let place = |record: &Record| record.meaning.created().map(|c| format!("s3://{}/{}", c.bucket, c.key));
    match Event::parse(body) {
        Ok(Event::Records(records)) => records.iter().filter_map(place).collect(),
        Ok(Event::Row(ticket)) => vec![format!("{}/{}", ticket.job, ticket.row)],
        Ok(Event::Noise(_)) | Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sqs_in_trouble_is_not_one_that_cannot_move_letters() {
        for code in ["com.amazon.coral.service#UnknownOperationException", "InvalidAction"] {
            assert!(is_unknown(Some(code), Some(400)), "{code}");
        }
        assert!(is_unknown(None, Some(501)));
        for (code, status) in [
            (Some("InternalFailure"), Some(500)),
            (Some("ServiceUnavailable"), Some(503)),
            (Some("AccessDenied"), Some(403)),
            (None, Some(503)),
            (None, None),
        ] {
            assert!(!is_unknown(code, status), "{code:?} {status:?}");
        }
    }
}
