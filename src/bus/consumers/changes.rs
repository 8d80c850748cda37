//! The changes of consumers since they were last written to disk.
//!
//! Nothing is queued: a change consists of the state that the consumer has when the changes are taken. Of an event that was
//! delivered and finished between two writes, nothing is written.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    event_state::{Counts, Dead, DeadReason},
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
    /// All events up to this sequence number are done, unless there is a record of them.
    pub position: u64,
    /// It delivers nothing.
    pub is_paused: bool,
    /// Its totals.
    pub counts: Counts,
    /// Missing events that were not reported yet: how many, and the first and last sequence number.
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
    pub(super) is_dirty: bool,
    /// The changed events.
    pub(super) dirty: BTreeSet<u64>,
    /// The events that have a record in the files. At most those that were unfinished or dead at the last writes.
    pub(super) written: BTreeSet<u64>,
    /// The position in the files.
    pub(super) position: u64,
}

impl Changes {
    pub(super) fn new(is_tracked: bool) -> Changes {
        Changes { is_tracked, ..Changes::default() }
    }

    /// Restores that a record is in the files.
    pub(super) fn restored(&mut self, position: u64, events: BTreeSet<u64>) {
        (self.is_written, self.position, self.written) = (true, position, events);
    }
}
