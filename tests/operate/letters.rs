//! `longshore dlq` when it is interrupted or raced, or SQS is in trouble: nothing may be lost.

use crate::common::process::{Process, run_aside};
use crate::common::stage::Stage;
use crate::common::{LIMIT, wait_for};
use crate::harness::log::Log;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::call::Call;
use crate::harness::{Fault, Operation, on};
use crate::{bury, bury_since, graveyard, json_lines, operator, told};
use aws_sdk_sqs::types::Message;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

const REDRIVE: [&str; 5] = ["dlq", "redrive", "--reason", "truncated", "--json"];
const DROP: [&str; 6] = ["dlq", "drop", "--reason", "truncated", "--yes", "--json"];
const LONG: Duration = Duration::from_secs(600);

/// An operator whose calls can be spoiled.
struct Operator {
    proxy: Proxy,
    log: Log,
    printed: tempfile::NamedTempFile,
}

impl Operator {
    async fn of(stage: &Stage) -> Self {
        let log = Log::default();
        let proxy = Proxy::start("operator", &stage.world.endpoint, log.clone()).await;
        Self { proxy, log, printed: tempfile::NamedTempFile::new().unwrap() }
    }

    fn command(&self, stage: &Stage, arguments: &[&str]) -> Command {
        let mut command = operator(stage, arguments);
        command.env("AWS_ENDPOINT_URL", &self.proxy.endpoint).env("AWS_MAX_ATTEMPTS", "1");
        command
    }

    fn start(&self, stage: &Stage, arguments: &[&str]) -> Process {
        Process::start_printing_to(self.command(stage, arguments), self.printed.reopen().unwrap())
    }

    /// What it printed so far.
    fn printed(&self) -> String {
        std::fs::read_to_string(self.printed.path()).unwrap()
    }

    async fn until(&self, what: &str, operation: Operation, calls: usize) {
        let begun = || self.log.count(|e| e.call.operation == operation) >= calls;
        wait_for(what, LIMIT, || async { begun().then_some(()) }).await;
    }

    /// Makes everything visible that it has received, as the end of its visibility timeout would.
    async fn release(&self, stage: &Stage) {
        for message in self.log.exchanges().into_iter().flat_map(|e| e.messages) {
            let hide = stage.world.sqs.change_message_visibility().queue_url(&stage.dlq);
            // What was deleted is not there any more.
            let _ = hide.receipt_handle(message.receipt).visibility_timeout(0).send().await;
        }
    }
}

async fn end(mut process: Process) -> (Option<i32>, String) {
    let ended = tokio::task::spawn_blocking(move || (process.wait(LIMIT).code(), process.log()));
    ended.await.unwrap()
}

fn key(message: &Message) -> String {
    let body: Value = serde_json::from_str(message.body().unwrap()).unwrap();
    body["Records"][0]["s3"]["object"]["key"].as_str().unwrap().to_owned()
}

/// The keys of all messages that are visible in queue and dead-letter queue. They are hidden then.
async fn keys(stage: &Stage) -> Vec<String> {
    let mut keys = Vec::new();
    for queue in [&stage.queue, &stage.dlq] {
        while stage.depth(queue).await.0 > 0 {
            let receive = stage.world.sqs.receive_message().queue_url(queue).max_number_of_messages(10);
            let answer = receive.visibility_timeout(600).send().await.unwrap();
            keys.extend(answer.messages().iter().map(key));
        }
    }
    keys
}

