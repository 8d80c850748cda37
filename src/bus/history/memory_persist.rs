//! The implementation of [`Persist`] by [`Memory`].
//!
//! Nothing is queued: a batch consists of the events that history has when the batch is taken. Events that were evicted
//! before are never written, and a slow or full disk costs no memory above that of history.
//!
//! Written events become cold: of all but the newest and the retained events, only the entries stay in memory.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use super::{
    Changes, Doubt, Entry, History as _, Memory, Persist, TopicKey, TopicPast, UnattributedLosses, memory::Topic,
};
use crate::{event::Event, limits::SCAN_MAX};

/// Maximum number of topics in one batch. The rest is in the next batch.
const TOPICS_MAX: usize = 1024;
impl Memory {
    /// Records that a topic's metadata has changed.
    pub(super) fn note(&mut self, topic: TopicKey) {
        if let Some(dirty) = &mut self.dirty {
            dirty.topics.insert(topic);
        }
    }

    /// Records a new event of a topic.
    pub(super) fn note_new(&mut self, topic: TopicKey, cost: usize) {
        if let Some(dirty) = &mut self.dirty {
            dirty.topics.insert(topic);
            dirty.warm += cost;
        }
    }

    /// Records that an event is removed from history.
    pub(super) fn note_removed(&mut self, seq: u64) {
        if let Some(dirty) = self.dirty.as_mut().filter(|dirty| seq <= dirty.taken) {
            dirty.removed.push(seq);
        }
    }

    /// Records that an event is evicted from the log.
    pub(super) fn note_gone(&mut self, seq: u64, cost: usize) {
        if let Some(dirty) = self.dirty.as_mut().filter(|dirty| seq > dirty.cold) {
            dirty.warm -= cost;
        }
    }

    /// Frees an event on disk that was in memory because it was retained.
    pub(super) fn cool_one(&mut self, seq: u64) {
        if self.dirty.as_ref().is_some_and(|dirty| seq <= dirty.cold)
            && let Some(entry) = self.log.get_mut(&seq)
        {
            entry.event = None;
        }
    }
}

impl Persist for Memory {
    fn has_changed(&self) -> bool {
        self.dirty.as_ref().is_some_and(|dirty| {
            let is_new =
                |entries: &BTreeMap<u64, Entry>| entries.last_key_value().is_some_and(|(seq, _)| *seq > dirty.taken);
            !dirty.topics.is_empty() || !dirty.removed.is_empty() || is_new(&self.log)
        })
    }

    fn take(&mut self, bytes: usize) -> Changes {
        let Some(dirty) = &mut self.dirty else { return Changes::default() };
        let newer = (std::ops::Bound::Excluded(dirty.taken), std::ops::Bound::Unbounded);
        let (mut log, mut pinned) = (self.log.range(newer).peekable(), self.pinned.range(newer).peekable());
        let mut held = self.held.events.range(newer).map(|(seq, held)| (seq, &held.entry)).peekable();
        let (mut entries, mut size) = (Vec::new(), 0);
        let mut next = || {
            let in_bounds =
                log.peek().map_or(u64::MAX, |(seq, _)| **seq).min(pinned.peek().map_or(u64::MAX, |(seq, _)| **seq));
            if held.peek().is_some_and(|(seq, _)| **seq < in_bounds) {
                return held.next();
            }
            match (log.peek(), pinned.peek()) {
                (Some((a, _)), Some((b, _))) if b < a => pinned.next(),
                (Some(_), _) => log.next(),
                (None, _) => pinned.next(),
            }
        };
        let mut topics = Vec::new();
        while size < bytes
            && entries.len() < SCAN_MAX
            && topics.len() < TOPICS_MAX
            && let Some((seq, entry)) = next()
        {
            dirty.taken = *seq;
            size += entry.cost;
            entries.push(entry.clone());
            if dirty.topics.remove(&entry.topic) {
                topics.push(entry.topic);
            }
        }
        topics.extend(std::iter::from_fn(|| dirty.topics.pop_first()).take(TOPICS_MAX - topics.len()));
        let more = next().is_some() || !dirty.topics.is_empty();
        let topics = topics.into_iter().map(|key| (key, self.topics[key].past)).collect();
        Changes {
            entries,
            topics,
            removed: std::mem::take(&mut dirty.removed),
            forgotten: self.forgotten.clone(),
            more,
        }
    }

