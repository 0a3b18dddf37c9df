//! A bucket's keys, a page at a time, in S3's order (that of their UTF-8 bytes).

use super::Store;
use crate::aws;
use crate::error::{Error, Printable};
use std::collections::VecDeque;
use std::time::SystemTime;

/// An object as listings tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub bytes: u64,
    /// Without quotes.
    pub etag: String,
    pub modified: Option<SystemTime>,
}

/// Goes through the keys under a prefix, after a key; holds one page at a time.
pub struct Listing {
    store: Store,
    bucket: String,
    prefix: String,
    after: Option<String>,
    token: Option<String>,
    page: VecDeque<Listed>,
    is_over: bool,
}

impl Listing {
    pub fn new(store: Store, bucket: &str, prefix: &str, after: Option<String>) -> Self {
        Self {
            store,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            after,
            token: None,
            page: VecDeque::new(),
            is_over: false,
        }
    }

    /// # Errors
    ///
    /// S3 does not list the bucket.
    pub async fn next(&mut self) -> Result<Option<Listed>, Error> {
        while self.page.is_empty() && !self.is_over {
            self.read_page().await?;
        }
        Ok(self.page.pop_front())
    }

    /// Whether this key is there. Keys must be asked for in order.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn has(&mut self, key: &str) -> Result<bool, Error> {
        loop {
            while self.page.is_empty() && !self.is_over {
                self.read_page().await?;
            }
            match self.page.front() {
                Some(first) if first.key.as_bytes() < key.as_bytes() => self.page.pop_front(),
                Some(first) => return Ok(first.key == key),
                None => return Ok(false),
            };
        }
    }

    /// The next page whole.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn page(&mut self) -> Result<Vec<Listed>, Error> {
        if self.page.is_empty() && !self.is_over {
            self.read_page().await?;
        }
        Ok(std::mem::take(&mut self.page).into())
    }

    async fn read_page(&mut self) -> Result<(), Error> {
        let page = loop {
            let client = self.store.reader(&self.bucket);
            let list = client.list_objects_v2().bucket(&self.bucket);
            let list = list.prefix(&self.prefix).set_request_payer(self.store.payer());
            let list = match &self.token {
                Some(token) => list.continuation_token(token),
                None => list.set_start_after(self.after.clone()),
            };
            match list.send().await {
                Err(e) if self.store.learns(&self.bucket, &client, &e) => {}
                page => break page,
            }
        };
        let page = page.map_err(|e| {
            let place = format!("s3://{}/{}", self.bucket, Printable(&self.prefix));
            Error::new(format!(
                "cannot list {place}: {} (allow s3:ListBucket on the bucket, or check its name)",
                aws::explain(&e)
            ))
        })?;
        self.token = page.next_continuation_token;
        self.is_over = self.token.is_none();
        self.page = page.contents.unwrap_or_default().into_iter().filter_map(listed).collect();
        Ok(())
    }
}

fn listed(object: aws_sdk_s3::types::Object) -> Option<Listed> {
    Some(Listed {
        key: object.key?,
        bytes: object.size.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        etag: object.e_tag.unwrap_or_default().trim_matches('"').to_owned(),
        modified: object.last_modified.and_then(|t| SystemTime::try_from(t).ok()),
    })
}
