//! A disk for scenarios with durable history: events that the bus evicts from memory are read from here, and a restarted
//! bus begins with its content.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use sse_bus::{
    Topic,
    bus::{
        Bus, Now,
        batch::{Batch, Gone, TopicRecord},
        fetch::{Fetched, Wanted},
        history::{Entry, UnattributedLosses},
    },
};

use super::World;

/// Events that are read at once.
const AHEAD: usize = 3;

/// Reads that stay in memory. Earlier ones are dropped, also before a subscriber has read them.
const KEPT: usize = 2;

/// The events written, and the last reads of them.
#[derive(Default)]
pub(super) struct Disk {
    entries: BTreeMap<u64, Entry>,
    topics: BTreeMap<Topic, TopicRecord>,
    forgotten: UnattributedLosses,
    head: u64,
    kept: VecDeque<Arc<Fetched>>,
}

impl Disk {
    fn write(&mut self, batch: Batch) {
        match batch.gone {
            Gone::Topics(topics) => topics.iter().for_each(|topic| drop(self.topics.remove(topic))),
            Gone::AllOthers => self.topics.clear(),
        }
        self.topics.extend(batch.topics.into_iter().map(|record| (record.topic.clone(), record)));
        self.entries.extend(batch.entries.into_iter().map(|entry| (entry.seq, entry)));
        batch.removed.iter().for_each(|seq| drop(self.entries.remove(seq)));
        (self.forgotten, self.head) = (batch.forgotten, batch.head);
    }

    /// Restores a new bus from here, as a starting daemon does: without the data of events that are not retained.
    pub(super) fn restore(&self, bus: &mut Bus, now: Now) -> Result<(), String> {
        let keys = bus.restore_topics(self.topics.values().cloned());
        let known: HashMap<&Topic, usize> = self.topics.keys().zip(keys).collect();
        let mut entries = Vec::new();
        for entry in self.entries.values() {
            let topic = entry.event.as_ref().map(|event| event.topic.clone());
            let Some(record) = topic.as_ref().and_then(|topic| self.topics.get(topic)) else {
                return Err(format!("expected a known topic for {entry:?}"));
            };
            let event = entry.event.clone().filter(|_| record.past.retained == Some(entry.seq));
            entries.push(Entry { topic: known[&record.topic], event, ..entry.clone() });
        }
        let unwanted = bus.restore_events(entries);
        if !unwanted.is_empty() {
            return Err(format!("expected these to have been removed: {unwanted:?}"));
        }
        bus.restored(self.forgotten.clone(), self.head, now);
        Ok(())
    }
}

impl World {
    /// Writes the changes.
    pub(super) fn write(&mut self) {
        while let Some(batch) = self.bus.take_batch(400) {
            let upto = if batch.more { batch.entries.last().map_or(0, |entry| entry.seq) } else { batch.head };
            let more = batch.more;
            self.disk.write(batch);
            drop(self.bus.written(upto));
            if !more {
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
        for wanted in &wanted {
            let Wanted { client, seq, .. } = wanted;
            if self.answer_from_whole(wanted) {
                continue;
            }
            let written = self.disk.entries.range(seq..).filter_map(|(_, entry)| entry.event.clone());
            let events: Vec<_> = written.take(AHEAD).map(Arc::unwrap_or_clone).collect();
            if events.first().is_none_or(|event| event.id.seq != *seq) {
                return Err(format!("expected {client} to request a written event, saw {seq}"));
            }
            let upto = events.last().map_or(*seq, |event| event.id.seq);
            self.note(&format!("{client} waits for {seq} and is handed what is there up to {upto}"));
            let fetched = Arc::new(Fetched { events, from: *seq, upto, ..Fetched::default() });
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
