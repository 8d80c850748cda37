//! The schedule of heartbeats.
//!
//! A subscriber's heartbeat is due in every second whose number, plus that of the client's id, is a multiple of its interval.
//! So heartbeats are spread over the interval, and not all sockets are written to at once. Subscribers with the same interval
//! and remainder are in one list: the cost of a second is that of the heartbeats due in it, and a subscriber takes 8 bytes.
//! Due heartbeats are returned in steps of [`CALLS_MAX`].

use std::collections::{BTreeMap, BTreeSet};

use super::{ids::ClientId, now::Now};
use crate::limits::CALLS_MAX;

/// An interval in seconds, and the remainder of the id divided by it.
pub(super) type Phase = (u8, u8);

/// The subscribers that receive heartbeats, by phase.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    /// The subscribers of each phase, sorted by id.
    pub(super) phases: BTreeMap<Phase, Vec<ClientId>>,
    /// Everything due up to this second is in the queue, or was returned.
    second: u64,
    /// Phases that are due.
    queue: BTreeSet<Phase>,
    /// A phase that was returned in part, up to this id.
    begun: Option<(Phase, ClientId)>,
}

impl Heartbeats {
    /// Returns the phase of a subscriber.
    pub(super) fn phase(id: ClientId, interval: u8) -> Phase {
        (interval, (id.0 % u64::from(interval)) as u8)
    }

    /// Adds a subscriber. Its id must be higher than all others.
    pub(super) fn insert(&mut self, id: ClientId, interval: u8, now: Now) {
        if self.phases.is_empty() {
            // The seconds without subscribers need no work.
            self.second = now.mono / 1000;
        }
        self.phases.entry(Heartbeats::phase(id, interval)).or_default().push(id);
    }

    /// Removes a subscriber, if it is present.
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

    /// Returns the number of seconds after `self.second` until a phase is due: 1 to its interval.
    fn wait(&self, (interval, remainder): Phase) -> u64 {
        let interval = u64::from(interval);
        interval - (self.second + u64::from(remainder)) % interval
    }

    /// Returns when the next heartbeat is due, in milliseconds.
    pub(super) fn next(&self) -> Option<u64> {
        if !self.queue.is_empty() || self.begun.is_some() {
            return Some(0);
        }
        self.phases.keys().map(|phase| self.wait(*phase)).min().map(|wait| (self.second + wait) * 1000)
    }

    /// Returns the next subscribers whose heartbeats are due, at most [`CALLS_MAX`].
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
