//! The database that history is kept in: its tables, how it is opened, and what can be wrong with it.
//!
//! Events stand in [blocks](super::record) under the number of their first event, each in one or more [rows](super::rows).
//! Evicted events stay in their blocks until they are a third of all bytes; then the blocks that have lost a third are
//! written again without them. A block without events is removed. Topics stand under their names, and what is known of the
//! whole under [`STATE`].

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use redb::{Builder, CompactionError, Database, StorageBackend, Table, TableDefinition};
use serde::{Deserialize, Serialize};
use sse_bus::bus::{
    batch::{Gone, TopicRecord},
    history::{TopicPast, UnattributedLosses},
};

use super::{
    rows::Blocks,
    storage::{Failed, Storage, Watched},
};
use crate::clock::Relation;

pub(super) const TOPICS: TableDefinition<&str, &[u8]> = TableDefinition::new("topics");
pub(super) const STATE: TableDefinition<&str, &[u8]> = TableDefinition::new("state");
/// The one key of [`STATE`].
pub(super) const BUS: &str = "bus";

/// The form of the files. Those of a newer one are refused, those of an older one are taken over as they are: before 2
/// there was no [tail](super::tail), before 3 events had no headers, before 4 each block was one row.
pub(super) const SCHEMA: u32 = 4;
/// Memory for pages of the file. Events are in memory already.
const CACHE: usize = 8 << 20;

/// What is known of the whole.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) schema: u32,
    pub(super) epoch: String,
    /// Everything up to this number is written down.
    pub(super) head: u64,
    /// Numbers up to here may have been used since.
    pub(super) reserved: u64,
    /// The daemon ended after this was written, and nothing came between.
    pub(super) ended: bool,
    /// The bus's clock, in milliseconds.
    pub(super) clock: u64,
    /// How that stands to the clocks of the machine.
    #[serde(default)]
    pub(super) clocks: Relation,
    pub(super) forgotten: UnattributedLosses,
    /// The number of the last batch that is in the database. The [tail](super::tail) may have those that follow.
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

/// The open database, for who writes and who reads. Not there after a failure, until it is opened again.
#[derive(Clone)]
pub(super) struct Shelf(Arc<Mutex<Option<Arc<Database>>>>);

impl Shelf {
    pub(super) fn new(database: Database) -> Shelf {
        Shelf(Arc::new(Mutex::new(Some(database.into()))))
    }

    pub(super) fn get(&self) -> Option<Arc<Database>> {
        self.0.lock().clone()
    }

    pub(super) fn set(&self, database: Option<Arc<Database>>) {
        *self.0.lock() = database;
    }

    /// Takes the database, once the reader has finished what it reads.
    pub(super) fn take(&self) -> Option<Database> {
        /// A read takes about so long.
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

/// The topics.
pub(super) type Topics<'a> = Table<'a, &'static str, &'static [u8]>;

/// One transaction: what is put into the tables, and the state. It is on disk when this returns.
pub(super) fn commit(
    database: &Database,
    state: &State,
    fill: impl FnOnce(&mut Blocks<'_>, &mut Topics<'_>) -> Result<(), redb::Error>,
) -> Result<(), Trouble> {
    let state = serde_json::to_vec(state).map_err(|e| Trouble::Other(e.to_string()))?;
    guarded(|| {
        let transaction = database.begin_write()?;
        fill(&mut Blocks::open(&transaction)?, &mut transaction.open_table(TOPICS)?)?;
        transaction.open_table(STATE)?.insert(BUS, &*state)?;
        transaction.commit()?;
        Ok(())
    })
}

/// Removes topics that are not known any more, and puts down those that are new or have changed.
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
        // Numbers can always be written.
        let state = serde_json::to_vec(&TopicState::of(record)).unwrap_or_default();
        topics.insert(record.topic.as_str(), &*state)?;
    }
    Ok(())
}

/// Why a file cannot be had.
pub(super) enum Trouble {
    Damaged(Failed),
    /// There is no room on the disk.
    Full(Failed),
    Other(Failed),
}

impl Trouble {
    pub(super) fn why(self) -> Failed {
        match self {
            Trouble::Damaged(why) | Trouble::Full(why) | Trouble::Other(why) => why,
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        redb::Error::Io(error).into()
    }
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Trouble {
        match error {
            redb::Error::DatabaseAlreadyOpen => Trouble::Other("another sse-busd has it open".into()),
            redb::Error::Io(e) if is_full(&e) => Trouble::Full(e.to_string()),
            // A disk that fails says nothing about the file; one that ends too early is damaged.
            redb::Error::Io(e) if !matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                Trouble::Other(e.to_string())
            }
            e => Trouble::Damaged(e.to_string()),
        }
    }
}

/// Whether an error says that there is no room: on the disk, for this user, or for a file of this size.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Opens the database of a storage and looks at every page of it.
pub(super) fn open(storage: &dyn Storage, sync_failed: &Arc<AtomicBool>) -> Result<Database, Trouble> {
    open_file(storage.database()?, sync_failed)
}

/// Opens a database in a file. It is noted when a sync of that fails.
pub(super) fn open_file(file: Box<dyn StorageBackend>, sync_failed: &Arc<AtomicBool>) -> Result<Database, Trouble> {
    let file = Watched::new(file, sync_failed)?;
    guarded(|| Ok(Builder::new().set_cache_size(CACHE).set_check_integrity_on_open(true).create_with_backend(file)?))
}

/// Moves the content of a database to the beginning of its file, and gives back what is behind it. It is what it was
/// wherever the power fails.
pub(super) fn compact(database: &mut Database) -> Result<(), Trouble> {
    guarded(|| {
        database.compact().map_err(|error| match error {
            CompactionError::Storage(error) => error.into(),
            // Nobody reads, and nothing else is ever under way.
            error => redb::Error::Corrupted(error.to_string()),
        })?;
        Ok(())
    })
}

/// Does something with a database that may be damaged, or on a disk that fails.
pub(super) fn guarded<T>(action: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Trouble> {
    // A damaged file may make redb panic.
    match catch_unwind(AssertUnwindSafe(action)) {
        Ok(done) => done.map_err(Trouble::from),
        Err(_) => Err(Trouble::Damaged("it cannot be read".into())),
    }
}
