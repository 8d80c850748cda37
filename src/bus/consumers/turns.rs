//! The turns of the workers that wait.

use std::collections::BTreeMap;

use super::{
    delivery::WorkerId,
    ids::{ConsumerKey, Timer},
    registry::Registry,
    worker::Worker,
};
use crate::{limits::TURN, time::whole_millis};

/// The workers of one consumer that wait, in the order of their turns.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub(super) waiting: BTreeMap<u64, WorkerId>,
    last_ticket: u64,
    /// The worker whose turn it is, and when the turn ends.
    pub(super) current: Option<(WorkerId, u64)>,
}

impl Turns {
    /// Wakes the next worker that has a free slot, unless it is the turn of another one.
    pub(super) fn call(&mut self, key: ConsumerKey, registry: &mut Registry, now: u64) {
        if self.current.is_some() {
            return;
        }
        while let Some((_, id)) = self.waiting.pop_first() {
            let Some(worker) = registry.workers.get_mut(&id) else { continue };
            worker.ticket = None;
            if worker.free() == 0 {
                // It waits again when it has a free slot.
                continue;
            }
            if let Some(waker) = worker.waker.take() {
                registry.woken.push(waker);
                let end = now.saturating_add(whole_millis(TURN));
                self.current = Some((id, end));
                registry.timers.insert((end, key, Timer::Turn));
                return;
            }
        }
    }

    /// Returns true if a worker may take now. Its turn ends with that.
    pub(super) fn begin(&mut self, id: WorkerId, key: ConsumerKey, registry: &mut Registry, now: u64) -> bool {
        let may_take = self.current.is_none_or(|(current, end)| current == id || end <= now);
        if may_take {
            self.end(key, registry);
            self.leave(id, registry);
        }
        may_take
    }

    /// Ends the current turn.
    pub(super) fn end(&mut self, key: ConsumerKey, registry: &mut Registry) {
        if let Some((_, end)) = self.current.take() {
            registry.timers.remove(&(end, key, Timer::Turn));
        }
    }

    /// Adds a worker to those that wait, if it has a waker and a free slot.
    pub(super) fn wait(&mut self, id: WorkerId, registry: &mut Registry) {
        let can_take = |worker: &&mut Worker| worker.waker.is_some() && worker.free() > 0 && worker.ticket.is_none();
        if let Some(worker) = registry.workers.get_mut(&id).filter(can_take) {
            self.last_ticket += 1;
            worker.ticket = Some(self.last_ticket);
            self.waiting.insert(self.last_ticket, id);
        }
    }

    /// Removes a worker from those that wait.
    pub(super) fn leave(&mut self, id: WorkerId, registry: &mut Registry) {
        let ticket = registry.workers.get_mut(&id).and_then(|worker| worker.ticket.take());
        if let Some(ticket) = ticket {
            self.waiting.remove(&ticket);
        }
    }
}
