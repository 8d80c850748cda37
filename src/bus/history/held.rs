//! Events that the bounds have evicted and consumers still need, and the events that were evicted last, for which the bus has
//! not decided yet. Subscribers do not read them.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::Entry;

/// A held event.
#[derive(Clone, Debug)]
pub struct HeldEvent {
    /// The event.
    pub entry: Entry,
    /// It may be dropped for lack of room.
    pub is_droppable: bool,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) events: BTreeMap<u64, HeldEvent>,
    pub(super) droppable: BTreeSet<u64>,
    pub(super) bytes: usize,
    /// Evicted events, until the bus decides; None if there are no consumers.
    pub(super) evicted: Option<Vec<Entry>>,
    /// Number of held events by topic.
    pub(super) by_topic: BTreeMap<usize, usize>,
}

impl Held {
    pub(super) fn insert(&mut self, held: HeldEvent) {
        let (seq, topic, cost) = (held.entry.seq, held.entry.topic, held.entry.cost);
        if held.is_droppable {
            self.droppable.insert(seq);
        }
        if self.events.insert(seq, held).is_none() {
            self.bytes += cost;
            *self.by_topic.entry(topic).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<Entry> {
        let HeldEvent { entry, .. } = self.events.remove(&seq)?;
        self.droppable.remove(&seq);
        self.bytes -= entry.cost;
        if let Some(count) = self.by_topic.get_mut(&entry.topic) {
            *count -= 1;
            if *count == 0 {
                self.by_topic.remove(&entry.topic);
            }
        }
        Some(entry)
    }

    pub(super) fn set_droppable(&mut self, seq: u64, is_droppable: bool) {
        let Some(held) = self.events.get_mut(&seq) else { return };
        held.is_droppable = is_droppable;
        if is_droppable {
            self.droppable.insert(seq);
        } else {
            self.droppable.remove(&seq);
        }
    }
}

#[cfg(debug_assertions)]
impl Held {
    pub(super) fn self_check(&self) {
        let (mut bytes, mut by_topic, mut droppable) = (0, BTreeMap::new(), BTreeSet::new());
        for (seq, HeldEvent { entry, is_droppable }) in &self.events {
            assert_eq!(entry.seq, *seq, "the sequence number of a held event");
            bytes += entry.cost;
            *by_topic.entry(entry.topic).or_default() += 1;
            droppable.extend(is_droppable.then_some(*seq));
        }
        assert_eq!((self.bytes, &self.by_topic, &self.droppable), (bytes, &by_topic, &droppable), "held events");
        assert!(self.evicted.as_ref().is_none_or(Vec::is_empty), "evicted events that were not settled");
    }
}
