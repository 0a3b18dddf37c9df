//! State changes of tasks and container instances, from the queue that the template's rule fills.
//!
//! They are looked at and left where they are: hidden meanwhile, so that a look sees each once, and made visible again at
//! its end.

use super::cluster::last_part;
use super::gather::Unread;
use crate::aws::explain;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, Message};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Of the event.
    pub id: String,
    /// ISO 8601, UTC.
    pub time: String,
    /// `task 0123…` or `instance i-0123…`.
    pub who: String,
    pub status: String,
    pub why: String,
}

/// So many are shown, the newest.
pub const SHOWN: usize = 10;
/// SQS answers a receive from some of its servers only: one empty answer is no end.
const EMPTY_ANSWERS: u32 = 2;
const WAIT_SECONDS: i32 = 1;
/// A queue with more than can be read in this time is read in part.
const READING: Duration = Duration::from_secs(10);
/// Longer than a look takes: each is seen once. It ends with the look.
const HIDDEN_SECONDS: i32 = 30;
/// Calls at once that make messages visible again.
const AT_ONCE: usize = 8;

/// The newest changes, in their order.
pub async fn read(client: &Client, url: &str) -> Result<Vec<Change>, Unread> {
    let mut receipts = Vec::new();
    let changes = receive(client, url, &mut receipts).await;
    put_back(client, url, &receipts).await;
    changes
}

async fn receive(client: &Client, url: &str, receipts: &mut Vec<String>) -> Result<Vec<Change>, Unread> {
    let (begun, mut empty, mut changes) = (Instant::now(), 0, Vec::new());
    while empty < EMPTY_ANSWERS && begun.elapsed() < READING {
        let receive = client.receive_message().queue_url(url).max_number_of_messages(10);
        let answer = receive.visibility_timeout(HIDDEN_SECONDS).wait_time_seconds(WAIT_SECONDS).send().await;
        let messages = answer.map_err(|e| explain(&e))?.messages.unwrap_or_default();
        empty = if messages.is_empty() { empty + 1 } else { 0 };
        changes.extend(messages.iter().filter_map(change));
        receipts.extend(messages.into_iter().filter_map(|m| m.receipt_handle));
        newest(&mut changes);
    }
    Ok(changes)
}

/// Whoever may not do this sees each change again when it shows by itself.
async fn put_back(client: &Client, url: &str, receipts: &[String]) {
    let calls = receipts.chunks(10).map(|chunk| {
        let entry = |(nth, receipt): (usize, &String)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(nth.to_string());
            entry.receipt_handle(receipt).visibility_timeout(0).build().ok()
        };
        let entries = chunk.iter().enumerate().filter_map(entry).collect();
        client.change_message_visibility_batch().queue_url(url).set_entries(Some(entries)).send()
    });
    let mut calls = stream::iter(calls).buffer_unordered(AT_ONCE);
    while calls.next().await.is_some() {}
}

/// Each once and in order, as many as are shown: SQS keeps to none.
pub fn newest(changes: &mut Vec<Change>) {
    changes.sort_by(|one, other| (&one.time, &one.id).cmp(&(&other.time, &other.id)));
    changes.dedup_by(|one, other| one.id == other.id);
    let old = changes.len().saturating_sub(SHOWN);
    changes.drain(..old);
}

/// None: it is no event of ECS.
fn change(message: &Message) -> Option<Change> {
    let event: Value = serde_json::from_str(message.body()?).ok()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let detail = event.get("detail")?;
    let (who, status) = match event.get("detail-type")?.as_str()? {
        "ECS Task State Change" => (format!("task {}", last_part(detail["taskArn"].as_str()?)), "lastStatus"),
        "ECS Container Instance State Change" => {
            (format!("instance {}", detail["ec2InstanceId"].as_str().unwrap_or("?")), "status")
        }
        _ => return None,
    };
    let exits = detail["containers"].as_array().into_iter().flatten();
    let exits = exits.filter_map(|c| Some(format!("exit code {}", c["exitCode"].as_i64()?)));
    let said = [text(&detail["stoppedReason"]), text(&detail["statusReason"])];
    let why: Vec<String> = said.into_iter().filter(|w| !w.is_empty()).chain(exits).collect();
    Some(Change {
        id: text(&event["id"]),
        time: text(&event["time"]),
        who,
        status: text(&detail[status]),
        why: why.join("; "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(event: &Value) -> Option<Change> {
        change(&Message::builder().body(event.to_string()).build())
    }

    #[test]
    fn a_task_that_stopped_says_why() {
        let event = json!({
            "id": "1", "time": "2026-01-01T00:00:00Z", "detail-type": "ECS Task State Change",
            "detail": {"taskArn": "arn:aws:ecs:eu-west-1:1:task/c/abc", "lastStatus": "STOPPED",
                "stoppedReason": "Essential container in task exited", "containers": [{"exitCode": 137}]},
        });
        let change = read(&event).unwrap();
        assert_eq!((change.who.as_str(), change.status.as_str()), ("task abc", "STOPPED"));
        assert_eq!(change.why, "Essential container in task exited; exit code 137");
    }

    #[test]
    fn other_messages_are_passed_over() {
        assert_eq!(read(&json!({"detail-type": "Scheduled Event", "detail": {}})), None);
        assert_eq!(change(&Message::builder().body("no JSON").build()), None);
    }
}
