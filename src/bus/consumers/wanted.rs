//! Requests for events that are on disk only.

use super::ids::ConsumerKey;
use crate::topic::FilterSet;

/// A request of a consumer for an event that is on disk only. Read it and those that follow, see [`fetch`](crate::bus::fetch).
#[derive(Clone, Debug)]
pub struct WantedEvent {
    pub(super) key: ConsumerKey,
    /// The sequence number of the event.
    pub seq: u64,
    /// The end of the range that was handed over last; 0 if there was none.
    pub previous: u64,
    /// The filters of the events that follow.
    pub filters: FilterSet,
}
