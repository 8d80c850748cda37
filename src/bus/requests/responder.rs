//! Connected responders.

use std::collections::BTreeSet;

use super::{ids::RequestId, settings::Responder};

/// A connected responder.
#[derive(Debug)]
pub(super) struct ConnectedResponder {
    pub(super) settings: Responder,
    /// Its key in the index of filters.
    pub(super) key: usize,
    /// Requests that it has received, and not replied to.
    pub(super) in_flight: BTreeSet<RequestId>,
    /// Its turn: increases with each request that any responder receives.
    pub(super) turn: u64,
    /// The first waiting request that it has not compared with its filters.
    pub(super) next: RequestId,
}

impl ConnectedResponder {
    /// Returns true if it receives no further requests.
    pub(super) fn is_retired(&self) -> bool {
        self.settings.max_in_flight == 0
    }

    pub(super) fn is_free(&self) -> bool {
        self.in_flight.len() < self.settings.max_in_flight
    }
}
