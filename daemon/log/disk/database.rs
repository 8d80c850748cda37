//! The database that holds history: its tables, how it is opened, and its errors.
//!
//! Events are stored in [blocks](super::encoding) under the sequence number of their first event, each block in one or
//! more [rows](super::rows). Evicted events stay in their blocks until they make up a third of all bytes; then each
//! block that has lost a third of its events is rewritten without them. Empty blocks are removed. Topics are stored
//! under their names, [consumers](super::consumers) under theirs, and the state of the bus under [`STATE`].

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use redb::{Builder, CompactionError, Database, StorageBackend, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use sse_bus::bus::{
    batch::{Gone, TopicRecord},
    history::{TopicPast, UnattributedLosses},
};

use super::{
    consumers::ConsumerTables,
    error::{Damage, StoreError},
    publishes::PublishTables,
    rows::Blocks,
    storage::{Storage, SyncMonitor},
};
use crate::clock::Relation;

pub(super) const TOPICS: TableDefinition<&str, &[u8]> = TableDefinition::new("topics");
pub(super) const STATE: TableDefinition<&str, &[u8]> = TableDefinition::new("state");
/// The only key of [`STATE`].
pub(super) const BUS: &str = "bus";

/// Version of the file format. Files of newer versions are refused, files of older versions are used as they are:
/// before version 2 there was no [write-ahead file](super::wal), before 3 events had no headers, before 4 each block
/// was one row, before 5 there were no consumers.
pub(super) const SCHEMA: u32 = 5;
/// Memory for cached pages. It is small because recent events are in the bus's memory.
const CACHE: usize = 8 << 20;

/// The state of the bus.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) schema: u32,
    pub(super) epoch: String,
    /// All events up to this sequence number are stored.
    pub(super) head: u64,
    /// Sequence numbers up to this one may have been used since.
    pub(super) reserved: u64,
    /// The daemon shut down cleanly after this write.
    pub(super) ended: bool,
    /// The bus's clock, in milliseconds.
    pub(super) clock: u64,
    /// The relation between that clock and the machine's clocks.
    #[serde(default)]
    pub(super) clocks: Relation,
    pub(super) forgotten: UnattributedLosses,
    /// The number of the last batch in the database. The [write-ahead file](super::wal) may hold later ones.
    #[serde(default)]
    pub(super) last_batch: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct TopicState {
    pub(super) published: u64,
    pub(super) last: Option<(u64, u64)>,
    pub(super) past: TopicPast,
}

impl TopicState {
    pub(super) fn of(record: &TopicRecord) -> TopicState {
        let TopicRecord { published, last, past, .. } = record;
        TopicState { published: *published, last: *last, past: *past }
    }
}

/// The open database, shared by the writer and the reader. Empty after a failure, until it is reopened.
#[derive(Clone)]
pub(super) struct SharedDatabase(Arc<Mutex<Option<Arc<Database>>>>);

impl SharedDatabase {
    pub(super) fn new(database: Database) -> SharedDatabase {
        SharedDatabase(Arc::new(Mutex::new(Some(database.into()))))
    }

    pub(super) fn get(&self) -> Option<Arc<Database>> {
        self.0.lock().clone()
    }

    pub(super) fn set(&self, database: Option<Arc<Database>>) {
        *self.0.lock() = database;
    }

    /// Takes the database out, after the reader has finished its current read.
    pub(super) fn take(&self) -> Option<Database> {
        /// Approximate duration of a read.
        const READ: Duration = Duration::from_millis(1);
        let mut taken = self.0.lock().take()?;
        loop {
            match Arc::try_unwrap(taken) {
                Ok(database) => return Some(database),
                Err(in_use) => taken = in_use,
            }
            thread::sleep(READ);
        }
    }
}

/// The table of topics.
pub(super) type Topics<'a> = Table<'a, &'static str, &'static [u8]>;

/// The tables in a write transaction, except that of the state.
pub(super) struct Tables<'a> {
    pub(super) blocks: Blocks<'a>,
    pub(super) topics: Topics<'a>,
    pub(super) consumers: ConsumerTables<'a>,
    pub(super) publishes: PublishTables<'a>,
}

impl<'a> Tables<'a> {
    /// Opens the tables, and creates them if necessary.
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Tables<'a>, redb::TableError> {
        Ok(Tables {
            blocks: Blocks::open(transaction)?,
            topics: transaction.open_table(TOPICS)?,
            consumers: ConsumerTables::open(transaction)?,
            publishes: PublishTables::open(transaction)?,
        })
    }
}

/// Commits one transaction: the changes that `fill` makes, and the state. They are on disk when this succeeds.
pub(super) fn commit(
    database: &Database,
    state: &State,
    fill: impl FnOnce(&mut Tables<'_>) -> Result<(), redb::Error>,
) -> Result<(), StoreError> {
    let state = serde_json::to_vec(state).map_err(StoreError::State)?;
    guarded(|| {
        let transaction = database.begin_write()?;
        fill(&mut Tables::open(&transaction)?)?;
        transaction.open_table(STATE)?.insert(BUS, &*state)?;
        transaction.commit()?;
        Ok(())
    })
}

/// Removes deleted topics and stores new or changed ones.
pub(super) fn put_topics<'a>(
    topics: &mut Topics<'_>,
    gone: &Gone,
    records: impl Iterator<Item = &'a TopicRecord>,
) -> Result<(), redb::Error> {
    match gone {
        Gone::Topics(gone) => {
            for topic in gone {
                topics.remove(topic.as_str())?;
            }
        }
        Gone::AllOthers => topics.retain(|_, _| false)?,
    }
    for record in records {
        // Serializing numbers cannot fail.
        let state = serde_json::to_vec(&TopicState::of(record)).unwrap_or_default();
        topics.insert(record.topic.as_str(), &*state)?;
    }
    Ok(())
}

/// Opens the database of a storage and verifies every page.
pub(super) fn open(storage: &dyn Storage, sync_failed: &Arc<AtomicBool>) -> Result<Database, StoreError> {
    open_file(storage.database()?, sync_failed)
}

/// Opens a database in a file, and sets `sync_failed` when a sync of this file fails.
pub(super) fn open_file(file: Box<dyn StorageBackend>, sync_failed: &Arc<AtomicBool>) -> Result<Database, StoreError> {
    let file = SyncMonitor::new(file, sync_failed)?;
    guarded(|| Ok(Builder::new().set_cache_size(CACHE).set_check_integrity_on_open(true).create_with_backend(file)?))
}

/// Moves the content of a database to the beginning of its file and truncates the rest. A power failure at any point
/// loses nothing.
pub(super) fn compact(database: &mut Database) -> Result<(), StoreError> {
    guarded(|| {
        database.compact().map_err(|error| match error {
            CompactionError::Storage(error) => error.into(),
            // There is no reader and no other transaction, so the remaining errors cannot occur.
            error => redb::Error::Corrupted(error.to_string()),
        })?;
        Ok(())
    })
}

/// Runs an operation on a database that may be damaged or on a failing disk.
pub(super) fn guarded<T>(action: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
    // redb may panic on a damaged file.
    match catch_unwind(AssertUnwindSafe(action)) {
        Ok(done) => done.map_err(StoreError::from),
        Err(_) => Err(StoreError::Damaged(Damage::Unreadable)),
    }
}
