//! The daemon of this user that serves a socket or a port already, for error messages. It is never advised to start a second one:
//! that would split publishers from subscribers.

use std::{net::SocketAddr, time::Duration};

use sse_bus::{Endpoint, client::local_status, protocol::Status, socket_owner};
use tokio::time::timeout;

use super::error::{Running, SocketError};

/// How long a daemon has to answer, or to release its lock: it may just have been started or stopped.
pub(super) const REPLY: Duration = Duration::from_secs(2);

/// Returns the daemon that answers at an endpoint.
pub(super) async fn at(endpoint: &Endpoint) -> Option<Running> {
    // At this path alone.
    let endpoint = Endpoint::at(endpoint.path());
    let Status { pid, urls, .. } = local_status(&endpoint).await.ok()?;
    Some(Running { pid, socket: endpoint.to_string(), urls: Some(urls) })
}

/// Returns this user's daemon that listens on an address.
pub(crate) async fn on_port(address: SocketAddr) -> Option<Running> {
    let daemon = socket_owner::own_daemons(&[address]).into_iter().next()?;
    for socket in &daemon.sockets {
        if let Ok(Some(running)) = timeout(REPLY, at(&Endpoint::at(socket))).await {
            return Some(running);
        }
    }
    let socket = daemon.sockets.first().map_or_else(|| "unknown".into(), |path| path.display().to_string());
    Some(Running { pid: daemon.pid, socket, urls: None })
}

/// Returns the error that a process serves the endpoint already.
pub(super) fn already_served(endpoint: &Endpoint, daemon: Option<Running>) -> SocketError {
    if let Some(running) = daemon {
        return SocketError::AlreadyRunning(running);
    }
    // A daemon whose socket file was removed does not answer, but holds the lock.
    match socket_owner::of_local_socket(endpoint.path()) {
        Some(owner) if owner.name.starts_with("sse-busd") => {
            SocketError::AlreadyRunning(Running { pid: owner.pid, socket: endpoint.to_string(), urls: None })
        }
        owner => {
            let owner = owner.map_or_else(|| "another process".into(), |owner| owner.to_string());
            SocketError::AlreadyServed { endpoint: endpoint.clone(), owner }
        }
    }
}
