//! Operations on buckets as such: make, delete, name, place, versioning.

use std::sync::Arc;

use s3s::dto::{
    Bucket as ListedBucket, BucketLocationConstraint, BucketVersioningStatus, CreateBucketInput,
    CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput, GetBucketLocationInput,
    GetBucketLocationOutput, GetBucketVersioningInput, GetBucketVersioningOutput, HeadBucketInput,
    HeadBucketOutput, ListBucketsInput, ListBucketsOutput, PutBucketVersioningInput,
    PutBucketVersioningOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::fault::Doing;
use super::record::{Settings, Versioning};
use super::store::{Store, owner};

/// The region that is none: S3 leaves it out where it names regions.
const UNNAMED_REGION: &str = "us-east-1";

pub async fn create(
    store: &Arc<Store>,
    req: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let input = req.input;
    let asked = input.create_bucket_configuration.and_then(|configuration| configuration.location_constraint);
    let region = asked.map_or_else(|| store.region.clone(), |region| region.as_str().to_owned());
    let location = Some(format!("/{}", input.bucket));
    store.blocking(move |store| store.create(&input.bucket, &region)).await?;
    Ok(S3Response::new(CreateBucketOutput { location }))
}

pub async fn delete(
    store: &Arc<Store>,
    req: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    store.blocking(move |store| store.delete(&req.input.bucket)).await?;
    Ok(S3Response::with_status(DeleteBucketOutput::default(), hyper::StatusCode::NO_CONTENT))
}

pub async fn head(
    store: &Arc<Store>,
    req: S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    let settings = settings(store, req.input.bucket).await?;
    Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(settings.region), ..Default::default() }))
}

pub async fn list(
    store: &Arc<Store>,
    req: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let prefix = req.input.prefix;
    let all = store.blocking(|store| Ok(store.all())).await?;
    let starts = |name: &str| prefix.as_deref().is_none_or(|prefix| name.starts_with(prefix));
    let buckets = all.into_iter().filter(|(name, _)| starts(name)).map(|(name, settings)| ListedBucket {
        bucket_region: Some(settings.region),
        creation_date: Some(settings.created.into()),
        name: Some(name),
    });
    let buckets = Some(buckets.collect());
    Ok(S3Response::new(ListBucketsOutput { buckets, owner: Some(owner()), prefix, ..Default::default() }))
}

pub async fn location(
    store: &Arc<Store>,
    req: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    let settings = settings(store, req.input.bucket).await?;
    let named = Some(settings.region).filter(|region| region != UNNAMED_REGION);
    Ok(S3Response::new(GetBucketLocationOutput {
        location_constraint: named.map(BucketLocationConstraint::from),
    }))
}

pub async fn versioning(
    store: &Arc<Store>,
    req: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let status = match settings(store, req.input.bucket).await?.versioning {
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    let status = status.map(BucketVersioningStatus::from_static);
    Ok(S3Response::new(GetBucketVersioningOutput { status, ..Default::default() }))
}

pub async fn put_versioning(
    store: &Arc<Store>,
    req: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    let status = req.input.versioning_configuration.status;
    let versioning = match status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        _ => return Err(s3_error!(MalformedXML, "the versioning status is Enabled or Suspended")),
    };
    change(store, req.input.bucket, move |settings| settings.versioning = versioning).await?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

pub async fn settings(store: &Arc<Store>, bucket: String) -> S3Result<Settings> {
    store.blocking(move |store| store.with(&bucket, |bucket| Ok(bucket.settings.clone()))).await
}

pub async fn change(
    store: &Arc<Store>,
    bucket: String,
    change: impl FnOnce(&mut Settings) + Send + 'static,
) -> S3Result<()> {
    let work = move |store: &Store| {
        store.with(&bucket, |bucket| {
            let mut settings = bucket.settings.clone();
            change(&mut settings);
            bucket.change_settings(settings).doing("store the bucket's settings")
        })
    };
    store.blocking(work).await
}
