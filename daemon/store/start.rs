//! The start: the files are opened, the database takes up what is in the tail, and all of it is read.
//!
//! On a full disk nothing of that can be written. Then the database is opened as a [copy in memory](super::rewrite) that
//! takes up the tail, so that the past can be served, and the files stay as they are until there is room.

use std::{
    cell::Cell,
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{Database, backends::InMemoryBackend};
use sse_bus::{Epoch, bus::history::UnattributedLosses};
use tracing::{error, warn};

use super::{
    block::{Block, put_events},
    database::{self, SCHEMA, State, Trouble, put_topics},
    left::{self, Left},
    pending::Pending,
    region,
    rewrite::{copy, open_unchanged},
    storage::{self, Failed, Storage, set_aside, tail_of},
    tail::{self, Appended, Tail},
};

/// Numbers that are reserved ahead: after a crash the next daemon begins behind them.
pub(super) const RESERVE: u64 = 1 << 32;

/// What the files held, and how they are gone on with.
pub(super) struct Begun {
    pub(super) database: Database,
    pub(super) sync_failed: Arc<AtomicBool>,
    pub(super) tail: Tail,
    pub(super) state: State,
    pub(super) left: Option<Left>,
    pub(super) blocks: BTreeMap<u64, Block>,
    /// What is not in the database on disk.
    pub(super) pending: Pending,
    /// The last batch that is in the database on disk.
    pub(super) settled_batch: u64,
    /// Why nothing could be written. Then the database is a copy in memory.
    pub(super) full: Option<Failed>,
}

/// Opens the files, which are made if they are not there, and reads what is in them. What is damaged is set aside.
///
/// # Errors
///
/// Says what stands in the way, and what to do.
pub(super) fn begin(storage: &dyn Storage, path: &Path, epoch: Epoch) -> Result<Begun, Failed> {
    let shown = path.display();
    let failed = |e: &dyn std::fmt::Display| {
        format!("{shown} cannot be used: {e}; choose another directory with --state-dir, or --history memory")
    };
    let start = Start { storage, path, epoch, sync_failed: Arc::default(), is_new: Cell::new(false) };
    let mut begun = start.on_disk();
    if let Err(Trouble::Damaged(why)) = begun {
        let aside = set_aside(path).map_err(|e| failed(&e))?;
        error!("{shown} is damaged ({why}) and was set aside as {}; history begins anew", aside.display());
        begun = start.on_disk();
    }
    if let Err(Trouble::Full(why)) = begun {
        warn!("history cannot be written to {shown}: {why}; the daemon starts with what is there, and tries again");
        begun = start.in_memory(why);
    }
    let begun = begun.map_err(|trouble| failed(&trouble.why()))?;
    // Once more: in between somebody may have put a file there.
    storage::check(path).map_err(|why| failed(&why))?;
    if let Some(damaged) = begun.left.as_ref().map(|left| left.damaged).filter(|damaged| *damaged > 0) {
        error!("{damaged} blocks of {shown} are damaged; their events are told as lost");
    }
    Ok(begun)
}

/// A database, and what notes a sync of it that fails.
type Opened = (Database, Arc<AtomicBool>);

struct Start<'a> {
    storage: &'a dyn Storage,
    path: &'a Path,
    /// For new files.
    epoch: Epoch,
    sync_failed: Arc<AtomicBool>,
    /// There was no database.
    is_new: Cell<bool>,
}

