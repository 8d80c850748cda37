//! A disk for the history of a bus: what was written survives a restart.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use sse_bus::{
    Topic,
    bus::{
        Bus, Now,
        batch::{Batch, Gone, TopicRecord},
        fetch::Fetched,
        history::{Entry, UnattributedLosses},
    },
};

/// Events that are read at once.
const AHEAD: usize = 3;

/// The events and topics that were written.
#[derive(Default)]
pub struct StoredHistory {
    entries: BTreeMap<u64, Entry>,
    topics: BTreeMap<Topic, TopicRecord>,
    forgotten: UnattributedLosses,
    head: u64,
}

impl StoredHistory {
    /// Writes all changes of a bus.
    pub fn write(&mut self, bus: &mut Bus) {
        while let Some(batch) = bus.take_batch(400) {
            let upto = if batch.more { batch.entries.last().map_or(0, |entry| entry.seq) } else { batch.head };
            let more = batch.more;
            self.add(batch);
            drop(bus.written(upto));
            if !more {
                return;
            }
        }
    }

    fn add(&mut self, batch: Batch) {
        match batch.gone {
            Gone::Topics(topics) => topics.iter().for_each(|topic| drop(self.topics.remove(topic))),
            Gone::AllOthers => self.topics.clear(),
        }
        self.topics.extend(batch.topics.into_iter().map(|record| (record.topic.clone(), record)));
        self.entries.extend(batch.entries.into_iter().map(|entry| (entry.seq, entry)));
        batch.removed.iter().for_each(|seq| drop(self.entries.remove(seq)));
        (self.forgotten, self.head) = (batch.forgotten, batch.head);
    }

    /// The sequence number up to which everything is written.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Restores a new bus, as a starting daemon does: without the data of events that are not retained. `head` is the last
    /// sequence number that may have been used. Returns the events that the bus does not need any more, which are removed.
    pub fn restore(&mut self, bus: &mut Bus, head: u64, now: Now) -> Vec<u64> {
        let keys = bus.restore_topics(self.topics.values().cloned());
        let known: HashMap<&Topic, usize> = self.topics.keys().zip(keys).collect();
        let restored = |entry: &Entry| {
            let topic = &entry.event.as_ref().expect("written with its event").topic;
            let record = self.topics.get(topic).unwrap_or_else(|| panic!("expected a known topic for {entry:?}"));
            let event = entry.event.clone().filter(|_| record.past.retained == Some(entry.seq));
            Entry { topic: known[topic], event, ..entry.clone() }
        };
        let unneeded = bus.restore_events(self.entries.values().map(restored).collect());
        for seq in &unneeded {
            self.entries.remove(seq);
        }
        bus.restored(self.forgotten.clone(), head, now);
        unneeded
    }

    /// Reads a few events from a sequence number on. Fails if that event is not here.
    pub fn read(&self, seq: u64) -> Result<Fetched, String> {
        let written = self.entries.range(seq..).filter_map(|(_, entry)| entry.event.clone());
        let events: Vec<_> = written.take(AHEAD).map(Arc::unwrap_or_clone).collect();
        if events.first().is_none_or(|event| event.id.seq != seq) {
            return Err(format!("expected a request for a written event, saw {seq}"));
        }
        let upto = events.last().map_or(seq, |event| event.id.seq);
        Ok(Fetched { events, from: seq, upto, ..Fetched::default() })
    }
}
