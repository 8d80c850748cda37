//! Which topics a cursor reads.

use super::entry::TopicKey;
use crate::{
    limits::SCAN_MAX,
    topic::{FilterSet, Topic},
};

/// Which event of each topic a snapshot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    /// The retained one.
    Retained,
    /// The newest within the bounds, else the retained one.
    Newest,
}

/// The topics that a cursor reads, found when it reads. Nothing is stored for each topic and cursor.
#[derive(Clone, Debug)]
pub enum Selection {
    /// These, at most [`FEW_TOPICS`](crate::limits::FEW_TOPICS): each is looked up.
    Few(Vec<TopicKey>),
    /// Those whose names the filters match: each name is tested.
    Matching(FilterSet),
}

impl Selection {
    /// Whether a topic is selected.
    pub(super) fn contains(&self, topic: TopicKey, name: Option<&Topic>) -> bool {
        match self {
            Selection::Few(topics) => topics.contains(&topic),
            Selection::Matching(filters) => name.is_some_and(|name| filters.matches(name)),
        }
    }

    /// How many topics one call of the bus may test: [`SCAN_MAX`], or fewer where a test takes longer.
    pub(crate) fn tests_at_once(&self) -> usize {
        /// Levels that are compared in the time in which an entry is looked at.
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
