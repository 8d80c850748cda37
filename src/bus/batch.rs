//! A batch: what has changed since the last one, as it is written down.

use super::history::{Entry, TopicPast, UnattributedLosses};
use crate::topic::Topic;

/// Names of forgotten topics that wait to be written down. Beyond it all topics are written anew instead.
const FORGOTTEN_MAX: usize = 10_000;

/// A topic, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRecord {
    /// The topic.
    pub topic: Topic,
    /// Events published since it became known.
    pub published: u64,
    /// The newest event: its number and when it arrived, in milliseconds since 1970.
    pub last: Option<(u64, u64)>,
    /// What it holds and has lost.
    pub past: TopicPast,
}

/// What has changed since the last batch.
#[derive(Clone, Debug)]
pub struct Batch {
    /// New events, in order.
    pub entries: Vec<Entry>,
    /// Topics that are not known any more; to be removed before others are written, since one may be known again.
    pub gone: Gone,
    /// Topics that are new or have changed.
    pub topics: Vec<TopicRecord>,
    /// Numbers of events of earlier batches that are not needed any more.
    pub removed: Vec<u64>,
    /// What is known of forgotten topics.
    pub forgotten: UnattributedLosses,
    /// The last number that was used.
    pub head: u64,
    /// Whether there is more to write at once.
    pub more: bool,
}

/// Topics that are not known any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// These.
    Topics(Vec<Topic>),
    /// All that the batch does not name.
    AllOthers,
}

impl Default for Gone {
    fn default() -> Gone {
        Gone::Topics(Vec::new())
    }
}

impl Gone {
    pub(super) fn note(&mut self, topic: Topic) {
        match self {
            Gone::Topics(topics) if topics.len() < FORGOTTEN_MAX => topics.push(topic),
            _ => *self = Gone::AllOthers,
        }
    }
}
