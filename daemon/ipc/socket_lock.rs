//! The place of the local socket on Unix: made ready, and looked at before anything is bound there.
//!
//! What others may have planted is never followed, waited for or deleted. The directory must be one in which only this
//! user and root can put things, or take them away. A lock file beside the socket says whether a daemon serves it,
//! whatever became of the socket file. Only its holder may look at the file: what is no socket is left alone, a socket
//! that answers is left alone, one of this user's that does not is stale and taken over.
//!
//! The socket file can be removed, moved or replaced while the daemon runs, and so can its directory with the lock file.
//! Then the place is made ready again, and the socket is bound anew.

use std::{
    fs::{File, FileType, Metadata, Permissions, TryLockError},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{fs::OFlags, process::geteuid};
use sse_bus::{Endpoint, private_fs};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::listener::{already_served, holder};

/// How long whoever holds the lock has to say who it is, or to let go of it: one has just been started, or just stopped.
const ANSWER: Duration = Duration::from_secs(2);

/// The right to serve the socket at a path. The socket file goes when it is dropped.
pub(super) struct Place {
    endpoint: Endpoint,
    directory_mode: u32,
    /// Identity of the file that was bound, so that no other is ever removed.
    bound: Option<FileId>,
    /// Locked as long as the socket is served.
    lock: File,
}

/// Device and inode number of a file.
type FileId = (u64, u64);

impl Place {
    /// Makes the place ready: the directory, the lock, no stale socket.
    pub(super) async fn claim(endpoint: &Endpoint, directory_mode: u32) -> Result<Place, String> {
        prepare_directory(endpoint.path(), directory_mode)?;
        let lock = lock(endpoint).await?;
        remove_stale(endpoint).await?;
        Ok(Place { endpoint: endpoint.clone(), directory_mode, bound: None, lock })
    }

    /// Makes the place ready again after the socket file was lost. The lock is taken again if its file was lost, too.
    pub(super) async fn reclaim(&mut self) -> Result<(), String> {
        prepare_directory(self.endpoint.path(), self.directory_mode)?;
        if identity(&lock_path(&self.endpoint)) != self.lock.metadata().ok().as_ref().map(file_id) {
            self.lock = lock(&self.endpoint).await?;
        }
        remove_stale(&self.endpoint).await
    }

    /// Notes that the socket is bound.
    pub(super) fn is_bound(&mut self) {
        self.bound = identity(self.endpoint.path());
    }

    /// Returns true if the path no longer leads to the socket that was bound.
    pub(super) fn is_lost(&self) -> bool {
        self.bound.is_none() || identity(self.endpoint.path()) != self.bound
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Somebody may have moved it away and put something else there.
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

/// Makes the directory of the socket, unless it is there, and checks that only this user and root can change it.
fn prepare_directory(socket: &Path, mode: u32) -> Result<(), String> {
    let directory = socket.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_directory(directory, mode)
        .and_then(|()| Ok(private_fs::check_directory(directory)?))
        .map_err(|e| format!("{} cannot be used: {e}; choose another place with --socket", directory.display()))
}

fn lock_path(endpoint: &Endpoint) -> PathBuf {
    let mut path = endpoint.path().as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

/// Takes the lock beside the socket.
async fn lock(endpoint: &Endpoint) -> Result<File, String> {
    let lock_path = lock_path(endpoint);
    let lock = open_lock(&lock_path).map_err(|e| {
        format!("{} cannot be used: {e}; remove it, or choose another place with --socket", lock_path.display())
    })?;
    let deadline = Instant::now() + ANSWER;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::Error(e)) => return Err(format!("{} cannot be locked: {e}", lock_path.display())),
            Err(TryLockError::WouldBlock) => {}
        }
        let holder = timeout_at(deadline, holder(endpoint)).await.ok().flatten();
        if holder.is_some() || Instant::now() >= deadline {
            return Err(already_served(endpoint, holder));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Removes a socket of this user that nobody serves. Anything else at its path is left alone.
async fn remove_stale(endpoint: &Endpoint) -> Result<(), String> {
    let path = endpoint.path();
    match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(format!("{endpoint} cannot be looked at: {e}")),
        Ok(found) if !found.file_type().is_socket() => {
            let kind = kind(found.file_type());
            Err(format!("{endpoint} is {kind}, not a socket, and is left alone; remove it, or choose another --socket"))
        }
        Ok(found) if !is_own(&found) => {
            Err(format!("{endpoint} belongs to another user and is left alone; choose another --socket"))
        }
        Ok(_) => match endpoint.connect().await {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(|e| format!("the stale socket {endpoint} cannot be removed: {e}"))
            }
            Ok(_) => Err(already_served(endpoint, timeout(ANSWER, holder(endpoint)).await.ok().flatten())),
            Err(e) => Err(format!("{endpoint} cannot be tried: {e}; choose another --socket")),
        },
    }
}

/// Makes a directory with this mode, whatever the umask, unless it is there. Those above it are private.
fn make_directory(directory: &Path, mode: u32) -> io::Result<()> {
    if directory.exists() {
        return Ok(());
    }
    private_fs::create_directory(directory)?;
    std::fs::set_permissions(directory, Permissions::from_mode(mode))
}

/// Whether a file belongs to the daemon's own user.
fn is_own(file: &Metadata) -> bool {
    file.uid() == geteuid().as_raw()
}

/// Opens the lock file, and nothing that was planted in its place.
fn open_lock(path: &Path) -> io::Result<File> {
    // A FIFO would be waited for without the second.
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
