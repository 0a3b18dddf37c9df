//! Receiving, with long polls that end when a message arrives, or is released, or its delay is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::{Instant, timeout_at};

use super::fault::{Fault, Kind};
use super::message::md5_hex;
use super::request::{ReceiveMessage, number};
use super::server::Server;
use super::state::Received;
use super::value;

/// The system attributes a receive may ask for. Those of FIFO queues are known, but never set.
const KNOWN: [&str; 11] = [
    "All",
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
    "SqsManagedSseEnabled",
];

impl Server {
    /// A client that leaves during a long poll takes nothing along: messages are taken in the last
    /// step, behind which nothing waits.
    pub async fn receive_message(self: &Arc<Self>, request: &ReceiveMessage) -> Result<Json, Fault> {
        let name = self.address.name_in_url(request.queue_url.as_deref())?;
        let settings = self.state().queue(name)?.settings.clone();
        let most = number("MaxNumberOfMessages", request.max_number_of_messages, 1, 10, 1)?;
        let hidden = number("VisibilityTimeout", request.visibility_timeout, 0, 43_200, settings.visibility)?;
        let wait = number("WaitTimeSeconds", request.wait_time_seconds, 0, 20, settings.wait)?;
        check_names(request)?;
        let deadline = Instant::now() + Duration::from_secs(wait.into());
        let hidden = Duration::from_secs(hidden.into());
        loop {
            let arrival = self.state().queue(name)?.arrival.clone();
            let arrived = arrival.notified();
            let (received, wake) = self.take(name, most as usize, hidden)?;
            if !received.is_empty() || Instant::now() >= deadline {
                return Ok(self.answer(&received, request));
            }
            // Woken or not, the next turn looks again; an elapsed time is no news.
            let _ = timeout_at(wake.unwrap_or(deadline).min(deadline), arrived).await;
            // With many messages on their way to a dead-letter queue this loop never sleeps.
            tokio::task::yield_now().await;
        }
    }

    /// Takes what is there, or tells when to look again.
    fn take(
        &self,
        name: &str,
        most: usize,
        hidden: Duration,
    ) -> Result<(Vec<Received>, Option<Instant>), Fault> {
        let state = &mut *self.state();
        let grave = self.grave(state, name);
        let received = state.receive(name, most, hidden, grave.as_ref())?;
        let clock = state.clock;
        let backlog = &state.queue(name)?.backlog;
        let next = if backlog.counts().ready > 0 { Some(clock.now()) } else { backlog.next_visible() };
        Ok((received, next.map(|moment| clock.instant(moment))))
    }

    fn answer(&self, received: &[Received], request: &ReceiveMessage) -> Json {
        if received.is_empty() {
            return json!({});
        }
        let messages: Vec<Json> = received.iter().map(|received| self.message(received, request)).collect();
        json!({ "Messages": messages })
    }

    fn message(&self, received: &Received, request: &ReceiveMessage) -> Json {
        let message = &received.entry.message;
        let mut shown = json!({
            "MessageId": message.id.to_string(),
            "ReceiptHandle": received.handle.to_string(),
            "Body": message.body,
            "MD5OfBody": md5_hex(message.body.as_bytes()),
        });
        let system = self.system_attributes(received, request);
        if !system.is_empty() {
            shown["Attributes"] = json!(system);
        }
        let wanted = request.message_attribute_names.as_deref().unwrap_or_default();
        let attributes = value::select(&message.attributes, wanted);
        if !attributes.is_empty() {
            // Over what is shown, as SQS does: the client can only check that.
            shown["MD5OfMessageAttributes"] = json!(value::md5(&attributes));
            shown["MessageAttributes"] = json!(attributes);
        }
        shown
    }

    fn system_attributes(
        &self,
        received: &Received,
        request: &ReceiveMessage,
    ) -> BTreeMap<&'static str, String> {
        let (entry, message) = (&received.entry, &received.entry.message);
        let mut known = BTreeMap::from([
            ("SenderId", self.address.account.clone()),
            ("SentTimestamp", message.sent.to_string()),
            ("ApproximateReceiveCount", entry.receives.to_string()),
        ]);
        known.extend(
            entry.first_received.map(|first| ("ApproximateFirstReceiveTimestamp", first.to_string())),
        );
        known.extend(message.trace.clone().map(|trace| ("AWSTraceHeader", trace)));
        known.extend(message.group.clone().map(|group| ("MessageGroupId", group)));
        known.extend(entry.dead_from.clone().map(|arn| ("DeadLetterQueueSourceArn", arn)));
        known.retain(|name, _| asked(request).any(|asked| asked == "All" || asked == *name));
        known
    }
}

/// Both the discontinued and the present list of names.
fn asked(request: &ReceiveMessage) -> impl Iterator<Item = &str> {
    let lists = [&request.attribute_names, &request.message_system_attribute_names];
    lists.into_iter().flatten().flatten().map(String::as_str)
}

fn check_names(request: &ReceiveMessage) -> Result<(), Fault> {
    match asked(request).find(|name| !KNOWN.contains(name)) {
        Some(name) => Err(Kind::InvalidAttributeName.with(format!("unknown attribute {name}"))),
        None => Ok(()),
    }
}
