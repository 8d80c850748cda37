//! When heartbeats are due.
//!
//! A subscriber's heartbeat is due in every second whose number, plus that of its id, is a multiple of its interval. This
//! spreads heartbeats over the interval, so that not all sockets are written to in the same instant. One list holds the
//! subscribers with the same interval and remainder: a call visits only those that are due, and a subscriber costs 8 bytes. One
//! call makes at most [`CALLS_MAX`] heartbeats due.

use std::collections::{BTreeMap, BTreeSet};

use super::{ids::ClientId, now::Now};
use crate::limits::CALLS_MAX;

/// The interval and the remainder of some subscribers.
pub(super) type Phase = (u8, u8);

/// The subscribers that get heartbeats, by when.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    /// By id.
    pub(super) phases: BTreeMap<Phase, Vec<ClientId>>,
    /// Up to this second all that was due is in the queue, or was called.
    second: u64,
    /// Due, and not called yet.
    queue: BTreeSet<Phase>,
    /// Called up to an id.
    begun: Option<(Phase, ClientId)>,
}

impl Heartbeats {
    pub(super) fn phase(id: ClientId, interval: u8) -> Phase {
        (interval, (id.0 % u64::from(interval)) as u8)
    }

    /// Adds a subscriber. Its id is the newest.
    pub(super) fn insert(&mut self, id: ClientId, interval: u8, now: Now) {
        if self.phases.is_empty() {
            // Nothing was called for since nobody was there.
            self.second = now.mono / 1000;
        }
        self.phases.entry(Heartbeats::phase(id, interval)).or_default().push(id);
    }

    /// Removes a subscriber, if it is there.
    pub(super) fn remove(&mut self, id: ClientId, interval: u8) {
        let phase = Heartbeats::phase(id, interval);
        let Some(ids) = self.phases.get_mut(&phase) else { return };
        if let Ok(index) = ids.binary_search(&id) {
            ids.remove(index);
        }
        if ids.is_empty() {
            self.phases.remove(&phase);
        }
    }

    /// The seconds from the last until the next in which a phase is due: 1 to its interval.
    fn wait(&self, (interval, remainder): Phase) -> u64 {
        let interval = u64::from(interval);
        interval - (self.second + u64::from(remainder)) % interval
    }

    /// When the next is due, in milliseconds.
    pub(super) fn next(&self) -> Option<u64> {
        if !self.queue.is_empty() || self.begun.is_some() {
            return Some(0);
        }
        self.phases.keys().map(|phase| self.wait(*phase)).min().map(|wait| (self.second + wait) * 1000)
    }

    /// The next that are due, some of them.
    pub(super) fn take(&mut self, now: Now) -> Vec<ClientId> {
        let passed = (now.mono / 1000).saturating_sub(self.second);
        if passed > 0 {
            let due: Vec<_> = self.phases.keys().copied().filter(|phase| self.wait(*phase) <= passed).collect();
            self.queue.extend(due);
            self.second += passed;
        }
        let mut taken = Vec::new();
        // Ids begin with 1.
        while let Some((phase, after)) = self.begun.take().or_else(|| Some((self.queue.pop_first()?, ClientId(0)))) {
            let ids = self.phases.get(&phase).map_or(&[][..], Vec::as_slice);
            let rest = &ids[ids.partition_point(|id| *id <= after)..];
            let some = rest.len().min(CALLS_MAX - taken.len());
            taken.extend_from_slice(&rest[..some]);
            if some < rest.len() {
                self.begun = Some((phase, taken.last().copied().unwrap_or(after)));
                break;
            }
        }
        taken
    }
}
