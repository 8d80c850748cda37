//! The path of the local socket, one per user, for the daemon and its clients.
//!
//! On Unix it is `$XDG_RUNTIME_DIR/sse-bus/bus.sock`; without this variable `/run/user/UID/sse-bus/bus.sock` if
//! `/run/user/UID` belongs to this user, else `bus.sock` in the user's [state directory](state_dir). On Windows it is the
//! pipe `\\.\pipe\sse-bus-<user>`. `SSE_BUS_SOCKET` overrides all of them.
//!
//! Programs of one user do not always have the same environment: cron, `su` and system units have no `XDG_RUNTIME_DIR`. A
//! client that finds no daemon at the default path therefore tries the other default paths, and then the socket of this
//! user's daemon that listens on the default port.
//!
//! On Unix a client checks the user of the process that serves the socket before it sends anything, so that a socket of
//! another user receives nothing.

#[cfg(unix)]
mod search;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// The environment variable that overrides the path of the local socket.
pub const SOCKET_VARIABLE: &str = "SSE_BUS_SOCKET";

/// The environment variable with the directory of the local socket.
pub const RUNTIME_VARIABLE: &str = "XDG_RUNTIME_DIR";

/// A connection to the local socket.
#[cfg(all(unix, feature = "client"))]
pub type Stream = tokio::net::UnixStream;
/// A connection to the local socket.
#[cfg(all(windows, feature = "client"))]
pub type Stream = interprocess::local_socket::tokio::Stream;

/// The address of a daemon: the path of a socket, or the name of a pipe.
#[derive(Clone, Debug)]
pub struct Endpoint {
    path: PathBuf,
    source: PathSource,
}

/// Where the path of an endpoint comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathSource {
    /// The caller named it.
    Given,
    /// The variable `SSE_BUS_SOCKET`.
    Variable,
    /// The directory that the variable `XDG_RUNTIME_DIR` names.
    RuntimeVariable,
    /// `/run/user/UID`, because `XDG_RUNTIME_DIR` is not set.
    RuntimeDirectory,
    /// The user's state directory, because there is no runtime directory.
    StateDirectory,
    /// The name of the user, on Windows.
    UserName,
    /// A daemon of this user that listens on the default port serves it.
    Port,
}

#[cfg(all(unix, feature = "client"))]
impl PathSource {
    /// Returns true if nobody chose the path, so that a client may look for the daemon elsewhere.
    fn is_default(self) -> bool {
        matches!(self, PathSource::RuntimeVariable | PathSource::RuntimeDirectory | PathSource::StateDirectory)
    }
}

impl fmt::Display for PathSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PathSource::Given => "from --socket",
            PathSource::Variable => "from SSE_BUS_SOCKET",
            PathSource::RuntimeVariable => "in the runtime directory of this user (XDG_RUNTIME_DIR)",
            PathSource::RuntimeDirectory => "in the runtime directory of this user, although XDG_RUNTIME_DIR is not set",
            PathSource::StateDirectory if cfg!(target_os = "linux") => {
                "in the state directory of this user, because there is no runtime directory (XDG_RUNTIME_DIR is not set)"
            }
            PathSource::StateDirectory => "in the state directory of this user",
            PathSource::UserName => "the pipe of this user",
            PathSource::Port => "the socket of your daemon on the default port",
        })
    }
}

/// Endpoints are equal if their paths are.
impl PartialEq for Endpoint {
    fn eq(&self, other: &Endpoint) -> bool {
        self.path == other.path
    }
}

impl Eq for Endpoint {}

impl Endpoint {
    /// Returns the endpoint at a path.
    pub fn at(path: impl Into<PathBuf>) -> Endpoint {
        Endpoint { path: path.into(), source: PathSource::Given }
    }

    /// Returns the endpoint of this user: `SSE_BUS_SOCKET` if it is set and not empty, else the default path.
    ///
    /// # Errors
    ///
    /// The user has neither a runtime nor a home directory.
    pub fn find() -> io::Result<Endpoint> {
        match std::env::var_os(SOCKET_VARIABLE) {
            Some(path) if !path.is_empty() => {
                Ok(Endpoint { path: expand_home(path.into()), source: PathSource::Variable })
            }
            _ => Endpoint::of_user(),
        }
    }

