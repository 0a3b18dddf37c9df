//! What an operator does on the day something is stuck: the dead-letter queue and backfill.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

#[path = "operate/backfill.rs"]
mod backfill;
mod common;
#[path = "faults/harness/mod.rs"]
#[allow(unused_imports)] // the scenarios need more of it
mod harness;
#[path = "operate/letters.rs"]
mod letters;

use aws_sdk_sqs::types::MessageAttributeValue;
use common::pictures::{jpeg, picture};
use common::process::{Process, longshore, run_aside, signal, worker};
use common::stage::Stage;
use common::terminal::Terminal;
use common::{LIMIT, wait_for};
use harness::log::Log;
use harness::proxy::Proxy;
use harness::proxy::call::Call;
use harness::{Fault, Operation, on};
use longshore::job::Outcome;
use longshore::local::s3;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn operator(stage: &Stage, arguments: &[&str]) -> Command {
    let mut command = longshore();
    command
        .args(arguments)
        .env("AWS_ENDPOINT_URL", &stage.world.endpoint)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", s3::SECRET_ACCESS_KEY)
        .env("LONGSHORE_QUEUE_URL", &stage.queue)
        .env("LONGSHORE_OUTPUT_BUCKET", &stage.output)
        .stdin(Stdio::null());
    command
}

