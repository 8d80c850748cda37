//! The files of history: a [database](super::database) and a [write-ahead file](super::wal).
//!
//! A small batch counts as written once it is in the write-ahead file. A checkpoint moves the batches into the database
//! when there are many of them or no more follow. A large batch goes into the database at once, with all pending ones.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::Database;
use sse_bus::{
    Epoch,
    bus::{batch::Batch, consumers::ConsumerChanges},
};
use tracing::debug;

use super::{
    block::BlockIndex,
    consumers::ConsumerUpdates,
    database::{self, SharedDatabase, State, Tables},
    error::{OpenError, StoreError},
    file_size::FileSize,
    pending::Pending,
    publishes,
    recovery::{self, Recovered},
    rewrite::{open_unchanged, rewrite},
    start::{RESERVE, StartState, start},
    storage::{FileSystem, Storage},
    wal::Wal,
};
use crate::clock::Relation;

/// Approximate size limit of the write-ahead file. Its content also stays in memory until the checkpoint, and is read
/// at the next start.
const WAL_BYTES: usize = 4 << 20;
/// Writing a batch of this size twice, first into the write-ahead file, would cost too much.
const LARGE_BATCH: usize = 512 << 10;
/// Approximate bytes of a topic in the write-ahead file.
const TOPIC_BYTES: usize = 200;

/// What follows a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// More batches may follow.
    More,
    /// No changes for a while.
    Idle,
    /// The daemon is shutting down.
    Shutdown,
}

/// The open files.
pub(super) struct Files {
    storage: Box<dyn Storage>,
    epoch: Epoch,
    database: SharedDatabase,
    /// Set when a sync of the database file fails.
    sync_failed: Arc<AtomicBool>,
    /// `None` after a failed write; until it is reopened, each batch goes into the database at once.
    wal: Option<Wal>,
    /// A file had been removed or replaced at the end of the last attempt.
    lost_its_name: bool,
    state: State,
    /// The batch to write next, with the changes of consumers before it.
    batch: Option<(Batch, ConsumerUpdates)>,
    /// Changes of consumers that belong to the next batch.
    consumers: ConsumerUpdates,
    /// Parts of a batch are pending whose last part has not arrived yet.
    has_partial: bool,
    /// Changes that are not in the database yet.
    pending: Pending,
    /// The pending changes must go into the database with the next write.
    checkpoint_is_due: bool,
    /// What follows the last batch.
    next: Next,
    /// All events up to this sequence number are in the database.
    checkpointed: u64,
    /// The last batch in the database.
    checkpointed_batch: u64,
    blocks: BlockIndex,
    size: FileSize,
    /// Why nothing could be written since the files were opened. Until a write succeeds, the database is a copy in
    /// memory of the files on disk, so that subscribers can read it.
    disk_full: Option<io::Error>,
}

impl Files {
    /// Opens the files, or creates them, and reads their content. Damaged files are set aside.
    pub(super) fn open(path: &Path, epoch: Epoch) -> Result<(Files, Option<Recovered>), OpenError> {
        Files::open_on(Box::new(FileSystem::new(path)), path, epoch)
    }

    /// Opens the files on another storage. `path` names the database there, so that it can be set aside.
    pub(super) fn open_on(
        storage: Box<dyn Storage>,
        path: &Path,
        epoch: Epoch,
    ) -> Result<(Files, Option<Recovered>), OpenError> {
        let StartState { database, sync_failed, wal, state, recovered, blocks, pending, checkpointed_batch, disk_full } =
            start(&*storage, path, epoch)?;
        let file = Files {
            storage,
            epoch: recovered.as_ref().map_or(epoch, |recovered| recovered.epoch),
            database: SharedDatabase::new(database),
            sync_failed,
            // After a start on a full disk, the next batch goes into the database together with the content of the
            // write-ahead file.
            wal: disk_full.is_none().then_some(wal),
            lost_its_name: false,
            checkpointed: state.head,
            checkpointed_batch,
            state,
            batch: None,
            consumers: ConsumerUpdates::default(),
            has_partial: false,
            pending,
            checkpoint_is_due: disk_full.is_some(),
            next: Next::More,
            blocks: BlockIndex::new(blocks),
            size: FileSize::default(),
            disk_full,
        };
        Ok((file, recovered))
    }

