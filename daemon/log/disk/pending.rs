//! Merges the batches that are not yet in the database.

use std::collections::{BTreeMap, HashSet};

use sse_bus::{
    Topic,
    bus::{
        batch::{Batch, Gone, TopicRecord},
        history::Entry,
    },
};

use super::{
    consumers::ConsumerUpdates,
    database::{Tables, put_topics},
    publishes::PublishUpdates,
};

/// The combined changes of several batches.
#[derive(Debug, Default)]
pub(super) struct Pending {
    entries: Vec<Entry>,
    /// Pending events that were evicted since.
    removed: HashSet<u64>,
    gone: Gone,
    topics: BTreeMap<Topic, TopicRecord>,
    consumers: ConsumerUpdates,
    publishes: PublishUpdates,
}

/// The combined changes of several batches, to be written.
pub(super) struct AllPending<'a> {
    /// The remaining events.
    pub(super) entries: &'a [Entry],
    gone: &'a Gone,
    topics: &'a BTreeMap<Topic, TopicRecord>,
    consumers: &'a ConsumerUpdates,
    publishes: &'a PublishUpdates,
}

impl AllPending<'_> {
    /// Writes the changes of topics and consumers.
    pub(super) fn put(&self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        put_topics(&mut tables.topics, self.gone, self.topics.values())?;
        tables.consumers.put(self.consumers)?;
        tables.publishes.put(self.publishes)
    }
}

impl Pending {
    /// Adds the next batch, with the changes of consumers before it. Returns the removed events that are not pending.
    pub(super) fn add(&mut self, batch: Batch, consumers: ConsumerUpdates) -> Vec<u64> {
        self.consumers.merge(consumers);
        let Batch { entries, gone, topics, removed, publishes, .. } = batch;
        self.publishes.add(publishes);
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

    /// Returns the combined changes.
    pub(super) fn all(&mut self) -> AllPending<'_> {
        if !self.removed.is_empty() {
            self.entries.retain(|entry| !self.removed.contains(&entry.seq));
            self.removed.clear();
        }
        let Pending { entries, gone, topics, consumers, publishes, .. } = self;
        AllPending { entries, gone, topics, consumers, publishes }
    }
}
