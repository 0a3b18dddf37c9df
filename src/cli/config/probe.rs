//! Every permission that the worker needs, tried one by one with requests that change nothing: AWS asks
//! for the permission first, and only then finds that there is nothing to do.

use crate::aws::{Clients, code, explain, is_missing_queue};
use crate::config::{Config, TaskProtection};
use crate::queue::{DeadLetters, NO_REDRIVE_POLICY};
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
    if config.jobs.renditions {
        probes.extend(pictures(config, clients).await);
    }
    probes.extend(untried(config));
    probes
}

async fn pictures(config: &Config, clients: &Clients) -> Vec<Probe> {
    let mut probes = Vec::new();
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

/// What else the worker may need, and no harmless question would tell.
fn untried(config: &Config) -> Vec<Probe> {
    let not_tried = |action, on: &str, why| Probe { action, on: on.into(), verdict: Verdict::NotTried(why) };
    let keys = "keys of KMS";
    let mut probes = vec![
        not_tried("kms:Decrypt", keys, "only a message or an object that is encrypted with one shows it"),
        not_tried(
            "kms:GenerateDataKey",
            keys,
            "only an object or a letter to be encrypted with one shows it",
        ),
    ];
    if config.task_protection != TaskProtection::Off {
        let why = "a task can ask for itself alone, from inside; the worker goes on without";
        probes.push(not_tried("ecs:UpdateTaskProtection", "the worker's own task", why));
    }
    if config.jobs.commands {
        let why = "the rows name their secrets";
        probes.push(not_tried("ssm:GetParameter", "secrets of rows", why));
        probes.push(not_tried("secretsmanager:GetSecretValue", "secrets of rows", why));
    }
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
        Err(why) => ("the dead-letter queue".into(), not_found(why.to_string())),
        Ok(url) => {
            // A message without a body is no message.
            let send = clients.send.send_message().queue_url(&url).message_body("");
            let verdict = verdict(send.send().await);
            (url, verdict)
        }
    };
    vec![Probe { action: "sqs:SendMessage", on: url, verdict }]
}

/// Whether there is no dead-letter queue, or nobody said.
fn not_found(why: String) -> Verdict {
    match why.contains(NO_REDRIVE_POLICY) || is_missing_queue(&why) {
        true => Verdict::Missing(why),
        false => Verdict::Unclear(why),
    }
}

/// What only the page asks for; the worker works without. What is among the worker's own needs is not tried twice.
pub async fn page(config: &Config, clients: &Clients) -> Vec<Probe> {
    if config.admin_addr.is_none() {
        return Vec::new();
    }
    let mut probes = Vec::new();
    let mut count = async |url: String| {
        let look = clients.send.get_queue_attributes().queue_url(&url).send().await;
        probes.push(Probe { action: "sqs:GetQueueAttributes", on: url, verdict: verdict(look) });
    };
    if config.dlq_url.is_some() {
        count(config.queue_url.clone()).await;
    }
    let letters = DeadLetters::new(clients.clone(), config.queue_url.clone(), config.dlq_url.clone());
    // Where it is not to be found, that is said already.
    if let Ok(url) = letters.url().await {
        count(url.clone()).await;
        let receive = clients.send.receive_message().queue_url(&url).max_number_of_messages(0);
        let verdict = verdict(receive.send().await);
        probes.push(Probe { action: "sqs:ReceiveMessage", on: url, verdict });
    }
    probes
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

/// What an answer says of the permission.
fn verdict<T, E>(answer: Result<T, SdkError<E, HttpResponse>>) -> Verdict
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let Err(error) = answer else { return Verdict::Allowed };
    let status = error.raw_response().map(|r| r.status().as_u16());
    judge(status, code(&error).unwrap_or_default(), explain(&error))
}