    /// Returns why nothing could be written since the files were opened.
    pub(super) fn disk_full(&self) -> Option<&io::Error> {
        self.disk_full.as_ref()
    }

    /// Returns the database, for the reader.
    pub(super) fn database(&self) -> SharedDatabase {
        self.database.clone()
    }

    /// Returns the sequence number up to which all events are in the database.
    pub(super) fn checkpointed(&self) -> u64 {
        self.checkpointed
    }

    /// Returns true if everything that was written is in the database.
    pub(super) fn is_checkpointed(&self) -> bool {
        self.wal_bytes() == 0 && !self.checkpoint_is_due && !self.size.needs_compaction()
    }

    /// Bytes appended to the write-ahead file since it was last restarted.
    fn wal_bytes(&self) -> usize {
        self.wal.as_ref().map_or(0, Wal::bytes)
    }

    /// Records that an event on disk is no longer needed.
    pub(super) fn drop_event(&mut self, seq: u64) {
        self.blocks.evict(seq);
    }

    /// Sets the maximum size of the database file.
    pub(super) fn set_size_limit(&mut self, limit: u64) {
        self.size.set_limit(limit);
    }

    /// Sets the relation between the bus's clock and the machine's clocks.
    pub(super) fn set_clocks(&mut self, clocks: Relation) {
        self.state.clocks = clocks;
    }

    /// Adds changes of consumers, which are written with the next batch.
    pub(super) fn add_consumers(&mut self, changes: ConsumerChanges) {
        self.consumers.add(changes);
    }

    /// Adds a batch, after the previous one was written. `clock` is the bus's time.
    ///
    /// In a partial batch the topics are ahead of the events. So all parts are kept pending until the last one arrives.
    pub(super) fn add(&mut self, batch: Batch, clock: u64, next: Next) {
        self.state.head = batch.head;
        (self.state.clock, self.state.forgotten) = (clock, batch.forgotten.clone());
        self.state.ended = next == Next::Shutdown;
        if self.state.reserved < batch.head + RESERVE / 2 {
            self.state.reserved = batch.head + RESERVE;
        }
        let consumers = std::mem::take(&mut self.consumers);
        let bytes = batch.entries.iter().map(|entry| entry.cost).sum::<usize>()
            + batch.topics.len() * TOPIC_BYTES
            + consumers.bytes()
            + publishes::bytes(&batch.publishes);
        if batch.more {
            self.has_partial = true;
            self.add_pending(batch, consumers);
            return;
        }
        // Pending parts are not in the write-ahead file, so the whole batch goes into the database.
        let has_partial = std::mem::take(&mut self.has_partial);
        self.checkpoint_is_due = has_partial
            || self.wal.is_none()
            || next != Next::More
            || bytes >= LARGE_BATCH
            || self.wal_bytes() + bytes > WAL_BYTES;
        self.next = next;
        self.batch = Some((batch, consumers));
    }

    /// Writes the added batch durably, to files that still have their names. After an error nothing counts as written,
    /// and the caller retries.
    pub(super) fn write(&mut self) -> Result<(), StoreError> {
        if !self.lost_its_name && self.disk_full.is_none() {
            self.check_names()?;
        }
        self.write_batch()?;
        self.lost_its_name = false;
        self.check_names()
    }

    /// Checks that the files still have their names. If not, the next write goes into new files.
    fn check_names(&mut self) -> Result<(), StoreError> {
        let named = self.storage.check_database().and_then(|()| self.storage.check_wal());
        self.lost_its_name = named.is_err();
        self.checkpoint_is_due |= self.lost_its_name;
        Ok(named?)
    }

    fn write_batch(&mut self) -> Result<(), StoreError> {
        let Some((batch, consumers)) = self.batch.take() else {
            return if self.checkpoint_is_due { self.checkpoint() } else { Ok(()) };
        };
        // Batches that are not appended are numbered, too. So a record only ever follows the database state that it was
        // written after.
        let number = self.state.last_batch + 1;
        if !self.checkpoint_is_due
            && let Some(wal) = &mut self.wal
            && let Err(error) = wal.append(number, &batch, &consumers, self.state.clock)
        {
            // The database may accept the batch.
            (self.checkpoint_is_due, self.wal) = (true, None);
            self.batch = Some((batch, consumers));
            return Err(error.into());
        }
        self.state.last_batch = number;
        self.add_pending(batch, consumers);
        if self.checkpoint_is_due { self.checkpoint() } else { Ok(()) }
    }

