//! `GET /consumers/{name}/events`: deliveries as an event stream. The data of each event is the envelope with its `delivery`.
//!
//! The connection is a worker for as long as the stream is open. If the peer closes it, the deliveries that it has not settled
//! fail; if the daemon stops, they are released.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{Path, RawQuery, Request, State, rejection::PathRejection},
    http::{HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use sse_bus::{
    bus::Format,
    limits::{HEARTBEAT, READ_MAX},
    protocol::{Consume, ErrorCode, Transport, sse::CLIENT_HEADER},
};
use tokio::{task::yield_now, time::sleep};

use super::{
    consumer_query,
    cors::AllowedOrigin,
    error::{Refusal, RefusedWith},
    events::{RETRY, RETRY_WHEN_FULL, UnknownLength, stream_headers},
    guards::ALWAYS,
    hijack::{Content, Takeover},
    stream_body::{comment, retry},
    waiting_body::StepBody,
};
use crate::{
    access::Caller,
    api::{self, Work, WorkerGuard},
    context::Daemon,
};

/// The stream.
pub(super) async fn stream(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    takeover: Option<Extension<Takeover>>,
    allowed: Option<Extension<AllowedOrigin>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let (consume, heartbeat) = parse(path, query.as_deref())?;
    let (worker, consuming) = match api::consume(&daemon, &caller, &consume, Transport::Sse).await {
        Ok(working) => working,
        // Browsers give up for good on any status but 200.
        Err(refused) if matches!(refused.code, ErrorCode::LimitWorkers | ErrorCode::KeptOut) => {
            tracing::warn!(from = %caller, "refused a worker: {refused}");
            let counted = Extension(RefusedWith(refused.code));
            let body = [comment(&refused), retry(RETRY_WHEN_FULL)].concat();
            return Ok((stream_headers(), counted, Body::from(body)).into_response());
        }
        Err(refused) => return Err(refused.into()),
    };
    let client = worker.client().map(|client| client.id);
    let deliveries = Deliveries { daemon, worker, heartbeat: heartbeat.unwrap_or(HEARTBEAT), first: retry(RETRY) };
    let body = Body::new(StepBody::new(deliveries, |deliveries| Box::pin(deliveries.step())));
    let id = HeaderValue::from_str(&consuming.client).unwrap_or(HeaderValue::from_static(""));
    let client_header = (HeaderName::from_static(CLIENT_HEADER), id);
    let Some(Extension(takeover)) = takeover else {
        let mut response = (stream_headers(), [client_header], body).into_response();
        // The task that sends the response needs the client's ID, in case the peer takes no bytes.
        if let Some(client) = client {
            response.extensions_mut().insert(client);
        }
        return Ok(response);
    };
    let mut headers = stream_headers().into_iter().chain([client_header]).chain(ALWAYS).collect();
    if let Some(Extension(allowed)) = allowed {
        allowed.add_to(&mut headers);
    }
    takeover.respond(request.version(), &headers, Content::Body(body), b"").await
}

/// The headers only.
pub(super) async fn head(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let (consume, _) = parse(path, query.as_deref())?;
    api::authorize_work(&daemon, &caller, &consume.consumer).await?;
    Ok((stream_headers(), Body::new(UnknownLength)).into_response())
}

fn parse(
    path: Result<Path<String>, PathRejection>,
    query: Option<&str>,
) -> Result<(Consume, Option<Duration>), Refusal> {
    let Path(consumer) = path?;
    Ok(consumer_query::deliveries(&consumer, query.unwrap_or_default())?)
}

/// The state of a stream.
struct Deliveries {
    daemon: Arc<Daemon>,
    worker: WorkerGuard,
    heartbeat: Duration,
    /// The first bytes, until they are sent.
    first: Bytes,
}

impl Deliveries {
    /// Returns the next bytes of the stream.
    async fn step(mut self) -> Option<(Bytes, Deliveries)> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return Some((first, self));
        }
        let stop = self.daemon.stop.clone();
        loop {
            let work = tokio::select! {
                work = self.worker.next(usize::MAX) => work.ok()?,
                () = sleep(self.heartbeat) => return Some((Bytes::from_static(b":\n"), self)),
                () = stop.cancelled() => return None,
            };
            if !work.is_empty() {
                return Some((encode(&work), self));
            }
            yield_now().await;
        }
    }
}

fn encode(work: &[Work]) -> Bytes {
    let mut bytes = Vec::with_capacity(READ_MAX.min(work.len() << 9));
    for work in work {
        work.encode(Format::SseJson, &mut bytes);
    }
    bytes.into()
}
