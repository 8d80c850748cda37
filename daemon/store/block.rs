//! What the writer knows of a block of the file without reading it: how much of it is still wanted.

use std::collections::BTreeSet;

/// What is in a block.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Events that stand in it, also those that are gone.
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// Events that history has let go.
    pub(super) gone: BTreeSet<u64>,
}

impl Block {
    /// One that is whole.
    pub(super) fn new(events: usize, bytes: usize) -> Block {
        Block { events, bytes, gone: BTreeSet::new() }
    }

    /// Bytes of one of its events, about.
    pub(super) fn each(&self) -> usize {
        self.bytes / self.events.max(1)
    }

    /// About what is gone and stands there still, in bytes.
    pub(super) fn wasted(&self) -> usize {
        self.each() * self.gone.len()
    }

    /// Whether nothing of it is left.
    pub(super) fn is_over(&self) -> bool {
        self.gone.len() >= self.events
    }

    /// Whether more than a third of it is gone.
    pub(super) fn is_sparse(&self) -> bool {
        self.is_over() || self.gone.len() * 3 > self.events
    }
}