    /// Keeps a batch in memory until the next checkpoint.
    fn add_pending(&mut self, batch: Batch, consumers: ConsumerUpdates) {
        for seq in self.pending.add(batch, consumers) {
            self.drop_event(seq);
        }
    }

    /// Moves the pending changes into the database.
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        let maintenance = self.blocks.maintenance();
        let mut pending = std::mem::take(&mut self.pending);
        let mut written = Vec::new();
        let done = self.commit(|tables| {
            let all = pending.all();
            all.put(tables)?;
            written = maintenance.run(&mut tables.blocks, all.entries)?;
            Ok(())
        });
        if done.is_err() {
            self.pending = pending;
            return done;
        }
        self.blocks.record_changes(written);
        (self.checkpointed, self.checkpointed_batch, self.checkpoint_is_due) =
            (self.state.head, self.state.last_batch, false);
        self.restart_wal();
        self.compact_if_large()
    }

    /// Compacts the database if its file is near the size limit, or if the bus is idle and most of the file is free.
    ///
    /// # Errors
    ///
    /// The disk failed. The pending changes are in the database, but it has to be reopened.
    fn compact_if_large(&mut self) -> Result<(), StoreError> {
        let (before, is_idle) = (self.storage.database_len()?, self.next == Next::Idle);
        let is_due = self.size.is_compaction_due(before, self.blocks.bytes(), is_idle);
        if self.state.ended || !is_due {
            return Ok(());
        }
        self.size.begin_compaction();
        let Some(mut database) = self.database.take() else { return Ok(()) };
        if let Err(error) = database::compact(&mut database) {
            self.checkpoint_is_due = true;
            return Err(error);
        }
        self.database.set(Some(database.into()));
        let after = self.storage.database_len()?;
        self.size.compacted(after, self.blocks.bytes());
        debug!(before, after, "the history file was compacted");
        Ok(())
    }

    /// Restarts the write-ahead file: all of its content is in the database.
    fn restart_wal(&mut self) {
        if self.storage.check_wal().is_err() {
            self.wal = None;
        }
        match &mut self.wal {
            // Its content is not needed, so a failure is ignored.
            Some(wal) if self.state.ended => drop(wal.clear()),
            Some(wal) => wal.rewind(),
            None => {
                // The old content is not needed, and a failed sync may have left garbage: truncate the file.
                let emptied = self.storage.wal().and_then(|file| file.set_len(0).map(|()| file));
                self.wal = emptied.and_then(|file| Wal::open(file, self.epoch)).ok().flatten();
            }
        }
    }

    /// Commits one transaction: the changes that `fill` makes, and the state.
    fn commit(&mut self, fill: impl FnOnce(&mut Tables<'_>) -> Result<(), redb::Error>) -> Result<(), StoreError> {
        let is_lost = self.sync_failed.load(Ordering::Acquire) || self.storage.check_database().is_err();
        let database = match self.database.get() {
            Some(database) if !is_lost && self.disk_full.is_none() => database,
            source => Arc::new(self.reopen(source, is_lost)?),
        };
        let done = database::commit(&database, &self.state, fill);
        if done.is_ok() {
            self.database.set(Some(database));
            self.disk_full = None;
        } else if self.disk_full.is_none() {
            // After a failure redb accepts no transaction until the file is reopened.
            self.database.set(None);
        }
        done
    }

    /// Reopens the database after a failure. If its file is lost, writes a new one from the file that is still open.
    fn reopen(&mut self, source: Option<Arc<Database>>, is_lost: bool) -> Result<Database, StoreError> {
        let is_known = |database: &Database| match recovery::state(database)? {
            // The last commit may be in the file although it was reported as failed.
            Some(state)
                if state.epoch == self.state.epoch
                    && [self.checkpointed_batch, self.state.last_batch].contains(&state.last_batch) =>
            {
                Ok(())
            }
            _ => Err(StoreError::OtherContent),
        };
        if !is_lost {
            let database = database::open(&*self.storage, &self.sync_failed)?;
            return is_known(&database).map(|()| database);
        }
        let source = match source {
            Some(open) => open,
            None => Arc::new(open_unchanged(&*self.storage)?),
        };
        is_known(&source)?;
        let (database, sync_failed) = rewrite(&*self.storage, &source)?;
        self.sync_failed = sync_failed;
        Ok(database)
    }
}
