//! Uploads reach the queue, and nothing else does.

use super::want;
use crate::template::{Stack, list, text, texts};
use serde_json::Value;

pub fn check(stack: &Stack, wrong: &mut Vec<String>) {
    let own = stack.parameter("InputBucketName").is_empty();
    let bridged = !own || stack.parameter("InputEvents") == "EventBridge";
    want(wrong, own == stack.has("InputBucket"), || "a bucket is made exactly when none is given".into());
    let notification = &stack.properties("InputBucket")["NotificationConfiguration"];
    if bridged {
        let enabled = &notification["EventBridgeConfiguration"]["EventBridgeEnabled"];
        want(wrong, !own || *enabled == true, || "the bucket tells EventBridge nothing".into());
        want(wrong, notification["QueueConfigurations"].is_null(), || "uploads are told twice".into());
        rule(stack, wrong);
    } else {
        want(wrong, !stack.has("InputRule"), || "uploads are told twice".into());
        filters(stack, notification, wrong);
        // S3 checks the policy when the notification is set.
        let waits = stack.edges["InputBucket"].contains("QueuePolicy");
        want(wrong, waits, || "the bucket does not wait for the queue's policy".into());
    }
    sender(stack, bridged, wrong);
}

fn filters(stack: &Stack, notification: &Value, wrong: &mut Vec<String>) {
    let suffixes: Vec<&str> = stack.parameter("Suffixes").split(',').collect();
    let queues = list(&notification["QueueConfigurations"]);
    want(wrong, queues.len() == suffixes.len(), || {
        format!("{} notifications for {} suffixes", queues.len(), suffixes.len())
    });
    for (queue, suffix) in queues.iter().zip(&suffixes) {
        want(wrong, queue["Queue"] == stack.value("Queue", "Arn"), || format!("{suffix} goes elsewhere"));
        want(wrong, queue["Event"] == "s3:ObjectCreated:*", || {
            format!("{suffix}: {} is not every way to create an object", queue["Event"])
        });
        let rules = list(&queue["Filter"]["S3Key"]["Rules"]);
        let value = |name: &str| rules.iter().find(|r| r["Name"] == name).map(|r| r["Value"].clone());
        // S3 takes these two names and no others.
        let names: Vec<&str> = rules.iter().filter_map(|r| r["Name"].as_str()).collect();
        want(wrong, names.iter().all(|n| ["prefix", "suffix"].contains(n)), || {
            format!("filter rules are called {names:?}")
        });
        want(wrong, value("suffix").is_some_and(|v| v == **suffix), || format!("no filter for {suffix}"));
        let prefix = stack.parameter("InputPrefix");
        want(wrong, value("prefix").is_some_and(|v| v == prefix), || format!("{suffix}: no prefix filter"));
    }
    // S3 refuses notifications that overlap.
    for (i, a) in suffixes.iter().enumerate() {
        let overlaps = suffixes.iter().enumerate().any(|(j, b)| i != j && a.ends_with(b));
        want(wrong, !overlaps, || format!("{a} overlaps another suffix"));
    }
}

fn rule(stack: &Stack, wrong: &mut Vec<String>) {
    let rule = stack.properties("InputRule");
    let event = |bucket: &str, key: &str| {
        serde_json::json!({
            "source": "aws.s3", "detail-type": "Object Created", "account": crate::template::world::ACCOUNT,
            "detail": {"bucket": {"name": bucket}, "object": {"key": key}},
        })
    };
    let bucket = stack.input_bucket();
    for suffix in stack.parameter("Suffixes").split(',') {
        for key in [format!("a{suffix}"), format!("deep/er/A{}", suffix.to_uppercase())] {
            let matched = matches(&rule["EventPattern"], &event(&bucket, &key));
            want(wrong, matched, || format!("the rule does not take {key}"));
        }
    }
    for (bucket, key) in [(bucket.as_str(), "notes.txt"), ("someone-elses", "a.jpg")] {
        let matched = matches(&rule["EventPattern"], &event(bucket, key));
        want(wrong, !matched, || format!("the rule takes {bucket}/{key}"));
    }
    let mut removed = event(&bucket, "a.jpg");
    removed["detail-type"] = "Object Deleted".into();
    want(wrong, !matches(&rule["EventPattern"], &removed), || "the rule takes deletions".into());
    let targets: Vec<&Value> = list(&rule["Targets"]).iter().map(|t| &t["Arn"]).collect();
    want(wrong, targets == [&Value::from(stack.value("Queue", "Arn"))], || format!("rule to {targets:?}"));
    // With a RoleArn EventBridge would not use the queue's policy.
    want(wrong, list(&rule["Targets"]).iter().all(|t| t["RoleArn"].is_null()), || {
        "the target has a role".into()
    });
}

/// EventBridge's pattern matching, as much as the template uses.
pub fn matches(pattern: &Value, event: &Value) -> bool {
    match pattern {
        Value::Object(map) => map.iter().all(|(name, pattern)| matches(pattern, &event[name])),
        Value::Array(any) => any.iter().any(|one| match (one, event.as_str()) {
            (Value::Object(matcher), Some(text)) => {
                let suffix = &matcher["suffix"];
                let ignoring_case = suffix["equals-ignore-case"].as_str();
                ignoring_case.is_some_and(|s| text.to_lowercase().ends_with(&s.to_lowercase()))
                    || suffix.as_str().is_some_and(|s| text.ends_with(s))
            }
            (one, _) => one == event,
        }),
        _ => false,
    }
}

/// Exactly one service may send, and only for this bucket and account; nobody without TLS.
fn sender(stack: &Stack, bridged: bool, wrong: &mut Vec<String>) {
    let policy = stack.properties("QueuePolicy");
    let queue = stack.value("Queue", "Arn");
    want(wrong, texts(&policy["Queues"]) == [stack.value("Queue", "")], || {
        "the policy is of another queue".into()
    });
    let allowed: Vec<&Value> =
        list(&policy["PolicyDocument"]["Statement"]).iter().filter(|s| s["Effect"] == "Allow").collect();
    let [allow] = allowed[..] else {
        return wrong.push(format!("{} statements let into the queue", allowed.len()));
    };
    let (service, source) = if bridged {
        ("events.amazonaws.com", stack.value("InputRule", "Arn"))
    } else {
        ("s3.amazonaws.com", format!("arn:{}:s3:::{}", stack.place.partition, stack.input_bucket()))
    };
    want(wrong, allow["Principal"]["Service"] == service, || format!("{} may send", allow["Principal"]));
    want(wrong, allow["Action"] == "sqs:SendMessage", || format!("it may {}", allow["Action"]));
    want(wrong, allow["Resource"] == queue, || format!("it may send to {}", allow["Resource"]));
    let condition = |operator: &str, key: &str| text(&allow["Condition"][operator][key]).unwrap_or_default();
    let from = condition("ArnEquals", "aws:SourceArn");
    want(wrong, from == source, || format!("it may send for {from:?}, not {source}"));
    let account = condition("StringEquals", "aws:SourceAccount");
    want(wrong, account == crate::template::world::ACCOUNT, || format!("of account {account:?}"));
}
