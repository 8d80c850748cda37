//! The settings of a responder.

use crate::topic::FilterSet;

/// The settings of a responder.
#[derive(Clone, Debug)]
pub struct Responder {
    /// The topics of the requests.
    pub filters: FilterSet,
    /// Maximum number of requests that it receives before it has replied to one of them. 0 once it receives no further ones.
    pub max_in_flight: usize,
}
