//! What history is kept in: a [database](super::database), and a [tail](super::tail) for what is not in it yet.
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
use sse_bus::{Epoch, bus::batch::Batch};
use tracing::debug;

use super::{
    block::BlockIndex,
    database::{self, Shelf, State, Topics, Trouble, put_topics},
    left::{self, Left},
    pending::Pending,
    rewrite::{open_unchanged, rewrite},
    rows::Blocks,
    start::{Begun, RESERVE, begin},
    storage::{Failed, FileSystem, Storage},
    tail::Tail,
};
use crate::clock::Relation;

/// Bytes of the tail, about. What is in it stays in memory until it is in the database, and is read at a start.
const TAIL: usize = 4 << 20;
/// A batch of so many bytes is not worth to be written twice.
const LARGE: usize = 512 << 10;
/// What a topic takes in the tail, about.
const TOPIC: usize = 200;
/// What comes after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Others.
    More,
    /// Nothing for a while.
    Rest,
    /// The end of the daemon.
    End,
}

/// What is known of the size of the database's file.
struct Size {
    /// Bytes that it may have.
    room: u64,
    /// Bytes that it had beside the blocks after it was compacted last.
    beside: u64,
    /// It is to be compacted when nothing follows for a while.
    is_loose: bool,
}

/// The files, open.
pub(super) struct File {
    storage: Box<dyn Storage>,
    epoch: Epoch,
    database: Shelf,
    /// A sync of the database's file has failed.
    sync_failed: Arc<AtomicBool>,
    /// Nothing after it could not be written; until it is opened again everything goes into the database at once.
    tail: Option<Tail>,
    /// A file was found without its name at the end of the last attempt.
    is_nameless: bool,
    state: State,
    /// What is to be written next.
    batch: Option<Batch>,
    /// Batches are held that others belong to, which have not come yet.
    is_partial: bool,
    /// What is not in the database yet.
    pending: Pending,
    /// It has to go there now.
    is_due: bool,
    /// What comes after the last batch.
    next: Next,
    /// Everything up to here is in the database.
    settled: u64,
    /// The last batch that is in the database.
    settled_batch: u64,
    blocks: BlockIndex,
    size: Size,
    /// Why nothing could be written since the files were opened. Until it can, the database is a copy in memory of what
    /// is on disk, for those who read.
    full: Option<Failed>,
}

impl File {
    /// Opens the files, which are made if they are not there, and reads what is in them. What is damaged is set aside.
    ///
    /// # Errors
    ///
    /// Says what stands in the way, and what to do.
    pub(super) fn open(path: &Path, epoch: Epoch) -> Result<(File, Option<Left>), Failed> {
        File::open_on(Box::new(FileSystem::new(path)), path, epoch)
    }

    /// Opens the files on another storage. A path stands for the database there, so that it can be set aside.
    pub(super) fn open_on(
        storage: Box<dyn Storage>,
        path: &Path,
        epoch: Epoch,
    ) -> Result<(File, Option<Left>), Failed> {
        let Begun { database, sync_failed, tail, state, left, blocks, pending, settled_batch, full } =
            begin(&*storage, path, epoch)?;
        let file = File {
            storage,
            epoch: left.as_ref().map_or(epoch, |left| left.epoch),
            database: Shelf::new(database),
            sync_failed,
            // Of a full disk the next batch goes into the database, with what the tail holds.
            tail: full.is_none().then_some(tail),
            is_nameless: false,
            settled: state.head,
            settled_batch,
            state,
            batch: None,
            is_partial: false,
            pending,
            is_due: full.is_some(),
            next: Next::More,
            blocks: BlockIndex::new(blocks),
            size: Size { room: u64::MAX, beside: 0, is_loose: false },
            full,
        };
        Ok((file, left))
    }

    /// Why nothing could be written since the files were opened.
    pub(super) fn full(&self) -> Option<&str> {
        self.full.as_deref()
    }

    /// The database, for who reads from it.
    pub(super) fn shelf(&self) -> Shelf {
        self.database.clone()
    }

    /// Everything up to here is in the database.
    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// Whether everything that was written is in the database.
    pub(super) fn is_settled(&self) -> bool {
        self.tail_bytes() == 0 && !self.is_due && !self.size.is_loose
    }

    /// Bytes of what was appended to the tail since it began anew.
    fn tail_bytes(&self) -> usize {
        self.tail.as_ref().map_or(0, Tail::bytes)
    }

    /// Notes that an event from disk is not needed.
    pub(super) fn drop_event(&mut self, seq: u64) {
        self.blocks.evict(seq);
    }

    /// Notes how many bytes the file of the database may have.
    pub(super) fn note_room(&mut self, room: u64) {
        self.size.room = room;
    }

    /// Notes how the bus's clock stands to those of the machine.
    pub(super) fn note_clocks(&mut self, clocks: Relation) {
        self.state.clocks = clocks;
    }

    /// Takes a batch, when the one before is written. `clock` is the bus's.
    ///
    /// Of one that has more after it the topics are ahead of the events. So it is held until the last of them is here.
    pub(super) fn add(&mut self, batch: Batch, clock: u64, next: Next) {
        self.state.head = batch.head;
        (self.state.clock, self.state.forgotten) = (clock, batch.forgotten.clone());
        self.state.ended = next == Next::End;
        if self.state.reserved < batch.head + RESERVE / 2 {
            self.state.reserved = batch.head + RESERVE;
        }
        let bytes = batch.entries.iter().map(|entry| entry.cost).sum::<usize>() + batch.topics.len() * TOPIC;
        if batch.more {
            self.is_partial = true;
            self.hold(batch);
            return;
        }
        // What is held already is not in the tail.
        let is_partial = std::mem::take(&mut self.is_partial);
        self.is_due = is_partial
            || self.tail.is_none()
            || next != Next::More
            || bytes >= LARGE
            || self.tail_bytes() + bytes > TAIL;
        self.next = next;
        self.batch = Some(batch);
    }

