//! From a request's body to a file, with its digests taken on the way.

use std::fs::File;
use std::io::{self, Write as _};
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, s3_error};

use super::checksum::{Algorithm, DEFAULT, Digest, Digested};
use super::fault::Doing;
use super::folders::Temporary;
use super::store::Store;

/// How much is gathered before a thread is asked to write it: small enough for memory, large enough
/// for the change of threads not to matter.
const BATCH: usize = 256 * 1024;

/// What the sender says of a body.
#[derive(Debug, Default)]
pub struct Stated {
    pub algorithm: Option<Algorithm>,
    /// Base64.
    pub checksum: Option<String>,
    /// Base64.
    pub content_md5: Option<String>,
    pub length: Option<u64>,
    /// Holds the checksum when the body has passed.
    pub trailers: Option<s3s::TrailingHeaders>,
}

impl Stated {
    /// `checksum`: from a header. Otherwise `x-amz-trailer` says which one follows the body.
    pub fn new<T>(
        request: &s3s::S3Request<T>,
        checksum: Option<(Algorithm, String)>,
        algorithm: Option<Algorithm>,
        content_md5: Option<String>,
    ) -> Stated {
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        let length = header("x-amz-decoded-content-length").or_else(|| header("content-length"));
        let trailer =
            header("x-amz-trailer").and_then(|names| names.split(',').find_map(Algorithm::of_header));
        let (named, checksum) = checksum.map_or((None, None), |(named, value)| (Some(named), Some(value)));
        Stated {
            algorithm: named.or(trailer).or(algorithm),
            checksum,
            content_md5,
            length: length.and_then(|length| length.parse().ok()),
            trailers: request.trailing_headers.clone(),
        }
    }

    fn verify(&self, digested: &Digested) -> S3Result<()> {
        if self.length.is_some_and(|length| length != digested.size) {
            return Err(s3_error!(
                IncompleteBody,
                "you did not provide the number of bytes that Content-Length states"
            ));
        }
        let name = digested.checksum.algorithm.header();
        let trailer = self.trailers.as_ref().and_then(|trailers| {
            trailers
                .read(|headers| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned))
        });
        let checksum = self.checksum.clone().or_else(|| trailer.flatten());
        digested.verify(self.content_md5.as_deref(), checksum.as_deref())
    }
}

/// Writes a body to a temporary file; refuses what is not as stated.
pub async fn receive(
    store: &Arc<Store>,
    body: Option<StreamingBlob>,
    stated: &Stated,
) -> S3Result<(Temporary, Digested)> {
    let algorithm = stated.algorithm.unwrap_or(DEFAULT);
    let mut batch = Vec::new();
    let mut size = 0;
    let mut writer = None;
    if let Some(mut body) = body {
        while let Some(bytes) = body.try_next().await.map_err(|e| cut_short(&e))? {
            size += bytes.len();
            batch.push(bytes);
            if size >= BATCH {
                let full = mem::take(&mut batch);
                let taken = writer.take();
                writer = Some(store.blocking(move |store| write(store, taken, algorithm, &full)).await?);
                size = 0;
            }
        }
    }
    let writer = store.blocking(move |store| write(store, writer, algorithm, &batch)).await?;
    let digested = writer.digest.finish();
    stated.verify(&digested)?;
    Ok((writer.temporary, digested))
}

/// Reads a body that nobody wants to its end: a client that is still sending when the connection
/// closes sees a reset instead of the refusal. One that waits for `100 Continue` sends nothing.
pub async fn discard(headers: &hyper::HeaderMap, body: Option<StreamingBlob>) {
    let waits = headers.get(hyper::header::EXPECT).is_some();
    let Some(mut body) = body.filter(|_| !waits) else { return };
    while let Ok(Some(_)) = body.try_next().await {}
}

/// A file that grows, and what is known of it so far.
pub struct Writer {
    temporary: Temporary,
    file: File,
    digest: Digest,
}

impl Writer {
    pub fn start(store: &Store, algorithm: Algorithm) -> io::Result<Writer> {
        let (temporary, file) = store.folders.incoming()?;
        Ok(Writer { temporary, file, digest: Digest::new(algorithm) })
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.file.write_all(bytes)
    }

    /// Copies all that `source` still has.
    pub fn copy(&mut self, source: &mut impl io::Read) -> io::Result<()> {
        let mut buffer = vec![0; BATCH];
        loop {
            match source.read(&mut buffer)? {
                0 => return Ok(()),
                n => self.write(&buffer[..n])?,
            }
        }
    }

    pub fn finish(self) -> (Temporary, Digested) {
        (self.temporary, self.digest.finish())
    }
}

fn write(store: &Store, writer: Option<Writer>, algorithm: Algorithm, batch: &[Bytes]) -> S3Result<Writer> {
    let write = || {
        let mut writer = writer.map_or_else(|| Writer::start(store, algorithm), Ok)?;
        for bytes in batch {
            writer.write(bytes)?;
        }
        Ok(writer)
    };
    write().doing("store the object")
}

/// The adapter's errors are private types: their names are in the text.
fn cut_short(error: &StdError) -> S3Error {
    let text = error.to_string();
    if text.contains("SignatureMismatch") {
        return s3_error!(SignatureDoesNotMatch, "a chunk of the body is not what was signed");
    }
    if text.contains("Sha256Mismatch") {
        let code = S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into());
        let mut error =
            S3Error::with_message(code, "the body does not have the x-amz-content-sha256 you gave");
        error.set_status_code(hyper::StatusCode::BAD_REQUEST);
        return error;
    }
    s3_error!(IncompleteBody, "the body ended before Content-Length bytes were received")
}
