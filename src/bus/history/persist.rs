//! The interface of a history that is written down: what has changed since the last batch, and the way back.

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
    /// Topics whose past has changed.
    pub topics: Vec<(TopicKey, TopicPast)>,
    /// Events of earlier batches that history has let go.
    pub removed: Vec<u64>,
    /// What is known of forgotten topics.
    pub forgotten: UnattributedLosses,
    /// Whether there is more to take.
    pub more: bool,
}

/// A history that keeps a journal.
pub trait Persist {
    /// Whether anything has changed since the last batch.
    fn has_changed(&self) -> bool;
    /// Takes what has changed: events of about so many bytes at most, unless the first is larger, and not more than a call of
    /// the bus may look at.
    fn take(&mut self, bytes: usize) -> Changes;
    /// Everything up to here is written: but for the newest of it, events need not be in memory any more. Gives those that
    /// go.
    fn written(&mut self, upto: u64) -> Vec<Arc<Event>>;
    /// The pasts of some topics.
    fn pasts(&self, topics: &[TopicKey]) -> Vec<TopicPast>;
    /// Takes up a topic's past, before its events, at a start.
    fn restore_topic(&mut self, topic: TopicKey, past: TopicPast);
    /// Takes up the events, in order, at a start. Only retained ones are in memory. Gives those that are not taken,
    /// because their topics' past says that they are gone.
    fn restore(&mut self, entries: Vec<Entry>) -> Vec<u64>;
    /// Has the age of events in doubt from now on.
    fn doubt(&mut self, doubt: Doubt);
    /// Ends a start: `head` is the last number that may have been used.
    fn restored(&mut self, forgotten: UnattributedLosses, head: u64, now: u64);
}
