//! Objects as files of any size: read in ranges, stored in parts. And small ones, as text.

use super::s3::{causes, failure, read_failure, with_status};
use super::{Location, Store};
use crate::aws;
use crate::error::{Barrier, Failure};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::CompletedMultipartUpload;
pub use aws_sdk_s3::types::CompletedPart;
use bytes::Bytes;
use std::ops::Range;
use std::time::Duration;

/// A small object of the work bucket.
#[derive(Debug)]
pub enum Text {
    Absent,
    /// It is what was read before.
    Unchanged,
    Is {
        bytes: Vec<u8>,
        /// As S3 gives it, quotes included.
        etag: String,
    },
}

/// What is about to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub location: Location,
    pub bytes: u64,
    /// As S3 gives it, quotes included.
    pub etag: String,
}

/// Parts of an object that is not there until they are completed.
#[derive(Debug)]
pub struct Parts {
    pub to: Location,
    id: String,
    done: Vec<CompletedPart>,
}

/// How often one range is tried before the message itself is tried again later.
const READS: u32 = 3;

impl Store {
    /// An object of the work bucket, of at most `most` bytes. `known`: the ETag of what was read before.
    pub async fn text(&self, at: &Location, most: u64, known: Option<&str>) -> Result<Text, Failure> {
        let get = self.clients.read.get_object().bucket(&at.bucket).key(&at.key);
        let answer = match get.set_if_none_match(known.map(str::to_owned)).send().await {
            Ok(answer) => answer,
            Err(e) if e.raw_response().is_some_and(|r| r.status().as_u16() == 304) => {
                return Ok(Text::Unchanged);
            }
            Err(e) if aws::code(&e) == Some("NoSuchKey") => return Ok(Text::Absent),
            Err(e) => return Err(failure(Barrier::Work, "read", at, &e)),
        };
        let etag = answer.e_tag().unwrap_or_default().to_owned();
        match body(answer, most).await {
            Ok(bytes) => Ok(Text::Is { bytes, etag }),
            Err(why) => Err(Failure::retry(format!("cannot read {at}: {why}"))),
        }
    }

    /// Stores an object of the work bucket.
    pub async fn put_text(&self, at: &Location, text: Vec<u8>, content_type: &str) -> Result<(), Failure> {
        let put = self.clients.write.put_object().bucket(&at.bucket).key(&at.key).content_type(content_type);
        let put = put.body(ByteStream::from(text)).send().await;
        put.map(drop).map_err(|e| failure(Barrier::Work, "store", at, &e))
    }

