//! The bound local socket: exactly one daemon serves it, for processes of its own user and of the users on its allow list.
//!
//! The socket has its mode before it has a name, so it is never open to other users. With an allow list the file lets every
//! user connect, and the daemon checks each connection.

use std::io;

use interprocess::local_socket::{
    GenericFilePath, ListenerOptions, ToFsName, tokio::Listener as LocalListener, traits::tokio::Listener as _,
};
use sse_bus::{Endpoint, endpoint::Stream};
#[cfg(unix)]
use tokio::{runtime::Handle, task::spawn_blocking};

use super::error::SocketError;
#[cfg(windows)]
use super::pipe_lock::PipeLock as SocketLock;
#[cfg(unix)]
use super::socket_lock::SocketLock;
use crate::{access::Peer, config::LocalAllowList};

/// The bound local socket. Removes the socket file when it is dropped.
pub(crate) struct Listener {
    socket: LocalListener,
    #[cfg_attr(windows, expect(dead_code, reason = "a pipe's security descriptor names its users"))]
    allowed: LocalAllowList,
    /// Dropped last, so that the socket is closed when another daemon takes the lock. An inherited socket has none.
    #[cfg_attr(windows, expect(dead_code, reason = "a pipe has no file that could be lost"))]
    lock: Option<SocketLock>,
}

impl Listener {
    /// Serves an inherited socket, or else binds the configured endpoint.
    ///
    /// # Errors
    ///
    /// Names in one line what prevents it, and what to do.
    #[cfg(unix)]
    pub(crate) async fn new(
        inherited: Option<std::os::unix::net::UnixListener>,
        endpoint: &Endpoint,
        allowed: &LocalAllowList,
    ) -> Result<Listener, SocketError> {
        match inherited {
            Some(socket) => Listener::serve(socket, allowed)
                .map_err(|error| SocketError::Inherited { endpoint: endpoint.clone(), error }),
            None => Listener::bind(endpoint, allowed).await,
        }
    }

    /// Binds the endpoint.
    ///
    /// # Errors
    ///
    /// Names in one line what prevents it, and what to do.
    pub(crate) async fn bind(endpoint: &Endpoint, allowed: &LocalAllowList) -> Result<Listener, SocketError> {
        let mut lock = SocketLock::take(endpoint, allowed.directory_mode()).await?;
        let socket = bind(endpoint, allowed)?;
        lock.note_bound();
        Ok(Listener { socket, allowed: allowed.clone(), lock: Some(lock) })
    }

    /// Binds the endpoint again if its path no longer leads to the socket. Returns true if it was bound again. The file system
    /// is accessed on a thread that may block.
    ///
    /// # Errors
    ///
    /// Names in one line what prevents it. Open connections are not affected.
    #[cfg(unix)]
    pub(crate) async fn rebind_if_lost(&mut self, endpoint: &Endpoint) -> Result<bool, SocketError> {
        let Some(mut lock) = self.lock.take() else { return Ok(false) };
        let runtime = Handle::current();
        let retake = move || {
            let is_lost = lock.is_lost();
            let retaken = if is_lost { runtime.block_on(lock.retake()) } else { Ok(()) };
            (lock, retaken.map(|()| is_lost))
        };
        let (lock, retaken) = spawn_blocking(retake).await?;
        let lock = self.lock.insert(lock);
        if retaken? {
            self.socket = bind(endpoint, &self.allowed)?;
            lock.note_bound();
            return Ok(true);
        }
        Ok(false)
    }

    /// A pipe keeps its name while it is served.
    #[cfg(windows)]
    #[expect(clippy::unused_async, reason = "the same interface as on Unix")]
    pub(crate) async fn rebind_if_lost(&mut self, _: &Endpoint) -> Result<bool, SocketError> {
        Ok(false)
    }

