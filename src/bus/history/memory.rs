//! History in the process: one log in the order of the bus, and for each topic the numbers of its events.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet, VecDeque},
};

use super::{
    Entry, FORGOTTEN, Held, History, Journaled, Loss, TopicKey, TopicPast, Totals,
    bounds::{Bound, Bounds},
    journal::{Forgotten, Journal, Torn},
};
use crate::{
    limits::{EVICT_MAX, Retention},
    topic::Topic as Name,
};

/// A scan of so many topics at most may merge their queues,
const FEW: usize = 32;
/// if not more than one entry in so many is theirs.
const SPARSE: usize = 8;

/// History in memory.
#[derive(Debug)]
pub struct Memory {
    bounds: Bounds,
    /// Not all that was beyond the bounds when this was last looked at has gone.
    is_behind: bool,
    /// Everything within the bounds, in the order of the bus.
    pub(super) log: BTreeMap<u64, Entry>,
    /// Retained events that the bounds have let go.
    pub(super) pinned: BTreeMap<u64, Entry>,
    pub(super) topics: Vec<Topic>,
    /// The topics whose retained event ends by itself, by when.
    pub(super) ending: BTreeSet<(u64, TopicKey)>,
    pub(super) totals: Totals,
    pub(super) forgotten: Forgotten,
    /// What is to be written down next, if anybody does.
    pub(super) journal: Option<Journal>,
}

/// A topic's events, and what else is known of its past.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// The topic's events in the log, oldest first.
    pub(super) seqs: VecDeque<u64>,
    pub(super) bytes: usize,
    pub(super) past: TopicPast,
}

impl Memory {
    /// An empty history.
    pub fn new(retention: Retention) -> Memory {
        Memory {
            bounds: Bounds::new(retention),
            is_behind: false,
            log: BTreeMap::new(),
            pinned: BTreeMap::new(),
            topics: Vec::new(),
            ending: BTreeSet::new(),
            totals: Totals::default(),
            forgotten: Forgotten::default(),
            journal: None,
        }
    }

    /// An empty history that keeps a journal, for whoever writes it down. Of what is written, the newest events that cost
    /// so much stay in memory; see [`WARM`](crate::limits::WARM).
    pub fn journaled(retention: Retention, keep: usize) -> Memory {
        Memory { journal: Some(Journal::new(keep)), ..Memory::new(retention) }
    }

    pub(super) fn entry(&self, seq: u64) -> Option<&Entry> {
        self.log.get(&seq).or_else(|| self.pinned.get(&seq))
    }

    /// Lets go the oldest event of a topic.
    fn evict(&mut self, key: TopicKey, now: u64) {
        let topic = &mut self.topics[key];
        let Some(seq) = topic.seqs.pop_front() else { return };
        let Some(entry) = self.log.remove(&seq) else { return };
        let cost = entry.cost;
        topic.bytes -= cost;
        self.totals.bytes -= cost;
        self.totals.events -= 1;
        let past = &mut topic.past;
        if entry.is_live(now) {
            past.lost += 1;
            past.total += 1;
            past.last_lost = seq;
            self.forgotten.last_loss = self.forgotten.last_loss.max(seq);
        }
        if past.retained == Some(seq) {
            self.pinned.insert(seq, entry);
        } else {
            if entry.is_live(now) {
                past.last_not_retained = seq;
            }
            self.note_removed(seq);
        }
        self.note_gone(seq, cost);
        self.note(key);
    }

    /// Ends a topic's retained event.
    fn unretain(&mut self, key: TopicKey) {
        let Some(seq) = self.topics[key].past.retained.take() else { return };
        let (cost, expires) = self.entry(seq).map_or((0, None), |entry| (entry.cost, entry.expires));
        if let Some(end) = expires {
            self.ending.remove(&(end, key));
        }
        self.totals.retained -= 1;
        self.totals.retained_bytes -= cost;
        if self.pinned.remove(&seq).is_some() {
            let past = &mut self.topics[key].past;
            // An event whose time was over when the bounds let it go is not lost.
            past.last_not_retained = past.last_not_retained.max(seq.min(past.last_lost));
            self.note_removed(seq);
        } else {
            self.cool_one(seq);
        }
        self.note(key);
    }

    /// Puts an event into the log.
    pub(super) fn insert(&mut self, entry: Entry) {
        let (cost, seq) = (entry.cost, entry.seq);
        let topic = &mut self.topics[entry.topic];
        if topic.seqs.is_empty() {
            self.bounds.watch(entry.topic, entry.came);
        }
        topic.seqs.push_back(seq);
        topic.bytes += cost;
        self.totals.bytes += cost;
        self.totals.events += 1;
        self.log.insert(seq, entry);
    }

