//! The settings of responders, and their number.

use crate::topic::FilterSet;

/// The settings of a responder.
#[derive(Clone, Debug)]
pub struct Responder {
    /// The topics of the requests.
    pub filters: FilterSet,
    /// Maximum number of requests that it receives before it has replied to one of them. 0 once it receives no further ones.
    pub max_in_flight: usize,
}

/// The responders that match a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AvailableResponders {
    /// Those that can take another request now.
    pub free: usize,
    /// All of them.
    pub matching: usize,
}
