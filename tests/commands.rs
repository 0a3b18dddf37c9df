//! People's own commands in the worker: the real program, on the embedded servers, with jobs as `submit` puts them.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

mod common;
#[path = "faults/harness/mod.rs"]
#[allow(unused_imports)] // the fault tests need more of it
mod harness;
#[path = "commands/jobs.rs"]
mod jobs;
#[path = "commands/secrets.rs"]
mod secrets;

use common::job::job;
use common::pictures::{jpeg, picture};
use common::process::{Process, longshore, run_aside};
use common::{LIMIT, unique, wait_for};
use harness::ecs::Agent;
use harness::log::Log;
use harness::proxy::Proxy;
use harness::{Fault, Operation, on};
use jobs::{Jobs, processes_with, until_no_process_with};
use longshore::command::layout::{self, State};
use longshore::command::supervise::{self, Ending, Order};
use longshore::command::wire::{Job, Kind, Row};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_is_fetched_run_and_stored() {
    let jobs = Jobs::new().await;
    let (input, output) = (jobs.stage.input.clone(), jobs.stage.output.clone());
    jobs.put(&input, "plays/one.txt", "to be\nor not\n").await;
    jobs.put(&input, "folder/a.txt", "a").await;
    jobs.put(&input, "folder/deep/er/ü b.txt", "b").await;
    jobs.put(&input, "folder/", "").await;
    jobs.put(&input, "folder/empty", "").await;
    // More than two ranges, and more than two parts.
    let large: Vec<u8> = (0..20_000_001_u32).map(|n| (n % 251) as u8).collect();
    jobs.put(&input, "large.bin", large.clone()).await;
    let columns = [
        (Kind::Env, "GREETING"),
        (Kind::Input, "PLAY"),
        (Kind::InputRecursive, "FOLDER"),
        (Kind::Input, "LARGE"),
        (Kind::Input, "NONE"),
        (Kind::Output, "COUNT"),
        (Kind::Output, "COPY"),
        (Kind::OutputRecursive, "TREE"),
    ];
    let greeting = "it's \"quoted\"\n$(touch never) `id` \\ ; exit 9 #";
    let row = [
        greeting.to_owned(),
        format!("s3://{input}/plays/one.txt"),
        format!("s3://{input}/folder"),
        format!("s3://{input}/large.bin"),
        String::new(),
        format!("s3://{output}/counts/one.txt"),
        format!("s3://{output}/copy.bin"),
        format!("s3://{output}/tree"),
    ];
    let row: Vec<&str> = row.iter().map(String::as_str).collect();
    let script = r#"set -euo pipefail
test -z "$NONE$S3_NONE"
test "$S3_PLAY" = "s3://${S3_PLAY#s3://}" && test "$PWD" = "$HOME" && test -d "$TMPDIR"
printf '%s' "$GREETING" >"$TREE/greeting"
wc -w <"$PLAY" >"$COUNT"
cp "$LARGE" "$COPY"
cp -r "$FOLDER" "$TREE/copy"
echo "row $LONGSHORE_ROW of $LONGSHORE_JOB, attempt $LONGSHORE_ATTEMPT"
echo "$BASE" >&2
"#;
    let mut wanted = job("whole", &columns);
    wanted.env.insert("BASE".into(), "from the job".into());
    jobs.submit(wanted, script, &[&row]).await;
    let worker = jobs.start();
    let record = jobs.done("whole", 1).await;
    let get = |key: &'static str| jobs.stage.output(key);
    assert_eq!(get("counts/one.txt").await.bytes, b"4\n");
    assert!(get("copy.bin").await.bytes == large, "20 MB came out as others");
    assert_eq!(get("tree/greeting").await.bytes, greeting.as_bytes());
    assert_eq!(get("tree/copy/deep/er/ü b.txt").await.bytes, b"b");
    assert_eq!(get("tree/copy/empty").await.bytes, b"");
    assert_eq!((record.attempt, record.exit_code, record.reason.as_str()), (1, Some(0), ""));
    assert_eq!(record.bytes_in, large.len() as u64 + 15);
    assert_eq!(record.bytes_out, large.len() as u64 + 4 + greeting.len() as u64);
    assert!(record.ended_at >= record.started_at && !record.worker.is_empty());
    let log = jobs.log(&record).await;
    assert!(log.contains("row 1 of whole, attempt 1\n") && log.contains("from the job\n"), "{log}");
    jobs.stage.wait_until_empty().await;
    assert_eq!(jobs.stage.depth(&jobs.stage.dlq).await, (0, 0));
    let text = jobs.stop(worker);
    assert!(text.contains("row 1 of whole, attempt 1"), "its output is in the log\n{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes_decide() {
    let jobs = Jobs::new().await;
    let script = "echo learned >\"$OUT\"; exit $CODE";
    let columns = [(Kind::Env, "CODE"), (Kind::Output, "OUT")];
    let out = format!("s3://{}/out.txt", jobs.stage.output);
    // The first is permanent, the second has no attempt left.
    let wanted = Job { permanent: vec![3], attempts: 9, keep_failed: true, ..job("codes", &columns) };
    jobs.submit(wanted, script, &[&["3", &out]]).await;
    jobs.submit(job("once", &columns), script, &[&["137", &out]]).await;
    let worker = jobs.start();
    let record = jobs.failed("codes", 1).await;
    assert_eq!((record.attempt, record.exit_code, record.reason.as_str()), (1, Some(3), "exit code 3"));
    assert_eq!(record.slug.as_deref(), Some("command-failed"));
    let kept = layout::failed_output("codes", 1, 1, "OUT");
    wait_for("the output of the failed attempt", LIMIT, || jobs.text(&kept)).await;
    assert_eq!(jobs.text(&kept).await.as_deref(), Some("learned\n"));
    let record = jobs.failed("once", 1).await;
    assert!(record.reason.contains("137") && record.reason.contains("out of memory"), "{}", record.reason);
    let mut reasons = [jobs.stage.dead_letter().await.reason(), jobs.stage.dead_letter().await.reason()];
    reasons.sort();
    assert_eq!(reasons, ["command-failed", "command-killed"]);
    jobs.stage.wait_until_empty().await;
    assert!(jobs.stage.output_keys().await.is_empty(), "outputs of failures are no outputs");
    jobs.stop(worker);
}

/// However it fails, what it made by then is kept; what cannot be is left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_of_failed_attempts_are_kept_where_asked() {
    let jobs = Jobs::new().await;
    let out = |name: &str| format!("s3://{}/{name}", jobs.stage.output);
    let kept = Job { keep_failed: true, ..job("", &[]) };
    let two = [(Kind::Output, "A"), (Kind::Output, "B")];
    let columns = |columns: &[(Kind, &str)]| job("", columns).columns;
    // Its end is good, and one output is not there, or goes where there is no bucket.
    let lacking = Job { name: "lacking".into(), columns: columns(&two), ..kept.clone() };
    jobs.submit(lacking, "echo learned >$A", &[&[&out("a"), &out("b")]]).await;
    let refused = Job { name: "refused".into(), columns: columns(&two), ..kept.clone() };
    let nowhere = format!("s3://{}/b", unique("nowhere"));
    jobs.submit(refused, "echo learned >$A; echo b >$B", &[&[&out("a"), &nowhere]]).await;
    let slow = Job { name: "slow".into(), timeout: 2, columns: columns(&two), ..kept.clone() };
    jobs.submit(slow, "echo learned >$A; sleep 3600; true", &[&[&out("a"), &out("b")]]).await;
    let tree = [(Kind::OutputRecursive, "TREE")];
    let bad = Job { name: "bad".into(), columns: columns(&tree), ..kept };
    let script = "echo learned >$TREE/good; ln -s /etc/passwd $TREE/bad; mkdir $TREE/deep; echo x >$TREE/deep/x; exit 3";
    jobs.submit(bad, script, &[&[&out("tree")]]).await;
    let worker = jobs.start();
    for (name, reason, output) in [
        ("lacking", "output B was not made", "A"),
        ("refused", "NoSuchBucket", "A"),
        ("slow", "not finished within 2 s", "A"),
        ("bad", "exit code 3", "TREE/good"),
    ] {
        let record = jobs.failed(name, 1).await;
        assert!(record.reason.contains(reason), "{name}: {}", record.reason);
        let key = layout::failed_output(name, 1, 1, output);
        assert_eq!(jobs.text(&key).await.as_deref(), Some("learned\n"), "{name}: {key}");
    }
    assert_eq!(jobs.text(&layout::failed_output("bad", 1, 1, "TREE/deep/x")).await.as_deref(), Some("x\n"));
    assert!(jobs.text(&layout::failed_output("bad", 1, 1, "TREE/bad")).await.is_none());
    assert!(jobs.stage.output_keys().await.is_empty(), "outputs of failures are no outputs");
    jobs.stage.wait_until_empty().await;
    let text = jobs.stop(worker);
    assert!(text.contains("not kept of the failed attempt") && text.contains("leads out of"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flaky_script_works_at_the_third_attempt() {
    let jobs = Jobs::new().await;
    let wanted = Job { attempts: 5, ..job("flaky", &[(Kind::Output, "OUT")]) };
    let script = "sleep 0.5; echo attempt $LONGSHORE_ATTEMPT; [ $LONGSHORE_ATTEMPT = 3 ] && echo good >$OUT";
    jobs.submit(wanted, script, &[&[&format!("s3://{}/o", jobs.stage.output)]]).await;
    let worker = jobs.start();
    let record = jobs.done("flaky", 1).await;
    assert_eq!(record.attempt, 3);
    // Two attempts failed before, of half a second each at least.
    assert!(record.seconds_before >= 1.0, "{record:?}");
    for attempt in 1..=3 {
        let log = jobs.text(&layout::log("flaky", 1, attempt)).await;
        assert_eq!(log, Some(format!("attempt {attempt}\n")));
    }
    jobs.stage.wait_until_empty().await;
    wait_for("the end of the record of failures", LIMIT, || async {
        jobs.record(State::Retried, "flaky", 1).await.is_none().then_some(())
    })
    .await;
    assert_eq!(jobs.stage.depth(&jobs.stage.dlq).await, (0, 0));
    jobs.stop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_script_is_ended_by_its_limit() {
    let jobs = Jobs::new().await;
    let mark = unique("slow");
    let script = format!("trap '' TERM\nbash -c 'sleep 3600; true' {mark}\n");
    jobs.submit(Job { timeout: 1, ..job("slow", &[]) }, &script, &[&[]]).await;
    let worker = jobs.start();
    let record = jobs.failed("slow", 1).await;
    assert_eq!(record.reason, "not finished within 1 s");
    assert_eq!(jobs.stage.dead_letter().await.reason(), "command-timeout");
    assert_eq!(processes_with(&mark), Vec::<u32>::new());
    jobs.stop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_output_is_kept_at_both_ends() {
    let jobs = Jobs::new().await;
    let script =
        "echo first; yes 0123456789012345678901234567890123456789 | head -c 30000000; echo; echo last";
    jobs.submit(job("huge", &[]), script, &[&[]]).await;
    let worker = jobs.start();
    let record = jobs.done("huge", 1).await;
    let log = jobs.log(&record).await;
    assert!(log.starts_with("first\n") && log.ends_with("\nlast\n"));
    assert!(log.len() < 2_200_000 && log.contains("bytes are left out here"), "{}", log.len());
    let text = jobs.stop(worker);
    assert!(text.contains("prints more than"), "no word of what is not logged");
    assert!(text.len() < 12_000_000, "{} bytes of log", text.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_script_leaves_behind_is_ended() {
    let jobs = Jobs::new().await;
    let mark = unique("left");
    let script = format!(
        "bash -c 'sleep 3600; true' {mark} &\n\
         setsid bash -c 'trap \"\" TERM HUP; sleep 3600; true' {mark} &\n\
         (setsid env -i /bin/bash -c 'sleep 3600; true' {mark} >/dev/null 2>&1 </dev/null & ) &\n\
         sleep 0.2; echo begun\n"
    );
    jobs.submit(job("left", &[]), &script, &[&[]]).await;
    let worker = jobs.start();
    let record = jobs.done("left", 1).await;
    assert_eq!(processes_with(&mark), Vec::<u32>::new());
    assert_eq!(jobs.log(&record).await, "begun\n");
    assert!(jobs.stop(worker).contains("processes behind"), "nobody was told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_reaches_the_script_and_no_log() {
    let jobs = Jobs::new().await;
    let keeper = secrets::serve().await;
    let columns = [(Kind::SecretEnv, "TOKEN"), (Kind::SecretEnv, "PASSWORD"), (Kind::Output, "OUT")];
    let script = "echo \"token=$TOKEN\"; echo \"$PASSWORD\" >&2\n\
                  printf '%s' \"${TOKEN:0:5}\"; sleep 0.3; printf '%s\\n' \"${TOKEN:5}\"\n\
                  printf '%s %s' \"$TOKEN\" \"$PASSWORD\" >$OUT";
    let out = format!("s3://{}/told", jobs.stage.output);
    jobs.submit(job("secret", &columns), script, &[&["/app/token", secrets::ARN, &out]]).await;
    jobs.submit(job("none", &columns), script, &[&["/app/nowhere", "", &out]]).await;
    let mut command = jobs.worker();
    command.env("AWS_ENDPOINT_URL_SSM", &keeper).env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &keeper);
    command.env("LONGSHORE_LOG", "debug");
    let worker = Process::start(command);
    let record = jobs.done("secret", 1).await;
    let told = jobs.stage.output("told").await.bytes;
    assert_eq!(String::from_utf8(told).unwrap(), format!("{} {}", secrets::TOKEN, secrets::PASSWORD));
    let log = jobs.log(&record).await;
    assert_eq!(log.matches("***").count(), 3, "{log}");
    let failed = jobs.failed("none", 1).await;
    assert_eq!(failed.slug.as_deref(), Some("command-secret"));
    assert!(failed.reason.contains("/app/nowhere"), "{}", failed.reason);
    let text = jobs.stop(worker) + &log + &serde_json::to_string(&record).unwrap();
    for secret in [secrets::TOKEN, secrets::PASSWORD] {
        assert!(!text.contains(secret), "{secret} is told:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_for_those_who_ask() {
    let jobs = Jobs::new().await;
    let columns = [(Kind::Output, "OUT")];
    let out = |name: &str| format!("s3://{}/{name}", jobs.stage.output);
    jobs.submit(job("without", &columns), "env >$OUT", &[&[&out("without")]]).await;
    let with = Job { credentials: true, ..job("with", &columns) };
    jobs.submit(with, "env >$OUT", &[&[&out("with")]]).await;
    let worker = jobs.start();
    let told = async |name: &str| String::from_utf8(jobs.stage.output(name).await.bytes).unwrap();
    let without = told("without").await;
    assert!(!without.contains("AWS_") && !without.contains("LONGSHORE_QUEUE_URL"), "{without}");
    let with = told("with").await;
    for name in ["AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_REGION=", "AWS_ENDPOINT_URL="] {
        assert!(with.contains(name), "{name} in\n{with}");
    }
    jobs.stop(worker);
}

/// Waits until a script has made this file.
async fn made(flag: &std::path::Path) {
    wait_for("the script's word", LIMIT, || async { flag.exists().then_some(()) }).await;
}

/// The first time it waits for ever, the second time it ends at once.
fn stubborn(flag: &std::path::Path, mark: &str, trap: &str) -> String {
    let flag = flag.display();
    format!(
        "[ -e {flag} ] && exit 0\ntrap '{trap}' TERM\ntouch {flag}\nbash -c 'sleep 3600; true' {mark} & wait; wait\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_sigterm_a_row_is_handed_back_and_runs_elsewhere() {
    for (trap, patient) in [("echo farewell; exit 0", false), ("", true)] {
        let jobs = Jobs::new().await;
        let (flag, mark) = (jobs.flag(), unique("term"));
        jobs.submit(job("handed", &[]), &stubborn(&flag, &mark, trap), &[&[]]).await;
        let worker = jobs.start();
        made(&flag).await;
        let text = jobs.stop(worker);
        assert_eq!(processes_with(&mark), Vec::<u32>::new());
        assert_eq!(text.contains("farewell"), !patient, "{text}");
        assert_eq!(text.contains("did not end within the drain budget"), patient, "{text}");
        assert_eq!(jobs.stage.depth(&jobs.stage.queue).await, (1, 0), "not visible to others");
        assert!(jobs.record(State::Retried, "handed", 1).await.is_none(), "it counts as a failure");
        let started = layout::state("handed", State::Started, 1);
        // Who is killed at the end of the budget leaves little time for that.
        assert!(patient || jobs.text(&started).await.is_none(), "it waits, and is said to run");
        let second = jobs.start();
        assert_eq!(jobs.done("handed", 1).await.attempt, 1);
        jobs.stage.wait_until_empty().await;
        jobs.stop(second);
        std::fs::remove_file(flag).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_takes_its_scripts_along_and_the_next_one_tidies_up() {
    let jobs = Jobs::new().await;
    let (flag, mark) = (jobs.flag(), unique("kill"));
    jobs.submit(job("killed", &[]), &stubborn(&flag, &mark, ""), &[&[]]).await;
    let mut command = jobs.worker();
    command.env("LONGSHORE_VISIBILITY_TIMEOUT", "3s");
    let mut worker = Process::start(command);
    made(&flag).await;
    worker.signal("KILL");
    worker.wait(LIMIT);
    until_no_process_with(&mark).await;
    assert!(!jobs.left_on_disk().is_empty(), "there is nothing to tidy up");
    let second = jobs.start();
    assert_eq!(jobs.done("killed", 1).await.attempt, 1);
    jobs.stage.wait_until_empty().await;
    jobs.stop(second);
    std::fs::remove_file(flag).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_supervisor_takes_its_script_along() {
    let jobs = Jobs::new().await;
    let (flag, mark) = (jobs.flag(), unique("orphan"));
    let wanted = Job { attempts: 2, ..job("orphaned", &[]) };
    let number = jobs.flag();
    let script = format!("echo $$ >{}\n{}", number.display(), stubborn(&flag, &mark, ""));
    jobs.submit(wanted, &script, &[&[]]).await;
    let worker = jobs.start();
    made(&flag).await;
    let script = std::fs::read_to_string(&number).unwrap();
    let supervisors: Vec<u32> = processes_with("longshore-row\0orphaned 1");
    assert_eq!(supervisors.len(), 1);
    let pid = Pid::from_raw(i32::try_from(supervisors[0]).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    until_no_process_with(&mark).await;
    assert_eq!(jobs.done("orphaned", 1).await.attempt, 2);
    // It came to the worker, which waits for it.
    let place = format!("/proc/{}", script.trim());
    wait_for("the end of the zombie", LIMIT, || async { (!std::fs::exists(&place).unwrap()).then_some(()) })
        .await;
    jobs.stop(worker);
    for file in [flag, number] {
        std::fs::remove_file(file).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_whose_message_is_lost_is_killed() {
    let jobs = Jobs::new().await;
    let proxy = Proxy::start("w", &jobs.stage.world.endpoint, Log::default()).await;
    let (flag, mark) = (jobs.flag(), unique("lost"));
    jobs.submit(job("lost", &[]), &stubborn(&flag, &mark, ""), &[&[]]).await;
    let mut command = jobs.worker();
    command.env("AWS_ENDPOINT_URL", &proxy.endpoint).env("LONGSHORE_VISIBILITY_TIMEOUT", "3s");
    let mut worker = Process::start(command);
    made(&flag).await;
    // Renewals do not come through, so that SQS gives it to somebody else.
    let rule = proxy.fault(on([Operation::ChangeVisibility]), Fault::Refuse(503, "ServiceUnavailable"));
    worker.wait_for_line("is not ours any more: the script is killed", LIMIT);
    until_no_process_with(&mark).await;
    rule.end();
    jobs.done("lost", 1).await;
    jobs.stop(worker);
    std::fs::remove_file(flag).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_are_all_there_or_the_row_is_not_done() {
    let jobs = Jobs::new().await;
    let log = Log::default();
    let proxy = Proxy::start("w", &jobs.stage.world.endpoint, log.clone()).await;
    let columns = [(Kind::Output, "A"), (Kind::Output, "B"), (Kind::Output, "LARGE")];
    let out = |name: &str| format!("s3://{}/{name}", jobs.stage.output);
    let script = "echo a >$A; echo b >$B; head -c 9000000 /dev/zero >$LARGE";
    jobs.submit(job("all", &columns), script, &[&[&out("a"), &out("b"), &out("large")]]).await;
    // Its upload is begun, and then its only part refused as often as the SDK tries: one delivery fails.
    let rule = proxy.fault(on([Operation::OtherS3]).key("b").nth(2..=4), Fault::Refuse(503, "SlowDown"));
    let mut command = jobs.worker();
    command.env("AWS_ENDPOINT_URL", &proxy.endpoint).env("LONGSHORE_VISIBILITY_TIMEOUT", "3s");
    let mut first = Process::start(command);
    first.wait_for_line("will be tried again", LIMIT);
    assert_eq!(rule.applied(), 3);
    let none = async |when: &str| {
        assert!(jobs.record(State::Done, "all", 1).await.is_none(), "done {when}");
        assert!(jobs.text(&layout::state("all", State::Started, 1)).await.is_none(), "said to run {when}");
        assert_eq!(jobs.stage.output_keys().await, Vec::<String>::new(), "{when}");
    };
    none("though one was refused").await;
    let given_up = |e: &harness::log::Exchange| e.call.key == "large" && e.status == Some(204);
    assert_eq!(log.count(given_up), 1, "parts are kept, and paid for");
    // And then the process is killed between two outputs.
    let first = Arc::new(std::sync::Mutex::new(first));
    let victim = Arc::clone(&first);
    let kill = move || victim.lock().unwrap().signal("KILL");
    let killed = proxy.fault(on([Operation::OtherS3]).key("b").nth(2..), Fault::Before(Arc::new(kill)));
    wait_for("the kill", LIMIT, || async { (killed.applied() > 0).then_some(()) }).await;
    first.lock().unwrap().wait(LIMIT);
    assert!(jobs.record(State::Done, "all", 1).await.is_none(), "done before all was stored");
    assert_eq!(jobs.stage.output_keys().await, Vec::<String>::new(), "a reader sees some of them");
    proxy.heal();
    let mut command = jobs.worker();
    command.env("AWS_ENDPOINT_URL", &proxy.endpoint);
    let second = Process::start(command);
    jobs.done("all", 1).await;
    let mut keys = jobs.stage.output_keys().await;
    keys.sort();
    assert_eq!(keys, ["a", "b", "large"], "a reader of the record finds all");
    jobs.stage.wait_until_empty().await;
    jobs.stop(second);
    // The record is written after every output, and the message deleted after the record.
    let exchanges = log.exchanges();
    let done = layout::state("all", State::Done, 1);
    let at = exchanges.iter().position(|e| e.call.key == done && e.call.operation == Operation::PutObject);
    let outputs = |e: &harness::log::Exchange| {
        e.call.target == jobs.stage.output && e.took_effect() && e.call.operation == Operation::OtherS3
    };
    assert!(exchanges.iter().rposition(outputs) < at, "an output after its record");
    let deleted = exchanges.iter().position(|e| e.call.operation == Operation::Delete);
    assert!(at < deleted, "deleted before its record");
}

/// Inputs and outputs wherever they are, in buckets whose readers pay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_of_other_regions_are_reached_where_that_is_meant() {
    let jobs = Jobs::new().await;
    let proxy = Proxy::start("w", &jobs.stage.world.endpoint, Log::default()).await;
    let (input, output) = (jobs.stage.input.clone(), jobs.stage.output.clone());
    for (bucket, region) in [(input.clone(), "eu-west-1"), (output.clone(), "ap-south-1")] {
        let there = bucket.clone();
        let elsewhere = on([]).when(move |call| call.target == there && call.region != region);
        proxy.fault(elsewhere, Fault::Elsewhere(region));
        let pays = |call: &harness::proxy::call::Call| call.header("x-amz-request-payer").is_some();
        // A bucket itself is asked for without paying.
        let unpaid = on([]).when(move |call| call.target == bucket && !pays(call) && !call.key.is_empty());
        proxy.fault(unpaid, Fault::Refuse(403, "AccessDenied"));
    }
    jobs.put(&input, "one.txt", "one\n").await;
    jobs.put(&input, "folder/two.txt", "two\n").await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let row = |n: u32| format!("s3://{input}/one.txt\ts3://{input}/folder\ts3://{output}/{n}");
    let table = file(
        "t.tsv",
        &format!(
            "--input IN\t--input-recursive ALL\t--output A\t--output B\n{}\n{}\ts3://{output}/b\n",
            row(1),
            row(2)
        ),
    );
    let script = file("run.sh", "cat $IN $ALL/two.txt >$A; if [ -n \"$B\" ]; then echo b >$B; fi");
    let submit = async |more: &[&str]| {
        let mut submit = jobs.operator(&["submit", "--name", "far", "--wait"]);
        submit.env("AWS_ENDPOINT_URL", &proxy.endpoint).args(more).arg(&table).arg("--script").arg(&script);
        run_aside(submit).await
    };
    let (code, _, errors) = submit(&["--request-payer"]).await;
    assert_eq!(code, Some(2), "{errors}");
    for part in [
        format!("row 1, column --input IN: s3://{input} is in eu-west-1"),
        format!("row 1, column --output A: s3://{output} is in ap-south-1"),
    ] {
        assert!(errors.contains(&part), "{part} in\n{errors}");
    }
    let (code, _, errors) = submit(&["--no-verify-regions"]).await;
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("row 1, column --input IN") && errors.contains("is denied"), "{errors}");

    let mut command = jobs.worker();
    command.env("AWS_ENDPOINT_URL", &proxy.endpoint);
    let worker = Process::start(command);
    let (code, out, errors) = submit(&["--no-verify-regions", "--request-payer"]).await;
    assert_eq!(code, Some(0), "{out}{errors}");
    for (key, text) in [("1", "one\ntwo\n"), ("2", "one\ntwo\n"), ("b", "b\n")] {
        assert_eq!(jobs.stage.output(key).await.bytes, text.as_bytes(), "{key}");
    }
    for row in [1, 2] {
        assert_eq!(jobs.done("far", row).await.attempt, 1, "an attempt was lost to it");
    }
    jobs.stop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inputs_larger_than_the_disk_are_refused_before_anything_is_fetched() {
    let jobs = Jobs::new().await;
    let log = Log::default();
    let proxy = Proxy::start("w", &jobs.stage.world.endpoint, log.clone()).await;
    jobs.put(&jobs.stage.input, "small", "1234567").await;
    jobs.put(&jobs.stage.input, "large", "x").await;
    const PEBIBYTE: u64 = 1 << 50;
    let rule = proxy.fault(on([Operation::HeadObject]).key("large"), Fault::Large(PEBIBYTE));
    let cell = |key: &str| format!("s3://{}/{key}", jobs.stage.input);
    let columns = [(Kind::Input, "SMALL"), (Kind::Input, "LARGE")];
    jobs.submit(job("too-large", &columns), "echo never", &[&[&cell("small"), &cell("large")]]).await;
    let mut command = jobs.worker();
    command.env("AWS_ENDPOINT_URL", &proxy.endpoint);
    let worker = Process::start(command);
    let record = jobs.failed("too-large", 1).await;
    assert_eq!(record.slug.as_deref(), Some("command-input"));
    let room = record
        .reason
        .strip_prefix(&format!("the inputs have {} bytes, and the disk has room for ", PEBIBYTE + 7));
    assert!(
        room.is_some_and(|room| room.parse::<u64>().is_ok_and(|room| room < PEBIBYTE)),
        "{}",
        record.reason
    );
    assert_eq!((record.exit_code, record.bytes_in, record.log.as_str()), (None, 0, ""), "it was run");
    assert_eq!(rule.applied(), 1);
    let fetched =
        log.count(|e| e.call.target == jobs.stage.input && e.call.operation == Operation::GetObject);
    assert_eq!(fetched, 0, "something was fetched");
    // What was promised to it is there for the next one.
    proxy.heal();
    jobs.submit(job("fits", &columns), "cat $SMALL $LARGE", &[&[&cell("small"), &cell("large")]]).await;
    let record = jobs.done("fits", 1).await;
    assert_eq!(jobs.log(&record).await, "1234567x");
    jobs.stop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_files_go_in_parts_side_by_side() {
    let jobs = Jobs::new().await;
    let log = Log::default();
    let proxy = Proxy::start("w", &jobs.stage.world.endpoint, log.clone()).await;
    // More than two ranges, and more than two parts.
    let large: Vec<u8> = (0..20_000_001_u32).map(|n| (n % 251) as u8).collect();
    jobs.put(&jobs.stage.input, "large", large.clone()).await;
    jobs.put(&jobs.stage.input, "small", "small").await;
    // As slow as S3 may be: who goes one by one is seen to.
    for operation in [Operation::GetObject, Operation::OtherS3] {
        let (input, output) = (jobs.stage.input.clone(), jobs.stage.output.clone());
        let files = on([operation]).when(move |call| call.target == input || call.target == output);
        proxy.fault(files, Fault::Delay(Duration::from_secs(1)));
    }
    let columns = [(Kind::Input, "LARGE"), (Kind::Input, "SMALL"), (Kind::Output, "A"), (Kind::Output, "B")];
    let input = |key: &str| format!("s3://{}/{key}", jobs.stage.input);
    let output = |key: &str| format!("s3://{}/{key}", jobs.stage.output);
    let row = [input("large"), input("small"), output("a"), output("b")];
    let row: Vec<&str> = row.iter().map(String::as_str).collect();
    jobs.submit(job("parts", &columns), "cp $LARGE $A; cp $SMALL $B", &[&row]).await;
    let mut command = jobs.worker();
    command.env("AWS_ENDPOINT_URL", &proxy.endpoint);
    let worker = Process::start(command);
    jobs.done("parts", 1).await;
    assert!(jobs.stage.output("a").await.bytes == large, "20 MB came out as others");
    jobs.stop(worker);
    let calls = |operation: Operation, key: &str, least: usize| {
        let mut exchanges = log.exchanges();
        exchanges.retain(|e| e.call.operation == operation && e.call.key == key && e.call.bytes >= least);
        exchanges
    };
    let ranges = calls(Operation::GetObject, "large", 0);
    // Their beginning and their end have small bodies.
    let parts = calls(Operation::OtherS3, "a", 1 << 20);
    for (what, several) in [("ranges", &ranges), ("parts", &parts)] {
        assert_eq!(several.len(), 3, "{what}");
        let first_end = several.iter().filter_map(|e| e.ended).min().unwrap();
        let beside = several.iter().filter(|e| e.at < first_end).count();
        assert!(beside > 1, "{what} go one by one: {several:?}");
    }
    let small = calls(Operation::GetObject, "small", 0);
    assert_eq!(small.len(), 1);
    assert!(small[0].at < ranges.iter().filter_map(|e| e.ended).max().unwrap(), "files go one by one");
}

/// What scripts leave on the disk is gone with the row, and not only with the worker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_folder_of_a_row_is_removed_however_it_ends() {
    let jobs = Jobs::new().await;
    let worker = jobs.start();
    let columns = [(Kind::Input, "IN"), (Kind::Output, "OUT")];
    let gone = format!("s3://{}/gone", jobs.stage.input);
    let out = format!("s3://{}/out", jobs.stage.output);
    let litter = "mkdir -p a/b; echo x >a/b/c; chmod 000 a/b; echo out >$OUT";
    let slow = Job { timeout: 1, ..job("slow", &columns) };
    let kept = Job { keep_failed: true, ..job("kept", &columns) };
    for (wanted, end, input, state) in [
        (job("good", &columns), "", "", State::Done),
        (job("bad", &columns), "exit 3", "", State::Failed),
        (kept, "exit 3", "", State::Failed),
        (job("lacking", &columns), "rm $OUT", "", State::Failed),
        (slow, "sleep 3600; true", "", State::Failed),
        (job("gone", &columns), "", gone.as_str(), State::Failed),
    ] {
        let name = wanted.name.clone();
        jobs.submit(wanted, &format!("{litter}; {end}"), &[&[input, &out]]).await;
        assert_eq!(jobs.ended(&name, 1).await.0, state, "{name}");
        jobs.stage.wait_until_empty().await;
        assert_eq!(jobs.rows_on_disk(), Vec::<String>::new(), "{name}");
    }
    jobs.stop(worker);
}

/// What a row took, beside what is said of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_says_what_a_row_really_took() {
    let jobs = Jobs::new().await;
    let input = jobs.stage.input.clone();
    jobs.put(&input, "folder/a", vec![b'a'; 1000]).await;
    jobs.put(&input, "folder/b", vec![b'b'; 234]).await;
    let columns = [(Kind::InputRecursive, "IN"), (Kind::Output, "OUT"), (Kind::OutputRecursive, "MORE")];
    // 100 MB that are given back before others look, and a second of a processor in the child of a child.
    let script = r#"( x=$(head -c 100000000 /dev/zero | tr '\0' a); unset x; sleep 1; : )
( ( ulimit -t 1; while :; do :; done ); : )
cat $IN/* >$OUT; printf 12345 >$MORE/x; printf 67 >$MORE/y"#;
    let row = [
        format!("s3://{input}/folder"),
        format!("s3://{}/out", jobs.stage.output),
        format!("s3://{}/more", jobs.stage.output),
    ];
    let row: Vec<&str> = row.iter().map(String::as_str).collect();
    let wanted = Job { memory: Some(1 << 30), milli_cpus: Some(500), ..job("told", &columns) };
    let began = std::time::Instant::now();
    jobs.submit(wanted, script, &[&row]).await;
    let worker = jobs.start();
    let record = jobs.done("told", 1).await;
    let most = began.elapsed().as_secs_f64();
    assert_eq!((record.bytes_in, record.bytes_out), (1234, 1234 + 7));
    assert!((0.95..5.0).contains(&record.cpu_seconds), "{record:?}");
    assert!((100_000_000..400_000_000).contains(&record.peak_memory), "{record:?}");
    assert!((1.9..=most).contains(&record.seconds()), "{record:?}");
    let told = async |form: &str| {
        let (code, out, errors) = run_aside(jobs.operator(&["report", "told", "--since", "1h", form])).await;
        assert_eq!(code, Some(0), "{errors}");
        out
    };
    let line: Value = serde_json::from_str(&told("--json").await).unwrap();
    // Half a processor, and a gibibyte.
    let cost = record.seconds() * (0.5 * 0.04048 + 0.004_445) / 3600.0;
    for (column, value) in [
        ("bytes_in", record.bytes_in as f64),
        ("bytes_out", record.bytes_out as f64),
        ("peak_memory", record.peak_memory as f64),
        ("cpu_seconds", record.cpu_seconds),
        ("seconds", record.seconds()),
        ("cost", cost),
    ] {
        assert!((line[column].as_f64().unwrap() - value).abs() < 1e-9, "{column} is not {value}: {line}");
    }
    assert_eq!((&line["worker"], &line["log"]), (&json!(record.worker), &json!(record.log)));
    // The same under the same headings.
    let tsv = told("--tsv").await;
    let (head, cells) = tsv.trim_end().split_once('\n').unwrap();
    for (column, cell) in head.split('\t').zip(cells.split('\t')) {
        match &line[column] {
            Value::Number(number) => {
                let difference = number.as_f64().unwrap() - cell.parse::<f64>().unwrap();
                assert!(difference.abs() < 1e-8, "{column}: {number} and {cell}");
            }
            Value::Null => assert_eq!(cell, "", "{column}"),
            text => assert_eq!(text, &json!(cell), "{column}"),
        }
    }
    jobs.stop(worker);
}

/// And who may not look at a bucket may say that it is well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_denies_is_told_of_before_anything_is_queued() {
    let jobs = Jobs::new().await;
    let proxy = Proxy::start("w", &jobs.stage.world.endpoint, Log::default()).await;
    let bucket = jobs.stage.output.clone();
    let denied = on([]).when(move |call| call.target == bucket && call.key.is_empty());
    proxy.fault(denied, Fault::Refuse(403, "AccessDenied"));
    let folder = tempfile::tempdir().unwrap();
    let [table, script] = ["t.tsv", "run.sh"].map(|name| folder.path().join(name));
    std::fs::write(&table, format!("--output OUT\ns3://{}/out\n", jobs.stage.output)).unwrap();
    std::fs::write(&script, "echo >$OUT").unwrap();
    let submit = async |more: &[&str]| {
        let mut submit = jobs.operator(&["submit", "--name", "denied"]);
        submit.env("AWS_ENDPOINT_URL", &proxy.endpoint).args(more).arg(&table).arg("--script").arg(&script);
        run_aside(submit).await
    };
    let (code, _, errors) = submit(&[]).await;
    assert_eq!(code, Some(2), "{errors}");
    let why = format!(
        "s3://{} is denied: allow s3:ListBucket on it, or pass --no-verify-buckets",
        jobs.stage.output
    );
    assert!(errors.contains(&format!("t.tsv, row 1, column --output OUT: {why}")), "{errors}");
    assert_eq!(jobs.stage.depth(&jobs.stage.queue).await, (0, 0));
    let (code, _, errors) = submit(&["--no-verify-buckets"]).await;
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(jobs.stage.depth(&jobs.stage.queue).await, (1, 0));
}

/// In the worker's log at once, and where `longshore logs --follow` looks soon after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_script_prints_is_told_while_it_runs() {
    let jobs = Jobs::new().await;
    let flag = jobs.flag();
    let script = format!("echo to be; until [ -e {} ]; do sleep 0.05; done; echo or not", flag.display());
    jobs.submit(job("talking", &[]), &script, &[&[]]).await;
    let mut worker = jobs.start();
    worker.wait_for_line("to be", LIMIT);
    let key = layout::log("talking", 1, 1);
    let so_far = wait_for("a log", LIMIT, || jobs.text(&key)).await;
    assert_eq!(so_far, "to be\n");
    assert!(jobs.record(State::Done, "talking", 1).await.is_none(), "it has ended before");
    std::fs::write(&flag, "").unwrap();
    let record = jobs.done("talking", 1).await;
    assert_eq!(jobs.log(&record).await, "to be\nor not\n");
    jobs.stop(worker);
    std::fs::remove_file(flag).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shell_of_a_job_reads_its_script() {
    let jobs = Jobs::new().await;
    let shell = ["/bin/sh", "-eu"].map(str::to_owned).to_vec();
    jobs.submit(Job { shell, ..job("strict", &[]) }, "echo $0; false; echo never", &[&[]]).await;
    let worker = jobs.start();
    let record = jobs.failed("strict", 1).await;
    assert_eq!(record.reason, "exit code 1");
    let log = jobs.log(&record).await;
    assert!(log.ends_with("/script\n") && log.lines().count() == 1, "{log}");
    let shell = vec!["/bin/there-is-none".to_owned()];
    jobs.submit(Job { shell, ..job("none", &[]) }, "echo never", &[&[]]).await;
    let record = jobs.failed("none", 1).await;
    assert!(record.reason.contains("/bin/there-is-none"), "{}", record.reason);
    jobs.stop(worker);
}

/// Folders that look like cgroups: what is written there is what the kernel would be told.
#[test]
fn a_script_is_born_in_its_cgroup_and_its_supervisor_is_not_counted_there() {
    let folder = tempfile::tempdir().unwrap();
    let [born, home] = ["born", "home"].map(|name| folder.path().join(name));
    let supervised = || {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let order = Order {
            command: ["/bin/sh", "-c", "cat born/cgroup.procs >seen"].map(str::to_owned).to_vec(),
            folder: folder.path().to_owned(),
            environment: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
            timeout: LIMIT,
            grace: LIMIT,
            memory: None,
            cgroup: Some((born.clone(), home.clone())),
        };
        let mut command = longshore();
        command.arg0(supervise::NAME).stdin(OwnedFd::from(theirs));
        let mut process = Process::start(command);
        writeln!(ours, "{}", serde_json::to_string(&order).unwrap()).unwrap();
        let mut line = String::new();
        BufReader::new(ours).read_line(&mut line).unwrap();
        process.wait(LIMIT);
        serde_json::from_str::<Ending>(&line).unwrap()
    };
    // Better not run than without its limits.
    let ending = supervised();
    assert!(ending.error.as_ref().is_some_and(|why| why.contains("cannot enter a cgroup")), "{ending:?}");
    assert!(!folder.path().join("seen").exists(), "it was run");
    for group in [&born, &home] {
        std::fs::create_dir(group).unwrap();
    }
    let ending = supervised();
    assert_eq!((ending.code, ending.error), (Some(0), None));
    // "0" is whoever writes it.
    for file in [folder.path().join("seen"), home.join("cgroup.procs")] {
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "0", "{}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_run_is_told_by_name() {
    let jobs = Jobs::new().await;
    let bucket = &jobs.stage.input;
    let columns =
        [(Kind::Env, "V"), (Kind::Input, "IN"), (Kind::InputRecursive, "ALL"), (Kind::Output, "OUT")];
    let wanted = Job { attempts: 5, ..job("wrong", &columns) };
    jobs.put(bucket, "escape/../../../outside.txt", "x").await;
    let (gone, nothing) = (format!("s3://{bucket}/gone.txt"), format!("s3://{bucket}/nothing/"));
    let escape = format!("s3://{bucket}/escape/");
    jobs.put(bucket, "clash/a", "x").await;
    jobs.put(bucket, "clash/a/b", "x").await;
    let clash = format!("s3://{bucket}/clash");
    let rows: [(&[&str], &str, &str); 6] = [
        (&["", &gone, "", ""], "command-input", "gone.txt is gone"),
        (&["", "", &nothing, ""], "command-input", "nothing is in"),
        (&["", "", &escape, ""], "command-input", "leads elsewhere"),
        (&["", "", &clash, ""], "command-input", "object has its place"),
        (&["a\0b", "", "", ""], "command-invalid", "NUL"),
        (&["", "", "", "/etc/passwd"], "command-invalid", "s3://"),
    ];
    let values: Vec<&[&str]> = rows.iter().map(|(values, ..)| *values).collect();
    jobs.submit(wanted.clone(), "echo never", &values).await;
    let worker = jobs.start();
    for (row, (_, slug, part)) in (1..).zip(rows) {
        let record = jobs.failed("wrong", row).await;
        assert_eq!((record.attempt, record.slug.as_deref()), (1, Some(slug)), "{record:?}");
        assert!(record.reason.contains(part), "{}", record.reason);
        assert!(jobs.stage.dead_letter().await.reason().starts_with("command-"));
    }
    // A message that is not of this table, one of a version to come, and one without its job.
    let foreign = jobs.message(&wanted, 8, &["a", "b"]);
    jobs.stage.send(foreign).await;
    assert_eq!(jobs.stage.dead_letter().await.reason(), "command-invalid");
    jobs.stage.send(r#"{"longshore":{"version":2,"job":"wrong","row":7,"digest":"d"}}"#).await;
    assert_eq!(jobs.stage.dead_letter().await.reason(), "malformed");
    jobs.queue(&job("deleted", &[]), 1, &[]).await;
    jobs.stage.wait_until_empty().await;
    assert_eq!(jobs.stage.depth(&jobs.stage.dlq).await.0, 0);
    assert!(jobs.stop(worker).contains("the job was deleted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_too_large_for_a_message_is_read_from_the_work_bucket() {
    let jobs = Jobs::new().await;
    let wanted = job("large", &[(Kind::Env, "V"), (Kind::Output, "OUT")]);
    jobs.put_job(&wanted, "printf %s \"$V\" >$OUT").await;
    let value = "v".repeat(100_000);
    let values = vec![value.clone(), format!("s3://{}/v", jobs.stage.output)];
    let digest = Row::digest(&wanted.columns, &values);
    let row = Row { row: 1, digest: digest.clone(), values };
    jobs.put(&jobs.bucket, &layout::attributes("large", 1), serde_json::to_vec(&row).unwrap()).await;
    jobs.stage
        .send(format!(r#"{{"longshore":{{"version":1,"job":"large","row":1,"digest":"{digest}"}}}}"#))
        .await;
    let worker = jobs.start();
    jobs.done("large", 1).await;
    assert_eq!(jobs.stage.output("v").await.bytes, value.as_bytes());
    jobs.stop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_done_or_cancelled_is_not_run() {
    let jobs = Jobs::new().await;
    let flag = jobs.flag();
    let script = format!("echo ran >>{}", flag.display());
    let wanted = job("twice", &[]);
    jobs.submit(wanted.clone(), &script, &[&[]]).await;
    let worker = jobs.start();
    jobs.done("twice", 1).await;
    jobs.stage.wait_until_empty().await;
    jobs.queue(&wanted, 1, &[]).await;
    jobs.stage.wait_until_empty().await;
    jobs.put(&jobs.bucket, &layout::cancelled("twice"), "").await;
    jobs.queue(&wanted, 2, &[]).await;
    let record = jobs.failed("twice", 2).await;
    assert_eq!((record.reason.as_str(), record.exit_code, record.slug), ("cancelled", None, None));
    jobs.stage.wait_until_empty().await;
    assert_eq!(jobs.stage.depth(&jobs.stage.dlq).await, (0, 0));
    let text = jobs.stop(worker);
    assert!(text.contains("was finished before") && text.contains("cancelled"), "{text}");
    assert_eq!(std::fs::read_to_string(&flag).unwrap(), "ran\n");
    std::fs::remove_file(flag).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_has_a_limit() {
    let jobs = Jobs::new().await;
    let wanted = Job { memory: Some(64 << 20), ..job("large", &[]) };
    // Three processes that take less each than all may together, and stay.
    let script = "for n in 1 2 3; do bash -c 'x=$(head -c 30000000 /dev/zero | tr \"\\0\" a); sleep 60; true' & done; wait";
    jobs.submit(wanted, script, &[&[]]).await;
    let worker = jobs.start();
    let record = jobs.failed("large", 1).await;
    assert!(record.reason.contains("out of memory"), "{}", record.reason);
    assert_eq!(record.slug.as_deref(), Some("command-memory"));
    assert!(record.peak_memory > 64 << 20, "{record:?}");
    jobs.stop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_refused_memory_ends_with_a_hint() {
    let jobs = Jobs::new().await;
    let wanted = Job { memory: Some(64 << 20), ..job("refused", &[]) };
    // Long enough at 50 MB to be seen there.
    let script = "c=$(printf %1000000s); for n in {1..50}; do x+=$c; done; sleep 2; while :; do x+=$c; done";
    jobs.submit(wanted, script, &[&[]]).await;
    let worker = jobs.start();
    let record = jobs.failed("refused", 1).await;
    assert!(record.reason.contains("out of memory"), "{record:?}");
    jobs.stop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_and_rows_are_worked_on_side_by_side() {
    let jobs = Jobs::new().await;
    let mut command = jobs.worker();
    command.env("LONGSHORE_ADMIN_ADDR", "127.0.0.1:0");
    let mut worker = Process::start(command);
    let started: Value = serde_json::from_str(&worker.wait_for_line("\"started\"", LIMIT)).unwrap();
    let page = started["admin"].as_str().unwrap().trim_end_matches('/');
    let port: u16 = page.rsplit(':').next().unwrap().parse().unwrap();
    let wanted = job("beside", &[(Kind::Output, "OUT")]);
    jobs.put_job(&wanted, "echo $LONGSHORE_ROW >$OUT").await;
    for n in 1..=5 {
        let etag = jobs.stage.upload(&format!("p{n}.jpg"), jpeg(&picture(300, 200))).await;
        jobs.stage.send(jobs.stage.message(&[jobs.stage.record(&format!("p{n}.jpg"), &etag, "01")])).await;
        jobs.queue(&wanted, n, &[&format!("s3://{}/row-{n}", jobs.stage.output)]).await;
    }
    for n in 1..=5 {
        jobs.stage.output(&format!("thumbs/p{n}.jpg")).await;
        assert_eq!(jobs.stage.output(&format!("row-{n}")).await.bytes, format!("{n}\n").into_bytes());
    }
    jobs.stage.wait_until_empty().await;
    let (_, metrics) = harness::metrics::get(port, "/metrics").await.unwrap();
    harness::metrics::check(&metrics).unwrap();
    for line in [
        r#"longshore_records_total{kind="command",outcome="done"} 5"#,
        r#"longshore_records_total{outcome="done"} 5"#,
        r#"longshore_command_seconds_count{stage="run"} 5"#,
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in\n{metrics}");
    }
    let text = jobs.stop(worker);
    let last = text.lines().rev().find(|l| l.contains("\"stopped\"")).expect("a farewell");
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!((last["received"].as_u64(), last["deleted"].as_u64()), (Some(10), Some(10)), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_gives_back_what_it_does_not_serve() {
    for (serves, other) in [("renditions", "commands"), ("commands", "renditions")] {
        let jobs = Jobs::new().await;
        let mut command = jobs.worker();
        command.env("LONGSHORE_JOBS", serves);
        if serves == "commands" {
            command.env_remove("LONGSHORE_OUTPUT_BUCKET");
        }
        let mut worker = Process::start(command);
        match other {
            "commands" => jobs.submit(job("other", &[]), "true", &[&[]]).await,
            _ => {
                let etag = jobs.stage.upload("p.jpg", jpeg(&picture(30, 20))).await;
                jobs.stage.send(jobs.stage.message(&[jobs.stage.record("p.jpg", &etag, "01")])).await;
            }
        }
        worker.wait_for_line(&format!("not served here: a message for {other}"), LIMIT);
        worker.signal("TERM");
        assert_eq!(worker.wait(LIMIT).code(), Some(0));
        let (visible, hidden) = jobs.stage.depth(&jobs.stage.queue).await;
        assert_eq!(visible + hidden, 1, "{other}: it is not there any more");
        assert_eq!(jobs.stage.depth(&jobs.stage.dlq).await, (0, 0));
        // The other fleet serves it when its back-off is over.
        let mut command = jobs.worker();
        command.env("LONGSHORE_JOBS", other);
        let second = Process::start(command);
        jobs.stage.wait_until_empty().await;
        jobs.stop(second);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_commands_are_checked_with_all_others() {
    let mut command = longshore();
    command.arg("work").env("LONGSHORE_JOBS", "commands").env("LONGSHORE_CONCURRENCY", "none");
    let (code, _, errors) = run_aside(command).await;
    assert_eq!(code, Some(2));
    for part in ["--queue-url", "--work-bucket is missing", "--concurrency"] {
        assert!(errors.contains(part), "{part} in\n{errors}");
    }
    assert!(!errors.contains("--output-bucket"), "{errors}");
}

/// Each kind of script comes to its own end, however often its worker is stopped or killed on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_script_under_signals() {
    let jobs = Jobs::new().await;
    let keeper = secrets::serve().await;
    let mark = unique("storm");
    let pause = "sleep 0.$((RANDOM % 9))\n";
    let scripts = [
        ("failing", "exit 3".to_owned()),
        ("flaky", "[ $LONGSHORE_ATTEMPT = 3 ]".to_owned()),
        ("slow", format!("trap '' TERM; bash -c 'sleep 3600; true' {mark}")),
        ("huge", "yes 0123456789 | head -c 20000000; echo; echo last".to_owned()),
        ("leaving", format!("setsid bash -c 'sleep 3600; true' {mark} &\nsleep 0.2")),
        ("secret", "echo $TOKEN; sleep 0.2; echo $TOKEN >&2".to_owned()),
    ];
    for (name, script) in &scripts {
        let wanted = Job { attempts: 5, permanent: vec![3], ..job(name, &[(Kind::SecretEnv, "TOKEN")]) };
        let wanted = if *name == "slow" { Job { timeout: 2, attempts: 1, ..wanted } } else { wanted };
        let secret = if *name == "secret" { "/app/token" } else { "" };
        jobs.submit(wanted, &format!("{pause}{script}\n"), &[&[secret], &[secret]]).await;
    }
    let start = || {
        let mut command = jobs.worker();
        command.env("AWS_ENDPOINT_URL_SSM", &keeper).env("LONGSHORE_VISIBILITY_TIMEOUT", "3s");
        Process::start(command)
    };
    let mut told = String::new();
    let filler = job("filler", &[]);
    jobs.put_job(&filler, "sleep 0.3").await;
    for turn in 1..=6 {
        // So that there is something to begin with.
        jobs.queue(&filler, turn, &[]).await;
        let mut worker = start();
        worker.wait_for_line(" begins, attempt", LIMIT);
        // Anywhere in the work that goes on.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..1500))).await;
        let how = if turn % 2 == 0 { "TERM" } else { "KILL" };
        worker.signal(how);
        let code = worker.wait(LIMIT).code();
        assert_eq!(code, if how == "TERM" { Some(0) } else { None }, "{}", worker.log());
        until_no_process_with(&mark).await;
        told += &worker.whole_log();
    }
    let worker = start();
    for row in [1, 2] {
        let failing = jobs.failed("failing", row).await;
        assert_eq!((failing.attempt, failing.exit_code), (1, Some(3)));
        assert_eq!(jobs.failed("slow", row).await.reason, "not finished within 2 s");
        assert_eq!(jobs.done("flaky", row).await.attempt, 3, "a release was counted as a failure");
        let huge = jobs.done("huge", row).await;
        assert!(jobs.log(&huge).await.ends_with("\nlast\n"));
        jobs.done("leaving", row).await;
        let secret = jobs.done("secret", row).await;
        assert_eq!(jobs.log(&secret).await, "***\n***\n");
    }
    jobs.stage.wait_until_empty().await;
    until_no_process_with(&mark).await;
    told += &jobs.stop(worker);
    assert!(!told.contains(secrets::TOKEN), "a secret is told");
    // Twice, if a kill came between the letter and the delete of its message.
    assert!(jobs.stage.depth(&jobs.stage.dlq).await.0 >= 4);
}

/// Each kind of script is met by each signal while it runs, and comes to its own end in the next worker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kind_of_script_is_changed_by_the_signal_that_meets_it() {
    let keeper = secrets::serve().await;
    for how in ["TERM", "KILL"] {
        let jobs = Jobs::new().await;
        let mark = unique("each");
        // What it does for ever the first time, and to its end the second time.
        let kinds = [
            ("failing", "wait".to_owned(), "exit 3".to_owned()),
            ("flaky", "wait".into(), "[ $LONGSHORE_ATTEMPT = 3 ]".into()),
            ("slow", "trap '' TERM; wait; wait".into(), "trap '' TERM; sleep 3600; true".into()),
            (
                "huge",
                "while :; do head -c 1000000 /dev/zero | tr '\\0' x; echo; sleep 0.05; done".into(),
                "yes 0123456789 | head -c 20000000; echo; echo last".into(),
            ),
            (
                "leaving",
                format!("setsid bash -c 'trap \"\" TERM; sleep 3600; true' {mark} & wait"),
                format!("setsid bash -c 'sleep 3600; true' {mark} & sleep 0.2"),
            ),
            (
                "secret",
                "while :; do echo $TOKEN; sleep 0.01; done".into(),
                "echo $TOKEN; echo $TOKEN >&2".into(),
            ),
        ];
        let flags: Vec<_> = kinds.iter().map(|_| jobs.flag()).collect();
        for ((name, first, second), flag) in kinds.iter().zip(&flags) {
            let wanted = Job { attempts: 5, permanent: vec![3], ..job(name, &[(Kind::SecretEnv, "TOKEN")]) };
            let wanted = if *name == "slow" { Job { timeout: 15, attempts: 1, ..wanted } } else { wanted };
            let flag = flag.display();
            let script = format!(
                "if [ ! -e {flag} ]; then bash -c 'sleep 3600; true' {mark} & touch {flag}; {first}; fi\n{second}\n"
            );
            let secret = if *name == "secret" { "/app/token" } else { "" };
            jobs.submit(wanted, &script, &[&[secret]]).await;
        }
        let start = || {
            let mut command = jobs.worker();
            command.env("AWS_ENDPOINT_URL_SSM", &keeper).env("LONGSHORE_VISIBILITY_TIMEOUT", "3s");
            command.env("LONGSHORE_CONCURRENCY", kinds.len().to_string());
            Process::start(command)
        };
        let mut first = start();
        for flag in &flags {
            made(flag).await;
        }
        first.signal(how);
        let code = first.wait(LIMIT).code();
        assert_eq!(code, if how == "TERM" { Some(0) } else { None }, "{}", first.log());
        until_no_process_with(&mark).await;
        for (name, ..) in &kinds {
            for state in [State::Done, State::Failed, State::Retried] {
                assert!(jobs.record(state, name, 1).await.is_none(), "{name} ended before the {how}");
            }
            let started = jobs.text(&layout::state(name, State::Started, 1)).await;
            // Who is killed at the end of the budget leaves little time for that.
            assert!(*name == "slow" || started.is_none() == (how == "TERM"), "{name} after the {how}");
        }
        let second = start();
        let failing = jobs.failed("failing", 1).await;
        assert_eq!((failing.attempt, failing.exit_code), (1, Some(3)), "{how}");
        assert_eq!(jobs.failed("slow", 1).await.reason, "not finished within 15 s", "{how}");
        assert_eq!(jobs.done("flaky", 1).await.attempt, 3, "the {how} was counted as a failure");
        let huge = jobs.done("huge", 1).await;
        assert!(jobs.log(&huge).await.ends_with("\nlast\n"), "{how}");
        jobs.done("leaving", 1).await;
        let secret = jobs.done("secret", 1).await;
        assert_eq!(jobs.log(&secret).await, "***\n***\n", "{how}");
        jobs.stage.wait_until_empty().await;
        until_no_process_with(&mark).await;
        let told = first.whole_log() + &jobs.stop(second);
        assert!(!told.contains(secrets::TOKEN), "a secret is told");
        flags.iter().for_each(|flag| std::fs::remove_file(flag).unwrap());
    }
}

/// Whoever ends after its parent has, is waited for by the row's supervisor while the script goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zombies_do_not_stay_while_a_script_runs() {
    let jobs = Jobs::new().await;
    let (numbers, flag) = (jobs.flag(), jobs.flag());
    // Their parents, the shells in parentheses, end first.
    let script = format!(
        "for n in 1 2 3; do ( sh -c 'echo $$ >>{0}; sleep 0.2' & ); done\nuntil [ -e {1} ]; do sleep 0.05; done",
        numbers.display(),
        flag.display()
    );
    jobs.submit(job("orphans", &[]), &script, &[&[]]).await;
    let worker = jobs.start();
    let told = wait_for("their numbers", LIMIT, || async {
        let text = std::fs::read_to_string(&numbers).unwrap_or_default();
        (text.lines().count() == 3).then_some(text)
    })
    .await;
    wait_for("the end of the zombies", LIMIT, || async {
        let there = |n: &str| std::fs::exists(format!("/proc/{n}")).unwrap();
        (!told.lines().any(there)).then_some(())
    })
    .await;
    assert!(jobs.record(State::Done, "orphans", 1).await.is_none(), "the script has ended before");
    std::fs::write(&flag, "").unwrap();
    jobs.done("orphans", 1).await;
    jobs.stop(worker);
    for file in [numbers, flag] {
        std::fs::remove_file(file).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_waits_longer_after_each_failure() {
    let jobs = Jobs::new().await;
    let log = Log::default();
    let proxy = Proxy::start("w", &jobs.stage.world.endpoint, log.clone()).await;
    jobs.submit(Job { attempts: 5, ..job("failing", &[]) }, "exit 1", &[&[]]).await;
    let mut command = jobs.worker();
    command.env("AWS_ENDPOINT_URL", &proxy.endpoint).env("LONGSHORE_VISIBILITY_TIMEOUT", "90s");
    let worker = Process::start(command);
    // Renewals are for longer than any of these.
    let waits = || -> Vec<u64> {
        let exchanges = log.exchanges();
        let entries = exchanges.iter().filter(|e| e.took_effect()).flat_map(|e| &e.call.entries);
        entries.filter_map(|entry| entry.visibility.filter(|seconds| *seconds < 60)).collect()
    };
    let waits = wait_for("three failures", LIMIT, || async {
        let waits = waits();
        (waits.len() >= 3).then_some(waits)
    })
    .await;
    // Half of it by chance: from 5 s, 10 s, 20 s.
    for (wait, most) in waits.iter().zip([5, 10, 20]) {
        assert!((most / 2..=most).contains(wait), "{waits:?}");
    }
    jobs.stop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_work_bucket_that_cannot_be_read_costs_no_receives() {
    let jobs = Jobs::new().await;
    let proxy = Proxy::start("w", &jobs.stage.world.endpoint, Log::default()).await;
    jobs.submit(job("early", &[]), "true", &[&[], &[], &[], &[], &[], &[]]).await;
    proxy.fault(on([Operation::GetObject]).key("early/job.json"), Fault::Refuse(403, "AccessDenied"));
    let mut command = jobs.worker();
    command.env("AWS_ENDPOINT_URL", &proxy.endpoint);
    let mut worker = Process::start(command);
    let line = worker.wait_for_line("nothing more is received until it works", LIMIT);
    assert!(line.contains("on the work bucket"), "{line}");
    proxy.heal();
    for row in 1..=6 {
        assert_eq!(jobs.done("early", row).await.attempt, 1);
    }
    jobs.stage.wait_until_empty().await;
    assert!(jobs.stop(worker).contains("works again after"));
    assert_eq!(jobs.stage.depth(&jobs.stage.dlq).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_check_tries_the_work_bucket() {
    let jobs = Jobs::new().await;
    let check = async |bucket: &str| {
        let mut command = longshore();
        command.args(["config", "check"]).env("AWS_ENDPOINT_URL", &jobs.stage.world.endpoint);
        let credentials = common::credentials();
        command.env("AWS_ACCESS_KEY_ID", credentials.access_key_id());
        command.env("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key());
        command.env("AWS_REGION", "us-east-1").env("LONGSHORE_QUEUE_URL", &jobs.stage.queue);
        command.env("LONGSHORE_JOBS", "commands").env("LONGSHORE_WORK_BUCKET", bucket);
        run_aside(command).await
    };
    let (code, out, errors) = check(&jobs.bucket).await;
    assert_eq!(code, Some(0), "{out}{errors}");
    assert!(out.contains(&format!("s3://{}", jobs.bucket)) && !out.contains("the input bucket"), "{out}");
    let (code, out, _) = check("there-is-no-such-bucket").await;
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("missing"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_rows_that_may_outlast_the_drain_budget_are_protected() {
    let jobs = Jobs::new().await;
    let agent = Agent::start().await;
    let flag = jobs.flag();
    jobs.submit(Job { timeout: 2, ..job("short", &[]) }, "true", &[&[]]).await;
    let mut command = jobs.worker();
    command.env("ECS_AGENT_URI", &agent.uri);
    let worker = Process::start(command);
    jobs.done("short", 1).await;
    jobs.stage.wait_until_empty().await;
    assert!(agent.asked().is_empty(), "nothing here takes long");
    let script = format!("until [ -e {} ]; do sleep 0.05; done", flag.display());
    jobs.submit(job("long", &[]), &script, &[&[]]).await;
    let protected =
        |enabled| agent.asked().last().is_some_and(|asked| asked.enabled == enabled).then_some(());
    wait_for("protection", LIMIT, || async { protected(true) }).await;
    std::fs::write(&flag, "").unwrap();
    jobs.done("long", 1).await;
    wait_for("the end of protection", LIMIT, || async { protected(false) }).await;
    jobs.stop(worker);
    std::fs::remove_file(flag).unwrap();
}

/// The example of the README, by the commands that are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_words_of_two_plays_are_counted_in_local() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = longshore();
    command.args(["local", "--serve", "--jobs", "renditions,commands", "--admin-addr", "off", "--data-dir"]);
    command.arg(folder.path().join("data")).env("TMPDIR", folder.path());
    let told = folder.path().join("told");
    let mut local = Process::start_printing_to(command, std::fs::File::create(&told).unwrap());
    let line = |part: &str| {
        let text = std::fs::read_to_string(&told).unwrap();
        text.lines().find(|l| l.contains(part)).map(str::to_owned)
    };
    wait_for("the line to submit with", LIMIT, || async { line("longshore submit") }).await;
    // As a shell would read them.
    let exports = ["AWS_ACCESS_KEY_ID", "LONGSHORE_QUEUE_URL", "LONGSHORE_WORK_BUCKET"];
    let exports = exports.map(|name| line(&format!("export {name}")).unwrap());
    let words = exports.iter().flat_map(|l| l.split_whitespace()).filter_map(|word| word.split_once('='));
    let variables: Vec<(String, String)> = words.map(|(n, v)| (n.into(), v.into())).collect();
    let endpoint = variables.iter().find(|(name, _)| name == "AWS_ENDPOINT_URL").unwrap().1.clone();
    let s3 = common::connect(endpoint, None).s3;

    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/wordcount");
    for play in ["lamp.txt", "low-water.txt"] {
        let text = std::fs::read(example.join("plays").join(play)).unwrap();
        let put = s3.put_object().bucket("longshore-input").key(format!("plays/{play}"));
        put.body(text.into()).send().await.unwrap();
    }
    let mut submit = longshore();
    submit.envs(variables).args(["submit", "--wait", "--tasks"]).arg(example.join("tasks.tsv"));
    submit.arg("--script").arg(example.join("run.sh"));
    let (code, out, errors) = run_aside(submit).await;
    assert_eq!(code, Some(0), "{out}{errors}{}", local.log());
    for (play, most) in [("lamp", "     13 a"), ("low-water", "     13 the")] {
        let get = s3.get_object().bucket("longshore-output").key(format!("wordcount/{play}.txt"));
        let counts = get.send().await.unwrap().body.collect().await.unwrap().to_vec();
        let counts = String::from_utf8(counts).unwrap();
        assert_eq!(counts.lines().next(), Some(most), "{counts}");
    }
    local.signal("TERM");
    assert_eq!(local.wait(LIMIT).code(), Some(0), "{}", local.log());
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "folders of rows are left: {left:?}");

    // And only for those who ask for it.
    let mut command = longshore();
    command.args(["local", "--serve", "--admin-addr", "off", "--data-dir"]).arg(folder.path().join("data"));
    let mut local = Process::start_printing_to(command, std::fs::File::create(&told).unwrap());
    wait_for("its endpoints", LIMIT, || async { line("aws --endpoint-url") }).await;
    assert_eq!(line("longshore submit"), None);
    local.signal("TERM");
    assert_eq!(local.wait(LIMIT).code(), Some(0));
}
