//! Amazon S3: bounded reads, conditional writes.

use super::regions::Regions;
use super::{Location, Provenance};
use crate::aws::{self, Clients};
use crate::error::{Barrier, Error, Failure, Reason};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::RequestPayer;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Store {
    pub(super) clients: Clients,
    pub(super) regions: Arc<Regions>,
    /// Whether buckets of other regions are reached, too.
    pub(super) crosses_regions: bool,
    pub(super) payer: Option<RequestPayer>,
}

/// A source object, read whole.
#[derive(Debug)]
pub struct Object {
    pub bytes: Vec<u8>,
    /// Without quotes.
    pub etag: String,
}

/// What a read came to.
#[derive(Debug)]
pub enum Got {
    Object(Object),
    /// It has so many bytes, more than there is room for: nothing was read.
    Larger(u64),
}

/// What is stored where an output belongs.
#[derive(Debug)]
pub struct Existing {
    /// As S3 gives it, quotes included: for `If-Match`.
    pub etag: String,
    /// None: written by something else.
    pub provenance: Option<Provenance>,
}

/// An output on its way.
#[derive(Debug)]
pub struct Upload<'a> {
    pub location: &'a Location,
    pub bytes: &'a [u8],
    pub content_type: &'a str,
    pub cache_control: Option<&'a str>,
    pub provenance: &'a Provenance,
}

#[derive(Debug, Clone)]
pub enum PutCondition {
    /// `If-None-Match: *`
    Absent,
    /// `If-Match`
    Is(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    Stored,
    /// 412, or 404 for `If-Match`: what is stored is not what the condition says.
    ConditionFailed,
    /// 409: another write was under way; nobody can say who won.
    Conflict,
}

/// How often one download is tried before the message itself is tried again later.
const READS: u32 = 3;

impl Store {
    pub fn new(clients: Clients) -> Self {
        Self { clients, regions: Arc::default(), crosses_regions: false, payer: None }
    }

