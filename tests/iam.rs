//! The worker under the very policy that the template gives its task role, on a server that enforces it; then
//! with each grant taken away in turn. `.ci/run` starts ministack for it, with AUTH=true.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

#[path = "iam/account.rs"]
mod account;
#[path = "iam/as_s3.rs"]
mod as_s3;
#[path = "page/client.rs"]
#[allow(dead_code)] // the page has tests of its own
mod client;
mod common;
#[path = "faults/harness/ecs.rs"]
#[allow(dead_code)] // faults of the endpoint have tests of their own
mod ecs;
#[path = "iam/row.rs"]
mod row;
#[path = "template/mod.rs"]
mod template;

use account::{Account, Session};
use client::Events;
use common::pictures::{jpeg, picture};
use common::process::{Process, longshore, run_aside};
use common::stage::Stage;
use common::{LIMIT, wait_for};
use ecs::{Agent, Protection};
use longshore::command::layout::{self, State};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};
use template::checks::access::grants;
use template::{Stack, list, sets, texts};

/// What no run needs must not be granted, so each run does everything that a worker ever does.
async fn send_all_kinds(stage: &Stage, turn: usize, large: &[u8]) {
    let small = jpeg(&picture(60, 40));
    let send = |record: Value| async move { stage.send(stage.message(&[record])).await };
    // The same event twice: the second finds the first one's output, and looks at it.
    let key = format!("twice-{turn}.jpg");
    let etag = stage.upload(&key, small.clone()).await;
    for _ in 0..2 {
        send(stage.record(&key, &etag, "01")).await;
    }
    // A version of its own.
    let put = stage.world.s3.put_object().bucket(&stage.input).key("version.jpg").body(small.clone().into());
    let answer = put.send().await.unwrap();
    let etag = answer.e_tag().unwrap().trim_matches('"').to_owned();
    let mut record = stage.record("version.jpg", &etag, &format!("{:02}", turn + 1));
    record["s3"]["object"]["versionId"] = json!(answer.version_id().expect("the bucket keeps versions"));
    send(record).await;
    // Gone before it is looked at.
    send(stage.record(&format!("gone-{turn}.jpg"), "e", "01")).await;
    // Never a picture.
    let etag = stage.upload("broken.jpg", b"no picture".to_vec()).await;
    send(stage.record("broken.jpg", &etag, "01")).await;
    // Longer in work than a third of its visibility timeout.
    let etag = stage.upload("large.jpg", large.to_vec()).await;
    send(stage.record("large.jpg", &etag, &format!("{:02}", turn + 1))).await;
    // Behind the pictures: one of those is to be the one that was delivered before.
    row::submit(stage, work_bucket(), &row_of(turn)).await;
}

/// A message that was delivered before: its outputs are looked for first, and are not there.
async fn send_delivered_before(stage: &Stage, turn: usize) {
    let key = format!("again-{turn}.jpg");
    let etag = stage.upload(&key, jpeg(&picture(60, 40))).await;
    stage.send(stage.message(&[stage.record(&key, &etag, "01")])).await;
    wait_for("the first delivery", LIMIT, || async {
        let receive = stage.world.sqs.receive_message().queue_url(&stage.queue).visibility_timeout(0);
        let answer = receive.send().await.unwrap();
        answer.messages.filter(|m| !m.is_empty()).map(drop)
    })
    .await;
}

fn work_bucket() -> &'static str {
    template::stack(sets::EXISTING).parameter("WorkBucketName")
}

fn row_of(turn: usize) -> String {
    format!("row-{turn}")
}

