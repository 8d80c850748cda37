//! The right to serve the local socket on Unix: its directory, its lock file, and the removal of a stale socket.
//!
//! Files that other users may have planted are never followed, waited for or deleted. Only this user and root may be able to
//! create or remove files in the directory. A lock file beside the socket shows whether a daemon serves it, even if the
//! socket file was removed. Only the holder of the lock inspects the socket file: it leaves a file that is not a socket and a
//! socket that answers alone, and removes a socket of this user that does not answer.
//!
//! The socket file can be removed, moved or replaced while the daemon runs, and so can its directory with the lock file. Then
//! directory and lock are prepared again, and the socket is bound again.

use std::{
    fs::{File, FileType, Metadata, Permissions, TryLockError},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{fs::OFlags, process::geteuid};
use sse_bus::{Endpoint, endpoint::PathSource, private_fs};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    error::{FileError, SocketError},
    running_daemon::{REPLY, already_served, at},
};

/// The right to serve the socket at a path. Removes the socket file when it is dropped.
pub(super) struct SocketLock {
    endpoint: Endpoint,
    directory_mode: u32,
    /// Identity of the bound file, so that no other file is ever removed.
    bound: Option<FileId>,
    /// Locked while the socket is served.
    lock: File,
}

/// Device and inode number of a file.
type FileId = (u64, u64);

impl SocketLock {
    /// Prepares the directory, takes the lock, and removes a stale socket.
    pub(super) async fn take(endpoint: &Endpoint, directory_mode: u32) -> Result<SocketLock, SocketError> {
        prepare_directory(endpoint, directory_mode)?;
        let lock = lock(endpoint).await?;
        remove_stale(endpoint).await?;
        Ok(SocketLock { endpoint: endpoint.clone(), directory_mode, bound: None, lock })
    }

    /// Does the same again after the socket file was lost. The lock is taken again only if its file was lost, too.
    pub(super) async fn retake(&mut self) -> Result<(), SocketError> {
        prepare_directory(&self.endpoint, self.directory_mode)?;
        if identity(&lock_path(&self.endpoint)) != self.lock.metadata().ok().as_ref().map(file_id) {
            self.lock = lock(&self.endpoint).await?;
        }
        remove_stale(&self.endpoint).await
    }

    /// Notes that the socket is bound.
    pub(super) fn note_bound(&mut self) {
        self.bound = identity(self.endpoint.path());
    }

    /// Returns true if the path no longer leads to the socket that was bound.
    pub(super) fn is_lost(&self) -> bool {
        self.bound.is_none() || identity(self.endpoint.path()) != self.bound
    }
}

impl Drop for SocketLock {
    fn drop(&mut self) {
        // The file may have been replaced.
        if !self.is_lost() {
            let _ = std::fs::remove_file(self.endpoint.path());
        }
    }
}

fn identity(path: &Path) -> Option<FileId> {
    path.symlink_metadata().ok().as_ref().map(file_id)
}

fn file_id(file: &Metadata) -> FileId {
    (file.dev(), file.ino())
}

/// Creates the directory of the socket if it is missing, and checks that only this user and root can change it.
fn prepare_directory(endpoint: &Endpoint, mode: u32) -> Result<(), FileError> {
    // Root could use that directory, and keep its owner from it.
    if let Some(why) = endpoint.runtime_error() {
        return Err(FileError::OtherRuntimeDirectory(why));
    }
    let directory = endpoint.path().parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let advice = match endpoint.source() {
        PathSource::RuntimeVariable => "set XDG_RUNTIME_DIR to a directory of yours, or choose a path with --socket",
        _ => "choose another path with --socket",
    };
    make_directory(directory, mode)
        .and_then(|()| Ok(private_fs::check_directory(directory)?))
        .map_err(|error| FileError::Directory { directory: directory.to_owned(), error, advice })
}

fn lock_path(endpoint: &Endpoint) -> PathBuf {
    let mut path = endpoint.path().as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

/// Takes the lock beside the socket.
async fn lock(endpoint: &Endpoint) -> Result<File, SocketError> {
    let lock_path = lock_path(endpoint);
    let lock = open_lock(&lock_path).map_err(|error| FileError::LockFile { path: lock_path.clone(), error })?;
    let deadline = Instant::now() + REPLY;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::Error(error)) => return Err(FileError::Lock { path: lock_path, error }.into()),
            Err(TryLockError::WouldBlock) => {}
        }
        let holder = timeout_at(deadline, at(endpoint)).await.ok().flatten();
        if holder.is_some() || Instant::now() >= deadline {
            return Err(already_served(endpoint, holder));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Removes a socket of this user that no process serves. Any other file at its path is left alone.
async fn remove_stale(endpoint: &Endpoint) -> Result<(), SocketError> {
    let path = endpoint.path();
    match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FileError::Unknown { endpoint: endpoint.clone(), error }.into()),
        Ok(found) if !found.file_type().is_socket() => {
            let kind = kind(found.file_type());
            Err(FileError::NotASocket { endpoint: endpoint.clone(), kind }.into())
        }
        Ok(found) if !is_own(&found) => Err(FileError::OtherOwner { endpoint: endpoint.clone() }.into()),
        // At this path alone, not where a client would also look.
        Ok(_) => match Endpoint::at(path).connect().await {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
                .map_err(|error| FileError::Stale { endpoint: endpoint.clone(), error }.into()),
            Ok(_) => Err(already_served(endpoint, timeout(REPLY, at(endpoint)).await.ok().flatten())),
            Err(error) => Err(FileError::Unresponsive { endpoint: endpoint.clone(), error }.into()),
        },
    }
}

/// Creates a directory with this mode, whatever the umask, if it is missing. Missing directories above it become private.
fn make_directory(directory: &Path, mode: u32) -> io::Result<()> {
    if directory.exists() {
        return Ok(());
    }
    private_fs::create_directory(directory)?;
    std::fs::set_permissions(directory, Permissions::from_mode(mode))
}

/// Returns true if a file belongs to the daemon's own user.
fn is_own(file: &Metadata) -> bool {
    file.uid() == geteuid().as_raw()
}

/// Opens the lock file, or fails if another kind of file was planted there.
fn open_lock(path: &Path) -> io::Result<File> {
    // Without the second flag, opening a FIFO would block.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = flags.bits().cast_signed();
    let opened = File::options().write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path);
    let planted = path.symlink_metadata().ok().filter(|found| !found.file_type().is_file());
    if let Some(planted) = planted {
        return Err(io::Error::other(format!("it is {}, not a file", kind(planted.file_type()))));
    }
    let lock = opened?;
    if !is_own(&lock.metadata()?) {
        return Err(io::Error::other("it belongs to another user"));
    }
    Ok(lock)
}

fn kind(file: FileType) -> &'static str {
    match file {
        _ if file.is_symlink() => "a symbolic link",
        _ if file.is_dir() => "a directory",
        _ if file.is_fifo() => "a pipe",
        _ if file.is_socket() => "a socket",
        _ if file.is_file() => "a file",
        _ => "a device",
    }
}
