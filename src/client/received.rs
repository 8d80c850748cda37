//! What arrives on a subscription, over any transport.

use crate::{event::EventId, protocol::EventMessage};

/// What arrives on a subscription.
#[derive(Debug)]
pub(super) enum Received {
    Event(EventMessage),
    /// The position of the stream. A client that resumes there misses nothing.
    #[cfg(feature = "remote")]
    Position(EventId),
    /// All past events were received.
    End(EventId),
}
