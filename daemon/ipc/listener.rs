//! Binding the local socket, so that exactly one daemon serves it and nothing of anybody else's is touched.
//!
//! A lock file beside the socket says whether a daemon serves it, whatever became of the socket file. Only its holder
//! may look at the file: a regular file is left alone, a socket that answers is left alone, one that does not is stale
//! and taken over.

use std::{fs::File, io, time::Duration};

use interprocess::local_socket::{
    GenericFilePath, ListenerOptions, ToFsName, tokio::Listener as LocalListener, traits::tokio::Listener as _,
};
use sse_bus::{Client, Endpoint, endpoint::Stream};

/// The bound local socket. The socket file goes when it is dropped.
pub(crate) struct Listener {
    listener: LocalListener,
    /// Locked as long as the socket is served.
    _lock: Option<File>,
}

impl Listener {
    /// Binds the endpoint.
    ///
    /// # Errors
    ///
    /// Says in one line what stands in the way, and what to do.
    pub(crate) async fn bind(endpoint: &Endpoint) -> Result<Listener, String> {
        let failed = |e: io::Error| format!("{endpoint} cannot be served: {e}; choose another place with --socket");
        let lock = claim(endpoint).await?;
        let name = endpoint.path().to_fs_name::<GenericFilePath>().map_err(failed)?;
        let listener = options(ListenerOptions::new().name(name)).map_err(failed)?.create_tokio().map_err(|e| {
            let path = endpoint.path().as_os_str();
            match e.kind() {
                io::ErrorKind::InvalidInput if path.len() > 100 => {
                    format!("{endpoint} has {} bytes, too many for a socket; choose a shorter --socket", path.len())
                }
                _ => failed(e),
            }
        })?;
        Ok(Listener { listener, _lock: lock })
    }

    /// The next connection, and a description of its process if it belongs to the daemon's own user.
    #[cfg(unix)]
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Option<String>)> {
        use std::os::fd::OwnedFd;
        let stream = self.listener.accept().await?;
        let interprocess::local_socket::tokio::Stream::UdSocket(stream) = stream;
        let stream = std::os::unix::net::UnixStream::from(OwnedFd::try_from(stream).map_err(io::Error::other)?);
        let stream = Stream::from_std(stream)?;
        let peer = stream.peer_cred()?;
        let is_own = peer.uid() == rustix::process::geteuid().as_raw();
        Ok((stream, is_own.then(|| describe(peer.pid()))))
    }

    /// The next connection. The pipe's security descriptor has let in the daemon's own user only.
    #[cfg(windows)]
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Option<String>)> {
        Ok((self.listener.accept().await?, Some("a local process".into())))
    }
}

/// A local process, such as `python3 (pid 812)`.
#[cfg(unix)]
fn describe(pid: Option<i32>) -> String {
    let Some(pid) = pid.filter(|pid| *pid > 0) else { return "a local process".into() };
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        // A process may call itself anything, also what would be lines of the log.
        Ok(name) => format!("{} (pid {pid})", name.trim_end().escape_debug()),
        Err(_) => format!("pid {pid}"),
    }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "making the options can fail on Windows")]
fn options(options: ListenerOptions<'_>) -> io::Result<ListenerOptions<'_>> {
    use interprocess::os::unix::local_socket::ListenerOptionsExt as _;
    Ok(options.mode(0o600))
}

/// On Windows a pipe is private to whoever its security descriptor names: here the owner, which is this user, alone.
#[cfg(windows)]
fn options(options: ListenerOptions<'_>) -> io::Result<ListenerOptions<'_>> {
    use interprocess::os::windows::{local_socket::ListenerOptionsExt as _, security_descriptor::SecurityDescriptor};
    // SDDL: a protected list with one entry, all access for the owner's rights.
    let owner_only = widestring::u16cstr!("D:P(A;;GA;;;OW)");
    Ok(options.security_descriptor(SecurityDescriptor::deserialize(owner_only)?))
}

/// Makes the place ready: the directory, the lock, no stale socket.
#[cfg(unix)]
async fn claim(endpoint: &Endpoint) -> Result<Option<File>, String> {
    use std::{
        os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _},
        path::Path,
    };

    let path = endpoint.path();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|e| format!("{} cannot be made: {e}; choose another place with --socket", directory.display()))?;

    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = Path::new(&lock_path);
    let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(lock_path);
    let lock =
        lock.map_err(|e| format!("{} cannot be opened: {e}; choose another place with --socket", lock_path.display()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Err(already_served(endpoint).await),
        Err(std::fs::TryLockError::Error(e)) => return Err(format!("{} cannot be locked: {e}", lock_path.display())),
    }

    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Some(lock)),
        Err(e) => Err(format!("{endpoint} cannot be looked at: {e}")),
        Ok(found) if !found.file_type().is_socket() => {
            Err(format!("{endpoint} is a file, not a socket, and is left alone; remove it, or choose another --socket"))
        }
        Ok(_) => match endpoint.connect().await {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
                .map(|()| Some(lock))
                .map_err(|e| format!("the stale socket {endpoint} cannot be removed: {e}")),
            Ok(_) => Err(already_served(endpoint).await),
            Err(e) => Err(format!("{endpoint} cannot be tried: {e}; is it another user's?")),
        },
    }
}

/// A pipe's name is free as soon as nobody serves it.
#[cfg(windows)]
async fn claim(endpoint: &Endpoint) -> Result<Option<File>, String> {
    match endpoint.connect().await {
        Ok(_) => Err(already_served(endpoint).await),
        Err(_) => Ok(None),
    }
}

/// Says who serves the endpoint already.
async fn already_served(endpoint: &Endpoint) -> String {
    // A daemon that has just been started may not answer yet.
    let status = async {
        loop {
            if let Ok(mut client) = Client::connect(endpoint).await
                && let Ok(status) = client.status().await
            {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let holder = match tokio::time::timeout(Duration::from_secs(1), status).await {
        Ok(status) => format!("sse-busd {} (pid {})", status.version, status.pid),
        Err(_) => "another process".into(),
    };
    format!("{endpoint} is served by {holder} already; use that one, stop it, or choose another --socket")
}
