//! Sending: one message, a batch, or what the storage service has to tell.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::batch::{self, Outcome};
use super::fault::{Fault, Kind};
use super::journal::Sent;
use super::message::{MAX_BYTES, Message, md5_hex, trace_md5};
use super::request::{Outgoing, SendMessage, SendMessageBatch, number};
use super::server::Server;
use super::settings::Settings;
use super::snapshot::from_now;
use super::value::{self, Values};

impl Server {
    pub fn send_message(&self, request: SendMessage) -> Result<Json, Fault> {
        let name = self.address.name_in_url(request.queue_url.as_deref())?;
        let settings = self.state().queue(name)?.settings.clone();
        let sent = accept(request.message, name, &settings)?;
        let answer = receipt(&sent.message);
        self.state().send(name, vec![sent])?;
        Ok(answer)
    }

    /// Entries that are wrong in themselves fail alone; a journal that cannot be written fails all.
    pub fn send_message_batch(&self, request: SendMessageBatch) -> Result<Json, Fault> {
        let name = self.address.name_in_url(request.queue_url.as_deref())?;
        let settings = self.state().queue(name)?.settings.clone();
        let entries = request.entries.unwrap_or_default();
        batch::check(entries.iter().map(|entry| entry.id.as_deref()))?;
        let bytes: usize = entries.iter().map(Outgoing::bytes).sum();
        if bytes > MAX_BYTES {
            return Err(Kind::BatchRequestTooLong.with(format!(
                "the batch has {bytes} bytes, but at most {MAX_BYTES} are accepted: split it"
            )));
        }
        let (mut outcome, mut accepted) = (Outcome::default(), Vec::new());
        for entry in entries {
            let id = entry.id.clone().unwrap_or_default();
            match accept(entry, name, &settings) {
                Ok(sent) => {
                    let mut answer = receipt(&sent.message);
                    answer["Id"] = json!(id);
                    outcome.succeeded(answer);
                    accepted.push(sent);
                }
                Err(fault) => outcome.failed(&id, &fault),
            }
        }
        self.state().send(name, accepted)?;
        Ok(outcome.answer())
    }

    /// Sends a body as another service of the same account does.
    pub fn deliver(&self, queue_arn: &str, body: String) -> Result<(), Fault> {
        let name = self.address.name_in_arn(queue_arn).ok_or_else(|| Fault::no_queue(queue_arn))?;
        let settings = self.state().queue(name)?.settings.clone();
        let sent = accept(Outgoing { message_body: Some(body), ..Outgoing::default() }, name, &settings)?;
        self.state().send(name, vec![sent])
    }
}

impl Outgoing {
    fn bytes(&self) -> usize {
        self.message_body.as_ref().map_or(0, String::len)
            + self.message_attributes.as_ref().map_or(0, value::bytes)
    }
}

/// Turns what came over the wire into a message that cannot be wrong.
fn accept(outgoing: Outgoing, queue: &str, settings: &Settings) -> Result<Sent, Fault> {
    let delay = number("DelaySeconds", outgoing.delay_seconds, 0, 900, settings.delay)?;
    if outgoing.message_deduplication_id.is_some() {
        return Err(Kind::InvalidParameterValue
            .with("MessageDeduplicationId is for FIFO queues, which are not supported here: leave it out"));
    }
    let group = outgoing.message_group_id;
    if group.as_ref().is_some_and(|group| group.is_empty() || group.len() > 128) {
        return Err(Kind::InvalidParameterValue.with("MessageGroupId must be 1 to 128 characters long"));
    }
    let trace = trace(outgoing.message_system_attributes.unwrap_or_default())?;
    let body = outgoing.message_body.unwrap_or_default();
    let message = Message::new(body, outgoing.message_attributes.unwrap_or_default(), trace, group);
    message.check(settings.max_bytes as usize)?;
    let not_before = (delay > 0).then(|| from_now(Duration::from_secs(delay.into())));
    Ok(Sent { queue: queue.to_owned(), message: Arc::new(message), not_before, dead_from: None })
}

/// The trace header is the one system attribute a sender may set.
fn trace(attributes: Values) -> Result<Option<String>, Fault> {
    let mut trace = None;
    for (name, value) in attributes {
        match value.text() {
            Some(text) if name == "AWSTraceHeader" && !text.is_empty() => trace = Some(text.to_owned()),
            _ => {
                return Err(Kind::InvalidParameterValue.with(format!(
                    "the message system attribute {name:?} is invalid: only AWSTraceHeader of type String is accepted"
                )));
            }
        }
    }
    Ok(trace)
}

/// What the sender is told. SDKs compare the digests with their own.
fn receipt(message: &Message) -> Json {
    let mut receipt =
        json!({ "MessageId": message.id.to_string(), "MD5OfMessageBody": md5_hex(message.body.as_bytes()) });
    if !message.attributes.is_empty() {
        receipt["MD5OfMessageAttributes"] = json!(value::md5(&message.attributes));
    }
    if let Some(trace) = &message.trace {
        receipt["MD5OfMessageSystemAttributes"] = json!(trace_md5(trace));
    }
    receipt
}
