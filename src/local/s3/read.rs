//! GetObject and HeadObject.

use std::ops::Range;
use std::sync::Arc;

use hyper::header::HeaderValue;
use s3s::dto::{
    ChecksumMode, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Range as WantedRange,
    StreamingBlob,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::bucket::Bucket;
use super::checksum::answer_checksum;
use super::conditions::ReadConditions;
use super::fault::{Doing, internal};
use super::record::{Content, Version, Versioning};
use super::send::send;
use super::store::{Store, no_such_key};

/// Which object is asked for, and when it is to be given.
struct Wanted {
    bucket: String,
    key: String,
    version: Option<String>,
    range: Option<WantedRange>,
    conditions: ReadConditions,
}

struct Found {
    version: Version,
    content: Content,
    range: Option<Range<u64>>,
    /// Whether the answer names the version: only in buckets that have had versioning.
    versioned: bool,
    body: Option<StreamingBlob>,
}

macro_rules! wanted {
    ($input:expr) => {{
        refuse_parts($input.part_number)?;
        Wanted {
            bucket: $input.bucket.clone(),
            key: $input.key.clone(),
            version: $input.version_id.clone(),
            range: $input.range,
            conditions: ReadConditions {
                if_match: $input.if_match.clone(),
                if_none_match: $input.if_none_match.clone(),
                if_modified_since: $input.if_modified_since.clone(),
                if_unmodified_since: $input.if_unmodified_since.clone(),
            },
        }
    }};
}

/// The fields that both answers have.
macro_rules! answer {
    ($output:ident, $found:expr, $input:expr) => {{
        let Found { version, content, range, versioned, body } = $found;
        let description = content.description.clone();
        let length = range.as_ref().map_or(content.size, |range| range.end - range.start);
        let mut output = $output {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(length).ok(),
            content_range: range.as_ref().map(|range| content_range(range, content.size)),
            e_tag: Some(content.etag()),
            last_modified: Some(version.modified.into()),
            metadata: Some(description.metadata.into_iter().collect()),
            content_type: description.content_type.or_else(|| Some("binary/octet-stream".to_owned())),
            cache_control: description.cache_control,
            content_disposition: description.content_disposition,
            content_encoding: description.content_encoding,
            content_language: description.content_language,
            expires: description.expires,
            version_id: versioned.then(|| version.name().to_owned()),
            ..Default::default()
        };
        let asked = $input.checksum_mode.as_ref().is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
        // It is of the whole object: a reader of a part could not use it.
        if asked && range.is_none() {
            answer_checksum!(output, content.checksum);
            output.checksum_type = Some(content.checksum.kind());
        }
        (output, range.is_some(), body)
    }};
}

pub async fn get(
    store: &Arc<Store>,
    req: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let input = req.input;
    let wanted = wanted!(input);
    let found = store.blocking(move |store| find(store, &wanted, true)).await?;
    let tag_count = i32::try_from(found.content.tags.len()).ok().filter(|count| *count > 0);
    let (mut output, _, body) = answer!(GetObjectOutput, found, input);
    output.body = body;
    output.tag_count = tag_count;
    Ok(S3Response::new(output))
}

pub async fn head(
    store: &Arc<Store>,
    req: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = req.input;
    let wanted = wanted!(input);
    let found = store.blocking(move |store| find(store, &wanted, false)).await?;
    let (output, partial, _) = answer!(HeadObjectOutput, found, input);
    let mut response = S3Response::new(output);
    response.status = partial.then_some(hyper::StatusCode::PARTIAL_CONTENT);
    Ok(response)
}

fn find(store: &Store, wanted: &Wanted, with_body: bool) -> S3Result<Found> {
    // Description and file are taken under one lock, so they belong together.
    let (mut found, file) = store.with(&wanted.bucket, |bucket| {
        let version = select(bucket, &wanted.key, wanted.version.as_deref())?.clone();
        let content = version.content.clone().ok_or_else(|| no_such_key(&wanted.key))?;
        wanted.conditions.check(&content.etag, version.modified)?;
        let file = with_body.then(|| bucket.open_file(&content)).transpose().doing("read the object")?;
        let versioned = bucket.settings.versioning != Versioning::Off;
        Ok((Found { version, content, range: None, versioned, body: None }, file))
    })?;
    found.range = wanted.range.map(|range| check_range(range, found.content.size)).transpose()?;
    if let Some(file) = file {
        let whole = 0..found.content.size;
        let body = send(file, found.range.clone().unwrap_or(whole));
        found.body = Some(body.doing("read the object")?);
    }
    Ok(found)
}

/// The version of an object that a reader means, with its bytes on disk; the latest without a name.
pub fn select<'a>(bucket: &'a Bucket, key: &str, name: Option<&str>) -> S3Result<&'a Version> {
    let versions = bucket.entries.get(key).map_or(&[][..], Vec::as_slice);
    let version = match name {
        None => versions.last().ok_or_else(|| no_such_key(key))?,
        Some(name) => versions
            .iter()
            .find(|version| version.name() == name)
            .ok_or_else(|| s3_error!(NoSuchVersion, "the specified version does not exist: {name}"))?,
    };
    match &version.content {
        None => Err(marked_deleted(key, version, name.is_some())),
        Some(content) if !bucket.is_on_disk(content) => {
            tracing::warn!("{key} in {} was removed or changed by hand: it counts as deleted", bucket.name);
            Err(no_such_key(key))
        }
        Some(_) => Ok(version),
    }
}

/// What a delete marker answers: asked for by name it is there, but nothing to read.
fn marked_deleted(key: &str, marker: &Version, by_name: bool) -> S3Error {
    let mut error = match by_name {
        true => S3Error::with_message(S3ErrorCode::MethodNotAllowed, "the version is a delete marker"),
        false => no_such_key(key),
    };
    let mut headers = hyper::HeaderMap::new();
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    headers.insert("content-type", HeaderValue::from_static("application/xml"));
    if let Ok(name) = HeaderValue::from_str(marker.name()) {
        headers.insert("x-amz-version-id", name);
    }
    if by_name {
        headers.insert("allow", HeaderValue::from_static("DELETE"));
    }
    error.set_headers(headers);
    error
}

fn check_range(range: WantedRange, size: u64) -> S3Result<Range<u64>> {
    let range = range.check(size);
    range.map_err(|_| {
        s3_error!(InvalidRange, "the requested range is not satisfiable: the object has {size} bytes")
    })
}

fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

fn refuse_parts(part: Option<i32>) -> S3Result<()> {
    match part {
        None | Some(1) => Ok(()),
        Some(_) => Err(s3_error!(NotImplemented, "reading by partNumber is not supported here: use Range")),
    }
}

/// The bytes a copy starts from.
pub fn open_source(
    store: &Store,
    source: &s3s::dto::CopySource,
    conditions: &ReadConditions,
) -> S3Result<(Version, Content, std::fs::File)> {
    let s3s::dto::CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(s3_error!(NotImplemented, "a copy source can only be BUCKET/KEY"));
    };
    store.with(bucket, |bucket| {
        let version = select(bucket, key, version_id.as_deref())?.clone();
        let content = version.content.clone().ok_or_else(|| no_such_key(key))?;
        conditions.check_source(&content.etag, version.modified)?;
        let file = bucket.open_file(&content).map_err(|e| internal("read the copy source", &e))?;
        Ok((version, content, file))
    })
}
