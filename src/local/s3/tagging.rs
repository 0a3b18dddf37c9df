//! Tags of objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use s3s::dto::{
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput, Tag,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::bucket::Bucket;
use super::fault::Doing;
use super::read::select;
use super::store::Store;

const MAX_TAGS: usize = 10;

/// `x-amz-tagging: a=1&b=2`
pub fn parse_header(header: Option<&str>) -> S3Result<BTreeMap<String, String>> {
    let pairs = header.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    check(pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    }))
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn check(pairs: impl Iterator<Item = (String, String)>) -> S3Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for (name, value) in pairs {
        if name.is_empty() || name.chars().count() > 128 || value.chars().count() > 256 {
            return Err(s3_error!(InvalidTag, "the tag {name:?} is empty or too long"));
        }
        if tags.insert(name.clone(), value).is_some() {
            return Err(s3_error!(InvalidTag, "the tag {name:?} is given twice"));
        }
    }
    if tags.len() > MAX_TAGS {
        return Err(s3_error!(InvalidTag, "an object has at most {MAX_TAGS} tags"));
    }
    Ok(tags)
}

pub async fn get(
    store: &Arc<Store>,
    req: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let input = req.input;
    let select = move |store: &Store| {
        store.with(&input.bucket, |bucket| {
            Ok(select(bucket, &input.key, input.version_id.as_deref())?.clone())
        })
    };
    let version = store.blocking(select).await?;
    let tags = version.content.map(|content| content.tags).unwrap_or_default();
    let tag_set = tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect();
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id: version.id }))
}

pub async fn put(
    store: &Arc<Store>,
    req: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let input = req.input;
    let pairs = input.tagging.tag_set.into_iter();
    let tags = check(pairs.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())))?;
    let change = move |store: &Store| {
        store.with(&input.bucket, |bucket| retag(bucket, &input.key, input.version_id.as_deref(), tags))
    };
    let version_id = store.blocking(change).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
}

pub async fn delete(
    store: &Arc<Store>,
    req: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let input = req.input;
    let change = move |store: &Store| {
        store.with(&input.bucket, |bucket| {
            retag(bucket, &input.key, input.version_id.as_deref(), BTreeMap::new())
        })
    };
    let version_id = store.blocking(change).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id }))
}

fn retag(
    bucket: &mut Bucket,
    key: &str,
    version: Option<&str>,
    tags: BTreeMap<String, String>,
) -> S3Result<Option<String>> {
    let mut version = select(bucket, key, version)?.clone();
    if let Some(content) = &mut version.content {
        content.tags = tags;
    }
    let id = version.id.clone();
    bucket.redescribe(key, version).doing("store the tags")?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::parse_header;

    #[test]
    fn the_header_is_form_encoded() {
        let tags = parse_header(Some("a+b=c%26d&e=")).unwrap();
        assert_eq!(
            tags.into_iter().collect::<Vec<_>>(),
            [("a b".into(), "c&d".into()), ("e".into(), String::new())]
        );
        assert!(parse_header(None).unwrap().is_empty());
        assert!(parse_header(Some("a=1&a=2")).is_err());
    }
}
