//! Batches that are not in the database yet, as the one that they come to.

use std::collections::{BTreeMap, HashSet};

use sse_bus::{
    Topic,
    bus::{
        batch::{Batch, Gone, TopicRecord},
        history::Entry,
    },
};

/// What several batches come to.
#[derive(Debug, Default)]
pub(super) struct Pending {
    entries: Vec<Entry>,
    /// Those of them that history has let go since.
    removed: HashSet<u64>,
    gone: Gone,
    topics: BTreeMap<Topic, TopicRecord>,
}

impl Pending {
    /// Adds the next batch. Gives the events that are removed and not pending.
    pub(super) fn add(&mut self, batch: Batch) -> Vec<u64> {
        let Batch { entries, gone, topics, removed, .. } = batch;
        let first = self.entries.first().map_or(u64::MAX, |first| first.seq);
        let (pending, others) = removed.into_iter().partition::<Vec<_>, _>(|seq| *seq >= first);
        self.removed.extend(pending);
        self.entries.extend(entries);
        match gone {
            Gone::Topics(gone) => {
                for topic in &gone {
                    self.topics.remove(topic);
                }
                if let Gone::Topics(before) = &mut self.gone {
                    before.extend(gone);
                }
            }
            Gone::AllOthers => {
                self.topics.clear();
                self.gone = Gone::AllOthers;
            }
        }
        self.topics.extend(topics.into_iter().map(|record| (record.topic.clone(), record)));
        others
    }

    /// What all of them come to: the events that are still there, and of the topics which are gone and which have changed.
    pub(super) fn all(&mut self) -> (&[Entry], &Gone, impl Iterator<Item = &TopicRecord>) {
        if !self.removed.is_empty() {
            self.entries.retain(|entry| !self.removed.contains(&entry.seq));
            self.removed.clear();
        }
        (&self.entries, &self.gone, self.topics.values())
    }
}
