//! The sockets that a service manager holds open while the daemon is not running.

use std::{net::SocketAddr, path::PathBuf};

/// The addresses of inherited sockets. They take the place of the configured ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InheritedSockets {
    pub(crate) http: Vec<SocketAddr>,
    pub(crate) ipc: Option<PathBuf>,
}
