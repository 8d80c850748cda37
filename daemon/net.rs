//! TCP sockets for browsers: bound by the daemon, or inherited from a service manager.

use std::{io, net::SocketAddr, time::Duration};

use socket2::SockRef;
use sse_bus::{listen::Listen, socket_owner};
use tokio::net::{TcpListener, TcpSocket};
use tracing::warn;

/// Connections that wait to be accepted, for many clients that reconnect in one instant. The kernel may lower it.
pub(crate) const BACKLOG: u32 = 4096;

/// Why a TCP socket cannot be served. The message names the address, the process that holds it, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("{address} is in use by {owner}; stop it, or choose another port with --listen localhost:PORT")]
    InUse { address: SocketAddr, owner: String },
    #[error("cannot listen on {address}: {error}; choose another address with --listen")]
    Unavailable { address: SocketAddr, error: io::Error },
    #[error("cannot serve a TCP socket: {0}")]
    Unusable(io::Error),
}

impl ListenError {
    fn new(address: SocketAddr, error: io::Error) -> ListenError {
        if error.kind() != io::ErrorKind::AddrInUse {
            return ListenError::Unavailable { address, error };
        }
        let owner = socket_owner::of_port(address).map_or_else(|| "another process".into(), |owner| owner.to_string());
        ListenError::InUse { address, owner }
    }
}

/// Listens on all of these addresses.
pub(crate) fn listen(list: &[Listen]) -> Result<Vec<TcpListener>, ListenError> {
    if let [Listen::Localhost(0)] = list {
        return listen_on_one_free_port();
    }
    let addresses = Listen::all(list);
    addresses.iter().map(|address| bind(*address, &addresses).map_err(|e| ListenError::new(*address, e))).collect()
}

/// Listens on both loopback addresses, on a port that is free on both.
fn listen_on_one_free_port() -> Result<Vec<TcpListener>, ListenError> {
    const TRIES: usize = 32;
    let attempt = || -> Result<_, (SocketAddr, io::Error)> {
        let mut bound: Vec<TcpListener> = Vec::new();
        let mut port = 0;
        for mut address in Listen::Localhost(0).addresses() {
            address.set_port(port);
            let listener = bind(address, &[]).map_err(|e| (address, e))?;
            port = listener.local_addr().map_err(|e| (address, e))?.port();
            bound.push(listener);
        }
        Ok(bound)
    };
    let mut attempts = (1..=TRIES).map(|_| attempt());
    attempts.find(Result::is_ok).unwrap_or_else(attempt).map_err(|(address, e)| ListenError::new(address, e))
}

/// Binds one of several addresses.
fn bind(address: SocketAddr, all: &[SocketAddr]) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // On Windows this would let another process take the port over; elsewhere it only skips a wait after a restart.
    socket.set_reuseaddr(cfg!(unix))?;
    // `[::]` takes the port of IPv4 as well, unless that is named on its own.
    if address.is_ipv6() && all.iter().any(|other| other.is_ipv4() && other.port() == address.port()) {
        SockRef::from(&socket).set_only_v6(true)?;
    }
    bound(&SockRef::from(&socket))?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listens on an inherited socket, with a longer queue if its own is short: the service manager keeps the socket open, and
/// clients wait in the queue while the daemon is not running.
pub(crate) fn serve_inherited(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    bound(&SockRef::from(&socket))?;
    SockRef::from(&socket).listen(BACKLOG.cast_signed())?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// Bounds the kernel's buffers for peers that do not read. Accepted sockets inherit the bound.
fn bound(socket: &SockRef<'_>) -> io::Result<()> {
    /// Bytes for each socket. More would only be memory pinned by peers that do not read: events that do not fit wait in the
    /// feed, once for all subscribers.
    const BUFFERED: usize = 64 << 10;
    // A bound on bytes that are not sent yet lets the buffers of peers that read grow.
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(BUFFERED as u32)?;
    // There is no congestion within a machine, and where the system's choice is BBR it would pace each connection with
    // timers, which makes a replay 5 to 25 % slower. Every kernel has Reno; without it only speed is lost.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_congestion(b"reno");
    #[cfg(not(target_os = "linux"))]
    socket.set_send_buffer_size(BUFFERED)?;
    Ok(())
}

/// Returns an accepted connection. If accepting failed, for example for lack of descriptors, logs the error and waits a
/// moment, so that the caller's loop is not busy.
pub(crate) async fn accepted<T>(connection: io::Result<T>) -> Option<T> {
    const PAUSE: Duration = Duration::from_millis(100);
    match connection {
        Ok(connection) => Some(connection),
        Err(error) => {
            warn!(%error, "cannot accept a connection");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}
