//! Presence events for the other nodes of a shared bus. Those that were not taken are bounded by [`PRESENCE_WAITING`]; further ones
//! are counted and dropped.

use std::task::Waker;

use serde::{Deserialize, Serialize};

use crate::{limits::PRESENCE_WAITING, protocol::ClientInfo};

/// A client has connected or disconnected.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PresenceEvent {
    /// The type of the event: `join` or `leave`.
    pub what: String,
    /// The client.
    pub client: ClientInfo,
}

/// The presence events that other nodes have not taken.
#[derive(Debug, Default)]
pub(super) struct PresenceWatch {
    is_watched: bool,
    waiting: Vec<PresenceEvent>,
    /// Events that were dropped because too many wait.
    dropped: u64,
    waker: Option<Waker>,
}

impl PresenceWatch {
    pub(super) fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// Begins or ends to collect events.
    pub(super) fn watch(&mut self, is_watched: bool) {
        self.is_watched = is_watched;
        if !is_watched {
            (self.waiting, self.dropped) = (Vec::new(), 0);
        }
    }

    /// Collects an event, if other nodes watch. Returns the task to wake.
    pub(super) fn note(&mut self, event: PresenceEvent) -> Option<Waker> {
        if !self.is_watched {
            return None;
        }
        if self.waiting.len() >= PRESENCE_WAITING {
            self.dropped += 1;
            return None;
        }
        self.waiting.push(event);
        self.waker.take()
    }

    /// Takes the events, and the number of those that were dropped. While there are none, keeps the waker.
    pub(super) fn poll(&mut self, waker: &Waker) -> Option<(Vec<PresenceEvent>, u64)> {
        if self.waiting.is_empty() {
            self.waker = Some(waker.clone());
            return None;
        }
        Some((std::mem::take(&mut self.waiting), std::mem::take(&mut self.dropped)))
    }
}
