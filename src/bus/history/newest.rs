//! Finds the newest event of a topic that has not expired, without examining the expired ones.

use std::collections::VecDeque;

/// The events of a topic that may become its newest.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// The newest event that does not expire; 0 if there is none.
    lasting: u64,
    /// Later events, each with its time of expiry. These times fall: an event that expires before a later one is never the
    /// newest.
    ending: VecDeque<(u64, u64)>,
}

impl Newest {
    /// Adds an event that is newer than all others.
    pub(super) fn push(&mut self, seq: u64, end: Option<u64>) {
        let Some(end) = end else {
            self.ending.clear();
            self.lasting = seq;
            return;
        };
        while self.ending.pop_back_if(|(_, earlier)| *earlier <= end).is_some() {}
        self.ending.push_back((seq, end));
    }

    /// Removes the topic's oldest event.
    pub(super) fn remove_oldest(&mut self, seq: u64) {
        if self.lasting == seq {
            self.lasting = 0;
        }
        self.ending.pop_front_if(|(oldest, _)| *oldest == seq);
    }

    /// Removes an event that has expired. All that expire earlier must have been removed.
    pub(super) fn remove_expired(&mut self, seq: u64) {
        self.ending.pop_back_if(|(last, _)| *last == seq);
    }

    /// Returns the newest event that has not expired.
    pub(super) fn at(&self, now: u64) -> Option<u64> {
        let live = self.ending.partition_point(|(_, end)| *end > now);
        let ending = live.checked_sub(1).map(|last| self.ending[last].0);
        ending.or_else(|| (self.lasting > 0).then_some(self.lasting))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn the_newest_event_is_the_one_that_a_scan_finds(
            events in vec(proptest::option::of(0_u64..20), 0..30),
            evictions in vec(any::<bool>(), 30),
            now in 0_u64..20,
        ) {
            let (mut newest, mut all) = (Newest::default(), VecDeque::new());
            for (end, evicts) in events.into_iter().zip(evictions) {
                let seq = all.back().map_or(1, |(last, _)| last + 1);
                newest.push(seq, end);
                all.push_back((seq, end));
                if evicts && all.len() > 1 {
                    newest.remove_oldest(all.pop_front().expect("there is one").0);
                }
                let live = all.iter().rev().find(|(_, end)| end.is_none_or(|end| end > now));
                prop_assert_eq!(newest.at(now), live.map(|(seq, _)| *seq));
            }
        }
    }
}
