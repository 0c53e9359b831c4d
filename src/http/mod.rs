//! HTTP: metrics and probes. They are open to everyone who can reach the port, and reveal no data and no file names.

mod connections;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::metrics::Scrape;

/// Reports whether the daemon is ready.
pub trait Readiness: Send + Sync {
    /// Checks that the daemon can do its work now.
    ///
    /// # Errors
    /// Returns the reason in words if it cannot.
    fn ready(&self) -> Result<(), String>;
}

/// The data that the handlers answer from.
#[derive(Clone)]
pub struct Web {
    pub metrics: Scrape,
    pub readiness: Arc<dyn Readiness>,
}

/// Serves until `stop` is cancelled, then answers the requests that arrived before.
pub async fn serve(listener: TcpListener, web: Web, stop: CancellationToken) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(web);
    connections::serve(listener, router, stop).await;
}

async fn metrics(State(web): State<Web>) -> impl IntoResponse {
    metrics::ready(web.readiness.ready().is_ok());
    let format = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (format, web.metrics.text())
}

async fn ready(State(web): State<Web>) -> impl IntoResponse {
    match web.readiness.ready() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}
