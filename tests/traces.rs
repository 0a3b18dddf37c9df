//! Traces, as a collector on a real socket reads them; and collectors that are dead, refuse, or never answer.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

mod common;

use aws_sdk_sqs::types::{MessageSystemAttributeNameForSends as Sends, MessageSystemAttributeValue};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use common::job::job;
use common::pictures::{jpeg, picture};
use common::process::{Process, longshore, run_aside, worker};
use common::stage::Stage;
use common::{LIMIT, unique, wait_for};
use longshore::command::layout;
use longshore::command::wire::{Job, Kind, Row};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as Status;
use prost::Message;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// A collector: all that was sent to it.
#[derive(Clone, Default)]
struct Collector {
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    heads: Arc<Mutex<Vec<HeaderMap>>>,
    refuses: Arc<Mutex<bool>>,
}

impl Collector {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/v1/traces", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().unwrap();
        let scopes = requests.iter().flat_map(|r| &r.resource_spans).flat_map(|r| &r.scope_spans);
        scopes.flat_map(|s| s.spans.clone()).collect()
    }

    /// The spans of this name, when there are so many.
    async fn wait_for(&self, name: &str, count: usize) -> Vec<Span> {
        wait_for(&format!("{count} spans {name:?}"), LIMIT, || async {
            let spans: Vec<Span> = self.spans().into_iter().filter(|s| s.name == name).collect();
            (spans.len() >= count).then_some(spans)
        })
        .await
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if *collector.refuses.lock().unwrap() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    collector.heads.lock().unwrap().push(headers);
    collector.requests.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
    StatusCode::OK
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|a| a.key == key).and_then(|a| a.value.clone());
    match found {
        Some(AnyValue { value: Some(Any::StringValue(text)) }) => text,
        Some(AnyValue { value: Some(Any::IntValue(number)) }) => number.to_string(),
        other => panic!("{key} is {other:?} in {attributes:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn traced(stage: &Stage, collector: &str) -> Command {
    let mut command = worker(stage);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command
        .env("LONGSHORE_TRACES", "otlp")
        .env("LONGSHORE_WAIT_TIME", "1")
        .env("LONGSHORE_LOG_FORMAT", "json")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
        .env("OTEL_BSP_SCHEDULE_DELAY", "100");
    command
}

async fn upload(stage: &Stage, key: &str, header: Option<&str>) {
    send(stage, key, jpeg(&picture(300, 200)), header).await;
}

async fn send(stage: &Stage, key: &str, bytes: Vec<u8>, header: Option<&str>) {
    let etag = stage.upload(key, bytes).await;
    let body = stage.message(&[stage.record(key, &etag, "01")]);
    let mut send = stage.world.sqs.send_message().queue_url(&stage.queue).message_body(body);
    if let Some(header) = header {
        let value = MessageSystemAttributeValue::builder().data_type("String").string_value(header);
        send = send.message_system_attributes(Sends::AwsTraceHeader, value.build().unwrap());
    }
    send.send().await.unwrap();
}

const TRACE: &str = "5759e988bd862e3fe1be46a994272793";
const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_a_trace_of_its_steps_that_its_trace_header_leads_to() {
    let stage = Stage::new().await;
    let collector = Collector::default();
    let mut command = traced(&stage, &collector.start().await);
    command.env("OTEL_SERVICE_NAME", "thumbs").env("OTEL_RESOURCE_ATTRIBUTES", "team=pictures");
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret");
    let mut process = Process::start(command);
    upload(&stage, "a.jpg", Some(HEADER)).await;
    let queue = stage.queue.rsplit('/').next().unwrap();
    let process_span = collector.wait_for(&format!("process {queue}"), 1).await.remove(0);
    let spans = collector.spans();
    let one = |name: &str| spans.iter().find(|s| s.name == name).unwrap().clone();
    let (record, download, render) = (one("record"), one("download"), one("render"));
    let uploads: Vec<&Span> = spans.iter().filter(|s| s.name == "upload").collect();

    assert!(spans.iter().all(|s| hex(&s.trace_id) == TRACE), "{spans:?}");
    assert_eq!(hex(&process_span.parent_span_id), "53995c3f42cd8ad8");
    let [link] = &process_span.links[..] else { panic!("{process_span:?}") };
    assert_eq!((hex(&link.trace_id).as_str(), hex(&link.span_id).as_str()), (TRACE, "53995c3f42cd8ad8"));
    assert_eq!(record.parent_span_id, process_span.span_id);
    for step in [&download, &render].into_iter().chain(uploads.iter().copied()) {
        assert_eq!(step.parent_span_id, record.span_id, "{step:?}");
        assert!(step.start_time_unix_nano >= record.start_time_unix_nano);
        assert!(step.end_time_unix_nano <= record.end_time_unix_nano);
    }
    assert_eq!(spans.len(), 6, "{spans:?}");

    let kinds = [&process_span, &download, &render, uploads[0]].map(Span::kind);
    assert_eq!(kinds, [SpanKind::Consumer, SpanKind::Client, SpanKind::Internal, SpanKind::Client]);
    let body = stage.message(&[stage.record("a.jpg", &"e".repeat(32), "01")]);
    for (name, value) in [
        ("messaging.system", "aws_sqs"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", queue),
        ("messaging.message.body.size", &body.len().to_string()),
        ("aws.sqs.queue.url", &stage.queue),
        ("longshore.receive_count", "1"),
    ] {
        assert_eq!(text(&process_span.attributes, name), value, "{name}");
    }
    let place = |span: &Span| (text(&span.attributes, "aws.s3.bucket"), text(&span.attributes, "aws.s3.key"));
    assert_eq!(place(&download), (stage.input.clone(), "a.jpg".into()));
    assert_eq!(text(&record.attributes, "longshore.outcome"), "done");
    let mut renditions: Vec<_> =
        uploads.iter().map(|u| (text(&u.attributes, "longshore.rendition"), place(u).1)).collect();
    renditions.sort();
    assert_eq!(renditions, ["resized", "thumbs"].map(|name| (name.to_owned(), format!("{name}/a.jpg"))));
    assert!(spans.iter().all(|s| s.status.as_ref().is_none_or(|s| s.code() == Status::Unset)), "{spans:?}");

    let requests = collector.requests.lock().unwrap().clone();
    let resource = requests[0].resource_spans[0].resource.clone().unwrap();
    assert_eq!(text(&resource.attributes, "service.name"), "thumbs");
    assert_eq!(text(&resource.attributes, "team"), "pictures");
    assert_eq!(text(&resource.attributes, "service.version"), env!("CARGO_PKG_VERSION"));
    let head = collector.heads.lock().unwrap()[0].clone();
    assert!(head["content-type"] == "application/x-protobuf" && head["x-key"] == "secret", "{head:?}");

    // Every line about the message tells where to look, and no more than before.
    let line = process.wait_for_line("stored resized, thumbs", LIMIT);
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["span"]["trace_id"], &line["span"]["trace"]), (&TRACE.into(), &HEADER.into()));
    let fields: Vec<&String> = line["span"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["message_id", "name", "receive_count", "trace", "trace_id"]);
    assert_eq!(line["span"]["message_id"], text(&process_span.attributes, "messaging.message.id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_a_trace_of_its_steps_and_the_one_that_failed_says_why() {
    let stage = Stage::new().await;
    let work = unique("work");
    stage.world.s3.create_bucket().bucket(&work).send().await.unwrap();
    let put = async |key: String, bytes: Vec<u8>| {
        stage.world.s3.put_object().bucket(&work).key(key).body(bytes.into()).send().await.unwrap();
    };
    let script = "test $LONGSHORE_ROW = 1 && echo done >$OUT";
    let script_sha256 = hex(&Sha256::digest(script));
    let job = Job { rows: 2, script_sha256, ..job("plays", &[(Kind::Output, "OUT")]) };
    put(layout::script("plays"), script.into()).await;
    put(layout::job("plays"), serde_json::to_vec(&job).unwrap()).await;
    let collector = Collector::default();
    let folder = tempfile::tempdir().unwrap();
    let mut command = traced(&stage, &collector.start().await);
    command.env("LONGSHORE_JOBS", "commands").env("LONGSHORE_WORK_BUCKET", &work);
    command.env("LONGSHORE_WORK_DIR", folder.path());
    let _process = Process::start(command);
    for row in [1, 2] {
        let values = vec![format!("s3://{}/{row}", stage.output)];
        let digest = Row::digest(&job.columns, &values);
        stage.send(job.message(row, &digest, Some(values))).await;
    }
    let queue = stage.queue.rsplit('/').next().unwrap();
    let messages = collector.wait_for(&format!("process {queue}"), 2).await;
    let spans = collector.spans();
    let rows: Vec<&Span> = spans.iter().filter(|s| s.name == "row").collect();
    assert_eq!(rows.len(), 2, "{spans:?}");
    for row in rows {
        let number = text(&row.attributes, "longshore.row");
        assert_eq!(text(&row.attributes, "longshore.job"), "plays");
        assert_eq!(text(&row.attributes, "longshore.attempt"), "1");
        let message = messages.iter().find(|m| m.span_id == row.parent_span_id).expect("its message");
        assert_eq!(message.trace_id, row.trace_id);
        let steps: Vec<&Span> = spans.iter().filter(|s| s.parent_span_id == row.span_id).collect();
        for step in &steps {
            assert_eq!(text(&step.attributes, "longshore.row"), number);
            assert_eq!(text(&step.attributes, "longshore.job"), "plays");
            assert!(step.start_time_unix_nano >= row.start_time_unix_nano);
            assert!(step.end_time_unix_nano <= row.end_time_unix_nano);
        }
        let names: Vec<&str> = steps.iter().map(|s| s.name.as_str()).collect();
        let failed: Vec<&str> = steps.iter().copied().chain([row]).filter_map(why).collect();
        if number == "1" {
            assert_eq!((names, failed), (vec!["fetch", "run", "upload"], vec![]));
        } else {
            assert_eq!((names, failed), (vec!["fetch", "run"], vec!["exit code 1"; 2]));
            assert_eq!(text(&row.attributes, "error.type"), "command-failed");
        }
    }
}

/// What a span says of its failure.
fn why(span: &Span) -> Option<&str> {
    let status = span.status.as_ref().filter(|status| status.code() == Status::Error)?;
    Some(&status.message)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_picture_says_why_and_its_letter_leads_to_its_trace_and_back() {
    let stage = Stage::new().await;
    let collector = Collector::default();
    let mut process = Process::start(traced(&stage, &collector.start().await));
    send(&stage, "text.jpg", b"not a picture at all".to_vec(), None).await;
    let queue = stage.queue.rsplit('/').next().unwrap();
    let process_span = collector.wait_for(&format!("process {queue}"), 1).await.remove(0);
    let trace = hex(&process_span.trace_id);
    assert!(process_span.parent_span_id.is_empty() && process_span.links.is_empty(), "{process_span:?}");
    let spans = collector.spans();
    for name in ["record", &process_span.name] {
        let span = spans.iter().find(|s| s.name == name).unwrap();
        assert_eq!(text(&span.attributes, "error.type"), "not-an-image", "{name}");
        let status = span.status.as_ref().unwrap();
        assert_eq!(status.code(), Status::Error, "{name}");
        assert!(status.message.contains("image"), "{status:?}");
    }
    assert!(!spans.iter().any(|s| s.name == "upload"));
    assert!(process.wait_for_line("rejected", LIMIT).contains(&trace));

    let received = stage.world.sqs.receive_message().queue_url(&stage.dlq).message_attribute_names("All");
    let received = received.message_system_attribute_names("All".into()).visibility_timeout(0);
    let letter = received.send().await.unwrap().messages.unwrap().remove(0);
    let attributes = letter.message_attributes.unwrap();
    assert_eq!(attributes["longshore.trace-id"].string_value(), Some(trace.as_str()));
    let header = &letter.attributes.unwrap()[&"AWSTraceHeader".into()];
    let wanted =
        format!("Root=1-{}-{};Parent={};Sampled=1", &trace[..8], &trace[8..], hex(&process_span.span_id));
    assert_eq!(*header, wanted);

    // Sent back, it goes on in the same trace; and it is sent back once, though it fails again at once.
    let mut redrive = longshore();
    redrive.args(["dlq", "redrive", "--reason", "not-an-image"]);
    for (name, value) in traced(&stage, "").get_envs() {
        redrive.env(name, value.unwrap_or_default());
    }
    let (code, out, errors) = run_aside(redrive).await;
    assert_eq!((code, out.trim()), (Some(0), "1 of 1 sent back, 0 failed"), "{errors}");
    let both = collector.wait_for(&process_span.name, 2).await;
    assert_eq!(hex(&both[1].trace_id), trace);
    assert_eq!(both[1].parent_span_id, process_span.span_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_shall_see_is_not_sent_and_without_the_setting_nothing_is() {
    let stage = Stage::new().await;
    let collector = Collector::default();
    let url = collector.start().await;
    let mut process = Process::start(traced(&stage, &url));
    upload(&stage, "unseen.jpg", Some(&HEADER.replace("Sampled=1", "Sampled=0"))).await;
    assert!(process.wait_for_line("stored resized", LIMIT).contains(TRACE), "the log knows it all the same");
    stage.wait_until_empty().await;
    process.signal("TERM");
    assert!(process.wait(LIMIT).success());
    assert!(collector.requests.lock().unwrap().is_empty());

    let mut command = traced(&stage, &url);
    command.env("LONGSHORE_TRACES", "off");
    let mut process = Process::start(command);
    upload(&stage, "off.jpg", Some(HEADER)).await;
    assert!(process.wait_for_line("stored resized", LIMIT).contains(TRACE), "of the header");
    stage.wait_until_empty().await;
    process.signal("TERM");
    assert!(process.wait(LIMIT).success());
    assert!(collector.requests.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_spans_are_sent_before_the_end() {
    let stage = Stage::new().await;
    let collector = Collector::default();
    let mut command = traced(&stage, &collector.start().await);
    command.env("OTEL_BSP_SCHEDULE_DELAY", "3600000");
    let mut process = Process::start(command);
    upload(&stage, "a.jpg", None).await;
    stage.output("thumbs/a.jpg").await;
    stage.wait_until_empty().await;
    assert!(collector.spans().is_empty(), "not yet");
    process.signal("TERM");
    assert!(process.wait(LIMIT).success());
    assert_eq!(collector.spans().len(), 6);
}

/// Pictures are done and the worker leaves as if there were no traces.
async fn work_goes_on(collector: &str, pictures: usize) -> String {
    let stage = Stage::new().await;
    let mut command = traced(&stage, collector);
    command.env("OTEL_BSP_MAX_QUEUE_SIZE", "8").env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4");
    let mut process = Process::start(command);
    for n in 0..pictures {
        upload(&stage, &format!("{n}.jpg"), None).await;
    }
    for n in 0..pictures {
        stage.output(&format!("thumbs/{n}.jpg")).await;
    }
    stage.wait_until_empty().await;
    process.signal("TERM");
    process.wait_for_line("\"stopped\"", LIMIT);
    let stopped = Instant::now();
    assert!(process.wait(LIMIT).success());
    // A second for the last spans, and a machine that others use.
    assert!(stopped.elapsed() < Duration::from_secs(4), "{:?} to leave", stopped.elapsed());
    process.whole_log()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_or_refuses_delays_nothing_and_is_told_of_once() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refusing = Collector::default();
    *refusing.refuses.lock().unwrap() = true;
    for url in [format!("http://{gone}"), refusing.start().await] {
        let log = work_goes_on(&url, 12).await;
        let told: Vec<&str> = log.lines().filter(|line| line.contains("traces")).collect();
        assert!(told.len() == 1 && told[0].contains("cannot send traces to 127.0.0.1:"), "{told:?}");
        assert!(!log.to_lowercase().contains("opentelemetry"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_delays_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    work_goes_on(&url, 12).await;
    held.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_comes_back_is_told_of_and_sent_to() {
    let stage = Stage::new().await;
    let collector = Collector::default();
    *collector.refuses.lock().unwrap() = true;
    let mut process = Process::start(traced(&stage, &collector.start().await));
    upload(&stage, "a.jpg", None).await;
    process.wait_for_line("cannot send traces", LIMIT);
    *collector.refuses.lock().unwrap() = false;
    upload(&stage, "b.jpg", None).await;
    process.wait_for_line("traces are sent again", LIMIT);
    let queue = stage.queue.rsplit('/').next().unwrap();
    collector.wait_for(&format!("process {queue}"), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_traces_cannot_be_is_a_mistake_of_the_configuration() {
    let stage = Stage::new().await;
    let mut command = traced(&stage, "collector:4317");
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").env("OTEL_TRACES_SAMPLER", "xray");
    let (code, _, errors) = run_aside(command).await;
    assert_eq!(code, Some(2), "{errors}");
    for part in ["OTEL_EXPORTER_OTLP_ENDPOINT", "http/protobuf", "OTEL_TRACES_SAMPLER", "3 mistakes"] {
        assert!(errors.contains(part), "{part} in\n{errors}");
    }
}
