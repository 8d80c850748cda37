//! Opens the files at the start: applies the write-ahead file to the database and reads all content.
//!
//! On a full disk this cannot be written. Then the database is opened as a [copy in memory](super::rewrite), to which
//! the write-ahead file is applied. So history can be served, and the files stay unchanged until there is space.

use std::{
    cell::Cell,
    collections::BTreeMap,
    io,
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
    block::{Block, write_events},
    database::{self, SCHEMA, State},
    error::{Damage, OpenError, StoreError},
    pending::Pending,
    recovery::{self, Recovered},
    region,
    rewrite::{copy, open_unchanged},
    storage::{self, Storage, set_aside, wal_path},
    wal::{self, Wal, WalBatch},
};

/// Number of sequence numbers reserved ahead: after a crash the next daemon continues after them.
pub(super) const RESERVE: u64 = 1 << 32;

/// The opened files and their content.
pub(super) struct StartState {
    pub(super) database: Database,
    pub(super) sync_failed: Arc<AtomicBool>,
    pub(super) wal: Wal,
    pub(super) state: State,
    pub(super) recovered: Option<Recovered>,
    pub(super) blocks: BTreeMap<u64, Block>,
    /// Changes that are not in the database on disk.
    pub(super) pending: Pending,
    /// The last batch in the database on disk.
    pub(super) checkpointed_batch: u64,
    /// Why nothing could be written. If set, the database is a copy in memory.
    pub(super) disk_full: Option<io::Error>,
}

/// Opens the files, or creates them, and reads their content. Damaged files are set aside.
pub(super) fn start(storage: &dyn Storage, path: &Path, epoch: Epoch) -> Result<StartState, OpenError> {
    let shown = path.display();
    let failed = |error| OpenError { path: path.to_owned(), error };
    let starting = Start { storage, path, epoch, sync_failed: Arc::default(), is_new: Cell::new(false) };
    let mut started = starting.open_on_disk();
    if let Err(StoreError::Damaged(why)) = started {
        let aside = set_aside(path).map_err(|e| failed(e.into()))?;
        error!("{shown} is damaged ({why}) and was set aside as {}; history starts empty", aside.display());
        started = starting.open_on_disk();
    }
    if let Err(StoreError::Full(why)) = started {
        warn!(
            "history cannot be written to {shown}: {why}; the daemon starts with the existing history and will retry"
        );
        started = starting.open_in_memory(why);
    }
    let started = started.map_err(failed)?;
    // Checked again: another user may have created a file in the meantime.
    storage::check(path).map_err(|why| failed(why.into()))?;
    if let Some(damaged) = started.recovered.as_ref().map(|recovered| recovered.damaged).filter(|damaged| *damaged > 0)
    {
        error!("{damaged} blocks of {shown} are damaged; their events are reported as lost");
    }
    Ok(started)
}

/// A database, and the flag that reports failed syncs of its file.
type Opened = (Database, Arc<AtomicBool>);

struct Start<'a> {
    storage: &'a dyn Storage,
    path: &'a Path,
    /// The epoch of new files.
    epoch: Epoch,
    sync_failed: Arc<AtomicBool>,
    /// The database did not exist.
    is_new: Cell<bool>,
}

