//! The path of the local socket, one per user, for the daemon and its clients.
//!
//! On Unix it is `$XDG_RUNTIME_DIR/sse-bus/bus.sock`, or in the user's state directory if there is no runtime directory
//! (macOS, a plain `su`); on Windows the pipe `\\.\pipe\sse-bus-<user>`. `SSE_BUS_SOCKET` overrides both.
//!
//! On Unix a client checks the user of the process that serves the socket before it sends anything, so that a socket of
//! another user receives nothing.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// The environment variable that overrides the path of the local socket.
pub const SOCKET_VARIABLE: &str = "SSE_BUS_SOCKET";

/// A connection to the local socket.
#[cfg(all(unix, feature = "client"))]
pub type Stream = tokio::net::UnixStream;
/// A connection to the local socket.
#[cfg(all(windows, feature = "client"))]
pub type Stream = interprocess::local_socket::tokio::Stream;

/// The address of a daemon: the path of a socket, or the name of a pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(PathBuf);

impl Endpoint {
    /// Returns the endpoint at a path.
    pub fn at(path: impl Into<PathBuf>) -> Endpoint {
        Endpoint(path.into())
    }

    /// Returns the endpoint of this user: `SSE_BUS_SOCKET` if it is set and not empty, else the default path.
    ///
    /// # Errors
    ///
    /// The user has neither a runtime nor a home directory.
    pub fn find() -> io::Result<Endpoint> {
        match std::env::var_os(SOCKET_VARIABLE) {
            Some(path) if !path.is_empty() => Ok(Endpoint::at(path)),
            _ => default_path().map(Endpoint),
        }
    }

    /// Returns the path of the socket, or the name of the pipe.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Connects to the daemon.
    ///
    /// # Errors
    ///
    /// Returns the error of the operating system, or [`PermissionDenied`](io::ErrorKind::PermissionDenied) if the
    /// socket is served by a process of an untrusted user. At the default path this user and root are trusted; at any
    /// other path the owner of its directory as well, because the caller chose that path.
    #[cfg(all(unix, feature = "client"))]
    pub async fn connect(&self) -> io::Result<Stream> {
        let stream = Stream::connect(&self.0).await?;
        let server = stream.peer_cred()?.uid();
        if server == 0 || server == rustix::process::geteuid().as_raw() || self.is_chosen_from(server) {
            return Ok(stream);
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("it is served by another user (uid {server})")))
    }

    /// Returns true if this is not the default path and its directory belongs to `user`.
    #[cfg(all(unix, feature = "client"))]
    fn is_chosen_from(&self, user: u32) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let directory = self.0.parent().and_then(|directory| directory.metadata().ok());
        let is_default = default_path().is_ok_and(|default| default == self.0);
        !is_default && directory.is_some_and(|directory| directory.uid() == user)
    }

    /// Connects to the daemon.
    #[cfg(all(windows, feature = "client"))]
    pub async fn connect(&self) -> io::Result<Stream> {
        use interprocess::local_socket::{GenericFilePath, ToFsName, traits::tokio::Stream as _};
        Stream::connect(self.0.as_path().to_fs_name::<GenericFilePath>()?).await
    }
}

/// Returns the default directory of the daemon's persistent files: `sse-bus` in the user's state directory, or in the
/// directory for local data on systems without one (macOS, Windows).
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
fn default_path() -> io::Result<PathBuf> {
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
fn default_path() -> io::Result<PathBuf> {
    let user = std::env::var("USERNAME").map_err(|_| {
        io::Error::new(io::ErrorKind::NotFound, format!("USERNAME is not set; set {SOCKET_VARIABLE} to a pipe's name"))
    })?;
    Ok(PathBuf::from(format!(r"\\.\pipe\sse-bus-{user}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_shown_as_its_path() {
        assert_eq!(Endpoint::at("/run/a b/bus.sock").to_string(), "/run/a b/bus.sock");
    }

    #[test]
    fn persistent_files_are_in_a_directory_of_the_bus() {
        assert!(state_dir().unwrap().ends_with("sse-bus"));
        #[cfg(unix)]
        assert!(default_path().unwrap().ends_with("sse-bus/bus.sock"));
    }
}
