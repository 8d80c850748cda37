//! The replies that wait behind a request which itself waits for responders.

use std::{collections::VecDeque, future::pending};

use sse_bus::{
    limits::{BATCH_MAX, READ_MAX},
    protocol::{Refused, ReplyMessage},
};

use crate::api::WaitingRequest;

/// A request that waits for replies of responders.
pub(super) struct Held {
    request: WaitingRequest,
    /// Its number on the connection.
    pub(super) number: u64,
    /// The replies to later requests.
    pub(super) after: Vec<u8>,
}

/// The requests of a connection that wait for replies of responders, in order.
#[derive(Default)]
pub(super) struct HeldReplies(VecDeque<Held>);

impl HeldReplies {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if no more requests can be added: there are as many as in a batch, or too many bytes of replies.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() as u64 >= BATCH_MAX || self.0.back().is_some_and(|held| held.after.len() >= READ_MAX)
    }

    pub(super) fn push(&mut self, request: WaitingRequest, number: u64) {
        self.0.push_back(Held { request, number, after: Vec::new() });
    }

    pub(super) fn pop(&mut self) -> Option<Held> {
        self.0.pop_front()
    }

    /// Returns the buffer for the next reply: `out`, unless an earlier request waits.
    pub(super) fn buffer<'a>(&'a mut self, out: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
        self.0.back_mut().map_or(out, |held| &mut held.after)
    }

    /// Waits for the replies to the first request.
    pub(super) async fn next(&self) -> Result<Vec<ReplyMessage>, Refused> {
        match self.0.front() {
            Some(held) => held.request.replies().await,
            None => pending().await,
        }
    }
}
