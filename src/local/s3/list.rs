//! ListObjectsV2 and ListObjects.

use std::ops::Bound;
use std::sync::Arc;

use s3s::dto::{
    CommonPrefix, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    ObjectStorageClass, Owner,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::checksum::hex;
use super::page::{Item, Page, Query, Spelling};
use super::store::{Store, owner};

pub async fn v2(
    store: &Arc<Store>,
    req: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let input = req.input;
    let after = match &input.continuation_token {
        Some(token) => Some(read_token(token)?),
        None => input.start_after.clone(),
    };
    let query =
        Query::new(input.prefix.as_deref(), input.delimiter.as_deref(), after.as_deref(), input.max_keys)?;
    let max_keys = query.max_items;
    let spelling = Spelling::asked(input.encoding_type.as_ref())?;
    let with_owner = input.fetch_owner.unwrap_or(false).then(owner);
    let page = list(store, input.bucket.clone(), query, spelling, with_owner).await?;
    let key_count = i32::try_from(page.items.len()).ok();
    let is_truncated = Some(page.next.is_some());
    let next_continuation_token = page.next.as_deref().map(|next| hex(next.as_bytes()));
    let (contents, common_prefixes) = split(page.items, spelling);
    let spell = |text: Option<String>| text.map(|text| spelling.spell(&text));
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(spelling.spell(input.prefix.as_deref().unwrap_or_default())),
        delimiter: spell(input.delimiter),
        start_after: spell(input.start_after),
        max_keys: i32::try_from(max_keys).ok(),
        continuation_token: input.continuation_token,
        encoding_type: input.encoding_type,
        key_count,
        is_truncated,
        next_continuation_token,
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        ..Default::default()
    }))
}

pub async fn v1(
    store: &Arc<Store>,
    req: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let input = req.input;
    let after = input.marker.as_deref();
    let query = Query::new(input.prefix.as_deref(), input.delimiter.as_deref(), after, input.max_keys)?;
    let max_keys = query.max_items;
    let spelling = Spelling::asked(input.encoding_type.as_ref())?;
    let page = list(store, input.bucket.clone(), query, spelling, Some(owner())).await?;
    let is_truncated = Some(page.next.is_some());
    let next_marker = page.next.as_deref().map(|next| spelling.spell(next));
    let (contents, common_prefixes) = split(page.items, spelling);
    let spell = |text: Option<String>| text.map(|text| spelling.spell(&text));
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(spelling.spell(input.prefix.as_deref().unwrap_or_default())),
        marker: Some(spelling.spell(input.marker.as_deref().unwrap_or_default())),
        // S3 names it only with a delimiter: without one, the last key says it.
        next_marker: next_marker.filter(|_| input.delimiter.is_some()),
        delimiter: spell(input.delimiter),
        max_keys: i32::try_from(max_keys).ok(),
        encoding_type: input.encoding_type,
        is_truncated,
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        ..Default::default()
    }))
}

async fn list(
    store: &Arc<Store>,
    bucket: String,
    query: Query,
    spelling: Spelling,
    owner: Option<Owner>,
) -> S3Result<Page<Object>> {
    let work = move |store: &Store| {
        store.with(&bucket, |bucket| {
            let from = (Bound::Included(query.start()), Bound::Unbounded);
            let keys = bucket.entries.range::<str, _>(from).map(|(key, _)| (key.as_str(), ()));
            Ok(query.page(keys, |key, ()| {
                let (version, content) = bucket.present(key)?;
                Some(Object {
                    key: Some(spelling.spell(key)),
                    e_tag: Some(content.etag()),
                    size: i64::try_from(content.size).ok(),
                    last_modified: Some(version.modified.into()),
                    storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                    owner: owner.clone(),
                    ..Default::default()
                })
            }))
        })
    };
    store.blocking(work).await
}

/// Names and common prefixes, which answers keep apart.
pub fn split<T>(items: Vec<Item<T>>, spelling: Spelling) -> (Vec<T>, Vec<CommonPrefix>) {
    let (mut names, mut prefixes) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::Name(name) => names.push(name),
            Item::CommonPrefix(prefix) => {
                prefixes.push(CommonPrefix { prefix: Some(spelling.spell(&prefix)) })
            }
        }
    }
    (names, prefixes)
}

/// A continuation token is the last name of the page before, in hex so that nobody builds on it.
fn read_token(token: &str) -> S3Result<String> {
    let bytes = token.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    let name = bytes.collect::<Option<Vec<u8>>>().and_then(|bytes| String::from_utf8(bytes).ok());
    name.ok_or_else(|| s3_error!(InvalidArgument, "the continuation token provided is incorrect"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_the_name_it_was_made_of() {
        assert_eq!(read_token(&hex("ü/x".as_bytes())).unwrap(), "ü/x");
        assert!(read_token("xyz").is_err() && read_token("6").is_err() && read_token("ff").is_err());
    }
}
