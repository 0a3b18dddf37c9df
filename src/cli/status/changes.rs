//! State changes of tasks and container instances, from the queue that the template's rule fills.
//!
//! They are looked at and left where they are: hidden for some seconds, so that a look sees each once.

use super::cluster::last_part;
use crate::aws::explain;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::Message;
use serde::Serialize;
use serde_json::Value;

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
/// Ten messages each.
const RECEIVES: usize = 20;
const HIDDEN_SECONDS: i32 = 5;

pub async fn read(client: &Client, url: &str) -> Result<Vec<Change>, String> {
    let mut changes = Vec::new();
    for _ in 0..RECEIVES {
        let receive = client.receive_message().queue_url(url).max_number_of_messages(10);
        let answer = receive.visibility_timeout(HIDDEN_SECONDS).wait_time_seconds(0).send().await;
        let messages = answer.map_err(|e| explain(&e))?.messages.unwrap_or_default();
        if messages.is_empty() {
            break;
        }
        changes.extend(messages.iter().filter_map(change));
    }
    Ok(changes)
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
