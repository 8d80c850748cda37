//! When heartbeats are due.
//!
//! A subscriber's heartbeat is due in every second whose number, plus that of its id, is a multiple of its interval. This
//! spreads heartbeats over the interval, so that not all sockets are written to in the same instant. One list holds the
//! subscribers with the same interval and remainder: a call visits only those that are due, and a subscriber costs 8 bytes. One
//! call makes at most [`CALLS_MAX`] heartbeats due.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bus, ClientId, Now, cursor::Place};
use crate::limits::CALLS_MAX;

/// The interval and the remainder of some subscribers.
type Phase = (u8, u8);

/// The subscribers that get heartbeats, by when.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    /// By id.
    phases: BTreeMap<Phase, Vec<ClientId>>,
    /// Up to this second all that was due is in the queue, or was called.
    second: u64,
    /// Due, and not called yet.
    queue: BTreeSet<Phase>,
    /// Called up to an id.
    begun: Option<(Phase, ClientId)>,
}

impl Heartbeats {
    fn phase(id: ClientId, interval: u8) -> Phase {
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
    fn next(&self) -> Option<u64> {
        if !self.queue.is_empty() || self.begun.is_some() {
            return Some(0);
        }
        self.phases.keys().map(|phase| self.wait(*phase)).min().map(|wait| (self.second + wait) * 1000)
    }

    /// The next that are due, some of them.
    fn take(&mut self, now: Now) -> Vec<ClientId> {
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

impl Bus {
    /// Returns when to call [`tick`](Bus::tick) next, in milliseconds of [`Now::mono`]; at once if that time has passed. None if
    /// there is nothing to do until the next publish or subscribe.
    pub fn next_timeout(&self) -> Option<u64> {
        if self.is_behind() {
            return Some(0);
        }
        // Many events may expire one after the other: at most one call a second for them.
        let history = self.history.next_expiry().map(|due| due.max(self.ticked.saturating_add(1000)));
        self.heartbeats.next().into_iter().chain(history).min()
    }

    /// Makes heartbeats due and evicts old events, a bounded number in each call. To be called at the
    /// [next timeout](Bus::next_timeout). A late call makes up for the time since the last one.
    pub fn tick(&mut self, now: Now) {
        self.ticked = now.mono;
        self.history.expire(now.mono);
        for id in self.heartbeats.take(now) {
            self.heartbeat(id);
        }
    }

    /// Makes a subscriber's heartbeat due. Its reader sends it, unless this subscriber also needs its position.
    fn heartbeat(&mut self, id: ClientId) {
        let horizon = self.horizon();
        let Some(subscriber) = self.clients.subscriber_mut(id) else { return };
        let Some(feed) = self.feeds.get(subscriber.feed) else { return };
        if let (Place::Grouped(_), Some(reader)) = (&subscriber.cursor.place, subscriber.reader) {
            let delivered = feed.group(Some(reader)).map_or(0, |group| group.delivered);
            if !subscriber.needs_position(delivered, horizon) {
                return self.calls.heartbeat_of(id, reader);
            }
        }
        subscriber.is_heartbeat_due = true;
        self.call(id);
    }
}

#[cfg(debug_assertions)]
impl Bus {
    pub(super) fn self_check_heartbeats(&self) {
        let mut phases = BTreeMap::<Phase, Vec<ClientId>>::new();
        for id in self.client_ids() {
            let role = self.clients.get(id).map(|client| &client.role);
            let Some(super::clients::Role::Subscriber(subscriber)) = role else { continue };
            if self.feeds.get(subscriber.feed).is_some_and(|feed| feed.format.has_heartbeat()) {
                phases.entry(Heartbeats::phase(id, subscriber.heartbeat_interval)).or_default().push(id);
            }
        }
        assert_eq!(self.heartbeats.phases, phases, "subscribers by when their heartbeats are due");
    }
}
