//! What the CLI shows, as JSON; metrics and health.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{FromRequestParts, Path, RawQuery, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::IntoResponse,
};
use serde_json::{Value, json};
use sse_bus::protocol::{NodeInfo, Setting, Status, TopicInfo, UNREACHABLE_HEADER};

use super::{error::Refusal, json_line::JsonLine, parameters::Operation, query};
use crate::{
    access::Caller,
    api::{self, Admin},
    cluster::Partial,
    context::Daemon,
    metrics::CONTENT_TYPE,
};

const UNREACHABLE: HeaderName = HeaderName::from_static(UNREACHABLE_HEADER);

/// Authorizes the caller; then refuses query parameters that its route does not have.
impl FromRequestParts<Arc<Daemon>> for Admin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, daemon: &Arc<Daemon>) -> Result<Admin, Refusal> {
        let caller = Extension::<Caller>::from_request_parts(parts, daemon).await;
        let Extension(caller) = caller.map_err(|_| Refusal::unauthorized("the caller is not authenticated"))?;
        let admin = Admin::authorize(daemon, &caller)?;
        let operation = if parts.method == Method::DELETE { Operation::Kick } else { Operation::Other };
        operation.check(parts.uri.query().unwrap_or_default())?;
        Ok(admin)
    }
}

/// `GET /topics`.
pub(super) async fn topics(admin: Admin) -> JsonLine<Vec<TopicInfo>> {
    JsonLine(admin.topics().await)
}

/// `GET /clients`. A header names the nodes that have not answered.
pub(super) async fn clients(admin: Admin) -> impl IntoResponse {
    let Partial { result, unreachable } = admin.clients().await;
    let names = HeaderValue::from_str(&unreachable.join(", ")).ok().filter(|names| !names.is_empty());
    let headers: HeaderMap = names.into_iter().map(|names| (UNREACHABLE, names)).collect();
    (headers, JsonLine(result))
}

/// `GET /nodes`.
pub(super) async fn nodes(admin: Admin) -> JsonLine<Vec<NodeInfo>> {
    JsonLine(admin.nodes())
}

/// `DELETE /clients/{client}`: an ID or a name.
pub(super) async fn kick(
    admin: Admin,
    client: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<JsonLine<Value>, Refusal> {
    let Path(client) = client?;
    let Partial { result: connections, unreachable } = match query::kick(query.as_deref().unwrap_or_default())? {
        Some(time) => admin.kick_for(&client, time).await?,
        None => admin.kick(&client).await?,
    };
    let mut kicked = json!({ "connections": connections });
    if !unreachable.is_empty() {
        kicked["unreachable"] = json!(unreachable);
    }
    Ok(JsonLine(kicked))
}

/// `GET /status`.
pub(super) async fn status(admin: Admin) -> JsonLine<Status> {
    JsonLine(admin.status().await)
}

/// `GET /config`.
pub(super) async fn config(admin: Admin) -> JsonLine<Vec<Setting>> {
    JsonLine(admin.config())
}

/// `GET /metrics`.
pub(super) async fn metrics(admin: Admin) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], admin.metrics().await)
}

/// `GET /healthz`.
pub(super) async fn healthz(
    State(daemon): State<Arc<Daemon>>,
    RawQuery(query): RawQuery,
) -> Result<(StatusCode, String), Refusal> {
    Operation::Other.check(query.as_deref().unwrap_or_default())?;
    Ok(match api::health(&daemon) {
        Ok(()) => (StatusCode::OK, "ok\n".into()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("history is not written: {why}\n")),
    })
}
