//! The events that history has lost, in the order in which it lost them, so that a cursor accounts for them in steps.
//!
//! The newest [`LOSSES_MAX`] are known one by one. Of those before, only the last id is known: a cursor that has not seen
//! them reports a gap whose number of events is unknown. Nothing is noted for each cursor and topic.

use std::{collections::VecDeque, ops::Range};

use super::entry::TopicKey;
use crate::limits::LOSSES_MAX;

/// The key of no topic.
const NO_TOPIC: u32 = u32::MAX;

/// An event that history has lost: one whose TTL was not over when it was evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostEvent {
    /// The number of the event.
    pub seq: u64,
    /// Its topic; none if the topic has been forgotten since.
    pub topic: Option<TopicKey>,
}

/// The newest losses.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Each with its topic, and how many topics had had that key before.
    newest: VecDeque<(u64, u32, u32)>,
    /// The number of the oldest of them; losses are numbered from 0.
    first: u64,
    /// The last event among all losses before. It is 0 if there are none.
    before: u64,
}

impl Losses {
    /// Appends a loss. `reuse` is how many topics have had the topic's key before.
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

    /// Appends the loss of an event whose topic has no key.
    pub(super) fn push_unknown(&mut self, seq: u64) {
        self.push(seq, NO_TOPIC as TopicKey, 0);
    }

    /// The numbers of the losses that are known one by one.
    pub(super) fn numbers(&self) -> Range<u64> {
        self.first..self.first + self.newest.len() as u64
    }

    /// A loss, with how many topics had had its topic's key before.
    pub(super) fn get(&self, number: u64) -> Option<(u64, TopicKey, u32)> {
        let index = number.checked_sub(self.first)?;
        self.newest.get(index as usize).map(|(seq, topic, reuse)| (*seq, *topic as TopicKey, *reuse))
    }

    /// The last event among all losses that are not known one by one. It is 0 if there are none.
    pub(super) fn before(&self) -> u64 {
        self.before
    }

    /// Takes up, at a start, that events up to one were lost earlier.
    pub(super) fn restore(&mut self, last_loss: u64) {
        self.before = last_loss;
        // As one loss, which no cursor has accounted for.
        self.first += u64::from(last_loss > 0);
    }
}

#[cfg(debug_assertions)]
impl Losses {
    /// `last` is the last event that was lost; `reuse` returns how many topics have had a key before.
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
