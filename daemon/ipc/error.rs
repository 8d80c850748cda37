//! Why the local socket cannot be served.

#[cfg(unix)]
use std::path::PathBuf;
use std::{fmt, io};

use sse_bus::Endpoint;

/// A daemon of this user that runs already.
#[derive(Debug)]
pub(crate) struct Running {
    pub(super) pid: u32,
    pub(super) socket: String,
    /// Nothing if it does not answer.
    pub(super) urls: Option<Vec<String>>,
}

impl std::error::Error for Running {}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "already running: PID {}, socket {}", self.pid, self.socket)?;
        match self.urls.as_deref() {
            None => f.write_str("; it does not answer, and `sse-busctl doctor` shows why"),
            Some([]) => Ok(()),
            Some(urls) => write!(f, ", URL {}", urls.join(" and ")),
        }
    }
}

/// Why the local socket cannot be served. The message names what prevents it, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error(transparent)]
    AlreadyRunning(Running),
    #[error("{endpoint} is served by {owner}; stop it, or choose another --socket")]
    AlreadyServed { endpoint: Endpoint, owner: String },
    #[error("cannot serve {endpoint}: {error}; choose another path with --socket")]
    Unusable { endpoint: Endpoint, error: io::Error },
    #[cfg(unix)]
    #[error("cannot serve the socket {endpoint}: {error}")]
    Inherited { endpoint: Endpoint, error: io::Error },
    #[cfg(unix)]
    #[error(transparent)]
    File(#[from] FileError),
    /// The thread that binds the socket again has panicked, or the daemon ends.
    #[cfg(unix)]
    #[error(transparent)]
    Thread(#[from] tokio::task::JoinError),
}

/// A file on the way to the socket that cannot be used.
#[cfg(unix)]
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{} cannot be used: {error}; {advice}", .directory.display())]
    Directory { directory: PathBuf, error: io::Error, advice: &'static str },
    /// The reason, which names the variable.
    #[error("{0}")]
    OtherRuntimeDirectory(String),
    #[error("{} cannot be used: {error}; remove it, or choose another path with --socket", .path.display())]
    LockFile { path: PathBuf, error: io::Error },
    #[error("{} cannot be locked: {error}", .path.display())]
    Lock { path: PathBuf, error: io::Error },
    #[error("{endpoint} cannot be inspected: {error}")]
    Unknown { endpoint: Endpoint, error: io::Error },
    #[error("{endpoint} is {kind}, not a socket, and is left alone; remove it, or choose another --socket")]
    NotASocket { endpoint: Endpoint, kind: &'static str },
    #[error("{endpoint} belongs to another user and is left alone; choose another --socket")]
    OtherOwner { endpoint: Endpoint },
    #[error("the stale socket {endpoint} cannot be removed: {error}")]
    Stale { endpoint: Endpoint, error: io::Error },
    #[error("cannot connect to {endpoint}: {error}; choose another --socket")]
    Unresponsive { endpoint: Endpoint, error: io::Error },
}
