//! `/events`: subscribe with GET, publish with POST.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Extension,
    body::Body,
    extract::{Path, RawQuery, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body::Frame;
use sse_bus::{
    bus::Subscription,
    protocol::{
        ErrorCode, Refused, Subscribed,
        sse::{CLIENT_HEADER, POSITION_HEADER, PositionForm},
    },
    tokens::Scope,
};

use super::{
    cors::AllowedOrigin,
    error::{Refusal, RefusedWith},
    guards::ALWAYS,
    hijack::{Content, Takeover},
    json_line::JsonLine,
    query::{self, StreamRequest},
    request_body,
    stream_body::{EventStream, comment, retry},
};
use crate::{access::Caller, api, context::Daemon};

/// Milliseconds after which a browser reconnects, at least: usually, and after it found the daemon full.
pub(super) const RETRY: u64 = 1000;
pub(super) const RETRY_WHEN_FULL: u64 = 5000;

/// `GET /events`, `GET /events/{filter}`: the stream.
pub(super) async fn stream(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    takeover: Option<Extension<Takeover>>,
    allowed: Option<Extension<AllowedOrigin>>,
    path: Result<Option<Path<String>>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let subscription = subscription(path?, request.uri().query(), request.headers(), &caller)?;
    open_stream(&daemon, &caller, subscription, takeover, allowed, request.version()).await
}

/// Connects a subscriber, and responds with its stream.
pub(super) async fn open_stream(
    daemon: &Arc<Daemon>,
    caller: &Caller,
    subscription: Subscription,
    takeover: Option<Extension<Takeover>>,
    allowed: Option<Extension<AllowedOrigin>>,
    version: Version,
) -> Result<Response, Refusal> {
    let (client, subscribed) = match api::subscribe(daemon, caller, subscription).await {
        Ok(subscribed) => subscribed,
        // Browsers give up for good on any status but 200.
        Err(refused)
            if matches!(
                refused.code,
                ErrorCode::LimitSubscribers | ErrorCode::LimitFilters | ErrorCode::KeptOut | ErrorCode::Unavailable
            ) =>
        {
            tracing::warn!(from = %caller, "refused a subscriber: {refused}");
            let counted = Extension(RefusedWith(refused.code));
            let body = [comment(&refused), retry(RETRY_WHEN_FULL)].concat();
            return Ok((stream_headers(), counted, Body::from(body)).into_response());
        }
        Err(refused) => return Err(refused.into()),
    };
    let Some(Extension(takeover)) = takeover else {
        // The task that sends the response needs the client's ID, in case the peer takes no bytes.
        let id = Extension(client.id);
        let stream = EventStream::new(daemon.bus.clone(), client, retry(RETRY), daemon.stop.clone());
        return Ok((stream_headers(), position_headers(&subscribed), id, Body::new(stream)).into_response());
    };
    let mut headers = stream_headers().into_iter().chain(position_headers(&subscribed)).chain(ALWAYS).collect();
    if let Some(Extension(allowed)) = allowed {
        allowed.add_to(&mut headers);
    }
    takeover.respond(version, &headers, Content::Stream(client), &retry(RETRY)).await
}

/// `HEAD /events`: the headers only.
pub(super) async fn head(
    Extension(caller): Extension<Caller>,
    path: Result<Option<Path<String>>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    subscription(path?, query.as_deref(), &headers, &caller)?;
    Ok(stream_head())
}

/// Returns the headers of a stream without the stream.
pub(super) fn stream_head() -> Response {
    (stream_headers(), Body::new(UnknownLength)).into_response()
}

/// The body in place of a stream's. An empty body would add a `content-length`, which the response to GET does not have.
pub(super) struct UnknownLength;

impl http_body::Body for UnknownLength {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}

pub(super) fn stream_headers() -> [(header::HeaderName, HeaderValue); 3] {
    [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        // Compression delays events. `no-transform` forbids it (RFC 9111, 5.2.2.6), and middleware observes that.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        // So does buffering in proxies.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ]
}

/// Headers for clients that read them, which an `EventSource` does not.
fn position_headers(subscribed: &Subscribed) -> [(header::HeaderName, HeaderValue); 2] {
    // Ids consist of letters, digits and `-`.
    let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    [
        (header::HeaderName::from_static(CLIENT_HEADER), value(&subscribed.client)),
        (header::HeaderName::from_static(POSITION_HEADER), value(&subscribed.position.to_string())),
    ]
}

/// Authorizes and validates the request for a stream.
fn subscription(
    path: Option<Path<String>>,
    query: Option<&str>,
    headers: &HeaderMap,
    caller: &Caller,
) -> Result<Subscription, Refused> {
    let filter = path.map(|Path(filter)| filter);
    let StreamRequest { subscribe, format, options } = query::stream(filter, query.unwrap_or_default())?;
    let mut subscription = api::subscription(caller, subscribe, format)?;
    let last_event_id = headers.get("last-event-id").map(HeaderValue::as_bytes);
    options.apply(last_event_id, position_form(headers), &mut subscription);
    Ok(subscription)
}

/// Returns the form of the position that a client takes without harm. Each was tried; see the tests with clients.
fn position_form(headers: &HeaderMap) -> PositionForm {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    if headers.contains_key("sec-fetch-dest") || agent.contains("Firefox/") {
        // Firefox ignores an `id` without data, and sends `Sec-Fetch-Dest` only to trustworthy addresses.
        PositionForm::Event
    } else if agent.starts_with("python-httpx/") {
        // httpx-sse 0.4 dispatches an empty event.
        PositionForm::None
    } else {
        PositionForm::Id
    }
}

/// `POST /events/{topic}`: publish the body.
pub(super) async fn publish(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    topic: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    let Path(topic) = topic?;
    // Before the body is read.
    caller.grant.require(Scope::Publish)?;
    let mut publish = query::publish(topic, query.as_deref().unwrap_or_default())?;
    publish.data = request_body::event_data(&daemon, &caller, body).await?;
    if publish.is_scheduled() {
        let scheduled = api::schedule(&daemon, &caller, publish).await?;
        return Ok((StatusCode::ACCEPTED, JsonLine(scheduled)).into_response());
    }
    let admitted = api::admit(&daemon, &caller, publish)?;
    let published = api::publish_one(&daemon, admitted).await?;
    Ok((StatusCode::ACCEPTED, JsonLine(published)).into_response())
}
