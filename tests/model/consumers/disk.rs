//! A disk for consumers, events and topics: what was written survives a crash.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use sse_bus::{
    Topic,
    bus::{
        Bus, Now,
        batch::{Gone, TopicRecord},
        consumers::{ConsumerName, ConsumerRecord, EventRecord},
        fetch::Fetched,
        history::{Entry, UnattributedLosses},
    },
};

#[derive(Default)]
pub(super) struct Disk {
    entries: BTreeMap<u64, Entry>,
    topics: BTreeMap<Topic, TopicRecord>,
    forgotten: UnattributedLosses,
    head: u64,
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
        while let Some(batch) = bus.take_batch(400) {
            let upto = if batch.more { batch.entries.last().map_or(0, |entry| entry.seq) } else { batch.head };
            match batch.gone {
                Gone::Topics(topics) => topics.iter().for_each(|topic| drop(self.topics.remove(topic))),
                Gone::AllOthers => self.topics.clear(),
            }
            self.topics.extend(batch.topics.into_iter().map(|record| (record.topic.clone(), record)));
            self.entries.extend(batch.entries.into_iter().map(|entry| (entry.seq, entry)));
            batch.removed.iter().for_each(|seq| drop(self.entries.remove(seq)));
            (self.forgotten, self.head) = (batch.forgotten, batch.head);
            drop(bus.written(upto));
            if !batch.more {
                return;
            }
        }
    }

    /// Returns true if the state of a consumer refers to an event after a number.
    pub(super) fn knows_later(&self, name: &ConsumerName, seq: u64) -> bool {
        let has_position = self.consumers.get(name).is_some_and(|record| record.position > seq);
        has_position || self.events.range((name.clone(), seq + 1)..=(name.clone(), u64::MAX)).next().is_some()
    }

    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// Restores a new bus. `head` is the last number that was used.
    pub(super) fn restore(&mut self, bus: &mut Bus, head: u64, now: Now) {
        let events = self.events.iter().map(|((name, seq), record)| (name.clone(), *seq, record.clone()));
        bus.restore_consumers(self.consumers.values().cloned().collect(), events);
        let keys = bus.restore_topics(self.topics.values().cloned());
        let known: HashMap<&Topic, usize> = self.topics.keys().zip(keys).collect();
        let entry_of = |entry: &Entry| {
            let topic = &entry.event.as_ref().expect("written with its event").topic;
            let is_retained = self.topics[topic].past.retained == Some(entry.seq);
            let event = entry.event.clone().filter(|_| is_retained);
            Entry { topic: known[topic], event, ..entry.clone() }
        };
        let gone = bus.restore_events(self.entries.values().map(entry_of).collect());
        for seq in gone {
            self.entries.remove(&seq);
        }
        bus.restored(self.forgotten.clone(), head, now);
    }

    /// Reads a few events from a number.
    pub(super) fn read(&self, seq: u64) -> Result<Fetched, String> {
        let written = self.entries.range(seq..).filter_map(|(_, entry)| entry.event.clone());
        let events: Vec<_> = written.take(3).map(Arc::unwrap_or_clone).collect();
        if events.first().is_none_or(|event| event.id.seq != seq) {
            return Err(format!("expected a request for a written event, saw {seq}"));
        }
        let upto = events.last().map_or(seq, |event| event.id.seq);
        Ok(Fetched { events, from: seq, upto, ..Fetched::default() })
    }
}
