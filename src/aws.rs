//! Clients of the AWS SDK: region, credentials, endpoint, retries, time limits.

mod bounded;

use crate::error::Printable;
use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::config::StalledStreamProtectionConfig;
use aws_sdk_s3::config::retry::RetryPartition;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_types::service_config::ServiceConfigKey;
use bounded::Bounded;
use std::error::Error as _;
use std::time::Duration;

/// Where to connect to; what is None is found by the SDK's own rules.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
    pub profile: Option<String>,
    /// For the embedded servers only.
    pub credentials: Option<Credentials>,
}

/// One client a purpose. Each has a retry budget of its own: the SDK's is shared by service and
/// region, and a storm of failing reads would starve the deletes.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Receives; one long poll at a time, retried by the worker.
    pub poll: aws_sdk_sqs::Client,
    /// Renewals, releases and deletes; retried by the keeper, on the keeper's own runtime.
    pub settle: aws_sdk_sqs::Client,
    /// Sends to the dead-letter queue, and questions about queues.
    pub send: aws_sdk_sqs::Client,
    pub read: aws_sdk_s3::Client,
    pub write: aws_sdk_s3::Client,
    /// For clients of other services, and for those who are given the credentials.
    pub config: SdkConfig,
}

/// Credentials are refreshed this long before they end, so that none ends inside a request.
const CREDENTIALS_BUFFER: Duration = Duration::from_secs(300);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One try of a call that answers at once. The SDK has no limit of its own.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// One try at a question to S3, or at a download until its body begins; stalled bodies end by the SDK's
/// own protection.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// One try at an upload: renditions are small.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Before the first retry at most; a random part of it is waited for, doubled for the second. The SDK's own
/// second would keep places idle for longer than most pictures take: what lasts longer than these tries goes
/// back to the queue, whose back-off begins with seconds.
const S3_BACKOFF: Duration = Duration::from_millis(100);

impl Clients {
    /// Reads the SDK's configuration and makes the clients. `wait` is the long-poll wait and
    /// `visibility` the visibility timeout.
    pub async fn connect(connection: &Connection, wait: Duration, visibility: Duration) -> Self {
        let config = load(connection).await;
        let sqs = |name: &'static str, retry: RetryConfig, limit: Duration| {
            let builder = aws_sdk_sqs::config::Builder::from(&config)
                .http_client(Bounded::new())
                // It looks ten times a second whether a call stalls, and an idle worker is always in one. Bodies
                // are short here, and each try has its limit.
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
                .retry_config(retry)
                .retry_partition(RetryPartition::new(name))
                .timeout_config(timeouts(limit));
            aws_sdk_sqs::Client::from_conf(builder.build())
        };
        // Emulators answer to `host/bucket/key`, seldom to `bucket.host/key`.
        let path_style = endpoint(&config, "S3").is_some();
        let s3 = |name: &'static str, limit: Duration| {
            let builder = aws_sdk_s3::config::Builder::from(&config)
                .http_client(Bounded::new())
                .retry_config(RetryConfig::standard().with_initial_backoff(S3_BACKOFF))
                .retry_partition(RetryPartition::new(name))
                .timeout_config(timeouts(limit))
                .force_path_style(path_style);
            aws_sdk_s3::Client::from_conf(builder.build())
        };
        Self {
            // A half-open socket would otherwise hang a poll for ever (aws-sdk-rust 1094).
            poll: sqs("longshore-poll", RetryConfig::disabled(), wait + Duration::from_secs(5)),
            // A try that hangs must leave time for another before the lease runs out.
            settle: sqs("longshore-settle", RetryConfig::disabled(), CALL_TIMEOUT.min(visibility / 6)),
            send: sqs("longshore-send", RetryConfig::standard(), CALL_TIMEOUT),
            read: s3("longshore-read", READ_TIMEOUT),
            write: s3("longshore-write", WRITE_TIMEOUT),
            config,
        }
    }
}

impl Clients {
    pub fn region(&self) -> Option<Region> {
        self.config.region().cloned()
    }
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(attempt).build()
}

/// The SDK's configuration, for clients of other services.
pub async fn load(connection: &Connection) -> SdkConfig {
    // This one is for those who give credentials.
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(Bounded::new())
        .identity_cache(IdentityCache::lazy().buffer_time(CREDENTIALS_BUFFER).build());
    if let Some(region) = &connection.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = &connection.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    if let Some(profile) = &connection.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(credentials) = &connection.credentials {
        loader = loader.credentials_provider(credentials.clone());
    }
    loader.load().await
}

/// The endpoint that is set for a service, by the rules that its client goes by; None: AWS's own. `service` is the
/// SDK's name of it, like `SQS`.
pub fn endpoint(config: &SdkConfig, service: &str) -> Option<String> {
    let for_all = config.endpoint_url().map(str::to_owned);
    if config.get_origin("endpoint_url").is_client_config() {
        return for_all;
    }
    let key = ServiceConfigKey::builder()
        .service_id(service)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .expect("all three parts are given");
    config.service_config().and_then(|c| c.load_config(key)).or(for_all)
}

/// That what answered does not know the service at all, as an emulator of others does not: what it said instead. AWS
/// always names an error code, in the service's own protocol.
#[cfg(feature = "status")]
pub fn unknown_service<E: ProvideErrorMetadata>(
    error: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
) -> Option<String> {
    const UNKNOWN: [&str; 4] =
        ["UnknownOperationException", "UnknownOperation", "InvalidAction", "NotImplemented"];
    let status = error.raw_response()?.status().as_u16();
    match code(error).map(|code| code.rsplit('#').next().unwrap_or_default()) {
        Some(code) => UNKNOWN.contains(&code).then(|| code.to_owned()),
        // A server in trouble, or one with too much to do, may be the right one.
        None if status == 429 || (status >= 500 && status != 501) => None,
        None => Some(format!("it answers {status}, in another protocol")),
    }
}

/// The AWS error code, if the service answered with one.
pub fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// Whether an error code says that the queue is not there, in any of the protocols of SQS.
pub fn is_missing_queue(code: &str) -> bool {
    code.contains("NonExistentQueue") || code.contains("QueueDoesNotExist")
}

/// What would help, if an error says that somebody may not ask; a queue that is missing needs another remedy.
pub fn remedy(error: &str, action: &str) -> String {
    if error.contains("AccessDenied") { format!(" (allow {action} on it)") } else { String::new() }
}

/// An SDK error in one line: what the service said, or what kept us from asking it.
pub fn explain<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    if let Some(service) = error.as_service_error()
        && let Some(code) = service.code()
    {
        // The message may quote a key, which is a stranger's text.
        return match service.message().filter(|m| !m.is_empty()) {
            Some(message) => Printable(&format!("{code}: {message}")).to_string(),
            None => code.to_owned(),
        };
    }
    // The causes repeat one another; the last ones say most.
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = inner.source();
    }
    // The credential chain lists its tries on lines of their own.
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
