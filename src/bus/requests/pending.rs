//! The state of one request.

use std::{sync::Arc, task::Waker};

use crate::{
    bus::ids::ClientId,
    event::Event,
    protocol::{Refused, ReplyMessage},
};

/// A request, until its client has received the result.
#[derive(Debug)]
pub(super) struct Pending {
    /// The request. None once it has ended.
    pub(super) event: Option<Arc<Event>>,
    /// Maximum number of replies.
    pub(super) wanted: usize,
    /// When its time ends, in milliseconds of the monotonic clock.
    pub(super) deadline: u64,
    /// The responders that have received it. True for those that have not replied.
    pub(super) asked: Vec<(ClientId, bool)>,
    pub(super) replies: Vec<ReplyMessage>,
    /// Why the last responder that did not reply has failed.
    pub(super) failure: Option<Refused>,
    /// Bytes charged for it: those of the request until it has ended, and those of the replies.
    pub(super) bytes: usize,
    pub(super) waker: Option<Waker>,
}

impl Pending {
    pub(super) fn has_ended(&self) -> bool {
        self.event.is_none()
    }

    /// Returns true if a responder has received it.
    pub(super) fn has_asked(&self, client: ClientId) -> bool {
        self.asked.iter().any(|(asked, _)| *asked == client)
    }

    /// Returns true if responders have received it and not replied.
    pub(super) fn is_outstanding(&self) -> bool {
        self.asked.iter().any(|(_, is_outstanding)| *is_outstanding)
    }

    /// Notes that a responder has replied, or never will. Returns false if it has not received the request, or has replied.
    pub(super) fn answered_by(&mut self, client: ClientId) -> bool {
        let asked = self.asked.iter_mut().find(|(asked, is_outstanding)| *asked == client && *is_outstanding);
        asked.map(|(_, is_outstanding)| *is_outstanding = false).is_some()
    }

    /// Returns the bytes of the request itself.
    pub(super) fn cost_of(event: &Event) -> usize {
        event.data.len() + event.headers.as_lines().len() + event.topic.as_str().len()
    }

    /// Returns the result of a request that has ended.
    pub(super) fn into_result(self) -> Result<Vec<ReplyMessage>, Refused> {
        match self.failure {
            Some(failure) if self.replies.is_empty() => Err(failure),
            _ => Ok(self.replies),
        }
    }
}