impl Start<'_> {
    fn open_on_disk(&self) -> Result<StartState, StoreError> {
        self.is_new.set(!self.path.exists());
        let file = self.storage.database()?;
        self.is_new.set(file.len()? == 0);
        let has_regions = region::is_in(&*file)?;
        let opened = database::open_file(file, &self.sync_failed).map(|database| (database, self.sync_failed.clone()));
        let opened = opened.and_then(|opened| if has_regions { Ok(opened) } else { self.convert_to_regions(opened) });
        let started = opened.and_then(|(database, sync_failed)| self.apply_wal(database, sync_failed, None));
        if self.is_new.get() && matches!(started, Err(StoreError::Full(_))) {
            // An incomplete new file would be taken for a damaged one.
            let _ = self.storage.opened().and_then(|file| file.set_len(0));
        }
        started
    }

    /// Copies a file that grows by doubling into one that grows by regions. While there is no space for the copy, the
    /// old file stays in use.
    fn convert_to_regions(&self, opened: Opened) -> Result<Opened, StoreError> {
        if !recovery::state(&opened.0).is_ok_and(|state| state.is_some()) {
            return Ok(opened);
        }
        match copy(self.storage, &opened.0) {
            Ok(copied) => {
                self.storage.replace()?;
                Ok(copied)
            }
            Err(error) => {
                let path = self.path.display();
                warn!(%error, "{path} could not be copied and stays larger than necessary until the next start");
                Ok(opened)
            }
        }
    }

    fn open_in_memory(&self, why: io::Error) -> Result<StartState, StoreError> {
        if !self.is_new.get() {
            let database = open_unchanged(self.storage)?;
            if recovery::state(&database)?.is_some() {
                return self.apply_wal(database, self.sync_failed.clone(), Some(why));
            }
        }
        // There is no usable file. With this flag a new one is created as soon as there is space.
        self.sync_failed.store(true, Ordering::Release);
        let database = database::open_file(Box::new(InMemoryBackend::new()), &Arc::default())?;
        self.apply_wal(database, self.sync_failed.clone(), Some(why))
    }

    /// Applies the write-ahead file to a database, marks the database as in use, and reads it.
    fn apply_wal(
        &self,
        database: Database,
        sync_failed: Arc<AtomicBool>,
        disk_full: Option<io::Error>,
    ) -> Result<StartState, StoreError> {
        let found = recovery::state(&database)?;
        let damaged = || StoreError::Damaged(Damage::Epoch);
        let epoch = match &found {
            Some(state) => Epoch::parse(&state.epoch).ok_or_else(damaged)?,
            None => self.epoch,
        };
        let wal = match self.wal(epoch) {
            Err(StoreError::Full(_)) if disk_full.is_some() => in_memory_wal(epoch)?,
            wal => wal?,
        };
        let is_new = found.is_none();
        let mut state = found.unwrap_or_else(|| State { epoch: epoch.to_string(), ..State::default() });
        let (mut pending, before) = (Pending::default(), state.last_batch);
        if !is_new {
            for WalBatch { number, batch, consumers, clock } in wal.after(before)? {
                (state.last_batch, state.head, state.clock, state.forgotten, state.ended) =
                    (number, batch.head, clock, batch.forgotten.clone(), false);
                pending.add(batch, consumers);
            }
        }
        if disk_full.is_some() {
            // The sequence numbers of this daemon cannot be reserved on disk. So it starts from a random position that
            // a later daemon will not reuse.
            let chance = fastrand::u64(..1 << 48);
            (state.ended, state.reserved) = (false, state.reserved.max(state.head) + RESERVE + chance);
        }
        if state.last_batch > before || disk_full.is_some() {
            let all = pending.all();
            database::commit(&database, &state, |tables| {
                all.put(tables)?;
                write_events(&mut tables.blocks, None, all.entries)?;
                Ok(())
            })?;
        }
        let (state, recovered, blocks) = if is_new {
            (state, None, BTreeMap::new())
        } else {
            recovery::read(&database, epoch).map(|(state, recovered, blocks)| (state, Some(recovered), blocks))?
        };
        let (head, forgotten) =
            recovered.as_ref().map_or((0, UnattributedLosses::default()), |l| (l.head, l.forgotten.clone()));
        // The copy in memory represents the database on disk.
        let checkpointed_batch = if disk_full.is_some() { before } else { wal::random_start() };
        let (reserved, ended, last_batch) = (head + RESERVE, false, checkpointed_batch);
        let mut state = State { schema: SCHEMA, head, reserved, ended, forgotten, last_batch, ..state };
        // Marks the database as in use and reserves sequence numbers. Twice: if the last transaction is damaged, redb
        // goes back to the one before, and that one must be marked, too.
        for _ in 0..2 {
            database::commit(&database, &state, |_| Ok(()))?;
        }
        if disk_full.is_some() {
            // The numbers of new batches must not continue those in the write-ahead file.
            state.last_batch = wal::random_start();
        } else {
            pending = Pending::default();
        }
        Ok(StartState { database, sync_failed, wal, state, recovered, blocks, pending, checkpointed_batch, disk_full })
    }

    /// Opens the write-ahead file. One that belongs to another bus is set aside.
    fn wal(&self, epoch: Epoch) -> Result<Wal, StoreError> {
        if let Some(wal) = Wal::open(self.storage.wal()?, epoch)? {
            return Ok(wal);
        }
        let path = wal_path(self.path);
        let aside = set_aside(&path)?;
        error!("{} belongs to another history or is damaged, and was set aside as {}", path.display(), aside.display());
        Wal::open(self.storage.wal()?, epoch)?.ok_or(StoreError::Changed(path))
    }
}

/// An empty write-ahead file in memory, for a start on a full disk.
fn in_memory_wal(epoch: Epoch) -> Result<Wal, StoreError> {
    let wal = Wal::open(Box::new(InMemoryBackend::new()), epoch)?;
    wal.ok_or(StoreError::OtherBus)
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
    fn a_file_of_a_newer_version_is_refused_and_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.redb");
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let newer: &[u8] = br#"{"schema":6,"other":"fields"}"#;
        transaction.open_table(STATE).unwrap().insert(BUS, newer).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = start(&FileSystem::new(&path), &path, Epoch::from_seed(1)).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("newer") && error.contains("--state-dir"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was set aside");
    }
}
