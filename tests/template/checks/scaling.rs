//! The service scales by what waits and what is in work, to zero and back.

use super::want;
use crate::template::math::{self, Series};
use crate::template::{Stack, list, text, texts};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What CloudWatch knows: metric name, its dimensions' names, and which resources give their values.
type Dimensions = &'static [(&'static str, &'static str)];
const METRICS: [(&str, &str, Dimensions); 8] = [
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", QUEUE),
    ("AWS/SQS", "ApproximateNumberOfMessagesNotVisible", QUEUE),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", QUEUE),
    ("AWS/SQS", "NumberOfMessagesDeleted", QUEUE),
    ("AWS/SQS", "NumberOfMessagesSent", QUEUE),
    ("ECS/ContainerInsights", "RunningTaskCount", SERVICE),
    ("ECS/ContainerInsights", "DesiredTaskCount", SERVICE),
    ("ECS/ContainerInsights", "PendingTaskCount", SERVICE),
];
const QUEUE: Dimensions = &[("QueueName", "")];
const SERVICE: Dimensions = &[("ClusterName", "Cluster"), ("ServiceName", "Service")];

/// Dimensions are names: with an ARN or a URL a metric is never found, and nothing ever says so.
pub fn metric(stack: &Stack, place: &str, metric: &Value, wrong: &mut Vec<String>) {
    let (space, name) = (&metric["Namespace"], &metric["MetricName"]);
    let known = METRICS.iter().find(|(s, n, _)| space == *s && name == *n);
    let Some((.., dimensions)) = known else {
        return wrong.push(format!("{place}: there is no metric {space} {name}"));
    };
    let mut found: Vec<(String, String)> = list(&metric["Dimensions"])
        .iter()
        .map(|d| (text(&d["Name"]).unwrap_or_default(), text(&d["Value"]).unwrap_or_default()))
        .collect();
    found.sort();
    let names: Vec<&str> = found.iter().map(|(n, _)| n.as_str()).collect();
    let wanted: Vec<&str> = dimensions.iter().map(|(n, _)| *n).collect();
    want(wrong, names == wanted, || format!("{place}: {name} has dimensions {names:?}"));
    let queues = ["Queue", "DeadLetterQueue"].map(|q| stack.value(q, "QueueName"));
    for (dimension, value) in &found {
        let right = match dimension.as_str() {
            "QueueName" => queues.contains(value),
            "ClusterName" => *value == stack.value("Cluster", ""),
            _ => *value == stack.value("Service", "Name"),
        };
        want(wrong, right, || format!("{place}: {dimension} is {value}"));
    }
}

/// The queries of an alarm or a policy: exactly one is looked at, all others feed it.
pub fn queries(stack: &Stack, place: &str, queries: &[Value], wrong: &mut Vec<String>) -> Option<String> {
    let mut known = Vec::new();
    let mut expressions = Vec::new();
    let mut returned = 0;
    for query in queries {
        let id = text(&query["Id"]).unwrap_or_default();
        let lower = id.starts_with(|c: char| c.is_ascii_lowercase());
        want(wrong, lower && !known.contains(&id), || format!("{place}: an id is {id:?}"));
        if let Some(expression) = query["Expression"].as_str() {
            expressions.push(expression.to_owned());
        } else {
            metric(stack, place, &query["MetricStat"]["Metric"], wrong);
        }
        // Absent means true.
        returned += usize::from(query["ReturnData"] != false);
        known.push(id);
    }
    want(wrong, returned == 1, || format!("{place}: {returned} queries are looked at"));
    for expression in &expressions {
        for name in math::metrics_of(expression).unwrap_or_default() {
            want(wrong, known.contains(&name), || format!("{place}: there is no query {name}"));
        }
    }
    let looked_at = queries.iter().find(|q| q["ReturnData"] != false)?;
    looked_at["Expression"].as_str().map(str::to_owned)
}

/// Which statistic of which metric an expression is made of. Counts are told several times a minute: their sum is
/// no count, and SampleCount says how often they were told.
pub fn statistics(place: &str, queries: &[Value], wanted: &[(&str, &str)], wrong: &mut Vec<String>) {
    let told = queries.iter().map(|q| &q["MetricStat"]).filter(|s| !s.is_null());
    let found: Vec<(&str, &str)> =
        told.filter_map(|s| Some((s["Metric"]["MetricName"].as_str()?, s["Stat"].as_str()?))).collect();
    want(wrong, found == wanted, || format!("{place} looks at {found:?}"));
}

