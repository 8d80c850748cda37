//! The implementation of [`History`] by [`Memory`].

use std::ops::{ControlFlow, Range};

use super::{
    CrashLoss, Entry, HeldEvent, History, LostEvent, Memory, Persist, Selection, SnapshotKind, TopicKey, TopicPast,
    TopicUsage, Totals, memory::Topic, merge::last_before,
};
use crate::{
    limits::{EVICT_MAX, EXPIRE_MAX, RECLAIM_MAX},
    protocol::HistoryKind,
    retention::Retention,
    topic::Topic as Name,
};

impl History for Memory {
    fn add_topic(&mut self, topic: TopicKey, name: &Name) {
        if self.topics.len() <= topic {
            self.topics.resize_with(topic + 1, Box::default);
        }
        self.bounds.add_topic(topic, name);
    }

    fn append(&mut self, entry: Entry, retain: bool) {
        let (key, now, cost, seq) = (entry.topic, entry.arrived_at, entry.cost, entry.seq);
        if retain {
            self.unretain(key, now);
            self.topics[key].past.retained = Some(seq);
            self.retained_index.insert(seq, key);
            self.ending.extend(entry.expires.map(|end| (end, key)));
            self.totals.retained += 1;
            self.totals.retained_bytes += cost;
        }
        let past = &mut self.topics[key].past;
        if past.first == 0 {
            past.first = seq;
        }
        self.insert(entry);
        self.note_new(key, cost);
        self.enforce(key, cost, now);
        self.slide();
    }

    fn pass_over(&mut self, seq: u64) {
        self.losses.push_unknown(seq);
        self.forgotten.lose(seq);
    }

    fn clear_retained(&mut self, topic: TopicKey, now: u64) {
        if topic < self.topics.len() {
            self.unretain(topic, now);
        }
    }

    fn retained(&self, topic: TopicKey, now: u64) -> Option<&Entry> {
        self.entry(self.topics.get(topic)?.past.retained?).filter(|entry| entry.is_live(now))
    }

    fn retained_cost(&self, topic: TopicKey) -> usize {
        let retained = self.topics.get(topic).and_then(|topic| topic.past.retained);
        retained.and_then(|seq| self.entry(seq)).map_or(0, |entry| entry.cost)
    }

    fn newest(&self, topic: TopicKey, now: u64) -> Option<&Entry> {
        let newest = self.topics.get(topic)?.newest.at(now);
        newest.and_then(|seq| self.log.get(&seq)).or_else(|| self.retained(topic, now))
    }

    fn scan(
        &self,
        topics: &Selection,
        after: u64,
        now: u64,
        most: usize,
        visit: &mut dyn FnMut(&Entry) -> bool,
    ) -> Option<u64> {
        self.show_scan(topics, after, now, most, visit)
    }

    fn last_before(&self, time: u64) -> u64 {
        last_before(&self.log, time).max(last_before(&self.pinned, time))
    }

    fn start(&self) -> u64 {
        self.start
    }

    fn is_window(&self) -> bool {
        self.window.is_some()
    }

    fn oldest(&self) -> Option<u64> {
        self.log.first_key_value().map(|(oldest, _)| *oldest)
    }

    fn snapshot(
        &self,
        kind: SnapshotKind,
        topics: &Selection,
        range: (u64, u64),
        now: u64,
        most: usize,
        visit: &mut dyn FnMut(&Entry) -> bool,
    ) -> Option<u64> {
        self.show_snapshot(kind, topics, range, now, most, visit)
    }

    fn losses(&self) -> Range<u64> {
        self.losses.indexes()
    }

    fn lost(&self, index: u64) -> Option<LostEvent> {
        let (seq, topic, reuse) = self.losses.get(index)?;
        let is_known = self.topics.get(topic).is_some_and(|topic| topic.reuse == reuse);
        Some(LostEvent { seq, topic: is_known.then_some(topic) })
    }

    fn earlier_loss(&self, topics: &Selection, after: u64, from: TopicKey) -> ControlFlow<Option<u64>, TopicKey> {
        let last = self.losses.before();
        let found = ControlFlow::Break((last > after).then_some(last));
        if last <= after || self.forgotten.last > after {
            return found;
        }
        let has_lost = |key: TopicKey| self.topics.get(key).is_some_and(|topic| topic.past.last_lost > after);
        let until = match topics {
            Selection::Few(few) if few.iter().any(|key| has_lost(*key)) => return found,
            Selection::Few(_) => return ControlFlow::Break(None),
            Selection::Matching(_) => self.topics.len().min(from + topics.tests_at_once()),
        };
        if (from..until).any(|key| has_lost(key) && topics.contains(key, self.bounds.name(key))) {
            return found;
        }
        if until < self.topics.len() { ControlFlow::Continue(until) } else { ControlFlow::Break(None) }
    }

    fn is_lost_of(&self, lost: LostEvent, topics: &Selection) -> Option<bool> {
        lost.topic.map(|topic| topics.contains(topic, self.bounds.name(topic)))
    }

    fn last_loss(&self) -> u64 {
        self.forgotten.last_loss
    }

