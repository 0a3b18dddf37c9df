//! The admin port.
//!
//! | route | answers |
//! | --- | --- |
//! | `GET /healthz` | 200 `ok`, or 503 with the reason to replace this process |
//! | `GET /readyz` | 200 `ok`, or 503 with what keeps it from working |
//! | `GET /metrics` | what it counts, as Prometheus text; takes the token, if there is one |
//!
//! and what [`page`] serves.

use super::page::{self, Page};
use super::{Health, History, Metrics, Phase, Shutdown};
use crate::queue::{Keeper, Queue};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::map_response;
use axum::response::IntoResponse;
use axum::routing::get;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What the admin port tells of.
#[derive(Clone)]
pub struct Admin {
    pub health: Health,
    pub metrics: Metrics,
    pub keeper: Arc<Keeper>,
    pub queue: Queue,
    pub history: History,
}

impl Admin {
    /// To CloudWatch, if it is to be told.
    pub fn publish(&self) {
        self.metrics.publish(|| self.keeper.snapshot());
    }

    fn metrics(&self) -> ([(&'static str, &'static str); 1], String) {
        (
            [("content-type", "text/plain; version=0.0.4; charset=utf-8")],
            self.metrics.render(|| self.keeper.snapshot()),
        )
    }
}

/// Serves until the worker leaves.
pub async fn serve(
    listener: TcpListener,
    state: Admin,
    page: Page,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    let access = page.access.clone();
    let metrics = move |State(a): State<Admin>, headers: HeaderMap| async move {
        match access.to_metrics(&headers) {
            Ok(()) => a.metrics().into_response(),
            Err(refusal) => page::refused(refusal),
        }
    };
    let page = page::routes(&state, page, shutdown.clone());
    let routes = Router::new()
        .route("/healthz", get(|State(a): State<Admin>| async move { answer(a.health.live()) }))
        .route("/readyz", get(|State(a): State<Admin>| async move { answer(a.health.ready()) }))
        .route("/metrics", get(metrics))
        .with_state(state)
        .merge(page)
        .layer(map_response(page::harden));
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move { shutdown.reached(Phase::Leaving).await })
        .await
}

fn answer(state: Result<(), String>) -> (StatusCode, String) {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n".into()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}
