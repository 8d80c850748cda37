//! History in the process: one log in the order of the bus, and for each topic the sequence numbers of its events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    bounds::{Bound, Bounds},
    dirty::DirtySet,
    entry::{Entry, TopicKey, Totals},
    held::Held,
    losses::Losses,
    newest::Newest,
    past::{TopicPast, UnattributedLosses},
    window::Window,
};
use crate::{limits::EVICT_MAX, retention::Retention};

/// History in memory.
#[derive(Debug)]
pub struct Memory {
    pub(super) bounds: Bounds,
    /// The last step of eviction has left events that exceed the bounds.
    pub(super) is_behind: bool,
    /// Everything within the bounds, in the order of the bus.
    pub(super) log: BTreeMap<u64, Entry>,
    /// Retained events that are evicted from the log.
    pub(super) pinned: BTreeMap<u64, Entry>,
    #[expect(clippy::vec_box, reason = "the table grows quickly")]
    pub(super) topics: Vec<Box<Topic>>,
    /// The topics whose retained event expires, by time.
    pub(super) ending: BTreeSet<(u64, TopicKey)>,
    /// The events of the log that expire, by time.
    pub(super) expiring: BTreeSet<(u64, u64)>,
    pub(super) totals: Totals,
    pub(super) forgotten: UnattributedLosses,
    pub(super) losses: Losses,
    /// The retained event of each topic.
    pub(super) retained_index: BTreeMap<u64, TopicKey>,
    /// The changes that are not written yet; None if history is in memory only.
    pub(super) dirty: Option<DirtySet>,
    /// The events that are held for consumers.
    pub(super) held: Held,
    /// The bounds of the part of the log that is here; None if there is no other log.
    pub(super) window: Option<Window>,
    /// Events up to this sequence number are in the other log only.
    pub(super) start: u64,
}

/// A topic's events and metadata.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// The topic's events in the log, oldest first.
    pub(super) seqs: VecDeque<u64>,
    pub(super) bytes: usize,
    pub(super) newest: Newest,
    /// The number of earlier topics with this key.
    pub(super) reuse: u32,
    pub(super) past: TopicPast,
}

impl Memory {
    /// Returns an empty history.
    pub fn new(retention: Retention) -> Memory {
        Memory {
            bounds: Bounds::new(retention),
            is_behind: false,
            log: BTreeMap::new(),
            pinned: BTreeMap::new(),
            topics: Vec::new(),
            ending: BTreeSet::new(),
            expiring: BTreeSet::new(),
            totals: Totals::default(),
            forgotten: UnattributedLosses::default(),
            losses: Losses::default(),
            retained_index: BTreeMap::new(),
            dirty: None,
            held: Held::default(),
            window: None,
            start: 0,
        }
    }

    /// Returns the empty window of a log elsewhere. Events up to `start` are in that log only.
    pub fn window(retention: Retention, window: Window, start: u64) -> Memory {
        Memory { window: Some(window), start, ..Memory::new(retention) }
    }

    /// Returns an empty history that records its changes, to be written to disk. Of the written events, the newest stay in
    /// memory up to a cost of `keep` bytes; see [`HOT_BYTES`](crate::limits::HOT_BYTES).
    pub fn persistent(retention: Retention, keep: usize) -> Memory {
        Memory { dirty: Some(DirtySet::new(keep)), ..Memory::new(retention) }
    }

    /// Returns the entry of an event, in the log or retained.
    pub(super) fn entry(&self, seq: u64) -> Option<&Entry> {
        self.log.get(&seq).or_else(|| self.pinned.get(&seq))
    }

    /// Evicts the oldest event of a topic.
    fn evict(&mut self, key: TopicKey, now: u64) {
        let topic = &mut self.topics[key];
        let Some(seq) = topic.seqs.pop_front() else { return };
        topic.newest.remove_oldest(seq);
        topic.past.last_lost = seq;
        let Some(entry) = self.take_from_log(seq) else { return };
        let (topic, cost) = (&mut self.topics[key], entry.cost);
        let is_retained = topic.past.retained == Some(seq);
        if is_retained {
            self.pinned.insert(seq, entry);
        } else {
            if entry.is_live(now) {
                self.lose(key, seq);
            }
            self.note_evicted(entry);
        }
        self.note_gone(seq, cost);
        self.note(key);
    }

    /// Removes an event from the log and its sums.
    fn take_from_log(&mut self, seq: u64) -> Option<Entry> {
        let entry = self.log.remove(&seq)?;
        if let Some(end) = entry.expires {
            self.expiring.remove(&(end, seq));
        }
        self.topics[entry.topic].bytes -= entry.cost;
        self.totals.bytes -= entry.cost;
        self.totals.events -= 1;
        Some(entry)
    }

    /// Returns the event of the log that has expired first.
    pub(super) fn next_expired(&self, now: u64) -> Option<u64> {
        let first = self.expiring.first().filter(|(end, _)| self.bounds.end_of_ttl(*end) <= now);
        first.map(|(_, seq)| *seq)
    }

    /// Removes the event that has expired [first](Memory::next_expired) from the log. Returns the number of entries of its
    /// topic that were moved. It is no loss.
    pub(super) fn remove_expired_event(&mut self, seq: u64) -> usize {
        let Some(entry) = self.take_from_log(seq) else { return 0 };
        let (key, cost) = (entry.topic, entry.cost);
        if self.topics[key].past.retained == Some(seq) {
            self.forget_retained(key, seq, cost, entry.expires);
            self.note(key);
        }
        let topic = &mut self.topics[key];
        topic.newest.remove_expired(seq);
        let mut moved = 0;
        if let Ok(index) = topic.seqs.binary_search(&seq) {
            topic.seqs.remove(index);
            moved = index.min(topic.seqs.len() - index);
        }
        self.note_evicted(entry);
        self.note_gone(seq, cost);
        moved
    }

