//! Two buckets and two queues of its own for a test, and a worker in this process.

use super::{LIMIT, World, credentials, unique, wait_for, world};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sqs::types::{Message, QueueAttributeName as Attribute};
use longshore::aws::Connection;
use longshore::cli::{self, RenderArgs, WorkArgs};
use longshore::config::Config;
use longshore::ops::{Phase, Shutdown};
use longshore::worker::{Broken, Farewell, Report};
use serde_json::{Value, json};
use std::collections::HashMap;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub struct Stage {
    pub world: World,
    pub input: String,
    pub output: String,
    pub queue: String,
    pub dlq: String,
}

impl Stage {
    pub async fn new() -> Self {
        Self::with_receives(5).await
    }

    /// A queue that gives a message up after this many receives.
    pub async fn with_receives(most: u32) -> Self {
        let world = world().await;
        let (input, output) = (unique("in"), unique("out"));
        for bucket in [&input, &output] {
            world.s3.create_bucket().bucket(bucket).send().await.unwrap();
        }
        let dlq = world.sqs.create_queue().queue_name(unique("dlq")).send().await.unwrap().queue_url.unwrap();
        let mut stage = Self { world, input, output, queue: String::new(), dlq };
        let redrive = json!({"deadLetterTargetArn": stage.arn(&stage.dlq).await, "maxReceiveCount": most});
        let queue = stage.world.sqs.create_queue().queue_name(unique("q"));
        let queue = queue.attributes(Attribute::RedrivePolicy, redrive.to_string()).send().await.unwrap();
        stage.queue = queue.queue_url.unwrap();
        stage
    }

    pub async fn arn(&self, queue: &str) -> String {
        self.attribute(queue, Attribute::QueueArn).await.expect("every queue has an ARN")
    }

    pub async fn attribute(&self, queue: &str, name: Attribute) -> Option<String> {
        let ask = self.world.sqs.get_queue_attributes().queue_url(queue).attribute_names(name.clone());
        ask.send().await.unwrap().attributes?.remove(&name)
    }

    /// Uploads and gives the ETag, without quotes.
    pub async fn upload(&self, key: &str, bytes: Vec<u8>) -> String {
        let put = self.world.s3.put_object().bucket(&self.input).key(key).body(ByteStream::from(bytes));
        put.send().await.unwrap().e_tag.unwrap().trim_matches('"').to_owned()
    }

    pub async fn send(&self, body: impl Into<String>) {
        self.world.sqs.send_message().queue_url(&self.queue).message_body(body).send().await.unwrap();
    }

    /// An S3 record as AWS writes it; `key` is form-encoded already.
    pub fn record(&self, key: &str, etag: &str, sequencer: &str) -> Value {
        json!({
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1",
            "eventTime": "2026-01-01T00:00:00.000Z", "eventName": "ObjectCreated:Put",
            "s3": {"s3SchemaVersion": "1.0", "configurationId": "test",
                "bucket": {"name": self.input, "arn": format!("arn:aws:s3:::{}", self.input)},
                "object": {"key": key, "size": RECORD_BYTES, "eTag": etag, "sequencer": sequencer}},
        })
    }

    pub fn message(&self, records: &[Value]) -> String {
        json!({ "Records": records }).to_string()
    }

    /// The stored object, if there is one.
    pub async fn get(&self, bucket: &str, key: &str) -> Option<Stored> {
        let answer = self.world.s3.get_object().bucket(bucket).key(key).send().await.ok()?;
        Some(Stored {
            content_type: answer.content_type.clone().unwrap_or_default(),
            cache_control: answer.cache_control.clone(),
            metadata: answer.metadata.clone().unwrap_or_default(),
            bytes: answer.body.collect().await.ok()?.to_vec(),
        })
    }

    pub async fn output(&self, key: &str) -> Stored {
        wait_for(&format!("output {key:?}"), LIMIT, || self.get(&self.output, key)).await
    }

