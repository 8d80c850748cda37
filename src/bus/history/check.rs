//! The self-check of history in the process.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, Memory, TopicKey, Totals, memory::Topic};

impl Memory {
    /// See [`History::self_check`](super::History::self_check).
    pub(super) fn self_check_all(&self) {
        let mut by_topic = BTreeMap::<TopicKey, Vec<&Entry>>::new();
        for (seq, entry) in &self.log {
            assert_eq!(entry.seq, *seq, "the sequence number of an event of the log");
            by_topic.entry(entry.topic).or_default().push(entry);
        }
        let (mut ending, mut retained_index) = (BTreeSet::new(), BTreeMap::new());
        let mut totals = Totals::default();
        for (key, topic) in self.topics.iter().enumerate() {
            let entries = by_topic.remove(&key).unwrap_or_default();
            topic.self_check(key, &entries);
            totals.events += entries.len();
            totals.bytes += topic.bytes;
            let Some(seq) = topic.past.retained else { continue };
            let Some(entry) = self.entry(seq) else { panic!("the retained event {seq} of topic {key} is not there") };
            totals.retained += 1;
            totals.retained_bytes += entry.cost;
            retained_index.insert(seq, key);
            ending.extend(entry.expires.map(|end| (end, key)));
        }
        assert!(by_topic.is_empty(), "events of unknown topics: {by_topic:?}");
        assert_eq!(self.totals, totals, "totals of history");
        assert_eq!(self.retained_index, retained_index, "the index of retained events");
        assert_eq!(self.ending, ending, "retained events that expire");
        for (seq, entry) in &self.pinned {
            assert!(!self.log.contains_key(seq), "the event {seq} stands in the log, and beside it");
            let topic = &self.topics[entry.topic];
            assert_eq!(topic.past.retained, Some(*seq), "the retained event beside the log");
            assert!(*seq <= topic.past.last_lost, "the bounds have not evicted the event {seq} beside the log");
        }
        let expiring = self.log.values().filter_map(|entry| Some((entry.expires?, entry.seq)));
        assert_eq!(self.expiring, expiring.collect(), "events of the log that expire");
        self.bounds.self_check(|key| Some(self.log.get(self.topics.get(key)?.seqs.front()?)?.arrived_at));
        self.losses.self_check(self.forgotten.last_loss, |key| self.topics.get(key).map(|topic| topic.reuse));
        self.held.self_check();
        self.self_check_dirty();
    }
}

impl Topic {
    fn self_check(&self, key: TopicKey, entries: &[&Entry]) {
        assert!(entries.iter().map(|entry| entry.seq).eq(self.seqs.iter().copied()), "events of topic {key}");
        assert_eq!(self.bytes, entries.iter().map(|entry| entry.cost).sum::<usize>(), "bytes of topic {key}");
        if let Some(first) = entries.first() {
            assert!((1..=first.seq).contains(&self.past.first), "the first event of topic {key}: {self:?}");
            assert!(self.past.last_lost < first.seq, "the last event that topic {key} has lost: {self:?}");
        }
        for now in entries.iter().filter_map(|entry| entry.expires).chain([0]) {
            let newest = entries.iter().rev().find(|entry| entry.is_live(now)).map(|entry| entry.seq);
            assert_eq!(self.newest.at(now), newest, "the newest event of topic {key} that has not expired at {now}");
        }
    }
}
