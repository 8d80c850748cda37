//! The file that history is kept in: a redb database with three tables.
//!
//! Events stand in [pieces](super::record), one or more for each commit, under the number of their first event. Pieces
//! lose the events that history has let go once these are more than half of it, and go with the last. Topics stand under
//! their names, and what is known of the whole under [`STATE`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use redb::{Builder, Database, DatabaseError, ReadableTable as _, Table, TableDefinition};
use serde::{Deserialize, Serialize};
use sse_bus::{
    Epoch,
    bus::{
        history::{Forgotten, TopicPast},
        journal::{Batch, Gone, TopicRecord},
    },
};
use tracing::error;

use super::{
    left::{self, Left},
    piece::Piece,
    record,
};
use crate::shared::unix_now;

pub(super) const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
pub(super) const TOPICS: TableDefinition<&str, &[u8]> = TableDefinition::new("topics");
pub(super) const STATE: TableDefinition<&str, &[u8]> = TableDefinition::new("state");
/// The one key of [`STATE`].
pub(super) const BUS: &str = "bus";

/// The form of the tables. A file of a newer one is refused.
pub(super) const SCHEMA: u32 = 1;
/// Bytes of one piece, unless a single event is larger: with what redb adds it fits a page of 64 KiB, the sizes of which
/// are powers of two.
const PIECE: usize = 63 << 10;
/// Pieces that one commit rewrites, at most: more than a batch can make sparse for long.
const REWRITES: usize = 128;
/// Pieces of which nothing is left that one commit removes, at most.
const REMOVALS: usize = 4096;
/// Numbers that are reserved ahead: after a crash the next daemon begins behind them.
const RESERVE: u64 = 1 << 32;
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
    pub(super) forgotten: Forgotten,
}

#[derive(Serialize, Deserialize)]
pub(super) struct TopicState {
    pub(super) published: u64,
    pub(super) last: Option<(u64, u64)>,
    pub(super) past: TopicPast,
}

/// The file, open.
pub(super) struct File {
    create: Create,
    database: Shelf,
    state: State,
    pieces: BTreeMap<u64, Piece>,
    /// Those that are sparse, noted so that a commit need not look at all of them.
    sparse: BTreeSet<u64>,
    /// Bytes of all pieces.
    bytes: usize,
    /// Of these, about what is gone and stands there still.
    wasted: usize,
}

/// What went wrong, for people.
pub(super) type Failed = String;

/// The open database, for who writes and who reads. Not there after a failure, until it is opened again.
#[derive(Clone)]
pub(super) struct Shelf(Arc<Mutex<Option<Arc<Database>>>>);

impl Shelf {
    pub(super) fn get(&self) -> Option<Arc<Database>> {
        self.0.lock().clone()
    }

    fn set(&self, database: Option<Arc<Database>>) {
        *self.0.lock() = database;
    }
}

/// Opens the database, which is made if it is not there.
pub(super) type Create = Box<dyn Fn(&Builder) -> Result<Database, DatabaseError> + Send>;

impl File {
    /// Opens the file, which is made if it is not there, and reads what is in it. One that is damaged is set aside.
    ///
    /// # Errors
    ///
    /// Says what stands in the way, and what to do.
    pub(super) fn open(path: &Path, epoch: Epoch) -> Result<(File, Option<Left>), Failed> {
        let file = path.to_owned();
        let create = move |builder: &Builder| {
            let is_new = !file.exists();
            let database = builder.create(&file)?;
            // Otherwise the power may take the name of a file of which every byte is on disk.
            if cfg!(unix) && is_new {
                fs::File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()?;
            }
            Ok(database)
        };
        File::open_with(path, Box::new(create), epoch)
    }

