//! `POST /tickets`: a ticket for who has a token, because `EventSource` cannot send one.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use serde_json::json;
use sse_bus::{
    bus::ClientName,
    limits::TICKET,
    protocol::{ErrorCode, Refused},
    tokens::random_name,
};

use super::{JsonLine, error::Refusal, guards::Asker, parameters::Operation};
use crate::server::Daemon;

/// Gives a ticket for the streams of the client that the query names; without a name, of one with a name of its own.
pub(super) async fn give(
    State(daemon): State<Arc<Daemon>>,
    Extension(asker): Extension<Asker>,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, Refusal> {
    let query = query.unwrap_or_default();
    Operation::Ticket.check(&query)?;
    let named = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "client");
    let client = match named {
        Some((_, name)) => ClientName::parse(&name)?.as_str().to_owned(),
        None => random_name("client-").map_err(|e| Refused::new(ErrorCode::Other, e.to_string()))?,
    };
    let ticket = daemon.access.ticket(&asker.grant, client.clone())?;
    let answer = json!({ "ticket": ticket.reveal(), "client": client, "expires_in_ms": TICKET.as_millis() as u64 });
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, headers, JsonLine(answer)))
}
