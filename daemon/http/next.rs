//! `POST /consumers/{name}/next`: deliveries as JSON lines, with a long poll.
//!
//! The response has what there is at once, or waits. Deliveries that were taken and not sent are released: their attempts do not
//! count. Those that were sent continue without a connection, until they are settled or their deadline passes.

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{Path, RawQuery, Request, State, rejection::PathRejection},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use sse_bus::{
    limits::{READ_MAX, TURN},
    protocol::{Consume, json},
};
use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};

use super::{
    consumer_query::{self, NextRequest},
    cors::AllowedOrigin,
    error::Refusal,
    guards::ALWAYS,
    hijack::{Content, Takeover},
    waiting_body::StepBody,
};
use crate::{
    access::{Caller, Grant},
    api::{self, Work, WorkerGuard},
    context::Daemon,
};

/// How long a request waits at least: another worker may have its turn, or the event may be on disk.
const MIN_WAIT: Duration = TURN.saturating_add(Duration::from_millis(50));
/// The same if the log is elsewhere, and has to be asked.
const MIN_WAIT_ELSEWHERE: Duration = Duration::from_secs(1);

const HEADERS: [(HeaderName, HeaderValue); 2] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
];

/// Takes deliveries.
pub(super) async fn next(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    takeover: Option<Extension<Takeover>>,
    allowed: Option<Extension<AllowedOrigin>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let Path(consumer) = path?;
    let NextRequest { count, wait, worker } = consumer_query::next(query.as_deref().unwrap_or_default())?;
    let mut consume = Consume::new(consumer).with_max_in_flight(count as u64);
    consume.client = worker;
    let worker = api::consume_once(&daemon, &caller, &consume).await?;
    let min_wait = if daemon.events.is_elsewhere() { MIN_WAIT_ELSEWHERE } else { MIN_WAIT };
    let until = Instant::now() + wait.max(min_wait);
    let unsent = Unsent { daemon, work: VecDeque::new() };
    let mut polled = Polled { worker, grant: caller.grant, count, until, unsent, is_done: false };
    if wait > min_wait {
        polled.until = Instant::now() + min_wait;
        polled.take().await;
        polled.is_done = !polled.unsent.work.is_empty();
        polled.until = until;
    } else {
        polled.take().await;
        polled.is_done = true;
    }
    let is_waiting = !polled.is_done;
    let body = Body::new(StepBody::new(polled, |polled| Box::pin(polled.step())));
    match takeover {
        Some(Extension(takeover)) if is_waiting => {
            let mut headers = HEADERS.into_iter().chain(ALWAYS).collect();
            if let Some(Extension(allowed)) = allowed {
                allowed.add_to(&mut headers);
            }
            takeover.respond(request.version(), &headers, Content::Body(body), b"").await
        }
        _ => Ok((HEADERS, body).into_response()),
    }
}

/// The state of a request.
struct Polled {
    // First, so that deliveries are released before the worker is removed.
    unsent: Unsent,
    worker: WorkerGuard,
    grant: Grant,
    count: usize,
    /// When the wait ends.
    until: Instant,
    /// It takes no further deliveries.
    is_done: bool,
}

/// What was taken and not sent. Dropping it releases the deliveries.
struct Unsent {
    daemon: Arc<Daemon>,
    work: VecDeque<Work>,
}

impl Polled {
    /// Takes deliveries, or waits for the first.
    async fn take(&mut self) {
        let daemon = self.unsent.daemon.clone();
        let mut stopped = pin!(daemon.stop.cancelled());
        loop {
            let work = tokio::select! {
                work = timeout_at(self.until, self.worker.next(self.count)) => work,
                () = &mut stopped => return,
            };
            match work {
                Ok(Ok(work)) if work.is_empty() => yield_now().await,
                Ok(Ok(work)) => return self.unsent.work.extend(work),
                // The consumer was deleted, or the wait has ended.
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    /// Returns the next bytes of the response.
    async fn step(mut self) -> Option<(Bytes, Polled)> {
        if !self.is_done {
            self.is_done = true;
            self.take().await;
            // The token may have been revoked meanwhile.
            self.unsent.daemon.access.check_still_valid(&self.grant).await.ok()?;
        }
        let mut lines = Vec::new();
        while lines.len() < READ_MAX
            && let Some(work) = self.unsent.work.pop_front()
        {
            json::encode(&work.into_message(), &mut lines);
        }
        if lines.is_empty() { None } else { Some((lines.into(), self)) }
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        let tokens = self.work.drain(..).filter_map(|work| match work {
            Work::Delivery(_, delivery) => Some(delivery.token),
            Work::Gap(..) => None,
        });
        let tokens: Vec<_> = tokens.collect();
        if !tokens.is_empty() {
            api::release(&self.daemon, &tokens);
        }
    }
}