/// What the worker's page cannot tell: how long the queue is that is worked on, and what is in the dead-letter queue.
/// The worker makes a letter by itself meanwhile.
fn page_tells(worker: &mut Process) -> [Value; 2] {
    let started: Value = serde_json::from_str(&worker.wait_for_line("started", LIMIT)).unwrap();
    let address = started["admin"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/');
    let mut events = Events::open(address, &[]);
    let letters = |letters: &Value| letters["seen"].as_u64() > Some(0) || letters["trouble"].is_string();
    let whole = events.next("whole", |_| true).unwrap();
    let letters = if letters(&whole["letters"]) {
        whole["letters"].clone()
    } else {
        events.next("letters", letters).unwrap()
    };
    let sample = events.next("sample", |s| s["waiting"].is_u64() || s["unasked"].is_string()).unwrap();
    [sample["unasked"].clone(), letters["trouble"].clone()]
}

const UNTRIED: [&str; 6] = [
    "s3:DeleteObject",
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "ecs:UpdateTaskProtection",
    "ssm:GetParameter",
    "secretsmanager:GetSecretValue",
];

/// The verdicts of `longshore config check`: action, where, word.
async fn verdicts(stage: &Stage, session: &Session, endpoint: &str) -> Vec<(String, String, String)> {
    let mut command = command(stage, session, endpoint);
    command.args(["config", "check", "--json"]).env("LONGSHORE_INPUT_BUCKETS", &stage.input);
    let (_, text, errors) = run_aside(command).await;
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let field = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    let probes = lines.filter(|line| line.get("action").is_some());
    let found: Vec<_> =
        probes.map(|l| (field(&l, "action"), field(&l, "on"), field(&l, "verdict"))).collect();
    assert!(found.len() >= 13, "{text}{errors}");
    // What cannot be tried without doing it, or without a task, a key or a secret.
    let (tried, untried): (Vec<_>, Vec<_>) = found.into_iter().partition(|(.., word)| word != "not tried");
    let untried: Vec<&str> = untried.iter().map(|(action, ..)| action.as_str()).collect();
    assert_eq!(untried, UNTRIED);
    tried
}

fn start(stage: &Stage, session: &Session, endpoint: &str, agent: &Agent) -> Process {
    let mut command = command(stage, session, endpoint);
    command.arg("work").env("ECS_AGENT_URI", &agent.uri);
    Process::start(command)
}

fn command(stage: &Stage, session: &Session, endpoint: &str) -> Command {
    let mut command = longshore();
    command
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ACCESS_KEY_ID", &session.key)
        .env("AWS_SECRET_ACCESS_KEY", &session.secret)
        .env("AWS_SESSION_TOKEN", &session.token)
        .env("LONGSHORE_REGION", account::REGION)
        .env("LONGSHORE_QUEUE_URL", &stage.queue)
        .env("LONGSHORE_DLQ_URL", &stage.dlq)
        .env("LONGSHORE_OUTPUT_BUCKET", &stage.output)
        .env("LONGSHORE_JOBS", "renditions,commands")
        .env("LONGSHORE_WORK_BUCKET", work_bucket())
        .env("LONGSHORE_TASK_PROTECTION", "auto")
        .env("LONGSHORE_ADMIN_ADDR", "127.0.0.1:0")
        .env("LONGSHORE_LOG_FORMAT", "json")
        .env("LONGSHORE_WAIT_TIME", "1")
        .env("LONGSHORE_VISIBILITY_TIMEOUT", "3")
        // The large picture takes longer than a third of that, on any machine.
        .env(
            "LONGSHORE_RENDITIONS",
            "a=5000x4000,progressive,444; b=4900x3900,progressive,444; thumbs=192x192",
        )
        .env("LONGSHORE_MAX_RENDER_TIME", "240s")
        .env("LONGSHORE_LOG", "info");
    command
}

/// The role's statements as they are in the template, conditions and all; without one grant, if one is named.
fn policy_without(stack: &Stack, left_out: Option<&(String, String)>) -> Value {
    let mut kept = Vec::new();
    for policy in list(&stack.properties("TaskRole")["Policies"]) {
        for statement in list(&policy["PolicyDocument"]["Statement"]) {
            // One for each resource, as a grant is one action on one resource.
            for resource in texts(&statement["Resource"]) {
                let mut actions = texts(&statement["Action"]);
                actions.retain(|action| left_out != Some(&(action.clone(), resource.clone())));
                // AWS knows no actions for batches: the single ones allow them. This server asks for both.
                let batches = actions.iter().filter(|a| a.starts_with("sqs:")).map(|a| format!("{a}Batch"));
                actions.extend(batches.collect::<Vec<_>>());
                let mut statement = statement.clone();
                // An id names one statement.
                statement.as_object_mut().unwrap().remove("Sid");
                (statement["Action"], statement["Resource"]) = (json!(actions), json!(resource));
                kept.extend((!actions.is_empty()).then_some(statement));
            }
        }
    }
    json!({"Version": "2012-10-17", "Statement": kept})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_role_is_enough_and_every_grant_of_it_is_needed() {
    // The one with the most statements: a customer key, rows, protection of tasks and a shell as well.
    let stack = template::stack(sets::EXISTING);
    let account = Account::open().await;
    let stage = account.stage(stack).await;
    let large = jpeg(&picture(5000, 4000));
    let (role, unseen): (Vec<_>, Vec<_>) = grants(stack, "TaskRole")
        .into_iter()
        .partition(|(a, _)| ["sqs:", "s3:", "ecs:"].iter().any(|service| a.starts_with(service)));
    assert!(role.len() >= 18, "{role:?}");
    let unseen: Vec<String> = unseen.into_iter().map(|(action, _)| action).collect();
    println!(
        "NOT RUN here: {} (with its conditions) is in the policy, but this server asks nobody for it, and takes \
         any trust policy",
        unseen.join(", ")
    );

    // Conditions count: with one that does not hold, nothing is allowed.
    let mut elsewhere = policy_without(stack, None);
    for statement in elsewhere["Statement"].as_array_mut().unwrap() {
        statement["Condition"]["StringEquals"]["aws:RequestedRegion"] = json!("us-east-2");
    }
    let session = account.assume("elsewhere", &elsewhere).await;
    let found = verdicts(&stage, &session, &stage.world.endpoint).await;
    assert!(found.iter().all(|(_, _, word)| word == "denied"), "{found:?}");

    // As the template has it.
    send_all_kinds(&stage, 0, &large).await;
    send_delivered_before(&stage, 0).await;
    let session = account.assume("whole", &policy_without(stack, None)).await;
    let denied = verdicts(&stage, &session, &stage.world.endpoint).await;
    assert!(denied.iter().all(|(_, _, word)| word == "allowed"), "{denied:?}");
    let agent = Agent::start().await;
    let mut worker = start(&stage, &session, &stage.world.endpoint, &agent);
    assert_eq!(page_tells(&mut worker), [Value::Null, Value::Null], "{}", worker.log());
    let started = Instant::now();
    while stage.depth(&stage.queue).await != (0, 0) {
        // The large picture is half a minute's work for a machine that has other things to do.
        assert!(started.elapsed() < 6 * LIMIT, "the queue does not empty\n{}", worker.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let keys = stage.output_keys().await;
    for name in ["twice-0", "version", "again-0", "large"] {
        assert!(keys.contains(&format!("thumbs/{name}.jpg")), "no {name} in {keys:?}\n{}", worker.log());
    }
    assert_eq!(stage.dead_letter().await.reason(), "not-an-image");
    let done = stage.get(work_bucket(), &layout::state(&row_of(0), State::Done, 1)).await;
    assert!(done.is_some(), "the row is not done\n{}", worker.log());
    let left = stage.get(work_bucket(), &layout::state(&row_of(0), State::Retried, 1)).await;
    assert!(left.is_none(), "the record of the first attempt is still there\n{}", worker.log());
    assert!(agent.asked().iter().any(|asked| asked.enabled), "nobody asked for protection");
    worker.signal("TERM");
    assert_eq!(worker.wait(LIMIT).code(), Some(0), "{}", worker.log());
    let log = worker.log();
    let denied = log.lines().find(|l| l.contains("not authorized") || l.contains("AccessDenied"));
    assert_eq!(denied, None, "the role is not enough");

    // Without each grant in turn: somebody must read of it in the log.
    for (index, (action, resource)) in role.iter().enumerate() {
        account.empty(&stage).await;
        send_all_kinds(&stage, index + 1, &large).await;
        send_delivered_before(&stage, index + 1).await;
        let name = format!("without-{index}");
        let session = account.assume(&name, &policy_without(stack, Some(&role[index]))).await;
        let unlisted = resource.rsplit(':').next().filter(|_| action == "s3:ListBucket");
        let endpoint = match unlisted {
            Some(bucket) => as_s3::in_front_of(&stage.world.endpoint, bucket).await,
            None => stage.world.endpoint.clone(),
        };
        let name = resource.rsplit(':').next().unwrap().trim_end_matches("/*");
        let found = verdicts(&stage, &session, &endpoint).await;
        for (probed, on, word) in found {
            // Without the right to list, S3 denies what is not there.
            let follows = unlisted.is_some() && probed.starts_with("s3:GetObject") && on.ends_with(name);
            let taken = probed == *action && on.ends_with(name);
            assert_eq!(word, if taken || follows { "denied" } else { "allowed" }, "{probed} on {on}");
        }
        let agent = Agent::start().await;
        if action == "ecs:UpdateTaskProtection" {
            // ECS is asked by way of the agent, which tells what ECS says of the task's role.
            agent.protection(Protection::Denied);
        }
        let mut worker = start(&stage, &session, &endpoint, &agent);
        let dead_letters = *resource == stack.value("DeadLetterQueue", "Arn");
        let line = if action == "sqs:GetQueueAttributes" || (action == "sqs:ReceiveMessage" && dead_letters) {
            let [queue, letters] = page_tells(&mut worker);
            let (denied, other) = if dead_letters { (letters, queue) } else { (queue, letters) };
            assert_eq!(other, Value::Null);
            denied.as_str().unwrap_or_default().to_owned()
        } else {
            // Two buckets have grants alike: the line is to be of the right one.
            let of_rows = if resource.contains(work_bucket()) { work_bucket() } else { "" };
            worker.wait_for_line_with(&[action, "403|AccessDenied|not authorized", of_rows], 3 * LIMIT)
        };
        assert!(line.contains(action.as_str()), "{line:?}");
        println!("without {action} on {resource}: {line}");
        worker.signal("KILL");
    }
}
