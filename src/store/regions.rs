//! Buckets that rows of a table name, wherever they are: S3 tells the region when it is asked in another one.

use super::Store;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Region;
use aws_sdk_s3::config::retry::RetryPartition;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::types::RequestPayer;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

/// By bucket: how to reach those that are elsewhere.
#[derive(Debug)]
pub(super) struct Regions(Mutex<LruCache<String, Regional>>);

#[derive(Debug, Clone)]
struct Regional {
    region: String,
    read: Client,
    write: Client,
}

/// More than any table of one job names by purpose.
const MOST: NonZeroUsize = NonZeroUsize::new(1000).expect("not 0");

impl Default for Regions {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOST)))
    }
}

impl Regions {
    fn of(&self, bucket: &str) -> Option<Regional> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(bucket).cloned()
    }
}

impl Store {
    /// The same for what rows name: in any region, and paid for by whoever reads where that is asked for.
    #[must_use]
    pub fn for_rows(&self, pays: bool) -> Self {
        let payer = pays.then_some(RequestPayer::Requester);
        Self { crosses_regions: true, payer, ..self.clone() }
    }

    pub(super) fn reader(&self, bucket: &str) -> Client {
        self.regions.of(bucket).map_or_else(|| self.clients.read.clone(), |regional| regional.read)
    }

    pub(super) fn writer(&self, bucket: &str) -> Client {
        self.regions.of(bucket).map_or_else(|| self.clients.write.clone(), |regional| regional.write)
    }

    pub(super) fn payer(&self) -> Option<RequestPayer> {
        self.payer.clone()
    }

    /// Whether this refusal told the one who asked where the bucket is, so that another try gets there.
    pub(super) fn learns<E>(&self, bucket: &str, asked: &Client, error: &SdkError<E>) -> bool {
        let told = error.raw_response().filter(|r| matches!(r.status().as_u16(), 301 | 307 | 400));
        let told = told.and_then(|r| r.headers().get("x-amz-bucket-region"));
        let Some(region) = told.filter(|_| self.crosses_regions) else { return false };
        if asked.config().region().is_some_and(|asked| asked.as_ref() == region) {
            return false;
        }
        let mut known = self.regions.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else has learnt it while this one asked.
        if known.get(bucket).is_some_and(|regional| regional.region == region) {
            return true;
        }
        // Connections are shared by the buckets of a region.
        let same = known.iter().find(|(_, regional)| regional.region == region).map(|(_, same)| same.clone());
        let regional = same.unwrap_or_else(|| Regional {
            region: region.to_owned(),
            read: there(&self.clients.read, region, "read"),
            write: there(&self.clients.write, region, "write"),
        });
        tracing::info!("the bucket {bucket} is in {region}");
        known.put(bucket.to_owned(), regional);
        true
    }
}

fn there(client: &Client, region: &str, purpose: &str) -> Client {
    let partition = RetryPartition::new(format!("longshore-{purpose}-{region}"));
    let config =
        client.config().to_builder().region(Region::new(region.to_owned())).retry_partition(partition);
    Client::from_conf(config.build())
}
