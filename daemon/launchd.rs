//! The sockets that launchd of macOS holds while the daemon is away, asked for by the names in the launch agent's file.
//!
//! launchd gives descriptors to who asks with `launch_activate_socket(3)`
//! (<https://developer.apple.com/documentation/xpc/launch_activate_socket>), which `service-binding` calls by way of
//! `raunch`. It answers once for each name. A process that launchd has not started, or whose agent names no such socket,
//! gets none. No Mac has run this yet.

use std::{
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixListener},
};

use service_binding::{Binding, Listener};

/// The TCP sockets of this name: the name itself, then with numbers, such as `http-2`.
pub(crate) fn tcp(name: &str) -> Vec<TcpListener> {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let names = std::iter::once(name.to_owned()).chain(numbered);
    names.map_while(|name| held(&name)).map(|socket| OwnedFd::from(socket).into()).collect()
}

/// The local socket of this name.
pub(crate) fn local(name: &str) -> Option<UnixListener> {
    held(name)
}

/// Whatever socket has this name: it comes as a local one, and is none before somebody uses it.
fn held(name: &str) -> Option<UnixListener> {
    let binding: Binding = format!("fd://{name}").parse().ok()?;
    match Listener::try_from(binding).ok()? {
        Listener::Unix(socket) => Some(socket),
        Listener::Tcp(_) | Listener::NamedPipe(_) => None,
    }
}
