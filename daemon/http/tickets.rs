//! `POST /tickets`: a ticket replaces a token where none can be sent, as in `EventSource`.

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

use super::{error::Refusal, json_line::JsonLine, parameters::Operation};
use crate::{access::Caller, context::Daemon};

/// Creates a ticket for the streams of the client that the query names, or else of a client with a new name.
pub(super) async fn create(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, Refusal> {
    let query = query.unwrap_or_default();
    Operation::Ticket.check(&query)?;
    let named = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "client");
    let client = match named {
        Some((_, name)) => ClientName::parse(&name)?.as_str().to_owned(),
        None => random_name("client-").map_err(|e| Refused::new(ErrorCode::Other, e.to_string()))?,
    };
    let ticket = daemon.access.ticket(&caller.grant, client.clone())?;
    let response = json!({ "ticket": ticket.reveal(), "client": client, "expires_in_ms": TICKET.as_millis() as u64 });
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, headers, JsonLine(response)))
}
