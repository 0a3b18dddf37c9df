//! Makes what the template makes on AWS: two buckets, a queue with its dead-letter queue, and the
//! notification. Through the SDK, so that it is made as a user would.

use super::s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use super::server::REGION;
use crate::aws::{self, Clients, Connection};
use crate::error::Error;
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::json;
use std::time::Duration;

pub const INPUT_BUCKET: &str = "longshore-input";
pub const OUTPUT_BUCKET: &str = "longshore-output";
/// Where jobs are kept, for those who ask for commands.
pub const WORK_BUCKET: &str = "longshore-work";
const QUEUE: &str = "longshore";
const DEAD_LETTER_QUEUE: &str = "longshore-dlq";
/// As in the template: high enough that releases and short faults do not fill the DLQ.
pub const MAX_RECEIVE_COUNT: u32 = 5;

/// What was made, and how to reach it.
#[derive(Debug, Clone)]
pub struct Made {
    pub connection: Connection,
    pub clients: Clients,
    pub queue_url: String,
    pub dlq_url: String,
}

/// Makes what is missing; what is there already stays as it is.
///
/// # Errors
///
/// A call failed; the line names it.
pub async fn make(endpoint: &str) -> Result<Made, Error> {
    let connection = Connection {
        region: Some(REGION.into()),
        endpoint_url: Some(endpoint.into()),
        profile: None,
        credentials: Some(Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "embedded")),
    };
    let clients = Clients::connect(&connection, Duration::from_secs(1), Duration::from_secs(90)).await;
    for bucket in [INPUT_BUCKET, OUTPUT_BUCKET] {
        make_bucket(&clients, bucket).await?;
    }
    let dlq_url = make_queue(&clients, DEAD_LETTER_QUEUE, None).await?;
    let dlq_arn = queue_arn(&clients, &dlq_url).await?;
    let redrive = json!({"deadLetterTargetArn": dlq_arn, "maxReceiveCount": MAX_RECEIVE_COUNT});
    let queue_url = make_queue(&clients, QUEUE, Some(redrive.to_string())).await?;
    notify(&clients, &queue_arn(&clients, &queue_url).await?).await?;
    Ok(Made { connection, clients, queue_url, dlq_url })
}

fn failed(what: &str, why: &str) -> Error {
    Error::new(format!("cannot make {what} on the embedded servers: {why}"))
}

/// # Errors
///
/// As [`make`].
pub async fn make_bucket(clients: &Clients, bucket: &str) -> Result<(), Error> {
    match clients.write.create_bucket().bucket(bucket).send().await {
        Ok(_) => Ok(()),
        Err(e) if aws::code(&e) == Some("BucketAlreadyOwnedByYou") => Ok(()),
        Err(e) => Err(failed(bucket, &aws::explain(&e))),
    }
}

async fn make_queue(clients: &Clients, name: &str, redrive: Option<String>) -> Result<String, Error> {
    let mut make = clients.send.create_queue().queue_name(name);
    if let Some(redrive) = redrive {
        make = make.attributes(QueueAttributeName::RedrivePolicy, redrive);
    }
    let answer = make.send().await.map_err(|e| failed(name, &aws::explain(&e)))?;
    answer.queue_url.ok_or_else(|| failed(name, "no URL in the answer"))
}

async fn queue_arn(clients: &Clients, url: &str) -> Result<String, Error> {
    let ask = clients.send.get_queue_attributes().queue_url(url);
    let answer = ask.attribute_names(QueueAttributeName::QueueArn).send().await;
    let answer = answer.map_err(|e| failed(url, &aws::explain(&e)))?;
    let arn = answer.attributes.and_then(|mut a| a.remove(&QueueAttributeName::QueueArn));
    arn.ok_or_else(|| failed(url, "no ARN in the answer"))
}

/// Sets the notification once: each time it is set, S3 sends a test event.
async fn notify(clients: &Clients, arn: &str) -> Result<(), Error> {
    let what = "the bucket notification";
    let present = clients.read.get_bucket_notification_configuration().bucket(INPUT_BUCKET).send().await;
    let present = present.map_err(|e| failed(what, &aws::explain(&e)))?;
    if present.queue_configurations().iter().any(|q| q.queue_arn() == arn) {
        return Ok(());
    }
    let build = |e: aws_sdk_s3::error::BuildError| failed(what, &e.to_string());
    let queue =
        QueueConfiguration::builder().queue_arn(arn).events(Event::S3ObjectCreated).build().map_err(build)?;
    clients
        .write
        .put_bucket_notification_configuration()
        .bucket(INPUT_BUCKET)
        .notification_configuration(NotificationConfiguration::builder().queue_configurations(queue).build())
        .send()
        .await
        .map_err(|e| failed(what, &aws::explain(&e)))?;
    Ok(())
}
