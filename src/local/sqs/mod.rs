//! The embedded SQS: standard queues in memory, spoken to in the AWS JSON protocol.
//!
//! A request passes `access` (who may ask), `server` (which operation), one of the operations
//! (`catalog`, `send`, `receive`, `settle`, `moves`), and `state`, where all queues live behind one
//! lock. A `queue` has a `backlog` of messages; what must survive a restart goes through `journal`.
//! Policies and signatures are accepted and not enforced; FIFO queues are refused.

mod access;
mod address;
mod backlog;
mod batch;
mod catalog;
mod clock;
mod effect;
mod fault;
mod handle;
mod journal;
mod message;
mod moves;
mod queue;
mod receive;
mod redrive;
mod request;
mod send;
mod server;
mod settings;
mod settle;
mod snapshot;
mod state;
mod value;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value as Json;

use self::address::Address;
use self::clock::Clock;
use self::fault::{Fault, Kind};
use self::server::Server;
use self::state::State;

/// An SQS of one region and account. Clones share their queues.
#[derive(Debug, Clone)]
pub struct Sqs {
    server: Arc<Server>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use the queue journal {path}: {source}", path = path.display())]
    Journal { path: PathBuf, source: std::io::Error },
    #[error("cannot read the queue journal {path}: line {line}: {source}; move the file away to start empty", path = path.display())]
    Corrupt { path: PathBuf, line: usize, source: serde_json::Error },
    #[error("cannot deliver to {queue_arn}: {reason}")]
    Undelivered { queue_arn: String, reason: String },
}

impl Sqs {
    /// `journal`: a file that keeps queues and messages across restarts; None: memory only.
    ///
    /// Must be called within a tokio runtime, whose clock it follows.
    pub fn open(region: &str, account: &str, journal: Option<PathBuf>) -> Result<Sqs, Error> {
        let address = Address { region: region.to_owned(), account: account.to_owned() };
        let state = State::open(Clock::start(), journal.as_deref())?;
        Ok(Sqs { server: Arc::new(Server::new(address, state)) })
    }

    /// Base of queue URLs, e.g. `http://127.0.0.1:4566` (known only after bind).
    pub fn set_base_url(&self, url: &str) {
        self.server.set_base_url(url);
    }

