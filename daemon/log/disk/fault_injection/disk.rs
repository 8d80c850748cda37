//! A simulated disk that loses unsynced writes and can fail at any operation.

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
};

use redb::StorageBackend;
use tempfile::TempDir;

use super::{
    super::{
        error::{NameError, OpenError},
        files::Files,
        recovery::Recovered,
        storage::{Storage, wal_path},
    },
    image::{Change, Image, resize},
    support::{Random, epoch},
};

/// The disk with the files on it. Empty files in a folder represent their names, so that files can be set aside.
pub(super) struct Disk {
    folder: TempDir,
    files: SimulatedFiles,
}

/// The database, the write-ahead file and the path.
#[derive(Clone)]
struct SimulatedFiles {
    path: PathBuf,
    /// The file that the database's name leads to, and the file that was opened last.
    database: Arc<Mutex<Bytes>>,
    opened: Arc<Mutex<Option<Bytes>>>,
    replacement: Arc<Mutex<Option<Bytes>>>,
    wal: Bytes,
}

/// An open file.
#[derive(Clone, Debug)]
struct Bytes {
    image: Arc<Mutex<Image>>,
    /// Shared by the whole disk.
    accident: Arc<Mutex<Option<Accident>>>,
    /// Shared by the whole disk: the next sync waits for this channel.
    hangs: Arc<Mutex<Option<Receiver<()>>>>,
    /// Number of times that the open handles of this file were invalidated.
    cuts: Arc<AtomicUsize>,
    /// That number when this handle was opened.
    before: usize,
}

/// After `after` changes and syncs, the next `lasts` of them fail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accident {
    pub(super) after: usize,
    pub(super) lasts: usize,
}

impl Accident {
    /// The disk is full.
    pub(super) fn full(after: usize) -> Accident {
        Accident { after, lasts: 999 }
    }

    /// The power fails, so that all later operations fail.
    pub(super) fn power(after: usize) -> Accident {
        Accident { after, lasts: usize::MAX }
    }
}

impl Disk {
    /// Returns a disk with this content in the database and the write-ahead file.
    pub(super) fn holding(bytes: [Vec<u8>; 2]) -> Disk {
        let (folder, accident, hangs) = (tempfile::tempdir().unwrap(), Arc::default(), Arc::default());
        let [database, wal] = bytes.map(|bytes| {
            let image = Image { safe: bytes.clone(), seen: bytes, ..Image::default() };
            Bytes {
                image: Arc::new(Mutex::new(image)),
                accident: Arc::clone(&accident),
                hangs: Arc::clone(&hangs),
                cuts: Arc::default(),
                before: 0,
            }
        });
        let (path, database) = (folder.path().join("history.redb"), Arc::new(Mutex::new(database)));
        let files = SimulatedFiles { path, database, opened: Arc::default(), replacement: Arc::default(), wal };
        fs::write(&files.path, "").unwrap();
        fs::write(wal_path(&files.path), "").unwrap();
        Disk { folder, files }
    }

    /// Opens the files as the daemon does.
    pub(super) fn open(&self) -> Result<(Files, Option<Recovered>), OpenError> {
        Files::open_on(Box::new(self.files.clone()), &self.files.path, epoch())
    }

    /// Number of databases that were set aside.
    pub(super) fn set_aside(&self) -> usize {
        self.named("history.redb.damaged")
    }

    /// Number of write-ahead files that were set aside.
    pub(super) fn wals_set_aside(&self) -> usize {
        self.named("history.tail.damaged")
    }

    fn named(&self, begin: &str) -> usize {
        let names = fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().starts_with(begin)).count()
    }

    /// The content of the database and the write-ahead file.
    pub(super) fn bytes(&self) -> [Vec<u8>; 2] {
        self.files.both().map(|file| file.image().seen.clone())
    }

    /// The size of both files.
    pub(super) fn len(&self) -> usize {
        self.files.both().map(|file| file.image().seen.len()).iter().sum()
    }

    /// Opens the database file without the daemon's code.
    pub(super) fn file(&self) -> impl StorageBackend + use<> {
        self.files.database.lock().unwrap().clone()
    }

    /// Returns true if the power has failed.
    pub(super) fn has_lost_power(&self) -> bool {
        self.files.wal.has_lost_power()
    }

    /// Removes the database.
    pub(super) fn remove_database(&self) {
        fs::remove_file(&self.files.path).unwrap();
    }

    /// Removes the write-ahead file.
    pub(super) fn remove_wal(&self) {
        fs::remove_file(wal_path(&self.files.path)).unwrap();
    }

    /// Invalidates the open handles of the write-ahead file.
    pub(super) fn cut_off_wal(&self) {
        self.files.wal.cuts.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns true if a sync of the database has failed.
    pub(super) fn has_dropped(&self) -> bool {
        self.files.database.lock().unwrap().image().has_dropped
    }

    /// The next sync does not return before the sender is dropped.
    pub(super) fn hang_next_sync(&self) -> Sender<()> {
        let (hanging, until) = channel();
        *self.files.wal.hangs.lock().unwrap() = Some(until);
        hanging
    }

    pub(super) fn plan(&self, accident: Accident) {
        *self.files.wal.accident.lock().unwrap() = Some(accident);
    }

    /// Frees space on the disk.
    pub(super) fn free_space(&self) {
        *self.files.wal.accident.lock().unwrap() = None;
    }

    /// Turns the power on again.
    pub(super) fn restore_power(&self, random: &mut Random) {
        *self.files.wal.accident.lock().unwrap() = None;
        for file in self.files.both() {
            file.image().lose_power(random);
        }
    }
}

