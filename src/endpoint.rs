//! Where the local socket is: one place for each user, the same for the daemon and everybody who talks to it.
//!
//! On Unix `$XDG_RUNTIME_DIR/sse-bus/bus.sock`, or the user's state directory where there is no runtime directory
//! (macOS, a bare `su`); on Windows the pipe `\\.\pipe\sse-bus-<user>`. `SSE_BUS_SOCKET` overrides both.
//!
//! What another user planted there gets nothing: on Unix the operating system is asked who serves the socket, before
//! anything is sent.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// The environment variable that overrides where the local socket is.
pub const SOCKET_VARIABLE: &str = "SSE_BUS_SOCKET";

/// A connection to the local socket.
#[cfg(all(unix, feature = "client"))]
pub type Stream = tokio::net::UnixStream;
/// A connection to the local socket.
#[cfg(all(windows, feature = "client"))]
pub type Stream = interprocess::local_socket::tokio::Stream;

/// The address of a bus: a socket file, or the name of a pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(PathBuf);

impl Endpoint {
    /// The endpoint at a path of one's own.
    pub fn at(path: impl Into<PathBuf>) -> Endpoint {
        Endpoint(path.into())
    }

    /// The endpoint of this user: `SSE_BUS_SOCKET` if it is set and not empty, else the usual place.
    ///
    /// # Errors
    ///
    /// The user has neither a runtime nor a home directory.
    pub fn find() -> io::Result<Endpoint> {
        match std::env::var_os(SOCKET_VARIABLE) {
            Some(path) if !path.is_empty() => Ok(Endpoint::at(path)),
            _ => usual_place().map(Endpoint),
        }
    }

    /// The socket's path, or the pipe's name.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Connects to the daemon there.
    ///
    /// # Errors
    ///
    /// Those of the operating system; [`PermissionDenied`](io::ErrorKind::PermissionDenied) also if a process serves the
    /// socket that this user has no reason to trust: at the usual place it must be this user's own, or root's; elsewhere
    /// it may also be that of the owner of the directory, whom whoever named the path has chosen.
    #[cfg(all(unix, feature = "client"))]
    pub async fn connect(&self) -> io::Result<Stream> {
        let stream = Stream::connect(&self.0).await?;
        let server = stream.peer_cred()?.uid();
        if server == 0 || server == rustix::process::geteuid().as_raw() || self.is_chosen_from(server) {
            return Ok(stream);
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("it is served by another user (uid {server})")))
    }

    /// Whether somebody has named a path in a directory of this user.
    #[cfg(all(unix, feature = "client"))]
    fn is_chosen_from(&self, user: u32) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let directory = self.0.parent().and_then(|directory| directory.metadata().ok());
        let is_usual = usual_place().is_ok_and(|usual| usual == self.0);
        !is_usual && directory.is_some_and(|directory| directory.uid() == user)
    }

    /// Connects to the daemon there.
    #[cfg(all(windows, feature = "client"))]
    pub async fn connect(&self) -> io::Result<Stream> {
        use interprocess::local_socket::{GenericFilePath, ToFsName, traits::tokio::Stream as _};
        Stream::connect(self.0.as_path().to_fs_name::<GenericFilePath>()?).await
    }
}

/// Where this user's daemon keeps what outlives it, unless it is told otherwise: `sse-bus` in the user's state
/// directory, or in that for local data where a system knows no such (macOS, Windows).
///
/// # Errors
///
/// The user has no home directory.
pub fn state_dir() -> io::Result<PathBuf> {
    let base = directories::BaseDirs::new()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no home directory; name a state directory"))?;
    Ok(base.state_dir().unwrap_or(base.data_local_dir()).join("sse-bus"))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

#[cfg(unix)]
fn usual_place() -> io::Result<PathBuf> {
    let no_home =
        || io::Error::new(io::ErrorKind::NotFound, format!("no home directory; set {SOCKET_VARIABLE} to a path"));
    let base = directories::BaseDirs::new().ok_or_else(no_home)?;
    let directory = match base.runtime_dir() {
        Some(runtime) => runtime.join("sse-bus"),
        None => state_dir()?,
    };
    Ok(directory.join("bus.sock"))
}

#[cfg(windows)]
fn usual_place() -> io::Result<PathBuf> {
    let user = std::env::var("USERNAME").map_err(|_| {
        io::Error::new(io::ErrorKind::NotFound, format!("USERNAME is not set; set {SOCKET_VARIABLE} to a pipe's name"))
    })?;
    Ok(PathBuf::from(format!(r"\\.\pipe\sse-bus-{user}")))
}
