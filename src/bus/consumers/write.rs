//! Taking the changes of consumers, to be written to disk.

use super::{
    changes::{ConsumerChanges, ConsumerRecord, EventRecord},
    consumer::Consumer,
    event_state::{Dead, State},
    table::Consumers,
};
use crate::{bus::Bus, limits::CONSUMER_CHANGES};

impl Bus {
    /// Returns true if there are changes of consumers to write.
    pub fn have_consumers_changed(&self) -> bool {
        !self.consumers.removed.is_empty() || self.consumers.by_key.values().any(Consumer::has_changed)
    }

    /// Takes the changes of consumers since the last call, in a bounded step. Write them in the transaction of the next
    /// [batch](Bus::take_batch), or before it: a batch may remove events that consumers have finished. Without consumers there
    /// are no changes.
    pub fn take_consumer_changes(&mut self) -> ConsumerChanges {
        let Consumers { by_key, by_name, removed, .. } = &mut self.consumers;
        let mut changes =
            ConsumerChanges { removed: std::mem::take(removed).into_iter().collect(), ..Default::default() };
        for key in by_name.values() {
            let Some(consumer) = by_key.get_mut(key).filter(|consumer| consumer.has_changed()) else { continue };
            let left = CONSUMER_CHANGES.saturating_sub(changes.events.len() + changes.records.len());
            if left == 0 {
                changes.more = true;
                break;
            }
            consumer.take_changes(left, &mut changes);
        }
        changes
    }
}

impl Consumer {
    /// Returns true if there is something to write.
    pub(super) fn has_changed(&self) -> bool {
        self.changes.has_changed(self.position)
    }

    /// Takes at most `most` changes of events. If there are more, the position stays before the first of them.
    pub(super) fn take_changes(&mut self, most: usize, out: &mut ConsumerChanges) {
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
        out.more |= more;
        self.changes.position = position;
        self.changes.is_record_dirty = more;
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
    }

    /// Returns what a restart needs to know of an event. A delivery in flight does not count as an attempt.
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
        let super::changes::Changes { is_tracked, dirty, written, .. } = &self.changes;
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
