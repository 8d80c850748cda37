//! Where a client looks for the daemon of its user on Unix, and whom it trusts there.

use std::{
    env, io, iter,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{Endpoint, PathSource, RUNTIME_VARIABLE, SOCKET_VARIABLE, state_dir};
use crate::private_fs;
#[cfg(feature = "client")]
use crate::{listen::Listen, socket_owner::own_daemons};

/// The path of the socket in its directory.
const FILE: &str = "bus.sock";

/// Returns the default endpoints; the first is that of the daemon. Without a runtime and a home directory there is none.
fn default_endpoints() -> impl Iterator<Item = Endpoint> {
    let endpoint = |source, directory: PathBuf| Endpoint { path: directory.join(FILE), source };
    let variable = runtime_variable().map(|runtime| runtime.join("sse-bus"));
    let variable = variable.map(|directory| endpoint(PathSource::RuntimeVariable, directory));
    let runtime = iter::once_with(|| own_runtime_directory().map(|runtime| runtime.join("sse-bus"))).flatten();
    let runtime = runtime.map(move |directory| endpoint(PathSource::RuntimeDirectory, directory));
    let state = iter::once_with(|| state_dir().ok()).flatten();
    let state = state.map(move |directory| endpoint(PathSource::StateDirectory, directory));
    variable.into_iter().chain(runtime).chain(state)
}

/// Returns the directory that `XDG_RUNTIME_DIR` names. Relative paths are ignored, as its specification requires.
fn runtime_variable() -> Option<PathBuf> {
    let is_used = cfg!(not(target_os = "macos"));
    env::var_os(RUNTIME_VARIABLE).map(PathBuf::from).filter(|path| is_used && path.is_absolute())
}

/// Returns `/run/user/UID`, which the system creates when a user logs in, if it exists and belongs to this user.
fn own_runtime_directory() -> Option<PathBuf> {
    let own = own_user();
    let directory = Path::new("/run/user").join(own.to_string());
    let is_own = directory.metadata().is_ok_and(|found| found.uid() == own);
    (is_own && private_fs::check_directory(&directory).is_ok()).then_some(directory)
}

impl Endpoint {
    /// Returns the default endpoint, which is that of the daemon.
    pub(super) fn of_user() -> io::Result<Endpoint> {
        default_endpoints().next().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no home directory; set {SOCKET_VARIABLE} to a path"))
        })
    }

    /// Returns what is wrong with the variable `XDG_RUNTIME_DIR` and how to correct it, if the path comes from this variable
    /// and its directory belongs to another user. A directory of root counts only if no other user has access to it.
    pub fn runtime_error(&self) -> Option<String> {
        let directory = runtime_variable().filter(|_| self.source == PathSource::RuntimeVariable)?;
        let found = directory.metadata().ok()?;
        let owner = found.uid();
        // /tmp belongs to root as well, but other users can use it.
        let is_shared = owner == 0 && found.mode() & 0o077 != 0;
        (owner != own_user() && !is_shared).then(|| {
            format!(
                "{RUNTIME_VARIABLE} is {}, which belongs to another user (uid {owner}), as after `su`; unset it with `unset \
                 {RUNTIME_VARIABLE}`",
                directory.display()
            )
        })
    }
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Returns the sockets of this user's daemons that listen on the default port, or on those in `SSE_BUS_LISTEN`.
#[cfg(feature = "client")]
fn endpoints_by_port() -> impl Iterator<Item = Endpoint> {
    let listen = env::var("SSE_BUS_LISTEN").ok().filter(|listen| !listen.is_empty());
    let listen: Vec<Listen> = match &listen {
        Some(list) => list.split(',').filter_map(|address| address.parse().ok()).collect(),
        None => vec![Listen::USUAL],
    };
    let daemons = iter::once_with(move || own_daemons(&Listen::all(&listen))).flatten();
    daemons.flat_map(|daemon| daemon.sockets).map(|path| Endpoint { path, source: PathSource::Port })
}

#[cfg(feature = "client")]
mod connect {
    use std::io;

    use super::{Endpoint, PathSource, default_endpoints, endpoints_by_port, own_user};
    use crate::{endpoint::Stream, user_namespace};

    impl Endpoint {
        /// Connects to the daemon. If none is at the default path, connects to this user's daemon at another default path,
        /// or to the one that listens on the default port.
        ///
        /// # Errors
        ///
        /// Returns the error of the operating system, or [`PermissionDenied`](io::ErrorKind::PermissionDenied) if the
        /// socket is served by a process of an untrusted user. At a default path this user and root are trusted; at any
        /// other path that the caller chose the owner of its directory as well.
        pub async fn connect(&self) -> io::Result<Stream> {
            self.locate().await.map(|(_, stream)| stream)
        }

        /// Connects to the daemon, and returns the endpoint at which it was found.
        pub(crate) async fn locate(&self) -> io::Result<(Endpoint, Stream)> {
            let error = match self.connect_here().await {
                Ok(stream) => return Ok((self.clone(), stream)),
                Err(error) => error,
            };
            if self.source.is_default() && is_absent(&error) {
                let others = default_endpoints().filter(|other| other != self);
                for other in others.chain(endpoints_by_port()) {
                    match other.connect_here().await {
                        Ok(stream) => return Ok((other, stream)),
                        // Its queue is full: the caller tries again.
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                        Err(_) => {}
                    }
                }
            }
            Err(error)
        }

        async fn connect_here(&self) -> io::Result<Stream> {
            self.check_path()?;
            let stream = Stream::connect(&self.path).await?;
            let (server, own) = (stream.peer_cred()?.uid(), own_user());
            // All users without an ID in a user namespace look the same.
            let is_own = server == own && user_namespace::has_user(own);
            if is_own || server == 0 || self.is_chosen_from(server) {
                return Ok(stream);
            }
            let why = if user_namespace::has_user(server) {
                format!("{self} belongs to another user (uid {server}); each user has a bus of their own")
            } else {
                unmapped(self, own)
            };
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
        }

        /// Describes a denial: by the variable that leads to another user's directory, or the missing ID of this user, if
        /// either is the cause.
        pub(crate) fn denial(&self, error: &io::Error) -> String {
            let own = own_user();
            match (self.runtime_error(), error.raw_os_error()) {
                (Some(why), _) => why,
                (None, Some(_)) if !user_namespace::has_user(own) => unmapped(self, own),
                // Connecting already failed.
                (None, Some(_)) => format!("{self} belongs to another user; each user has a bus of their own"),
                (None, None) => error.to_string(),
            }
        }

        /// Returns true if the caller chose this path, it is no default path, and its directory belongs to `user`.
        fn is_chosen_from(&self, user: u32) -> bool {
            use std::os::unix::fs::MetadataExt as _;
            let is_chosen = matches!(self.source, PathSource::Given | PathSource::Variable);
            let directory = self.path.parent().and_then(|directory| directory.metadata().ok());
            is_chosen
                && directory.is_some_and(|directory| directory.uid() == user)
                && default_endpoints().all(|default| default != *self)
        }
    }

    /// Returns true if no process serves the socket.
    fn is_absent(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
    }

    /// The error if this user and the server's cannot be distinguished, because at least one of them has no ID here.
    fn unmapped(endpoint: &Endpoint, own: u32) -> String {
        format!(
            "the user of {endpoint} is not mapped in the user namespace of this process (uid {own}), as in some containers, so \
             it is not known to be yours; map the user, for example with `unshare --map-current-user` or `podman run \
             --userns=keep-id`"
        )
    }
}
