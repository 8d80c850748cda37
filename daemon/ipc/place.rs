//! The place of the local socket on Unix: made ready, and looked at before anything is bound there.
//!
//! What others may have planted is never followed, waited for or deleted. The directory must be one in which only this
//! user and root can put things, or take them away. A lock file beside the socket says whether a daemon serves it,
//! whatever became of the socket file. Only its holder may look at the file: what is no socket is left alone, a socket
//! that answers is left alone, one of this user's that does not is stale and taken over.

use std::{
    fs::{DirBuilder, File, FileType, Metadata, Permissions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{fs::OFlags, process::geteuid};
use sse_bus::Endpoint;
use tokio::time::{Instant, sleep, timeout_at};

use super::listener::{already_served, holder};

/// How long whoever holds the lock has to say who it is, or to let go of it: one has just been started, or just stopped.
const ANSWER: Duration = Duration::from_secs(2);

/// The right to serve the socket at a path. The socket file goes when it is dropped.
pub(super) struct Place {
    path: PathBuf,
    /// Device and number of the file that was bound, so that no other is ever removed.
    bound: Option<(u64, u64)>,
    /// Locked as long as the socket is served.
    _lock: File,
}

impl Place {
    /// Makes the place ready: the directory, the lock, no stale socket.
    pub(super) async fn claim(endpoint: &Endpoint, directory_mode: u32) -> Result<Place, String> {
        let lock = claim(endpoint, directory_mode).await?;
        Ok(Place { path: endpoint.path().to_owned(), bound: None, _lock: lock })
    }

    /// Notes that the socket is bound.
    pub(super) fn is_bound(&mut self) {
        self.bound = number(&self.path);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Somebody may have moved it away and put something else there.
        if self.bound.is_some() && number(&self.path) == self.bound {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn number(path: &Path) -> Option<(u64, u64)> {
    path.symlink_metadata().ok().map(|found| (found.dev(), found.ino()))
}

async fn claim(endpoint: &Endpoint, directory_mode: u32) -> Result<File, String> {
    let path = endpoint.path();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_directory(directory, directory_mode)
        .and_then(|()| check_directory(directory))
        .map_err(|e| format!("{} cannot be used: {e}; choose another place with --socket", directory.display()))?;

    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = Path::new(&lock_path);
    let lock = open_lock(lock_path).map_err(|e| {
        format!("{} cannot be used: {e}; remove it, or choose another place with --socket", lock_path.display())
    })?;
    let deadline = Instant::now() + ANSWER;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(e)) => return Err(format!("{} cannot be locked: {e}", lock_path.display())),
            Err(TryLockError::WouldBlock) => {}
        }
        let holder = timeout_at(deadline, holder(endpoint)).await.ok().flatten();
        if holder.is_some() || Instant::now() >= deadline {
            return Err(already_served(endpoint, holder));
        }
        sleep(Duration::from_millis(20)).await;
    }
    match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(lock),
        Err(e) => Err(format!("{endpoint} cannot be looked at: {e}")),
        Ok(found) if !found.file_type().is_socket() => {
            let kind = kind(found.file_type());
            Err(format!("{endpoint} is {kind}, not a socket, and is left alone; remove it, or choose another --socket"))
        }
        Ok(found) if !is_own(&found) => {
            Err(format!("{endpoint} belongs to another user and is left alone; choose another --socket"))
        }
        Ok(_) => match endpoint.connect().await {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
                .map(|()| lock)
                .map_err(|e| format!("the stale socket {endpoint} cannot be removed: {e}")),
            Ok(_) => Err(already_served(endpoint, timeout_at(deadline, holder(endpoint)).await.ok().flatten())),
            Err(e) => Err(format!("{endpoint} cannot be tried: {e}; choose another --socket")),
        },
    }
}

/// Makes a directory with this mode, whatever the umask, unless it is there. Those above it are private.
fn make_directory(directory: &Path, mode: u32) -> io::Result<()> {
    if directory.exists() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    std::fs::set_permissions(directory, Permissions::from_mode(mode))
}

/// Whether a file belongs to the daemon's own user.
fn is_own(file: &Metadata) -> bool {
    file.uid() == geteuid().as_raw()
}

/// Checks that nobody but this user and root can put something else at the socket's place.
fn check_directory(directory: &Path) -> io::Result<()> {
    /// The bits of a mode with which a group or all others may write.
    const WRITABLE: u32 = 0o022;
    /// Files belong to their owners, also where others may write, as in `/tmp`.
    const STICKY: u32 = 0o1000;
    let (link, found) = (directory.symlink_metadata()?, directory.metadata()?);
    let is_trusted = |file: &Metadata| is_own(file) || file.uid() == 0;
    if !is_trusted(&found) || !is_trusted(&link) {
        return Err(io::Error::other("it belongs to another user"));
    }
    if found.mode() & WRITABLE != 0 && found.mode() & STICKY == 0 {
        let why = format!("other users may write there; forbid it with `chmod go-w {}`", directory.display());
        return Err(io::Error::other(why));
    }
    Ok(())
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