    /// Whether a topic has more events or bytes than it may.
    fn is_over(&self, key: TopicKey, bound: Bound) -> bool {
        self.topics[key].seqs.len() > bound.events || self.topics[key].bytes > bound.bytes
    }

    /// When the oldest event of a topic came.
    fn oldest(&self, key: TopicKey) -> Option<u64> {
        Some(self.log.get(self.topics[key].seqs.front()?)?.came)
    }

    /// The topic that has the oldest event of all, if all have more bytes than they may.
    fn over_budget(&self) -> Option<TopicKey> {
        if self.totals.bytes <= self.bounds.retention().budget {
            return None;
        }
        self.log.first_key_value().map(|(_, oldest)| oldest.topic)
    }

    /// Lets go what a new event takes the place of. Only after the bounds have changed there may be more to let go; that
    /// goes in steps.
    fn enforce(&mut self, key: TopicKey, cost: usize, now: u64) {
        let (bound, before) = (self.bounds.of(key), self.totals.bytes);
        let mut gone = 0;
        while gone < EVICT_MAX || before - self.totals.bytes < cost {
            let Some(next) = self.is_over(key, bound).then_some(key).or_else(|| self.over_budget()) else { break };
            self.evict(next, now);
            gone += 1;
        }
    }

    /// A step towards the bounds: looks at one topic and lets one event go, if it is beyond them. Says whether there was
    /// anything to do.
    fn step(&mut self, now: u64) -> bool {
        if let Some(key) = self.over_budget() {
            self.evict(key, now);
            return true;
        }
        let Some(key) = self.bounds.next(now) else { return false };
        let (bound, oldest) = (self.bounds.of(key), self.oldest(key));
        if self.is_over(key, bound) || oldest.is_some_and(|came| bound.end(came) <= now) {
            self.evict(key, now);
        } else {
            self.bounds.put_off(key, oldest);
        }
        true
    }
}

impl History for Memory {
    fn know(&mut self, topic: TopicKey, name: &Name) {
        if self.topics.len() <= topic {
            self.topics.resize_with(topic + 1, Topic::default);
        }
        self.bounds.know(topic, name);
    }

