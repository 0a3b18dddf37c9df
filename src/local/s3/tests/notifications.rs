//! What the queues are told.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, Event, FilterRule, FilterRuleName, NotificationConfiguration,
    NotificationConfigurationFilter, QueueConfiguration, S3KeyFilter, VersioningConfiguration,
};
use serde_json::Value;

use super::{QUEUE, Server};

async fn configure(server: &Server, arn: &str) -> Result<(), String> {
    let rule = |name, value| FilterRule::builder().name(name).value(value).build();
    let rules = [rule(FilterRuleName::Prefix, "in/"), rule(FilterRuleName::Suffix, ".jpg")];
    let key = S3KeyFilter::builder().set_filter_rules(Some(rules.to_vec())).build();
    let queue = QueueConfiguration::builder()
        .id("pictures")
        .queue_arn(arn)
        .events(Event::S3ObjectCreated)
        .filter(NotificationConfigurationFilter::builder().key(key).build())
        .build()
        .unwrap();
    let configuration = NotificationConfiguration::builder().queue_configurations(queue).build();
    let put = server.client.put_bucket_notification_configuration().bucket("box");
    let answer = put.notification_configuration(configuration).send().await;
    answer
        .map(drop)
        .map_err(|e| format!("{}: {}", e.code().unwrap_or_default(), e.message().unwrap_or_default()))
}

fn record(body: &Value) -> &Value {
    &body["Records"][0]
}

#[tokio::test]
async fn configuring_a_queue_sends_it_a_test_event() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    configure(&server, QUEUE).await.unwrap();
    let bodies = server.bodies();
    assert_eq!(bodies.len(), 1);
    assert_eq!(
        (bodies[0]["Event"].as_str(), bodies[0]["Bucket"].as_str()),
        (Some("s3:TestEvent"), Some("box"))
    );
    let told = server.client.get_bucket_notification_configuration().bucket("box").send().await.unwrap();
    let queue = &told.queue_configurations()[0];
    assert_eq!((queue.queue_arn(), queue.id()), (QUEUE, Some("pictures")));
    assert_eq!(queue.filter().unwrap().key().unwrap().filter_rules().len(), 2);
}

#[tokio::test]
async fn an_unknown_queue_is_refused_and_the_configuration_stays() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let refused = configure(&server, "arn:aws:sqs:eu-central-1:000000000000:none").await.unwrap_err();
    assert!(
        refused.starts_with("InvalidArgument: Unable to validate the following destination"),
        "{refused}"
    );
    let told = server.client.get_bucket_notification_configuration().bucket("box").send().await.unwrap();
    assert!(told.queue_configurations().is_empty());
}

#[tokio::test]
async fn writes_that_pass_the_filter_are_told_in_the_words_of_s3() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    configure(&server, QUEUE).await.unwrap();
    server.put("in/ü a+b.jpg", "12345").await;
    server.put("in/a.png", "x").await;
    server.put("out/a.jpg", "x").await;
    let copy = server.client.copy_object().bucket("box").key("in/copy.jpg").copy_source("box/out/a.jpg");
    copy.send().await.unwrap();
    let bodies = server.bodies();
    assert_eq!(bodies.len(), 3);
    let put = record(&bodies[1]);
    assert_eq!(put["eventVersion"], "2.1");
    assert_eq!(put["eventSource"], "aws:s3");
    assert_eq!(put["awsRegion"], "eu-central-1");
    assert_eq!(put["eventName"], "ObjectCreated:Put");
    let time = put["eventTime"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    assert_eq!(put["s3"]["configurationId"], "pictures");
    assert_eq!(put["s3"]["bucket"]["arn"], "arn:aws:s3:::box");
    assert_eq!(put["s3"]["object"]["key"], "in/%C3%BC+a%2Bb.jpg");
    assert_eq!(put["s3"]["object"]["size"], 5);
    assert_eq!(put["s3"]["object"]["eTag"], "827ccb0eea8a706c4c34a16891f84e7b");
    assert!(put["s3"]["object"].get("versionId").is_none());
    assert_eq!(record(&bodies[2])["eventName"], "ObjectCreated:Copy");
}

#[tokio::test]
async fn events_name_the_version_and_rise_across_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    configure(&server, QUEUE).await.unwrap();
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let put = server.client.put_bucket_versioning().bucket("box").versioning_configuration(enabled);
    put.send().await.unwrap();
    let first = server.put("in/k.jpg", "one").await.unwrap();
    let before = record(&server.bodies()[1]).clone();
    assert_eq!(before["s3"]["object"]["versionId"], first);
    let server = Server::start(folder.path()).await;
    server.put("in/k.jpg", "two").await;
    let after = record(&server.bodies()[0]).clone();
    let padded = |record: &Value| format!("{:0<24}", record["s3"]["object"]["sequencer"].as_str().unwrap());
    assert!(padded(&before) < padded(&after));
}

#[tokio::test]
async fn a_queue_that_fails_twice_is_told_and_one_that_fails_on_costs_no_write() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    configure(&server, QUEUE).await.unwrap();
    server.queue.lock().unwrap().failures = 2;
    server.put("in/a.jpg", "x").await;
    assert_eq!(server.bodies().len(), 2);
    server.queue.lock().unwrap().failures = 3;
    server.put("in/b.jpg", "x").await;
    assert_eq!(server.bodies().len(), 2);
    assert_eq!(server.get("in/b.jpg").await.as_deref(), Some("x"));
}

#[tokio::test]
async fn an_upload_in_parts_is_told_once_when_complete() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    configure(&server, QUEUE).await.unwrap();
    let key = "in/large.jpg";
    let create = server.client.create_multipart_upload().bucket("box").key(key);
    let id = create.send().await.unwrap().upload_id.unwrap();
    let part = server.client.upload_part().bucket("box").key(key).upload_id(&id).part_number(1);
    let etag = part.body(ByteStream::from_static(b"part")).send().await.unwrap().e_tag.unwrap();
    assert_eq!(server.bodies().len(), 1);
    let part = aws_sdk_s3::types::CompletedPart::builder().part_number(1).e_tag(etag).build();
    let parts = aws_sdk_s3::types::CompletedMultipartUpload::builder().parts(part).build();
    let complete = server.client.complete_multipart_upload().bucket("box").key(key).upload_id(&id);
    complete.multipart_upload(parts).send().await.unwrap();
    assert_eq!(record(&server.bodies()[1])["eventName"], "ObjectCreated:CompleteMultipartUpload");
}
