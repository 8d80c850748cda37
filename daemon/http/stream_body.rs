//! The body of a stream: the bytes of a cursor, until the client disconnects or the daemon stops.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use serde_json::json;
use sse_bus::{
    bus::Read,
    protocol::{Refused, json},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{client_guard::ClientGuard, shared_bus::SharedBus};

/// A subscriber's stream.
pub(super) struct EventStream {
    bus: SharedBus,
    client: ClientGuard,
    /// What is read and not yet sent.
    waiting: VecDeque<Bytes>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
}

impl EventStream {
    pub(super) fn new(bus: SharedBus, client: ClientGuard, first: Bytes, stop: CancellationToken) -> EventStream {
        EventStream { bus, client, waiting: [first].into(), stopped: Box::pin(stop.cancelled_owned()), ended: false }
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let stream = &mut *self;
        if stream.waiting.is_empty() && !stream.ended {
            let stopping = stream.stopped.as_mut().poll(cx).is_ready();
            let mut found = Vec::new();
            match stream.bus.with(|bus, now| bus.read(stream.client.id, now, cx.waker(), &mut found)) {
                // Events that were accepted before the daemon began to stop are delivered.
                Read::Waiting if stopping => stream.ended = true,
                Read::Waiting | Read::Fetching if found.is_empty() => return Poll::Pending,
                // History has more to search; other tasks have their turn first.
                Read::Ready if found.is_empty() => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Read::Ready | Read::Waiting | Read::Fetching => {}
                Read::Ended => stream.ended = true,
            }
            stream.waiting.extend(found);
        }
        Poll::Ready(stream.waiting.pop_front().map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Returns the `retry` field: between `least` and twice as many milliseconds, so that many browsers do not reconnect in one
/// instant.
pub(super) fn retry(least: u64) -> Bytes {
    let wait = least + fastrand::u64(..least);
    format!("retry: {wait}\n").into()
}

/// Returns a comment with a refusal, for clients that read it; browsers ignore comments.
pub(super) fn comment(refused: &Refused) -> Bytes {
    let Refused { code, message, .. } = refused;
    let mut line = b": ".to_vec();
    // One line.
    json::encode(&json!({ "error": { "code": code.as_str(), "message": message } }), &mut line);
    line.into()
}