    /// Reads an object of at most `room` bytes; one of more than `max_bytes` is rejected. Memory is taken
    /// only for what is within both.
    pub async fn get(&self, location: &Location, room: u64, max_bytes: u64) -> Result<Got, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.get_once(location, room, max_bytes).await {
                // A body cut short or damaged on the way: the SDK retries calls, not bodies.
                Err(BodyOrFailure::Body(why)) if tries < READS => {
                    tracing::warn!("reading {location} again: {why}");
                    tokio::time::sleep(Duration::from_millis(200 << tries).mul_f64(fastrand::f64())).await;
                }
                Err(BodyOrFailure::Body(why)) => {
                    return Err(Failure::retry(format!("cannot read {location}: {why}")));
                }
                Err(BodyOrFailure::Failure(failure)) => return Err(failure),
                Ok(got) => return Ok(got),
            }
        }
    }

    async fn get_once(&self, location: &Location, room: u64, max_bytes: u64) -> Result<Got, BodyOrFailure> {
        let answer = self
            .clients
            .read
            .get_object()
            .bucket(&location.bucket)
            .key(&location.key)
            .set_version_id(location.version.clone())
            .send()
            .await
            .map_err(|e| BodyOrFailure::Failure(read_failure(location, &e)))?;
        let length = answer.content_length().and_then(|n| u64::try_from(n).ok());
        let too_large = |n: u64| {
            let line = format!("{location} has {n} bytes or more, the limit is {max_bytes} (--max-bytes)");
            BodyOrFailure::Failure(Failure::reject(Reason::TooLarge, line))
        };
        if let Some(length) = length.filter(|n| *n > max_bytes) {
            return Err(too_large(length));
        }
        if let Some(length) = length.filter(|n| *n > room) {
            return Ok(Got::Larger(length));
        }
        let etag = answer.e_tag().unwrap_or_default().trim_matches('"').to_owned();
        match read_body(answer, length, room).await? {
            Body::Whole(bytes) => Ok(Got::Object(Object { bytes, etag })),
            Body::Larger(read) if read > max_bytes => Err(too_large(read)),
            Body::Larger(read) => Ok(Got::Larger((2 * read).min(max_bytes))),
        }
    }

    /// ETag of the object as it is now, without quotes; None if it is gone.
    pub async fn current_etag(&self, bucket: &str, key: &str) -> Result<Option<String>, Failure> {
        match self.clients.read.head_object().bucket(bucket).key(key).send().await {
            Ok(answer) => Ok(answer.e_tag().map(|etag| etag.trim_matches('"').to_owned())),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_not_found()) => Ok(None),
            Err(e) => {
                let location = Location { bucket: bucket.to_owned(), key: key.to_owned(), version: None };
                Err(failure(Barrier::Source, "look at", &location, &e))
            }
        }
    }

    /// What an output location holds.
    pub async fn head(&self, location: &Location) -> Result<Option<Existing>, Failure> {
        let answer = self.clients.read.head_object().bucket(&location.bucket).key(&location.key).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(e) if e.as_service_error().is_some_and(|e| e.is_not_found()) => return Ok(None),
            Err(e) => return Err(failure(Barrier::Output, "look at", location, &e)),
        };
        let provenance = answer.metadata().and_then(Provenance::from_metadata);
        Ok(Some(Existing { etag: answer.e_tag.unwrap_or_default(), provenance }))
    }

    /// Stores an output if the condition holds.
    pub async fn put(&self, upload: &Upload<'_>, condition: &PutCondition) -> Result<PutOutcome, Failure> {
        let location = upload.location;
        let mut put = self
            .clients
            .write
            .put_object()
            .bucket(&location.bucket)
            .key(&location.key)
            .content_type(upload.content_type)
            .set_cache_control(upload.cache_control.map(str::to_owned))
            .set_metadata(Some(upload.provenance.to_metadata()))
            .body(ByteStream::from(upload.bytes.to_vec()));
        put = match condition {
            PutCondition::Absent => put.if_none_match("*"),
            PutCondition::Is(etag) => put.if_match(etag),
        };
        let Err(e) = put.send().await else { return Ok(PutOutcome::Stored) };
        let conditional = matches!(condition, PutCondition::Is(_));
        match aws::code(&e) {
            Some("PreconditionFailed") => Ok(PutOutcome::ConditionFailed),
            Some("NoSuchKey") if conditional => Ok(PutOutcome::ConditionFailed),
            Some("ConditionalRequestConflict" | "OperationAborted") => Ok(PutOutcome::Conflict),
            _ => Err(failure(Barrier::Output, "store", location, &e)),
        }
    }
}

enum BodyOrFailure {
    Body(String),
    Failure(Failure),
}

enum Body {
    Whole(Vec<u8>),
    /// It has so many bytes or more, beyond the room for it.
    Larger(u64),
}

async fn read_body(answer: GetObjectOutput, length: Option<u64>, room: u64) -> Result<Body, BodyOrFailure> {
    let capacity = usize::try_from(length.unwrap_or(64 << 10)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(capacity);
    let mut body = answer.body;
    loop {
        let chunk = body.try_next().await.map_err(|e| BodyOrFailure::Body(causes(&e)))?;
        let Some(chunk) = chunk else { break };
        let read = bytes.len() as u64 + chunk.len() as u64;
        if read > room {
            return Ok(Body::Larger(read));
        }
        bytes.extend_from_slice(&chunk);
    }
    match length {
        Some(length) if length != bytes.len() as u64 => {
            Err(BodyOrFailure::Body(format!("the body ended after {} of {length} bytes", bytes.len())))
        }
        _ => Ok(Body::Whole(bytes)),
    }
}

pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        line = format!("{line}: {inner}");
        cause = inner.source();
    }
    line
}

