//! Gaps: events that a subscriber did not receive and can no longer receive.

use serde::{Deserialize, Serialize};

use crate::event::EventId;

/// The topic and the type of the event that reports a gap.
pub const GAP: &str = "$gap";

/// A range of events that a subscriber did not receive and can no longer receive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Gap {
    /// Why the events are missing.
    pub reason: GapReason,
    /// The number of missing events, if it is known.
    pub missed: Option<u64>,
    /// The first id that may be missing.
    pub from: EventId,
    /// The last missing id.
    pub to: EventId,
}

impl Gap {
    /// Returns a gap.
    pub fn new(reason: GapReason, missed: Option<u64>, from: EventId, to: EventId) -> Gap {
        Gap { reason, missed, from, to }
    }
}

/// Why there is a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GapReason {
    /// History evicted the events before the subscriber reconnected.
    Evicted,
    /// The subscriber fell behind, and history no longer had the events, or `slow=latest` skipped them; or live-only events
    /// passed while it read history.
    Lagged,
    /// The id belongs to an earlier epoch: the bus was restarted without its history.
    Restarted,
    /// The bus never issued the id.
    UnknownId,
    /// The servers of a shared log have lost its newest events, and have assigned their numbers to others.
    Rewritten,
}

impl GapReason {
    /// Returns the reason as it appears on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            GapReason::Evicted => "evicted",
            GapReason::Lagged => "lagged",
            GapReason::Restarted => "restarted",
            GapReason::UnknownId => "unknown_id",
            GapReason::Rewritten => "rewritten",
        }
    }
}
