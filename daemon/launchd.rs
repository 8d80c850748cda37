//! The sockets that launchd of macOS holds while the daemon is not running, by their names in the launch agent's file.
//!
//! launchd passes descriptors to a process that calls `launch_activate_socket(3)`
//! (<https://developer.apple.com/documentation/xpc/launch_activate_socket>), which `service-binding` calls through
//! `raunch`. It answers once for each name. A process that launchd has not started, or whose agent names no such socket, gets
//! none. This has not been run on a Mac yet.

use std::{
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixListener},
};

use service_binding::{Binding, Listener};

/// Returns the TCP sockets of a name: the name itself, then with numbers, such as `http-2`.
pub(crate) fn tcp(name: &str) -> Vec<TcpListener> {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let names = std::iter::once(name.to_owned()).chain(numbered);
    names.map_while(|name| socket(&name)).map(|socket| OwnedFd::from(socket).into()).collect()
}

/// Returns the local socket of a name.
pub(crate) fn local(name: &str) -> Option<UnixListener> {
    socket(name)
}

/// Returns the socket of a name. Its type is local whatever the socket is, until it is used.
fn socket(name: &str) -> Option<UnixListener> {
    let binding: Binding = format!("fd://{name}").parse().ok()?;
    match Listener::try_from(binding).ok()? {
        Listener::Unix(socket) => Some(socket),
        Listener::Tcp(_) | Listener::NamedPipe(_) => None,
    }
}