    fn append(&mut self, entry: Entry, retain: bool) {
        let (key, now, cost, seq) = (entry.topic, entry.came, entry.cost, entry.seq);
        if retain {
            self.unretain(key);
            self.topics[key].past.retained = Some(seq);
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
    }

    fn clear_retained(&mut self, topic: TopicKey) {
        if topic < self.topics.len() {
            self.unretain(topic);
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
        // Also where what is beyond the bounds has not gone yet.
        let (bound, mut bytes) = (self.bounds.of(topic), 0);
        let newest_first = self.topics.get(topic)?.seqs.iter().rev().take(bound.events);
        let is_within = |entry: &&Entry| {
            bytes += entry.cost;
            bytes <= bound.bytes && now < bound.end(entry.came)
        };
        let mut within = newest_first.filter_map(|seq| self.log.get(seq)).take_while(is_within);
        within.find(|entry| entry.is_live(now)).or_else(|| self.retained(topic, now))
    }

    fn scan(
        &self,
        topics: &HashSet<TopicKey>,
        after: u64,
        now: u64,
        most: usize,
        visit: &mut dyn FnMut(&Entry) -> bool,
    ) -> Option<u64> {
        let mut reached = after;
        let mut looked_at = 0;
        let single = topics.iter().next().filter(|_| topics.len() == 1);
        let is_among = |topic: TopicKey| single.map_or_else(|| topics.contains(&topic), |single| *single == topic);
        let mut show = |entry: &Entry| {
            looked_at += 1;
            let wanted = is_among(entry.topic) && entry.is_live(now);
            if looked_at > most || (wanted && !visit(entry)) {
                return false;
            }
            reached = entry.seq;
            true
        };
        // Few topics that have little of the log: merge their queues. Otherwise walk the log and skip what is of others,
        // which costs less for each entry than looking one up.
        let finished = if topics.len() <= FEW && self.count(topics, after) < self.at_most_after(after) / SPARSE {
            merge(self.queues(topics, after)).all(|seq| self.log.get(&seq).is_none_or(&mut show))
        } else {
            let newer = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
            self.log.range(newer).all(|(_, entry)| show(entry))
        };
        (!finished).then_some(reached)
    }

    fn place_at(&self, time: u64) -> u64 {
        last_before(&self.log, time).max(last_before(&self.pinned, time))
    }

    fn loss(&self, topic: TopicKey, after: u64) -> Option<Loss> {
        if topic == FORGOTTEN {
            let Forgotten { last, topics, .. } = self.forgotten;
            return (last > after).then_some(Loss { last, last_not_retained: last, missed: None, total: topics });
        }
        let past = self.topics.get(topic).map(|topic| &topic.past).filter(|past| past.last_lost > after)?;
        // Not every lost number is remembered, only their count and range; often that is enough to be exact.
        let at_most = past.lost.min(past.last_lost - after);
        let at_least = past.lost.saturating_sub((after + 1).saturating_sub(past.first)).max(1);
        let missed = (at_most == at_least).then_some(at_most);
        let TopicPast { last_lost, last_not_retained, total, .. } = *past;
        Some(Loss { last: last_lost, last_not_retained, missed, total })
    }

    fn last_loss(&self) -> u64 {
        self.forgotten.last_loss
    }

    fn torn(&self) -> &[Torn] {
        &self.forgotten.torn
    }

    fn expire(&mut self, now: u64) {
        self.is_behind = (0..EVICT_MAX).all(|_| self.step(now));
    }

    fn is_behind(&self) -> bool {
        self.is_behind
    }

    fn reclaim(&mut self, now: u64) {
        // Not all topics are gone through: there may be many, and a publisher who is refused may come again at once.
        while let Some((_, topic)) = self.ending.first().filter(|(end, _)| *end <= now) {
            self.unretain(*topic);
        }
    }

    fn held(&self, topic: TopicKey) -> Held {
        self.topics.get(topic).map_or(Held::default(), |topic| Held {
            events: topic.seqs.len(),
            bytes: topic.bytes,
            retained: topic.past.retained.is_some(),
        })
    }

    fn totals(&self) -> Totals {
        self.totals
    }

    fn forget(&mut self, topic: TopicKey) {
        if let Some(Topic { seqs, past, .. }) = self.topics.get_mut(topic) {
            debug_assert!(seqs.is_empty() && past.retained.is_none());
            self.forgotten.last = self.forgotten.last.max(past.last_lost);
            self.forgotten.topics += u64::from(past.lost > 0);
            *past = TopicPast { total: past.total, ..TopicPast::default() };
            self.note(topic);
        }
        self.bounds.forget(topic);
    }

    fn kind(&self) -> &'static str {
        if self.journal.is_some() { "disk" } else { "memory" }
    }

    fn journal(&mut self) -> Option<&mut dyn Journaled> {
        self.journal.is_some().then_some(self)
    }

    fn retention(&self) -> &Retention {
        self.bounds.retention()
    }

    fn set_retention(&mut self, retention: Retention, now: u64) {
        self.bounds.change(retention);
        self.expire(now);
    }
}

impl Memory {
    /// Events of some topics after a place.
    fn count(&self, topics: &HashSet<TopicKey>, after: u64) -> usize {
        let pasts = topics.iter().filter_map(|key| self.topics.get(*key));
        pasts.map(|topic| topic.seqs.len() - topic.seqs.partition_point(|seq| *seq <= after)).sum()
    }

    /// A bound of the entries of the log after a place.
    fn at_most_after(&self, after: u64) -> usize {
        let last = self.log.last_key_value().map_or(0, |(last, _)| *last);
        self.log.len().min(last.saturating_sub(after) as usize)
    }

    /// For each topic its events after a place, oldest first, as an iterator.
    fn queues<'a>(&'a self, topics: &'a HashSet<TopicKey>, after: u64) -> Vec<impl Iterator<Item = u64> + 'a> {
        let pasts = topics.iter().filter_map(|key| self.topics.get(*key));
        let queue = |topic: &'a Topic| {
            let start = topic.seqs.partition_point(|seq| *seq <= after);
            topic.seqs.range(start..).copied()
        };
        pasts.map(queue).collect()
    }
}

/// The last entry that came before a time; 0 if there is none.
fn last_before(entries: &BTreeMap<u64, Entry>, time: u64) -> u64 {
    // Times rise with the sequence, so the first event that came late enough is found by halving.
    let (mut early, mut late) = (0, entries.last_key_value().map_or(1, |(last, _)| last + 1));
    while late - early > 1 {
        let middle = early + (late - early) / 2;
        match entries.range(middle..).next() {
            Some((seq, entry)) if entry.came < time => early = *seq,
            _ => late = middle,
        }
    }
    early
}

/// Merges rising sequences into one.
fn merge<I: Iterator<Item = u64>>(mut queues: Vec<I>) -> impl Iterator<Item = u64> {
    let mut heads: BinaryHeap<_> =
        queues.iter_mut().enumerate().filter_map(|(i, queue)| Some(Reverse((queue.next()?, i)))).collect();
    std::iter::from_fn(move || {
        let mut head = heads.peek_mut()?;
        let Reverse((seq, i)) = *head;
        match queues[i].next() {
            Some(next) => *head = Reverse((next, i)),
            None => drop(std::collections::binary_heap::PeekMut::pop(head)),
        }
        Some(seq)
    })
}
