//! What history is kept in: a [database](super::database), and a [tail](super::wal) for what is not in it yet.
//!
//! A small batch is written when it is in the tail. When there are many of them, or nothing follows for a while, they go
//! into the database together. A large batch goes there at once, with all that is pending.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::Database;
use sse_bus::{Epoch, bus::journal::Batch};
use tracing::debug;

use super::{
    block::BlockIndex,
    database::{self, SharedDatabase, State, StoreError, Topics, put_topics},
    pending::Pending,
    recovery::{self, Recovered},
    rewrite::{open_unchanged, rewrite},
    rows::Blocks,
    start::{RESERVE, StartState, start},
    storage::{FileSystem, Message, Storage},
    wal::Wal,
};
use crate::clock::Relation;

/// Bytes of the tail, about. What is in it stays in memory until it is in the database, and is read at a start.
const WAL_BYTES: usize = 4 << 20;
/// A batch of so many bytes is not worth to be written twice.
const LARGE_BATCH: usize = 512 << 10;
/// What a topic takes in the tail, about.
const TOPIC_BYTES: usize = 200;
/// What comes after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Others.
    More,
    /// Nothing for a while.
    Idle,
    /// The end of the daemon.
    Shutdown,
}

/// What is known of the size of the database's file.
struct Size {
    /// Bytes that it may have.
    limit: u64,
    /// Bytes that it had beside the blocks after it was compacted last.
    overhead: u64,
    /// It is to be compacted when nothing follows for a while.
    needs_compaction: bool,
}

/// The files, open.
pub(super) struct Files {
    storage: Box<dyn Storage>,
    epoch: Epoch,
    database: SharedDatabase,
    /// A sync of the database's file has failed.
    sync_failed: Arc<AtomicBool>,
    /// Nothing after it could not be written; until it is opened again everything goes into the database at once.
    wal: Option<Wal>,
    /// A file was found without its name at the end of the last attempt.
    lost_its_name: bool,
    state: State,
    /// What is to be written next.
    batch: Option<Batch>,
    /// Batches are held that others belong to, which have not come yet.
    has_partial: bool,
    /// What is not in the database yet.
    pending: Pending,
    /// It has to go there now.
    checkpoint_is_due: bool,
    /// What comes after the last batch.
    next: Next,
    /// Everything up to here is in the database.
    checkpointed: u64,
    /// The last batch that is in the database.
    checkpointed_batch: u64,
    blocks: BlockIndex,
    size: Size,
    /// Why nothing could be written since the files were opened. Until it can, the database is a copy in memory of what
    /// is on disk, for those who read.
    disk_full: Option<Message>,
}

impl Files {
    /// Opens the files, which are made if they are not there, and reads what is in them. What is damaged is set aside.
    ///
    /// # Errors
    ///
    /// Says what stands in the way, and what to do.
    pub(super) fn open(path: &Path, epoch: Epoch) -> Result<(Files, Option<Recovered>), Message> {
        Files::open_on(Box::new(FileSystem::new(path)), path, epoch)
    }

    /// Opens the files on another storage. A path stands for the database there, so that it can be set aside.
    pub(super) fn open_on(
        storage: Box<dyn Storage>,
        path: &Path,
        epoch: Epoch,
    ) -> Result<(Files, Option<Recovered>), Message> {
        let StartState { database, sync_failed, wal, state, recovered, blocks, pending, checkpointed_batch, disk_full } =
            start(&*storage, path, epoch)?;
        let file = Files {
            storage,
            epoch: recovered.as_ref().map_or(epoch, |recovered| recovered.epoch),
            database: SharedDatabase::new(database),
            sync_failed,
            // Of a full disk the next batch goes into the database, with what the tail holds.
            wal: disk_full.is_none().then_some(wal),
            lost_its_name: false,
            checkpointed: state.head,
            checkpointed_batch,
            state,
            batch: None,
            has_partial: false,
            pending,
            checkpoint_is_due: disk_full.is_some(),
            next: Next::More,
            blocks: BlockIndex::new(blocks),
            size: Size { limit: u64::MAX, overhead: 0, needs_compaction: false },
            disk_full,
        };
        Ok((file, recovered))
    }

