//! Binding the local socket, so that exactly one daemon serves it and only processes of its own user are served, or of
//! others whom its configuration names.
//!
//! Where it may be bound is looked at before, in `place`. The socket is never open to others, not for an instant either:
//! it has its mode before it has a name. Where others are named, the file lets everybody in, and the daemon does not.

use std::{io, sync::Arc};

use interprocess::local_socket::{
    GenericFilePath, ListenerOptions, ToFsName, tokio::Listener as LocalListener, traits::tokio::Listener as _,
};
use sse_bus::{Client, Endpoint, endpoint::Stream, socket_owner};
#[cfg(unix)]
use tokio::{runtime::Handle, task::spawn_blocking};

use super::namespace;
#[cfg(unix)]
use super::place::Place;
use crate::access::{Grant, Publisher};

/// The bound local socket. The socket file goes when it is dropped.
pub(crate) struct Listener {
    socket: LocalListener,
    #[cfg_attr(windows, expect(dead_code, reason = "a pipe's security descriptor names whom it lets in"))]
    guests: Guests,
    /// Dropped last: whoever waits for the place then finds it empty. A socket that is held for the daemon has none.
    #[cfg_attr(windows, expect(dead_code, reason = "a pipe has no file that could be lost"))]
    place: Option<Place>,
}

impl Listener {
    /// Binds the endpoint.
    ///
    /// # Errors
    ///
    /// Says in one line what stands in the way, and what to do.
    pub(crate) async fn bind(endpoint: &Endpoint, guests: &Guests) -> Result<Listener, String> {
        let mut place = Place::claim(endpoint, guests.directory_mode()).await?;
        let socket = bind(endpoint, guests)?;
        place.is_bound();
        Ok(Listener { socket, guests: guests.clone(), place: Some(place) })
    }

    /// Binds the endpoint again if its path no longer leads to the socket. Returns true if it did. A file system that hangs
    /// holds up a thread of its own kind.
    ///
    /// # Errors
    ///
    /// Says in one line what stands in the way. The connections that are open go on.
    #[cfg(unix)]
    pub(crate) async fn rebind_if_lost(&mut self, endpoint: &Endpoint) -> Result<bool, String> {
        let Some(mut place) = self.place.take() else { return Ok(false) };
        let runtime = Handle::current();
        let reclaim = move || {
            let is_lost = place.is_lost();
            let reclaimed = if is_lost { runtime.block_on(place.reclaim()) } else { Ok(()) };
            (place, reclaimed.map(|()| is_lost))
        };
        let (place, reclaimed) = spawn_blocking(reclaim).await.map_err(|e| e.to_string())?;
        let place = self.place.insert(place);
        if reclaimed? {
            self.socket = bind(endpoint, &self.guests)?;
            place.is_bound();
            return Ok(true);
        }
        Ok(false)
    }

    /// A pipe has its name for as long as it is served.
    #[cfg(windows)]
    #[expect(
        clippy::unused_async,
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "elsewhere there is a file"
    )]
    pub(crate) async fn rebind_if_lost(&mut self, _: &Endpoint) -> Result<bool, String> {
        Ok(false)
    }

    /// Serves a socket that a service manager holds, and goes on holding, with a longer queue if it was short.
    #[cfg(unix)]
    pub(crate) fn of(socket: std::os::unix::net::UnixListener, guests: &Guests) -> io::Result<Listener> {
        use interprocess::os::unix::uds_local_socket::tokio::Listener as Uds;
        socket.set_nonblocking(true)?;
        socket2::SockRef::from(&socket).listen(crate::tcp::BACKLOG.cast_signed())?;
        let listener = Uds::try_from(std::os::fd::OwnedFd::from(socket))?;
        Ok(Listener { socket: LocalListener::UdSocket(listener), guests: guests.clone(), place: None })
    }

    /// The next connection, and its process if that may in.
    #[cfg(unix)]
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Option<Peer>)> {
        use std::os::fd::OwnedFd;
        let stream = self.socket.accept().await?;
        let interprocess::local_socket::tokio::Stream::UdSocket(stream) = stream;
        let stream = std::os::unix::net::UnixStream::from(OwnedFd::try_from(stream).map_err(io::Error::other)?);
        let stream = Stream::from_std(stream)?;
        let peer = stream.peer_cred()?;
        let is_own = peer.uid() == rustix::process::geteuid().as_raw();
        let is_guest = self.guests.uids.contains(&peer.uid()) || self.guests.gids.contains(&peer.gid());
        let described = || Peer { process: describe(peer.pid()).into(), uid: Some(peer.uid()), is_own };
        Ok((stream, (is_own || is_guest).then(described)))
    }

    /// The next connection. The pipe's security descriptor has let in the daemon's own user only.
    #[cfg(windows)]
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Option<Peer>)> {
        let peer = Peer { process: "a local process".into(), uid: None, is_own: true };
        Ok((self.socket.accept().await?, Some(peer)))
    }
}

fn bind(endpoint: &Endpoint, guests: &Guests) -> Result<LocalListener, String> {
    let failed = |e: io::Error| format!("{endpoint} cannot be served: {e}; choose another place with --socket");
    let name = endpoint.path().to_fs_name::<GenericFilePath>().map_err(failed)?;
    let options = options(ListenerOptions::new().name(name)).map_err(failed)?;
    let mut listener = options.create_tokio().map_err(|e| {
        let path = endpoint.path().as_os_str();
        match e.kind() {
            io::ErrorKind::InvalidInput if path.len() > 100 => {
                format!("{endpoint} has {} bytes, too many for a socket; choose a shorter --socket", path.len())
            }
            _ => failed(e),
        }
    })?;
    // It would remove whatever is at the path then.
    listener.do_not_reclaim_name_on_drop();
    #[cfg(unix)]
    guests.let_in(endpoint).map_err(failed)?;
    #[cfg(windows)]
    let _ = guests;
    Ok(listener)
}

