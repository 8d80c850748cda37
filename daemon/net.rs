//! The TCP sockets for browsers: bound by the daemon, or held for it by a service manager.

use std::{io, net::SocketAddr};

use socket2::SockRef;
use sse_bus::socket_owner;
use tokio::net::{TcpListener, TcpSocket};

use crate::listen::Listen;

/// Connections that wait to be accepted, when many come back in one instant. The kernel has the last word.
pub(crate) const BACKLOG: u32 = 4096;

/// Listens at all of these addresses.
///
/// # Errors
///
/// Names the address that cannot be listened on, the process that holds it, and what to do.
pub(crate) fn listen(list: &[Listen]) -> Result<Vec<TcpListener>, String> {
    if let [Listen::Localhost(0)] = list {
        return listen_on_one_free_port();
    }
    let addresses = Listen::all(list);
    addresses.iter().map(|address| bind(*address, &addresses).map_err(|e| cannot_listen(*address, &e))).collect()
}

/// Listens at both addresses of loopback, on whichever port is free on both.
fn listen_on_one_free_port() -> Result<Vec<TcpListener>, String> {
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
    attempts.find(Result::is_ok).unwrap_or_else(attempt).map_err(|(address, e)| cannot_listen(address, &e))
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

/// Listens on a socket that a service manager holds, and goes on holding. Who comes while the daemon is away waits in its
/// queue, so that a short one is made longer.
pub(crate) fn serve_held(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    bound(&SockRef::from(&socket))?;
    SockRef::from(&socket).listen(BACKLOG.cast_signed())?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// Bounds what the kernel holds for peers that do not read. Accepted sockets inherit it.
fn bound(socket: &SockRef<'_>) -> io::Result<()> {
    /// Bytes of events for each. More would only be memory pinned by peers that do not read: what does not fit waits in
    /// the feed, once for all.
    const HELD: usize = 64 << 10;
    // A bound of what is not sent lets the buffers of those that do read grow.
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(HELD as u32)?;
    // Nothing is congested within a machine, and where BBR is the system's choice it would pace each connection with
    // timers: without, a replay is 5 to 25 % faster. Every kernel has Reno; if it cannot be had nothing is lost.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_congestion(b"reno");
    #[cfg(not(target_os = "linux"))]
    socket.set_send_buffer_size(HELD)?;
    Ok(())
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder =
                socket_owner::of_port(address).map_or_else(|| "another process".into(), |owner| owner.to_string());
            format!("{address} is in use by {holder}; stop it, or choose another port with --listen localhost:PORT")
        }
        _ => format!("{address} cannot be listened on: {error}; choose another with --listen"),
    }
}
