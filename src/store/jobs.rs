//! The work bucket, as those see it who submit jobs and look after them; and questions about other buckets.

use super::{Location, Store};
use crate::aws;
use crate::error::{Error, Printable};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

#[derive(Debug, Clone)]
pub struct JobStore {
    pub store: Store,
    pub bucket: String,
}

/// What a bucket says when it is asked whether it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// None: it does not say where.
    There {
        region: Option<String>,
    },
    /// In another region, which the connection cannot reach.
    Elsewhere {
        region: String,
    },
    Missing,
    Denied,
}

/// Of an object, or of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Present,
    Absent,
    /// Without `s3:ListBucket`, what is missing is denied.
    Denied,
}

/// Larger files are stored in parts of this size: 10,000 of them are 156 GiB.
const PART: u64 = 16 << 20;
/// What S3 deletes in one call.
pub const DELETES: usize = 1000;
/// How often one download is tried.
const READS: u32 = 3;

impl JobStore {
    pub fn new(store: Store, bucket: &str) -> Self {
        Self { store, bucket: bucket.to_owned() }
    }

    /// A small object, whole; None if there is none.
    ///
    /// # Errors
    ///
    /// S3 does not give it, or it has more than `most` bytes.
    pub async fn get(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let Some(answer) = self.open(key).await? else { return Ok(None) };
            let length = answer.content_length().unwrap_or_default().unsigned_abs();
            if length > most {
                return Err(Error::new(format!("{} has {length} bytes, {most} at most", self.place(key))));
            }
            match answer.body.collect().await {
                Ok(bytes) => return Ok(Some(bytes.to_vec())),
                Err(e) if tries == READS => return Err(self.failed("read", key, &e.to_string())),
                Err(_) => pause(tries).await,
            }
        }
    }

    /// Copies an object into a file, from its beginning. False: there is none.
    ///
    /// # Errors
    ///
    /// S3 does not give it, or the file cannot be written.
    pub async fn fetch(&self, key: &str, path: &Path) -> Result<bool, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let Some(answer) = self.open(key).await? else { return Ok(false) };
            match write_down(answer.body, path).await {
                Ok(()) => return Ok(true),
                Err(why) if tries == READS => return Err(self.failed("read", key, &why)),
                Err(_) => pause(tries).await,
            }
        }
    }

    async fn open(
        &self,
        key: &str,
    ) -> Result<Option<aws_sdk_s3::operation::get_object::GetObjectOutput>, Error> {
        let get = self.store.clients.read.get_object().bucket(&self.bucket).key(key);
        match get.send().await {
            Ok(answer) => Ok(Some(answer)),
            Err(e) if aws::code(&e) == Some("NoSuchKey") => Ok(None),
            Err(e) => Err(self.refused("read", key, &e)),
        }
    }

    /// # Errors
    ///
    /// S3 does not take it.
    pub async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let put = self.store.clients.write.put_object().bucket(&self.bucket).key(key);
        put.body(ByteStream::from(bytes)).send().await.map_err(|e| self.refused("store", key, &e))?;
        Ok(())
    }

    /// False: there is one already.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn put_new(&self, key: &str, bytes: Vec<u8>) -> Result<bool, Error> {
        let put = self.store.clients.write.put_object().bucket(&self.bucket).key(key).if_none_match("*");
        match put.body(ByteStream::from(bytes)).send().await {
            Ok(_) => Ok(true),
            Err(e)
                if matches!(
                    aws::code(&e),
                    Some("PreconditionFailed" | "ConditionalRequestConflict" | "OperationAborted")
                ) =>
            {
                Ok(false)
            }
            Err(e) => Err(self.refused("store", key, &e)),
        }
    }

    /// Stores a file of any size; readers see all of it or what was there before.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put), or the file cannot be read.
    pub async fn put_file(&self, key: &str, path: &Path, bytes: u64) -> Result<(), Error> {
        if bytes <= PART {
            let bytes = tokio::fs::read(path).await.map_err(|e| self.failed("store", key, &e.to_string()))?;
            return self.put(key, bytes).await;
        }
        let write = &self.store.clients.write;
        let begun = write.create_multipart_upload().bucket(&self.bucket).key(key).send().await;
        let upload = begun.map_err(|e| self.refused("store", key, &e))?.upload_id.unwrap_or_default();
        let stored = self.put_parts(key, path, bytes, &upload).await;
        if stored.is_err() {
            // What was sent would be kept, and paid for.
            let abort = write.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(&upload);
            let _ = abort.send().await;
        }
        stored
    }

    async fn put_parts(&self, key: &str, path: &Path, bytes: u64, upload: &str) -> Result<(), Error> {
        let write = &self.store.clients.write;
        let mut parts = Vec::new();
        for (number, offset) in (1..).zip((0..bytes).step_by(PART as usize)) {
            let body = ByteStream::read_from()
                .path(path)
                .offset(offset)
                .length(Length::Exact(PART.min(bytes - offset)))
                .build()
                .await
                .map_err(|e| self.failed("store", key, &e.to_string()))?;
            let send = write.upload_part().bucket(&self.bucket).key(key).upload_id(upload);
            let sent = send.part_number(number).body(body).send().await;
            let sent = sent.map_err(|e| self.refused("store", key, &e))?;
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build());
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = write.complete_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload);
        let done = complete.multipart_upload(parts).send().await;
        done.map(|_| ()).map_err(|e| self.refused("store", key, &e))
    }

    /// Deletes up to [`DELETES`] objects; what is not there counts as deleted.
    ///
    /// # Errors
    ///
    /// Some of them are still there.
    pub async fn delete(&self, keys: &[String]) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let named = |key: &String| ObjectIdentifier::builder().key(key).build().expect("a key is given");
        let all = Delete::builder().set_objects(Some(keys.iter().map(named).collect())).quiet(true).build();
        let delete = self.store.clients.write.delete_objects().bucket(&self.bucket);
        let answer = delete.delete(all.expect("objects are given")).send().await;
        let answer = answer.map_err(|e| self.refused("delete", &keys[0], &e))?;
        match answer.errors().first() {
            None => Ok(()),
            Some(first) => {
                let key = first.key().unwrap_or_default();
                let why =
                    format!("{}: {}", first.code().unwrap_or("no code"), first.message().unwrap_or_default());
                Err(self.failed("delete", key, &why))
            }
        }
    }

    pub fn place(&self, key: &str) -> Location {
        Location { bucket: self.bucket.clone(), key: key.to_owned(), version: None }
    }

    fn failed(&self, verb: &str, key: &str, why: &str) -> Error {
        Error::new(format!("cannot {verb} {}: {}", self.place(key), Printable(why)))
    }

    fn refused<E>(&self, verb: &str, key: &str, error: &SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let right = match verb {
            "read" => "s3:GetObject and s3:ListBucket",
            "delete" => "s3:DeleteObject",
            _ => "s3:PutObject",
        };
        let remedy = match (aws::code(error), status(error)) {
            (Some("NoSuchBucket"), _) => " (make the bucket, or check --work-bucket)".into(),
            (_, Some(403)) => format!(" (allow {right} on the work bucket)"),
            (Some("AuthorizationHeaderMalformed" | "PermanentRedirect"), _) | (_, Some(301 | 307)) => {
                " (the bucket is in another region: set AWS_REGION)".into()
            }
            _ => String::new(),
        };
        Error::new(format!("cannot {verb} {}: {}{remedy}", self.place(key), aws::explain(error)))
    }
}

