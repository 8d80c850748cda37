//! What the CLI shows, as JSON; metrics and health.

use std::sync::Arc;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde_json::{Value, json};
use sse_bus::protocol::{ClientInfo, Setting, Status, TopicInfo};

use super::{JsonLine, error::Refusal};
use crate::{metrics, server::Daemon};

/// `GET /topics`.
pub(super) async fn topics(State(daemon): State<Arc<Daemon>>) -> JsonLine<Vec<TopicInfo>> {
    JsonLine(daemon.bus.topics().await)
}

/// `GET /clients`.
pub(super) async fn clients(State(daemon): State<Arc<Daemon>>) -> JsonLine<Vec<ClientInfo>> {
    JsonLine(daemon.bus.clients().await)
}

/// `DELETE /clients/{id}`: by id or by name.
pub(super) async fn kick(
    State(daemon): State<Arc<Daemon>>,
    client: Result<Path<String>, PathRejection>,
) -> Result<JsonLine<Value>, Refusal> {
    let Path(client) = client?;
    let connections = daemon.bus.kick(&client).await?;
    Ok(JsonLine(json!({ "connections": connections })))
}

/// `GET /status`.
pub(super) async fn status(State(daemon): State<Arc<Daemon>>) -> JsonLine<Status> {
    JsonLine(daemon.status())
}

/// `GET /config`.
pub(super) async fn config(State(daemon): State<Arc<Daemon>>) -> JsonLine<Vec<Setting>> {
    JsonLine(daemon.config().settings.clone())
}

/// `GET /metrics`.
pub(super) async fn metrics(State(daemon): State<Arc<Daemon>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], daemon.metrics.encode())
}

/// `GET /healthz`.
pub(super) async fn health(State(daemon): State<Arc<Daemon>>) -> (StatusCode, String) {
    match daemon.store.as_ref().and_then(|store| store.error()) {
        None => (StatusCode::OK, "ok\n".into()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("history is not written to disk: {why}\n")),
    }
}