    /// One request of the AWS JSON 1.0 protocol (POST, `X-Amz-Target: AmazonSQS.<Operation>`).
    ///
    /// Drop the future when the client disconnects: a long poll then takes no message.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        match self.answer(&request).await {
            Ok(answer) => fault::reply(StatusCode::OK, answer.to_string()),
            Err(fault) => {
                tracing::debug!(code = fault.kind.code(), "refused an SQS request: {}", fault.message);
                fault.response()
            }
        }
    }

    /// Delivers a body as S3's notification service would.
    pub fn deliver(&self, queue_arn: &str, body: String) -> Result<(), Error> {
        let delivered = self.server.deliver(queue_arn, body);
        delivered
            .map_err(|fault| Error::Undelivered { queue_arn: queue_arn.to_owned(), reason: fault.message })
    }

    async fn answer(&self, request: &Request<Bytes>) -> Result<Json, Fault> {
        access::check(request.headers(), request.uri())?;
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        let operation = target.and_then(|target| target.strip_prefix("AmazonSQS."));
        match operation {
            Some(operation) if request.method() == Method::POST => {
                self.server.perform(operation, request.body()).await
            }
            _ => {
                Err(Kind::UnknownOperation
                    .with("send a POST with an X-Amz-Target: AmazonSQS.<Operation> header"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn open() -> Sqs {
        let sqs = Sqs::open("us-east-1", "000000000000", None).unwrap();
        sqs.set_base_url("http://127.0.0.1:4566/");
        sqs
    }

    async fn call(sqs: &Sqs, operation: &str, body: Json) -> (StatusCode, Json) {
        let request = Request::post("/")
            .header("host", "127.0.0.1:4566")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=x")
            .header("x-amz-target", format!("AmazonSQS.{operation}"));
        let response = sqs.handle(request.body(Bytes::from(body.to_string())).unwrap()).await;
        (response.status(), serde_json::from_slice(response.body()).unwrap())
    }

    fn arn(name: &str) -> String {
        format!("arn:aws:sqs:us-east-1:000000000000:{name}")
    }

    #[tokio::test]
    async fn a_delivery_arrives_and_one_to_nowhere_is_an_error() {
        let sqs = open();
        let (_, made) = call(&sqs, "CreateQueue", json!({ "QueueName": "uploads" })).await;
        assert_eq!(made["QueueUrl"], "http://127.0.0.1:4566/000000000000/uploads");
        sqs.deliver(&arn("uploads"), "{\"Records\":[]}".into()).unwrap();
        let (_, received) = call(&sqs, "ReceiveMessage", json!({ "QueueUrl": made["QueueUrl"] })).await;
        assert_eq!(received["Messages"][0]["Body"], "{\"Records\":[]}");
        let refused = sqs.deliver(&arn("nowhere"), "x".into()).unwrap_err().to_string();
        assert!(refused.contains("nowhere"), "{refused}");
    }

    #[tokio::test]
    async fn a_request_without_signature_target_or_post_is_refused() {
        let sqs = open();
        let unsigned = Request::post("/").header("host", "localhost").body(Bytes::new()).unwrap();
        assert_eq!(sqs.handle(unsigned).await.status(), StatusCode::FORBIDDEN);
        let signed =
            || Request::builder().header("host", "localhost").header("authorization", "AWS4-HMAC-SHA256 x");
        let untargeted = signed().method(Method::POST).body(Bytes::new()).unwrap();
        assert_eq!(sqs.handle(untargeted).await.status(), StatusCode::BAD_REQUEST);
        let read = signed().header("x-amz-target", "AmazonSQS.ListQueues").body(Bytes::new()).unwrap();
        assert_eq!(sqs.handle(read).await.status(), StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn a_poll_of_a_queue_that_goes_away_ends_with_an_error() {
        let sqs = open();
        call(&sqs, "CreateQueue", json!({ "QueueName": "q" })).await;
        let poll = call(&sqs, "ReceiveMessage", json!({ "QueueUrl": "q", "WaitTimeSeconds": 20 }));
        let (gone, _) = tokio::join!(poll, call(&sqs, "DeleteQueue", json!({ "QueueUrl": "q" })));
        assert_eq!(gone.1["__type"], "com.amazonaws.sqs#QueueDoesNotExist");
    }

    #[tokio::test]
    async fn a_dead_letter_of_unknown_origin_fails_its_move_task() {
        let sqs = open();
        call(&sqs, "CreateQueue", json!({ "QueueName": "dead" })).await;
        let policy = json!({ "deadLetterTargetArn": arn("dead"), "maxReceiveCount": 3 }).to_string();
        let attributes = json!({ "RedrivePolicy": policy });
        call(&sqs, "CreateQueue", json!({ "QueueName": "q", "Attributes": attributes })).await;
        call(&sqs, "SendMessage", json!({ "QueueUrl": "dead", "MessageBody": "sent here directly" })).await;
        call(&sqs, "StartMessageMoveTask", json!({ "SourceArn": arn("dead") })).await;
        let task = loop {
            let (_, tasks) = call(&sqs, "ListMessageMoveTasks", json!({ "SourceArn": arn("dead") })).await;
            if tasks["Results"][0]["Status"] != "RUNNING" {
                break tasks["Results"][0].clone();
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(
            (&task["Status"], &task["FailureReason"]),
            (&json!("FAILED"), &json!("CouldNotDetermineMessageSource"))
        );
        let (_, received) = call(&sqs, "ReceiveMessage", json!({ "QueueUrl": "dead" })).await;
        assert_eq!(received["Messages"][0]["Body"], "sent here directly");
    }
}
