//! The journal of a history: what has changed since it was last written down.
//!
//! Nothing is queued: a batch is made of what history still has when it is asked for, so whatever went in the meantime is
//! never written, and a disk that is slow or full costs no memory beyond history's own.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Entry, TopicKey};

/// What of a topic's past is no event: what it holds beyond its bounds, and what it has lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPast {
    /// The number of the retained event.
    pub retained: Option<u64>,
    /// The first event that the topic ever had.
    pub first: u64,
    /// How many events were let go, and the last of them.
    pub lost: u64,
    /// The last event that was let go.
    pub last_lost: u64,
    /// The last event that was let go and is not retained.
    pub last_not_retained: u64,
    /// How many this and all earlier topics with the same number have lost.
    pub total: u64,
}

/// What has gone from topics that are forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// The last event that was let go of any topic.
    pub last_loss: u64,
    /// The last event that was let go of a topic that is forgotten now.
    pub last: u64,
    /// How many such topics there were.
    pub topics: u64,
}

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
    pub forgotten: Forgotten,
    /// Whether there is more to take.
    pub more: bool,
}

/// A history that keeps a journal.
pub trait Journaled {
    /// Whether anything has changed since the last batch.
    fn has_changed(&self) -> bool;
    /// Takes what has changed: events of about so many bytes at most, unless the first is larger.
    fn take(&mut self, bytes: usize) -> Changes;
    /// The pasts of some topics.
    fn pasts(&self, topics: &[TopicKey]) -> Vec<TopicPast>;
    /// Takes up a topic's past, before its events, at a start.
    fn restore_topic(&mut self, topic: TopicKey, past: TopicPast);
    /// Takes up an event, at a start; they come in order. One that the topic's past says is gone is not taken, and said so.
    fn restore(&mut self, entry: Entry) -> bool;
    /// Ends a start: `head` is the last number that may have been used, and all up to it may be lost that are not there,
    /// if the end before was none that was told.
    fn restored(&mut self, forgotten: Forgotten, head: u64, is_torn: bool, now: u64);
}

/// What a history notes for its next batch.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// The last event of the batches so far.
    pub(super) taken: u64,
    pub(super) topics: BTreeSet<TopicKey>,
    pub(super) removed: Vec<u64>,
}
