//! Alarms reach somebody, state changes are kept, and the dashboard shows what is there.

use super::input::matches;
use super::scaling::{DESIRED, RUNNING, VISIBLE, breaches, metric, queries, statistics};
use super::want;
use crate::template::{Stack, list, math, text, texts, world};
use serde_json::{Value, json};

pub fn check(stack: &Stack, wrong: &mut Vec<String>) {
    for (name, alarm) in stack.of_kind("AWS::CloudWatch::Alarm") {
        self::alarm(stack, name, alarm, wrong);
    }
    for name in ["DeadLetterAlarm", "AgeAlarm", "StartAlarm"] {
        let to = texts(&stack.properties(name)["AlarmActions"]);
        want(wrong, to == [stack.value("Topic", "")], || format!("{name} tells {to:?}"));
    }
    what_they_watch(stack, wrong);
    subscription(stack, wrong);
    topic_policy(stack, wrong);
    state_changes(stack, wrong);
    dashboard(stack, wrong);
}

fn alarm(stack: &Stack, name: &str, alarm: &Value, wrong: &mut Vec<String>) {
    want(wrong, !list(&alarm["AlarmActions"]).is_empty(), || format!("{name} has no action"));
    want(wrong, alarm["ActionsEnabled"] != false, || format!("{name} is switched off"));
    // A queue that is left alone says nothing, and that is well.
    want(wrong, alarm["TreatMissingData"] == "notBreaching", || format!("{name}: missing data alarm"));
    want(wrong, alarm["EvaluationPeriods"].as_u64().is_some_and(|n| n > 0), || format!("{name}: periods"));
    if alarm["Metrics"].is_null() {
        metric(stack, name, alarm, wrong);
        want(wrong, alarm["Period"] == 60, || format!("{name}: {} s a period", alarm["Period"]));
        want(wrong, alarm["Statistic"] == "Maximum", || format!("{name} looks at {}", alarm["Statistic"]));
    } else {
        queries(stack, name, list(&alarm["Metrics"]), wrong);
        for stat in list(&alarm["Metrics"]).iter().map(|q| &q["MetricStat"]).filter(|s| !s.is_null()) {
            want(wrong, stat["Period"] == 60, || format!("{name}: {} s a period", stat["Period"]));
        }
    }
}

fn what_they_watch(stack: &Stack, wrong: &mut Vec<String>) {
    let queue = |alarm: &str| stack.properties(alarm)["Dimensions"][0]["Value"].clone();
    let letters = stack.properties("DeadLetterAlarm");
    let one = letters["MetricName"] == "ApproximateNumberOfMessagesVisible"
        && queue("DeadLetterAlarm") == stack.value("DeadLetterQueue", "QueueName")
        && breaches(letters, 1.0)
        && !breaches(letters, 0.0);
    want(wrong, one, || "one dead letter sets off no alarm".into());
    let age = stack.properties("AgeAlarm");
    let limit: f64 = stack.parameter("MaxMessageAge").parse().unwrap_or(0.0);
    let old = age["MetricName"] == "ApproximateAgeOfOldestMessage"
        && queue("AgeAlarm") == stack.value("Queue", "QueueName")
        && breaches(age, limit + 1.0)
        && !breaches(age, limit);
    want(wrong, old, || "an old message sets off no alarm".into());
    let start = stack.properties("StartAlarm");
    let minutes = start["EvaluationPeriods"].as_u64().unwrap_or(0);
    want(wrong, (5..=30).contains(&minutes), || format!("a start may take {minutes} min"));
    // Some to spare: for a task that runs for a moment before it ends, and for what is told late.
    let enough = start["DatapointsToAlarm"].as_u64().unwrap_or(minutes);
    want(wrong, enough + 2 <= minutes && enough * 3 >= minutes * 2, || {
        format!("tasks are missing after {enough} of {minutes} min")
    });
    let expression =
        queries(stack, "StartAlarm", list(&start["Metrics"]), &mut Vec::new()).unwrap_or_default();
    // The least of what is wanted, the most of what runs: a minute in which it changes sets off nothing.
    let wanted = [(VISIBLE, "Minimum"), (DESIRED, "Minimum"), (RUNNING, "Maximum")];
    statistics("StartAlarm", list(&start["Metrics"]), &wanted, wrong);
    // Container Insights tells nothing at all while no task runs.
    for (visible, desired, running, result) in [
        (Some(0.0), Some(2.0), Some(1.0), Some(1.0)),
        (Some(9.0), Some(2.0), Some(2.0), Some(0.0)),
        (Some(9.0), Some(1.0), Some(2.0), Some(0.0)),
        (Some(9.0), None, None, Some(1.0)),
        (Some(0.0), None, None, Some(0.0)),
        // Not told, or not yet: a gap, which the alarm leaves out, and no 0, which would end it.
        (None, None, None, None),
        (None, Some(2.0), Some(2.0), None),
    ] {
        let metrics = [("visible", visible), ("desired", desired), ("running", running)];
        let metrics = metrics.map(|(name, value)| (name.to_owned(), vec![value]));
        let found = math::evaluate(&expression, &metrics.into(), 60.0);
        want(wrong, found == Ok(vec![result]), || {
            format!("{visible:?} waiting, {desired:?} wanted, {running:?} running: {found:?}")
        });
    }
    want(wrong, breaches(start, 1.0) && !breaches(start, 0.0), || "missing tasks set off no alarm".into());
}

