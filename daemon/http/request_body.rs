//! Reads the bodies of requests, within bounds of bytes and time.

use std::{error::Error, future::poll_fn, iter::successors, pin::Pin};

use axum::{body::Body, http::StatusCode};
use http_body::Body as _;
use sse_bus::{
    limits::REQUEST,
    protocol::{ErrorCode, Payload, Refused},
};
use tokio::time::timeout;

use super::error::Refusal;
use crate::{access::Caller, context::Daemon};

/// Reads the data of an event, and checks again that the caller is authorized: the body may have arrived long after the head.
pub(super) async fn event_data(daemon: &Daemon, caller: &Caller, body: Body) -> Result<Payload, Refusal> {
    let most = daemon.config().limits.event_bytes;
    let data = read(body, most).await?.ok_or_else(|| {
        let message = format!("the body has more than `event_bytes` = {most} bytes; send less, or a reference to it");
        Refused::new(ErrorCode::LimitEvent, message)
    })?;
    daemon.access.check_still_valid(&caller.grant).await?;
    Ok(Payload(data))
}

/// Reads a body within [`REQUEST`], or returns None if it has more than `most` bytes.
pub(super) async fn read(body: Body, most: usize) -> Result<Option<Vec<u8>>, Refusal> {
    let whole = timeout(REQUEST, read_whole(body, most)).await.map_err(|_| {
        let message = format!("the body did not arrive within {} s", REQUEST.as_secs());
        Refusal::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::RequestInvalid, message)
    })?;
    whole.map_err(|error| {
        Refused::new(ErrorCode::RequestInvalid, format!("the body cannot be read: {}", broken(&error))).into()
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
