//! A process at the other end of the local socket.

use std::sync::Arc;

/// A process that is allowed to use the local socket.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// A description, such as `python3 (pid 812)`.
    pub(crate) process: Arc<str>,
    /// Its user, if the operating system reports it.
    pub(crate) uid: Option<u32>,
    /// It is a process of the daemon's own user.
    pub(crate) is_own: bool,
}
