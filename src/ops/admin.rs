//! The admin port.
//!
//! | route | answers |
//! | --- | --- |
//! | `GET /healthz` | 200 `ok`, or 503 with the reason to replace this process |
//! | `GET /readyz` | 200 `ok`, or 503 with what keeps it from working |

use super::{Health, Phase, Shutdown};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

/// Serves until the worker leaves.
pub async fn serve(listener: TcpListener, health: Health, shutdown: Shutdown) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/healthz", get(|State(h): State<Health>| async move { answer(h.live()) }))
        .route("/readyz", get(|State(h): State<Health>| async move { answer(h.ready()) }))
        .with_state(health);
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
