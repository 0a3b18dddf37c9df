//! All buckets, and the one way to each: its lock, on a thread that may wait for the disk.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use s3s::dto::Owner;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::Deliver;
use super::bucket::Bucket;
use super::fault::Doing;
use super::folders::Folders;
use super::record::{Settings, Time, Version, Versioning};
use super::sequencer::Sequence;

pub struct Store {
    pub region: String,
    pub deliver: Deliver,
    pub folders: Arc<Folders>,
    sequence: Arc<Sequence>,
    buckets: Mutex<BTreeMap<String, Arc<Mutex<Bucket>>>>,
}

impl Store {
    pub fn open(data_dir: &Path, region: &str, deliver: Deliver) -> io::Result<Store> {
        let folders = Arc::new(Folders::open(data_dir)?);
        let sequence = Arc::new(Sequence::default());
        let mut buckets = BTreeMap::new();
        for name in folders.buckets()? {
            if let Some(bucket) = Bucket::open(&name, folders.clone(), sequence.clone())? {
                buckets.insert(name, Arc::new(Mutex::new(bucket)));
            }
        }
        folders.clean()?;
        Ok(Store { region: region.to_owned(), deliver, folders, sequence, buckets: Mutex::new(buckets) })
    }

    /// Runs `work` where waiting for the disk is allowed. It runs to its end even when the client is
    /// gone: a change that was made is also told.
    pub async fn blocking<R: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Store) -> S3Result<R> + Send + 'static,
    ) -> S3Result<R> {
        let store = Arc::clone(self);
        let result = tokio::task::spawn_blocking(move || work(&store)).await;
        result.unwrap_or_else(|e| Err(s3_error!(InternalError, "the request did not end: {e}")))
    }

    /// Runs `work` under the lock of a bucket.
    pub fn with<R>(&self, bucket: &str, work: impl FnOnce(&mut Bucket) -> S3Result<R>) -> S3Result<R> {
        let found = lock(&self.buckets).get(bucket).cloned();
        let found = found.ok_or_else(|| no_such_bucket(bucket))?;
        let mut locked = lock(&found);
        if locked.deleted {
            return Err(no_such_bucket(bucket));
        }
        work(&mut locked)
    }

    pub fn create(&self, name: &str, region: &str) -> S3Result<()> {
        let mut buckets = lock(&self.buckets);
        if buckets.contains_key(name) {
            return Err(s3_error!(BucketAlreadyOwnedByYou, "you have a bucket of this name already"));
        }
        let settings = Settings {
            region: region.to_owned(),
            created: Time::now(),
            versioning: Versioning::Off,
            notifications: Vec::new(),
        };
        let bucket = Bucket::create(name, settings, self.folders.clone(), self.sequence.clone());
        let bucket = bucket.doing("create the bucket")?;
        buckets.insert(name.to_owned(), Arc::new(Mutex::new(bucket)));
        Ok(())
    }

    pub fn delete(&self, name: &str) -> S3Result<()> {
        let mut buckets = lock(&self.buckets);
        let bucket = buckets.get(name).ok_or_else(|| no_such_bucket(name))?.clone();
        let mut bucket = lock(&bucket);
        let gone_by_hand = |versions: &[Version]| match versions {
            [only] => only.content.as_ref().is_some_and(|content| !bucket.is_on_disk(content)),
            _ => false,
        };
        if !bucket.entries.values().all(|versions| gone_by_hand(versions)) {
            return Err(s3_error!(BucketNotEmpty, "the bucket you tried to delete is not empty"));
        }
        bucket.remove().doing("delete the bucket")?;
        buckets.remove(name);
        Ok(())
    }

    /// Names and settings, in order of the names.
    pub fn all(&self) -> Vec<(String, Settings)> {
        let buckets = lock(&self.buckets);
        buckets.iter().map(|(name, bucket)| (name.clone(), lock(bucket).settings.clone())).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_such_bucket(name: &str) -> S3Error {
    S3Error::with_message(S3ErrorCode::NoSuchBucket, format!("the specified bucket does not exist: {name}"))
}

pub fn no_such_key(key: &str) -> S3Error {
    S3Error::with_message(S3ErrorCode::NoSuchKey, format!("the specified key does not exist: {key}"))
}

/// Whom everything here belongs to.
pub fn owner() -> Owner {
    Owner { display_name: Some("longshore".to_owned()), id: Some(OWNER_ID.to_owned()) }
}

pub const OWNER_ID: &str = "6c6f6e6773686f72656c6f6e6773686f72656c6f6e6773686f72656c6f6e6773";
