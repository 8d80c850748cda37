//! A disk for consumers, events and topics: what was written survives a crash.

use std::collections::BTreeMap;

use sse_bus::bus::{
    Bus, Now,
    consumers::{ConsumerName, ConsumerRecord, EventRecord},
    fetch::Fetched,
};
use sse_bus_support::model::stored_history::StoredHistory;

#[derive(Default)]
pub(super) struct Disk {
    history: StoredHistory,
    consumers: BTreeMap<ConsumerName, ConsumerRecord>,
    events: BTreeMap<(ConsumerName, u64), EventRecord>,
}

impl Disk {
    /// Writes the changes of consumers, in at most `most` steps. Returns true if all were written.
    pub(super) fn write_consumers(&mut self, bus: &mut Bus, most: usize) -> bool {
        for _ in 0..most {
            let changes = bus.take_consumer_changes();
            for name in &changes.removed {
                self.consumers.remove(name);
                self.events.retain(|(of, _), _| of != name);
            }
            self.consumers.extend(changes.records.into_iter().map(|record| (record.name.clone(), record)));
            for (name, seq, record) in changes.events {
                match record {
                    Some(record) => drop(self.events.insert((name, seq), record)),
                    None => drop(self.events.remove(&(name, seq))),
                }
            }
            if !changes.more {
                return true;
            }
        }
        false
    }

    /// Writes all changes of history.
    pub(super) fn write_history(&mut self, bus: &mut Bus) {
        self.history.write(bus);
    }

    /// Returns true if the state of a consumer refers to an event after a sequence number.
    pub(super) fn knows_later(&self, name: &ConsumerName, seq: u64) -> bool {
        let has_position = self.consumers.get(name).is_some_and(|record| record.position > seq);
        has_position || self.events.range((name.clone(), seq + 1)..=(name.clone(), u64::MAX)).next().is_some()
    }

    pub(super) fn head(&self) -> u64 {
        self.history.head()
    }

    /// Restores a new bus. `head` is the last sequence number that was used.
    pub(super) fn restore(&mut self, bus: &mut Bus, head: u64, now: Now) {
        let events = self.events.iter().map(|((name, seq), record)| (name.clone(), *seq, record.clone()));
        bus.restore_consumers(self.consumers.values().cloned().collect(), events);
        self.history.restore(bus, head, now);
    }

    /// Reads a few events from a sequence number on.
    pub(super) fn read(&self, seq: u64) -> Result<Fetched, String> {
        self.history.read(seq)
    }
}
