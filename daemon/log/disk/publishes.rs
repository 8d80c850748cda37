//! Stores by what repeated publishes are recognized, and schedules.
//!
//! A publisher is stored under its name with its last number, the id of a publish under the number of its event, and a schedule
//! under its id, all as JSON. Files before schema 5 have none of these tables. They are written in the transaction of the events
//! that they belong to: an event that is on disk is never published again, and one whose schedule is on disk is not there itself.

use std::{borrow::Cow, collections::BTreeMap};

use redb::{ReadTransaction, ReadableTable as _, Table, TableDefinition, TableError, WriteTransaction};
use sse_bus::{
    bus::{
        batch::PublishChanges,
        dedup::{DedupChanges, DedupRecord, PublisherRecord},
        schedules::ScheduleRecord,
    },
    protocol::PublisherId,
};

const PUBLISHERS: TableDefinition<u64, &[u8]> = TableDefinition::new("publishers");
const DEDUP_IDS: TableDefinition<u64, &[u8]> = TableDefinition::new("dedup_ids");
const SCHEDULES: TableDefinition<&str, &[u8]> = TableDefinition::new("schedules");

/// Approximate bytes of a publisher, of an id and of a schedule in the write-ahead file, without its data.
const PUBLISHER_BYTES: usize = 150;
const ID_BYTES: usize = 250;
const SCHEDULE_BYTES: usize = 300;

/// Returns the approximate bytes of changes in the write-ahead file.
pub(super) fn bytes(changes: &PublishChanges) -> usize {
    let PublishChanges { dedup, schedules } = changes;
    let data =
        schedules.iter().filter_map(|(_, record)| record.as_ref()).map(|record| record.data.len()).sum::<usize>();
    dedup.publishers.len() * PUBLISHER_BYTES + dedup.ids.len() * ID_BYTES + schedules.len() * SCHEDULE_BYTES + data
}

/// The combined changes of several batches.
#[derive(Debug, Default)]
pub(super) struct PublishUpdates {
    /// None for one to remove.
    publishers: BTreeMap<PublisherId, Option<PublisherRecord>>,
    ids: BTreeMap<u64, DedupRecord>,
    /// The ids of events before this one are removed.
    ids_from: u64,
    /// None for one to remove.
    schedules: BTreeMap<Box<str>, Option<ScheduleRecord>>,
}

impl PublishUpdates {
    /// Adds the changes of a later batch.
    pub(super) fn add(&mut self, changes: PublishChanges) {
        let PublishChanges { dedup, schedules } = changes;
        let DedupChanges { publishers, forgotten, ids, ids_from } = dedup;
        self.publishers.extend(forgotten.into_iter().map(|id| (id, None)));
        self.publishers.extend(publishers.into_iter().map(|record| (record.publisher, Some(record))));
        self.ids_from = self.ids_from.max(ids_from);
        self.ids.extend(ids.into_iter().map(|record| (record.seq, record)));
        self.ids = self.ids.split_off(&self.ids_from);
        self.schedules.extend(schedules);
    }
}

/// The tables in a write transaction.
pub(super) struct PublishTables<'txn> {
    publishers: Table<'txn, u64, &'static [u8]>,
    ids: Table<'txn, u64, &'static [u8]>,
    schedules: Table<'txn, &'static str, &'static [u8]>,
}

impl<'txn> PublishTables<'txn> {
    /// Opens the tables, and creates them if necessary.
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<PublishTables<'txn>, TableError> {
        Ok(PublishTables {
            publishers: transaction.open_table(PUBLISHERS)?,
            ids: transaction.open_table(DEDUP_IDS)?,
            schedules: transaction.open_table(SCHEDULES)?,
        })
    }

    /// Applies changes.
    pub(super) fn put(&mut self, updates: &PublishUpdates) -> Result<(), redb::Error> {
        // Serializing numbers and texts cannot fail.
        for (id, record) in &updates.publishers {
            match record {
                Some(record) => drop(self.publishers.insert(id.0, &*serde_json::to_vec(record).unwrap_or_default())?),
                None => drop(self.publishers.remove(id.0)?),
            }
        }
        self.ids.retain_in(..updates.ids_from, |_, _| false)?;
        for (seq, record) in &updates.ids {
            self.ids.insert(seq, &*serde_json::to_vec(record).unwrap_or_default())?;
        }
        for (id, record) in &updates.schedules {
            match record {
                Some(record) => drop(self.schedules.insert(&**id, &*serde_json::to_vec(record).unwrap_or_default())?),
                None => drop(self.schedules.remove(&**id)?),
            }
        }
        Ok(())
    }

    /// Copies everything from another database.
    pub(super) fn copy(&mut self, from: &ReadTransaction) -> Result<(), redb::Error> {
        for (table, target) in [(PUBLISHERS, &mut self.publishers), (DEDUP_IDS, &mut self.ids)] {
            let Some(table) = existing(from.open_table(table))? else { continue };
            for row in table.iter()? {
                let (key, value) = row?;
                target.insert(key.value(), value.value())?;
            }
        }
        if let Some(table) = existing(from.open_table(SCHEDULES))? {
            for row in table.iter()? {
                let (id, record) = row?;
                self.schedules.insert(id.value(), record.value())?;
            }
        }
        Ok(())
    }
}

/// What was recovered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RecoveredPublishes {
    pub(super) publishers: Vec<PublisherRecord>,
    /// In the order of their events.
    pub(super) ids: Vec<DedupRecord>,
    pub(super) schedules: Vec<(Box<str>, ScheduleRecord)>,
}

impl RecoveredPublishes {
    /// Reads the tables of a database.
    pub(super) fn read(from: &ReadTransaction) -> Result<RecoveredPublishes, redb::Error> {
        let damaged = |e: serde_json::Error| redb::Error::Corrupted(e.to_string());
        let mut recovered = RecoveredPublishes::default();
        if let Some(table) = existing(from.open_table(PUBLISHERS))? {
            for row in table.iter()? {
                recovered.publishers.push(serde_json::from_slice(row?.1.value()).map_err(damaged)?);
            }
        }
        if let Some(table) = existing(from.open_table(DEDUP_IDS))? {
            for row in table.iter()? {
                recovered.ids.push(serde_json::from_slice(row?.1.value()).map_err(damaged)?);
            }
        }
        if let Some(table) = existing(from.open_table(SCHEDULES))? {
            for row in table.iter()? {
                let (id, record) = row?;
                let record = serde_json::from_slice(record.value()).map_err(damaged)?;
                recovered.schedules.push((id.value().into(), record));
            }
        }
        Ok(recovered)
    }
}

/// Returns a table, or None in files that have none yet.
fn existing<T>(table: Result<T, TableError>) -> Result<Option<T>, TableError> {
    match table {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        table => table.map(Some),
    }
}

/// Returns true if there is nothing to append to the write-ahead file.
#[expect(clippy::ptr_arg, reason = "serde calls it")]
pub(super) fn is_empty(changes: &Cow<'_, PublishChanges>) -> bool {
    changes.is_empty()
}
