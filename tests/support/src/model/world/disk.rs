//! A disk for scenarios with durable history: events that the bus evicts from memory are read from here, and a restarted
//! bus begins with its content.

use std::{collections::VecDeque, sync::Arc};

use sse_bus::bus::{
    Bus, Now,
    fetch::{Fetched, Wanted},
};

use super::World;
use crate::model::stored_history::StoredHistory;

/// Reads that stay in memory. Earlier ones are dropped, also before a subscriber has read them.
const KEPT: usize = 2;

/// The events written, and the last reads of them.
#[derive(Default)]
pub(super) struct Disk {
    stored: StoredHistory,
    kept: VecDeque<Arc<Fetched>>,
}

impl Disk {
    /// Restores a new bus from here.
    pub(super) fn restore(&mut self, bus: &mut Bus, now: Now) -> Result<(), String> {
        let unneeded = self.stored.restore(bus, self.stored.head(), now);
        if unneeded.is_empty() { Ok(()) } else { Err(format!("expected these to have been removed: {unneeded:?}")) }
    }
}

impl World {
    /// Writes the changes.
    pub(super) fn write(&mut self) {
        self.disk.stored.write(&mut self.bus);
    }

    /// Supplies the events that a subscriber waits for, which must wake it. Returns true if it waits for any.
    pub(super) fn hand_over(&mut self, who: usize) -> Result<bool, String> {
        let wanted = self.bus.take_wanted();
        if wanted.is_empty() {
            return Ok(false);
        }
        for wanted in &wanted {
            let Wanted { client, seq, .. } = wanted;
            if self.answer_from_whole(wanted) {
                continue;
            }
            let fetched = self.disk.stored.read(*seq).map_err(|wrong| format!("{client}: {wrong}"))?;
            self.note(&format!("{client} waits for {seq} and is handed what is there up to {}", fetched.upto));
            let fetched = Arc::new(fetched);
            self.bus.hand_over(*client, Arc::downgrade(&fetched));
            self.disk.kept.push_front(fetched);
            self.disk.kept.truncate(KEPT);
        }
        let subscriber = &self.subscribers[who];
        let (id, before) = (subscriber.id, subscriber.wake_count());
        self.wake();
        if self.subscribers[who].wake_count() == before {
            return Err(format!("expected {id} to be woken for its events"));
        }
        Ok(true)
    }
}
