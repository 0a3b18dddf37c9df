//! PutObject and CopyObject: bytes to a temporary file, then, under the bucket's lock, the conditions
//! and the rename.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, MetadataDirective, PutObjectInput,
    PutObjectOutput, TaggingDirective,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::bucket::Written;
use super::checksum::{Algorithm, DEFAULT, Digested, answer_checksum, stated_checksums};
use super::conditions::{ReadConditions, WriteConditions};
use super::fault::Doing;
use super::folders::Temporary;
use super::notify::announce;
use super::read::open_source;
use super::receive::{Stated, Writer, discard, receive};
use super::record::{Content, Description, Versioning, description};
use super::store::Store;
use super::tagging;

/// Everything of a new object but its bytes.
pub struct NewObject {
    pub bucket: String,
    pub key: String,
    pub etag: String,
    pub digested: Digested,
    pub tags: BTreeMap<String, String>,
    pub description: Description,
    pub conditions: WriteConditions,
    /// As events call it, such as `ObjectCreated:Put`.
    pub event: &'static str,
    /// The multipart upload that ends with this.
    pub upload: Option<String>,
}

pub struct Stored {
    pub written: Written,
    pub content: Content,
    /// None in buckets that never had versioning.
    pub version_id: Option<String>,
}

/// Publishes the temporary file as an object and tells the queues.
pub fn store_object(store: &Store, temporary: &Temporary, new: NewObject) -> S3Result<Stored> {
    let (stored, settings) = store.with(&new.bucket, |bucket| {
        let present = bucket.present(&new.key).map(|(_, content)| content.etag.clone());
        new.conditions.check(present.as_deref())?;
        let content = Content {
            file: String::new(),
            size: new.digested.size,
            etag: new.etag,
            checksum: new.digested.checksum,
            tags: new.tags,
            description: new.description,
        };
        let written = bucket.put(&new.key, temporary, content.clone(), new.upload.as_deref());
        let written = written.doing("store the object")?;
        let versioned = bucket.settings.versioning != Versioning::Off;
        let version_id = versioned.then(|| written.version.name().to_owned());
        Ok((Stored { written, content, version_id }, bucket.settings.clone()))
    })?;
    announce(store, &settings, new.event, &new.bucket, &new.key, &stored);
    Ok(stored)
}

pub fn check_key(key: &str) -> S3Result<()> {
    match key.len() {
        0 => Err(s3_error!(InvalidArgument, "the key is empty")),
        1..=1024 => Ok(()),
        _ => Err(s3_error!(KeyTooLongError, "your key is too long: 1024 bytes are the most")),
    }
}

pub async fn put(
    store: &Arc<Store>,
    mut req: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    check_key(&req.input.key)?;
    let checksum = stated_checksums!(req.input);
    let algorithm = Algorithm::asked(req.input.checksum_algorithm.as_ref())?;
    let content_md5 = req.input.content_md5.take();
    let stated = Stated::new(&req, checksum, algorithm, content_md5);
    let mut input = req.input;
    let tags = tagging::parse_header(input.tagging.as_deref())?;
    let conditions = WriteConditions { if_match: input.if_match, if_none_match: input.if_none_match };
    // Before the body, so that a client that waits for `100 Continue` need not send it.
    if let Err(refused) = refuse_early(store, &input.bucket, &input.key, &conditions).await {
        discard(&req.headers, input.body.take()).await;
        return Err(refused);
    }
    let (temporary, digested) = receive(store, input.body.take(), &stated).await?;
    let new = NewObject {
        description: description!(input),
        bucket: input.bucket,
        key: input.key,
        etag: digested.etag(),
        digested,
        tags,
        conditions,
        event: "ObjectCreated:Put",
        upload: None,
    };
    let stored = store.blocking(move |store| store_object(store, &temporary, new)).await?;
    let mut output = PutObjectOutput {
        e_tag: Some(stored.content.etag()),
        version_id: stored.version_id,
        checksum_type: Some(stored.content.checksum.kind()),
        ..Default::default()
    };
    answer_checksum!(output, stored.content.checksum);
    Ok(S3Response::new(output))
}

async fn refuse_early(
    store: &Arc<Store>,
    bucket: &str,
    key: &str,
    conditions: &WriteConditions,
) -> S3Result<()> {
    let (bucket, key, conditions) = (bucket.to_owned(), key.to_owned(), conditions.clone());
    store
        .blocking(move |store| {
            store.with(&bucket, |bucket| {
                let present = bucket.present(&key).map(|(_, content)| content.etag.as_str());
                conditions.check(present)
            })
        })
        .await
}

pub async fn copy(
    store: &Arc<Store>,
    req: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let mut input = req.input;
    check_key(&input.key)?;
    let replaces =
        input.metadata_directive.as_ref().is_some_and(|d| d.as_str() == MetadataDirective::REPLACE);
    let retags = input.tagging_directive.as_ref().is_some_and(|d| d.as_str() == TaggingDirective::REPLACE);
    if is_same(&input) && !replaces {
        return Err(s3_error!(
            InvalidRequest,
            "an object cannot be copied to itself without changing its metadata"
        ));
    }
    let algorithm = Algorithm::asked(input.checksum_algorithm.as_ref())?;
    let description = description!(input);
    let tags = tagging::parse_header(input.tagging.as_deref())?;
    let conditions = ReadConditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    let (source, bucket, key) = (input.copy_source, input.bucket, input.key);
    let (stored, source) = store
        .blocking(move |store| {
            store.with(&bucket, |_| Ok(()))?;
            let (version, content, mut file) = open_source(store, &source, &conditions)?;
            let mut writer = Writer::start(store, algorithm.unwrap_or(DEFAULT)).doing("store the copy")?;
            writer.copy(&mut file).doing("store the copy")?;
            let (temporary, digested) = writer.finish();
            let new = NewObject {
                bucket,
                key,
                etag: digested.etag(),
                digested,
                tags: if retags { tags } else { content.tags },
                description: if replaces { description } else { content.description },
                conditions: WriteConditions::default(),
                event: "ObjectCreated:Copy",
                upload: None,
            };
            Ok((store_object(store, &temporary, new)?, version))
        })
        .await?;
    let mut result = CopyObjectResult {
        e_tag: Some(stored.content.etag()),
        last_modified: Some(stored.written.version.modified.into()),
        checksum_type: Some(stored.content.checksum.kind()),
        ..Default::default()
    };
    answer_checksum!(result, stored.content.checksum);
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: source.id,
        version_id: stored.version_id,
        ..Default::default()
    }))
}

fn is_same(input: &CopyObjectInput) -> bool {
    matches!(&input.copy_source, CopySource::Bucket { bucket, key, version_id: None }
        if **bucket == *input.bucket && **key == *input.key)
}