impl Start<'_> {
    fn on_disk(&self) -> Result<Begun, Trouble> {
        self.is_new.set(!self.path.exists());
        let file = self.storage.database()?;
        self.is_new.set(file.len()? == 0);
        let has_regions = region::is_in(&*file)?;
        let opened = database::open_file(file, &self.sync_failed).map(|database| (database, self.sync_failed.clone()));
        let opened = opened.and_then(|opened| if has_regions { Ok(opened) } else { self.with_regions(opened) });
        let begun = opened.and_then(|(database, sync_failed)| self.take_up(database, sync_failed, None));
        if self.is_new.get() && matches!(begun, Err(Trouble::Full(_))) {
            // What is there of it would be taken for damaged.
            let _ = self.storage.opened().and_then(|file| file.set_len(0));
        }
        begun
    }

    /// Copies a file that grows by doubling into a new one. While there is no room for that, it stays in use.
    fn with_regions(&self, opened: Opened) -> Result<Opened, Trouble> {
        if !left::state(&opened.0).is_ok_and(|state| state.is_some()) {
            return Ok(opened);
        }
        match copy(self.storage, &opened.0) {
            Ok(copied) => {
                self.storage.replace()?;
                Ok(copied)
            }
            Err(trouble) => {
                let (path, error) = (self.path.display(), trouble.why());
                warn!(error, "{path} could not be copied, and takes more room than it needs until the next start");
                Ok(opened)
            }
        }
    }

    fn in_memory(&self, why: Failed) -> Result<Begun, Trouble> {
        if !self.is_new.get() {
            let database = open_unchanged(self.storage)?;
            if left::state(&database)?.is_some() {
                return self.take_up(database, self.sync_failed.clone(), Some(why));
            }
        }
        // There is no file that could be gone on with, so that a new one is made as soon as there is room.
        self.sync_failed.store(true, Ordering::Release);
        let database = database::open_file(Box::new(InMemoryBackend::new()), &Arc::default())?;
        self.take_up(database, self.sync_failed.clone(), Some(why))
    }

    /// Has a database take up what is in the tail, notes in it that a daemon runs, and reads it.
    fn take_up(
        &self,
        database: Database,
        sync_failed: Arc<AtomicBool>,
        full: Option<Failed>,
    ) -> Result<Begun, Trouble> {
        let found = left::state(&database)?;
        let damaged = || Trouble::Damaged("its epoch is none".into());
        let epoch = match &found {
            Some(state) => Epoch::parse(&state.epoch).ok_or_else(damaged)?,
            None => self.epoch,
        };
        let tail = match self.tail(epoch) {
            Err(Trouble::Full(_)) if full.is_some() => in_memory_tail(epoch)?,
            tail => tail?,
        };
        let is_new = found.is_none();
        let mut state = found.unwrap_or_else(|| State { epoch: epoch.to_string(), ..State::default() });
        let (mut pending, before) = (Pending::default(), state.last_batch);
        if !is_new {
            for Appended { number, batch, clock } in tail.after(before)? {
                (state.last_batch, state.head, state.clock, state.forgotten, state.ended) =
                    (number, batch.head, clock, batch.forgotten.clone(), false);
                pending.add(batch);
            }
        }
        if full.is_some() {
            // Nothing on disk says which numbers this daemon uses. So it begins where no other would by chance.
            let chance = RandomState::new().hash_one(()) >> 16;
            (state.ended, state.reserved) = (false, state.reserved.max(state.head) + RESERVE + chance);
        }
        if state.last_batch > before || full.is_some() {
            let (entries, gone, records) = pending.all();
            database::commit(&database, &state, |blocks, topics| {
                put_topics(topics, gone, records)?;
                put_events(blocks, None, entries)?;
                Ok(())
            })?;
        }
        let (state, left, blocks) = if is_new {
            (state, None, BTreeMap::new())
        } else {
            left::read(&database, epoch).map(|(state, left, blocks)| (state, Some(left), blocks))?
        };
        let (head, forgotten) =
            left.as_ref().map_or((0, UnattributedLosses::default()), |l| (l.head, l.forgotten.clone()));
        // A copy in memory stands for what is on disk.
        let settled_batch = if full.is_some() { before } else { tail::begin() };
        let (reserved, ended, last_batch) = (head + RESERVE, false, settled_batch);
        let mut state = State { schema: SCHEMA, head, reserved, ended, forgotten, last_batch, ..state };
        // It notes that a daemon runs, and which numbers it may use. Twice: if the last transaction is damaged, redb goes
        // back to the one before, and that must say it, too.
        for _ in 0..2 {
            database::commit(&database, &state, |_, _| Ok(()))?;
        }
        if full.is_some() {
            // The batches that come are not those that the tail may have after the last one.
            state.last_batch = tail::begin();
        } else {
            pending = Pending::default();
        }
        Ok(Begun { database, sync_failed, tail, state, left, blocks, pending, settled_batch, full })
    }

    /// Opens the tail. One of another bus is set aside.
    fn tail(&self, epoch: Epoch) -> Result<Tail, Trouble> {
        if let Some(tail) = Tail::open(self.storage.tail()?, epoch)? {
            return Ok(tail);
        }
        let path = tail_of(self.path);
        let aside = set_aside(&path)?;
        error!("{} belongs to another history or is damaged, and was set aside as {}", path.display(), aside.display());
        Tail::open(self.storage.tail()?, epoch)?.ok_or_else(|| Trouble::Other(format!("{} changes", path.display())))
    }
}

/// A tail that is read only, since nothing is in it.
fn in_memory_tail(epoch: Epoch) -> Result<Tail, Trouble> {
    let tail = Tail::open(Box::new(InMemoryBackend::new()), epoch)?;
    tail.ok_or_else(|| Trouble::Other("the tail is of another bus".into()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::{
            database::{BUS, STATE},
            storage::FileSystem,
        },
        *,
    };

    #[test]
    fn a_file_of_a_newer_version_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.redb");
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let newer: &[u8] = br#"{"schema":5,"all":"else is other"}"#;
        transaction.open_table(STATE).unwrap().insert(BUS, newer).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = begin(&FileSystem::new(&path), &path, Epoch::from_seed(1)).map(|_| ()).unwrap_err();
        assert!(error.contains("newer") && error.contains("--state-dir"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was set aside");
    }
}
