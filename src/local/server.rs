//! One socket for both services, as emulators do: SQS requests name themselves in a header.

use super::s3::S3;
use super::sqs::Sqs;
use crate::error::Error;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::{debug, warn};

/// The embedded servers. They stop when this is dropped; what is stored stays in the folder.
pub struct Servers {
    /// `http://127.0.0.1:PORT`
    pub endpoint: String,
    accepting: tokio::task::JoinHandle<()>,
}

/// Region of the embedded services; any region in a request's signature is accepted.
pub const REGION: &str = "us-east-1";
/// Account of the embedded services.
pub const ACCOUNT: &str = "000000000000";

/// The largest request to SQS: a batch of 1 MiB of text, escaped in JSON.
const MAX_SQS_BODY: usize = 8 << 20;

impl Servers {
    /// Serves what is in `data_dir` (made if absent) on `address`; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// The folder cannot be used, or the address is taken.
    pub async fn start(data_dir: &Path, address: SocketAddr) -> Result<Self, Error> {
        let listener = TcpListener::bind(address).await.map_err(|e| {
            Error::new(format!(
                "cannot listen on {address}: {e} (choose another --listen, or port 0 for a free one)"
            ))
        })?;
        let local = listener.local_addr().map_err(|e| Error::new(format!("cannot read the address: {e}")))?;
        let endpoint = format!("http://{local}");
        let at = |e: &dyn std::fmt::Display| {
            Error::new(format!("cannot use {}: {e} (choose another --data-dir)", data_dir.display()))
        };
        std::fs::create_dir_all(data_dir.join(".longshore")).map_err(|e| at(&e))?;
        let journal = data_dir.join(".longshore").join("queues.journal");
        let sqs = Sqs::open(REGION, ACCOUNT, Some(journal)).map_err(|e| at(&e))?;
        sqs.set_base_url(&endpoint);
        let queues = sqs.clone();
        let deliver = move |arn: &str, body| queues.deliver(arn, body).map_err(|e| e.to_string());
        let s3 = S3::open(data_dir, REGION, Arc::new(deliver)).map_err(|e| Error::new(e.to_string()))?;
        Ok(Self { endpoint, accepting: tokio::spawn(accept(listener, sqs, s3)) })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, sqs: Sqs, s3: S3) {
    // Dropped with this task, and then every connection ends.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, sqs.clone(), s3.clone()));
                }
                Err(e) => {
                    warn!("cannot accept a connection: {e}");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, sqs: Sqs, s3: S3) {
    // Without it, small answers wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let (sqs, s3) = (sqs.clone(), s3.clone());
        async move { Ok::<_, Infallible>(answer(request, &sqs, &s3).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    if let Err(e) = connection.await {
        debug!("a connection ended: {e}");
    }
}

async fn answer(request: Request<Incoming>, sqs: &Sqs, s3: &S3) -> Response<s3s::Body> {
    if !request.headers().contains_key("x-amz-target") {
        return s3.handle(request).await;
    }
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_SQS_BODY).collect().await else {
        let mut refused = Response::new(s3s::Body::from(Bytes::from_static(b"the request is too large\n")));
        *refused.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return refused;
    };
    sqs.handle(Request::from_parts(head, body.to_bytes())).await.map(s3s::Body::from)
}
