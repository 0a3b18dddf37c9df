//! Every permission that the worker needs, tried one by one with requests that change nothing: AWS asks
//! for the permission first, and only then finds that there is nothing to do.

use crate::aws::{Clients, code, explain, is_missing_queue};
use crate::config::Config;
use crate::queue::DeadLetters;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;

pub struct Probe {
    pub action: &'static str,
    /// The queue's URL, or `s3://BUCKET`.
    pub on: String,
    pub verdict: Verdict,
}

pub enum Verdict {
    Allowed,
    Denied(String),
    /// The queue or bucket is not there.
    Missing(String),
    /// No answer, or one that says neither.
    Unclear(String),
    NotTried(&'static str),
}

impl Verdict {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied(_) => "denied",
            Self::Missing(_) => "missing",
            Self::Unclear(_) => "unclear",
            Self::NotTried(_) => "not tried",
        }
    }

    pub fn why(&self) -> &str {
        match self {
            Self::Allowed => "",
            Self::Denied(why) | Self::Missing(why) | Self::Unclear(why) => why,
            Self::NotTried(why) => why,
        }
    }
}

/// A key that nobody has.
const NO_SUCH_KEY: &str = "longshore-config-check/there-is-no-such-object";
/// An ETag that no object has.
const NO_SUCH_ETAG: &str = "\"00000000000000000000000000000000\"";
const NO_SUCH_RECEIPT: &str = "there-is-no-such-receipt-handle";

pub async fn all(config: &Config, clients: &Clients) -> Vec<Probe> {
    let mut probes = queue(config, clients).await;
    probes.extend(dead_letters(config, clients).await);
    if config.jobs.commands {
        probes.extend(readable(&config.work_bucket, clients).await);
        probes.push(storable(&config.work_bucket, clients).await);
        probes.push(Probe {
            action: "s3:DeleteObject",
            on: format!("s3://{}", config.work_bucket),
            // Where versions are kept, even a delete of nothing is written down.
            verdict: Verdict::NotTried("it cannot be tried without a change"),
        });
    }
    if !config.jobs.renditions {
        return probes;
    }
    if config.input_buckets.is_empty() {
        probes.push(Probe {
            action: "s3:GetObject",
            on: "the input bucket".into(),
            verdict: Verdict::NotTried("name it in --input-buckets to have it tried"),
        });
    }
    for bucket in &config.input_buckets {
        probes.extend(readable(bucket, clients).await);
        let version = clients.read.get_object().bucket(bucket).key(NO_SUCH_KEY).version_id("null");
        probes.push(on_s3("s3:GetObjectVersion", bucket, version.send().await));
    }
    probes.extend(readable(&config.output_bucket, clients).await);
    probes.push(storable(&config.output_bucket, clients).await);
    probes
}

async fn storable(bucket: &str, clients: &Clients) -> Probe {
    // With a condition that nothing meets, nothing is written.
    let put = clients.write.put_object().bucket(bucket).key(NO_SUCH_KEY);
    let put = put.if_match(NO_SUCH_ETAG).body(ByteStream::from_static(b""));
    on_s3("s3:PutObject", bucket, put.send().await)
}

async fn queue(config: &Config, clients: &Clients) -> Vec<Probe> {
    let url = &config.queue_url;
    let on_queue = |action, verdict| Probe { action, on: url.clone(), verdict };
    // Asking for no message at all is refused, after the permission to receive was looked at.
    let receive = clients.send.receive_message().queue_url(url).max_number_of_messages(0);
    let delete = clients.send.delete_message().queue_url(url).receipt_handle(NO_SUCH_RECEIPT);
    let hide = clients.send.change_message_visibility().queue_url(url);
    let hide = hide.receipt_handle(NO_SUCH_RECEIPT).visibility_timeout(0);
    let mut probes = vec![
        on_queue("sqs:ReceiveMessage", verdict(receive.send().await)),
        on_queue("sqs:DeleteMessage", verdict(delete.send().await)),
        on_queue("sqs:ChangeMessageVisibility", verdict(hide.send().await)),
    ];
    // Only to find the dead-letter queue.
    if config.dlq_url.is_none() {
        let look = clients.send.get_queue_attributes().queue_url(url);
        probes.push(on_queue("sqs:GetQueueAttributes", verdict(look.send().await)));
    }
    probes
}

async fn dead_letters(config: &Config, clients: &Clients) -> Vec<Probe> {
    let letters = DeadLetters::new(clients.clone(), config.queue_url.clone(), config.dlq_url.clone());
    let (url, verdict) = match letters.url().await {
        Err(why) => ("the dead-letter queue".into(), Verdict::Unclear(why.to_string())),
        Ok(url) => {
            // A message without a body is no message.
            let send = clients.send.send_message().queue_url(&url).message_body("");
            let verdict = verdict(send.send().await);
            (url, verdict)
        }
    };
    vec![Probe { action: "sqs:SendMessage", on: url, verdict }]
}

async fn readable(bucket: &str, clients: &Clients) -> Vec<Probe> {
    let list = clients.read.head_bucket().bucket(bucket);
    let get = clients.read.get_object().bucket(bucket).key(NO_SUCH_KEY);
    vec![on_s3("s3:ListBucket", bucket, list.send().await), on_s3("s3:GetObject", bucket, get.send().await)]
}

fn on_s3<T, E>(action: &'static str, bucket: &str, answer: Result<T, SdkError<E, HttpResponse>>) -> Probe
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let on = format!("s3://{bucket}");
    let verdict = match verdict(answer) {
        Verdict::Denied(why) if action == "s3:GetObject" || action == "s3:GetObjectVersion" => {
            Verdict::Denied(format!("{why} (also said of what is missing, without s3:ListBucket)"))
        }
        other => other,
    };
    Probe { action, on, verdict }
}

/// What an answer says of the permission. A complaint about the request means that it was permitted.
fn verdict<T, E>(answer: Result<T, SdkError<E, HttpResponse>>) -> Verdict
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let Err(error) = answer else { return Verdict::Allowed };
    let status = error.raw_response().map(|r| r.status().as_u16());
    let name = code(&error).unwrap_or_default().to_owned();
    let why = explain(&error);
    match status {
        None => Verdict::Unclear(why),
        Some(301) => Verdict::Missing("the bucket is in another region".into()),
        // A HEAD has no body that could name the code.
        Some(401 | 403) => Verdict::Denied(if name.is_empty() { "403".into() } else { why }),
        Some(_) if is_denial(&name) => Verdict::Denied(why),
        Some(_) if is_missing_queue(&name) || name == "NoSuchBucket" => Verdict::Missing(why),
        // Only a HEAD of a bucket says so without a code, or with this one.
        Some(404) if name.is_empty() || name == "NotFound" => {
            Verdict::Missing("there is no such bucket".into())
        }
        Some(400..=499) => Verdict::Allowed,
        Some(_) => Verdict::Unclear(why),
    }
}

fn is_denial(code: &str) -> bool {
    const DENIALS: [&str; 7] = [
        "AccessDenied",
        "AccessDeniedException",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "ExpiredTokenException",
    ];
    DENIALS.contains(&code)
}
