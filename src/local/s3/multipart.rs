//! Multipart uploads: begin, take parts, complete or abort.

use std::fs::File;
use std::sync::Arc;

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumType, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart, CopyPartResult, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ETag, Range, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::bucket::Bucket;
use super::checksum::{Algorithm, Checksum, DEFAULT, Digest, Digested, answer_checksum, stated_checksums};
use super::conditions::{ReadConditions, WriteConditions};
use super::fault::Doing;
use super::folders::{Temporary, unique};
use super::read::open_source;
use super::receive::{Stated, Writer, discard, receive};
use super::record::{Part, Time, Upload, description};
use super::store::Store;
use super::tagging;
use super::write::{NewObject, Stored, check_key, store_object};

/// Of all parts but the last.
const MIN_PART_SIZE: u64 = 5 * 1024 * 1024;
const MAX_PARTS: i32 = 10_000;

pub async fn create(
    store: &Arc<Store>,
    req: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let mut input = req.input;
    check_key(&input.key)?;
    let algorithm = Algorithm::asked(input.checksum_algorithm.as_ref())?;
    let kind = input.checksum_type.as_ref().map(ChecksumType::as_str);
    let composite = match kind {
        Some(kind) => kind == ChecksumType::COMPOSITE,
        None => algorithm.is_some_and(|algorithm| algorithm != Algorithm::Crc64Nvme),
    };
    let upload = Upload {
        key: input.key.clone(),
        initiated: Time::now(),
        algorithm,
        composite,
        tags: tagging::parse_header(input.tagging.as_deref())?,
        description: description!(input),
        parts: Default::default(),
    };
    let upload_id = unique();
    let (id, bucket) = (upload_id.clone(), input.bucket.clone());
    let work = move |store: &Store| {
        store.with(&bucket, |bucket| bucket.start_upload(&id, upload).doing("start the upload"))
    };
    store.blocking(work).await?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(upload_id),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: input.checksum_type,
        ..Default::default()
    }))
}

/// Which part of which upload.
#[derive(Debug, Clone)]
struct PartOf {
    bucket: String,
    key: String,
    upload: String,
    number: i32,
}

pub async fn put_part(
    store: &Arc<Store>,
    mut req: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let checksum = stated_checksums!(req.input);
    let asked = Algorithm::asked(req.input.checksum_algorithm.as_ref())?;
    let content_md5 = req.input.content_md5.take();
    let mut stated = Stated::new(&req, checksum, asked, content_md5);
    let mut input = req.input;
    let part =
        PartOf { bucket: input.bucket, key: input.key, upload: input.upload_id, number: input.part_number };
    match algorithm_of(store, part.clone()).await {
        Ok(algorithm) => stated.algorithm = stated.algorithm.or(algorithm),
        Err(refused) => {
            discard(&req.headers, input.body.take()).await;
            return Err(refused);
        }
    }
    let (temporary, digested) = receive(store, input.body.take(), &stated).await?;
    let part = store.blocking(move |store| store_part(store, &part, &temporary, digested)).await?;
    let mut output = UploadPartOutput { e_tag: Some(ETag::Strong(part.etag.clone())), ..Default::default() };
    answer_checksum!(output, part.checksum);
    Ok(S3Response::new(output))
}

pub async fn copy_part(
    store: &Arc<Store>,
    req: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let input = req.input;
    let range = input.copy_source_range.as_deref().map(Range::parse).transpose();
    let range =
        range.map_err(|_| s3_error!(InvalidArgument, "the copy source range must be bytes=FIRST-LAST"))?;
    let part =
        PartOf { bucket: input.bucket, key: input.key, upload: input.upload_id, number: input.part_number };
    let algorithm = algorithm_of(store, part.clone()).await?.unwrap_or(DEFAULT);
    let conditions = ReadConditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    let work = move |store: &Store| {
        let (version, content, file) = open_source(store, &input.copy_source, &conditions)?;
        let range = range.map_or(Ok(0..content.size), |range| range.check(content.size))?;
        let copied = copy_range(store, file, range, algorithm).doing("store the part")?;
        Ok((store_part(store, &part, &copied.0, copied.1)?, version))
    };
    let (part, source) = store.blocking(work).await?;
    let mut result = CopyPartResult {
        e_tag: Some(ETag::Strong(part.etag.clone())),
        last_modified: Some(part.modified.into()),
        ..Default::default()
    };
    answer_checksum!(result, part.checksum);
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: source.id,
        ..Default::default()
    }))
}

fn copy_range(
    store: &Store,
    mut file: File,
    range: std::ops::Range<u64>,
    algorithm: Algorithm,
) -> std::io::Result<(Temporary, Digested)> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    file.seek(SeekFrom::Start(range.start))?;
    let mut writer = Writer::start(store, algorithm)?;
    writer.copy(&mut file.take(range.end - range.start))?;
    Ok(writer.finish())
}

async fn algorithm_of(store: &Arc<Store>, part: PartOf) -> S3Result<Option<Algorithm>> {
    if !(1..=MAX_PARTS).contains(&part.number) {
        return Err(s3_error!(InvalidArgument, "part number must be an integer between 1 and {MAX_PARTS}"));
    }
    let work = move |store: &Store| {
        store.with(&part.bucket, |bucket| Ok(find(bucket, &part.key, &part.upload)?.algorithm))
    };
    store.blocking(work).await
}