pub(super) fn read_failure<E>(location: &Location, error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let line = || format!("cannot read {location}: {}", with_status(error));
    match aws::code(error) {
        // 405: the version is a delete marker.
        // A 404 without S3's own code is somebody else's: a proxy, a wrong endpoint.
        Some("NoSuchKey" | "NoSuchVersion" | "MethodNotAllowed") => Failure::Gone(Error::new(line())),
        Some("InvalidObjectState") => Failure::reject(
            Reason::Archived,
            format!("{} (restore it from the archive, then redrive)", line()),
        ),
        Some("KeyTooLongError") => Failure::reject(Reason::KeyTooLong, line()),
        _ => failure(Barrier::Source, "read", location, error),
    }
}

/// An error that says nothing of the object: it passes, or somebody has to mend the configuration.
pub(super) fn failure<E>(side: Barrier, verb: &str, location: &Location, error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let line = format!("cannot {verb} {location}: {}", with_status(error));
    let blocked = |barrier, remedy: &str| Failure::Blocked(barrier, Error::new(format!("{line} ({remedy})")));
    match (side, aws::code(error), status(error)) {
        // 400 or 403, by service and mood.
        (_, Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired"), _) => {
            blocked(Barrier::Credentials, "waiting for new credentials")
        }
        (
            _,
            Some(
                "RequestTimeTooSkewed"
                | "RequestExpired"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "AuthFailure",
            ),
            _,
        ) => blocked(Barrier::Credentials, "check the credentials, the region and this machine's clock"),
        (Barrier::Output, Some("NoSuchBucket"), _) => {
            blocked(side, "make the bucket, or check LONGSHORE_OUTPUT_BUCKET and the region")
        }
        (Barrier::Work, Some("NoSuchBucket"), _) => {
            blocked(side, "make the bucket, or check LONGSHORE_WORK_BUCKET and the region")
        }
        (_, Some("NoSuchBucket"), _) => {
            blocked(Barrier::SourceBucket, "make the bucket, or check the region and what the event names")
        }
        (_, Some(code), _) if code.starts_with("KMS.") && !passes(code) => {
            blocked(side, "mend the key that the object is encrypted with")
        }
        (Barrier::Output, _, Some(403)) if is_about_the_key(error) => blocked(
            side,
            "allow kms:GenerateDataKey and kms:Decrypt on the output bucket's key to the worker's role",
        ),
        (_, _, Some(403)) if is_about_the_key(error) => blocked(
            side,
            "allow kms:Decrypt on the key that the object is encrypted with to the worker's role",
        ),
        (Barrier::Output, _, Some(403)) => blocked(
            side,
            "allow s3:PutObject, s3:GetObject and s3:ListBucket on the output bucket to the worker's role",
        ),
        (Barrier::Work, _, Some(403)) => blocked(
            side,
            "allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket on the work bucket to the \
             worker's role",
        ),
        // Without s3:ListBucket a missing object is denied, not missing: never deleted on this ground.
        (_, _, Some(403)) => blocked(
            side,
            "allow s3:GetObject, s3:GetObjectVersion and s3:ListBucket on the input bucket to the worker's role",
        ),
        (_, Some("AuthorizationHeaderMalformed" | "PermanentRedirect"), _) | (_, _, Some(301 | 307)) => {
            blocked(side, "the bucket is in another region: set AWS_REGION")
        }
        _ => Failure::Retry(Error::new(line)),
    }
}

/// KMS is in trouble, and nobody here can mend that.
fn passes(code: &str) -> bool {
    ["Throttling", "Internal", "Timeout", "Unavailable", "LimitExceeded"]
        .iter()
        .any(|part| code.contains(part))
}

/// A denial of KMS has S3's own code, and only its words tell.
fn is_about_the_key<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let message = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or_default();
    message.contains("to perform: kms:") || message.contains("ciphertext refers to")
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|r| r.status().as_u16())
}

/// Answers to HEAD have no body, so their status is all there is to say.
pub(super) fn with_status<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match (aws::code(error), status(error)) {
        (None, Some(status)) => format!("HTTP {status}"),
        _ => aws::explain(error),
    }
}
