//! The files of history on the file system: their names, the open files, and the checks that both still belong
//! together.
//!
//! A file is durable only while its name leads to it: a removed file is lost with its last handle, even if it was
//! synced. A file is not used again after a failed sync: the kernel has marked the unwritten pages as clean, so a later
//! sync succeeds without writing them, although reads still return them. In both cases the database is
//! [copied](super::rewrite) into a new file, which then gets the name.

use std::{
    fs, io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use redb::{BackendError, StorageBackend, backends::FileBackend};
use sse_bus::{
    private_fs::{self, Exposure, Forbidden, create_directory, sync_directory},
    time::unix_now,
};

use super::{
    error::{ExposedFile, NameError},
    region,
};

/// Where the files are: on the file system, or on the simulated disk of the tests.
pub(super) trait Storage: Send {
    /// Opens the database, or creates it.
    fn database(&self) -> io::Result<Box<dyn StorageBackend>>;
    /// Returns the database file that was opened last, even if it has lost its name. For reading only.
    fn opened(&self) -> io::Result<Box<dyn StorageBackend>>;
    /// Creates an empty file that will become the database.
    fn replacement(&self) -> io::Result<Box<dyn StorageBackend>>;
    /// Removes an incomplete replacement.
    fn discard_replacement(&self);
    /// Renames the replacement to the database's name, durably.
    fn replace(&self) -> io::Result<()>;
    /// Size of the database file that was opened last.
    fn database_len(&self) -> io::Result<u64>;
    /// Opens the write-ahead file, or creates it.
    fn wal(&self) -> io::Result<Box<dyn StorageBackend>>;
    /// Checks that the name of the open database still leads to it.
    fn check_database(&self) -> Result<(), NameError>;
    /// Checks that the name of the open write-ahead file still leads to it.
    fn check_wal(&self) -> Result<(), NameError>;
}

/// Returns the path of the write-ahead file of a database.
pub(super) fn wal_path(database: &Path) -> PathBuf {
    database.with_extension("tail")
}

/// The file system, with the path of the database.
pub(super) struct FileSystem {
    path: PathBuf,
    /// The files that were opened last.
    database: Mutex<Option<fs::File>>,
    replacement: Mutex<Option<fs::File>>,
    wal: Mutex<Option<fs::File>>,
}

impl FileSystem {
    pub(super) fn new(path: &Path) -> FileSystem {
        let [database, replacement, wal] = std::array::from_fn(|_| Mutex::new(None));
        FileSystem { path: path.to_owned(), database, replacement, wal }
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn replacement_path(&self) -> PathBuf {
        self.path.with_extension("redb.new")
    }

    /// Opens a file, remembers it, and syncs its name. Without that sync a power failure may remove a new file with all
    /// of its content.
    fn open(
        &self,
        path: &Path,
        noted: &Mutex<Option<fs::File>>,
        options: &mut fs::OpenOptions,
    ) -> io::Result<Box<dyn StorageBackend>> {
        let directory = self.directory();
        if !directory.exists() {
            create_directory(directory)?;
            sync_directory(directory.parent().unwrap_or(Path::new("/")))?;
        }
        // Checked first, so that a file of another user is never opened.
        check(&self.path).map_err(io::Error::other)?;
        let file = options.read(true).write(true).create(true).open(path)?;
        drop_page_cache(&file);
        sync_directory(directory)?;
        *noted.lock() = Some(file.try_clone()?);
        backend(file)
    }
}

fn backend(file: fs::File) -> io::Result<Box<dyn StorageBackend>> {
    Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
}

/// Drops the file's cached pages, so that reads come from disk as far as the kernel follows the advice. Pages that an
/// earlier daemon could not sync may exist in the page cache only, and would be taken for written.
fn drop_page_cache(file: &fs::File) {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    let _ = file;
}

impl Storage for FileSystem {
    fn database(&self) -> io::Result<Box<dyn StorageBackend>> {
        // A crash may have left an incomplete replacement.
        let _ = fs::remove_file(self.replacement_path());
        self.open(&self.path, &self.database, fs::OpenOptions::new().truncate(false))
    }

    fn opened(&self) -> io::Result<Box<dyn StorageBackend>> {
        let opened = self.database.lock();
        backend(opened.as_ref().ok_or(io::ErrorKind::NotFound)?.try_clone()?)
    }

    fn replacement(&self) -> io::Result<Box<dyn StorageBackend>> {
        let path = self.replacement_path();
        // A new file each time, because the last one could not be written.
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => self.open(&path, &self.replacement, fs::OpenOptions::new().create_new(true)),
        }
    }

    fn discard_replacement(&self) {
        *self.replacement.lock() = None;
        // Ignored: the next attempt and the next start remove the file, too.
        let _ = fs::remove_file(self.replacement_path());
    }

    fn replace(&self) -> io::Result<()> {
        fs::rename(self.replacement_path(), &self.path)?;
        *self.database.lock() = self.replacement.lock().take();
        sync_directory(self.directory())
    }

    fn database_len(&self) -> io::Result<u64> {
        Ok(self.database.lock().as_ref().ok_or(io::ErrorKind::NotFound)?.metadata()?.len())
    }

    fn wal(&self) -> io::Result<Box<dyn StorageBackend>> {
        self.open(&wal_path(&self.path), &self.wal, fs::OpenOptions::new().truncate(false))
    }

    fn check_database(&self) -> Result<(), NameError> {
        check_name(&self.path, &self.database)
    }

    fn check_wal(&self) -> Result<(), NameError> {
        check_name(&wal_path(&self.path), &self.wal)
    }
}

/// Checks that a name leads to the file that was opened under it.
fn check_name(path: &Path, opened: &Mutex<Option<fs::File>>) -> Result<(), NameError> {
    let opened = opened.lock();
    let Some(opened) = opened.as_ref() else { return Err(NameError::NotOpen(path.into())) };
    match (fs::metadata(path), opened.metadata()) {
        (Err(e), _) if e.kind() == io::ErrorKind::NotFound => Err(NameError::Removed(path.into())),
        (Err(e), _) | (_, Err(e)) => Err(NameError::Unknown { path: path.into(), error: e }),
        (Ok(named), Ok(opened)) if !is_same(&named, &opened) => Err(NameError::Replaced(path.into())),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn is_same(named: &fs::Metadata, opened: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (named.dev(), named.ino()) == (opened.dev(), opened.ino()) && opened.nlink() > 0
}

/// Windows does not allow an open file to be replaced.
#[cfg(not(unix))]
fn is_same(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}

/// Renames a damaged file to an unused name.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".damaged-{}", unix_now()));
    fs::rename(path, &aside)?;
    Ok(aside.into())
}

/// Checks that no other user owns or can change the files and their directory, because their content is trusted.
pub(super) fn check(path: &Path) -> Result<(), ExposedFile> {
    let exposed = |path: &Path, exposure| ExposedFile { path: path.to_owned(), exposure };
    let directory = path.parent().unwrap_or(Path::new("."));
    private_fs::check_directory(directory).map_err(|e| exposed(directory, e))?;
    for file in [path, &wal_path(path)] {
        match private_fs::check_file(file, Forbidden::Write) {
            Err(Exposure::Unknown(error)) if error.kind() == io::ErrorKind::NotFound => {}
            checked => checked.map_err(|e| exposed(file, e))?,
        }
    }
    Ok(())
}

/// A file that reports failed syncs. A new file gets [regions](super::region) of our size.
#[derive(Debug)]
pub(super) struct SyncMonitor {
    file: Box<dyn StorageBackend>,
    sync_failed: Arc<AtomicBool>,
    is_new: bool,
}

impl SyncMonitor {
    pub(super) fn new(file: Box<dyn StorageBackend>, sync_failed: &Arc<AtomicBool>) -> io::Result<SyncMonitor> {
        let is_new = file.len()? == 0;
        Ok(SyncMonitor { file, sync_failed: sync_failed.clone(), is_new })
    }
}

impl StorageBackend for SyncMonitor {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().inspect_err(|_| self.sync_failed.store(true, Ordering::Release))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match region::put(offset, data) {
            Some(header) if self.is_new => self.file.write(offset, &header),
            _ => self.file.write(offset, data),
        }
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