    /// Whether the work bucket has it.
    pub async fn has(&self, at: &Location) -> Result<bool, Failure> {
        match self.clients.read.head_object().bucket(&at.bucket).key(&at.key).send().await {
            Ok(_) => Ok(true),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_not_found()) => Ok(false),
            Err(e) => Err(failure(Barrier::Work, "look at", at, &e)),
        }
    }

    /// Removes an object of the work bucket.
    pub async fn remove(&self, at: &Location) -> Result<(), Failure> {
        let delete = self.clients.write.delete_object().bucket(&at.bucket).key(&at.key).send().await;
        delete.map(drop).map_err(|e| failure(Barrier::Work, "remove", at, &e))
    }

    /// What an input is now.
    pub async fn find(&self, at: &Location) -> Result<Found, Failure> {
        let answer = loop {
            let client = self.reader(&at.bucket);
            let head = client.head_object().bucket(&at.bucket).key(&at.key);
            match head.set_request_payer(self.payer()).send().await {
                Err(e) if self.learns(&at.bucket, &client, &e) => {}
                answer => break answer,
            }
        };
        match answer {
            Ok(answer) => Ok(Found {
                location: at.clone(),
                bytes: answer.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
                etag: answer.e_tag.unwrap_or_default(),
            }),
            // A HEAD of a bucket that is not there says the same; both are for whoever wrote the table.
            Err(e) if e.as_service_error().is_some_and(|e| e.is_not_found()) => {
                Err(Failure::Gone(crate::error::Error::new(format!("{at} is not there"))))
            }
            Err(e) => Err(failure(Barrier::Source, "look at", at, &e)),
        }
    }

    /// Bytes of what was found, as long as it is what was found. None: all of it.
    pub async fn range(&self, found: &Found, range: Option<Range<u64>>) -> Result<Vec<u8>, Failure> {
        let at = &found.location;
        let bytes = range.as_ref().map_or(found.bytes, |r| r.end - r.start);
        let mut tries = 0;
        loop {
            tries += 1;
            let get = self.reader(&at.bucket).get_object().bucket(&at.bucket).key(&at.key);
            let get = get.if_match(&found.etag).set_request_payer(self.payer());
            let get = get.set_range(range.as_ref().map(|r| format!("bytes={}-{}", r.start, r.end - 1)));
            let answer = get.send().await.map_err(|e| read_failure(at, &e))?;
            let why = match body(answer, bytes).await {
                Ok(read) if read.len() as u64 == bytes => return Ok(read),
                Ok(read) => format!("the body ended after {} of {bytes} bytes", read.len()),
                Err(why) => why,
            };
            if tries == READS {
                return Err(Failure::retry(format!("cannot read {at}: {why}")));
            }
            tracing::warn!("reading {at} again: {why}");
            tokio::time::sleep(Duration::from_millis(200 << tries).mul_f64(fastrand::f64())).await;
        }
    }

    /// Stores an output whole.
    pub async fn put_file(&self, to: &Location, bytes: Vec<u8>) -> Result<(), Failure> {
        let bytes = Bytes::from(bytes);
        loop {
            let client = self.writer(&to.bucket);
            let put = client.put_object().bucket(&to.bucket).key(&to.key);
            let put = put.set_request_payer(self.payer()).body(ByteStream::from(bytes.clone()));
            match put.send().await {
                Ok(_) => return Ok(()),
                Err(e) if self.learns(&to.bucket, &client, &e) => {}
                Err(e) => return Err(failure(Barrier::Output, "store", to, &e)),
            }
        }
    }

    pub async fn begin_parts(&self, to: &Location) -> Result<Parts, Failure> {
        let answer = loop {
            let client = self.writer(&to.bucket);
            let create = client.create_multipart_upload().bucket(&to.bucket).key(&to.key);
            match create.set_request_payer(self.payer()).send().await {
                Ok(answer) => break answer,
                Err(e) if self.learns(&to.bucket, &client, &e) => {}
                Err(e) => return Err(failure(Barrier::Output, "store", to, &e)),
            }
        };
        let id =
            answer.upload_id.ok_or_else(|| Failure::retry(format!("cannot store {to}: no upload id")))?;
        Ok(Parts { to: to.clone(), id, done: Vec::new() })
    }

    /// Stores one part, counted from 1. What comes back is for [`Parts::took`].
    pub async fn put_part(
        &self,
        parts: &Parts,
        number: i32,
        bytes: Vec<u8>,
    ) -> Result<CompletedPart, Failure> {
        let to = &parts.to;
        let put = self.writer(&to.bucket).upload_part().bucket(&to.bucket).key(&to.key).upload_id(&parts.id);
        let put = put
            .set_request_payer(self.payer())
            .part_number(number)
            .body(ByteStream::from(bytes))
            .send()
            .await;
        let answer = put.map_err(|e| failure(Barrier::Output, "store", to, &e))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .set_checksum_crc64_nvme(answer.checksum_crc64_nvme)
            .build())
    }

    /// From here on readers see it.
    pub async fn complete(&self, parts: &Parts) -> Result<(), Failure> {
        let mut done = parts.done.clone();
        done.sort_by_key(CompletedPart::part_number);
        let all = CompletedMultipartUpload::builder().set_parts(Some(done)).build();
        let complete = self.writer(&parts.to.bucket).complete_multipart_upload();
        let complete = complete.set_request_payer(self.payer());
        let complete = complete.bucket(&parts.to.bucket).key(&parts.to.key).upload_id(&parts.id);
        let answer = complete.multipart_upload(all).send().await;
        answer.map(drop).map_err(|e| failure(Barrier::Output, "store", &parts.to, &e))
    }

    /// Nobody will ever see them.
    pub async fn give_up(&self, parts: &Parts) {
        let abort = self.writer(&parts.to.bucket).abort_multipart_upload();
        let abort = abort.set_request_payer(self.payer());
        let abort = abort.bucket(&parts.to.bucket).key(&parts.to.key).upload_id(&parts.id);
        if let Err(e) = abort.send().await
            // It was completed before another one failed.
            && aws::code(&e) != Some("NoSuchUpload")
        {
            tracing::warn!(
                "parts of {} stay until a lifecycle rule removes them: {}",
                parts.to,
                with_status(&e)
            );
        }
    }
}

impl Parts {
    pub fn took(&mut self, part: CompletedPart) {
        self.done.push(part);
    }
}

/// At most so many bytes.
async fn body(answer: GetObjectOutput, most: u64) -> Result<Vec<u8>, String> {
    let length = answer.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(usize::try_from(length.min(most)).unwrap_or_default());
    let mut body = answer.body;
    while let Some(chunk) = body.try_next().await.map_err(|e| causes(&e))? {
        if bytes.len() as u64 + chunk.len() as u64 > most {
            return Err(format!("it has more than {most} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
