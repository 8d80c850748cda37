//! Merges the batches that are not yet in the database.

use std::collections::{BTreeMap, HashSet};

use sse_bus::{
    Topic,
    bus::{
        batch::{Batch, Gone, TopicRecord},
        history::Entry,
    },
};

/// The combined changes of several batches.
#[derive(Debug, Default)]
pub(super) struct Pending {
    entries: Vec<Entry>,
    /// Pending events that were evicted since.
    removed: HashSet<u64>,
    gone: Gone,
    topics: BTreeMap<Topic, TopicRecord>,
}

impl Pending {
    /// Adds the next batch. Returns the removed events that are not pending.
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

    /// Returns the combined changes: the remaining events, the removed topics and the changed topics.
    pub(super) fn all(&mut self) -> (&[Entry], &Gone, impl Iterator<Item = &TopicRecord>) {
        if !self.removed.is_empty() {
            self.entries.retain(|entry| !self.removed.contains(&entry.seq));
            self.removed.clear();
        }
        (&self.entries, &self.gone, self.topics.values())
    }
}
