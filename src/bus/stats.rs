//! Counters.

use crate::protocol::GapReason;

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events published, but for those that are live only: the bus's own, and those for one client.
    pub published: u64,
    /// Bytes of their data.
    pub published_bytes: u64,
    /// Events handed to subscribers, those that are live only included.
    pub delivered: u64,
    /// Bytes handed to subscribers, as encoded.
    pub delivered_bytes: u64,
    /// Gaps told, by reason, in the order of [`Stats::GAP_REASONS`].
    pub gaps: [u64; 4],
    /// Subscribers disconnected because they were slow.
    pub slow_disconnects: u64,
}

impl Stats {
    /// The reasons by which gaps are counted.
    pub const GAP_REASONS: [GapReason; 4] =
        [GapReason::Evicted, GapReason::Lagged, GapReason::Restarted, GapReason::UnknownId];
}
