//! Strangers, and clients that leave.

use std::time::Duration;

use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::presigning::PresigningConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Server;

/// Sends text as it is and gives the answer, as far as the server sends one.
async fn raw(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_name_that_is_not_loopback_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let answer = raw(&server, "GET / HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("only loopback names"), "{answer}");
}

#[tokio::test]
async fn a_request_without_a_signature_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let put = "PUT /box/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
    assert!(raw(&server, put).await.starts_with("HTTP/1.1 403"));
    assert!(server.keys().await.is_empty());
}

#[tokio::test]
async fn a_wrong_secret_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let wrong = Credentials::new(super::ACCESS_KEY_ID, "guessed", None, None, "tests");
    let config = server.client.config().to_builder().credentials_provider(wrong).build();
    let refused = aws_sdk_s3::Client::from_conf(config).list_buckets().send().await.unwrap_err();
    assert_eq!(refused.code(), Some("SignatureDoesNotMatch"));
}

#[tokio::test]
async fn what_is_not_supported_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let refused = server.client.get_bucket_policy().bucket("box").send().await.unwrap_err();
    assert_eq!(refused.code(), Some("NotImplemented"));
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.put("k", "old").await;
    let signed = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let signed = server.client.put_object().bucket("box").key("k").presigned(signed).await.unwrap();
    let path = signed.uri().split_once(&server.address.to_string()).unwrap().1;
    let head = format!("PUT {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000000\r\n\r\n", server.address);
    raw(&server, &format!("{head}{}", "x".repeat(600_000))).await;
    assert_eq!(server.get("k").await.as_deref(), Some("old"));
    let incoming = folder.path().join(".longshore/s3/incoming");
    // The server learns of the end in its own time.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while incoming.read_dir().unwrap().count() > 0 {
        assert!(tokio::time::Instant::now() < deadline, "the temporary file is still there");
        tokio::task::yield_now().await;
    }
}
