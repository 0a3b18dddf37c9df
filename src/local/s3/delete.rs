//! DeleteObject and DeleteObjects.

use std::sync::Arc;

use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETagCondition, Error as Refused,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::bucket::Bucket;
use super::conditions::WriteConditions;
use super::fault::Doing;
use super::store::Store;

/// What became of one deletion.
#[derive(Debug, Default)]
struct Outcome {
    /// The marker that was made, or was removed.
    marker: Option<String>,
    /// The version that is gone, when one was named.
    version: Option<String>,
}

pub async fn object(
    store: &Arc<Store>,
    req: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = req.input;
    let outcome = store
        .blocking(move |store| {
            store.with(&input.bucket, |bucket| {
                delete(bucket, &input.key, input.version_id.as_deref(), input.if_match)
            })
        })
        .await?;
    Ok(S3Response::new(DeleteObjectOutput {
        delete_marker: outcome.marker.is_some().then_some(true),
        version_id: outcome.version.or(outcome.marker),
        ..Default::default()
    }))
}

pub async fn objects(
    store: &Arc<Store>,
    req: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let input = req.input;
    if !(1..=1000).contains(&input.delete.objects.len()) {
        return Err(s3_error!(MalformedXML, "a request deletes from 1 to 1000 objects"));
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    let output = store.blocking(move |store| {
        store.with(&input.bucket, |bucket| {
            for named in input.delete.objects {
                let condition = named.e_tag.map(ETagCondition::ETag);
                match delete(bucket, &named.key, named.version_id.as_deref(), condition) {
                    Ok(outcome) => deleted.push(DeletedObject {
                        key: Some(named.key),
                        delete_marker: outcome.marker.is_some().then_some(true),
                        delete_marker_version_id: outcome.marker,
                        version_id: named.version_id,
                    }),
                    Err(e) => errors.push(Refused {
                        code: Some(e.code().as_str().to_owned()),
                        message: e.message().map(str::to_owned),
                        key: Some(named.key),
                        version_id: named.version_id,
                    }),
                }
            }
            let deleted = (!quiet).then_some(deleted);
            Ok(DeleteObjectsOutput { deleted, errors: Some(errors), ..Default::default() })
        })
    });
    Ok(S3Response::new(output.await?))
}

fn delete(
    bucket: &mut Bucket,
    key: &str,
    version: Option<&str>,
    if_match: Option<ETagCondition>,
) -> S3Result<Outcome> {
    if if_match.is_some() {
        let present = bucket.present(key).map(|(_, content)| content.etag.as_str());
        WriteConditions { if_match, if_none_match: None }.check(present)?;
    }
    let Some(name) = version else {
        let marker = bucket.delete(key).doing("delete the object")?;
        return Ok(Outcome { marker: marker.map(|marker| marker.name().to_owned()), version: None });
    };
    let removed = bucket.delete_version(key, name).doing("delete the version")?;
    let was_marker = removed.is_some_and(|version| version.content.is_none());
    Ok(Outcome { marker: was_marker.then(|| name.to_owned()), version: Some(name.to_owned()) })
}
