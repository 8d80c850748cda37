//! `/events`: subscribe with GET, publish with POST.

use std::{
    convert::Infallible,
    error::Error,
    future::poll_fn,
    iter::successors,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Extension,
    body::Body,
    extract::{Path, RawQuery, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use sse_bus::{
    bus::Subscription,
    limits::REQUEST,
    protocol::{ErrorCode, Payload, Published, Refused, sse::PositionForm},
    tokens::Scope,
};
use tokio::time::timeout;

use super::{
    cors::AllowedOrigin,
    error::{Refusal, RefusedWith},
    guards::ALWAYS,
    hijack::Takeover,
    json_line::JsonLine,
    query::{self, StreamRequest},
    stream_body::{EventStream, retry},
};
use crate::{access::Caller, api, context::Daemon};

/// Milliseconds after which a browser reconnects, at least: usually, and after it found the daemon full.
const RETRY: u64 = 1000;
const RETRY_WHEN_FULL: u64 = 5000;

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
    let client = match api::subscribe(&daemon, &caller, subscription) {
        Ok((client, _)) => client,
        // Browsers give up for good on any status but 200.
        Err(refused) if matches!(refused.code, ErrorCode::LimitSubscribers | ErrorCode::LimitFilters) => {
            tracing::warn!(from = %caller, "refused a subscriber: {refused}");
            let (counted, body) = (Extension(RefusedWith(refused.code)), Body::from(retry(RETRY_WHEN_FULL)));
            return Ok((stream_headers(), counted, body).into_response());
        }
        Err(refused) => return Err(refused.into()),
    };
    let Some(Extension(takeover)) = takeover else {
        // The task that sends the answer needs the client's ID, in case the peer takes no bytes.
        let id = Extension(client.id);
        let stream = EventStream::new(daemon.bus.clone(), client, retry(RETRY), daemon.stop.clone());
        return Ok((stream_headers(), id, Body::new(stream)).into_response());
    };
    let mut headers = stream_headers().into_iter().chain(ALWAYS).collect();
    if let Some(Extension(allowed)) = allowed {
        allowed.add_to(&mut headers);
    }
    takeover.answer(request.version(), &headers, client, &retry(RETRY)).await
}

/// `HEAD /events`: the headers only.
pub(super) async fn head(
    Extension(caller): Extension<Caller>,
    path: Result<Option<Path<String>>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    subscription(path?, query.as_deref(), &headers, &caller)?;
    Ok((stream_headers(), Body::new(UnknownLength)).into_response())
}

/// The body in place of a stream's. An empty body would add a `content-length`, which the answer to GET does not have.
struct UnknownLength;

impl http_body::Body for UnknownLength {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}

fn stream_headers() -> [(header::HeaderName, HeaderValue); 3] {
    [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        // Compression delays events. `no-transform` forbids it (RFC 9111, 5.2.2.6), and middleware observes that.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        // So does buffering in proxies.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
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
) -> Result<(StatusCode, JsonLine<Published>), Refusal> {
    let Path(topic) = topic?;
    // Before the body is read.
    caller.grant.require(Scope::Publish)?;
    let mut publish = query::publish(topic, query.as_deref().unwrap_or_default())?;
    publish.data = Payload(read_event(body, daemon.config().limits.event_bytes).await?);
    // The body may have arrived long after the head.
    daemon.access.check_still_valid(&caller.grant).await?;
    let admitted = api::admit(&daemon, &caller, publish)?;
    let published = api::publish_one(&daemon, admitted).await?;
    Ok((StatusCode::ACCEPTED, JsonLine(published)))
}

/// Reads the data of an event, within [`REQUEST`].
async fn read_event(body: Body, most: usize) -> Result<Vec<u8>, Refusal> {
    let whole = timeout(REQUEST, read_whole(body, most)).await.map_err(|_| {
        let message = format!("the body did not arrive within {} s", REQUEST.as_secs());
        Refusal::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::RequestInvalid, message)
    })?;
    let whole = whole.map_err(|error| {
        Refused::new(ErrorCode::RequestInvalid, format!("the body cannot be read: {}", broken(&error)))
    })?;
    whole.ok_or_else(|| {
        let message =
            format!("the body has more than `event_bytes` = {most} bytes; publish less, or a reference to it");
        Refusal::from(Refused::new(ErrorCode::LimitEvent, message))
    })
}

/// Reads a body, or returns None if it has more than `most` bytes. Frames are copied as they arrive: a frame of one byte may
/// pin the memory of many.
async fn read_whole(mut body: Body, most: usize) -> Result<Option<Vec<u8>>, axum::Error> {
    if body.size_hint().lower() > most as u64 {
        return Ok(None);
    }
    let mut whole = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(piece) = frame?.into_data() else { continue };
        if whole.len() + piece.len() > most {
            return Ok(None);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Some(whole))
}

/// Returns the error of the connection with which a body ended early.
fn broken(error: &axum::Error) -> String {
    let causes = successors(Some(error as &(dyn Error + 'static)), |cause| (*cause).source());
    let connection = causes.filter_map(|cause| cause.downcast_ref::<hyper::Error>()).map(ToString::to_string).next();
    connection.unwrap_or_else(|| error.to_string())
}
