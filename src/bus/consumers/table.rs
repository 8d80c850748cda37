//! All consumers, by key, by name, and by their filters.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::{
    chores::Chores, consumer::Consumer, ids::ConsumerKey, name::ConsumerName, registry::Registry, wanted::WantedEvent,
};
use crate::{
    bus::{filter_index::Index, topics::Topics},
    limits::{CHORES_AT_ONCE, UNFINISHED_MAX},
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
    /// A consumer that holds events; probably the next one, too.
    pub(super) last_holder: Option<ConsumerKey>,
    /// Work that is done in steps.
    pub(super) chores: Chores,
    /// The consumers that match a topic. Kept to reuse its memory.
    pub(super) matching: Vec<ConsumerKey>,
}

/// What all consumers have together.
pub(crate) struct Totals {
    pub(crate) workers: usize,
    pub(crate) in_flight: usize,
    pub(crate) unfinished: usize,
    pub(crate) dead: usize,
}

impl Consumers {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Returns a sequence number before which no consumer needs an event.
    pub(super) fn floor(&self) -> u64 {
        self.by_key.values().map(Consumer::first_needed).min().unwrap_or(u64::MAX)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Returns what all consumers have together.
    pub(crate) fn totals(&self) -> Totals {
        let Registry { tokens, workers, unfinished, dead, .. } = &self.registry;
        Totals { workers: workers.len(), in_flight: tokens.len(), unfinished: *unfinished, dead: *dead }
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

    /// Returns true if a consumer was without room, and there is room again.
    pub(super) fn can_feed_starved(&self) -> bool {
        self.registry.unfinished < UNFINISHED_MAX && !self.registry.starved.is_empty()
    }

    /// Calls a worker of some consumers that were without room, if there is room again.
    pub(super) fn feed_starved(&mut self, now: u64) {
        for _ in 0..CHORES_AT_ONCE {
            if !self.can_feed_starved() {
                return;
            }
            let Some(key) = self.registry.starved.pop_first() else { return };
            if let Some(consumer) = self.by_key.get_mut(&key) {
                consumer.offer(&mut self.registry, now);
            }
        }
    }
}
