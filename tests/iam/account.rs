//! An account on a server that enforces IAM. Its root's key is the account's number, and is not checked.

use crate::common::stage::Stage;
use crate::common::{World, connect_as};
use crate::template::{Stack, world};
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, VersioningConfiguration,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const REGION: &str = world::IRELAND.region;

pub struct Account {
    world: World,
}

/// Credentials of an assumed role.
pub struct Session {
    pub key: String,
    pub secret: String,
    pub token: String,
}

impl Account {
    pub async fn open() -> Self {
        let endpoint =
            std::env::var("LONGSHORE_TEST_ENDPOINT").expect("LONGSHORE_TEST_ENDPOINT: see .ci/run");
        let root = Credentials::new(world::ACCOUNT, "unchecked", None, None, "root");
        Self { world: connect_as(endpoint, REGION, root) }
    }

    /// Buckets and queues by the names that the resolved template gives them.
    pub async fn stage(&self, stack: &Stack) -> Stage {
        let (s3, sqs) = (&self.world.s3, &self.world.sqs);
        let here = CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(REGION))
            .build();
        let (input, output) = (stack.input_bucket(), stack.value("OutputBucket", ""));
        for bucket in [&input, &output, stack.parameter("WorkBucketName")] {
            let make = s3.create_bucket().bucket(bucket).create_bucket_configuration(here.clone());
            make.send().await.unwrap();
        }
        let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        s3.put_bucket_versioning().bucket(&input).versioning_configuration(versions).send().await.unwrap();
        let mut urls = Vec::new();
        for queue in ["Queue", "DeadLetterQueue"] {
            let name = stack.value(queue, "QueueName");
            urls.push(sqs.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap());
        }
        let dlq = urls.pop().unwrap();
        Stage { world: self.world.clone(), input, output, queue: urls.pop().unwrap(), dlq }
    }

    /// Throws away what a run left behind.
    pub async fn empty(&self, stage: &Stage) {
        for queue in [&stage.queue, &stage.dlq] {
            self.world.sqs.purge_queue().queue_url(queue).send().await.unwrap();
        }
    }

    pub async fn assume(&self, name: &str, policy: &Value) -> Session {
        let anybody = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": world::ACCOUNT}, "Action": "sts:AssumeRole"}]});
        let anybody = anybody.to_string();
        let role = [("RoleName", name), ("AssumeRolePolicyDocument", &anybody)];
        self.call("iam", "2010-05-08", "CreateRole", &role).await;
        let policy = policy.to_string();
        let put = [("RoleName", name), ("PolicyName", "work"), ("PolicyDocument", &policy)];
        self.call("iam", "2010-05-08", "PutRolePolicy", &put).await;
        let arn = format!("arn:aws:iam::{}:role/{name}", world::ACCOUNT);
        let assume = [("RoleArn", arn.as_str()), ("RoleSessionName", "task")];
        let answer = self.call("sts", "2011-06-15", "AssumeRole", &assume).await;
        let field = |tag: &str| {
            let inner = answer.split_once(&format!("<{tag}>")).and_then(|(_, rest)| rest.split_once("</"));
            inner.unwrap_or_else(|| panic!("no {tag} in {answer}")).0.to_owned()
        };
        Session { key: field("AccessKeyId"), secret: field("SecretAccessKey"), token: field("SessionToken") }
    }

    /// A call of the query protocol; these two services are not worth an SDK each.
    async fn call(&self, service: &str, version: &str, action: &str, fields: &[(&str, &str)]) -> String {
        let mut body = format!("Action={action}&Version={version}");
        for (name, value) in fields {
            body += &format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
        let host = self.world.endpoint.trim_start_matches("http://");
        let scope = format!("{}/20260101/{REGION}/{service}/aws4_request", world::ACCOUNT);
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{action}: {answer}");
        answer
    }
}
