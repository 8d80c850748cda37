//! `POST /events`: publishes each line of the body, a JSON object like the one of a publish on the local socket, and
//! answers each with one line as that socket does. A client far away thereby publishes many events in one request, in
//! order.
//!
//! A request has at most [`BATCH_BODY`] bytes and [`BATCH_LINES`] lines; a larger one is refused as a whole.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use sse_bus::{
    limits::{BATCH_BODY, BATCH_LINES, BATCH_MAX, READ_MAX},
    protocol::{ErrorCode, Publish, Refused, Reply, json},
    tokens::Scope,
};

use super::{error::Refusal, parameters::Operation, request_body};
use crate::{access::Caller, api, context::Daemon};

/// Publishes the lines of the body.
pub(super) async fn publish(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<impl IntoResponse, Refusal> {
    // Before the body is read.
    caller.grant.require(Scope::Publish)?;
    Operation::Other.check(query.as_deref().unwrap_or_default())?;
    let body = request_body::read(body, BATCH_BODY).await?.ok_or_else(|| too_large(&format!("{BATCH_BODY} bytes")))?;
    // The body may have arrived long after the head.
    daemon.access.check_still_valid(&caller.grant).await?;
    let mut lines: Vec<&[u8]> = body.split(|byte| *byte == b'\n').take(BATCH_LINES + 2).collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    if lines.len() > BATCH_LINES {
        return Err(too_large(&format!("{BATCH_LINES} lines")));
    }
    let mut replies = Vec::new();
    let mut rest = lines.iter().zip(1..).peekable();
    while rest.peek().is_some() {
        // As much at a time as from one read of the local socket.
        let (mut batch, mut bytes, mut scheduled) = (Vec::new(), 0, None);
        while bytes < READ_MAX
            && (batch.len() as u64) < BATCH_MAX
            && scheduled.is_none()
            && let Some((line, number)) = rest.next()
        {
            bytes += line.len();
            match parse(line) {
                Ok(publish) if publish.is_scheduled() => scheduled = Some((number, publish)),
                parsed => {
                    batch.push((number, parsed.and_then(|publish| api::admit(&daemon, &caller, publish))));
                }
            }
        }
        let published = api::publish(&daemon, None, batch.into_iter()).await;
        let published = published.map(|(number, result)| (number, result.map(Reply::Published)));
        // After the events of the lines before it.
        let scheduled = match scheduled {
            Some((number, publish)) => {
                Some((number, api::schedule(&daemon, &caller, publish).await.map(Reply::Scheduled)))
            }
            None => None,
        };
        for (number, result) in published.chain(scheduled) {
            let reply = result.unwrap_or_else(|refused| {
                daemon.metrics.refused(refused.code);
                Reply::Error(Refused { request: number, ..refused })
            });
            json::encode(&reply, &mut replies);
        }
        tokio::task::yield_now().await;
    }
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))], replies))
}

fn parse(line: &[u8]) -> Result<Publish, Refused> {
    json::decode(line.strip_suffix(b"\r").unwrap_or(line))
        .map_err(|why| Refused::new(ErrorCode::RequestInvalid, format!("the line cannot be read: {why}")))
}

fn too_large(what: &str) -> Refusal {
    let message = format!("the body has more than {what}; send the rest in another request");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::LimitLine, message)
}
