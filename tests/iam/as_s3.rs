//! Between the worker and a server that tells everybody what is missing: S3 does so only to those who may list
//! the bucket, and says 403 to all others.

use crate::common::LIMIT;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, Method, Response, StatusCode};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Server {
    /// Host and port behind.
    behind: String,
    /// The bucket that may not be listed.
    unlisted: String,
}

/// Gives the endpoint to use instead.
pub async fn in_front_of(endpoint: &str, unlisted: &str) -> String {
    let behind = endpoint.trim_start_matches("http://").to_owned();
    let server = Arc::new(Server { behind, unlisted: unlisted.to_owned() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().fallback(pass).with_state(server);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    own
}

async fn pass(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let reading = head.method == Method::GET || head.method == Method::HEAD;
    let of_unlisted = head.uri.path().starts_with(&format!("/{}/", server.unlisted));
    let body = to_bytes(body, usize::MAX).await.unwrap();
    // HTTP/1.0: the answer ends with the connection, and is not in chunks.
    let mut bytes = format!("{} {} HTTP/1.0\r\ncontent-length: {}\r\n", head.method, head.uri, body.len());
    for (name, value) in &head.headers {
        if !["connection", "content-length", "transfer-encoding", "expect"].contains(&name.as_str()) {
            bytes += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
    }
    let answer = tokio::time::timeout(LIMIT, ask(&server.behind, &(bytes + "\r\n"), &body)).await.unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer has a head");
    let text = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status: StatusCode = text.split(' ').nth(1).unwrap().parse().unwrap();
    if status == StatusCode::NOT_FOUND && reading && of_unlisted {
        let denied = "<Error><Code>AccessDenied</Code><Message>not authorized to perform: s3:ListBucket</Message></Error>";
        let body = if head.method == Method::HEAD { Body::empty() } else { Body::from(denied) };
        return Response::builder().status(StatusCode::FORBIDDEN).body(body).unwrap();
    }
    let mut response = Response::builder().status(status);
    for line in text.lines().skip(1) {
        let (name, value) = line.split_once(':').unwrap();
        let name: HeaderName = name.trim().parse().unwrap();
        if !["connection", "transfer-encoding"].contains(&name.as_str()) {
            response = response.header(name, value.trim());
        }
    }
    response.body(Body::from(answer[end + 4..].to_vec())).unwrap()
}

async fn ask(behind: &str, head: &str, body: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(behind).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}
