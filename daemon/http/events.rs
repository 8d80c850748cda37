//! `/events`: subscribe with GET, publish with POST.

use std::{error::Error, future::poll_fn, iter::successors, pin::Pin, sync::Arc, time::Instant};

use axum::{
    Extension,
    body::Body,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use form_urlencoded::parse;
use http_body::Body as _;
use sse_bus::{
    bus::{Format, Publication, Start, Subscription},
    limits::REQUEST,
    protocol::{Ack, ErrorCode, Payload, Publish, Published, Refused, Subscribe},
};
use tokio::time::timeout;

use super::{
    From, JsonLine,
    error::Refusal,
    guards::AllowedOrigin,
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
    Extension(from): Extension<From>,
    takeover: Option<Extension<Takeover>>,
    allowed: Option<Extension<AllowedOrigin>>,
    path: Result<Option<Path<String>>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let subscription = subscription(path?, query.as_deref().unwrap_or_default(), &headers, &from)?;
    let member = match Member::subscriber(&daemon.bus, subscription) {
        Ok((member, _)) => member,
        // Browsers give up for good on any status but 200.
        Err(refused) if refused.code == ErrorCode::LimitSubscribers => {
            daemon.metrics.refused(refused.code);
            tracing::warn!(%from, "no room for a subscriber: {refused}");
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
    let mut headers = stream_headers().into_iter().collect();
    if let Some(Extension(allowed)) = allowed {
        allowed.tell(&mut headers);
    }
    takeover.answer(&headers, member, &retry(RETRY)).await
}

/// `HEAD /events`: the headers only.
pub(super) async fn head(
    Extension(from): Extension<From>,
    path: Result<Option<Path<String>>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    subscription(path?, query.as_deref().unwrap_or_default(), &headers, &from)?;
    Ok((stream_headers(), Body::empty()).into_response())
}

fn stream_headers() -> [(header::HeaderName, HeaderValue); 4] {
    [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // Proxies that buffer would hold events back.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ]
}

/// Reads what a stream's request wants. Unknown parameters are left to whoever put them there.
fn subscription(
    path: Option<Path<String>>,
    query: &str,
    headers: &HeaderMap,
    from: &From,
) -> Result<Subscription, Refusal> {
    let mut subscribe =
        Subscribe { filters: path.map(|Path(filter)| filter).into_iter().collect(), ..Subscribe::default() };
    let mut format = Format::SseData;
    let mut last_id = None;
    for (name, value) in parse(query.as_bytes()) {
        match &*name {
            "topic" => subscribe.filters.push(value.into_owned()),
            "client" => subscribe.client = Some(value.into_owned()),
            "since" => subscribe.since = Some(value.into_owned()),
            "slow" => subscribe.slow = value.parse().map_err(|e: String| bad_parameter("slow", &e))?,
            "format" if value == "data" => format = Format::SseData,
            "format" if value == "json" => format = Format::SseJson,
            "format" => return Err(bad_parameter("format", &format!("`{value}` is none of data, json"))),
            "last_event_id" | "lastEventId" | "Last-Event-ID" => last_id = Some(value.into_owned()),
            _ => {}
        }
    }
    // Browsers write the id as UTF-8, which header values need not be.
    let header = headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let mut subscription = Subscription::parse(&subscribe, format, from.to_string())?;
    if let Some(id) = [header, last_id].into_iter().flatten().find(|id| !id.is_empty()) {
        subscription.start = Start::After(id);
    }
    Ok(subscription)
}

fn bad_parameter(name: &str, why: &str) -> Refusal {
    Refused::new(ErrorCode::RequestInvalid, format!("the parameter {name} cannot be used: {why}")).into()
}

/// `POST /events/{topic}`: publish the body.
pub(super) async fn publish(
    State(daemon): State<Arc<Daemon>>,
    topic: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<(StatusCode, JsonLine<Published>), Refusal> {
    let Path(topic) = topic?;
    let answer = publish_body(&daemon, topic, query.as_deref().unwrap_or_default(), body).await;
    if let Err(refusal) = &answer {
        daemon.metrics.refused(refusal.refused.code);
    }
    answer.map(|published| (StatusCode::ACCEPTED, JsonLine(published)))
}

async fn publish_body(daemon: &Daemon, topic: String, query: &str, body: Body) -> Result<Published, Refusal> {
    let mut publish = Publish { topic, ..Publish::default() };
    for (name, value) in parse(query.as_bytes()) {
        match &*name {
            "type" => publish.kind = Some(value.into_owned()).filter(|kind| !kind.is_empty()),
            "to" => publish.to = Some(value.into_owned()),
            "retain" => publish.retain = truth(&value).ok_or_else(|| bad_parameter("retain", "write true or false"))?,
            "ttl" => {
                let ttl = humantime::parse_duration(&value)
                    .map_err(|_| bad_parameter("ttl", "write a duration such as 10m"))?;
                publish.ttl_ms = Some(ttl.as_millis().try_into().unwrap_or(u64::MAX));
            }
            "ack" if value == "durable" => publish.ack = Ack::Durable,
            _ => {}
        }
    }
    // One byte more than allowed tells that there is more.
    let most = daemon.config.limits.event_bytes;
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
    let publication = Publication::parse(publish, &daemon.config.limits)?;
    let began = Instant::now();
    let published = daemon.bus.with(|bus, now| bus.publish(publication, None, now))?;
    daemon.metrics.published_in(began.elapsed());
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

fn truth(text: &str) -> Option<bool> {
    match text {
        "" | "1" | "true" | "yes" => Some(true),
        "0" | "false" | "no" => Some(false),
        _ => None,
    }
}