/// Holds an expression against samples: what the queries give, by metric name, and what must come of it.
type Sample<'a> = (&'a [(&'a str, Option<f64>)], Option<f64>);

fn evaluates(queries: &[Value], expression: &str, samples: &[Sample], wrong: &mut Vec<String>) {
    for (values, expected) in samples {
        let given = |q: &Value| {
            let name = q["MetricStat"]["Metric"]["MetricName"].as_str()?;
            let value = values.iter().find(|(n, _)| *n == name).and_then(|(_, v)| *v);
            Some((text(&q["Id"]).ok()?, vec![value]))
        };
        let metrics: BTreeMap<String, Series> = queries.iter().filter_map(given).collect();
        let result = math::evaluate(expression, &metrics, 60.0);
        want(wrong, result == Ok(vec![*expected]), || {
            format!("{expression} of {values:?} is {result:?}, not {expected:?}")
        });
    }
}

pub const VISIBLE: &str = "ApproximateNumberOfMessagesVisible";
const HIDDEN: &str = "ApproximateNumberOfMessagesNotVisible";
pub const RUNNING: &str = "RunningTaskCount";
pub const DESIRED: &str = "DesiredTaskCount";

pub fn check(stack: &Stack, wrong: &mut Vec<String>) {
    target(stack, wrong);
    tracking(stack, wrong);
    wake(stack, wrong);
    schedule(stack, wrong);
    for (name, policy) in stack.of_kind("AWS::ApplicationAutoScaling::ScalingPolicy") {
        let target = stack.value("ScalableTarget", "");
        want(wrong, policy["ScalingTargetId"] == target, || format!("{name} scales something else"));
    }
    // The metric is told only then.
    let insights = json!({"Name": "containerInsights", "Value": "enabled"});
    let settings = list(&stack.properties("Cluster")["ClusterSettings"]);
    want(wrong, settings.contains(&insights), || "nobody counts running tasks".into());
}

fn target(stack: &Stack, wrong: &mut Vec<String>) {
    let target = stack.properties("ScalableTarget");
    let wanted = format!("service/{}/{}", stack.value("Cluster", ""), stack.value("Service", "Name"));
    want(wrong, target["ResourceId"] == wanted, || format!("{} scales", target["ResourceId"]));
    want(wrong, target["ServiceNamespace"] == "ecs", || format!("in {}", target["ServiceNamespace"]));
    want(wrong, target["ScalableDimension"] == "ecs:service:DesiredCount", || "another dimension".into());
    for (bound, parameter) in [("MinCapacity", "MinTasks"), ("MaxCapacity", "MaxTasks")] {
        let found = text(&target[bound]).unwrap_or_default();
        want(wrong, found == stack.parameter(parameter), || format!("{bound} is {found}"));
    }
}

fn tracking(stack: &Stack, wrong: &mut Vec<String>) {
    let policy = stack.properties("BacklogPolicy");
    want(wrong, policy["PolicyType"] == "TargetTrackingScaling", || "no target tracking".into());
    let policy = &policy["TargetTrackingScalingPolicyConfiguration"];
    let target = text(&policy["TargetValue"]).unwrap_or_default();
    want(wrong, target == stack.parameter("BacklogPerTask"), || format!("the target is {target}"));
    want(wrong, policy["DisableScaleIn"] != true, || "it never scales in".into());
    // A task takes a minute to run, and its metric two to be told.
    let told = policy["ScaleOutCooldown"].as_u64().is_some_and(|s| s >= 180);
    want(wrong, told, || "the same backlog is answered again before new tasks are counted".into());
    let specification = &policy["CustomizedMetricSpecification"];
    let queries = list(&specification["Metrics"]);
    let expression = self::queries(stack, "the backlog", queries, wrong).unwrap_or_default();
    let wanted = [(VISIBLE, "Maximum"), (HIDDEN, "Maximum"), (RUNNING, "Average")];
    statistics("the backlog", queries, &wanted, wrong);
    // By itself target tracking looks at whole minutes.
    let minutes = queries.iter().map(|q| &q["MetricStat"]["Period"]).all(|p| p.is_null() || *p == 60);
    want(wrong, minutes, || "the backlog is not looked at every minute".into());
    let samples: [Sample; 9] = [
        (&[(VISIBLE, Some(90.0)), (HIDDEN, Some(10.0)), (RUNNING, Some(4.0))], Some(25.0)),
        // What is in work alone keeps its task.
        (&[(VISIBLE, Some(0.0)), (HIDDEN, Some(6.0)), (RUNNING, Some(2.0))], Some(3.0)),
        // NotVisible is told only while messages are in flight.
        (&[(VISIBLE, Some(50.0)), (HIDDEN, None), (RUNNING, Some(5.0))], Some(10.0)),
        (&[(VISIBLE, Some(0.0)), (HIDDEN, None), (RUNNING, Some(5.0))], Some(0.0)),
        (&[(VISIBLE, Some(50.0)), (HIDDEN, None), (RUNNING, Some(0.0))], Some(50.0)),
        (&[(VISIBLE, Some(50.0)), (HIDDEN, Some(0.0)), (RUNNING, Some(1.0))], Some(50.0)),
        // While a task runs its receives keep the queue in use, so SQS tells how many wait, and Container Insights
        // that it runs. Where one of the two is missing it is late, and a number made up for it would be wrong: no
        // backlog where there is one, or one task with the backlog of all. Target tracking waits for gaps to close.
        (&[(VISIBLE, None), (HIDDEN, Some(5.0)), (RUNNING, Some(5.0))], None),
        (&[(VISIBLE, Some(50.0)), (HIDDEN, Some(5.0)), (RUNNING, None)], None),
        // A queue that was left alone for six hours tells nothing at all; nothing runs then.
        (&[(VISIBLE, None), (HIDDEN, None), (RUNNING, None)], None),
    ];
    evaluates(queries, &expression, &samples, wrong);
}

fn wake(stack: &Stack, wrong: &mut Vec<String>) {
    let to_zero = stack.parameter("MinTasks") == "0";
    want(wrong, stack.has("WakeAlarm") == to_zero && stack.has("WakePolicy") == to_zero, || {
        "it wakes exactly when it may sleep".into()
    });
    if !to_zero {
        return;
    }
    let alarm = stack.properties("WakeAlarm");
    want(wrong, texts(&alarm["AlarmActions"]) == [stack.value("WakePolicy", "")], || {
        "the wake alarm wakes nobody".into()
    });
    let queries = list(&alarm["Metrics"]);
    let expression = self::queries(stack, "the wake alarm", queries, wrong).unwrap_or_default();
    // How many are wanted is not told while nothing runs: the cooldown alone keeps a second start off.
    let wanted = [VISIBLE, RUNNING].map(|metric| (metric, "Maximum"));
    statistics("the wake alarm", queries, &wanted, wrong);
    let samples: [Sample; 6] = [
        (&[(VISIBLE, Some(1.0)), (RUNNING, Some(0.0))], Some(1.0)),
        (&[(VISIBLE, Some(1.0)), (RUNNING, None)], Some(1.0)),
        (&[(VISIBLE, Some(0.0)), (RUNNING, Some(0.0))], Some(0.0)),
        (&[(VISIBLE, Some(0.0)), (RUNNING, None)], Some(0.0)),
        (&[(VISIBLE, Some(9.0)), (RUNNING, Some(1.0))], Some(0.0)),
        // Late is a gap: as a 0 it would be the newest minute for ever.
        (&[(VISIBLE, None), (RUNNING, None)], None),
    ];
    evaluates(queries, &expression, &samples, wrong);
    want(wrong, breaches(alarm, 1.0) && !breaches(alarm, 0.0), || "1 is to breach, 0 is not".into());
    // Two minutes, as one alone may be one that Container Insights has not told yet; out of three, as any may be late.
    let two_of_three = alarm["EvaluationPeriods"] == 3 && alarm["DatapointsToAlarm"] == 2;
    want(wrong, two_of_three, || "it wakes late, or for nothing".into());

    let policy = &stack.properties("WakePolicy")["StepScalingPolicyConfiguration"];
    // What is wanted is not looked at, so this is all that keeps an image that cannot start from a fleet of them.
    want(wrong, policy["Cooldown"].as_u64().is_some_and(|s| s >= 600), || {
        "it wakes one after the other".into()
    });
    let adds = policy["AdjustmentType"] == "ChangeInCapacity";
    want(wrong, adds, || format!("{} beside target tracking", policy["AdjustmentType"]));
    for step in list(&policy["StepAdjustments"]) {
        let add = step["ScalingAdjustment"].as_i64().unwrap_or(0);
        want(wrong, add == 1, || format!("a step of {add}"));
        // Bounds count from the alarm's threshold, and 1 is the threshold.
        want(wrong, step["MetricIntervalLowerBound"] == 0, || format!("a step from {step}"));
    }
}

/// How many minutes more than its periods an alarm looks back for values, where some are missing.
const SPARE: usize = 3;

/// Whether an alarm is on, by what its expression gives of each minute up to now, as CloudWatch describes it: gaps are
/// left out as long as there are values enough; what is missing then breaches nothing (`notBreaching`).
pub fn rings(alarm: &Value, minutes: &[Option<f64>]) -> bool {
    let whole = |name: &str| alarm[name].as_u64().and_then(|n| usize::try_from(n).ok());
    let periods = whole("EvaluationPeriods").unwrap_or(1);
    let lately = &minutes[minutes.len().saturating_sub(periods + SPARE)..];
    let told = lately.iter().rev().flatten().take(periods);
    told.filter(|value| breaches(alarm, **value)).count() >= whole("DatapointsToAlarm").unwrap_or(periods)
}

/// Whether a value sets off an alarm.
pub fn breaches(alarm: &Value, value: f64) -> bool {
    let threshold = text(&alarm["Threshold"]).ok().and_then(|t| t.parse::<f64>().ok()).unwrap_or(f64::NAN);
    match alarm["ComparisonOperator"].as_str() {
        Some("GreaterThanOrEqualToThreshold") => value >= threshold,
        Some("GreaterThanThreshold") => value > threshold,
        Some("LessThanThreshold") => value < threshold,
        Some("LessThanOrEqualToThreshold") => value <= threshold,
        _ => false,
    }
}

fn schedule(stack: &Stack, wrong: &mut Vec<String>) {
    let floor = stack.parameter("ScheduledMinTasks");
    let schedules: Vec<(&str, &Value)> = stack.of_kind("AWS::Scheduler::Schedule").collect();
    want(wrong, (floor == "0") == schedules.is_empty(), || format!("{} schedules", schedules.len()));
    let most = |name| stack.parameter(name).parse::<u64>().unwrap_or(0);
    want(wrong, most("ScheduledMinTasks") <= most("MaxTasks"), || "more tasks scheduled than allowed".into());
    for (name, schedule) in schedules {
        let (least, when) = match name {
            "RaiseFloor" => (floor, "ScheduleStart"),
            _ => (stack.parameter("MinTasks"), "ScheduleEnd"),
        };
        want(wrong, schedule["ScheduleExpression"] == stack.parameter(when), || format!("{name}: when"));
        let zone = stack.parameter("ScheduleTimezone");
        want(wrong, schedule["ScheduleExpressionTimezone"] == zone, || format!("{name}: time zone"));
        let target = &schedule["Target"];
        let call = ":scheduler:::aws-sdk:applicationautoscaling:registerScalableTarget";
        let arn = target["Arn"].as_str().unwrap_or_default();
        want(wrong, arn.ends_with(call), || format!("{name} calls {arn}"));
        want(wrong, target["RoleArn"] == stack.value("SchedulerRole", "Arn"), || format!("{name}: role"));
        let input: Value =
            serde_json::from_str(target["Input"].as_str().unwrap_or_default()).unwrap_or_default();
        let scaled = stack.properties("ScalableTarget");
        let wanted = json!({
            "ServiceNamespace": "ecs", "ScalableDimension": "ecs:service:DesiredCount",
            "ResourceId": scaled["ResourceId"], "MinCapacity": least.parse::<u64>().unwrap_or(u64::MAX),
        });
        want(wrong, input == wanted, || format!("{name} says {input}, not {wanted}"));
    }
}