    /// Opens the file by other means, on a disk that has accidents.
    pub(super) fn open_with(path: &Path, create: Create, epoch: Epoch) -> Result<(File, Option<Left>), Failed> {
        let shown = path.display();
        let failed = |e: &dyn std::fmt::Display| {
            format!("{shown} cannot be used: {e}; choose another directory with --state-dir, or --history memory")
        };
        let directory = path.parent().unwrap_or(Path::new("."));
        sse_bus::tokens::make_private(directory).map_err(|e| failed(&e))?;
        let read = |database| guarded(|| left::read(&database)).map(|read| (database, read));
        let (database, read) = match open(&create).and_then(read) {
            Ok(found) => found,
            Err(Trouble::Other(why)) => return Err(failed(&why)),
            Err(Trouble::Damaged(why)) => {
                let aside = set_aside(path).map_err(|e| failed(&e))?;
                error!("{shown} is damaged ({why}) and was set aside as {}; history begins anew", aside.display());
                (open(&create).map_err(|trouble| failed(&trouble.why()))?, None)
            }
        };
        let database = Shelf(Arc::new(Mutex::new(Some(database.into()))));
        let Some((state, left, pieces)) = read else {
            let state = State {
                schema: SCHEMA,
                epoch: epoch.to_string(),
                head: 0,
                reserved: RESERVE,
                ended: false,
                clock: 0,
                forgotten: Forgotten::default(),
            };
            let mut file =
                File { create, database, state, pieces: BTreeMap::new(), sparse: BTreeSet::new(), bytes: 0, wasted: 0 };
            file.begin().map_err(|e| failed(&e))?;
            return Ok((file, None));
        };
        if state.schema > SCHEMA {
            return Err(format!(
                "{shown} is of a newer sse-busd (schema {}, this one knows {SCHEMA}); use that, or choose another directory \
                 with --state-dir",
                state.schema
            ));
        }
        if left.damaged > 0 {
            error!("{} pieces of {shown} are damaged; their events are told as lost", left.damaged);
        }
        let (head, forgotten) = (left.head, left.forgotten.clone());
        let state = State { head, reserved: head + RESERVE, ended: false, forgotten, ..state };
        let sparse = pieces.iter().filter(|(_, piece)| piece.is_sparse()).map(|(first, _)| *first).collect();
        let bytes = pieces.values().map(|piece| piece.bytes).sum();
        let wasted = pieces.values().map(Piece::wasted).sum();
        let mut file = File { create, database, state, pieces, sparse, bytes, wasted };
        file.begin().map_err(|e| failed(&e))?;
        Ok((file, Some(left)))
    }

    /// The database, for who reads from it.
    pub(super) fn shelf(&self) -> Shelf {
        self.database.clone()
    }