    fn crashes(&self) -> &[CrashLoss] {
        &self.forgotten.crashes
    }

    fn expire(&mut self, now: u64) {
        self.is_behind = (0..EVICT_MAX).all(|_| self.step(now));
    }

    fn next_expiry(&self) -> Option<u64> {
        let (retained, expiring) = (self.ending.first(), self.expiring.first());
        let ttl = retained.map(|(end, _)| *end).into_iter().chain(expiring.map(|(end, _)| *end)).min();
        self.bounds.next_due().into_iter().chain(ttl.map(|end| self.bounds.end_of_ttl(end))).min()
    }

    fn is_behind(&self) -> bool {
        self.is_behind
    }

    fn reclaim(&mut self, now: u64) {
        for _ in 0..RECLAIM_MAX {
            let ended = self.ending.first().filter(|(end, _)| self.bounds.end_of_ttl(*end) <= now);
            let Some((_, topic)) = ended else { return };
            self.unretain(*topic, now);
        }
    }

    fn remove_expired(&mut self, now: u64) -> bool {
        /// Entries of a topic that are moved in about the time that it takes to remove an event.
        const MOVED: usize = 4096;
        self.reclaim(now);
        let mut work = 0;
        while let Some(seq) = self.next_expired(now) {
            if work >= EXPIRE_MAX {
                return true;
            }
            work += 1 + self.remove_expired_event(seq) / MOVED;
        }
        self.ending.first().is_some_and(|(end, _)| self.bounds.end_of_ttl(*end) <= now)
    }

    fn usage(&self, key: TopicKey) -> TopicUsage {
        self.topics.get(key).map_or(TopicUsage::default(), |topic| TopicUsage {
            events: topic.seqs.len(),
            bytes: topic.bytes,
            retained: topic.past.retained.is_some(),
            held: self.held.by_topic.get(&key).copied().unwrap_or_default(),
        })
    }

    fn totals(&self) -> Totals {
        self.totals
    }

    fn remove_topic(&mut self, topic: TopicKey) {
        if let Some(Topic { seqs, past, reuse, .. }) = self.topics.get_mut(topic).map(AsMut::as_mut) {
            debug_assert!(seqs.is_empty() && past.retained.is_none());
            self.forgotten.last = self.forgotten.last.max(past.last_lost);
            *past = TopicPast::default();
            *reuse += 1;
            self.note(topic);
        }
        self.bounds.remove_topic(topic);
    }

    fn kind(&self) -> HistoryKind {
        if self.dirty.is_some() { HistoryKind::Disk } else { HistoryKind::Memory }
    }

    fn persist(&mut self) -> Option<&mut dyn Persist> {
        self.dirty.is_some().then_some(self)
    }

    fn retention(&self) -> &Retention {
        self.bounds.retention()
    }

    fn set_retention(&mut self, retention: Retention, now: u64) {
        self.bounds.change(retention);
        self.expire(now);
    }

    fn keep_evicted(&mut self, keep: bool) {
        if self.held.evicted.is_some() != keep {
            self.held.evicted = keep.then(Vec::new);
        }
    }

    fn take_evicted(&mut self) -> Vec<Entry> {
        self.held.evicted.as_mut().map_or_else(Vec::new, std::mem::take)
    }

    fn forget(&mut self, seq: u64) {
        self.note_removed(seq);
    }

    fn hold(&mut self, mut held: HeldEvent) {
        if self.dirty.as_ref().is_some_and(|dirty| held.entry.seq <= dirty.written) {
            held.entry.event = None;
        }
        self.held.insert(held);
    }

    fn set_droppable(&mut self, seq: u64, is_droppable: bool) {
        self.held.set_droppable(seq, is_droppable);
    }

    fn release(&mut self, seq: u64) {
        if self.held.remove(seq).is_some() {
            self.note_removed(seq);
        }
    }

    fn held(&self, seq: u64) -> Option<&HeldEvent> {
        self.held.events.get(&seq)
    }

    fn held_after(&self, after: u64, most: usize) -> Vec<u64> {
        let newer = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        self.held.events.range(newer).map(|(seq, _)| *seq).take(most).collect()
    }

    fn oldest_droppable(&self) -> Option<&Entry> {
        self.held.droppable.first().and_then(|seq| self.held.events.get(seq)).map(|held| &held.entry)
    }

    fn last_held(&self) -> Option<u64> {
        self.held.events.last_key_value().map(|(seq, _)| *seq)
    }

    fn held_bytes(&self) -> usize {
        self.held.bytes
    }

    fn entry(&self, seq: u64) -> Option<&Entry> {
        Memory::entry(self, seq).or_else(|| self.held.events.get(&seq).map(|held| &held.entry))
    }

    fn walk(&self, topics: &Selection, after: u64, most: usize, visit: &mut dyn FnMut(&Entry) -> bool) -> Option<u64> {
        self.show_walk(topics, after, most, visit)
    }

    #[cfg(debug_assertions)]
    fn self_check(&self) {
        self.self_check_all();
    }
}
