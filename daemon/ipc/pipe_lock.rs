//! The right to serve a pipe on Windows: its name is free as soon as no process serves it.

use sse_bus::Endpoint;

use super::{
    error::SocketError,
    running_daemon::{already_served, at},
};

/// The right to serve a pipe.
pub(super) struct PipeLock;

impl PipeLock {
    /// Takes the right, unless a daemon answers.
    pub(super) async fn take(endpoint: &Endpoint, _: u32) -> Result<PipeLock, SocketError> {
        match endpoint.connect().await {
            Ok(_) => Err(already_served(endpoint, at(endpoint).await)),
            Err(_) => Ok(PipeLock),
        }
    }

    /// A pipe has no file to remember.
    #[expect(clippy::unused_self, reason = "the same interface as on Unix")]
    pub(super) fn note_bound(&mut self) {}
}
