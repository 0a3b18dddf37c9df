//! Amazon SQS, in the five calls that the worker needs.

use super::Message;
use crate::aws::{self, Clients};
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    MessageSystemAttributeName as Attribute, MessageSystemAttributeNameForSends as Sends,
    MessageSystemAttributeValue, SendMessageBatchRequestEntry,
};
use std::time::{Duration, Instant};

/// A queue by its URL.
#[derive(Debug, Clone)]
pub struct Queue {
    pub(super) clients: Clients,
    pub url: String,
}

/// One entry of a batch: a receipt handle, and for how long it shall stay hidden from now.
#[derive(Debug, Clone)]
pub struct Entry {
    pub receipt: String,
    pub visibility: Duration,
}

/// Why one entry of a batch failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The receipt handle is not valid any more: the message belongs to someone else, or is gone.
    #[error("{0}")]
    OwnershipLost(String),
    /// Could work next time.
    #[error("{0}")]
    Transient(String),
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum ReceiveError {
    /// Too many messages in flight: back-pressure, not a fault.
    #[error("the queue has as many messages in flight as SQS allows")]
    OverLimit,
    /// Nothing came back in time: the connection may be dead.
    #[error("{0}")]
    NoAnswer(String),
    #[error("{0}")]
    Other(String),
}

impl ReceiveError {
    /// Nothing at all came back: a black hole.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::NoAnswer(_))
    }
}

impl Queue {
    pub fn new(clients: Clients, url: String) -> Self {
        Self { clients, url }
    }

    /// What it is reached through.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Waits up to `wait` for up to `max` messages, each hidden for `visibility` from now.
    pub async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Message>, ReceiveError> {
        let received_at = Instant::now();
        let answer = self
            .clients
            .poll
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(max.clamp(1, 10)).unwrap_or(10))
            .wait_time_seconds(seconds(wait))
            .visibility_timeout(seconds(visibility))
            .message_system_attribute_names(Attribute::ApproximateReceiveCount)
            .message_system_attribute_names(Attribute::SentTimestamp)
            .message_system_attribute_names(Attribute::ApproximateFirstReceiveTimestamp)
            .message_system_attribute_names(Attribute::AwsTraceHeader)
            .send()
            .await;
        let messages = answer.map_err(|e| {
            let line = format!("cannot receive from {}: {}", self.url, with_remedy(&e));
            match (&e, aws::code(&e)) {
                (_, Some(code)) if code.contains("OverLimit") => ReceiveError::OverLimit,
                (SdkError::TimeoutError(_), _) => ReceiveError::NoAnswer(line),
                // No connection in time, or no TLS on it.
                (SdkError::DispatchFailure(failure), _) if failure.is_timeout() => {
                    ReceiveError::NoAnswer(line)
                }
                _ => ReceiveError::Other(line),
            }
        })?;
        Ok(messages.messages.unwrap_or_default().into_iter().map(|m| read(m, received_at)).collect())
    }

    /// Sets how long up to ten messages stay hidden from now. One result an entry, in order.
    pub async fn change_visibility(&self, entries: &[Entry]) -> Vec<Result<(), EntryError>> {
        let request = |(id, entry): (usize, &Entry)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(id.to_string())
                .receipt_handle(&entry.receipt)
                .visibility_timeout(seconds(entry.visibility))
                .build()
                .expect("id and receipt handle are given")
        };
        let answer = self
            .clients
            .settle
            .change_message_visibility_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries.iter().enumerate().map(request).collect()))
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let done = answer.successful().iter().map(|e| e.id.as_str());
                per_entry(entries.len(), done, answer.failed())
            }
            Err(e) => vec![Err(EntryError::Transient(aws::explain(&e))); entries.len()],
        }
    }

    /// Deletes up to ten messages by receipt handle. One result an entry, in order.
    pub async fn delete(&self, receipts: &[String]) -> Vec<Result<(), EntryError>> {
        // Ids are positions: a message can be twice in a batch, and SQS fails a batch with two equal
        // ids as a whole (redpanda 182, spring-cloud-aws 1654).
        let request = |(id, receipt): (usize, &String)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(id.to_string())
                .receipt_handle(receipt)
                .build()
                .expect("id and receipt handle are given")
        };
        let answer = self
            .clients
            .settle
            .delete_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(receipts.iter().enumerate().map(request).collect()))
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let done = answer.successful().iter().map(|e| e.id.as_str());
                per_entry(receipts.len(), done, answer.failed())
            }
            Err(e) => vec![Err(EntryError::Transient(aws::explain(&e))); receipts.len()],
        }
    }
}

/// Sends a body to a queue; gives the message's id. Err: why not, in one line.
pub async fn send(
    clients: &Clients,
    url: &str,
    body: &str,
    trace_header: Option<&str>,
) -> Result<String, String> {
    let mut send = clients.send.send_message().queue_url(url).message_body(body);
    if let Some(trace) = trace_header {
        send = send.message_system_attributes(Sends::AwsTraceHeader, trace_attribute(trace));
    }
    let sent = send.send().await.map_err(|e| aws::explain(&e))?;
    Ok(sent.message_id.unwrap_or_default())
}

