//! The worker under the very policy that the template gives its task role, on a server that enforces it; then
//! with each grant taken away in turn. `.ci/run` starts ministack for it, with AUTH=true.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

#[path = "iam/account.rs"]
mod account;
#[path = "iam/as_s3.rs"]
mod as_s3;
mod common;
#[path = "template/mod.rs"]
mod template;

use account::{Account, Session};
use common::pictures::{jpeg, picture};
use common::process::{Process, longshore, run_aside};
use common::stage::Stage;
use common::{LIMIT, wait_for};
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
    assert!(found.len() >= 9, "{text}{errors}");
    found
}

fn start(stage: &Stage, session: &Session, endpoint: &str) -> Process {
    let mut command = command(stage, session, endpoint);
    command.arg("work");
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
        .env("LONGSHORE_ADMIN_ADDR", "off")
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
    // The one with the most statements: a customer key and protection of tasks as well.
    let stack = template::stack(sets::EXISTING);
    let account = Account::open().await;
    let stage = account.stage(stack).await;
    let large = jpeg(&picture(5000, 4000));
    let (role, unseen): (Vec<_>, Vec<_>) = grants(stack, "TaskRole")
        .into_iter()
        .partition(|(a, _)| a.starts_with("sqs:") || a.starts_with("s3:"));
    assert!(role.len() >= 10, "{role:?}");
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
    let mut worker = start(&stage, &session, &stage.world.endpoint);
    let started = Instant::now();
    while stage.depth(&stage.queue).await != (0, 0) {
        assert!(started.elapsed() < LIMIT, "the queue does not empty\n{}", worker.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let keys = stage.output_keys().await;
    for name in ["twice-0", "version", "again-0", "large"] {
        assert!(keys.contains(&format!("thumbs/{name}.jpg")), "no {name} in {keys:?}\n{}", worker.log());
    }
    assert_eq!(stage.dead_letter().await.reason(), "not-an-image");
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
        let mut worker = start(&stage, &session, &endpoint);
        let line =
            worker.wait_for_line_with(&[action, "403|AccessDenied|not authorized"], Duration::from_secs(60));
        println!("without {action} on {resource}: {line}");
        worker.signal("KILL");
    }
}