    fn written(&mut self, upto: u64) -> Vec<Arc<Event>> {
        let mut gone = Vec::new();
        let Some(dirty) = &mut self.dirty else { return gone };
        let unwritten = (Bound::Excluded(dirty.written), Bound::Included(upto.max(dirty.written)));
        gone.extend(self.held.events.range_mut(unwritten).filter_map(|(_, held)| held.entry.event.take()));
        dirty.written = dirty.written.max(upto);
        let newer = (Bound::Excluded(dirty.cold), Bound::Included(upto.max(dirty.cold)));
        for (seq, entry) in self.log.range_mut(newer) {
            if dirty.warm <= dirty.keep {
                break;
            }
            dirty.cold = *seq;
            dirty.warm -= entry.cost;
            if self.topics[entry.topic].past.retained != Some(*seq) {
                gone.extend(entry.event.take());
            }
        }
        gone
    }

    fn pasts(&self, topics: &[TopicKey]) -> Vec<TopicPast> {
        topics.iter().map(|key| self.topics.get(*key).map_or(TopicPast::default(), |topic| topic.past)).collect()
    }

    fn restore_topic(&mut self, topic: TopicKey, past: TopicPast) {
        self.topics[topic].past = past;
    }

    fn restore(&mut self, entries: Vec<Entry>) -> Vec<u64> {
        let mut gone = Vec::new();
        let mut take = |entry: Entry| {
            let (key, seq) = (entry.topic, entry.seq);
            // An earlier event belongs to a removed topic of the same name.
            let Some(Topic { past, .. }) =
                self.topics.get(key).map(AsRef::as_ref).filter(|topic: &&Topic| seq >= topic.past.first)
            else {
                gone.push(seq);
                return None;
            };
            let (is_retained, is_lost) = (past.retained == Some(seq), seq <= past.last_lost);
            if is_retained {
                self.totals.retained += 1;
                self.totals.retained_bytes += entry.cost;
                self.retained_index.insert(seq, key);
                self.ending.extend(entry.expires.map(|end| (end, key)));
            }
            if !is_lost {
                self.note_in_topic(&entry);
                return Some((seq, entry));
            }
            if is_retained {
                self.pinned.insert(seq, entry);
            } else if let Some(evicted) = &mut self.held.evicted {
                evicted.push(entry);
            } else {
                gone.push(seq);
            }
            None
        };
        // Building the tree at once from sorted entries takes a fraction of the time.
        self.log = entries.into_iter().filter_map(&mut take).collect();
        gone
    }

    fn doubt(&mut self, doubt: Doubt) {
        self.bounds.doubt(doubt);
    }

    fn restored(&mut self, forgotten: UnattributedLosses, head: u64, now: u64) {
        self.losses.restore(forgotten.last_loss);
        self.forgotten = forgotten;
        for key in 0..self.topics.len() {
            let retained = self.topics[key].past.retained;
            if retained.is_some_and(|seq| self.entry(seq).is_none()) {
                self.topics[key].past.retained = None;
            }
        }
        if let Some(dirty) = &mut self.dirty {
            (dirty.taken, dirty.cold, dirty.written) = (head, head, head);
        }
        // No client waits during a start, so this needs no steps.
        self.set_retention(self.retention().clone(), now);
        while self.is_behind() {
            self.expire(now);
        }
    }
}

#[cfg(debug_assertions)]
impl Memory {
    pub(super) fn self_check_dirty(&self) {
        let cold = self.dirty.as_ref().map_or(0, |dirty| dirty.cold);
        for entry in self.log.values().chain(self.pinned.values()) {
            let is_retained = self.topics[entry.topic].past.retained == Some(entry.seq);
            assert_eq!(
                entry.event.is_some(),
                is_retained || entry.seq > cold,
                "whether the event {} is in memory",
                entry.seq
            );
        }
        let Some(dirty) = &self.dirty else { return };
        assert!(dirty.cold <= dirty.taken, "{dirty:?}");
        let warm = self.log.range(dirty.cold + 1..).map(|(_, entry)| entry.cost).sum::<usize>();
        assert_eq!(dirty.warm, warm, "cost of the events that are in memory and not yet on disk alone");
        assert!(dirty.topics.last().is_none_or(|key| *key < self.topics.len()), "{dirty:?}");
        let mut removed = dirty.removed.clone();
        removed.sort_unstable();
        assert!(removed.is_sorted_by(|a, b| a < b), "an event is removed twice: {removed:?}");
        let is_gone = |seq: &u64| *seq <= dirty.taken && self.entry(*seq).is_none();
        assert!(removed.iter().all(is_gone), "an event that is to be removed is there: {removed:?}");
    }
}
