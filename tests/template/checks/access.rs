//! Roles: exactly what is needed, on exactly what is ours, for nobody but whom they are meant for.

use super::compute::on_ec2;
use super::want;
use crate::template::{Stack, list, text, texts, walk, world};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// (action, resource) pairs that a role's policies allow.
pub fn grants(stack: &Stack, role: &str) -> BTreeSet<(String, String)> {
    let mut pairs = BTreeSet::new();
    for policy in list(&stack.properties(role)["Policies"]) {
        for statement in list(&policy["PolicyDocument"]["Statement"]) {
            for action in texts(&statement["Action"]) {
                pairs.extend(texts(&statement["Resource"]).into_iter().map(|r| (action.clone(), r)));
            }
        }
    }
    pairs
}

pub fn check(stack: &Stack, wrong: &mut Vec<String>) {
    for (name, role) in stack.of_kind("AWS::IAM::Role") {
        let boundary = text(&role["PermissionsBoundary"]).unwrap_or_default();
        want(wrong, boundary == stack.parameter("PermissionsBoundaryArn"), || {
            format!("{name}: {boundary:?}")
        });
        // Only what scripts may is somebody else's to say, and the tasks' alone.
        let scripts = stack.parameter("TaskPolicyArn");
        let given = if name == "TaskRole" && !scripts.is_empty() { vec![scripts] } else { Vec::new() };
        want(wrong, texts(&role["ManagedPolicyArns"]) == given, || format!("{name} has other policies"));
        want(wrong, role["RoleName"].is_null(), || format!("{name} is named by hand"));
        for policy in list(&role["Policies"]) {
            for statement in list(&policy["PolicyDocument"]["Statement"]) {
                let whole = texts(&statement["Action"]).iter().any(|a| a.contains('*'));
                want(wrong, !whole && statement["Effect"] == "Allow", || format!("{name}: {statement}"));
            }
        }
    }
    exactly(stack, "TaskRole", &task_role(stack), wrong);
    exactly(stack, "ExecutionRole", &execution_role(stack), wrong);
    trusted(stack, wrong);
    conditions(stack, wrong);
    every_arn_is_of_this_partition(stack, wrong);
}

fn exactly(stack: &Stack, role: &str, wanted: &BTreeSet<(String, String)>, wrong: &mut Vec<String>) {
    let found = grants(stack, role);
    for (action, resource) in found.difference(wanted) {
        wrong.push(format!("{role} may {action} on {resource} for nothing"));
    }
    for (action, resource) in wanted.difference(&found) {
        wrong.push(format!("{role} may not {action} on {resource}"));
    }
}

fn task_role(stack: &Stack) -> BTreeSet<(String, String)> {
    let (queue, letters) = (stack.value("Queue", "Arn"), stack.value("DeadLetterQueue", "Arn"));
    // The page asks how long they are, looks at letters, and is reached through ECS Exec only.
    let counted = [&queue, &letters].map(|arn| ("sqs:GetQueueAttributes", arn.clone()));
    let seen = ("sqs:ReceiveMessage", letters.clone());
    let bucket = |name: &str| format!("arn:{}:s3:::{name}", stack.place.partition);
    let (input, output) = (bucket(&stack.input_bucket()), stack.value("OutputBucket", "Arn"));
    let mut pairs = vec![
        ("sqs:ReceiveMessage", queue.clone()),
        ("sqs:ChangeMessageVisibility", queue.clone()),
        ("sqs:DeleteMessage", queue),
        ("sqs:SendMessage", letters),
        ("s3:GetObject", format!("{input}/*")),
        ("s3:GetObjectVersion", format!("{input}/*")),
        ("s3:ListBucket", input),
        ("s3:PutObject", format!("{output}/*")),
        ("s3:GetObject", format!("{output}/*")),
        ("s3:ListBucket", output),
    ];
    let key = stack.parameter("KmsKeyArn").to_owned();
    if !key.is_empty() {
        pairs.extend([("kms:Decrypt", key.clone()), ("kms:GenerateDataKey", key)]);
    }
    let jobs = stack.parameter("WorkBucketName");
    if !jobs.is_empty() {
        // An action on objects means nothing of a bucket, nor the other way round.
        for action in ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"] {
            pairs.push((action, bucket(&format!("{jobs}/*"))));
        }
        pairs.push(("s3:ListBucket", bucket(jobs)));
    }
    let protection = stack.parameter("TaskProtection");
    if matches!(protection, "auto" | "long") || protection.is_empty() && !jobs.is_empty() {
        let tasks = stack.place.arn("ecs", &format!("task/{}/*", stack.value("Cluster", "")));
        pairs.push(("ecs:UpdateTaskProtection", tasks));
    }
    if stack.parameter("EnableExec") == "true" {
        pairs.extend(counted);
        pairs.push(seen);
        for action in ["CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel"] {
            pairs.push((Box::leak(format!("ssmmessages:{action}").into_boxed_str()), "*".into()));
        }
    }
    pairs.into_iter().map(|(a, r)| (a.to_owned(), r)).collect()
}

