//! What history is kept in: a [database](super::database), and a [tail](super::tail) for what is not in it yet.
//!
//! A small batch is written when it is in the tail. When there are many of them, or nothing follows for a while, they go
//! into the database together. A large batch goes there at once, with all that is pending.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use redb::{Database, ReadableTable as _};
use sse_bus::{
    Epoch,
    bus::{history::Forgotten, journal::Batch},
};
use tracing::error;

use super::{
    database::{
        self, Events, Failed, FileSystem, SCHEMA, Shelf, State, Storage, Topics, Trouble, put_events, put_topics,
        set_aside, tail_of,
    },
    left::{self, Content, Left},
    pending::Pending,
    piece::Piece,
    record,
    tail::{self, Appended, Tail},
};

/// Bytes of the tail, about. What is in it stays in memory until it is in the database, and is read at a start.
const TAIL: usize = 4 << 20;
/// A batch of so many bytes is not worth to be written twice.
const LARGE: usize = 512 << 10;
/// What a topic takes in the tail, about.
const TOPIC: usize = 200;
/// Pieces that one commit rewrites, at most: more than a batch can make sparse for long.
const REWRITES: usize = 128;
/// Pieces of which nothing is left that one commit removes, at most.
const REMOVALS: usize = 4096;
/// Numbers that are reserved ahead: after a crash the next daemon begins behind them.
const RESERVE: u64 = 1 << 32;

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

/// The files, open.
pub(super) struct File {
    storage: Box<dyn Storage>,
    epoch: Epoch,
    database: Shelf,
    tail: Tail,
    state: State,
    /// What is to be written next.
    batch: Option<Batch>,
    /// Batches are held that others belong to, which have not come yet.
    is_partial: bool,
    /// What is not in the database yet.
    pending: Pending,
    /// It has to go there now.
    is_due: bool,
    /// Everything up to here is in the database.
    settled: u64,
    /// The last batch that is in the database.
    settled_batch: u64,
    pieces: BTreeMap<u64, Piece>,
    /// Those that are sparse, noted so that a commit need not look at all of them.
    sparse: BTreeSet<u64>,
    /// Bytes of all pieces.
    bytes: usize,
    /// Of these, about what is gone and stands there still.
    wasted: usize,
}

impl File {
    /// Opens the files, which are made if they are not there, and reads what is in them. What is damaged is set aside.
    ///
    /// # Errors
    ///
    /// Says what stands in the way, and what to do.
    pub(super) fn open(path: &Path, epoch: Epoch) -> Result<(File, Option<Left>), Failed> {
        File::open_on(Box::new(FileSystem(path.to_owned())), path, epoch)
    }

    /// Opens the files on another storage. A path stands for the database there, so that it can be set aside.
    pub(super) fn open_on(
        storage: Box<dyn Storage>,
        path: &Path,
        epoch: Epoch,
    ) -> Result<(File, Option<Left>), Failed> {
        let shown = path.display();
        let failed = |e: &dyn std::fmt::Display| {
            format!("{shown} cannot be used: {e}; choose another directory with --state-dir, or --history memory")
        };
        let directory = path.parent().unwrap_or(Path::new("."));
        sse_bus::tokens::make_private(directory).map_err(|e| failed(&e))?;
        // Before, so that nobody's file is opened; and after, because in between somebody may have put one there.
        database::check(path).map_err(|why| failed(&why))?;
        let mut taken_up = take_up(&*storage, path, epoch);
        if let Err(Trouble::Damaged(why)) = taken_up {
            let aside = set_aside(path).map_err(|e| failed(&e))?;
            error!("{shown} is damaged ({why}) and was set aside as {}; history begins anew", aside.display());
            taken_up = take_up(&*storage, path, epoch);
        }
        let (database, tail, found) = taken_up.map_err(|trouble| failed(&trouble.why()))?;
        database::check(path).map_err(|why| failed(&why))?;
        let (state, left, pieces) = match found {
            Some((state, left, pieces)) => (state, Some(left), pieces),
            None => (State { epoch: epoch.to_string(), ..State::default() }, None, BTreeMap::new()),
        };
        if let Some(damaged) = left.as_ref().map(|left| left.damaged).filter(|damaged| *damaged > 0) {
            error!("{damaged} pieces of {shown} are damaged; their events are told as lost");
        }
        let (head, forgotten) = left.as_ref().map_or((0, Forgotten::default()), |l| (l.head, l.forgotten.clone()));
        let (reserved, last) = (head + RESERVE, tail::begin());
        let state = State { schema: SCHEMA, head, reserved, ended: false, forgotten, last_batch: last, ..state };
        let sparse = pieces.iter().filter(|(_, piece)| piece.is_sparse()).map(|(first, _)| *first).collect();
        let bytes = pieces.values().map(|piece| piece.bytes).sum();
        let wasted = pieces.values().map(Piece::wasted).sum();
        let (database, pending) = (Shelf::new(database), Pending::default());
        let mut file = File {
            storage,
            epoch: left.as_ref().map_or(epoch, |left| left.epoch),
            database,
            tail,
            state,
            batch: None,
            is_partial: false,
            pending,
            is_due: false,
            settled: head,
            settled_batch: last,
            pieces,
            sparse,
            bytes,
            wasted,
        };
        // It notes that a daemon runs, and which numbers it may use. Twice: if the last transaction is damaged, redb goes
        // back to the one before, and that must say it, too.
        file.commit(|_, _| Ok(())).and_then(|()| file.commit(|_, _| Ok(()))).map_err(|e| failed(&e))?;
        Ok((file, left))
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
        self.tail.bytes() == 0
    }

