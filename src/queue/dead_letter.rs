//! The dead-letter queue: what can never work goes there at once, with its reason.

use super::Message;
use super::sqs::trace_attribute;
use crate::aws::{self, Clients};
use crate::error::{Error, Printable, Rejection};
use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeNameForSends, QueueAttributeName};
use std::sync::Mutex;

/// A body on its way to the dead-letter queue.
#[derive(Debug)]
pub struct DeadLetter<'a> {
    pub message: &'a Message,
    /// Just the records that failed, in the form that they came in.
    pub body: String,
    pub rejection: &'a Rejection,
}

/// Where dead letters go. The URL is given, or read from the queue's redrive policy when the first
/// one is sent.
pub struct DeadLetters {
    clients: Clients,
    queue_url: String,
    given: bool,
    url: Mutex<Option<String>>,
}

/// SQS counts attributes into the 1 MiB of a message; a reason is a line, not a report.
const MAX_DETAIL_CHARS: usize = 500;

/// Why no dead-letter queue is found, if nobody named one to the queue.
pub const NO_REDRIVE_POLICY: &str = "it has no redrive policy";

impl DeadLetters {
    pub fn new(clients: Clients, queue_url: String, url: Option<String>) -> Self {
        Self { clients, queue_url, given: url.is_some(), url: Mutex::new(url) }
    }

    /// Stores a dead letter. Only after Ok may the original be deleted.
    pub async fn send(&self, letter: &DeadLetter<'_>) -> Result<(), Error> {
        let url = self.url().await?;
        let mut send = self.clients.send.send_message().queue_url(&url).message_body(&letter.body);
        let detail: String = Printable(&letter.rejection.detail).to_string();
        let detail: String = detail.chars().take(MAX_DETAIL_CHARS).collect();
        let first = letter.message.first_received_at.map(|ms| ms.to_string());
        for (name, value) in [
            ("longshore.reason", Some(letter.rejection.reason.slug().to_owned())),
            ("longshore.detail", Some(detail)),
            ("longshore.message-id", Some(letter.message.id.clone())),
            ("longshore.first-received", first),
            ("longshore.receive-count", Some(letter.message.receive_count.to_string())),
            ("longshore.trace-id", letter.message.trace_id()),
        ] {
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                send = send.message_attributes(name, text_attribute(value));
            }
        }
        if let Some(trace) = &letter.message.trace_header {
            send = send.message_system_attributes(
                MessageSystemAttributeNameForSends::AwsTraceHeader,
                trace_attribute(trace),
            );
        }
        send.send().await.map_err(|e| {
            if aws::code(&e).is_some_and(aws::is_missing_queue) {
                self.forget(&url);
            }
            Error::new(format!(
                "cannot send to the dead-letter queue {url}: {} (allow sqs:SendMessage on it; the message stays in \
                 its queue meanwhile)",
                aws::explain(&e)
            ))
        })?;
        Ok(())
    }

    /// Where they go.
    pub async fn url(&self) -> Result<String, Error> {
        let known = self.url.lock().expect("held for a clone only").clone();
        if let Some(url) = known {
            return Ok(url);
        }
        let url = find(&self.clients, &self.queue_url).await?;
        *self.url.lock().expect("held for a store only") = Some(url.clone());
        Ok(url)
    }

    /// A queue that was found and is gone: the redrive policy may name another by now.
    fn forget(&self, url: &str) {
        if !self.given {
            self.url.lock().expect("held for a store only").take_if(|known| known == url);
        }
    }
}

/// The dead-letter queue that a queue's redrive policy names.
async fn find(clients: &Clients, queue_url: &str) -> Result<String, Error> {
    let remedy = "set LONGSHORE_DLQ_URL, or give the queue a redrive policy";
    let fail = |why: String| {
        Error::new(format!("cannot find the dead-letter queue of {}: {why} ({remedy})", queue_url))
    };
    let policy = policy(clients, queue_url).await.map_err(fail)?;
    let arn = policy["deadLetterTargetArn"].as_str().unwrap_or_default();
    // arn:aws:sqs:REGION:ACCOUNT:NAME
    let parts: Vec<&str> = arn.split(':').collect();
    let &[_, _, "sqs", _, account, name] = parts.as_slice() else {
        return Err(fail(format!("its redrive policy names {arn:?}")));
    };
    let answer = clients
        .send
        .get_queue_url()
        .queue_name(name)
        .queue_owner_aws_account_id(account)
        .send()
        .await
        .map_err(|e| fail(aws::explain(&e)))?;
    answer.queue_url.ok_or_else(|| fail("SQS gave no URL for it".into()))
}

/// How often a message is received before SQS gives it up. None: for ever, or nobody may ask.
pub async fn most_receives(clients: &Clients, queue_url: &str) -> Option<u32> {
    let most = policy(clients, queue_url).await.ok()?["maxReceiveCount"].take();
    // Some write it as text, and SQS takes it.
    most.as_u64().or_else(|| most.as_str()?.parse().ok()).and_then(|most| u32::try_from(most).ok())
}

async fn policy(clients: &Clients, queue_url: &str) -> Result<serde_json::Value, String> {
    let name = QueueAttributeName::RedrivePolicy;
    let ask = clients.send.get_queue_attributes().queue_url(queue_url).attribute_names(name.clone());
    let answer = ask.send().await.map_err(|e| aws::explain(&e))?;
    let policy = answer.attributes().and_then(|a| a.get(&name));
    let policy = policy.ok_or(NO_REDRIVE_POLICY)?;
    serde_json::from_str(policy).map_err(|e| e.to_string())
}

fn text_attribute(value: String) -> MessageAttributeValue {
    let attribute = MessageAttributeValue::builder().data_type("String").string_value(value);
    attribute.build().expect("the data type is given")
}
