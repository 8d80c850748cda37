//! Changes of consumers that are not on disk yet. Each consumer records which of its events have changed; the writer of
//! history takes the changes in bounded steps.

use super::{
    changes::{ConsumerChanges, ConsumerRecord, EventRecord},
    consumer::Consumer,
    event_state::{Dead, State},
    registry::Registry,
    table::Consumers,
};
use crate::{bus::Bus, limits::CONSUMER_CHANGES};

impl Bus {
    /// Returns true if a consumer has changed, or was removed, since its last changes were taken.
    pub fn have_consumers_changed(&self) -> bool {
        !self.consumers.removed.is_empty() || !self.consumers.registry.changed.is_empty()
    }

    /// Takes the changes of consumers since the last call, about [`CONSUMER_CHANGES`] at most. Call it until
    /// [`ConsumerChanges::more`] is false, then take a [batch](Bus::take_batch), without other calls of the bus between, and
    /// write all of it in one transaction: the batch may remove events that consumers have finished, and a restart must not
    /// find such an event unfinished. Without consumers there are no changes.
    pub fn take_consumer_changes(&mut self) -> ConsumerChanges {
        let Consumers { by_key, registry, removed, .. } = &mut self.consumers;
        let (mut changes, mut left) = (ConsumerChanges::default(), CONSUMER_CHANGES);
        // Removals first: a consumer of the same name may have been created since, and its changes must follow.
        while left > 0
            && let Some(name) = removed.pop_first()
        {
            changes.removed.push(name);
            left -= 1;
        }
        while left > 0
            && let Some(key) = registry.changed.pop_first()
        {
            let Some(consumer) = by_key.get_mut(&key) else { continue };
            left = left.saturating_sub(consumer.take_changes(left, &mut changes));
            if consumer.changes.is_dirty {
                registry.changed.insert(key);
            }
        }
        changes.more = !removed.is_empty() || !registry.changed.is_empty();
        changes
    }
}

impl Consumer {
    /// Records that the consumer itself has changed, such as its settings, its counts or its position.
    pub(super) fn note_record(&mut self, registry: &mut Registry) {
        if self.changes.is_tracked {
            self.changes.is_dirty = true;
            registry.changed.insert(self.key);
        }
    }

    /// Records that an event has become unfinished or dead (a dead letter), or that its state has changed.
    pub(super) fn note(&mut self, seq: u64, registry: &mut Registry) {
        if self.changes.is_tracked {
            self.changes.dirty.insert(seq);
            self.note_record(registry);
        }
    }

    /// Records that an event is neither unfinished nor dead any more. If it was never written, there is nothing to remove.
    pub(super) fn note_gone(&mut self, seq: u64, registry: &mut Registry) {
        self.note(seq, registry);
        if !self.changes.written.contains(&seq) {
            self.changes.dirty.remove(&seq);
        }
    }

    /// Records that the state of an event was cleared, unless it has become unfinished or dead again since.
    pub(super) fn note_cleared(&mut self, seq: u64, registry: &mut Registry) {
        if !self.unfinished.contains_key(&seq) && !self.dead.contains_key(&seq) {
            self.note_gone(seq, registry);
        }
    }

    /// Takes the record of the consumer, and at most `most` changes of its events. If there are more, the position in the
    /// record stays before the first event that was not taken, so that a restart offers it again. Returns the number of
    /// changes.
    fn take_changes(&mut self, most: usize, out: &mut ConsumerChanges) -> usize {
        let mut position = self.position;
        let mut left = most;
        let more = loop {
            let Some(seq) = self.changes.dirty.first().copied() else { break false };
            if left == 0 {
                position = position.min(self.changes.position.max(seq - 1));
                break true;
            }
            self.changes.dirty.pop_first();
            left -= 1;
            let record = self.record_of(seq);
            let was_written =
                if record.is_some() { !self.changes.written.insert(seq) } else { self.changes.written.remove(&seq) };
            if record.is_some() || was_written {
                out.events.push((self.name.clone(), seq, record));
            }
        };
        self.changes.position = position;
        self.changes.is_dirty = more;
        self.changes.is_written = true;
        out.records.push(ConsumerRecord {
            name: self.name.clone(),
            settings: self.settings.clone(),
            position,
            is_paused: self.is_paused,
            counts: self.counts,
            missed: self.missed,
            created: self.created,
        });
        most - left + 1
    }

    /// Returns what a restart needs of an unfinished or dead event, or None for any other. A delivery in flight does not count
    /// as an attempt.
    fn record_of(&self, seq: u64) -> Option<EventRecord> {
        if let Some(Dead { reason, attempts, worker, key, since }) = self.dead.get(&seq) {
            let dead = Some((reason.clone(), *since));
            return Some(EventRecord { attempts: *attempts, key: *key, worker: worker.clone(), dead });
        }
        let unfinished = self.unfinished.get(&seq)?;
        let is_in_flight = matches!(unfinished.state, State::InFlight { .. });
        let attempts = unfinished.attempts - u32::from(is_in_flight);
        Some(EventRecord { attempts, key: unfinished.key, worker: unfinished.last_worker.clone(), dead: None })
    }
}

#[cfg(debug_assertions)]
impl Consumer {
    pub(super) fn self_check_changes(&self) {
        let super::changes::Changes { is_tracked, is_dirty, dirty, written, position, .. } = &self.changes;
        let has_changed = !dirty.is_empty() || self.position != *position;
        assert!(*is_dirty || !*is_tracked || !has_changed, "{}: its changes are not to be written", self.name);
        for seq in self.unfinished.keys().chain(self.dead.keys()).filter(|_| *is_tracked) {
            assert!(dirty.contains(seq) || written.contains(seq), "{}: {seq} is not to be written", self.name);
        }
        for seq in written {
            let is_known = self.unfinished.contains_key(seq) || self.dead.contains_key(seq);
            assert!(is_known || dirty.contains(seq), "{}: the record of {seq} is not to be removed", self.name);
        }
        for seq in dirty {
            let is_known = self.unfinished.contains_key(seq) || self.dead.contains_key(seq);
            assert!(is_known || written.contains(seq), "{}: a needless change of {seq}", self.name);
        }
    }
}