    /// Serves an inherited socket, with a longer queue if its own is short. The service manager keeps it open.
    #[cfg(unix)]
    fn serve(socket: std::os::unix::net::UnixListener, allowed: &LocalAllowList) -> io::Result<Listener> {
        use interprocess::os::unix::uds_local_socket::tokio::Listener as Uds;
        socket.set_nonblocking(true)?;
        socket2::SockRef::from(&socket).listen(crate::net::BACKLOG.cast_signed())?;
        let listener = Uds::try_from(std::os::fd::OwnedFd::from(socket))?;
        Ok(Listener { socket: LocalListener::UdSocket(listener), allowed: allowed.clone(), lock: None })
    }

    /// Accepts a connection. Returns its process if that may use the socket, else the ID of its user.
    #[cfg(unix)]
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Result<Peer, u32>)> {
        use std::os::fd::OwnedFd;
        let stream = self.socket.accept().await?;
        let interprocess::local_socket::tokio::Stream::UdSocket(stream) = stream;
        let stream = std::os::unix::net::UnixStream::from(OwnedFd::try_from(stream).map_err(io::Error::other)?);
        let stream = Stream::from_std(stream)?;
        let peer = stream.peer_cred()?;
        let is_own = peer.uid() == rustix::process::geteuid().as_raw();
        let is_allowed = is_own || self.allowed.allows(peer.uid(), peer.gid());
        let described = || Peer { process: describe(peer.pid()).into(), uid: Some(peer.uid()), is_own };
        Ok((stream, if is_allowed { Ok(described()) } else { Err(peer.uid()) }))
    }

    /// Accepts a connection. The pipe's security descriptor lets only the daemon's own user connect.
    #[cfg(windows)]
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Result<Peer, u32>)> {
        let peer = Peer { process: "a local process".into(), uid: None, is_own: true };
        Ok((self.socket.accept().await?, Ok(peer)))
    }
}

fn bind(endpoint: &Endpoint, allowed: &LocalAllowList) -> Result<LocalListener, SocketError> {
    let failed = |error: io::Error| SocketError::Unusable { endpoint: endpoint.clone(), error };
    let name = endpoint.path().to_fs_name::<GenericFilePath>().map_err(failed)?;
    let options = options(ListenerOptions::new().name(name)).map_err(failed)?;
    let mut listener = options.create_tokio().map_err(failed)?;
    // Otherwise it removes any file at the path.
    listener.do_not_reclaim_name_on_drop();
    #[cfg(unix)]
    allowed.open(endpoint).map_err(failed)?;
    #[cfg(windows)]
    let _ = allowed;
    Ok(listener)
}

/// Describes a local process, such as `python3 (pid 812)`.
#[cfg(unix)]
fn describe(pid: Option<i32>) -> String {
    let Some(pid) = pid.filter(|pid| *pid > 0) else { return "a local process".into() };
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        // Escaped: a process may choose a name that contains line breaks.
        Ok(name) => format!("{} (pid {pid})", name.trim_end().escape_debug()),
        Err(_) => format!("pid {pid}"),
    }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on Windows")]
fn options(options: ListenerOptions<'_>) -> io::Result<ListenerOptions<'_>> {
    use interprocess::os::unix::local_socket::ListenerOptionsExt as _;
    // Other systems cannot set the mode of a socket before it has a name; there the process's umask applies.
    let has_mode = cfg!(any(target_os = "linux", target_os = "freebsd", target_os = "openbsd"));
    Ok(if has_mode { options.mode(0o600) } else { options })
}

/// On Windows the security descriptor of a pipe names its users: here its owner alone, who is this user.
#[cfg(windows)]
fn options(options: ListenerOptions<'_>) -> io::Result<ListenerOptions<'_>> {
    use interprocess::os::windows::{local_socket::ListenerOptionsExt as _, security_descriptor::SecurityDescriptor};
    // SDDL: a protected list with one entry, all access for the owner's rights.
    let owner_only = widestring::u16cstr!("D:P(A;;GA;;;OW)");
    Ok(options.security_descriptor(SecurityDescriptor::deserialize(owner_only)?))
}