fn execution_role(stack: &Stack) -> BTreeSet<(String, String)> {
    let images = format!("arn:{}:ecr:*:{}:repository/*", stack.place.partition, world::ACCOUNT);
    let logs = stack.value("LogGroup", "Arn");
    let pairs = [
        ("ecr:GetAuthorizationToken", "*"),
        ("ecr:BatchCheckLayerAvailability", &images),
        ("ecr:BatchGetImage", &images),
        ("ecr:GetDownloadUrlForLayer", &images),
        ("logs:CreateLogStream", &logs),
        ("logs:PutLogEvents", &logs),
    ];
    pairs.map(|(a, r)| (a.to_owned(), r.to_owned())).into()
}

/// What the agent calls that is about a container instance: these, and no others of them, know `ecs:cluster`.
const ON_INSTANCES: [&str; 3] =
    ["ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState"];

fn instance_role(stack: &Stack) -> BTreeSet<(String, String)> {
    let cluster = stack.value("Cluster", "Arn");
    let on_cluster = [
        "ecs:RegisterContainerInstance",
        "ecs:DeregisterContainerInstance",
        "ecs:SubmitAttachmentStateChanges",
        "ecs:SubmitContainerStateChange",
        "ecs:SubmitTaskStateChange",
    ];
    let on_cluster = on_cluster.map(|a| (a.to_owned(), cluster.clone()));
    let elsewhere = ON_INSTANCES.iter().chain(&["ecs:DiscoverPollEndpoint"]);
    on_cluster.into_iter().chain(elsewhere.map(|a| ((*a).to_owned(), "*".to_owned()))).collect()
}

/// Who may take a role, and only for this account's own resources.
fn trusted(stack: &Stack, wrong: &mut Vec<String>) {
    let account = json!({"aws:SourceAccount": world::ACCOUNT});
    let tasks = json!({"StringEquals": account, "ArnLike": {"aws:SourceArn": stack.place.arn("ecs", "*")}});
    let mut wanted = vec![
        ("TaskRole", "ecs-tasks.amazonaws.com".to_owned(), tasks.clone()),
        ("ExecutionRole", "ecs-tasks.amazonaws.com".to_owned(), tasks),
    ];
    if stack.has("ScheduleGroup") {
        let group = json!({"aws:SourceArn": stack.value("ScheduleGroup", "Arn")});
        let condition = json!({"StringEquals": account, "ArnEquals": group});
        wanted.push(("SchedulerRole", "scheduler.amazonaws.com".to_owned(), condition));
    }
    if on_ec2(stack) {
        wanted.push(("InstanceRole", format!("ec2.{}", stack.place.url_suffix), Value::Null));
    }
    let roles: BTreeSet<&str> = stack.of_kind("AWS::IAM::Role").map(|(name, _)| name).collect();
    let known: BTreeSet<&str> = wanted.iter().map(|(name, ..)| *name).collect();
    want(wrong, roles == known, || format!("roles: {roles:?}"));
    for (name, service, condition) in wanted {
        let document = &stack.properties(name)["AssumeRolePolicyDocument"];
        let statements = list(&document["Statement"]);
        let [statement] = statements else {
            wrong.push(format!("{name} is trusted to {} statements", statements.len()));
            continue;
        };
        want(wrong, statement["Principal"] == json!({"Service": service}), || {
            format!("{name} can be taken by {}", statement["Principal"])
        });
        want(wrong, statement["Condition"] == condition, || format!("{name}, if {}", statement["Condition"]));
        want(wrong, statement["Action"] == "sts:AssumeRole", || format!("{name}: {}", statement["Action"]));
    }
}

