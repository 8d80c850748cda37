//! Restoring consumers from disk.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    changes::{Changes, ConsumerRecord, EventRecord},
    consumer::Consumer,
    name::ConsumerName,
    table::Consumers,
};
use crate::bus::{Bus, Now};

impl Bus {
    /// Restores consumers, with their events, before [`Bus::restore_topics`]. Deliveries that were in flight are ready, and
    /// do not count as attempts; back-off does not continue.
    pub fn restore_consumers(
        &mut self,
        records: Vec<ConsumerRecord>,
        events: impl IntoIterator<Item = (ConsumerName, u64, EventRecord)>,
    ) {
        let mut of_consumer = BTreeMap::<ConsumerName, Vec<(u64, EventRecord)>>::new();
        for (name, seq, event) in events {
            of_consumer.entry(name).or_default().push((seq, event));
        }
        for record in records {
            let mut events = of_consumer.remove(&record.name).unwrap_or_default();
            events.sort_unstable_by_key(|(seq, _)| *seq);
            let written: BTreeSet<u64> = events.iter().map(|(seq, _)| *seq).collect();
            let ConsumerRecord { name, settings, position, is_paused, counts, missed, created } = record;
            let mut changes = Changes::new(true);
            changes.restored(position, written);
            let key = self.consumers.insert(name.clone(), |key| Consumer {
                is_paused,
                missed,
                counts,
                created,
                ..Consumer::new(key, name, settings, position, changes)
            });
            let registry = &mut self.consumers.registry;
            let Some(consumer) = self.consumers.by_key.get_mut(&key) else { continue };
            for (seq, event) in events {
                // The record of an event after the position is of a write that a crash has cut: the event is delivered anew.
                if seq > position {
                    consumer.note_gone(seq, registry);
                    continue;
                }
                let (attempts, event_key) = match event.into_dead() {
                    Ok(dead) => {
                        consumer.dead.insert(seq, dead);
                        registry.dead += 1;
                        continue;
                    }
                    Err(unfinished) => unfinished,
                };
                consumer.add(seq, attempts, event_key, registry);
            }
        }
        self.history.keep_evicted(!self.consumers.is_empty());
    }

    /// Notes that at least this number of events of history could not be read. It is not known which: every consumer that is not at the
    /// end of the log may have missed them. Call it after [`Bus::restored`].
    pub fn note_unreadable(&mut self, events: u64, now: Now) {
        let Consumers { by_key, registry, .. } = &mut self.consumers;
        for consumer in by_key.values_mut().filter(|consumer| consumer.position < self.head) {
            consumer.miss_some(events, consumer.position + 1, self.head, registry);
        }
        self.finish_consumers(now);
    }

    /// Finishes restoring consumers, after history was restored.
    pub(crate) fn restored_consumers(&mut self, now: Now) {
        self.consumers.registry.begin_run(now.unix);
        for consumer in self.consumers.by_key.values_mut() {
            // A crash may have cut the log before the position.
            let cut: Vec<u64> = consumer.unfinished.range(self.head + 1..).map(|(seq, _)| *seq).collect();
            for seq in cut {
                consumer.finish(seq, &mut self.consumers.registry);
            }
            for seq in consumer.dead.split_off(&(self.head + 1)).into_keys() {
                self.consumers.registry.dead -= 1;
                consumer.note_gone(seq, &mut self.consumers.registry);
            }
            if consumer.position > self.head {
                consumer.position = self.head;
                consumer.note_record(&mut self.consumers.registry);
            }
            consumer.last_matched = self.head;
            consumer.watch(&mut self.consumers.registry, now.mono);
        }
        self.finish_consumers(now);
    }
}
