//! `/requests`: send a request with POST, become a responder with GET. `/replies`: reply to a request with POST.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Path, RawQuery, Request, State, rejection::PathRejection},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use sse_bus::{
    bus::{Format, Subscription},
    protocol::{Refused, ReplyMessage},
    tokens::Scope,
};

use super::{
    cors::AllowedOrigin,
    error::Refusal,
    events::{open_stream, stream_head},
    hijack::Takeover,
    json_line::JsonLine,
    query::{self, Collect},
    request_body,
};
use crate::{access::Caller, api, context::Daemon};

/// `POST /requests/{topic}`: send a request with the body as its data. The response is the reply.
pub(super) async fn request(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    topic: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    let Path(topic) = topic?;
    // Before the body is read.
    caller.grant.require(Scope::Publish)?;
    let (mut request, collect) = query::request(topic, query.as_deref().unwrap_or_default())?;
    request.data = request_body::event_data(&daemon, &caller, body).await?;
    // A client that disconnects meanwhile drops this future, which cancels the request.
    let mut replies = api::request(&daemon, &caller, request, None)?.replies().await?;
    match collect {
        Collect::One if !replies.is_empty() => Ok(only(replies.swap_remove(0))),
        _ => Ok(JsonLine(json!({ "replies": replies })).into_response()),
    }
}

/// The response to a request for one reply: its data, as the type that its header `content-type` names. A browser does not run
/// scripts in it, since it is at the origin of the dashboard.
fn only(reply: ReplyMessage) -> Response {
    let content_type = reply.headers.get("content-type").and_then(|value| HeaderValue::from_str(value).ok());
    let headers = [
        (header::CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("text/plain; charset=utf-8"))),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
    ];
    (headers, reply.data).into_response()
}

/// `GET /requests`, `GET /requests/{filter}`: a stream of requests, for a responder.
pub(super) async fn respond(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    takeover: Option<Extension<Takeover>>,
    allowed: Option<Extension<AllowedOrigin>>,
    path: Result<Option<Path<String>>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let subscription = subscription(&caller, path?, request.uri().query())?;
    open_stream(&daemon, &caller, subscription, takeover, allowed, request.version()).await
}

/// `HEAD /requests`: the headers only.
pub(super) async fn head(
    Extension(caller): Extension<Caller>,
    path: Result<Option<Path<String>>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    subscription(&caller, path?, query.as_deref())?;
    Ok(stream_head())
}

/// Authorizes and validates the request for a stream of requests.
fn subscription(caller: &Caller, path: Option<Path<String>>, query: Option<&str>) -> Result<Subscription, Refused> {
    let filter = path.map(|Path(filter)| filter);
    let (respond, heartbeat) = query::respond(filter, query.unwrap_or_default())?;
    let mut subscription = api::responder(caller, &respond, Format::SseJson)?;
    subscription.heartbeat = heartbeat.unwrap_or(subscription.heartbeat);
    Ok(subscription)
}

/// `POST /replies/{address}`: reply to a request with the body as the data.
pub(super) async fn reply(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    address: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<impl IntoResponse, Refusal> {
    let Path(address) = address?;
    let mut reply = query::reply(address, query.as_deref().unwrap_or_default())?;
    reply.data = match request_body::event_data(&daemon, &caller, body).await {
        Ok(data) => data,
        Err(refusal) => {
            api::fail_request(&daemon, &reply.to, &refusal.refused).await;
            return Err(refusal);
        }
    };
    api::reply(&daemon, reply).await?;
    Ok(JsonLine(json!({})))
}
