//! `longshore status`: what it shows, and what it says of that which it may not read.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

mod common;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use common::pictures::{jpeg, picture};
use common::process::{Process, longshore, run_aside, worker};
use common::stage::Stage;
use common::terminal::Terminal;
use common::{LIMIT, unique};
use longshore::local::s3;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

const FILTER: &str = "attribute:ecs.instance-type matches t2.*";

/// Every AWS service that the command asks beside SQS.
fn status(stage: &Stage, elsewhere: &str, arguments: &[&str]) -> Command {
    let mut command = longshore();
    command
        .arg("status")
        .args(arguments)
        .env("AWS_ENDPOINT_URL", elsewhere)
        .env("AWS_ENDPOINT_URL_SQS", &stage.world.endpoint)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", s3::SECRET_ACCESS_KEY)
        .env("AWS_MAX_ATTEMPTS", "1")
        .env("LONGSHORE_QUEUE_URL", &stage.queue);
    command
}

/// One look, as JSON; and the exit code.
async fn look(stage: &Stage, elsewhere: &str, arguments: &[&str]) -> (Option<i32>, Value) {
    let (code, out, errors) = run_aside(status(stage, elsewhere, &[arguments, &["--json"]].concat())).await;
    (code, serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}\n{errors}")))
}

/// ECS and Application Auto Scaling as AWS answers; everything else is refused.
#[derive(Clone, Default)]
struct Control(Arc<Mutex<Vec<(String, Value)>>>);

impl Control {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(post(answer)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }

    fn asked(&self, action: &str) -> Option<Value> {
        self.0.lock().unwrap().iter().find(|(name, _)| name == action).map(|(_, input)| input.clone())
    }
}