/// Only an answer that AWS gives to those who may ask counts as permitted: a 400 can also be about credentials, a
/// wrong region or too many requests.
fn judge(status: Option<u16>, code: &str, why: String) -> Verdict {
    // The protocols of SQS name the same thing differently.
    let name = code.rsplit(['#', '.']).next().unwrap_or_default();
    let name = name.strip_suffix("Exception").unwrap_or(name);
    match status {
        None => Verdict::Unclear(why),
        Some(301) => Verdict::Missing("the bucket is in another region".into()),
        Some(_) if PERMITTED.contains(&name) => Verdict::Allowed,
        Some(_) if THROTTLED.contains(&name) => Verdict::Unclear(why),
        // A HEAD has no body that could name the code.
        Some(401 | 403) => Verdict::Denied(if name.is_empty() { "403".into() } else { why }),
        Some(_) if DENIALS.contains(&name) => Verdict::Denied(why),
        Some(_) if is_missing_queue(code) || name == "NoSuchBucket" => Verdict::Missing(why),
        // Only a HEAD of a bucket says so without a code, or with this one.
        Some(404) if name.is_empty() || name == "NotFound" => {
            Verdict::Missing("there is no such bucket".into())
        }
        Some(_) => Verdict::Unclear(why),
    }
}

/// Complaints about the request itself, which AWS has after it looked at the permission.
const PERMITTED: [&str; 12] = [
    // S3: there is no such object, or no such version of it; what is stored has another ETag.
    "NoSuchKey",
    "NoSuchVersion",
    "PreconditionFailed",
    "ConditionalRequestConflict",
    // SQS: no such receipt handle, no message asked for, no body.
    "ReceiptHandleIsInvalid",
    "MessageNotInflight",
    "InvalidParameterValue",
    "ReadCountOutOfRange",
    "MissingParameter",
    "MissingRequiredParameter",
    "InvalidMessageContents",
    "OverLimit",
];

/// A 403, some of them, and yet no denial.
const THROTTLED: [&str; 4] = ["RequestThrottled", "Throttling", "ThrottledRequest", "TooManyRequests"];

const DENIALS: [&str; 9] = [
    "AccessDenied",
    "KmsAccessDenied",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "UnrecognizedClient",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "MissingAuthenticationToken",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_shows_a_permission_counts_as_one() {
        for (status, code, word) in [
            (404, "NoSuchKey", "allowed"),
            (412, "PreconditionFailed", "allowed"),
            (400, "ReceiptHandleIsInvalid", "allowed"),
            (404, "ReceiptHandleIsInvalid", "allowed"),
            (400, "com.amazonaws.sqs#InvalidParameterValueException", "allowed"),
            (400, "AWS.SimpleQueueService.MessageNotInflight", "allowed"),
            (403, "OverLimit", "allowed"),
            (403, "AccessDenied", "denied"),
            (403, "", "denied"),
            (400, "AccessDeniedException", "denied"),
            (400, "ExpiredToken", "denied"),
            (400, "InvalidToken", "denied"),
            (400, "KMS.AccessDeniedException", "denied"),
            (400, "UnrecognizedClientException", "denied"),
            (404, "NoSuchBucket", "missing"),
            (404, "", "missing"),
            (400, "AWS.SimpleQueueService.NonExistentQueue", "missing"),
            (400, "QueueDoesNotExist", "missing"),
            (301, "PermanentRedirect", "missing"),
            // A HEAD with credentials that have expired, or in the wrong region.
            (400, "", "unclear"),
            (400, "AuthorizationHeaderMalformed", "unclear"),
            (403, "RequestThrottled", "unclear"),
            (400, "ThrottlingException", "unclear"),
            (429, "TooManyRequestsException", "unclear"),
            (503, "SlowDown", "unclear"),
            (400, "KMS.DisabledException", "unclear"),
            (418, "SomethingNew", "unclear"),
        ] {
            assert_eq!(judge(Some(status), code, "why".into()).word(), word, "{status} {code}");
        }
        assert_eq!(judge(None, "", "no answer".into()).word(), "unclear");
    }
}
