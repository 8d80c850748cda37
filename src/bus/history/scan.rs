//! Scans of history: the events of some topics, in the order of the log, a bounded number at a time.

use super::{Entry, Memory, Selection, TopicKey, memory::Topic, merge::merge};

/// A scan of few topics merges their queues if at most one of this number of entries is theirs.
const SPARSE: usize = 8;

impl Memory {
    /// See [`History::walk`](super::History::walk).
    pub(super) fn show_walk(
        &self,
        topics: &Selection,
        after: u64,
        most: usize,
        visit: &mut dyn FnMut(&Entry) -> bool,
    ) -> Option<u64> {
        let newer = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        let mut log = self.log.range(newer).map(|(_, entry)| entry).peekable();
        let mut pinned = self.pinned.range(newer).map(|(_, entry)| entry).peekable();
        let mut held = self.held.events.range(newer).map(|(_, held)| &held.entry).peekable();
        let mut reached = after;
        for _ in 0..most {
            let seq_of = |entry: Option<&&Entry>| entry.map_or(u64::MAX, |entry| entry.seq);
            let (in_log, in_pinned, in_held) = (seq_of(log.peek()), seq_of(pinned.peek()), seq_of(held.peek()));
            let next = match in_log.min(in_pinned).min(in_held) {
                u64::MAX => return None,
                seq if seq == in_log => log.next(),
                seq if seq == in_pinned => pinned.next(),
                _ => held.next(),
            };
            let entry = next?;
            if topics.contains(entry.topic, self.bounds.name(entry.topic)) && !visit(entry) {
                break;
            }
            reached = entry.seq;
        }
        Some(reached)
    }

    /// See [`History::scan`](super::History::scan).
    pub(super) fn show_scan(
        &self,
        topics: &Selection,
        after: u64,
        now: u64,
        most: usize,
        visit: &mut dyn FnMut(&Entry) -> bool,
    ) -> Option<u64> {
        let mut reached = after;
        let mut looked_at = 0;
        let mut show = |entry: &Entry| {
            looked_at += 1;
            let wanted = entry.is_live(now) && topics.contains(entry.topic, self.bounds.name(entry.topic));
            if looked_at > most || (wanted && !visit(entry)) {
                return false;
            }
            reached = entry.seq;
            true
        };
        // If few topics have a small part of the log, merge their queues. Otherwise walk the log and skip other topics, which
        // costs less for each entry than looking one up.
        let sparse = match topics {
            Selection::Few(few) if self.count(few, after) < self.at_most_after(after) / SPARSE => Some(few),
            _ => None,
        };
        let finished = if let Some(few) = sparse {
            merge(self.queues(few, after)).all(|seq| self.entry(seq).is_none_or(&mut show))
        } else {
            let newer = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
            let (mut log, mut pinned) = (self.log.range(newer).peekable(), self.pinned.range(newer).peekable());
            let in_order = std::iter::from_fn(|| match (log.peek(), pinned.peek()) {
                (Some((a, _)), Some((b, _))) if b < a => pinned.next(),
                (None, _) => pinned.next(),
                _ => log.next(),
            });
            in_order.map(|(_, entry)| entry).all(&mut show)
        };
        (!finished).then_some(reached)
    }

    /// Counts the events of some topics after a sequence number.
    fn count(&self, topics: &[TopicKey], after: u64) -> usize {
        let pasts = topics.iter().filter_map(|key| self.topics.get(*key).map(AsRef::as_ref));
        pasts.map(|topic| topic.seqs.len() - topic.seqs.partition_point(|seq| *seq <= after)).sum()
    }

    /// Returns an upper bound of the count of entries after a sequence number.
    fn at_most_after(&self, after: u64) -> usize {
        let last = self.log.last_key_value().map_or(0, |(last, _)| *last);
        self.log.len().min(last.saturating_sub(after) as usize)
    }

    /// Returns an iterator for each topic over its events after a sequence number, oldest first.
    fn queues<'a>(&'a self, topics: &'a [TopicKey], after: u64) -> Vec<impl Iterator<Item = u64> + 'a> {
        let pasts = topics.iter().filter_map(|key| self.topics.get(*key).map(AsRef::as_ref));
        let queue = |topic: &'a Topic| {
            let start = topic.seqs.partition_point(|seq| *seq <= after);
            // A retained event that the bounds have evicted is older than all others.
            let retained =
                topic.past.retained.filter(|seq| *seq > after && topic.seqs.front().is_none_or(|first| seq < first));
            retained.into_iter().chain(topic.seqs.range(start..).copied())
        };
        pasts.map(queue).collect()
    }
}
