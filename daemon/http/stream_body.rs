//! The body of a stream: a cursor's bytes, as they come, until the client leaves or the daemon stops.

use std::{
    collections::VecDeque,
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use sse_bus::bus::Read;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::shared_bus::{Member, SharedBus};

/// A subscriber's stream.
pub(super) struct EventStream {
    bus: SharedBus,
    member: Member,
    /// What is read and not yet sent.
    waiting: VecDeque<Bytes>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    over: bool,
}

impl EventStream {
    pub(super) fn new(bus: SharedBus, member: Member, first: Bytes, stop: CancellationToken) -> EventStream {
        EventStream { bus, member, waiting: [first].into(), stopped: Box::pin(stop.cancelled_owned()), over: false }
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let stream = &mut *self;
        if stream.waiting.is_empty() && !stream.over {
            let stopping = stream.stopped.as_mut().poll(cx).is_ready();
            let mut found = Vec::new();
            match stream.bus.with(|bus, now| bus.read(stream.member.id, now, cx.waker(), &mut found)) {
                // What was published before the daemon was told to stop is delivered.
                Read::Waiting if stopping => stream.over = true,
                Read::Waiting if found.is_empty() => return Poll::Pending,
                // History has more to look through; others have their turn first.
                Read::Ready if found.is_empty() => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Read::Ready | Read::Waiting => {}
                Read::Over => stream.over = true,
            }
            stream.waiting.extend(found);
        }
        Poll::Ready(stream.waiting.pop_front().map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// How long a browser waits before it comes back, in milliseconds: between `least` and twice that, so that many do not
/// come back in one instant.
pub(super) fn retry(least: u64) -> Bytes {
    let wait = least + RandomState::new().hash_one(()) % least;
    format!("retry: {wait}\n").into()
}
