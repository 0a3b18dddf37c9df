//! The studio over HTTP.

use super::super::{Desk, refused};
use super::{Studio, Wanted, sanitised};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::sync::Arc;

/// Percent-encoded, as headers carry no other letters.
const NAME: HeaderName = HeaderName::from_static("x-longshore-name");
const MAX_SETTINGS: usize = 16 << 10;

pub fn routes() -> Router<Desk> {
    let changes = Router::new()
        .route("/pictures", post(upload))
        .route("/pictures/{id}/retry", post(retry))
        .route("/renditions", post(change))
        .route_layer(from_fn(from_page));
    changes.route("/pictures/{id}/{number}", get(rendition))
}

/// The studio of a desk that has one; routes of it are made for no other.
fn studio(desk: &Desk) -> Arc<Studio> {
    Arc::clone(desk.page.studio.as_ref().expect("its routes are made with it"))
}

async fn from_page(request: Request, next: Next) -> Response {
    match super::super::access::from_page(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refused(refusal),
    }
}

fn told(status: StatusCode, value: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn wrong(status: StatusCode, why: impl Into<String>) -> Response {
    told(status, &json!({"error": why.into()}))
}

async fn upload(State(desk): State<Desk>, headers: HeaderMap, body: Body) -> Response {
    let studio = studio(&desk);
    let name = headers.get(NAME).and_then(|name| name.to_str().ok()).unwrap_or_default();
    let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
    let Some(key) = sanitised(&name) else {
        return wrong(StatusCode::BAD_REQUEST, "the picture has no name");
    };
    let most = studio.max_bytes;
    let too_large = || {
        let why = format!("more than the {most} bytes of --max-bytes");
        wrong(StatusCode::PAYLOAD_TOO_LARGE, why)
    };
    let length =
        headers.get(CONTENT_LENGTH).and_then(|n| n.to_str().ok()).and_then(|n| n.parse::<u64>().ok());
    if length.is_some_and(|length| length > most) {
        return too_large();
    }
    // Taken before the body is read: what waits, waits in the socket.
    let _turn = studio.uploads.acquire().await.expect("the semaphore is never closed");
    let body = Limited::new(body, usize::try_from(most).unwrap_or(usize::MAX)).collect().await;
    let body = match body {
        Ok(body) => body.to_bytes(),
        Err(why) if why.is::<LengthLimitError>() => return too_large(),
        Err(why) => return wrong(StatusCode::BAD_REQUEST, format!("the upload ended early: {why}")),
    };
    match studio.upload(&key, body).await {
        Ok(id) => told(StatusCode::OK, &json!({"id": id, "key": key})),
        Err(why) => wrong(StatusCode::BAD_GATEWAY, why),
    }
}

async fn rendition(State(desk): State<Desk>, Path((id, number)): Path<(u64, usize)>) -> Response {
    match studio(&desk).rendition(id, number).await {
        // Made by us, and JPEG; asked for under another address once it is made anew.
        Some(bytes) => {
            let head = [(CONTENT_TYPE, "image/jpeg"), (CACHE_CONTROL, "private, max-age=3600")];
            (head, bytes).into_response()
        }
        None => wrong(StatusCode::NOT_FOUND, "there is no such rendition"),
    }
}

async fn retry(State(desk): State<Desk>, Path(id): Path<u64>) -> Response {
    // In a task of its own: a browser that leaves must not end it between two calls.
    let studio = studio(&desk);
    match tokio::task::spawn(async move { studio.retry(id).await }).await {
        Ok(Ok(())) => told(StatusCode::OK, &json!({"queued": 1})),
        Ok(Err(why)) => wrong(StatusCode::CONFLICT, why),
        Err(why) => wrong(StatusCode::INTERNAL_SERVER_ERROR, why.to_string()),
    }
}

async fn change(State(desk): State<Desk>, body: Body) -> Response {
    let Ok(body) = Limited::new(body, MAX_SETTINGS).collect().await else {
        return wrong(StatusCode::PAYLOAD_TOO_LARGE, "that is no setting");
    };
    let wanted: Wanted = match serde_json::from_slice(&body.to_bytes()) {
        Ok(wanted) => wanted,
        Err(why) => return wrong(StatusCode::BAD_REQUEST, why.to_string()),
    };
    let studio = studio(&desk);
    if let Err(mistakes) = studio.change(wanted) {
        return told(StatusCode::UNPROCESSABLE_ENTITY, &json!({"mistakes": mistakes}));
    }
    match tokio::task::spawn(async move { studio.again().await }).await {
        Ok(Ok(queued)) => told(StatusCode::OK, &json!({"queued": queued})),
        Ok(Err(why)) => wrong(StatusCode::BAD_GATEWAY, why),
        Err(why) => wrong(StatusCode::INTERNAL_SERVER_ERROR, why.to_string()),
    }
}