fn subscription(stack: &Stack, wrong: &mut Vec<String>) {
    let address = stack.parameter("AlarmEmail");
    let subscriptions: Vec<_> = stack.of_kind("AWS::SNS::Subscription").collect();
    want(wrong, subscriptions.len() == usize::from(!address.is_empty()), || "a subscription".into());
    for (_, subscription) in subscriptions {
        let right = subscription["Endpoint"] == address
            && subscription["Protocol"] == "email"
            && subscription["TopicArn"] == stack.value("Topic", "");
        want(wrong, right, || format!("{subscription} reaches nobody"));
        // Filters are read against the body only if that is said.
        want(wrong, subscription["FilterPolicyScope"] == "MessageBody", || "filters look elsewhere".into());
        let any = list(&subscription["FilterPolicy"]["$or"]);
        let alarms = any.iter().any(|p| p["AlarmName"] == json!([{"exists": true}]));
        // What never ran, and what ended by itself; all else was asked for.
        let failed = ["TaskFailedToStart", "EssentialContainerExited"]
            .map(|code| any.iter().any(|p| texts(&p["detail"]["stopCode"]).contains(&code.into())));
        want(wrong, alarms && failed == [true, true], || format!("the mail has only {any:?}"));
    }
}

fn topic_policy(stack: &Stack, wrong: &mut Vec<String>) {
    let policy = stack.properties("TopicPolicy");
    let topic = stack.value("Topic", "");
    want(wrong, texts(&policy["Topics"]) == [topic.clone()], || "the policy is of another topic".into());
    let statements = list(&policy["PolicyDocument"]["Statement"]);
    let of = |service: &str| statements.iter().find(|s| s["Principal"]["Service"] == service);
    let source =
        |s: &Value, operator: &str| text(&s["Condition"][operator]["aws:SourceArn"]).unwrap_or_default();
    let publishes =
        |s: &&Value| s["Effect"] == "Allow" && s["Action"] == "sns:Publish" && s["Resource"] == topic;
    let alarms = stack.place.arn("cloudwatch", "alarm:*");
    let alarm = of("cloudwatch.amazonaws.com").filter(publishes);
    want(wrong, alarm.is_some_and(|s| source(s, "ArnLike") == alarms), || "alarms cannot be told".into());
    let account = alarm.map(|s| &s["Condition"]["StringEquals"]["aws:SourceAccount"]);
    want(wrong, account.is_some_and(|a| a == world::ACCOUNT), || "any account's alarms are told".into());
    let event = of("events.amazonaws.com").filter(publishes);
    want(wrong, event.is_some(), || "events cannot be told".into());
    // EventBridge's guide: the policy of a topic takes no condition for EventBridge. With one, nothing arrives.
    let condition = event.map_or(&Value::Null, |s| &s["Condition"]);
    want(wrong, condition.is_null(), || format!("events are told only if {condition}"));
    let open = statements.iter().any(|s| s["Effect"] == "Allow" && s["Principal"]["Service"].is_null());
    want(wrong, !open, || "anybody may publish".into());
}