fn each_once(keys: &[String]) -> usize {
    keys.iter().collect::<BTreeSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_send_and_delete_nothing_is_lost() {
    let stage = graveyard().await;
    let operator = Operator::of(&stage).await;
    operator.proxy.fault(on([Operation::Delete]).nth(2..), Fault::Delay(LONG));
    let process = operator.start(&stage, &REDRIVE);
    operator.until("second delete", Operation::Delete, 2).await;
    process.signal("KILL");
    end(process).await;
    operator.release(&stage).await;
    let (queued, _) = stage.depth(&stage.queue).await;
    let (left, _) = stage.depth(&stage.dlq).await;
    assert!(queued > 0 && queued + left > 14, "sent, and not deleted yet: {queued} and {left}");
    assert_eq!(each_once(&keys(&stage).await), 14, "all are somewhere");

    let stage = graveyard().await;
    let operator = Operator::of(&stage).await;
    operator.proxy.fault(on([Operation::Delete]), Fault::Delay(LONG));
    let process = operator.start(&stage, &DROP);
    operator.until("delete", Operation::Delete, 1).await;
    process.signal("KILL");
    end(process).await;
    operator.release(&stage).await;
    assert_eq!(each_once(&keys(&stage).await), 14, "nothing is dropped before it is deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_between_send_and_delete_nothing_is_lost_or_doubled() {
    for arguments in [&REDRIVE[..], &DROP[..]] {
        let stage = graveyard().await;
        let operator = Operator::of(&stage).await;
        operator.proxy.fault(on([Operation::Delete]).nth(..=1), Fault::Delay(Duration::from_secs(1)));
        let process = operator.start(&stage, arguments);
        operator.until("delete", Operation::Delete, 1).await;
        process.signal("INT");
        let (code, errors) = end(process).await;
        assert_eq!(code, Some(1), "{errors}");
        let told = &json_lines(&operator.printed())[0];
        assert_eq!((&told["interrupted"], &told["status"]), (&json!(true), &json!("CANCELLED")), "{told}");
        let done = told["done"].as_u64().unwrap() as usize;
        assert!(done > 0, "what was begun is ended: {told}");
        let dropped = if arguments == DROP { done } else { 0 };
        let keys = keys(&stage).await;
        assert_eq!((keys.len(), each_once(&keys)), (14 - dropped, 14 - dropped), "{keys:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_up_to_an_interruption_is_not_told_as_all() {
    let stage = graveyard().await;
    for (arguments, sign) in [
        (&["dlq", "list"][..], "interrupted after"),
        (&["dlq", "redrive", "--dry-run"], "there may be more"),
        (&["dlq", "drop", "--dry-run", "--json"], "\"interrupted\":true"),
    ] {
        let operator = Operator::of(&stage).await;
        operator.proxy.fault(on([Operation::Receive]).nth(2..), Fault::Delay(Duration::from_secs(1)));
        let process = operator.start(&stage, arguments);
        operator.until("second receive", Operation::Receive, 2).await;
        process.signal("INT");
        let (code, errors) = end(process).await;
        let text = operator.printed() + &errors;
        assert_eq!(code, Some(1), "{arguments:?}: {text}");
        assert!(text.contains(sign), "{arguments:?}: {text}");
        assert_eq!(stage.depth(&stage.dlq).await, (14, 0), "all visible again");
    }
}

/// Has the embedded SQS move letters, one a second.
async fn move_slowly(stage: &Stage) {
    let start = stage.world.sqs.start_message_move_task().source_arn(stage.arn(&stage.dlq).await);
    let start = start.destination_arn(stage.arn(&stage.queue).await);
    start.max_number_of_messages_per_second(1).send().await.unwrap();
}

const FOLLOWING: &str = "SQS is moving them already";

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_under_way_is_followed_and_not_raced() {
    let stage = graveyard().await;
    move_slowly(&stage).await;
    let operator = Operator::of(&stage).await;
    let mut first = operator.start(&stage, &["dlq", "redrive"]);
    first.wait_for_line(FOLLOWING, LIMIT);
    first.signal("INT");
    let (code, errors) = end(first).await;
    assert_eq!(code, Some(0), "{errors}");
    assert!(operator.printed().contains("SQS goes on by itself"), "{}", operator.printed());

    let (code, text, errors) = told(&stage, &["dlq", "redrive", "--json"]).await;
    assert_eq!(code, Some(0), "{text}{errors}");
    let expected = json!({"seen": 14, "done": 14, "failed": 0, "interrupted": false, "hidden": 0,
        "status": "COMPLETED", "why": null});
    assert_eq!(json_lines(&text)[0], expected);
    let keys = keys(&stage).await;
    assert_eq!((keys.len(), each_once(&keys)), (14, 14), "each once: {keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_fails_says_why() {
    let stage = graveyard().await;
    move_slowly(&stage).await;
    let operator = Operator::of(&stage).await;
    let mut process = operator.start(&stage, &["dlq", "redrive"]);
    process.wait_for_line(FOLLOWING, LIMIT);
    stage.world.sqs.delete_queue().queue_url(&stage.queue).send().await.unwrap();
    let (code, errors) = end(process).await;
    let text = operator.printed();
    assert_eq!(code, Some(1), "{text}{errors}");
    assert!(text.contains(" sent back, failed: AWS.SimpleQueueService.NonExistentQueue"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqs_in_trouble_is_no_reason_to_move_letters_by_hand() {
    let begins: fn(&Call) -> bool = |call| call.json["DestinationArn"].is_string();
    let asks: fn(&Call) -> bool =
        |call| call.json["SourceArn"].is_string() && call.json["DestinationArn"].is_null();
    for (calls, status, code) in [
        (begins, 500, "InternalFailure"),
        (begins, 503, "ServiceUnavailable"),
        (asks, 500, "InternalFailure"),
        (asks, 403, "AccessDeniedException"),
    ] {
        let stage = graveyard().await;
        let operator = Operator::of(&stage).await;
        operator.proxy.fault(on([Operation::AboutQueue]).when(calls), Fault::Refuse(status, code));
        let (ended, _, errors) = run_aside(operator.command(&stage, &["dlq", "redrive"])).await;
        assert_eq!(ended, Some(1), "{code}: {errors}");
        assert!(errors.contains(code), "{errors}");
        assert_eq!((stage.depth(&stage.queue).await, stage.depth(&stage.dlq).await), ((0, 0), (14, 0)));
    }

    // One that does not know the call moves nothing by itself.
    let stage = graveyard().await;
    let operator = Operator::of(&stage).await;
    operator
        .proxy
        .fault(on([Operation::AboutQueue]).when(asks), Fault::Refuse(400, "UnknownOperationException"));
    let (code, text, errors) = run_aside(operator.command(&stage, &["dlq", "redrive"])).await;
    assert_eq!((code, text.trim()), (Some(0), "14 of 14 sent back, 0 failed"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_chosen_by_age() {
    let stage = Stage::new().await;
    bury(&stage, "new.jpg", Some("truncated")).await;
    bury_since(&stage, "old.jpg", Some("truncated"), Some(Duration::from_secs(7200))).await;
    for (flag, key) in [("--older-than", "old.jpg"), ("--newer-than", "new.jpg")] {
        let (code, text, errors) = told(&stage, &["dlq", "show", flag, "1h", "--json"]).await;
        assert_eq!(code, Some(0), "{errors}");
        let shown = json_lines(&text);
        assert_eq!(shown.len(), 1, "{text}");
        assert!(shown[0]["objects"][0].as_str().unwrap().ends_with(key), "{text}");
    }
    let (_, text, _) = told(&stage, &["dlq", "drop", "--older-than", "1h", "--yes", "--json"]).await;
    assert_eq!(json_lines(&text)[0]["done"], 1, "{text}");
    assert_eq!(keys(&stage).await, ["new.jpg"]);
}
