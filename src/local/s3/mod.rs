//! The embedded S3: objects are plain files in the data directory, to be opened with any viewer.
//!
//! A request passes `host` (loopback only), the `s3s` adapter (signature, XML), `service` (which
//! operation) and one of the operations (`read`, `write`, `delete`, `list`, `multipart`, …). Those
//! reach a `bucket` through the `store`, which holds the one lock of each. A bucket appends every
//! change to its `journal` and then moves files in the `folders`; `place` finds the path for a key,
//! and `notify` tells the queues.
//!
//! What S3 promises and the worker relies on holds here too: a reader sees whole objects, and of
//! many conditional writers exactly one wins. Policies, ACLs and encryption are not there.

mod bucket;
mod buckets;
mod checksum;
mod conditions;
mod delete;
mod fault;
mod folders;
mod host;
mod journal;
mod list;
mod multipart;
mod notification;
mod notify;
mod page;
mod place;
mod read;
mod receive;
mod record;
mod send;
mod sequencer;
mod service;
mod store;
mod tagging;
mod uploads;
mod versions;
mod write;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, Response};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Error, S3ErrorCode, s3_error};

use self::service::Service;
use self::store::Store;

/// Hands a notification body to the queue with this ARN; Err says why it cannot (unknown queue …).
pub type Deliver = Arc<dyn Fn(&str, String) -> Result<(), String> + Send + Sync>;

/// The one key there is, public knowledge: with it a request is the user's own, without it a page in
/// their browser. It is worth something on loopback only.
pub const ACCESS_KEY_ID: &str = "longshore";
pub const SECRET_ACCESS_KEY: &str = "longshore-local";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use the data directory {path}: {source} (choose another --data-dir)", path = path.display())]
    Folder { path: PathBuf, source: std::io::Error },
}

/// An S3 of one region. Clones share their buckets.
#[derive(Clone)]
pub struct S3 {
    service: S3Service,
}

impl S3 {
    /// Opens what is in `data_dir`, which is made if absent. One process can have it open at a time.
    ///
    /// # Errors
    ///
    /// The directory cannot be read or written, or another process uses it.
    pub fn open(data_dir: &Path, region: &str, deliver: Deliver) -> Result<S3, Error> {
        let store = Store::open(data_dir, region, deliver);
        let store = store.map_err(|source| Error::Folder { path: data_dir.to_owned(), source })?;
        let mut builder = S3ServiceBuilder::new(Service(Arc::new(store)));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        Ok(S3 { service: builder.build() })
    }

    /// One HTTP request, streamed. Must be called within a tokio runtime.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let named = host::named(&request).unwrap_or_default();
        let mut response = if host::is_loopback(named) {
            let answered = self.service.call(request.map(Body::from)).await;
            answered.unwrap_or_else(|e| {
                tracing::error!("cannot answer a request: {e:?}");
                failure(S3ErrorCode::InternalError.into())
            })
        } else {
            failure(s3_error!(
                AccessDenied,
                "only loopback names are served here, not {named:?}: use 127.0.0.1"
            ))
        };
        if let Ok(id) = HeaderValue::from_str(&notify::request_id()) {
            response.headers_mut().entry("x-amz-request-id").or_insert(id);
        }
        response
    }
}

fn failure(error: S3Error) -> Response<Body> {
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
