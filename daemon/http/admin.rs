//! What the CLI shows, as JSON; metrics, health, and the page.

use std::sync::Arc;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderName, HeaderValue, header},
    response::{Html, IntoResponse},
};
use serde_json::{Value, json};
use sse_bus::protocol::{ClientInfo, Status, TopicInfo};

use super::{JsonLine, error::Refusal};
use crate::{metrics, server::Daemon};

/// `GET /topics`.
pub(super) async fn topics(State(daemon): State<Arc<Daemon>>) -> JsonLine<Vec<TopicInfo>> {
    JsonLine(daemon.bus.with(|bus, _| bus.topics()))
}

/// `GET /clients`.
pub(super) async fn clients(State(daemon): State<Arc<Daemon>>) -> JsonLine<Vec<ClientInfo>> {
    JsonLine(daemon.bus.with(|bus, _| bus.clients()))
}

/// `DELETE /clients/{id}`: by id or by name.
pub(super) async fn kick(
    State(daemon): State<Arc<Daemon>>,
    client: Result<Path<String>, PathRejection>,
) -> Result<JsonLine<Value>, Refusal> {
    let Path(client) = client?;
    let connections = daemon.bus.with(|bus, now| bus.kick(&client, now))?;
    Ok(JsonLine(json!({ "connections": connections })))
}

/// `GET /status`.
pub(super) async fn status(State(daemon): State<Arc<Daemon>>) -> JsonLine<Status> {
    JsonLine(daemon.status())
}

/// `GET /metrics`.
pub(super) async fn metrics(State(daemon): State<Arc<Daemon>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], daemon.metrics.encode())
}

/// `GET /healthz`.
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// `GET /`.
pub(super) async fn page() -> impl IntoResponse {
    // Scripts and styles stand in the page itself; nothing comes from elsewhere, and nobody frames it.
    const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                          img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, Html(include_str!("page.html")))
}
