//! The unicasts of other nodes that wait.

use sse_bus::{EventId, limits::NODE_UNICASTS_MAX, protocol::Publish};
use tokio::{sync::mpsc, time::Instant};

/// A unicast of another node.
pub(super) struct Arrived {
    pub(super) from: String,
    pub(super) ask: u64,
    pub(super) event: Box<Publish>,
    /// The position of the other node.
    pub(super) after: EventId,
    pub(super) at: Instant,
}

/// Returns the queue of unicasts.
pub(super) fn queue() -> (mpsc::Sender<Arrived>, mpsc::Receiver<Arrived>) {
    mpsc::channel(NODE_UNICASTS_MAX)
}