fn state_changes(stack: &Stack, wrong: &mut Vec<String>) {
    let rule = stack.properties("StateChangeRule");
    let event = |kind: &str, cluster: &str| json!({"source": "aws.ecs", "detail-type": kind, "detail": {"clusterArn": cluster, "lastStatus": "STOPPED"}});
    let cluster = stack.value("Cluster", "Arn");
    for kind in ["ECS Task State Change", "ECS Container Instance State Change"] {
        let taken = matches(&rule["EventPattern"], &event(kind, &cluster));
        want(wrong, taken, || format!("{kind} goes unnoticed"));
        let others = matches(&rule["EventPattern"], &event(kind, "arn:aws:ecs:eu-west-1:1:cluster/other"));
        want(wrong, !others, || format!("{kind} of other clusters is told as ours"));
    }
    let targets: Vec<String> = list(&rule["Targets"]).iter().filter_map(|t| text(&t["Arn"]).ok()).collect();
    let queue = stack.value("StateChangeQueue", "Arn");
    let wanted = [stack.value("Topic", ""), queue.clone()];
    want(wrong, wanted.iter().all(|w| targets.contains(w)), || format!("state changes go to {targets:?}"));
    let statements = list(&stack.properties("StateChangeQueuePolicy")["PolicyDocument"]["Statement"]);
    let allow: Vec<&Value> = statements.iter().filter(|s| s["Effect"] == "Allow").collect();
    let right = allow.len() == 1
        && allow[0]["Principal"]["Service"] == "events.amazonaws.com"
        && allow[0]["Action"] == "sqs:SendMessage"
        && allow[0]["Resource"] == queue
        && allow[0]["Condition"]["ArnEquals"]["aws:SourceArn"] == stack.value("StateChangeRule", "Arn")
        && allow[0]["Condition"]["StringEquals"]["aws:SourceAccount"] == world::ACCOUNT;
    want(wrong, right, || format!("into the queue of state changes: {allow:?}"));
}

/// What the worker says in a log line about a finished picture.
const FINISHED: &str = include_str!("../../../src/job/renditions.rs");
/// What it says about one that failed, and how lines are written.
const FAILED: &str = include_str!("../../../src/worker/handle.rs");
const LINES: &str = include_str!("../../../src/ops/logs.rs");

/// The fields that a Logs Insights query asks for: what is no function, no alias and no word of the language.
fn fields(query: &str) -> Vec<&str> {
    const LANGUAGE: [&str; 8] = ["SOURCE", "filter", "fields", "stats", "sort", "by", "and", "desc"];
    let mut aliases = vec!["as"];
    let mut found = Vec::new();
    // Every other part is in quotes.
    for part in query.split('\'').step_by(2) {
        let mut rest = part;
        while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
            let word = &rest[start..];
            let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(word.len());
            let after_as = rest[..start].trim_end().is_empty() && found.last() == Some(&"as");
            rest = &word[end..];
            match &word[..end] {
                alias if after_as => aliases.push(alias),
                number if number.starts_with(|c: char| c.is_ascii_digit()) => {}
                _ if rest.starts_with('(') => {}
                field => found.push(field),
            }
        }
    }
    found.retain(|f| !aliases.contains(f) && !LANGUAGE.contains(f));
    found
}

