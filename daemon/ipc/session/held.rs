//! The replies that wait behind requests which themselves wait: for responders, or for the log.

use std::{
    collections::VecDeque,
    future::{pending, poll_fn},
    pin::Pin,
    task::Poll,
};

use sse_bus::{
    limits::{BATCH_MAX, READ_MAX},
    protocol::{Ack, Published, Refused, ReplyMessage},
};

use crate::api::WaitingRequest;

/// Batches of a connection that wait for the log, and the bytes of their events. The daemon stops after it has answered them.
const PUBLISHING_MAX: usize = 16;
const PUBLISHING_BYTES: usize = 1 << 20;

/// The outcome of a publish, with the number of its request.
pub(super) type Outcome = ((u64, Ack), Result<Published, Refused>);

/// A batch of publishes that was sent to the log.
pub(super) type Publishing<'a> = Pin<Box<dyn Future<Output = Vec<Outcome>> + Send + 'a>>;

/// A request, or a batch of publishes, that waits.
struct Held<'a> {
    waiting: Waiting<'a>,
    /// The replies to later requests.
    after: Vec<u8>,
}

enum Waiting<'a> {
    /// A request for responders, with its number on the connection.
    Request(WaitingRequest, u64),
    /// Publishes, and the bytes of their events.
    Publishes(Publishing<'a>, usize),
    /// Publishes that have ended.
    Published(Vec<Outcome>),
}

/// What has become of a request or a batch.
pub(super) enum Ended {
    Request(u64, Result<Vec<ReplyMessage>, Refused>),
    Publishes(Vec<Outcome>),
}

/// The requests of a connection that wait, in order.
#[derive(Default)]
pub(super) struct HeldReplies<'a> {
    held: VecDeque<Held<'a>>,
    /// The batches of publishes, and the bytes of their events.
    batches: usize,
    publishing: usize,
}

impl<'a> HeldReplies<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns true if publishes wait for the log.
    pub(super) fn is_publishing(&self) -> bool {
        self.batches > 0
    }

    /// Returns true if no more requests can be added: there are as many as in a batch, or too many bytes of events or replies.
    pub(super) fn is_full(&self) -> bool {
        self.held.len() as u64 >= BATCH_MAX
            || self.batches >= PUBLISHING_MAX
            || self.publishing >= PUBLISHING_BYTES
            || self.held.back().is_some_and(|held| held.after.len() >= READ_MAX)
    }

    pub(super) fn push_request(&mut self, request: WaitingRequest, number: u64) {
        self.held.push_back(Held { waiting: Waiting::Request(request, number), after: Vec::new() });
    }

    /// Sends a batch to the log now, so that it keeps its place.
    pub(super) async fn push_publishes(&mut self, mut publishing: Publishing<'a>, bytes: usize) {
        let waiting = if let Some(outcomes) = poll_once(&mut publishing).await {
            Waiting::Published(outcomes)
        } else {
            self.publishing += bytes;
            Waiting::Publishes(publishing, bytes)
        };
        self.batches += 1;
        self.held.push_back(Held { waiting, after: Vec::new() });
    }

    /// Returns the buffer for the next reply: `out`, unless an earlier request waits.
    pub(super) fn buffer<'b>(&'b mut self, out: &'b mut Vec<u8>) -> &'b mut Vec<u8> {
        self.held.back_mut().map_or(out, |held| &mut held.after)
    }

    /// Waits for the end of what waits first. Then [remove](Self::pop) it. Cancel-safe.
    pub(super) async fn next(&mut self) -> Ended {
        match self.held.front_mut().map(|held| &mut held.waiting) {
            Some(Waiting::Request(request, number)) => Ended::Request(*number, request.replies().await),
            Some(Waiting::Publishes(publishing, _)) => Ended::Publishes(publishing.await),
            Some(Waiting::Published(outcomes)) => Ended::Publishes(std::mem::take(outcomes)),
            None => pending().await,
        }
    }

    /// Returns what has become of the first batch of publishes, if that is known.
    pub(super) async fn next_published(&mut self) -> Option<Ended> {
        match &mut self.held.front_mut()?.waiting {
            Waiting::Request(..) => None,
            Waiting::Publishes(publishing, _) => poll_once(publishing).await.map(Ended::Publishes),
            Waiting::Published(outcomes) => Some(Ended::Publishes(std::mem::take(outcomes))),
        }
    }

    /// Removes what waited first, and returns the replies to later requests.
    pub(super) fn pop(&mut self) -> Vec<u8> {
        let Some(Held { waiting, after }) = self.held.pop_front() else { return Vec::new() };
        self.batches -= usize::from(!matches!(waiting, Waiting::Request(..)));
        if let Waiting::Publishes(_, bytes) = waiting {
            self.publishing -= bytes;
        }
        after
    }

    /// Returns the number of the first request for responders, if it is what waits first.
    pub(super) fn first_request(&self) -> Option<u64> {
        match self.held.front()?.waiting {
            Waiting::Request(_, number) => Some(number),
            Waiting::Publishes(..) | Waiting::Published(_) => None,
        }
    }
}

/// Returns the output of a future, if it need not wait.
async fn poll_once<T>(future: &mut Pin<Box<dyn Future<Output = T> + Send + '_>>) -> Option<T> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
