//! All consumers, by key, by name, and by their filters.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::{consumer::Consumer, ids::ConsumerKey, name::ConsumerName, registry::Registry, wanted::WantedEvent};
use crate::{
    bus::{filter_index::Index, topics::Topics},
    limits::UNFINISHED_MAX,
    protocol::{ErrorCode, Refused},
    topic::Topic,
};

/// All consumers.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    pub(super) by_key: FxHashMap<ConsumerKey, Consumer>,
    pub(super) by_name: BTreeMap<ConsumerName, ConsumerKey>,
    last_key: ConsumerKey,
    pub(super) index: Index,
    /// The cost of the filters of all consumers, in bytes.
    filters_cost: usize,
    pub(super) registry: Registry,
    /// Removed consumers that are in the files.
    pub(super) removed: BTreeSet<ConsumerName>,
    /// The last held event that was examined for whether any consumer needs it; None if none has to be.
    pub(super) sweep: Option<u64>,
    pub(super) wanted: Vec<WantedEvent>,
    /// The consumers that match a topic. Kept to reuse its memory.
    pub(super) matching: Vec<ConsumerKey>,
}

impl Consumers {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Returns the cost of the filters of all consumers, in bytes.
    pub(crate) fn filters_cost(&self) -> usize {
        self.filters_cost
    }

    /// Adds a consumer.
    pub(super) fn insert(&mut self, name: ConsumerName, create: impl FnOnce(ConsumerKey) -> Consumer) -> ConsumerKey {
        self.last_key += 1;
        let key = self.last_key;
        let consumer = create(key);
        self.filters_cost += Topics::cost_of(&consumer.filters);
        for filter in consumer.filters.iter() {
            self.index.insert(filter, key);
        }
        self.by_name.insert(name, key);
        self.by_key.insert(key, consumer);
        key
    }

    /// Removes a consumer.
    pub(super) fn remove(&mut self, key: ConsumerKey) -> Option<Consumer> {
        let consumer = self.by_key.remove(&key)?;
        self.filters_cost -= Topics::cost_of(&consumer.filters);
        for filter in consumer.filters.iter() {
            self.index.remove(filter, key);
        }
        self.by_name.remove(&consumer.name);
        Some(consumer)
    }

    /// Returns a consumer by its name.
    pub(super) fn find(&self, name: &ConsumerName) -> Result<ConsumerKey, Refused> {
        self.by_name.get(name).copied().ok_or_else(|| {
            let message = format!("there is no consumer `{name}`; list them with `consumer list`, or create it");
            Refused::new(ErrorCode::ConsumerUnknown, message)
        })
    }

    /// Returns a consumer by its name, with what all consumers share.
    pub(super) fn get_mut(&mut self, name: &ConsumerName) -> Result<(&mut Consumer, &mut Registry), Refused> {
        let key = self.find(name)?;
        let consumer = self
            .by_key
            .get_mut(&key)
            .ok_or_else(|| Refused::new(ErrorCode::ConsumerUnknown, format!("the consumer `{name}` was removed")))?;
        Ok((consumer, &mut self.registry))
    }

    /// Sets `matching` to the consumers with a topic.
    pub(super) fn find_matching(&mut self, topic: &Topic) {
        self.matching.clear();
        self.index.matching(topic, &mut self.matching);
    }

    /// Calls a worker of each consumer that was without room, if there is room again.
    pub(super) fn feed_starved(&mut self, now: u64) {
        while self.registry.unfinished < UNFINISHED_MAX
            && let Some(key) = self.registry.starved.pop_first()
        {
            if let Some(consumer) = self.by_key.get_mut(&key) {
                consumer.offer(&mut self.registry, now);
            }
        }
    }
}
