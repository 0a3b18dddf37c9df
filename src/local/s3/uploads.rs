//! ListMultipartUploads and ListParts.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3s::dto::{
    ChecksumAlgorithm, ETag, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput,
    ListPartsOutput, MultipartUpload, Part as ListedPart, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::checksum::answer_checksum;
use super::list::split;
use super::multipart::find;
use super::page::{Query, Spelling, max_items};
use super::store::{Store, owner};

/// Between key and upload id in the names that are paged through: sorts before all a key can hold.
const BETWEEN: char = '\0';

pub async fn list(
    store: &Arc<Store>,
    req: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = req.input;
    let spelling = Spelling::asked(input.encoding_type.as_ref())?;
    let after = input.key_marker.as_deref().map(|key| match input.upload_id_marker.as_deref() {
        Some(id) => format!("{key}{BETWEEN}{id}"),
        None => format!("{key}{BETWEEN}{}", char::MAX),
    });
    let query =
        Query::new(input.prefix.as_deref(), input.delimiter.as_deref(), after.as_deref(), input.max_uploads)?;
    let max_uploads = query.max_items;
    let bucket = input.bucket.clone();
    let work = move |store: &Store| {
        store.with(&bucket, |bucket| {
            let named =
                bucket.uploads.iter().map(|(id, upload)| (format!("{}{BETWEEN}{id}", upload.key), upload));
            let named: BTreeMap<String, _> = named.collect();
            let names = named.iter().map(|(name, upload)| (name.as_str(), *upload));
            Ok(query.page(names, |name, upload| {
                let id = name.rsplit(BETWEEN).next().unwrap_or_default();
                Some(MultipartUpload {
                    key: Some(spelling.spell(&upload.key)),
                    upload_id: Some(id.to_owned()),
                    initiated: Some(upload.initiated.into()),
                    owner: Some(owner()),
                    storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
                    checksum_algorithm: upload
                        .algorithm
                        .map(|named| ChecksumAlgorithm::from_static(named.name())),
                    ..Default::default()
                })
            }))
        })
    };
    let page = store.blocking(work).await?;
    let is_truncated = Some(page.next.is_some());
    let next = page.next.as_deref().map(|name| name.split_once(BETWEEN).unwrap_or((name, "")));
    let next_key_marker = next.map(|(key, _)| spelling.spell(key));
    let next_upload_id_marker = next.map(|(_, id)| id.to_owned());
    let (uploads, common_prefixes) = split(page.items, spelling);
    let spell = |text: Option<String>| text.map(|text| spelling.spell(&text));
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: spell(input.prefix),
        delimiter: spell(input.delimiter),
        key_marker: spell(input.key_marker),
        upload_id_marker: input.upload_id_marker,
        max_uploads: i32::try_from(max_uploads).ok(),
        encoding_type: input.encoding_type,
        is_truncated,
        next_key_marker,
        next_upload_id_marker,
        uploads: Some(uploads),
        common_prefixes: Some(common_prefixes),
        ..Default::default()
    }))
}

pub async fn parts(
    store: &Arc<Store>,
    req: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let input = req.input;
    let max = max_items(input.max_parts)?;
    let after = input.part_number_marker.unwrap_or(0);
    let (bucket, key, id) = (input.bucket.clone(), input.key.clone(), input.upload_id.clone());
    let work = move |store: &Store| store.with(&bucket, |bucket| Ok(find(bucket, &key, &id)?.clone()));
    let upload = store.blocking(work).await?;
    let mut rest = upload.parts.range(after.saturating_add(1)..);
    let parts: Vec<ListedPart> = rest
        .by_ref()
        .take(max)
        .map(|(number, part)| {
            let mut listed = ListedPart {
                part_number: Some(*number),
                e_tag: Some(ETag::Strong(part.etag.clone())),
                size: i64::try_from(part.size).ok(),
                last_modified: Some(part.modified.into()),
                ..Default::default()
            };
            answer_checksum!(listed, part.checksum);
            listed
        })
        .collect();
    let is_truncated = rest.next().is_some();
    let last = parts.last().and_then(|part| part.part_number);
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        part_number_marker: Some(after),
        next_part_number_marker: last.filter(|_| is_truncated),
        max_parts: i32::try_from(max).ok(),
        is_truncated: Some(is_truncated),
        parts: Some(parts),
        owner: Some(owner()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        checksum_algorithm: upload.algorithm.map(|named| ChecksumAlgorithm::from_static(named.name())),
        ..Default::default()
    }))
}