/// Grants on `*` are only those that know no resource, or are bound by a condition.
fn conditions(stack: &Stack, wrong: &mut Vec<String>) {
    const WITHOUT_RESOURCE: [&str; 2] = ["ecr:GetAuthorizationToken", "ecs:DiscoverPollEndpoint"];
    for (name, role) in stack.of_kind("AWS::IAM::Role") {
        for policy in list(&role["Policies"]) {
            for statement in list(&policy["PolicyDocument"]["Statement"]) {
                let actions = texts(&statement["Action"]);
                let bound = statement["Condition"].is_object()
                    || actions
                        .iter()
                        .all(|a| WITHOUT_RESOURCE.contains(&a.as_str()) || a.starts_with("ssmmessages:"));
                let everything = texts(&statement["Resource"]).contains(&"*".to_owned());
                want(wrong, !everything || bound, || format!("{name}: {actions:?} on everything"));
            }
        }
    }
    if on_ec2(stack) {
        exactly(stack, "InstanceRole", &instance_role(stack), wrong);
        let bound = json!({"ArnEquals": {"ecs:cluster": stack.value("Cluster", "Arn")}});
        for policy in list(&stack.properties("InstanceRole")["Policies"]) {
            for statement in list(&policy["PolicyDocument"]["Statement"]) {
                for action in texts(&statement["Action"]) {
                    // To all others `ecs:cluster` is unknown, and what asks for an unknown key is denied.
                    let right = if ON_INSTANCES.contains(&action.as_str()) { &bound } else { &Value::Null };
                    let found = &statement["Condition"];
                    want(wrong, found == right, || format!("instances may {action} if {found}"));
                }
            }
        }
    }
    if stack.has("SchedulerRole") {
        let service = stack.value("Service", "");
        let target = stack.place.arn("application-autoscaling", "scalable-target/*");
        let wanted = [
            ("application-autoscaling:RegisterScalableTarget", &target),
            ("ecs:DescribeServices", &service),
            ("ecs:UpdateService", &service),
        ];
        let wanted = wanted.map(|(a, r)| (a.to_owned(), r.clone())).into();
        exactly(stack, "SchedulerRole", &wanted, wrong);
    }
    if !stack.parameter("KmsKeyArn").is_empty() {
        let statements = list(&stack.properties("TaskRole")["Policies"][0]["PolicyDocument"]["Statement"]);
        let key = statements.iter().find(|s| texts(&s["Action"]).contains(&"kms:Decrypt".to_owned()));
        // Each partition has a domain of its own; in China it is told with .cn or without.
        let via = ["s3", "sqs"].map(|s| format!("{s}.{}.*", stack.place.region));
        let found = key.map(|s| texts(&s["Condition"]["StringLike"]["kms:ViaService"])).unwrap_or_default();
        want(wrong, found == via, || format!("the key can be used via {found:?}"));
    }
}

fn every_arn_is_of_this_partition(stack: &Stack, wrong: &mut Vec<String>) {
    let right = format!("arn:{}:", stack.place.partition);
    for (name, resource) in &stack.resources {
        walk(resource, name, &mut |path, text| {
            let foreign = text.match_indices("arn:").any(|(at, _)| !text[at..].starts_with(&right));
            want(wrong, !foreign, || format!("{path}: {text}"));
        });
    }
}
