//! ListObjectVersions.

use std::ops::Bound;
use std::sync::Arc;

use s3s::dto::{
    CommonPrefix, DeleteMarkerEntry, ListObjectVersionsInput, ListObjectVersionsOutput, ObjectVersion,
    ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::bucket::Bucket;
use super::page::{Item, Query, Spelling};
use super::record::Version;
use super::store::{Store, owner};

/// A line of the listing.
#[derive(Debug, Clone)]
enum Row {
    Version { key: String, version: Box<Version>, is_latest: bool },
    CommonPrefix(String),
}

pub async fn list(
    store: &Arc<Store>,
    req: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let input = req.input;
    let spelling = Spelling::asked(input.encoding_type.as_ref())?;
    let after = input.key_marker.as_deref();
    let query = Query::new(input.prefix.as_deref(), input.delimiter.as_deref(), after, input.max_keys)?;
    let max_keys = query.max_items;
    let (bucket, marker) = (input.bucket.clone(), input.version_id_marker.clone());
    let work = move |store: &Store| store.with(&bucket, |bucket| Ok(rows(bucket, &query, marker.as_deref())));
    let mut rows = store.blocking(work).await?;
    let is_truncated = max_keys > 0 && rows.len() > max_keys;
    rows.truncate(max_keys);
    let (next_key_marker, next_version_id_marker) = match rows.last().filter(|_| is_truncated) {
        Some(Row::Version { key, version, .. }) => (Some(key.clone()), Some(version.name().to_owned())),
        Some(Row::CommonPrefix(prefix)) => (Some(prefix.clone()), None),
        None => (None, None),
    };
    let spell = |text: Option<String>| text.map(|text| spelling.spell(&text));
    let mut output = ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(spelling.spell(input.prefix.as_deref().unwrap_or_default())),
        delimiter: spell(input.delimiter),
        key_marker: Some(spelling.spell(input.key_marker.as_deref().unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        next_key_marker: spell(next_key_marker),
        next_version_id_marker,
        max_keys: i32::try_from(max_keys).ok(),
        encoding_type: input.encoding_type,
        is_truncated: Some(is_truncated),
        ..Default::default()
    };
    for row in rows {
        add(&mut output, row, spelling);
    }
    Ok(S3Response::new(output))
}

/// All that follows the markers, the newest version of each key first.
fn rows(bucket: &Bucket, query: &Query, marker: Option<&str>) -> Vec<Row> {
    let mut rows = Vec::new();
    // The page before stopped inside a key: its older versions come first.
    if let Some((marker, versions)) = marker.zip(bucket.entries.get(&query.after)) {
        let older = versions.iter().rev().skip_while(|version| version.name() != marker).skip(1);
        rows.extend(older.filter_map(|version| row(bucket, &query.after, version, versions)));
    }
    let from = (Bound::Included(query.start()), Bound::Unbounded);
    let names = bucket.entries.range::<str, _>(from).map(|(key, versions)| (key.as_str(), versions));
    let unlimited = Query { max_items: usize::MAX, ..query.clone() };
    for item in unlimited.page(names, |key, versions| Some((key, versions))).items {
        match item {
            Item::CommonPrefix(prefix) => rows.push(Row::CommonPrefix(prefix)),
            Item::Name((key, versions)) => {
                rows.extend(versions.iter().rev().filter_map(|version| row(bucket, key, version, versions)));
            }
        }
    }
    rows
}

fn row(bucket: &Bucket, key: &str, version: &Version, all: &[Version]) -> Option<Row> {
    let there = version.content.as_ref().is_none_or(|content| bucket.is_on_disk(content));
    let is_latest = all.last().is_some_and(|latest| latest.id == version.id);
    there.then(|| Row::Version { key: key.to_owned(), version: Box::new(version.clone()), is_latest })
}

fn add(output: &mut ListObjectVersionsOutput, row: Row, spelling: Spelling) {
    let (key, version, is_latest) = match row {
        Row::Version { key, version, is_latest } => (spelling.spell(&key), version, is_latest),
        Row::CommonPrefix(prefix) => {
            let prefix = CommonPrefix { prefix: Some(spelling.spell(&prefix)) };
            output.common_prefixes.get_or_insert_default().push(prefix);
            return;
        }
    };
    let version_id = Some(version.name().to_owned());
    let last_modified = Some(version.modified.into());
    let (key, is_latest) = (Some(key), Some(is_latest));
    match &version.content {
        None => output.delete_markers.get_or_insert_default().push(DeleteMarkerEntry {
            key,
            version_id,
            is_latest,
            last_modified,
            owner: Some(owner()),
        }),
        Some(content) => output.versions.get_or_insert_default().push(ObjectVersion {
            key,
            version_id,
            is_latest,
            last_modified,
            e_tag: Some(content.etag()),
            size: i64::try_from(content.size).ok(),
            owner: Some(owner()),
            storage_class: Some(ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD)),
            ..Default::default()
        }),
    }
}
