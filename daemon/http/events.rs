//! `/events`: subscribe with GET, publish with POST.

use std::{
    error::Error,
    future::poll_fn,
    iter::{self, successors},
    pin::Pin,
    sync::Arc,
    time::Instant,
};

use axum::{
    Extension,
    body::Body,
    extract::{Path, RawQuery, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body::Body as _;
use sse_bus::{
    bus::{Publication, Subscription},
    limits::REQUEST,
    protocol::{ErrorCode, Payload, Published, Refused, sse::PositionForm},
    tokens::Scope,
};
use tokio::time::timeout;

use super::{
    JsonLine,
    cors::AllowedOrigin,
    error::Refusal,
    guards::{ALWAYS, Asker},
    query,
    stream::{EventStream, retry},
    takeover::Takeover,
};
use crate::{server::Daemon, shared::Member};

/// Milliseconds after which a browser comes back, at least; also when it found no room.
const RETRY: u64 = 1000;
const RETRY_WHEN_FULL: u64 = 5000;

/// `GET /events`, `GET /events/{filter}`: the stream.
pub(super) async fn stream(
    State(daemon): State<Arc<Daemon>>,
    Extension(asker): Extension<Asker>,
    takeover: Option<Extension<Takeover>>,
    allowed: Option<Extension<AllowedOrigin>>,
    path: Result<Option<Path<String>>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let subscription = subscription(path?, request.uri().query(), request.headers(), &asker)?;
    let member = match Member::subscriber(&daemon.bus, subscription) {
        Ok((member, _)) => {
            let lease = daemon.access.lease(&asker.grant, member.id);
            member.leased(lease)
        }
        // Browsers give up for good on any status but 200.
        Err(refused) if matches!(refused.code, ErrorCode::LimitSubscribers | ErrorCode::LimitFilters) => {
            daemon.metrics.refused(refused.code);
            tracing::warn!(from = %asker, "no room for a subscriber: {refused}");
            return Ok((stream_headers(), Body::from(retry(RETRY_WHEN_FULL))).into_response());
        }
        Err(refused) => return Err(refused.into()),
    };
    let Some(Extension(takeover)) = takeover else {
        // The client's id is for whoever sends the answer, and may find that the client does not take it.
        let client = Extension(member.id);
        let stream = EventStream::new(daemon.bus.clone(), member, retry(RETRY), daemon.stop.clone());
        return Ok((stream_headers(), client, Body::new(stream)).into_response());
    };
    let mut headers = stream_headers().into_iter().chain(ALWAYS).collect();
    if let Some(Extension(allowed)) = allowed {
        allowed.tell(&mut headers);
    }
    takeover.answer(request.version(), &headers, member, &retry(RETRY)).await
}

/// `HEAD /events`: the headers only.
pub(super) async fn head(
    Extension(asker): Extension<Asker>,
    path: Result<Option<Path<String>>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    subscription(path?, query.as_deref(), &headers, &asker)?;
    Ok((stream_headers(), Body::empty()).into_response())
}

fn stream_headers() -> [(header::HeaderName, HeaderValue); 3] {
    [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        // What compresses holds events back: `no-transform` forbids it (RFC 9111, 5.2.2.6), and middleware keeps to that.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        // So do proxies that buffer.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ]
}

fn subscription(
    path: Option<Path<String>>,
    query: Option<&str>,
    headers: &HeaderMap,
    asker: &Asker,
) -> Result<Subscription, Refused> {
    let filter = path.map(|Path(filter)| filter);
    let last_event_id = headers.get("last-event-id").map(HeaderValue::as_bytes);
    let complete = |subscribe: &mut _| asker.grant.complete(subscribe);
    let mut subscription = query::subscription(
        filter,
        query.unwrap_or_default(),
        last_event_id,
        position_form(headers),
        asker.to_string(),
        complete,
    )?;
    asker.grant.subscribe(&subscription.filters)?;
    subscription.allowed = asker.grant.topics().into();
    subscription.description.origin.clone_from(&asker.origin);
    Ok(subscription)
}

/// The form of the position that a client takes without harm. Each was tried; see the tests with clients.
fn position_form(headers: &HeaderMap) -> PositionForm {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    if headers.contains_key("sec-fetch-dest") || agent.contains("Firefox/") {
        // Firefox ignores an `id` without data. Browsers say what they fetch for only where the address is trustworthy.
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
    Extension(asker): Extension<Asker>,
    topic: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<(StatusCode, JsonLine<Published>), Refusal> {
    let Path(topic) = topic?;
    let answer = publish_body(&daemon, &asker, topic, query.as_deref().unwrap_or_default(), body).await;
    if let Err(refusal) = &answer {
        daemon.metrics.refused(refusal.refused.code);
    }
    answer.map(|published| (StatusCode::ACCEPTED, JsonLine(published)))
}

async fn publish_body(
    daemon: &Daemon,
    asker: &Asker,
    topic: String,
    query: &str,
    body: Body,
) -> Result<Published, Refusal> {
    asker.grant.require(Scope::Publish)?;
    let mut publish = query::publish(topic, query)?;
    // One byte more than allowed tells that there is more.
    let most = daemon.config().limits.event_bytes;
    let too_large = || {
        let message =
            format!("the body has more than `event_bytes` = {most} bytes; publish less, or a reference to it");
        Refusal::from(Refused::new(ErrorCode::LimitEvent, message))
    };
    let whole = timeout(REQUEST, read_whole(body, most)).await.map_err(|_| {
        let message = format!("the body did not come within {} s", REQUEST.as_secs());
        Refusal::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::RequestInvalid, message)
    })?;
    let whole = whole.map_err(|error| {
        Refused::new(ErrorCode::RequestInvalid, format!("the body cannot be read: {}", broken(&error)))
    })?;
    publish.data = Payload(whole.ok_or_else(too_large)?);
    // The body may have come long after the head.
    daemon.access.holds(&asker.grant).await?;
    let publication = {
        let config = daemon.config();
        asker.publisher().admit(Publication::parse(publish, &config.limits)?, &config)?
    };
    let began = Instant::now();
    let durable = publication.durable;
    let answers = daemon.events.append(iter::once(((), Ok(publication))), None).await;
    let published =
        answers.into_iter().map(|((), answer)| answer).next().unwrap_or_else(|| unreachable!("one was appended"))?;
    daemon.metrics.published_in(began.elapsed());
    if let (Some(store), Some(id)) = (daemon.store.as_ref().filter(|_| durable), published.id) {
        store.written(id.seq).await?;
    }
    Ok(published)
}

/// Reads a body, unless it has more than so many bytes. Its pieces are put together as they come: each of them may be
/// one byte and keep the memory of many.
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

/// What the connection had to say when a body ended before its time.
fn broken(error: &axum::Error) -> String {
    let causes = successors(Some(error as &(dyn Error + 'static)), |cause| (*cause).source());
    let connection = causes.filter_map(|cause| cause.downcast_ref::<hyper::Error>()).map(ToString::to_string).next();
    connection.unwrap_or_else(|| error.to_string())
}
