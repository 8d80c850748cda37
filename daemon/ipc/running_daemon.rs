//! The daemon of this user that serves a socket or a port already, for error messages. It is never advised to start a second one:
//! that would split publishers from subscribers.

use std::{fmt, net::SocketAddr, time::Duration};

use sse_bus::{Client, Endpoint, protocol::Status, socket_owner};
use tokio::time::timeout;

/// How long a daemon has to answer, or to release its lock: it may just have been started or stopped.
pub(super) const ANSWER: Duration = Duration::from_secs(2);

/// A daemon that runs already.
pub(crate) struct Running {
    pid: u32,
    socket: String,
    /// Nothing if it does not answer.
    urls: Option<Vec<String>>,
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "already running: PID {}, socket {}", self.pid, self.socket)?;
        match self.urls.as_deref() {
            None => f.write_str("; it does not answer, and `sse-busctl doctor` shows why"),
            Some([]) => Ok(()),
            Some(urls) => write!(f, ", URL {}", urls.join(" ")),
        }
    }
}

/// Returns the daemon that answers at an endpoint.
pub(super) async fn at(endpoint: &Endpoint) -> Option<Running> {
    // At this path alone.
    let endpoint = Endpoint::at(endpoint.path());
    let Status { pid, urls, .. } = Client::connect(&endpoint).await.ok()?.status().await.ok()?;
    Some(Running { pid, socket: endpoint.to_string(), urls: Some(urls) })
}

/// Returns this user's daemon that listens on an address.
pub(crate) async fn on_port(address: SocketAddr) -> Option<Running> {
    let daemon = socket_owner::own_daemons(&[address]).into_iter().next()?;
    for socket in &daemon.sockets {
        if let Ok(Some(running)) = timeout(ANSWER, at(&Endpoint::at(socket))).await {
            return Some(running);
        }
    }
    let socket = daemon.sockets.first().map_or_else(|| "unknown".into(), |path| path.display().to_string());
    Some(Running { pid: daemon.pid, socket, urls: None })
}

/// Returns the error that a process serves the endpoint already.
pub(super) fn already_served(endpoint: &Endpoint, daemon: Option<Running>) -> String {
    if let Some(running) = daemon {
        return running.to_string();
    }
    // A daemon whose socket file was removed does not answer, but holds the lock.
    match socket_owner::of_local_socket(endpoint.path()) {
        Some(owner) if owner.name.starts_with("sse-busd") => {
            Running { pid: owner.pid, socket: endpoint.to_string(), urls: None }.to_string()
        }
        Some(owner) => format!("{endpoint} is served by {owner}; stop it, or choose another --socket"),
        None => format!("{endpoint} is served by another process; stop it, or choose another --socket"),
    }
}