impl Store {
    /// Whether a bucket is there, and where.
    ///
    /// # Errors
    ///
    /// Nobody answered.
    pub async fn ask_bucket(&self, bucket: &str) -> Result<Answer, Error> {
        let asked = self.clients.read.head_bucket().bucket(bucket).send().await;
        let e = match asked {
            Ok(answer) => return Ok(Answer::There { region: answer.bucket_region }),
            Err(e) => e,
        };
        let region = e.raw_response().and_then(|r| r.headers().get("x-amz-bucket-region")).map(str::to_owned);
        match (status(&e), region) {
            (Some(301 | 307 | 400), Some(region)) => Ok(Answer::Elsewhere { region }),
            (Some(404), _) => Ok(Answer::Missing),
            (Some(403), _) => Ok(Answer::Denied),
            _ => Err(Error::new(format!("cannot ask for s3://{}: {}", Printable(bucket), aws::explain(&e)))),
        }
    }

    /// Whether there is an object.
    ///
    /// # Errors
    ///
    /// S3 says neither.
    pub async fn ask_object(&self, place: &Location) -> Result<Presence, Error> {
        loop {
            let client = self.reader(&place.bucket);
            let head = client.head_object().bucket(&place.bucket).key(&place.key);
            match head.set_request_payer(self.payer()).send().await {
                Ok(_) => return Ok(Presence::Present),
                Err(e) if self.learns(&place.bucket, &client, &e) => {}
                Err(e) => return presence(place, &e),
            }
        }
    }

    /// Whether there is any object whose key begins so.
    ///
    /// # Errors
    ///
    /// As [`ask_object`](Self::ask_object).
    pub async fn ask_prefix(&self, place: &Location) -> Result<Presence, Error> {
        loop {
            let client = self.reader(&place.bucket);
            let list = client.list_objects_v2().bucket(&place.bucket).prefix(&place.key);
            match list.max_keys(1).set_request_payer(self.payer()).send().await {
                Ok(page) if page.contents().is_empty() => return Ok(Presence::Absent),
                Ok(_) => return Ok(Presence::Present),
                Err(e) if self.learns(&place.bucket, &client, &e) => {}
                Err(e) => return presence(place, &e),
            }
        }
    }
}

fn presence<E>(place: &Location, error: &SdkError<E>) -> Result<Presence, Error>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match status(error) {
        Some(404) => Ok(Presence::Absent),
        Some(403) => Ok(Presence::Denied),
        _ => Err(Error::new(format!("cannot look at {place}: {}", aws::explain(error)))),
    }
}

async fn write_down(mut body: ByteStream, path: &Path) -> Result<(), String> {
    let file = tokio::fs::OpenOptions::new().write(true).truncate(true).create(true).open(path).await;
    let mut file = file.map_err(|e| e.to_string())?;
    file.rewind().await.map_err(|e| e.to_string())?;
    while let Some(chunk) = body.try_next().await.map_err(|e| e.to_string())? {
        file.write_all(&chunk).await.map_err(|e| e.to_string())?;
    }
    file.flush().await.map_err(|e| e.to_string())
}

async fn pause(tries: u32) {
    tokio::time::sleep(Duration::from_millis(200 << tries).mul_f64(fastrand::f64())).await;
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|r| r.status().as_u16())
}
