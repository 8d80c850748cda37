//! What a history notes for its next batch.

use std::collections::BTreeSet;

use super::entry::TopicKey;

/// What a history notes for its next batch, and what of it is written.
#[derive(Debug, Default)]
pub(super) struct DirtySet {
    /// The last event of the batches so far.
    pub(super) taken: u64,
    pub(super) topics: BTreeSet<TopicKey>,
    pub(super) removed: Vec<u64>,
    /// What the newest events may cost that stay in memory when they are written.
    pub(super) keep: usize,
    /// Events up to here are on disk only, but for those that are retained.
    pub(super) cold: u64,
    /// What the events of the log behind that cost.
    pub(super) warm: usize,
}

impl DirtySet {
    /// An empty one. The newest events that stay in memory when they are written may cost so much.
    pub(super) fn new(keep: usize) -> DirtySet {
        DirtySet { keep, ..DirtySet::default() }
    }
}
