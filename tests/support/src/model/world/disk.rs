//! A disk for scenarios with durable history: events that the bus evicts from memory are read from here.

use std::{collections::BTreeMap, sync::Arc};

use sse_bus::{
    Event,
    bus::fetch::{Fetched, Wanted},
};

use super::World;

/// Events that are read at once.
const AHEAD: usize = 3;

/// The events written.
#[derive(Default)]
pub(super) struct Disk(BTreeMap<u64, Arc<Event>>);

impl World {
    /// Writes the changes.
    pub(super) fn write(&mut self) {
        while let Some(batch) = self.bus.take_batch(400) {
            let upto = if batch.more { batch.entries.last().map_or(0, |entry| entry.seq) } else { batch.head };
            let events = batch.entries.into_iter().filter_map(|entry| Some((entry.seq, entry.event?)));
            self.disk.0.extend(events);
            drop(self.bus.written(upto));
            if !batch.more {
                return;
            }
        }
    }

    /// Supplies the events that a subscriber waits for, which must wake it. Returns true if it waits for any.
    pub(super) fn hand_over(&mut self, who: usize) -> Result<bool, String> {
        let wanted = self.bus.take_wanted();
        if wanted.is_empty() {
            return Ok(false);
        }
        for Wanted { client, seq, .. } in &wanted {
            let events: Vec<_> = self.disk.0.range(seq..).take(AHEAD).map(|(_, event)| (**event).clone()).collect();
            if events.first().is_none_or(|event| event.id.seq != *seq) {
                return Err(format!("expected {client} to request a written event, saw {seq}"));
            }
            let upto = events.last().map_or(*seq, |event| event.id.seq);
            self.note(&format!("{client} waits for {seq} and is handed what is there up to {upto}"));
            self.bus.hand_over(*client, Fetched { events, from: *seq, upto }.into());
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