/// Failures are counted by what the line of a rejected picture has, at the level that it has.
fn failures(query: &str, wrong: &mut Vec<String>) {
    let line = FAILED.lines().find(|l| l.contains("%key") && l.contains("rejected:")).unwrap_or_default();
    let level = line.trim().split('!').next().unwrap_or_default().to_uppercase();
    want(wrong, query.contains(&format!("level = '{level}'")), || format!("failures are lines of {level:?}"));
    want(wrong, LINES.contains("flatten_event(true)"), || "fields are told below another".into());
    for field in fields(query) {
        let told =
            field == "level" || line.contains(&format!("%{field},")) || line.contains(&format!("{field} = "));
        want(wrong, told, || format!("the line of a failure has no {field}"));
    }
}

fn dashboard(stack: &Stack, wrong: &mut Vec<String>) {
    let body = stack.properties("Dashboard")["DashboardBody"].as_str().unwrap_or_default();
    let board: Value = match serde_json::from_str(body) {
        Ok(board) => board,
        Err(e) => return wrong.push(format!("the dashboard is no JSON: {e}")),
    };
    let mut titles = String::new();
    for widget in list(&board["widgets"]) {
        let properties = &widget["properties"];
        let title = properties["title"].as_str().unwrap_or_default();
        titles.push_str(&title.to_lowercase());
        want(wrong, properties["region"] == stack.place.region, || format!("{title}: another region"));
        if widget["type"] == "log" {
            let query = properties["query"].as_str().unwrap_or_default();
            let group = format!("SOURCE '{}'", stack.value("LogGroup", ""));
            want(wrong, query.starts_with(&group), || format!("{title} reads other logs"));
            if title.contains("Failures") {
                failures(query, wrong);
                continue;
            }
            let fields = fields(query);
            want(wrong, !fields.is_empty(), || format!("{title} asks for nothing"));
            for field in fields {
                want(wrong, FINISHED.contains(&format!("{field} = ")), || format!("no log line has {field}"));
            }
        } else {
            self::widget(stack, title, list(&properties["metrics"]), wrong);
        }
    }
    for word in
        ["backlog", "tasks", "messages done a second", "p50", "p99", "failures", "dead letters", "a million"]
    {
        want(wrong, titles.contains(word), || format!("the dashboard does not show {word}"));
    }
}

/// A widget's metrics: `[namespace, name, dimension, value …, {options}]`, where a dot repeats what stands
/// above it.
fn widget(stack: &Stack, title: &str, metrics: &[Value], wrong: &mut Vec<String>) {
    let mut above: Vec<Value> = Vec::new();
    let mut samples = std::collections::BTreeMap::new();
    let mut expressions = Vec::new();
    for row in metrics {
        let mut row = list(row).to_vec();
        let options = row.pop_if(|last| last.is_object()).unwrap_or_default();
        if let Some(expression) = options["expression"].as_str() {
            expressions.push(expression.to_owned());
            continue;
        }
        let repeat = |(i, v): (usize, &Value)| if v == "." { above.get(i).cloned() } else { Some(v.clone()) };
        row = row.iter().enumerate().filter_map(repeat).collect();
        let dimension = |pair: &[Value]| json!({"Name": pair[0], "Value": pair.get(1)});
        let dimensions: Vec<Value> = row.get(2..).unwrap_or_default().chunks(2).map(dimension).collect();
        let whole = json!({"Namespace": row.first(), "MetricName": row.get(1), "Dimensions": dimensions});
        metric(stack, title, &whole, wrong);
        samples.insert(text(&options["id"]).unwrap_or_default(), vec![Some(30.0), None]);
        above = row;
    }
    for expression in expressions {
        let result = math::evaluate(&expression, &samples, 60.0);
        let gives = result.as_ref().is_ok_and(|r| r[0].is_some_and(f64::is_finite));
        want(wrong, gives, || format!("{title}: {expression} gives {result:?}"));
        if let (true, Ok(series)) = (title.contains("million"), &result) {
            // 30 tasks that do 30 pictures a minute: a task-minute a picture.
            let price: f64 = stack.parameter("TaskHourPrice").parse().unwrap_or(0.0);
            let right = series[0].is_some_and(|c| (c - price / 60.0 * 1e6).abs() < 1e-6);
            want(wrong, right, || format!("{title}: {result:?}"));
        }
    }
}
