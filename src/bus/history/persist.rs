//! The interface of a persistent history: taking changes, and restoring them.

use std::sync::Arc;

use super::{
    bounds::Doubt,
    entry::{Entry, TopicKey},
    past::{TopicPast, UnattributedLosses},
};
use crate::event::Event;

/// Changes since the last batch.
#[derive(Debug, Default)]
pub struct Changes {
    /// New events, in order.
    pub entries: Vec<Entry>,
    /// Topics whose metadata has changed.
    pub topics: Vec<(TopicKey, TopicPast)>,
    /// Events of earlier batches that history no longer has.
    pub removed: Vec<u64>,
    /// Losses that belong to no current topic.
    pub forgotten: UnattributedLosses,
    /// True if there are more changes to take.
    pub more: bool,
}

/// A history whose changes are written to disk.
pub trait Persist {
    /// Returns true if there are changes since the last batch.
    fn has_changed(&self) -> bool;
    /// Takes changes: events of at most about `bytes`, unless the first is larger, and not more than one call of the bus may
    /// examine.
    fn take(&mut self, bytes: usize) -> Changes;
    /// Records that all events up to a sequence number are written, so that only the newest need to stay in memory. Returns the
    /// others.
    fn written(&mut self, upto: u64) -> Vec<Arc<Event>>;
    /// Returns the metadata of topics.
    fn pasts(&self, topics: &[TopicKey]) -> Vec<TopicPast>;
    /// Restores a topic's metadata. Call it before restoring events.
    fn restore_topic(&mut self, topic: TopicKey, past: TopicPast);
    /// Restores events, in order. Only retained ones are in memory. Returns the sequence numbers of those that were evicted
    /// before, according to the metadata of their topics.
    fn restore(&mut self, entries: Vec<Entry>) -> Vec<u64>;
    /// Sets the uncertainty of the age of events.
    fn doubt(&mut self, doubt: Doubt);
    /// Finishes restoring. `head` is the last sequence number that may have been used.
    fn restored(&mut self, forgotten: UnattributedLosses, head: u64, now: u64);
}
