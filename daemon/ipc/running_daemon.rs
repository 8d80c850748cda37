//! The daemon that serves the local socket already, for error messages.

use sse_bus::{Client, Endpoint, socket_owner};

use super::error::SocketError;

/// Returns the daemon that answers at an endpoint, such as `sse-busd 0.1.0 (pid 812)`.
pub(super) async fn at(endpoint: &Endpoint) -> Option<String> {
    let status = Client::connect(endpoint).await.ok()?.status().await.ok()?;
    Some(format!("sse-busd {} (pid {})", status.version, status.pid))
}

/// Returns the error that a daemon serves the endpoint already.
pub(super) fn already_served(endpoint: &Endpoint, daemon: Option<String>) -> SocketError {
    // A daemon whose socket file was removed does not answer, but holds the lock.
    let daemon = daemon.or_else(|| socket_owner::of_local_socket(endpoint.path()).map(|owner| owner.to_string()));
    let daemon = daemon.unwrap_or_else(|| "another process".into());
    SocketError::AlreadyServed { endpoint: endpoint.clone(), daemon }
}