    /// Returns the path of the socket, or the name of the pipe.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where the path comes from.
    pub fn source(&self) -> PathSource {
        self.source
    }

    /// Checks that the operating system allows a socket at the path.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidInput`](io::ErrorKind::InvalidInput) with the reason, such as a path that is too long: 107 bytes
    /// are allowed on Linux, 103 on macOS.
    pub fn check_path(&self) -> io::Result<()> {
        #[cfg(unix)]
        if let Err(error) = std::os::unix::net::SocketAddr::from_pathname(&self.path) {
            let (bytes, most) = (self.path.as_os_str().len(), if cfg!(target_os = "linux") { 107 } else { 103 });
            let why = if bytes > most {
                format!("{self} has {bytes} bytes, which is too long for a socket: the maximum is {most}")
            } else {
                format!("{self} cannot be the path of a socket: {error}")
            };
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(())
    }

    /// Connects to the daemon.
    #[cfg(all(windows, feature = "client"))]
    pub async fn connect(&self) -> io::Result<Stream> {
        use interprocess::local_socket::{GenericFilePath, ToFsName, traits::tokio::Stream as _};
        Stream::connect(self.path.as_path().to_fs_name::<GenericFilePath>()?).await
    }

    /// Connects to the daemon, and returns the endpoint at which it was found.
    #[cfg(all(windows, feature = "client"))]
    pub(crate) async fn locate(&self) -> io::Result<(Endpoint, Stream)> {
        Ok((self.clone(), self.connect().await?))
    }

    /// Describes a denial.
    #[cfg(all(windows, feature = "client"))]
    pub(crate) fn denial(&self, _: &io::Error) -> String {
        format!("{self} belongs to another user; each user has a bus of their own")
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

/// Replaces `~` at the beginning of a path with the user's home directory, as a shell does. Shells do not where the path
/// follows `=`, and service managers never do.
pub fn expand_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), directories::BaseDirs::new()) {
        (Ok(rest), Some(base)) => base.home_dir().join(rest),
        _ => path,
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// Returns true if a file is mounted at exactly this path, as a container does with the file of a socket.
#[cfg(feature = "client")]
pub(crate) fn is_mount_point(path: &Path) -> bool {
    // proc_pid_mountinfo(5): the fifth field is the mount point, with spaces as octal escapes.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let wanted = path.to_string_lossy().replace('\\', r"\134").replace(' ', r"\040");
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(&wanted))
}

#[cfg(windows)]
impl Endpoint {
    /// Returns the default endpoint.
    fn of_user() -> io::Result<Endpoint> {
        let user = std::env::var("USERNAME").map_err(|_| {
            let what = format!("USERNAME is not set; set {SOCKET_VARIABLE} to a pipe's name");
            io::Error::new(io::ErrorKind::NotFound, what)
        })?;
        Ok(Endpoint { path: PathBuf::from(format!(r"\\.\pipe\sse-bus-{user}")), source: PathSource::UserName })
    }

    /// Returns nothing: the pipe of a user depends on no directory.
    #[expect(clippy::unused_self, reason = "the same interface as on Unix")]
    pub fn runtime_error(&self) -> Option<String> {
        None
    }
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
    }

    #[test]
    fn only_a_leading_tilde_is_the_home_directory() {
        let home = directories::BaseDirs::new().unwrap().home_dir().to_owned();
        assert_eq!(expand_home("~/a/b".into()), home.join("a/b"));
        for path in ["/a/~/b", "~other/b", "a~", "./~/b"] {
            assert_eq!(expand_home(path.into()), Path::new(path));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_path_has_at_most_107_bytes() {
        let path = |bytes: usize| Endpoint::at(format!("/{}", "a".repeat(bytes - 1)));
        path(107).check_path().unwrap();
        let error = path(108).check_path().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(
            error.to_string().ends_with("has 108 bytes, which is too long for a socket: the maximum is 107"),
            "{error}"
        );
    }
}