    /// Why nothing could be written since the files were opened.
    pub(super) fn disk_full(&self) -> Option<&str> {
        self.disk_full.as_deref()
    }

    /// The database, for who reads from it.
    pub(super) fn database(&self) -> SharedDatabase {
        self.database.clone()
    }

    /// Everything up to here is in the database.
    pub(super) fn checkpointed(&self) -> u64 {
        self.checkpointed
    }

    /// Whether everything that was written is in the database.
    pub(super) fn is_checkpointed(&self) -> bool {
        self.wal_bytes() == 0 && !self.checkpoint_is_due && !self.size.needs_compaction
    }

    /// Bytes of what was appended to the tail since it began anew.
    fn wal_bytes(&self) -> usize {
        self.wal.as_ref().map_or(0, Wal::bytes)
    }

    /// Notes that an event from disk is not needed.
    pub(super) fn drop_event(&mut self, seq: u64) {
        self.blocks.evict(seq);
    }

    /// Notes how many bytes the file of the database may have.
    pub(super) fn set_size_limit(&mut self, room: u64) {
        self.size.limit = room;
    }

    /// Notes how the bus's clock stands to those of the machine.
    pub(super) fn set_clocks(&mut self, clocks: Relation) {
        self.state.clocks = clocks;
    }

    /// Takes a batch, when the one before is written. `clock` is the bus's.
    ///
    /// Of one that has more after it the topics are ahead of the events. So it is held until the last of them is here.
    pub(super) fn add(&mut self, batch: Batch, clock: u64, next: Next) {
        self.state.head = batch.head;
        (self.state.clock, self.state.forgotten) = (clock, batch.forgotten.clone());
        self.state.ended = next == Next::Shutdown;
        if self.state.reserved < batch.head + RESERVE / 2 {
            self.state.reserved = batch.head + RESERVE;
        }
        let bytes = batch.entries.iter().map(|entry| entry.cost).sum::<usize>() + batch.topics.len() * TOPIC_BYTES;
        if batch.more {
            self.has_partial = true;
            self.add_pending(batch);
            return;
        }
        // What is held already is not in the tail.
        let has_partial = std::mem::take(&mut self.has_partial);
        self.checkpoint_is_due = has_partial
            || self.wal.is_none()
            || next != Next::More
            || bytes >= LARGE_BATCH
            || self.wal_bytes() + bytes > WAL_BYTES;
        self.next = next;
        self.batch = Some(batch);
    }

    /// Writes what was taken, durably, to files that still have their names. After an error nothing of it counts, and this
    /// is to be tried again.
    pub(super) fn write(&mut self) -> Result<(), Message> {
        if !self.lost_its_name && self.disk_full.is_none() {
            self.check_names()?;
        }
        self.write_batch()?;
        self.lost_its_name = false;
        self.check_names()
    }

    /// Checks that the files have their names. If not, all goes into files with names the next time.
    fn check_names(&mut self) -> Result<(), Message> {
        let named = self.storage.check_database().and_then(|()| self.storage.check_wal());
        self.lost_its_name = named.is_err();
        self.checkpoint_is_due |= self.lost_its_name;
        named
    }

    fn write_batch(&mut self) -> Result<(), Message> {
        let Some(batch) = self.batch.take() else {
            return if self.checkpoint_is_due { self.checkpoint() } else { Ok(()) };
        };
        // Also those that are not appended have a number. So a record fits no other state of the database than the one
        // that it came after.
        let number = self.state.last_batch + 1;
        if !self.checkpoint_is_due
            && let Some(wal) = &mut self.wal
            && let Err(error) = wal.append(number, &batch, self.state.clock)
        {
            // Perhaps the database can take it.
            (self.checkpoint_is_due, self.wal) = (true, None);
            self.batch = Some(batch);
            return Err(error.to_string());
        }
        self.state.last_batch = number;
        self.add_pending(batch);
        if self.checkpoint_is_due { self.checkpoint() } else { Ok(()) }
    }