    /// Notes that an event from disk is not needed.
    pub(super) fn drop_event(&mut self, seq: u64) {
        if let Some((first, piece)) = self.pieces.range_mut(..=seq).next_back() {
            if piece.gone.insert(seq) {
                self.wasted += piece.each();
            }
            if piece.is_sparse() {
                self.sparse.insert(*first);
            }
        }
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
        self.is_due = is_partial || next != Next::More || bytes >= LARGE || self.tail.bytes() + bytes > TAIL;
        self.batch = Some(batch);
    }

    /// Writes what was taken, durably. After an error nothing of it counts, and this is to be tried again.
    pub(super) fn write(&mut self) -> Result<(), Failed> {
        let Some(batch) = self.batch.take() else {
            return if self.is_due { self.settle() } else { Ok(()) };
        };
        // Also those that are not appended have a number. So a record fits no other state of the database than the one
        // that it came after.
        let number = self.state.last_batch + 1;
        if !self.is_due
            && let Err(error) = self.tail.append(number, &batch, self.state.clock)
        {
            // Perhaps the database can take it, and the next can be appended again.
            self.is_due = true;
            if let Ok(Some(tail)) = self.storage.tail().and_then(|storage| Tail::open(storage, self.epoch)) {
                self.tail = tail;
            }
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
        let sparse = self.sparse.iter().filter_map(|first| self.pieces.get_key_value(first));
        let (over, sparse): (Vec<_>, Vec<_>) = sparse.partition(|(_, piece)| piece.is_over());
        let over: Vec<_> = over.into_iter().take(REMOVALS).map(|(first, _)| *first).collect();
        // What goes in the order in which it came takes its pieces with it soon, so that nothing need be written again.
        let is_wasteful = self.wasted * 2 > self.bytes;
        let sparse = sparse.into_iter().take(if is_wasteful { REWRITES } else { 0 });
        let sparse: Vec<_> = sparse.map(|(first, piece)| (*first, piece.events, piece.gone.clone())).collect();
        let mut pending = std::mem::take(&mut self.pending);
        let mut written = Vec::new();
        let done = self.commit(|events, topics| {
            let (entries, gone, records) = pending.all();
            put_topics(topics, gone, records)?;
            for first in &over {
                events.remove(*first)?;
                written.push((*first, Piece::default()));
            }
            for (first, events_in_it, gone) in &sparse {
                let whole = events.get(*first)?.map(|whole| whole.value().to_vec());
                if let Some(less) = whole.and_then(|whole| record::without(&whole, |seq| gone.contains(&seq))) {
                    events.insert(*first, &*less)?;
                    written.push((*first, Piece::new(events_in_it - gone.len(), less.len())));
                } else {
                    events.remove(*first)?;
                    written.push((*first, Piece::default()));
                }
            }
            written.extend(put_events(events, entries)?);
            Ok(())
        });
        if done.is_err() {
            self.pending = pending;
            return done;
        }
        for (first, piece) in written {
            self.sparse.remove(&first);
            if let Some(before) = self.pieces.remove(&first) {
                self.bytes -= before.bytes;
                self.wasted -= before.wasted();
            }
            if piece.events > 0 {
                self.bytes += piece.bytes;
                self.pieces.insert(first, piece);
            }
        }
        (self.settled, self.settled_batch, self.is_due) = (self.state.head, self.state.last_batch, false);
        self.tail.rewind();
        if self.state.ended {
            // Nobody needs what may stay of it.
            let _ = self.tail.clear();
        }
        Ok(())
    }

    /// One transaction: what is put into the tables, and the state.
    fn commit(
        &mut self,
        fill: impl FnOnce(&mut Events<'_>, &mut Topics<'_>) -> Result<(), redb::Error>,
    ) -> Result<(), Failed> {
        // After a failure redb takes no more until the file was opened again.
        let database = match self.database.get() {
            Some(database) => database,
            None => Arc::new(self.open_again().map_err(Trouble::why)?),
        };
        let done = database::commit(&database, &self.state, fill);
        self.database.set(done.is_ok().then_some(database));
        done.map_err(Trouble::why)
    }

    /// Opens the database after a failure.
    fn open_again(&self) -> Result<Database, Trouble> {
        let database = database::open(&*self.storage)?;
        // The last commit may be in it although it has failed.
        let is_known = |last| [self.settled_batch, self.state.last_batch].contains(&last);
        match left::state(&database)? {
            Some(state) if state.epoch == self.state.epoch && is_known(state.last_batch) => Ok(database),
            _ => Err(Trouble::Other(
                "it is not what was written there; restart sse-busd to begin with what there is".into(),
            )),
        }
    }
}

/// Opens the files. If they are not new, the database takes up what is in the tail only, and is read.
fn take_up(storage: &dyn Storage, path: &Path, epoch: Epoch) -> Result<(Database, Tail, Option<Content>), Trouble> {
    let database = database::open(storage)?;
    let Some(state) = left::state(&database)? else {
        return Ok((database, open_tail(storage, path, epoch)?, None));
    };
    let damaged = || Trouble::Damaged("its epoch is none".into());
    let epoch = Epoch::parse(&state.epoch).ok_or_else(damaged)?;
    let tail = open_tail(storage, path, epoch)?;
    let (mut pending, mut state) = (Pending::default(), State { ended: false, ..state });
    let before = state.last_batch;
    for Appended { number, batch, clock } in tail.after(before)? {
        (state.last_batch, state.head, state.clock, state.forgotten) =
            (number, batch.head, clock, batch.forgotten.clone());
        pending.add(batch);
    }
    if state.last_batch > before {
        let (entries, gone, records) = pending.all();
        database::commit(&database, &state, |events, topics| {
            put_topics(topics, gone, records)?;
            put_events(events, entries)?;
            Ok(())
        })?;
    }
    let content = left::read(&database, epoch)?;
    Ok((database, tail, Some(content)))
}

/// Opens the tail. One of another bus is set aside.
fn open_tail(storage: &dyn Storage, path: &Path, epoch: Epoch) -> Result<Tail, Trouble> {
    if let Some(tail) = Tail::open(storage.tail()?, epoch)? {
        return Ok(tail);
    }
    let path = tail_of(path);
    let aside = set_aside(&path)?;
    error!("{} belongs to another history or is damaged, and was set aside as {}", path.display(), aside.display());
    Tail::open(storage.tail()?, epoch)?.ok_or_else(|| Trouble::Other(format!("{} changes", path.display())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::database::{BUS, STATE},
        *,
    };

    #[test]
    fn a_file_of_a_newer_version_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.redb");
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let newer: &[u8] = br#"{"schema":3,"all":"else is other"}"#;
        transaction.open_table(STATE).unwrap().insert(BUS, newer).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = File::open(&path, Epoch::from_seed(1)).map(|_| ()).unwrap_err();
        assert!(error.contains("newer") && error.contains("--state-dir"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was set aside");
    }
}
