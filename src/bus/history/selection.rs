//! Which topics a cursor reads, and which event of each a snapshot has.

use super::entry::TopicKey;
use crate::{
    limits::SCAN_MAX,
    topic::{FilterSet, Topic},
};

/// Which event of each topic a snapshot has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    /// The retained one.
    Retained,
    /// The newest within the bounds, else the retained one.
    Newest,
}

/// The topics that a cursor reads, searched when it reads. Nothing is stored for each pair of a topic and a cursor.
#[derive(Clone, Debug)]
pub enum Selection {
    /// These topics, at most [`FEW_TOPICS`](crate::limits::FEW_TOPICS): each is looked up.
    Few(Vec<TopicKey>),
    /// The topics that match the filters: each name is tested.
    Matching(FilterSet),
}

impl Selection {
    /// Returns true if a topic is selected.
    pub(super) fn contains(&self, topic: TopicKey, name: Option<&Topic>) -> bool {
        match self {
            Selection::Few(topics) => topics.contains(&topic),
            Selection::Matching(filters) => name.is_some_and(|name| filters.matches(name)),
        }
    }

    /// Returns the number of topics that one call of the bus may test: [`SCAN_MAX`], or fewer if a test takes longer.
    pub(crate) fn tests_at_once(&self) -> usize {
        /// The number of levels that are compared in the time of examining one entry.
        const LEVELS: usize = 16;
        match self {
            Selection::Few(_) => SCAN_MAX,
            Selection::Matching(filters) => {
                let levels: usize = filters.iter().map(|filter| filter.levels().count()).sum();
                SCAN_MAX / (1 + levels / LEVELS)
            }
        }
    }
}
