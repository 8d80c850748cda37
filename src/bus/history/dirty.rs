//! The changes of a history since its last batch.

use std::collections::BTreeSet;

use super::entry::TopicKey;

/// The changes since the last batch, and which events are in memory.
#[derive(Debug, Default)]
pub(super) struct DirtySet {
    /// The sequence number of the last event in a batch.
    pub(super) taken: u64,
    /// Topics with new metadata.
    pub(super) topics: BTreeSet<TopicKey>,
    /// Removed events of earlier batches.
    pub(super) removed: Vec<u64>,
    /// Maximum cost of the written events that stay in memory.
    pub(super) keep: usize,
    /// Events up to this sequence number are on disk only, except retained ones.
    pub(super) cold: u64,
    /// Events up to this sequence number are on disk.
    pub(super) written: u64,
    /// Cost of the later events of the log.
    pub(super) warm: usize,
}

impl DirtySet {
    /// Returns an empty set. The newest written events stay in memory up to a cost of `keep`.
    pub(super) fn new(keep: usize) -> DirtySet {
        DirtySet { keep, ..DirtySet::default() }
    }
}