    /// Holds a batch until it is in the database.
    fn add_pending(&mut self, batch: Batch) {
        for seq in self.pending.add(batch) {
            self.drop_event(seq);
        }
    }

    /// Puts what is pending into the database.
    fn checkpoint(&mut self) -> Result<(), Message> {
        let maintenance = self.blocks.maintenance();
        let mut pending = std::mem::take(&mut self.pending);
        let mut written = Vec::new();
        let done = self.commit(|blocks, topics| {
            let (entries, gone, records) = pending.all();
            put_topics(topics, gone, records)?;
            written = maintenance.run(blocks, entries)?;
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

    /// Compacts the database if its file is nearly too large, and when nothing follows also if most of it is free.
    ///
    /// # Errors
    ///
    /// The disk has failed. What was to be written is there, but the database has to be opened again.
    fn compact_if_large(&mut self) -> Result<(), Message> {
        let length = |storage: &dyn Storage| storage.database_len().map_err(|e| e.to_string());
        let (before, needed) = (length(&*self.storage)?, self.blocks.bytes() + self.size.overhead);
        self.size.needs_compaction = before > 2 * needed + self.size.limit / 8;
        let is_urgent = before > self.size.limit / 8 * 7 && before > needed + needed / 4;
        if self.state.ended || !(is_urgent || self.size.needs_compaction && self.next == Next::Idle) {
            return Ok(());
        }
        self.size.needs_compaction = false;
        let Some(mut database) = self.database.take() else { return Ok(()) };
        if let Err(error) = database::compact(&mut database) {
            self.checkpoint_is_due = true;
            return Err(error.message());
        }
        self.database.set(Some(database.into()));
        let after = length(&*self.storage)?;
        self.size.overhead = after.saturating_sub(self.blocks.bytes());
        debug!(before, after, "the file of history was compacted");
        Ok(())
    }

    /// Begins the tail anew: all of it is in the database.
    fn restart_wal(&mut self) {
        if self.storage.check_wal().is_err() {
            self.wal = None;
        }
        match &mut self.wal {
            // Nobody needs what may stay of it.
            Some(wal) if self.state.ended => drop(wal.clear()),
            Some(wal) => wal.rewind(),
            None => {
                // Nothing that was there is needed, and of what a failed sync has left nothing may be.
                let emptied = self.storage.wal().and_then(|file| file.set_len(0).map(|()| file));
                self.wal = emptied.and_then(|file| Wal::open(file, self.epoch)).ok().flatten();
            }
        }
    }

    /// One transaction: what is put into the tables, and the state.
    fn commit(
        &mut self,
        fill: impl FnOnce(&mut Blocks<'_>, &mut Topics<'_>) -> Result<(), redb::Error>,
    ) -> Result<(), Message> {
        let is_lost = self.sync_failed.load(Ordering::Acquire) || self.storage.check_database().is_err();
        let database = match self.database.get() {
            Some(database) if !is_lost && self.disk_full.is_none() => database,
            source => Arc::new(self.reopen(source, is_lost).map_err(StoreError::message)?),
        };
        let done = database::commit(&database, &self.state, fill);
        if done.is_ok() {
            self.database.set(Some(database));
            self.disk_full = None;
        } else if self.disk_full.is_none() {
            // After a failure redb takes no more until the file was opened again.
            self.database.set(None);
        }
        done.map_err(StoreError::message)
    }

    /// Opens the database after a failure. If its file is lost, it is written anew, from what is still open of it.
    fn reopen(&mut self, source: Option<Arc<Database>>, is_lost: bool) -> Result<Database, StoreError> {
        let is_known = |database: &Database| match recovery::state(database)? {
            // The last commit may be in it although it has failed.
            Some(state)
                if state.epoch == self.state.epoch
                    && [self.checkpointed_batch, self.state.last_batch].contains(&state.last_batch) =>
            {
                Ok(())
            }
            _ => Err(StoreError::Other(
                "it is not what was written there; restart sse-busd to begin with what there is".into(),
            )),
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