/// Sends up to ten bodies. One result a body, in order.
pub async fn send_batch(clients: &Clients, url: &str, bodies: &[String]) -> Vec<Result<(), String>> {
    let entry = |(id, body): (usize, &String)| {
        let entry = SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(body);
        entry.build().expect("id and body are given")
    };
    let entries = bodies.iter().enumerate().map(entry).collect();
    match clients.send.send_message_batch().queue_url(url).set_entries(Some(entries)).send().await {
        Ok(answer) => {
            let done = answer.successful().iter().map(|e| e.id.as_str());
            let results = per_entry(bodies.len(), done, answer.failed());
            results.into_iter().map(|r| r.map_err(|e| e.to_string())).collect()
        }
        Err(e) => vec![Err(aws::explain(&e)); bodies.len()],
    }
}

/// The trace header, as a send takes it along.
pub fn trace_attribute(trace: &str) -> MessageSystemAttributeValue {
    let value = MessageSystemAttributeValue::builder().data_type("String").string_value(trace);
    value.build().expect("the data type is given")
}

fn read(message: aws_sdk_sqs::types::Message, received_at: Instant) -> Message {
    let attributes = message.attributes.unwrap_or_default();
    let text = |name: Attribute| attributes.get(&name).map(String::as_str);
    let number = |name| text(name).and_then(|t| t.parse::<i64>().ok());
    Message {
        id: message.message_id.unwrap_or_default(),
        receipt: message.receipt_handle.unwrap_or_default(),
        body: message.body.unwrap_or_default(),
        receive_count: number(Attribute::ApproximateReceiveCount)
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(1)
            .max(1),
        sent_at: number(Attribute::SentTimestamp),
        first_received_at: number(Attribute::ApproximateFirstReceiveTimestamp),
        trace_header: text(Attribute::AwsTraceHeader).map(str::to_owned),
        received_at,
    }
}

/// Batch answers list entries in any order; what is in neither list was not done.
fn per_entry<'a>(
    count: usize,
    done: impl Iterator<Item = &'a str>,
    failed: &[BatchResultErrorEntry],
) -> Vec<Result<(), EntryError>> {
    let missing = EntryError::Transient("the answer does not mention the entry".into());
    let mut results = vec![Err(missing); count];
    let mut set = |id: &str, result| {
        if let Some(slot) = id.parse::<usize>().ok().and_then(|i| results.get_mut(i)) {
            *slot = result;
        }
    };
    done.for_each(|id| set(id, Ok(())));
    for entry in failed {
        set(&entry.id, Err(classify(&entry.code, entry.message.as_deref())));
    }
    results
}

fn classify(code: &str, message: Option<&str>) -> EntryError {
    let line = format!("{code}: {}", message.unwrap_or("no further word"));
    let lost = code.contains("ReceiptHandleIsInvalid")
        || code.contains("MessageNotInflight")
        // The handle of a message that is gone is told in words only.
        || (code.contains("InvalidParameterValue")
            && (line.contains("does not exist") || line.contains("expired")));
    if lost { EntryError::OwnershipLost(line) } else { EntryError::Transient(line) }
}

/// SQS counts in whole seconds; rounding down would let a lease end before we think it does.
fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs_f64().ceil() as i64).unwrap_or(i32::MAX)
}

fn with_remedy<E>(error: &SdkError<E>) -> String
where
    E: aws_sdk_sqs::error::ProvideErrorMetadata + std::error::Error + 'static,
{
    let line = aws::explain(error);
    let remedy = match aws::code(error).unwrap_or_default() {
        code if aws::is_missing_queue(code) => "check --queue-url and the region",
        code if code.to_lowercase().starts_with("kms") => {
            "see that the queue's key is enabled, and allow kms:Decrypt on it to the worker's role"
        }
        code if code.contains("AccessDenied") => {
            "allow sqs:ReceiveMessage on this queue to the worker's role"
        }
        code if code.contains("ExpiredToken") => "the credentials have expired; waiting for new ones",
        code if code.contains("Signature") || code.contains("InvalidClientTokenId") => {
            "check the credentials, the region and this machine's clock"
        }
        "" if line.contains("credentials") || line.contains("identity") => {
            "give credentials: a task role, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        }
        "" if line.to_lowercase().contains("region") => "set AWS_REGION",
        "" => "check the network, and AWS_ENDPOINT_URL if it is set",
        _ => return line,
    };
    format!("{line} ({remedy})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_answers_are_matched_by_position_and_silence_is_not_success() {
        let failed = BatchResultErrorEntry::builder()
            .id("2")
            .code("ReceiptHandleIsInvalid")
            .sender_fault(true)
            .build()
            .unwrap();
        let results = per_entry(4, ["3", "0"].into_iter(), &[failed]);
        assert_eq!((&results[0], &results[3]), (&Ok(()), &Ok(())));
        assert!(matches!(results[1], Err(EntryError::Transient(_))));
        assert!(matches!(results[2], Err(EntryError::OwnershipLost(_))));
    }

    #[test]
    fn visibility_is_rounded_up() {
        assert_eq!(seconds(Duration::from_millis(1001)), 2);
        assert_eq!(seconds(Duration::ZERO), 0);
    }
}