fn store_part(store: &Store, part: &PartOf, temporary: &Temporary, digested: Digested) -> S3Result<Part> {
    let stored = Part {
        file: String::new(),
        size: digested.size,
        etag: digested.etag(),
        checksum: digested.checksum,
        modified: Time::now(),
    };
    store.with(&part.bucket, |bucket| {
        find(bucket, &part.key, &part.upload)?;
        bucket.put_part(&part.upload, part.number, temporary, stored.clone()).doing("store the part")
    })?;
    Ok(stored)
}

pub async fn abort(
    store: &Arc<Store>,
    req: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = req.input;
    let work = move |store: &Store| {
        store.with(&input.bucket, |bucket| {
            find(bucket, &input.key, &input.upload_id)?;
            bucket.end_upload(&input.upload_id).doing("abort the upload")
        })
    };
    store.blocking(work).await?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

pub async fn complete(
    store: &Arc<Store>,
    req: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let mut input = req.input;
    let stated = stated_checksums!(input).map(|(_, value)| value);
    let wanted = input.multipart_upload.take().and_then(|upload| upload.parts).unwrap_or_default();
    let location = format!("/{}/{}", input.bucket, input.key);
    let (bucket, key) = (input.bucket.clone(), input.key.clone());
    let stored = store.blocking(move |store| assemble(store, input, &wanted, stated.as_deref())).await?;
    let mut output = CompleteMultipartUploadOutput {
        bucket: Some(bucket),
        key: Some(key),
        location: Some(location),
        e_tag: Some(stored.content.etag()),
        version_id: stored.version_id,
        checksum_type: Some(stored.content.checksum.kind()),
        ..Default::default()
    };
    answer_checksum!(output, stored.content.checksum);
    Ok(S3Response::new(output))
}

fn assemble(
    store: &Store,
    input: CompleteMultipartUploadInput,
    wanted: &[CompletedPart],
    stated: Option<&str>,
) -> S3Result<Stored> {
    let conditions = WriteConditions { if_match: input.if_match, if_none_match: input.if_none_match };
    let (upload, parts) = store.with(&input.bucket, |bucket| {
        let upload = find(bucket, &input.key, &input.upload_id)?.clone();
        let parts = choose(&upload, wanted)?;
        Ok((upload, parts))
    })?;
    let mut writer = Writer::start(store, upload.algorithm.unwrap_or(DEFAULT)).doing("join the parts")?;
    for part in &parts {
        let mut file = File::open(store.folders.path(&part.file)).doing("join the parts")?;
        writer.copy(&mut file).doing("join the parts")?;
    }
    let (temporary, mut digested) = writer.finish();
    if upload.composite {
        digested.checksum = composite(digested.checksum.algorithm, &parts);
    }
    if stated.is_some_and(|stated| without_count(stated) != without_count(&digested.checksum.value)) {
        return Err(s3_error!(BadDigest, "the checksum you specified did not match the calculated checksum"));
    }
    let new = NewObject {
        bucket: input.bucket,
        key: input.key,
        etag: joined_etag(&parts),
        digested,
        tags: upload.tags,
        description: upload.description,
        conditions,
        event: "ObjectCreated:CompleteMultipartUpload",
        upload: Some(input.upload_id),
    };
    store_object(store, &temporary, new)
}

/// The parts that the request names, if they are what it says and no smaller than they must be.
fn choose(upload: &Upload, wanted: &[CompletedPart]) -> S3Result<Vec<Part>> {
    if wanted.is_empty() {
        return Err(s3_error!(MalformedXML, "you must specify at least one part"));
    }
    let mut parts: Vec<Part> = Vec::with_capacity(wanted.len());
    let mut last_number = 0;
    for named in wanted {
        let number = named.part_number.unwrap_or_default();
        if number <= last_number {
            return Err(s3_error!(InvalidPartOrder, "the list of parts was not in ascending order"));
        }
        last_number = number;
        let part = upload.parts.get(&number);
        let is_it = |part: &&Part| named.e_tag.as_ref().is_some_and(|etag| etag.value() == part.etag);
        let part = part.filter(is_it).ok_or_else(|| {
            s3_error!(
                InvalidPart,
                "part {number} could not be found, or its entity tag is not the one you gave"
            )
        })?;
        if parts.last().is_some_and(|before| before.size < MIN_PART_SIZE) {
            return Err(s3_error!(
                EntityTooSmall,
                "your proposed upload is smaller than the minimum allowed size"
            ));
        }
        parts.push(part.clone());
    }
    Ok(parts)
}

/// Digest of the digests, and the number of parts.
fn joined_etag(parts: &[Part]) -> String {
    let digests: Vec<u8> = parts.iter().flat_map(|part| unhex(&part.etag)).collect();
    let mut digest = Digest::new(DEFAULT);
    digest.update(&digests);
    format!("{}-{}", digest.finish().etag(), parts.len())
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("an ETag of a part is an MD5 in hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn composite(algorithm: Algorithm, parts: &[Part]) -> Checksum {
    let decode = |part: &Part| base64_simd::STANDARD.decode_to_vec(&part.checksum.value).unwrap_or_default();
    let sums: Vec<u8> = parts.iter().flat_map(decode).collect();
    Checksum { algorithm, value: format!("{}-{}", algorithm.of(&sums), parts.len()), composite: true }
}

/// Base64 has no `-`.
fn without_count(checksum: &str) -> &str {
    checksum.split('-').next().unwrap_or(checksum)
}

pub fn find<'a>(bucket: &'a Bucket, key: &str, id: &str) -> S3Result<&'a Upload> {
    let upload = bucket.uploads.get(id).filter(|upload| upload.key == key);
    upload.ok_or_else(|| {
        let message = "the specified upload does not exist: it may have been aborted or completed";
        S3Error::with_message(S3ErrorCode::NoSuchUpload, message)
    })
}
