//! Why the local socket cannot be served.

use std::io;
#[cfg(unix)]
use std::path::PathBuf;

use sse_bus::Endpoint;

/// Why the local socket cannot be served. The message names what prevents it, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error("{endpoint} is served by {daemon} already; use that one, stop it, or choose another --socket")]
    AlreadyServed { endpoint: Endpoint, daemon: String },
    #[error("cannot serve {endpoint}: {error}; choose another path with --socket")]
    Unusable { endpoint: Endpoint, error: io::Error },
    #[error("{endpoint} has {bytes} bytes, which is too long for a socket; choose a shorter --socket")]
    TooLong { endpoint: Endpoint, bytes: usize },
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
    #[error("{} cannot be used: {error}; choose another path with --socket", .directory.display())]
    Directory { directory: PathBuf, error: io::Error },
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
    NoAnswer { endpoint: Endpoint, error: io::Error },
}