    /// Writes what was taken, durably, to files that still have their names. After an error nothing of it counts, and this
    /// is to be tried again.
    pub(super) fn write(&mut self) -> Result<(), Failed> {
        if !self.is_nameless && self.full.is_none() {
            self.check_names()?;
        }
        self.write_down()?;
        self.is_nameless = false;
        self.check_names()
    }

    /// Checks that the files have their names. If not, all goes into files with names the next time.
    fn check_names(&mut self) -> Result<(), Failed> {
        let named = self.storage.check_database().and_then(|()| self.storage.check_tail());
        self.is_nameless = named.is_err();
        self.is_due |= self.is_nameless;
        named
    }

    fn write_down(&mut self) -> Result<(), Failed> {
        let Some(batch) = self.batch.take() else {
            return if self.is_due { self.settle() } else { Ok(()) };
        };
        // Also those that are not appended have a number. So a record fits no other state of the database than the one
        // that it came after.
        let number = self.state.last_batch + 1;
        if !self.is_due
            && let Some(tail) = &mut self.tail
            && let Err(error) = tail.append(number, &batch, self.state.clock)
        {
            // Perhaps the database can take it.
            (self.is_due, self.tail) = (true, None);
            self.batch = Some(batch);
            return Err(error.to_string());
        }
        self.state.last_batch = number;
        self.hold(batch);
        if self.is_due { self.settle() } else { Ok(()) }
    }

    /// Holds a batch until it is in the database.
    fn hold(&mut self, batch: Batch) {
        for seq in self.pending.add(batch) {
            self.drop_event(seq);
        }
    }

    /// Puts what is pending into the database.
    fn settle(&mut self) -> Result<(), Failed> {
        let upkeep = self.blocks.upkeep();
        let mut pending = std::mem::take(&mut self.pending);
        let mut written = Vec::new();
        let done = self.commit(|blocks, topics| {
            let (entries, gone, records) = pending.all();
            put_topics(topics, gone, records)?;
            written = upkeep.run(blocks, entries)?;
            Ok(())
        });
        if done.is_err() {
            self.pending = pending;
            return done;
        }
        self.blocks.note(written);
        (self.settled, self.settled_batch, self.is_due) = (self.state.head, self.state.last_batch, false);
        self.begin_tail();
        self.keep_small()
    }

    /// Compacts the database if its file is nearly too large, and when nothing follows also if most of it is free.
    ///
    /// # Errors
    ///
    /// The disk has failed. What was to be written is there, but the database has to be opened again.
    fn keep_small(&mut self) -> Result<(), Failed> {
        let length = |storage: &dyn Storage| storage.database_len().map_err(|e| e.to_string());
        let (before, needed) = (length(&*self.storage)?, self.blocks.bytes() + self.size.beside);
        self.size.is_loose = before > 2 * needed + self.size.room / 8;
        let is_urgent = before > self.size.room / 8 * 7 && before > needed + needed / 4;
        if self.state.ended || !(is_urgent || self.size.is_loose && self.next == Next::Rest) {
            return Ok(());
        }
        self.size.is_loose = false;
        let Some(mut database) = self.database.take() else { return Ok(()) };
        if let Err(trouble) = database::compact(&mut database) {
            self.is_due = true;
            return Err(trouble.why());
        }
        self.database.set(Some(database.into()));
        let after = length(&*self.storage)?;
        self.size.beside = after.saturating_sub(self.blocks.bytes());
        debug!(before, after, "the file of history was compacted");
        Ok(())
    }

    /// Begins the tail anew: all of it is in the database.
    fn begin_tail(&mut self) {
        if self.storage.check_tail().is_err() {
            self.tail = None;
        }
        match &mut self.tail {
            // Nobody needs what may stay of it.
            Some(tail) if self.state.ended => drop(tail.clear()),
            Some(tail) => tail.rewind(),
            None => {
                // Nothing that was there is needed, and of what a failed sync has left nothing may be.
                let emptied = self.storage.tail().and_then(|file| file.set_len(0).map(|()| file));
                self.tail = emptied.and_then(|file| Tail::open(file, self.epoch)).ok().flatten();
            }
        }
    }

    /// One transaction: what is put into the tables, and the state.
    fn commit(
        &mut self,
        fill: impl FnOnce(&mut Blocks<'_>, &mut Topics<'_>) -> Result<(), redb::Error>,
    ) -> Result<(), Failed> {
        let is_lost = self.sync_failed.load(Ordering::Acquire) || self.storage.check_database().is_err();
        let database = match self.database.get() {
            Some(database) if !is_lost && self.full.is_none() => database,
            source => Arc::new(self.open_again(source, is_lost).map_err(Trouble::why)?),
        };
        let done = database::commit(&database, &self.state, fill);
        if done.is_ok() {
            self.database.set(Some(database));
            self.full = None;
        } else if self.full.is_none() {
            // After a failure redb takes no more until the file was opened again.
            self.database.set(None);
        }
        done.map_err(Trouble::why)
    }

    /// Opens the database after a failure. If its file is lost, it is written anew, from what is still open of it.
    fn open_again(&mut self, source: Option<Arc<Database>>, is_lost: bool) -> Result<Database, Trouble> {
        let is_known = |database: &Database| match left::state(database)? {
            // The last commit may be in it although it has failed.
            Some(state)
                if state.epoch == self.state.epoch
                    && [self.settled_batch, self.state.last_batch].contains(&state.last_batch) =>
            {
                Ok(())
            }
            _ => Err(Trouble::Other(
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
