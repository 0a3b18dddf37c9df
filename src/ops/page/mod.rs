//! The page: what a person looks at. One document, its style and its scripts, all in this program.
//!
//! | route | answers |
//! | --- | --- |
//! | `GET /` | the page; `?token=…` signs a browser in |
//! | `POST /login` | the same, from the form that is shown without a token; `GET` leads to the page |
//! | `GET /style.css`, `/icon.svg`, `/….js` | what the page is made of; nothing in there is secret |
//! | `GET /events` | what happens, as server-sent events |
//!
//! `longshore local` adds those of [`studio`].

mod access;
mod feed;
mod headers;
#[cfg(feature = "local")]
pub mod studio;

pub use access::{Access, Refusal};
pub use feed::Feed;

use super::admin::Admin;
use super::{Phase, Shutdown};
use crate::queue::DeadLetters;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt, Limited};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use std::sync::Arc;

pub use headers::harden;

/// What a page shows beside what the admin port knows.
#[derive(Clone)]
pub struct Page {
    pub access: Access,
    pub settings: Arc<Vec<Told>>,
    pub dead_letters: Arc<DeadLetters>,
    /// Pictures may be uploaded and seen here: `longshore local`.
    #[cfg(feature = "local")]
    pub studio: Option<Arc<studio::Studio>>,
}

/// One setting: flag, value, where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    pub flag: String,
    pub value: String,
    pub from: String,
}

/// What every route needs.
#[derive(Clone)]
pub struct Desk {
    pub page: Page,
    pub feed: Feed,
}

const DOCUMENT: &str = include_str!("page.html");
const LOGIN: &str = include_str!("login.html");
const STYLE: &str = include_str!("style.css");
const ICON: &str = include_str!("icon.svg");
const SCRIPTS: [(&str, &str); 8] = [
    ("/main.js", include_str!("main.js")),
    ("/dom.js", include_str!("dom.js")),
    ("/format.js", include_str!("format.js")),
    ("/chart.js", include_str!("chart.js")),
    ("/panels.js", include_str!("panels.js")),
    ("/gallery.js", include_str!("gallery.js")),
    ("/upload.js", include_str!("upload.js")),
    ("/recipe.js", include_str!("recipe.js")),
];

/// The routes, and the task that feeds them; it ends with the worker.
pub fn routes(admin: &Admin, page: Page, shutdown: Shutdown) -> Router {
    let feed = Feed::new(admin.clone(), page.clone(), shutdown.clone());
    let run = feed.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = shutdown.reached(Phase::Leaving) => {}
            () = run.run() => {}
        }
    });
    let desk = Desk { page, feed };
    let mut guarded =
        Router::new().route("/events", get(|State(desk): State<Desk>| async move { desk.feed.stream() }));
    #[cfg(feature = "local")]
    if desk.page.studio.is_some() {
        guarded = guarded.merge(studio::routes());
    }
    guarded = guarded.route_layer(from_fn_with_state(desk.clone(), guard));
    let mut open = Router::new()
        .route("/", get(document))
        // Who reloads the form, or kept its address, is asked at the page itself.
        .route("/login", post(login).get(|| async { Redirect::to("/") }))
        .route("/icon.svg", get(|| async { asset("image/svg+xml", ICON) }))
        .route("/style.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }));
    for (path, script) in SCRIPTS {
        open = open.route(path, get(move || async move { asset("text/javascript; charset=utf-8", script) }));
    }
    open.merge(guarded).with_state(desk)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind)], text).into_response()
}

async fn guard(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    match desk.page.access.to_page(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refused(refusal),
    }
}

/// In words, with the status that programs know.
pub fn refused(refusal: Refusal) -> Response {
    let line = format!("{}\n", refusal.line());
    match refusal {
        Refusal::Token => (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], line).into_response(),
        Refusal::Open | Refusal::Name | Refusal::Foreign => (StatusCode::FORBIDDEN, line).into_response(),
    }
}

async fn document(State(desk): State<Desk>, uri: Uri, headers: HeaderMap) -> Response {
    if let Some(token) = field(uri.query().unwrap_or_default(), "token") {
        return sign_in(&desk, &token);
    }
    match desk.page.access.to_page(&headers) {
        Ok(()) => asset("text/html; charset=utf-8", DOCUMENT),
        Err(Refusal::Token) => ask_for_token(""),
        Err(refusal) => refused(refusal),
    }
}

const MAX_FORM: usize = 4096;

async fn login(State(desk): State<Desk>, body: Body) -> Response {
    let Ok(body) = Limited::new(body, MAX_FORM).collect().await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let body = body.to_bytes();
    let token = field(&String::from_utf8_lossy(&body), "token").unwrap_or_default();
    sign_in(&desk, &token)
}

/// Leads to the page itself, so that the token is not left in the address.
fn sign_in(desk: &Desk, token: &str) -> Response {
    match desk.page.access.cookie_for(token.trim()) {
        Some(cookie) => {
            (StatusCode::SEE_OTHER, [(LOCATION, "/".to_owned()), (SET_COOKIE, cookie)]).into_response()
        }
        None => ask_for_token(WRONG_TOKEN),
    }
}

const WRONG_TOKEN: &str =
    r#"<p id="wrong" class="trouble" role="alert">That is not the token of this worker.</p>"#;

/// `said`: what went wrong, never what somebody typed.
fn ask_for_token(said: &str) -> Response {
    let head = [(WWW_AUTHENTICATE, "Bearer"), (CONTENT_TYPE, "text/html; charset=utf-8")];
    (StatusCode::UNAUTHORIZED, head, LOGIN.replace("<!-- said -->", said)).into_response()
}

/// A field of a query or of a form.
fn field(pairs: &str, name: &str) -> Option<String> {
    let (_, value) = pairs.split('&').filter_map(|pair| pair.split_once('=')).find(|(n, _)| *n == name)?;
    Some(percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
}
