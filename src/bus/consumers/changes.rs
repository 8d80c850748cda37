//! The changes of consumers since they were last written to disk.
//!
//! Nothing is queued: a change consists of the state that the consumer has when the changes are taken. Of an event that was
//! delivered and finished between two writes, nothing is written.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    consumer::{Consumer, Counts, Dead, DeadReason, State},
    keys::KeyHash,
    name::ConsumerName,
    settings::ConsumerSettings,
};

/// Changes to write. Remove what is removed first, and write all of it in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerChanges {
    /// Removed consumers, with all their events.
    pub removed: Vec<ConsumerName>,
    /// New and changed consumers.
    pub records: Vec<ConsumerRecord>,
    /// Unfinished events and dead letters; None for an event to remove.
    pub events: Vec<(ConsumerName, u64, Option<EventRecord>)>,
    /// True if more changes are waiting.
    pub more: bool,
}

/// A consumer, as written to disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Its name.
    pub name: ConsumerName,
    /// Its settings.
    pub settings: ConsumerSettings,
    /// All events up to this number are done, unless there is a record of them.
    pub position: u64,
    /// It delivers nothing.
    pub is_paused: bool,
    /// Its totals.
    pub counts: Counts,
    /// Missing events that were not reported yet: their number, the first, the last.
    pub missed: Option<(u64, u64, u64)>,
    /// When it was created, in milliseconds since 1970.
    pub created: u64,
}

/// An unfinished event or a dead letter of a consumer, as written to disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// Failed attempts.
    pub attempts: u32,
    /// The hash of its key.
    pub key: Option<u64>,
    /// The name of the worker of the last attempt.
    pub worker: Option<Arc<str>>,
    /// For a dead letter the reason, and since when, in milliseconds since 1970.
    pub dead: Option<(DeadReason, u64)>,
}

impl EventRecord {
    pub(super) fn into_dead(self) -> Result<Dead, (u32, Option<KeyHash>)> {
        match self.dead {
            Some((reason, since)) => {
                Ok(Dead { reason, attempts: self.attempts, worker: self.worker, key: self.key, since })
            }
            None => Err((self.attempts, self.key)),
        }
    }
}

/// What of a consumer is not written yet.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// History is on disk.
    pub(super) is_tracked: bool,
    /// The record is in the files.
    pub(super) is_written: bool,
    is_record_dirty: bool,
    dirty: BTreeSet<u64>,
    /// The events that have a record in the files. At most those that were unfinished or dead at the last writes.
    written: BTreeSet<u64>,
    /// The position in the files.
    pub(super) position: u64,
}

impl Changes {
    pub(super) fn new(is_tracked: bool) -> Changes {
        Changes { is_tracked, is_record_dirty: is_tracked, ..Changes::default() }
    }

    /// Restores that a record is in the files.
    pub(super) fn restored(&mut self, position: u64, events: BTreeSet<u64>) {
        (self.is_written, self.is_record_dirty, self.position, self.written) = (true, false, position, events);
    }

    /// Records that the consumer itself has changed.
    pub(super) fn note_record(&mut self) {
        self.is_record_dirty = self.is_tracked;
    }

    /// Records that an event is unfinished or dead, or has changed.
    pub(super) fn note(&mut self, seq: u64) {
        if self.is_tracked {
            self.dirty.insert(seq);
            self.is_record_dirty = true;
        }
    }

    /// Records that an event is neither unfinished nor dead any more.
    pub(super) fn note_gone(&mut self, seq: u64) {
        self.note(seq);
        if !self.written.contains(&seq) {
            self.dirty.remove(&seq);
        }
    }

    fn has_changed(&self, position: u64) -> bool {
        self.is_tracked && (self.is_record_dirty || position != self.position)
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
        let Changes { is_tracked, dirty, written, .. } = &self.changes;
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