async fn answer(State(control): State<Control>, headers: HeaderMap, body: axum::body::Bytes) -> Response {
    if headers.contains_key("smithy-protocol") {
        let refused = [("__type", Cbor::Text("AccessDeniedException")), ("message", Cbor::Text("not yours"))];
        return cbor(StatusCode::BAD_REQUEST, &Cbor::Map(refused.into()));
    }
    let target = headers.get("x-amz-target").and_then(|t| t.to_str().ok()).unwrap_or_default();
    let action = target.rsplit('.').next().unwrap_or_default().to_owned();
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    control.0.lock().unwrap().push((action.clone(), input.clone()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let stopped = input["desiredStatus"] == "STOPPED";
    let output = match action.as_str() {
        "ListServices" => json!({"serviceArns": ["arn:aws:ecs:us-east-1:1:service/fleet/worker"]}),
        "DescribeServices" => json!({"services": [{
            "serviceName": "worker", "desiredCount": 4, "runningCount": 3, "pendingCount": 1,
            "deployments": [{"rolloutState": "IN_PROGRESS", "createdAt": now}],
            "events": [{"createdAt": now - 30, "message": "(service worker) has started 1 tasks"}],
        }]}),
        "ListTasks" if stopped => json!({"taskArns": ["arn:aws:ecs:us-east-1:1:task/fleet/old"]}),
        // Two pages of each list.
        "ListTasks" if input["nextToken"] == "more" => {
            json!({"taskArns": ["arn:aws:ecs:us-east-1:1:task/fleet/new"]})
        }
        "ListTasks" => json!({"taskArns": ["arn:aws:ecs:us-east-1:1:task/fleet/new"], "nextToken": "more"}),
        "DescribeTasks" if input["tasks"][0].as_str().unwrap().ends_with("old") => json!({"tasks": [{
            "taskArn": "arn:aws:ecs:us-east-1:1:task/fleet/old", "lastStatus": "STOPPED",
            "startedAt": now - 900, "stoppedAt": now - 60, "stoppedReason": "Essential container in task exited",
            "containers": [{"name": "worker", "exitCode": 137}],
        }]}),
        "DescribeTasks" => json!({"tasks": [{
            "taskArn": "arn:aws:ecs:us-east-1:1:task/fleet/new", "lastStatus": "RUNNING", "startedAt": now - 5,
            "containers": [{"name": "worker", "networkInterfaces": [{"privateIpv4Address": "127.0.0.1"}]}],
        }]}),
        "ListContainerInstances" if input["filter"] == FILTER => json!({
            "containerInstanceArns": ["arn:aws:ecs:us-east-1:1:container-instance/fleet/a"],
            "nextToken": if input["nextToken"].is_null() { json!("more") } else { Value::Null },
        }),
        "ListContainerInstances" => json!({"containerInstanceArns": []}),
        "DescribeContainerInstances" => json!({"containerInstances": [{
            "ec2InstanceId": "i-0a", "status": "ACTIVE", "agentConnected": false, "runningTasksCount": 2,
            "pendingTasksCount": 0, "attributes": [{"name": "ecs.instance-type", "value": "t2.large"}],
            "remainingResources": [{"name": "CPU", "integerValue": 512}, {"name": "MEMORY", "integerValue": 900}],
        }]}),
        "DescribeScalableTargets" if input["NextToken"].is_null() => {
            json!({"ScalableTargets": [], "NextToken": "more"})
        }
        "DescribeScalableTargets" => json!({"ScalableTargets": [{
            "ServiceNamespace": "ecs", "ResourceId": "service/fleet/worker", "RoleARN": "arn:aws:iam::1:role/r",
            "ScalableDimension": "ecs:service:DesiredCount", "MinCapacity": 0, "MaxCapacity": 10, "CreationTime": now,
        }]}),
        "DescribeScalingActivities" => json!({"ScalingActivities": [{
            "ActivityId": "1", "ServiceNamespace": "ecs", "ResourceId": "service/fleet/worker",
            "ScalableDimension": "ecs:service:DesiredCount", "Description": "Setting desired count to 4.",
            "Cause": "monitor alarm backlog in state ALARM triggered policy backlog", "StartTime": now - 90,
            "StatusCode": "Successful",
        }, {
            "ActivityId": "2", "ServiceNamespace": "ecs", "ResourceId": "service/fleet/worker",
            "ScalableDimension": "ecs:service:DesiredCount", "Description": "Attempting to scale.",
            "Cause": "monitor alarm backlog in state ALARM triggered policy backlog", "StartTime": now - 30,
            "StatusCode": "Unfulfilled",
            "NotScaledReasons": [{"Code": "AlreadyAtMaxCapacity", "MaxCapacity": 10, "CurrentCapacity": 10}],
        }]}),
        _ => {
            let refused = json!({"__type": "AccessDeniedException", "message": "not yours"});
            return (StatusCode::BAD_REQUEST, refused.to_string()).into_response();
        }
    };
    (StatusCode::OK, output.to_string()).into_response()
}

/// What CloudWatch speaks, as far as its answers here need it (RFC 8949): texts are shorter than 24 bytes, lists and
/// maps have fewer than 24 entries, so that each length stands in the first byte.
enum Cbor {
    Text(&'static str),
    Number(f64),
    /// Seconds since 1970: tag 1, then a whole number of 32 bits.
    Time(u32),
    List(Vec<Cbor>),
    Map(Vec<(&'static str, Cbor)>),
}

impl Cbor {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => [&[0x60 + text.len() as u8], text.as_bytes()].concat(),
            Self::Number(number) => [&[0xFB][..], &number.to_be_bytes()].concat(),
            Self::Time(seconds) => [&[0xC1, 0x1A][..], &seconds.to_be_bytes()].concat(),
            Self::List(all) => {
                let all: Vec<u8> = all.iter().flat_map(Cbor::bytes).collect();
                // Its end is a byte of its own.
                [&[0x9F][..], &all, &[0xFF]].concat()
            }
            Self::Map(entries) => {
                let head = [0xA0 + entries.len() as u8];
                let each =
                    entries.iter().flat_map(|(key, value)| [Self::Text(key).bytes(), value.bytes()].concat());
                [&head[..], &each.collect::<Vec<_>>()].concat()
            }
        }
    }
}

fn cbor(status: StatusCode, answer: &Cbor) -> Response {
    let headers = [("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor")];
    (status, headers, answer.bytes()).into_response()
}

/// CloudWatch that knows the age of the oldest message: its figures are in no order, the newest is 125 s.
async fn cloudwatch() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    let figure = move |ago: u32, seconds: f64| {
        let unit = ("Unit", Cbor::Text("Seconds"));
        Cbor::Map(vec![("Timestamp", Cbor::Time(now - ago)), ("Maximum", Cbor::Number(seconds)), unit])
    };
    let answer = move |uri: Uri| {
        let figures = vec![figure(180, 40.0), figure(60, 125.0), figure(120, 900.0)];
        let asked = uri.path().ends_with("/operation/GetMetricStatistics");
        async move {
            assert!(asked, "{uri}");
            cbor(
                StatusCode::OK,
                &Cbor::Map(vec![("Label", Cbor::Text("age")), ("Datapoints", Cbor::List(figures))]),
            )
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().fallback(post(answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_the_oldest_message_is_the_newest_figure_of_cloudwatch() {
    let stage = Stage::new().await;
    stage.send("one").await;
    let url = cloudwatch().await;
    let arguments = ["--worker", &free_address().await];
    let (code, status) = look(&stage, &url, &arguments).await;
    assert_eq!(code, Some(0), "a worker that is not there is no failure: {status}");
    assert_eq!(status["oldest_seconds"], 125.0, "{status}");
    let (code, text, _) = run_aside(self::status(&stage, &url, &arguments)).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(": 1 waiting, 0 in flight, 0 delayed; oldest 2 min\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_without_a_service_is_told_in_a_line_and_is_no_failure() {
    let stage = Stage::new().await;
    if stage.world.external {
        println!("NOT RUN against other servers: they may have these services");
        return;
    }
    let arguments = ["--cluster", "fleet"];
    let (code, text, errors) = run_aside(status(&stage, &stage.world.endpoint, &arguments)).await;
    assert_eq!(code, Some(0), "{text}{errors}");
    let lines = |part: &str| text.lines().filter(|line| line.contains(part)).count();
    assert_eq!(lines("this endpoint has no CloudWatch ("), 1, "{text}");
    assert_eq!(lines("this endpoint has no ECS ("), 1, "{text}");
    assert_eq!(lines("this endpoint has no Application Auto Scaling ("), 1, "{text}");
    // Whose workers those would be is not known: nobody on this machine is asked.
    assert!(text.contains("workers    none asked"), "{text}");
    let (code, status) = look(&stage, &stage.world.endpoint, &[]).await;
    assert_eq!(code, Some(0), "{status}");
    let why = status["oldest_seconds"]["cannot_read"].as_str().unwrap();
    assert!(why.starts_with("this endpoint has no CloudWatch"), "{status}");
}

/// A worker, and where it tells how it goes.
async fn working(stage: &Stage) -> (Process, String) {
    let address = free_address().await;
    let mut command = worker(stage);
    command.env("LONGSHORE_ADMIN_ADDR", &address).env("LONGSHORE_WAIT_TIME", "1");
    let mut process = Process::start(command);
    process.wait_for_line("started", LIMIT);
    (process, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_of_a_cluster_are_asked_on_the_addresses_of_their_tasks() {
    let stage = Stage::new().await;
    let (_worker, address) = working(&stage).await;
    let url = Control::default().start().await;
    let port = address.rsplit(':').next().unwrap();
    let (_, status) = look(&stage, &url, &["--cluster", "fleet", "--task-port", port]).await;
    // The task's private address is 127.0.0.1.
    assert_eq!(status["workers"][&address]["ready"], true, "{status}");
    assert_eq!(status["workers"].as_object().unwrap().len(), 1, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fields_of_the_json_are_those_of_the_readme() {
    let stage = Stage::new().await;
    let queue = stage.world.sqs.create_queue().queue_name(unique("changes")).send().await.unwrap();
    let queue = queue.queue_url.unwrap();
    stage.world.sqs.send_message().queue_url(&queue).message_body(state_change(1)).send().await.unwrap();
    let (_worker, address) = working(&stage).await;
    let url = Control::default().start().await;
    let arguments = ["--cluster", "fleet", "--filter", FILTER, "--worker", &address, "--changes-url", &queue];
    let (_, look) = look(&stage, &url, &arguments).await;
    let (cluster, scaling) = (&look["cluster"], &look["scaling"][0]);
    for (what, object) in [
        ("a look", &look),
        ("a queue", &look["queue"]),
        ("a queue", &look["dead_letters"]),
        ("a worker", &look["workers"][&address]),
        ("the cluster", cluster),
        ("a service", &cluster["services"][0]),
        ("a task", &cluster["tasks"][0]),
        ("an instance", &cluster["instances"][0]),
        ("what scales", scaling),
        ("an activity", &scaling["activities"][0]),
        ("a change", &look["changes"][0]),
    ] {
        let fields = object.as_object().unwrap_or_else(|| panic!("{what} in {look}"));
        let mut documented = common::documented("status", what);
        // Only of one that is not ready.
        assert!(what != "a worker" || documented.remove("trouble"));
        assert_eq!(fields.keys().cloned().collect::<std::collections::BTreeSet<_>>(), documented, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_settings_count_as_absent_and_half_an_address_is_a_mistake() {
    let stage = Stage::new().await;
    let url = cloudwatch().await;
    let mut command = status(&stage, &url, &["--json"]);
    for name in ["LONGSHORE_WORKERS", "LONGSHORE_CLUSTER", "LONGSHORE_STATE_CHANGE_QUEUE_URL"] {
        command.env(name, "");
    }
    command.env("LONGSHORE_SERVICE", "worker").env("LONGSHORE_ADMIN_TOKEN", "");
    let (code, out, errors) = run_aside(command).await;
    assert_eq!(code, Some(0), "{out}{errors}");
    let told: Value = serde_json::from_str(&out).unwrap();
    let workers: Vec<&String> = told["workers"].as_object().unwrap().keys().collect();
    assert_eq!(workers, ["127.0.0.1:9464"], "{told}");
    assert!(told.get("cluster").is_none() && told.get("changes").is_none(), "{told}");

    let (code, _, errors) =
        run_aside(status(&stage, &url, &["--worker", "localhost", "--task-port", "1"])).await;
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("write HOST:PORT") && errors.contains("--task-port"), "{errors}");
    let mut command = status(&stage, &url, &[]);
    command.env("AWS_ENDPOINT_URL", "");
    let (code, _, errors) = run_aside(command).await;
    assert!(code == Some(2) && errors.contains("AWS_ENDPOINT_URL is empty"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_one_below_the_other_say_when_they_were_and_an_interrupt_waits_for_no_worker() {
    let stage = Stage::new().await;
    let url = cloudwatch().await;
    // Connections wait to be accepted for ever.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = (silent.local_addr().unwrap().to_string(), silent);
    let mut command = status(&stage, &url, &["--watch", "--every", "1", "--worker", &silent.0]);
    let mut watching = command.stdout(Stdio::piped()).spawn().unwrap();
    let watched = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines().map(Result::unwrap);
        let first = lines.next().unwrap();
        let second = lines.find(|line| line.starts_with("at ")).unwrap();
        // By now it asks the third time.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let begun = std::time::Instant::now();
        assert!(
            Command::new("kill").args(["-s", "INT", &watching.id().to_string()]).status().unwrap().success()
        );
        (first, second, watching.wait().unwrap().code(), begun.elapsed())
    });
    let (first, second, code, took) = watched.await.unwrap();
    for heading in [first, second] {
        assert!(heading.starts_with("at         20") && heading.ends_with('Z'), "{heading}");
    }
    assert_eq!(code, Some(0));
    assert!(took < std::time::Duration::from_secs(2), "{took:?}");
}

async fn free_address() -> String {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_shown_with_tasks_instances_and_scaling() {
    let stage = Stage::new().await;
    let control = Control::default();
    let url = control.start().await;
    let (_, status) = look(&stage, &url, &["--cluster", "fleet", "--filter", FILTER]).await;
    let cluster = &status["cluster"];
    let service = &cluster["services"][0];
    assert_eq!(
        (&service["desired"], &service["running"], &service["pending"]),
        (&json!(4), &json!(3), &json!(1))
    );
    assert_eq!(service["rollout"], "IN_PROGRESS");
    assert_eq!(cluster["tasks"][1]["status"], "RUNNING", "of the second page");
    assert_eq!(cluster["tasks"][2]["reason"], "Essential container in task exited; worker: exit code 137");
    assert_eq!(cluster["instances"].as_array().unwrap().len(), 2, "of both pages");
    assert_eq!(cluster["instances"][0]["kind"], "t2.large");
    assert_eq!(control.asked("ListContainerInstances").unwrap()["filter"], FILTER);
    assert_eq!(status["scaling"][0]["activities"][0]["what"], "Setting desired count to 4.");
    assert_eq!(control.asked("DescribeScalingActivities").unwrap()["IncludeNotScaledActivities"], true);
    assert_eq!((&status["scaling"][0]["least"], &status["scaling"][0]["most"]), (&json!(0), &json!(10)));

    let (_, text, _) = run_aside(told_as_text(&stage, &url)).await;
    for part in [
        "worker: 4 desired, 3 running, 1 pending; IN_PROGRESS",
        "worker: exit code 137",
        "AGENT NOT CONNECTED",
        "0 to 10 tasks",
        "monitor alarm backlog in state ALARM",
        "not scaled: AlreadyAtMaxCapacity (at the most, 10 tasks)",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
}

fn told_as_text(stage: &Stage, url: &str) -> Command {
    status(stage, url, &["--cluster", "fleet", "--filter", FILTER])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_said_and_the_rest_is_shown() {
    let stage = Stage::new().await;
    stage.send("one").await;
    let url = Control::default().start().await;
    let (code, status) = look(&stage, &url, &["--worker", &free_address().await]).await;
    assert_eq!(code, Some(1), "something could not be read");
    assert_eq!(status["queue"], json!({"visible": 1, "in_flight": 0, "delayed": 0}));
    assert_eq!(status["dead_letters"]["visible"], 0);
    assert!(status["oldest_seconds"]["cannot_read"].is_string(), "{status}");
    let worker = status["workers"].as_object().unwrap().values().next().unwrap();
    assert!(worker["cannot_read"].as_str().unwrap().contains("no answer"), "{status}");
    assert!(status.get("cluster").is_none(), "nobody asked for one: {status}");
    let (_, text, _) = run_aside(self::status(&stage, &url, &["--worker", &free_address().await])).await;
    assert!(text.contains("0 of 1 answer: -/s"), "nobody tells a rate:\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_tell_their_rates_and_watching_goes_on_until_it_is_interrupted() {
    let stage = Stage::new().await;
    let (_worker, address) = working(&stage).await;
    let url = Control::default().start().await;
    let mut command = status(&stage, &url, &["--worker", &address, "--watch", "--every", "1", "--json"]);
    let mut watching = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["workers"][&address]["per_second"], 0.0, "nothing has come to an end yet");
    let etag = stage.upload("a.jpg", jpeg(&picture(300, 200))).await;
    stage.send(stage.message(&[stage.record("a.jpg", &etag, "01")])).await;
    let worker = std::iter::repeat_with(&mut next)
        .map(|status| status["workers"][&address].clone())
        .find(|worker| worker["done"] == 1)
        .unwrap();
    assert!(worker["per_second"].as_f64().unwrap() > 0.0, "{worker}");
    assert!(worker["p99_seconds"].as_f64().unwrap() > 0.0, "{worker}");
    assert_eq!(worker["ready"], true, "{worker}");
    // One look is enough for a rate.
    let (_, status) = look(&stage, &url, &["--worker", &address]).await;
    assert!(status["workers"][&address]["per_second"].as_f64().unwrap() > 0.0, "{status}");
    let interrupted = Command::new("kill").args(["-s", "INT", &watching.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    assert_eq!(tokio::task::spawn_blocking(move || watching.wait()).await.unwrap().unwrap().code(), Some(0));
}

fn state_change(nth: usize) -> String {
    let event = json!({
        "id": format!("e{nth}"), "time": format!("2026-01-01T{:02}:{:02}:00Z", nth / 60, nth % 60),
        "detail-type": "ECS Task State Change",
        "detail": {"taskArn": format!("arn:aws:ecs:us-east-1:1:task/c/{nth}"), "lastStatus": "STOPPED",
            "stoppedReason": "Scaling activity", "containers": []},
    });
    event.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_of_many_state_changes_are_shown_at_each_look_and_stay_in_their_queue() {
    const MANY: usize = 300;
    let stage = Stage::new().await;
    let queue = stage.world.sqs.create_queue().queue_name(unique("changes")).send().await.unwrap();
    let queue = queue.queue_url.unwrap();
    // The newest first: SQS keeps to no order.
    for batch in (0..MANY).rev().collect::<Vec<_>>().chunks(10) {
        let entry = |nth: &usize| {
            let entry = SendMessageBatchRequestEntry::builder().id(nth.to_string());
            entry.message_body(state_change(*nth)).build().unwrap()
        };
        let send = stage.world.sqs.send_message_batch().queue_url(&queue);
        send.set_entries(Some(batch.iter().map(entry).collect())).send().await.unwrap();
    }
    let url = Control::default().start().await;
    let newest: Vec<String> = (MANY - 10..MANY).map(|nth| format!("task {nth}")).collect();
    for nth in ["first", "second"] {
        let (_, status) = look(&stage, &url, &["--changes-url", &queue]).await;
        let changes = status["changes"].as_array().unwrap_or_else(|| panic!("{status}"));
        let who: Vec<&str> = changes.iter().map(|change| change["who"].as_str().unwrap()).collect();
        assert_eq!(who, newest, "at the {nth} look");
        assert_eq!(changes[0]["why"], "Scaling activity");
        assert_eq!(stage.depth(&queue).await, (MANY as u64, 0), "looking takes nothing away");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_answers_takes_nothing_from_the_others() {
    let stage = Stage::new().await;
    stage.send("one").await;
    let address = free_address().await;
    let mut command = worker(&stage);
    command.env("LONGSHORE_ADMIN_ADDR", &address).env("LONGSHORE_QUEUE_URL", &stage.dlq);
    let mut process = Process::start(command);
    process.wait_for_line("started", LIMIT);
    // It takes every connection, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let taking = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            taken.push(stream);
        }
    });
    let arguments = ["--cluster", "fleet", "--worker", &address];
    let (code, status) = tokio::time::timeout(LIMIT, look(&stage, &url, &arguments)).await.expect("an end");
    assert_eq!(code, Some(1), "{status}");
    assert_eq!(status["queue"]["visible"], 1, "{status}");
    assert_eq!(status["workers"][&address]["ready"], true, "{status}");
    let cluster = &status["cluster"];
    for part in [
        &status["oldest_seconds"],
        &cluster["services"],
        &cluster["tasks"],
        &cluster["instances"],
        &status["scaling"],
    ] {
        assert!(part["cannot_read"].as_str().is_some_and(|why| why.contains("no answer within")), "{status}");
    }
    taking.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_stays_within_the_terminal() {
    const ROWS: u16 = 6;
    const COLUMNS: u16 = 30;
    let stage = Stage::new().await;
    let url = Control::default().start().await;
    let mut terminal = Terminal::new(ROWS, COLUMNS);
    let address = free_address().await;
    let arguments =
        ["--watch", "--every", "1", "--cluster", "fleet", "--filter", FILTER, "--worker", &address];
    let mut command = status(&stage, &url, &arguments);
    let mut watching = command.stdin(Stdio::null()).stdout(terminal.stdio()).spawn().unwrap();
    let watched = tokio::task::spawn_blocking(move || {
        let text = terminal.wait_for(|text| text.matches("\x1b[J").count() >= 2, LIMIT);
        let killed = watching.kill();
        let _ = watching.wait();
        killed.unwrap();
        text
    });
    let text = watched.await.unwrap();
    let look = text.split("\x1b[H").nth(1).unwrap().split("\x1b[J").next().unwrap();
    let lines: Vec<&str> = look.split("\r\n").map(|line| line.trim_end_matches("\x1b[K")).collect();
    assert_eq!(lines.len(), usize::from(ROWS), "{look:?}");
    assert!(lines.iter().all(|line| line.chars().count() < usize::from(COLUMNS)), "{look:?}");
    assert!(lines[0].starts_with("queue "), "{look:?}");
    assert!(lines.last().unwrap().contains("lines more"), "{look:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_before_anything_is_asked() {
    let (code, _, errors) = run_aside({
        let mut command = longshore();
        command.args(["status"]);
        command
    })
    .await;
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("--queue-url is missing"), "{errors}");
}

/// ECS as somebody else wrote it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_another_server_is_shown() {
    let stage = Stage::new().await;
    if !stage.world.external {
        println!("NOT RUN against the embedded servers: they have no ECS");
        return;
    }
    let ecs = aws_sdk_ecs::Client::from_conf(
        aws_sdk_ecs::Config::builder()
            .behavior_version(aws_sdk_ecs::config::BehaviorVersion::latest())
            .region(aws_sdk_ecs::config::Region::new("us-east-1"))
            .endpoint_url(&stage.world.endpoint)
            .credentials_provider(common::credentials())
            .build(),
    );
    let cluster = unique("fleet");
    ecs.create_cluster().cluster_name(&cluster).send().await.unwrap();
    let container =
        aws_sdk_ecs::types::ContainerDefinition::builder().name("w").image("i").memory(64).build();
    let family = unique("family");
    ecs.register_task_definition().family(&family).container_definitions(container).send().await.unwrap();
    let service = ecs.create_service().cluster(&cluster).service_name("worker").task_definition(&family);
    service.desired_count(2).send().await.unwrap();
    let endpoint = stage.world.endpoint.clone();
    let (_, status) = look(&stage, &endpoint, &["--cluster", &cluster]).await;
    assert_eq!(status["cluster"]["services"][0]["desired"], 2, "{status}");
    assert!(status["cluster"]["tasks"].is_array() && status["cluster"]["instances"].is_array(), "{status}");
}
