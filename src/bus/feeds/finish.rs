//! What follows a batch: sealing feeds, waking those who wait for them, and keeping their bytes within their bound.

use super::Feeds;
use crate::{
    bus::wakeups::Wakeups,
    limits::{FEEDS_AT_ONCE, Limits},
};

impl Feeds {
    /// Reduces the bytes of all feeds towards their bound, in a bounded step: examines the next feeds, and drops segments of
    /// those that hold more than the average, beginning with the largest. [`Feeds::append`] bounds the rest.
    fn relieve(&mut self, most: usize) {
        /// Feeds that a step examines, and segments that it drops.
        const AT_ONCE: usize = 2048;
        if self.bytes <= most {
            return;
        }
        // Drop more than necessary, so that not every batch has to do this.
        let target = most - most / 8;
        let average = self.bytes / self.by_filters.len().max(1);
        let begin = if self.hand < self.open.len() { self.hand } else { 0 };
        self.hand = self.open.len().min(begin + AT_ONCE);
        let feeds = self.open[begin..self.hand].iter_mut().flatten();
        let mut largest: Vec<_> = feeds.filter(|feed| feed.bytes > 0 && feed.bytes >= average).collect();
        largest.sort_unstable_by_key(|feed| std::cmp::Reverse(feed.bytes));
        let mut dropped = 0;
        for feed in largest {
            while self.bytes > target && feed.bytes > 0 && dropped < AT_ONCE {
                feed.drop_oldest(&mut self.bytes);
                dropped += 1;
            }
        }
    }

    /// Seals feeds and wakes the clients that wait for their events, or else continues a broadcast, in a bounded step. Returns
    /// true if there is more to do.
    pub(in crate::bus) fn finish_some(&mut self, limits: &Limits, wakeups: &mut Wakeups) -> bool {
        if !self.dirty.is_empty() {
            self.seal_some(limits, wakeups);
        } else if !self.broadcasts.is_empty() {
            self.broadcast_some(limits);
        }
        self.relieve(limits.feeds_buffer);
        !self.dirty.is_empty() || !self.broadcasts.is_empty()
    }

    /// Seals feeds with open events, and wakes the clients that wait for them, in a bounded step.
    fn seal_some(&mut self, limits: &Limits, wakeups: &mut Wakeups) {
        let mut left = FEEDS_AT_ONCE;
        while left > 0
            && let Some(key) = self.dirty.last().copied()
        {
            left = left.saturating_sub(1 + self.seal(key, limits));
            if let Some(feed) = self.get_mut(key) {
                wakeups.shared_cursors_of(key, &mut feed.shared_cursors);
                let before = wakeups.woken.len();
                feed.parked.remove_some(left, |waker| wakeups.woken.push(waker));
                left -= wakeups.woken.len() - before;
                if !feed.parked.is_empty() {
                    break;
                }
            }
            self.dirty.pop();
        }
    }
}