async fn told(stage: &Stage, arguments: &[&str]) -> (Option<i32>, String, String) {
    run_aside(operator(stage, arguments)).await
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An object of `--json` has the fields that the README tells.
fn as_documented(object: &Value, command: &str, what: &str) {
    let fields: BTreeSet<String> = object.as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, common::documented(command, what), "{command}: {object}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_for_programs_has_the_fields_of_the_readme() {
    let stage = graveyard().await;
    stage.upload("a.jpg", jpeg(&picture(40, 30))).await;
    let backfill = ["backfill", "--bucket", &stage.input];
    let dry_backfill = [&backfill[..], &["--dry-run"]].concat();
    let some = ["dlq", "redrive", "--reason", "not-an-image"];
    for (arguments, rows) in [
        (&["dlq", "list"][..], &[("dlq list", "a reason")][..]),
        (&["dlq", "show", "--limit", "1"], &[("dlq show", "a letter")]),
        (
            &["dlq", "drop", "--dry-run"],
            &[("dlq redrive --dry-run`, `dlq drop --dry-run", "what would be done")],
        ),
        (&some, &[("dlq redrive`, `dlq drop", "how it ended")]),
        (&["dlq", "redrive"], &[("dlq redrive`, `dlq drop", "how it ended")]),
        (&dry_backfill, &[("backfill --dry-run", "before that, a picture"), ("backfill", "how it ended")]),
        (&backfill, &[("backfill", "how it ended")]),
    ] {
        let (code, text, errors) = told(&stage, &[arguments, &["--json"]].concat()).await;
        assert_eq!(code, Some(0), "{arguments:?}: {errors}");
        for (object, (command, what)) in json_lines(&text).iter().zip(rows) {
            as_documented(object, command, what);
        }
    }
}

async fn bury(stage: &Stage, key: &str, reason: Option<&str>) {
    bury_since(stage, key, reason, None).await;
}

/// `age`: since it was first received.
async fn bury_since(stage: &Stage, key: &str, reason: Option<&str>, age: Option<Duration>) {
    let body = stage.message(&[stage.record(key, "e", "01")]);
    let mut send = stage.world.sqs.send_message().queue_url(&stage.dlq).message_body(body);
    let first = age.map(|age| (SystemTime::now() - age).duration_since(UNIX_EPOCH).unwrap().as_millis());
    let attributes =
        [("reason", reason.map(str::to_owned)), ("first-received", first.map(|ms| ms.to_string()))];
    for (name, value) in attributes {
        let Some(value) = value else { continue };
        let value = MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap();
        send = send.message_attributes(format!("longshore.{name}"), value);
    }
    send.send().await.unwrap();
}

async fn graveyard() -> Stage {
    let stage = Stage::new().await;
    for n in 0..12 {
        bury(&stage, &format!("cut/{n}.jpg"), Some("truncated")).await;
    }
    bury(&stage, "odd\n.jpg", Some("not-an-image")).await;
    bury(&stage, "given-up.jpg", None).await;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_by_reason_and_stay_where_they_are() {
    let stage = graveyard().await;
    let (code, text, errors) = told(&stage, &["dlq", "list"]).await;
    assert_eq!(code, Some(0), "{errors}");
    for part in ["truncated", " 12 ", "cut/", "receives-used-up", "odd\\u{a}.jpg", "14 in "] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    assert_eq!(stage.depth(&stage.dlq).await, (14, 0), "all visible again");

    let (_, text, _) = told(&stage, &["dlq", "list", "--json", "--key", "cut/*"]).await;
    let lines = json_lines(&text);
    assert_eq!((lines.len(), &lines[0]["count"]), (1, &json!(12)), "{text}");

    let (_, text, _) = told(&stage, &["dlq", "show", "--reason", "not-an-image", "--json"]).await;
    let lines = json_lines(&text);
    assert_eq!(lines[0]["objects"][0], format!("s3://{}/odd\n.jpg", stage.input));
    assert!(lines[0]["body"].as_str().unwrap().contains("Records"));
    assert_eq!(stage.depth(&stage.dlq).await, (14, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn selected_letters_are_redriven_one_by_one_and_all_of_them_by_sqs() {
    let stage = graveyard().await;
    let some = ["dlq", "redrive", "--reason", "truncated", "--key", "cut/1*"];
    let (code, text, _) = told(&stage, &[&some[..], &["--dry-run"]].concat()).await;
    assert_eq!((code, text.trim()), (Some(0), "3 of 14 would be sent back"));
    assert_eq!((stage.depth(&stage.queue).await, stage.depth(&stage.dlq).await), ((0, 0), (14, 0)));

    let (code, text, errors) = told(&stage, &some).await;
    assert_eq!((code, text.trim()), (Some(0), "3 of 14 sent back, 0 failed"), "{errors}");
    assert_eq!((stage.depth(&stage.queue).await, stage.depth(&stage.dlq).await), ((3, 0), (11, 0)));

    let (code, text, errors) = told(&stage, &["dlq", "redrive"]).await;
    assert_eq!(code, Some(0), "{text}{errors}");
    assert!(text.starts_with("11 sent back"), "{text}");
    assert_eq!((stage.depth(&stage.queue).await, stage.depth(&stage.dlq).await), ((14, 0), (0, 0)));
}

/// SQS takes a letter's attributes along: what brought it here first is not why it is here again.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_came_back_by_its_receives_is_not_told_with_its_former_reason() {
    let stage = Stage::with_receives(2).await;
    bury(&stage, "again.jpg", Some("truncated")).await;
    let (code, text, errors) = told(&stage, &["dlq", "redrive"]).await;
    assert_eq!((code, stage.depth(&stage.queue).await), (Some(0), (1, 0)), "{text}{errors}");
    // Whoever takes it dies of it.
    let given_up = || async {
        let take = stage.world.sqs.receive_message().queue_url(&stage.queue).visibility_timeout(0);
        take.send().await.unwrap();
        (stage.depth(&stage.dlq).await == (1, 0)).then_some(())
    };
    wait_for("the letter", LIMIT, given_up).await;
    let (_, text, errors) = told(&stage, &["dlq", "show", "--json"]).await;
    let letter = &json_lines(&text)[0];
    assert_eq!(letter["reason"], "receives-used-up", "{text}{errors}");
    assert_eq!(letter["detail"], "it was here before, as truncated, and was sent back");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_dropped_only_after_a_yes() {
    let stage = graveyard().await;
    let drop = ["dlq", "drop", "--reason", "truncated"];
    let (code, _, errors) = told(&stage, &drop).await;
    assert_eq!(code, Some(2));
    assert!(errors.contains("--yes"), "{errors}");
    assert_eq!(stage.depth(&stage.dlq).await, (14, 0));
    let (code, text, _) = told(&stage, &[&drop[..], &["--yes", "--json"]].concat()).await;
    assert_eq!(code, Some(0));
    assert_eq!(
        json_lines(&text)[0],
        json!({"seen": 14, "done": 12, "failed": 0, "interrupted": false, "hidden": 0, "status": "COMPLETED", "why": null})
    );
    assert_eq!(stage.depth(&stage.dlq).await, (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_asked_may_say_no() {
    let stage = graveyard().await;
    // Nothing: somebody interrupts it instead.
    for (answer, code, left) in [("n\n", 1, 14), ("\n", 1, 14), ("", 1, 14), ("yes\n", 0, 2)] {
        let mut terminal = Terminal::new(24, 80);
        let mut command = operator(&stage, &["dlq", "drop", "--reason", "truncated"]);
        command.stdin(terminal.stdio()).stderr(terminal.stdio());
        let asked = tokio::task::spawn_blocking(move || {
            let mut child = command.stdout(Stdio::null()).spawn().unwrap();
            terminal.wait_for(|text| text.contains("Delete 12 of 14") && text.contains("[y/N]"), LIMIT);
            match answer {
                "" => signal(child.id(), "INT"),
                answer => terminal.write(answer),
            }
            child.wait().unwrap().code()
        });
        assert_eq!(asked.await.unwrap(), Some(code), "{answer:?}");
        assert_eq!(stage.depth(&stage.dlq).await, (left, 0), "{answer:?}");
    }
}

/// As `| head -1` does: takes a line and leaves.
async fn first_line_of(mut command: Command) -> (String, Option<i32>, String) {
    let first = move || {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        drop(stdout);
        let ended = child.wait_with_output().unwrap();
        (line, ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    };
    tokio::task::spawn_blocking(first).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_is_no_panic_and_hides_no_letter() {
    let stage = graveyard().await;
    for n in 0..40 {
        stage.upload(&format!("{n}.jpg"), b"not looked at".to_vec()).await;
        bury(&stage, &format!("{}.jpg", "long".repeat(250)), Some("truncated")).await;
    }
    let backfill = ["backfill", "--bucket", &stage.input, "--dry-run", "--json"];
    for arguments in [
        &["dlq", "show", "--json", "--limit", "100"][..],
        &["dlq", "list"],
        &backfill,
        &["completions", "bash"],
        &["config", "check", "--json"],
        &["status"],
    ] {
        let (line, code, errors) = first_line_of(operator(&stage, arguments)).await;
        assert!(!line.is_empty(), "{arguments:?}: {errors}");
        // Few lines may all be written before their reader is gone.
        assert!(matches!(code, Some(0 | 1)), "{arguments:?}: {code:?} {errors}");
        assert!(!errors.contains("panicked"), "{arguments:?}: {errors}");
        assert_eq!(stage.depth(&stage.dlq).await, (54, 0), "{arguments:?}: all visible");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_told_and_is_no_success() {
    let stage = graveyard().await;
    for arguments in
        [&["dlq", "list"][..], &["dlq", "show"], &["completions", "bash"], &["config", "check"], &["status"]]
    {
        let mut command = operator(&stage, arguments);
        command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
        let ended = tokio::task::spawn_blocking(move || command.stderr(Stdio::piped()).spawn()).await;
        let ended = tokio::task::spawn_blocking(|| ended.unwrap().unwrap().wait_with_output());
        let ended = ended.await.unwrap().unwrap();
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {errors}");
        assert_eq!(errors.matches("cannot write to standard output").count(), 1, "{arguments:?}: {errors}");
        assert_eq!(stage.depth(&stage.dlq).await, (14, 0), "{arguments:?}: all visible");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_somebody_hides_are_not_told_to_be_none() {
    let stage = Stage::new().await;
    for n in 0..5 {
        bury(&stage, &format!("{n}.jpg"), Some("truncated")).await;
    }
    let hide = stage.world.sqs.receive_message().queue_url(&stage.dlq).max_number_of_messages(10);
    let hidden = hide.visibility_timeout(600).send().await.unwrap().messages().len();
    assert_eq!(hidden, 5);
    let (code, text, errors) = told(&stage, &["dlq", "list"]).await;
    assert_eq!((code, text.trim()), (Some(1), "no dead letters to be seen"), "{errors}");
    assert!(errors.contains("5 more are hidden now"), "{errors}");
    bury(&stage, "new.jpg", Some("truncated")).await;
    for arguments in [&["dlq", "redrive", "--reason", "t*", "--dry-run"][..], &["dlq", "drop", "--yes"]] {
        let (code, text, errors) = told(&stage, &[arguments, &["--json"]].concat()).await;
        assert_eq!((code, &json_lines(&text)[0]["hidden"]), (Some(1), &json!(5)), "{errors}");
        assert!(errors.contains("5 more are hidden now"), "{errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_at_once() {
    let stage = Stage::new().await;
    let mut command = operator(&stage, &["dlq", "list", "--older-than", "soon"]);
    command.env_remove("LONGSHORE_QUEUE_URL");
    let (code, _, errors) = run_aside(command).await;
    assert_eq!(code, Some(2));
    assert!(errors.contains("--queue-url is missing") && errors.contains("--older-than"), "{errors}");
    let (code, _, errors) = told(&stage, &["backfill", "--since", "yesterday", "--rate", "0"]).await;
    assert_eq!(code, Some(2));
    for part in ["--since", "--rate", "--bucket", "3 mistakes"] {
        assert!(errors.contains(part), "{part} in\n{errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_queues_what_has_no_rendition_or_an_outdated_one_and_nothing_twice() {
    let stage = Stage::new().await;
    let backfill = ["backfill", "--bucket", &stage.input];
    for n in 0..45 {
        stage.upload(&format!("a/{n} ü.jpg"), jpeg(&picture(40, 30))).await;
    }
    for key in ["a/notes.txt", "a/folder/", "b/other.jpg"] {
        stage.upload(key, Vec::new()).await;
    }
    let only_a = [&backfill[..], &["--prefix", "a/"]].concat();
    let (code, text, errors) = told(&stage, &[&only_a[..], &["--dry-run"]].concat()).await;
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(text.trim(), "45 pictures looked at: 45 without a rendition, 0 outdated; 45 would be queued");
    assert_eq!(stage.depth(&stage.queue).await, (0, 0));

    // In two parts, as after an interruption.
    let later = [&only_a[..], &["--start-after", "a/30 ü.jpg", "--json"]].concat();
    let (_, text, _) = told(&stage, &later).await;
    let part = &json_lines(&text)[0];
    assert_eq!(part["last"], "a/9 ü.jpg");
    let queued = part["missing"].as_u64().unwrap();
    assert_eq!(stage.depth(&stage.queue).await.0, queued);

    let mut worker = stage.start().await;
    for _ in 0..queued {
        let report = worker.report().await;
        assert!(matches!(report.outcome, Outcome::Done(_)), "{:?}", report.outcome);
    }
    stage.wait_until_empty().await;
    let (_, text, _) = told(&stage, &[&only_a[..], &["--missing", "--json"]].concat()).await;
    assert_eq!(json_lines(&text)[0]["missing"], json!(45 - queued));
    for _ in 0..45 - queued {
        worker.report().await;
    }
    stage.wait_until_empty().await;

    // All is there now; with other settings it is not.
    let (_, text, _) = told(&stage, &[&only_a[..], &["--json"]].concat()).await;
    assert_eq!((&json_lines(&text)[0]["missing"], &json_lines(&text)[0]["outdated"]), (&json!(0), &json!(0)));
    let other =
        [&only_a[..], &["--json", "--dry-run", "--renditions", "thumbs=100x100; resized=1024x768,q85"]];
    let (_, text, _) = told(&stage, &other.concat()).await;
    assert_eq!(json_lines(&text).last().unwrap()["outdated"], json!(45));
    worker.stop().await;
}

/// The settings of `work`, and the input bucket.
async fn checked(
    stage: &Stage,
    arguments: &[&str],
    spoil: impl FnOnce(&mut Command),
) -> (Option<i32>, String, String) {
    let mut command = operator(stage, &[&["config", "check"], arguments].concat());
    command.env("LONGSHORE_INPUT_BUCKETS", &stage.input).env("LONGSHORE_CACHE_CONTROL", "");
    spoil(&mut command);
    run_aside(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_checked_without_changing_anything() {
    let stage = Stage::new().await;
    let (code, text, errors) = checked(&stage, &["--concurrency", "7"], |_| {}).await;
    assert_eq!(code, Some(0), "{text}{errors}");
    for line in [
        format!("queue-url           {}  (LONGSHORE_QUEUE_URL)", stage.queue),
        "concurrency         7  (--concurrency)".into(),
        "wait-time           10s  (default)".into(),
        "cache-control       none  (default)".into(),
        "region              us-east-1  (AWS_REGION)".into(),
        format!("dlq-url             {}  (the queue's redrive policy)", stage.dlq),
        format!("allowed      sqs:ReceiveMessage           {}", stage.queue),
        format!("allowed      sqs:DeleteMessage            {}", stage.queue),
        format!("allowed      sqs:ChangeMessageVisibility  {}", stage.queue),
        format!("allowed      sqs:SendMessage              {}", stage.dlq),
        format!("allowed      sqs:ReceiveMessage           {} (for the page)", stage.dlq),
        format!("allowed      s3:GetObject                 s3://{}", stage.input),
        format!("allowed      s3:PutObject                 s3://{}", stage.output),
        "not tried    kms:Decrypt                  keys of KMS: only a message".into(),
    ] {
        assert!(text.contains(&line), "{line:?} in\n{text}");
    }
    assert_eq!(stage.depth(&stage.queue).await, (0, 0));
    assert_eq!(stage.depth(&stage.dlq).await, (0, 0));
    assert_eq!(stage.output_keys().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_to_the_page_alone_is_told_and_is_no_failure() {
    let stage = Stage::new().await;
    let proxy = Proxy::start("operator", &stage.world.endpoint, Log::default()).await;
    let letters = stage.dlq.rsplit('/').next().unwrap().to_owned();
    let of_letters = move |call: &Call| call.target == letters;
    proxy.fault(on([Operation::Receive]).when(of_letters), Fault::Refuse(403, "AccessDenied"));
    let spoil = |command: &mut Command| {
        command.env("AWS_ENDPOINT_URL", &proxy.endpoint);
    };
    let (code, text, errors) = checked(&stage, &[], spoil).await;
    assert_eq!(code, Some(0), "{text}{errors}");
    let denied = format!("denied       sqs:ReceiveMessage           {} (for the page): ", stage.dlq);
    for line in [&denied, "without 1 of these the page shows less"] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    let (code, text, errors) = checked(&stage, &["--admin-addr", "off"], spoil).await;
    assert_eq!(code, Some(0), "{text}{errors}");
    assert!(!text.contains("page") && text.contains("all that was tried"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_by_name() {
    let stage = Stage::new().await;
    let (code, text, _) = checked(&stage, &["--json"], |command| {
        command.env("LONGSHORE_OUTPUT_BUCKET", "nobodys-bucket");
        command.env("LONGSHORE_QUEUE_URL", stage.queue.replace("/q-", "/nobodys-"));
    })
    .await;
    assert_eq!(code, Some(1), "{text}");
    let lines = json_lines(&text);
    let verdict = |action: &str, on: &str| {
        let found = lines.iter().find(|l| l["action"] == action && l["on"].as_str().unwrap().contains(on));
        found.unwrap_or_else(|| panic!("no {action} on {on} in {text}"))["verdict"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(verdict("sqs:ReceiveMessage", ""), "missing");
    assert_eq!(verdict("s3:PutObject", "nobodys-bucket"), "missing");
    assert_eq!(verdict("s3:ListBucket", "nobodys-bucket"), "missing");
    assert_eq!(verdict("s3:GetObject", &stage.input), "allowed");

    let (code, text, errors) = checked(&stage, &[], |command| {
        command.env("LONGSHORE_CONCURRENCY", "many").env("LONGSHORE_OUTPUT_BUCKET", "");
    })
    .await;
    assert_eq!((code, text.as_str()), (Some(2), ""));
    assert!(errors.contains("--concurrency") && errors.contains("--output-bucket"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_published_to_cloudwatch_when_the_worker_leaves() {
    let stage = Stage::new().await;
    let etag = stage.upload("a.jpg", jpeg(&picture(300, 200))).await;
    stage.send(stage.message(&[stage.record("a.jpg", &etag, "01")])).await;
    let printed = tempfile::NamedTempFile::new().unwrap();
    let mut command = worker(&stage);
    command.env("LONGSHORE_EMF_NAMESPACE", "Pictures").env("LONGSHORE_WAIT_TIME", "1");
    let mut process = Process::start_printing_to(command, printed.reopen().unwrap());
    stage.output("thumbs/a.jpg").await;
    stage.wait_until_empty().await;
    process.signal("TERM");
    assert_eq!(process.wait(LIMIT).code(), Some(0), "{}", process.log());

    let text = std::fs::read_to_string(printed.path()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let queue = stage.queue.rsplit('/').next().unwrap();
    for line in &lines {
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!((&directive["Namespace"], &line["queue"]), (&json!("Pictures"), &json!(queue)), "{line}");
        for dimension in directive["Dimensions"][0].as_array().unwrap() {
            assert!(line[dimension.as_str().unwrap()].is_string(), "{dimension} has a value in {line}");
        }
        for metric in directive["Metrics"].as_array().unwrap() {
            assert!(!line[metric["Name"].as_str().unwrap()].is_null(), "{metric} has a value in {line}");
        }
    }
    let sum = |name: &str| lines.iter().filter_map(|line| line[name].as_f64()).sum::<f64>();
    assert_eq!(sum("messaging_client_consumed_messages_total"), 1.0, "{text}");
    assert_eq!(sum("longshore_messages_deleted_total"), 1.0, "{text}");
    let has = |name: &str| lines.iter().any(|line| !line[name].is_null());
    assert!(has("longshore_tasks") && has("longshore_drain_seconds"), "{text}");
    let encoded = lines.iter().find(|l| l["stage"] == "encode" && l["rendition"] == "thumbs").unwrap();
    assert_eq!(encoded["longshore_stage_seconds"].as_array().unwrap().len(), 1, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_published_to_cloudwatch_every_minute() {
    let stage = Stage::new().await;
    let printed = tempfile::NamedTempFile::new().unwrap();
    let mut command = worker(&stage);
    command.env("LONGSHORE_EMF_NAMESPACE", "Pictures").env("LONGSHORE_WAIT_TIME", "1");
    let mut process = Process::start_printing_to(command, printed.reopen().unwrap());
    process.wait_for_line("started", LIMIT);
    let told = || std::fs::read_to_string(printed.path()).unwrap();
    let first =
        wait_for("line", 3 * LIMIT, || async { Some(told()).filter(|text| text.ends_with('\n')) }).await;
    assert!(first.contains("\"longshore_messages_in_flight\""), "{first}");
    assert!(process.ended().is_none(), "it goes on");
}
