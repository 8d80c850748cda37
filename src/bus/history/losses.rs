//! The events that history has lost, in the order in which it lost them, so that a cursor accounts for them in steps.
//!
//! The newest [`LOSSES_MAX`] are recorded one by one. Of the earlier ones, only the highest sequence number is recorded: a
//! cursor that has not accounted for them reports a gap whose number of events is unknown. Nothing is stored for each pair of a
//! cursor and a topic.

use std::{collections::VecDeque, ops::Range};

use super::entry::TopicKey;
use crate::limits::LOSSES_MAX;

/// Stands for an unknown topic.
const NO_TOPIC: u32 = u32::MAX;

/// An event that history has lost: it was evicted before it expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostEvent {
    /// The sequence number of the event.
    pub seq: u64,
    /// Its topic; None if the topic was removed.
    pub topic: Option<TopicKey>,
}

/// The newest losses.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Sequence number, topic key, and the number of earlier topics with that key.
    newest: VecDeque<(u64, u32, u32)>,
    /// The index of the oldest recorded loss. Indexes count all losses, from 0.
    first: u64,
    /// The highest sequence number of all losses before; 0 if there are none.
    before: u64,
}

impl Losses {
    /// Appends a loss. `reuse` is the number of earlier topics with the same key.
    pub(super) fn push(&mut self, seq: u64, topic: TopicKey, reuse: u32) {
        if self.newest.len() >= LOSSES_MAX
            && let Some((seq, ..)) = self.newest.pop_front()
        {
            self.first += 1;
            self.before = self.before.max(seq);
        }
        // There are at most `Limits::topics` keys.
        self.newest.push_back((seq, topic as u32, reuse));
    }

    /// Appends a loss of an unknown topic.
    pub(super) fn push_unknown(&mut self, seq: u64) {
        self.push(seq, NO_TOPIC as TopicKey, 0);
    }

    /// Returns the indexes of the losses that are recorded one by one.
    pub(super) fn indexes(&self) -> Range<u64> {
        self.first..self.first + self.newest.len() as u64
    }

    /// Returns the loss with an index: sequence number, topic key, and the number of earlier topics with that key.
    pub(super) fn get(&self, index: u64) -> Option<(u64, TopicKey, u32)> {
        let offset = index.checked_sub(self.first)?;
        self.newest.get(offset as usize).map(|(seq, topic, reuse)| (*seq, *topic as TopicKey, *reuse))
    }

    /// Returns the highest sequence number of the losses that are not recorded one by one; 0 if there are none.
    pub(super) fn before(&self) -> u64 {
        self.before
    }

    /// Restores that events up to a sequence number were lost earlier.
    pub(super) fn restore(&mut self, last_loss: u64) {
        self.before = last_loss;
        // They count as one loss, which no cursor has accounted for.
        self.first += u64::from(last_loss > 0);
    }
}

#[cfg(debug_assertions)]
impl Losses {
    /// `last` is the last lost event; `reuse` returns the number of earlier topics with a key.
    pub(super) fn self_check(&self, last: u64, reuse: impl Fn(TopicKey) -> Option<u32>) {
        assert!(self.newest.len() <= LOSSES_MAX, "losses that are known one by one");
        assert_eq!(self.first > 0, self.before > 0, "losses that are not known one by one: {}", self.first);
        let newest = self.newest.iter().map(|(seq, ..)| *seq).max();
        assert_eq!(newest.unwrap_or(0).max(self.before), last, "the last loss");
        let is_known = |(_, key, had): &(u64, u32, u32)| {
            *key == NO_TOPIC || reuse(*key as TopicKey).is_some_and(|reuse| *had <= reuse)
        };
        assert!(self.newest.iter().all(is_known), "a loss of an unknown topic");
    }
}