    /// Notes that a daemon runs, and which numbers it may use.
    fn begin(&mut self) -> Result<(), Failed> {
        // Twice: if the last transaction is damaged, redb goes back to the one before, and that must say it, too.
        self.commit(|_, _| Ok(()))?;
        self.commit(|_, _| Ok(()))
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

    /// Writes a batch, durably. After an error nothing of it counts, and it is to be written again.
    pub(super) fn write(&mut self, batch: &Batch, clock: u64, ended: bool) -> Result<(), Failed> {
        self.state.head = upto(batch);
        (self.state.clock, self.state.forgotten, self.state.ended) = (clock, batch.forgotten.clone(), ended);
        if self.state.reserved < batch.head + RESERVE / 2 {
            self.state.reserved = batch.head + RESERVE;
        }
        for seq in &batch.removed {
            self.drop_event(*seq);
        }
        let sparse = self.sparse.iter().filter_map(|first| self.pieces.get_key_value(first));
        let (over, sparse): (Vec<_>, Vec<_>) = sparse.partition(|(_, piece)| piece.is_over());
        let over: Vec<_> = over.into_iter().take(REMOVALS).map(|(first, _)| *first).collect();
        // What goes in the order in which it came takes its pieces with it soon, so that nothing need be written again.
        let is_wasteful = self.wasted * 2 > self.bytes;
        let sparse = sparse.into_iter().take(if is_wasteful { REWRITES } else { 0 });
        let sparse: Vec<_> = sparse.map(|(first, piece)| (*first, piece.events, piece.gone.clone())).collect();
        let mut written = Vec::new();
        self.commit(|events, topics| {
            match &batch.gone {
                Gone::Topics(gone) => {
                    for topic in gone {
                        topics.remove(topic.as_str())?;
                    }
                }
                Gone::AllOthers => topics.retain(|_, _| false)?,
            }
            for TopicRecord { topic, published, last, past } in &batch.topics {
                let state = TopicState { published: *published, last: *last, past: *past };
                // Numbers can always be written.
                topics.insert(topic.as_str(), &*serde_json::to_vec(&state).unwrap_or_default())?;
            }
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
            let mut rest = &batch.entries[..];
            while let Some(first) = rest.first() {
                let (piece, events_in_it) = record::encode(rest, PIECE);
                events.insert(first.seq, &*piece)?;
                written.push((first.seq, Piece::new(events_in_it, piece.len())));
                rest = &rest[events_in_it..];
            }
            Ok(())
        })?;
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
        Ok(())
    }

    /// One transaction: what is put into the tables, and the state. It is on disk when this returns.
    fn commit(
        &mut self,
        fill: impl FnOnce(
            &mut Table<u64, &'static [u8]>,
            &mut Table<&'static str, &'static [u8]>,
        ) -> Result<(), redb::Error>,
    ) -> Result<(), Failed> {
        // After a failure redb takes no more until the file was opened again.
        let database = match self.database.get() {
            Some(database) => database,
            None => Arc::new(open(&self.create).map_err(Trouble::why)?),
        };
        let state = serde_json::to_vec(&self.state).map_err(|e| e.to_string())?;
        let done = guarded(|| {
            let transaction = database.begin_write()?;
            fill(&mut transaction.open_table(EVENTS)?, &mut transaction.open_table(TOPICS)?)?;
            transaction.open_table(STATE)?.insert(BUS, &*state)?;
            transaction.commit()?;
            Ok(())
        });
        self.database.set(done.is_ok().then_some(database));
        done.map_err(Trouble::why)
    }
}

/// Why a file cannot be had.
pub(super) enum Trouble {
    Damaged(Failed),
    Other(Failed),
}

impl Trouble {
    pub(super) fn why(self) -> Failed {
        match self {
            Trouble::Damaged(why) | Trouble::Other(why) => why,
        }
    }
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Trouble {
        match error {
            redb::Error::DatabaseAlreadyOpen => Trouble::Other("another sse-busd has it open".into()),
            // A disk that fails says nothing about the file; one that ends too early is damaged.
            redb::Error::Io(e) if !matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                Trouble::Other(e.to_string())
            }
            e => Trouble::Damaged(e.to_string()),
        }
    }
}

/// Opens a database and looks at every page of it.
fn open(create: &Create) -> Result<Database, Trouble> {
    guarded(|| Ok(create(Builder::new().set_cache_size(CACHE).set_check_integrity_on_open(true))?))
}

/// Does something with a database that may be damaged, or on a disk that fails.
pub(super) fn guarded<T>(action: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Trouble> {
    // A damaged file may make redb panic.
    match catch_unwind(AssertUnwindSafe(action)) {
        Ok(done) => done.map_err(Trouble::from),
        Err(_) => Err(Trouble::Damaged("it cannot be read".into())),
    }
}

/// With this batch everything up to here is written down.
pub(super) fn upto(batch: &Batch) -> u64 {
    let last = batch.entries.last().filter(|_| batch.more);
    last.map_or(batch.head, |last| last.seq)
}

/// Moves a damaged file away, under a name that no other has.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".damaged-{}", unix_now()));
    fs::rename(path, &aside)?;
    Ok(aside.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_newer_version_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.redb");
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let newer: &[u8] = br#"{"schema":2,"all":"else is other"}"#;
        transaction.open_table(STATE).unwrap().insert(BUS, newer).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = File::open(&path, Epoch::from_seed(1)).map(|_| ()).unwrap_err();
        assert!(error.contains("newer") && error.contains("--state-dir"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was set aside");
    }
}