/// A process at the other end of the local socket.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// A description, such as `python3 (pid 812)`.
    pub(crate) process: Arc<str>,
    /// Its user, where the system says so.
    pub(crate) uid: Option<u32>,
    /// It is of the daemon's own user.
    pub(crate) is_own: bool,
}

impl Peer {
    /// Whoever is let in needs no token.
    pub(super) fn publisher(&self) -> Publisher<'_> {
        Publisher { grant: &Grant::Own, uid: self.uid, is_own: self.is_own, origin: None }
    }
}

/// Whom else the local socket lets in, on Unix: users, and groups that are the effective ones of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guests {
    pub(crate) uids: Vec<u32>,
    pub(crate) gids: Vec<u32>,
}

impl Guests {
    /// Those of them who can come. Of the others it says, for each key, that they count for nothing, and what to do.
    pub(crate) fn new(uids: &[u32], gids: &[u32]) -> (Guests, Vec<(&'static str, String)>) {
        let (uids, no_users) = namespace::split("/proc/self/uid_map", uids);
        let (gids, no_groups) = namespace::split("/proc/self/gid_map", gids);
        let absent = [("allow_uid", no_users), ("allow_gid", no_groups)];
        let absent = absent.into_iter().filter(|(_, numbers)| !numbers.is_empty());
        let told = absent.map(|(key, numbers)| {
            let numbers = numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let what = format!(
                "{key} = {numbers} counts for nothing: the daemon is in a user namespace that has no such number; \
                 `sse-busctl service install --other-users` has it run outside"
            );
            (key, what)
        });
        (Guests { uids, gids }, told.collect())
    }

    /// A warning if the directories of the socket keep guests out, with what lets them through.
    #[cfg(unix)]
    pub(crate) fn kept_out(&self, endpoint: &Endpoint) -> Option<String> {
        use sse_bus::{private_fs, shell};
        let closed = private_fs::closed_directories(endpoint.path(), &self.uids, &self.gids);
        let outermost = closed.last()?;
        let words: Vec<_> = closed.iter().map(|closed| shell::quoted(&closed.to_string_lossy()).into_owned()).collect();
        Some(format!(
            "allow_uid and allow_gid have no effect: {} keeps those users away from {endpoint}; let them through with `chmod \
             o+x {}`, or choose a --socket in a directory that they may enter",
            outermost.display(),
            words.join(" ")
        ))
    }

    fn are_none(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty()
    }

    /// The mode of a directory that is made for the socket: guests must get through it.
    fn directory_mode(&self) -> u32 {
        if self.are_none() { 0o700 } else { 0o711 }
    }

    /// Gives a bound socket the mode with which guests may connect; it was private until now, whatever the umask.
    #[cfg(unix)]
    fn let_in(&self, endpoint: &Endpoint) -> io::Result<()> {
        use std::{fs, os::unix::fs::PermissionsExt as _};
        if self.are_none() {
            return Ok(());
        }
        fs::set_permissions(endpoint.path(), fs::Permissions::from_mode(0o666))
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
    // Systems that cannot give a mode to a socket without a name have the process's umask.
    let has_mode = cfg!(any(target_os = "linux", target_os = "freebsd", target_os = "openbsd"));
    Ok(if has_mode { options.mode(0o600) } else { options })
}

/// On Windows a pipe is private to whoever its security descriptor names: here the owner, which is this user, alone.
#[cfg(windows)]
fn options(options: ListenerOptions<'_>) -> io::Result<ListenerOptions<'_>> {
    use interprocess::os::windows::{local_socket::ListenerOptionsExt as _, security_descriptor::SecurityDescriptor};
    // SDDL: a protected list with one entry, all access for the owner's rights.
    let owner_only = widestring::u16cstr!("D:P(A;;GA;;;OW)");
    Ok(options.security_descriptor(SecurityDescriptor::deserialize(owner_only)?))
}

/// On Windows a pipe's name is all the place there is.
#[cfg(windows)]
struct Place;

#[cfg(windows)]
impl Place {
    /// A pipe's name is free as soon as nobody serves it.
    async fn claim(endpoint: &Endpoint, _: u32) -> Result<Place, String> {
        match endpoint.connect().await {
            Ok(_) => Err(already_served(endpoint, holder(endpoint).await)),
            Err(_) => Ok(Place),
        }
    }

    #[expect(clippy::unused_self, reason = "elsewhere the place notes it")]
    fn is_bound(&mut self) {}
}

/// The daemon that answers at the endpoint, such as `sse-busd 0.1.0 (pid 812)`.
pub(super) async fn holder(endpoint: &Endpoint) -> Option<String> {
    let status = Client::connect(endpoint).await.ok()?.status().await.ok()?;
    Some(format!("sse-busd {} (pid {})", status.version, status.pid))
}

/// Says who serves the endpoint already.
pub(super) fn already_served(endpoint: &Endpoint, holder: Option<String>) -> String {
    // One whose socket file is gone holds the lock nevertheless.
    let holder = holder.or_else(|| socket_owner::of_local_socket(endpoint.path()).map(|owner| owner.to_string()));
    let holder = holder.unwrap_or_else(|| "another process".into());
    format!("{endpoint} is served by {holder} already; use that one, stop it, or choose another --socket")
}
