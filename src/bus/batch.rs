//! Batches of changes, which the owner of the files writes to disk.

use serde::{Deserialize, Serialize};

use super::{
    dedup::DedupChanges,
    history::{Entry, TopicPast, UnattributedLosses},
    schedules::ScheduleRecord,
};
use crate::topic::Topic;

/// Number of removed topics that a batch names. Above it, this batch and those that follow it have all topics instead.
const REMOVED_MAX: usize = 10_000;

/// A topic, as written to disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRecord {
    /// The topic.
    pub topic: Topic,
    /// Events published since the topic was added.
    pub published: u64,
    /// The newest event: its sequence number and when it arrived, in milliseconds since 1970.
    pub last: Option<(u64, u64)>,
    /// Its metadata in history.
    pub past: TopicPast,
}

/// The changes since the last batch.
#[derive(Clone, Debug)]
pub struct Batch {
    /// New events, in order.
    pub entries: Vec<Entry>,
    /// Removed topics. Remove them before writing `topics`, since a topic may have been added again.
    pub gone: Gone,
    /// Topics that are new or have changed.
    pub topics: Vec<TopicRecord>,
    /// Events of earlier batches that history no longer has.
    pub removed: Vec<u64>,
    /// Losses that belong to no current topic.
    pub forgotten: UnattributedLosses,
    /// Changes that belong to publishes, and not to one event.
    pub publishes: PublishChanges,
    /// The last sequence number in use.
    pub head: u64,
    /// True if more changes are waiting.
    pub more: bool,
}

/// Changes that belong to publishes, and not to one event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PublishChanges {
    /// By what repeated publishes are recognized.
    pub dedup: DedupChanges,
    /// Schedules that are new or have changed; None for one to remove.
    pub schedules: Vec<(Box<str>, Option<ScheduleRecord>)>,
}

impl PublishChanges {
    /// Returns true if there is nothing to write but the end of old ids.
    pub fn is_empty(&self) -> bool {
        let DedupChanges { publishers, forgotten, ids, .. } = &self.dedup;
        publishers.is_empty() && forgotten.is_empty() && ids.is_empty() && self.schedules.is_empty()
    }
}

/// Removed topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// These topics.
    Topics(Vec<Topic>),
    /// All topics that this batch, and those that [follow it](Batch::more), do not name.
    AllOthers,
}

impl Default for Gone {
    fn default() -> Gone {
        Gone::Topics(Vec::new())
    }
}

impl Gone {
    /// Adds a removed topic.
    pub(super) fn note(&mut self, topic: Topic) {
        match self {
            Gone::Topics(topics) if topics.len() < REMOVED_MAX => topics.push(topic),
            _ => *self = Gone::AllOthers,
        }
    }
}