    pub async fn output_keys(&self) -> Vec<String> {
        let list = self.world.s3.list_objects_v2().bucket(&self.output).send().await.unwrap();
        list.contents().iter().filter_map(|o| o.key.clone()).collect()
    }

    /// Visible, and hidden.
    pub async fn depth(&self, queue: &str) -> (u64, u64) {
        let visible = self.attribute(queue, Attribute::ApproximateNumberOfMessages).await;
        let hidden = self.attribute(queue, Attribute::ApproximateNumberOfMessagesNotVisible).await;
        let number = |n: Option<String>| n.and_then(|n| n.parse().ok()).unwrap_or(0);
        (number(visible), number(hidden))
    }

    pub async fn wait_until_empty(&self) {
        wait_for("empty queue", LIMIT, || async { (self.depth(&self.queue).await == (0, 0)).then_some(()) })
            .await;
    }

    /// Takes the next dead letter; it stays hidden for the rest of the test.
    pub async fn dead_letter(&self) -> DeadLetter {
        wait_for("dead letter", LIMIT, || async {
            let receive = self.world.sqs.receive_message().queue_url(&self.dlq).wait_time_seconds(1);
            let answer = receive.message_attribute_names("All").visibility_timeout(600).send().await.unwrap();
            answer.messages.unwrap_or_default().pop().map(DeadLetter)
        })
        .await
    }

    pub fn work_args(&self) -> WorkArgs {
        WorkArgs {
            queue_url: Some(self.queue.clone()),
            output_bucket: Some(self.output.clone()),
            wait_time: Some("1s".into()),
            region: Some("us-east-1".into()),
            admin_addr: Some("off".into()),
            ..WorkArgs::default()
        }
    }

    pub async fn start(&self) -> Running {
        self.start_with(self.work_args(), RenderArgs::default()).await
    }

    pub async fn start_with(&self, work: WorkArgs, render: RenderArgs) -> Running {
        let config = Config::read(&work, &render).unwrap();
        let connection = Connection {
            region: Some("us-east-1".into()),
            endpoint_url: Some(self.world.endpoint.clone()),
            profile: None,
            credentials: Some(credentials()),
        };
        let shutdown = Shutdown::default();
        let (sender, reports) = mpsc::unbounded_channel();
        let worker = cli::build_worker(&config, &connection, shutdown.clone(), Some(sender)).await.unwrap();
        let task = tokio::spawn(worker.run());
        Running { shutdown, task, reports }
    }
}

/// What records say of sizes: room for what tests upload. A worker reads a larger object again.
const RECORD_BYTES: u64 = 200_000;

/// A worker at work.
pub struct Running {
    pub shutdown: Shutdown,
    task: JoinHandle<Result<Farewell, Broken>>,
    pub reports: mpsc::UnboundedReceiver<Report>,
}

impl Running {
    pub async fn stop(self) -> Farewell {
        self.shutdown.advance(Phase::Draining);
        self.end().await.expect("no task panics")
    }

    /// Waits until it has ended by itself.
    pub async fn end(self) -> Result<Farewell, Broken> {
        tokio::time::timeout(LIMIT, self.task)
            .await
            .expect("an end in time")
            .expect("the worker itself lives")
    }

    pub async fn report(&mut self) -> Report {
        tokio::time::timeout(LIMIT, self.reports.recv()).await.expect("a report in time").expect("a worker")
    }
}

/// An object as it is stored.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    pub bytes: Vec<u8>,
    pub content_type: String,
    pub cache_control: Option<String>,
    pub metadata: HashMap<String, String>,
}

pub struct DeadLetter(Message);

impl DeadLetter {
    pub fn body(&self) -> &str {
        self.0.body().unwrap_or_default()
    }

    pub fn attribute(&self, name: &str) -> String {
        let attribute = self.0.message_attributes().and_then(|a| a.get(name));
        attribute.and_then(|a| a.string_value()).unwrap_or_default().to_owned()
    }

    pub fn reason(&self) -> String {
        self.attribute("longshore.reason")
    }
}