impl SimulatedFiles {
    /// The files that the names lead to.
    fn both(&self) -> [Bytes; 2] {
        [self.database.lock().unwrap().clone(), self.wal.clone()]
    }
}

impl Storage for SimulatedFiles {
    fn database(&self) -> io::Result<Box<dyn StorageBackend>> {
        let mut database = self.database.lock().unwrap();
        if !self.path.exists() {
            *database = database.another();
            fs::write(&self.path, "")?;
        }
        *self.opened.lock().unwrap() = Some(database.clone());
        Ok(Box::new(database.clone()))
    }

    fn opened(&self) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(self.opened.lock().unwrap().clone().unwrap()))
    }

    fn replacement(&self) -> io::Result<Box<dyn StorageBackend>> {
        let replacement = self.wal.another();
        *self.replacement.lock().unwrap() = Some(replacement.clone());
        Ok(Box::new(replacement))
    }

    fn discard_replacement(&self) {
        *self.replacement.lock().unwrap() = None;
    }

    fn replace(&self) -> io::Result<()> {
        if self.wal.should_fail() {
            return Err(self.wal.failed());
        }
        let replacement = self.replacement.lock().unwrap().take().unwrap();
        *self.opened.lock().unwrap() = Some(replacement.clone());
        *self.database.lock().unwrap() = replacement;
        fs::write(&self.path, "")
    }

    fn database_len(&self) -> io::Result<u64> {
        self.opened()?.len()
    }

    fn wal(&self) -> io::Result<Box<dyn StorageBackend>> {
        let path = wal_path(&self.path);
        if !path.exists() {
            *self.wal.image() = Image::default();
            fs::write(path, "")?;
        }
        Ok(Box::new(Bytes { before: self.wal.cuts.load(Ordering::Relaxed), ..self.wal.clone() }))
    }

    fn check_database(&self) -> Result<(), NameError> {
        if self.path.exists() { Ok(()) } else { Err(NameError::Removed(self.path.clone())) }
    }

    fn check_wal(&self) -> Result<(), NameError> {
        if wal_path(&self.path).exists() { Ok(()) } else { Err(NameError::Removed(wal_path(&self.path))) }
    }
}

impl Bytes {
    /// Returns an empty file on the same disk.
    fn another(&self) -> Bytes {
        Bytes { image: Arc::default(), cuts: Arc::default(), before: 0, ..self.clone() }
    }

    fn image(&self) -> MutexGuard<'_, Image> {
        self.image.lock().unwrap()
    }

    /// The error of a failed operation.
    fn failed(&self) -> io::Error {
        if self.has_lost_power() { io::Error::other("the power has failed") } else { io::ErrorKind::StorageFull.into() }
    }

    fn has_lost_power(&self) -> bool {
        matches!(*self.accident.lock().unwrap(), Some(Accident { after: 0, lasts: 1_000.. }))
    }

    /// Counts a change or a sync. Returns true if it fails.
    fn should_fail(&self) -> bool {
        if self.before < self.cuts.load(Ordering::Relaxed) {
            return true;
        }
        let mut accident = self.accident.lock().unwrap();
        let Some(Accident { after, lasts }) = &mut *accident else { return false };
        match (&mut *after, &mut *lasts) {
            (0, 0) => {
                *accident = None;
                false
            }
            (0, lasts) => {
                *lasts -= 1;
                true
            }
            (after, _) => {
                *after -= 1;
                false
            }
        }
    }
}

impl StorageBackend for Bytes {
    fn len(&self) -> io::Result<u64> {
        Ok(self.image().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (image, start) = (self.image(), offset as usize);
        if self.has_lost_power() {
            return Err(self.failed());
        }
        let end = start.checked_add(out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(image.seen.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let (mut image, length) = (self.image(), length as usize);
        if self.should_fail() {
            return Err(self.failed());
        }
        resize(&mut image.seen, length);
        image.unsafe_changes.push(Change::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let until = self.hangs.lock().unwrap().take();
        if let Some(until) = until {
            let _ = until.recv();
        }
        let mut image = self.image();
        if self.should_fail() {
            // After a power failure no process is left that could take them for written.
            if !self.has_lost_power() {
                image.write_back(|n| n % 3 == 0);
                image.has_dropped = true;
            }
            return Err(self.failed());
        }
        image.write_back(|_| true);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut image = self.image();
        if self.should_fail() {
            // A full disk may have written a part.
            image.write(offset as usize, &data[..data.len() / 2]);
            return Err(self.failed());
        }
        image.write(offset as usize, data);
        Ok(())
    }
}
