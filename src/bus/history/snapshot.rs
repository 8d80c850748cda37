//! Snapshots: the retained or the newest event of each topic, in the order of the log, read in steps.
//!
//! Few topics are looked up one by one. For many topics, the scan walks the index of the retained events and, for the newest
//! events, the log: an index of the newest events would cost each publish more than everything else that history does for it.

use std::ops::Bound;

use super::{Entry, History, Memory, Selection, SnapshotKind, TopicKey};

impl Memory {
    /// Returns the snapshot's event of a topic.
    fn shown(&self, kind: SnapshotKind, topic: TopicKey, now: u64) -> Option<&Entry> {
        match kind {
            SnapshotKind::Retained => self.retained(topic, now),
            SnapshotKind::Newest => self.newest(topic, now),
        }
    }

    /// See [`History::snapshot`].
    pub(super) fn show_snapshot(
        &self,
        kind: SnapshotKind,
        topics: &Selection,
        range: (u64, u64),
        now: u64,
        most: usize,
        visit: &mut dyn FnMut(&Entry) -> bool,
    ) -> Option<u64> {
        let (after, upto) = range;
        let is_within = |entry: &&Entry| entry.seq > after && entry.seq <= upto;
        if let Selection::Few(few) = topics {
            let mut entries: Vec<&Entry> =
                few.iter().filter_map(|topic| self.shown(kind, *topic, now)).filter(is_within).collect();
            entries.sort_unstable_by_key(|entry| entry.seq);
            let mut reached = after;
            let finished = entries.into_iter().all(|entry| {
                let continues = visit(entry);
                reached = if continues { entry.seq } else { reached };
                continues
            });
            return (!finished).then_some(reached);
        }
        let newer = (Bound::Excluded(after), Bound::Included(upto.max(after)));
        let mut retained = self.retained_index.range(newer).map(|(seq, topic)| (*seq, *topic)).peekable();
        let mut log = self.log.range(newer).map(|(seq, entry)| (*seq, entry.topic)).peekable();
        let (mut reached, mut looked_at) = (after, 0);
        loop {
            let next = match (retained.peek(), log.peek().filter(|_| kind == SnapshotKind::Newest)) {
                (Some((a, _)), Some((b, _))) if b < a => log.next(),
                (None, Some(_)) => log.next(),
                _ => retained.next(),
            };
            let (seq, topic) = next?;
            looked_at += 1;
            if looked_at > most {
                return Some(reached);
            }
            // A retained event may be in the log as well.
            if seq > reached
                && self.may_be_shown(kind, topic, seq, now)
                && topics.contains(topic, self.bounds.name(topic))
            {
                let entry = self.shown(kind, topic, now).filter(|entry| entry.seq == seq);
                if entry.is_some_and(|entry| !visit(entry)) {
                    return Some(reached);
                }
            }
            reached = seq;
        }
    }

    /// Returns false, at low cost, for most events of the log: those that are not the newest of their topic.
    fn may_be_shown(&self, kind: SnapshotKind, topic: TopicKey, seq: u64, now: u64) -> bool {
        let newest = || self.topics.get(topic).and_then(|topic| topic.newest.at(now));
        kind == SnapshotKind::Retained || newest().is_none_or(|newest| newest == seq)
    }
}
