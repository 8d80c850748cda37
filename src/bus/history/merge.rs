//! Searching and merging rising sequences.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use super::entry::Entry;

/// Returns the sequence number of the last entry that arrived before a time; 0 if there is none.
pub(super) fn last_before(entries: &BTreeMap<u64, Entry>, time: u64) -> u64 {
    // Times rise with the sequence numbers, so a binary search finds the first event that is late enough.
    let (mut early, mut late) = (0, entries.last_key_value().map_or(1, |(last, _)| last + 1));
    while late - early > 1 {
        let middle = early + (late - early) / 2;
        match entries.range(middle..).next() {
            Some((seq, entry)) if entry.arrived_at < time => early = *seq,
            _ => late = middle,
        }
    }
    early
}

/// Merges sorted sequences.
pub(super) fn merge<I: Iterator<Item = u64>>(mut queues: Vec<I>) -> impl Iterator<Item = u64> {
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
