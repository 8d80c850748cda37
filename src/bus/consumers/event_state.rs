//! The states of an event for one consumer, and the totals of a consumer.

use std::sync::Arc;

use super::{delivery::WorkerId, keys::KeyHash};

/// An event that was examined for the consumer, and is neither done nor dead.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// Attempts that count.
    pub(super) attempts: u32,
    pub(super) key: Option<KeyHash>,
    pub(super) state: State,
    pub(super) last_worker: Option<Arc<str>>,
}

impl Unfinished {
    /// Returns the token, if it is in flight.
    pub(super) fn token(&self) -> Option<u64> {
        match self.state {
            State::InFlight { token, .. } => Some(token),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    InFlight { token: u64, worker: WorkerId, deadline: u64 },
    Waiting { due: u64 },
    Ready,
    Blocked,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dead {
    pub(super) reason: DeadReason,
    pub(super) attempts: u32,
    pub(super) worker: Option<Arc<str>>,
    pub(super) key: Option<KeyHash>,
    /// In milliseconds since 1970.
    pub(super) since: u64,
}

/// Why an event is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadReason {
    /// All attempts have failed.
    Attempts,
    /// A worker has rejected it, for this reason.
    Rejected(Box<str>),
    /// Its TTL has ended after an attempt.
    Expired,
}

impl DeadReason {
    /// Returns the reason as one word.
    pub fn as_str(&self) -> &'static str {
        match self {
            DeadReason::Attempts => "attempts",
            DeadReason::Rejected(_) => "rejected",
            DeadReason::Expired => "expired",
        }
    }
}

/// Totals of a consumer since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deliveries, repeated ones included.
    pub delivered: u64,
    /// Deliveries of an event that was delivered before.
    pub redelivered: u64,
    /// Events that are done.
    pub acknowledged: u64,
    /// Events that became dead letters.
    pub dead: u64,
    /// Events whose TTL ended before their first attempt.
    pub expired: u64,
    /// Events that history evicted before they were done.
    pub missed: u64,
}