    /// Records that an event is lost to cursors that have not read it yet.
    fn lose(&mut self, key: TopicKey, seq: u64) {
        self.losses.push(seq, key, self.topics[key].reuse);
        self.forgotten.last_loss = self.forgotten.last_loss.max(seq);
    }

    /// Records that an event is evicted for subscribers. With consumers, the bus decides whether it is held.
    fn note_evicted(&mut self, entry: Entry) {
        match &mut self.held.evicted {
            Some(evicted) => evicted.push(entry),
            None => self.note_removed(entry.seq),
        }
    }

    /// Removes a topic's retained event.
    pub(super) fn unretain(&mut self, key: TopicKey, now: u64) {
        let Some(seq) = self.topics[key].past.retained else { return };
        let (cost, expires) = self.entry(seq).map_or((0, None), |entry| (entry.cost, entry.expires));
        self.forget_retained(key, seq, cost, expires);
        if let Some(entry) = self.pinned.remove(&seq) {
            if expires.is_none_or(|end| end > now) {
                self.lose(key, seq);
            }
            self.note_evicted(entry);
        } else {
            self.cool_one(seq);
        }
        self.note(key);
    }

    /// Removes an event from the index of retained events, if it is its topic's retained event.
    pub(super) fn forget_retained(&mut self, key: TopicKey, seq: u64, cost: usize, expires: Option<u64>) {
        let retained = &mut self.topics[key].past.retained;
        if retained.take_if(|retained| *retained == seq).is_none() {
            return;
        }
        if let Some(end) = expires {
            self.ending.remove(&(end, key));
        }
        self.totals.retained -= 1;
        self.totals.retained_bytes -= cost;
        self.retained_index.remove(&seq);
    }

    /// Adds an event to the log.
    pub(super) fn insert(&mut self, entry: Entry) {
        self.note_in_topic(&entry);
        self.log.insert(entry.seq, entry);
    }

    /// Adds an event of the log to its topic.
    pub(super) fn note_in_topic(&mut self, entry: &Entry) {
        let (cost, seq) = (entry.cost, entry.seq);
        let topic = &mut self.topics[entry.topic];
        if topic.seqs.is_empty() {
            self.bounds.watch(entry.topic, entry.arrived_at);
        }
        topic.seqs.push_back(seq);
        topic.newest.push(seq, entry.expires);
        topic.bytes += cost;
        self.totals.bytes += cost;
        self.totals.events += 1;
        self.expiring.extend(entry.expires.map(|end| (end, seq)));
    }

    /// Returns true if a topic has more events or bytes than its bounds allow.
    fn is_over(&self, key: TopicKey, bound: Bound) -> bool {
        self.topics[key].seqs.len() > bound.events || self.topics[key].bytes > bound.bytes
    }

    /// Returns the time at which the oldest event of a topic arrived.
    fn oldest_of(&self, key: TopicKey) -> Option<u64> {
        Some(self.log.get(self.topics[key].seqs.front()?)?.arrived_at)
    }

    /// Returns the topic of the oldest event, if all topics together exceed the budget.
    fn over_budget(&self) -> Option<TopicKey> {
        // Held events leave at least half of the budget to the others.
        let budget = self.bounds.retention().budget;
        if self.totals.bytes <= budget.saturating_sub(self.held.bytes).max(budget / 2) {
            return None;
        }
        self.log.first_key_value().map(|(_, oldest)| oldest.topic)
    }

    /// Evicts events to make room for a new one. After a change of the bounds there may be more to evict, which happens in
    /// steps.
    pub(super) fn enforce(&mut self, key: TopicKey, cost: usize, now: u64) {
        let (bound, before) = (self.bounds.of(key), self.totals.bytes);
        let mut gone = 0;
        while gone < EVICT_MAX || before - self.totals.bytes < cost {
            let Some(next) = self.is_over(key, bound).then_some(key).or_else(|| self.over_budget()) else { break };
            self.evict(next, now);
            gone += 1;
        }
    }

    /// Examines one topic, and evicts its oldest event if that exceeds the bounds. Returns false if there was nothing to do.
    pub(super) fn step(&mut self, now: u64) -> bool {
        if let Some(key) = self.over_budget() {
            self.evict(key, now);
            return true;
        }
        let Some(key) = self.bounds.next(now) else { return false };
        let (bound, oldest) = (self.bounds.of(key), self.oldest_of(key));
        if self.is_over(key, bound) || oldest.is_some_and(|arrived_at| self.bounds.end(key, arrived_at) <= now) {
            self.evict(key, now);
        } else {
            self.bounds.put_off(key, oldest);
        }
        true
    }

    /// Removes the oldest events from the window while it is above its bounds. Each event adds one, so this is one step after
    /// each, except for events that are larger than those before.
    pub(super) fn slide(&mut self) {
        let Some(window) = self.window else { return };
        while self.log.len() + self.pinned.len() > window.events
            || (self.totals.bytes > window.bytes && self.log.len() > 1)
        {
            let (log, pinned) = (self.log.first_key_value(), self.pinned.first_key_value());
            let oldest = log.into_iter().chain(pinned).map(|(seq, entry)| (*seq, entry.topic)).min();
            let Some((seq, key)) = oldest else { return };
            self.start = seq;
            if let Some(entry) = self.take_from_log(seq) {
                let topic = &mut self.topics[key];
                topic.seqs.pop_front();
                topic.newest.remove_oldest(seq);
                self.forget_retained(key, seq, entry.cost, entry.expires);
            } else if let Some(entry) = self.pinned.remove(&seq) {
                self.forget_retained(key, seq, entry.cost, entry.expires);
            }
        }
    }
}
