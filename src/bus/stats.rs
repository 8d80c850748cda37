//! Counters of events, bytes, gaps and disconnects.

use crate::protocol::GapReason;

/// Totals since the bus was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Published events, without live-only ones (unicast and the bus's own).
    pub published: u64,
    /// Bytes of data of those events.
    pub published_bytes: u64,
    /// Events delivered to subscribers, live-only ones included.
    pub delivered: u64,
    /// Encoded bytes delivered to subscribers.
    pub delivered_bytes: u64,
    /// Reported gaps by reason, in the order of [`Stats::GAP_REASONS`].
    pub gaps: [u64; 5],
    /// Subscribers that were disconnected because they were slow.
    pub slow_disconnects: u64,
}

impl Stats {
    /// The reasons of gaps, in the order of [`Stats::gaps`].
    pub const GAP_REASONS: [GapReason; 5] =
        [GapReason::Evicted, GapReason::Lagged, GapReason::Restarted, GapReason::UnknownId, GapReason::Rewritten];
}
