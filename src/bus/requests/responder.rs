//! Responders.

use std::collections::BTreeSet;

use super::ids::RequestId;
use crate::{
    bus::{Description, Format, Start, Subscription, request::invalid},
    limits::RESPONDER_SLOTS_MAX,
    protocol::{ErrorCode, Refused, Respond, sse::PositionForm},
    topic::{Filter, FilterSet},
};

/// The settings of a responder.
#[derive(Clone, Debug)]
pub struct Responder {
    /// The topics of the requests.
    pub filters: FilterSet,
    /// Maximum number of requests that it receives before it has replied to one of them. 0 once it receives no further ones.
    pub max_in_flight: usize,
}

impl Subscription {
    /// Parses a request to become a responder: a subscription to requests instead of events.
    ///
    /// # Errors
    ///
    /// There is no filter, a filter or the client's name is invalid, or `max_in_flight` is out of range.
    pub fn respond(respond: &Respond, format: Format, description: Description) -> Result<Subscription, Refused> {
        let Respond { filters, max_in_flight, .. } = respond;
        if filters.is_empty() {
            let message = "a responder needs at least one filter: the topics of the requests that it replies to";
            return Err(Refused::new(ErrorCode::FilterInvalid, message));
        }
        if format == Format::BinaryV1 {
            let message = "version 1 of the binary protocol has no requests; use version 2 or JSON lines";
            return Err(Refused::new(ErrorCode::RequestInvalid, message));
        }
        for filter in filters {
            Filter::parse(filter).map_err(|e| invalid(ErrorCode::FilterInvalid, "filter", filter, &e))?;
        }
        let filters = FilterSet::parse(filters)
            .map_err(|e| Refused::new(ErrorCode::FilterInvalid, format!("a filter cannot be used: {e}")))?;
        let max_in_flight = usize::try_from(max_in_flight.unwrap_or(1)).unwrap_or(usize::MAX);
        if !(1..=RESPONDER_SLOTS_MAX).contains(&max_in_flight) {
            let message = format!("`max_in_flight` = {max_in_flight} cannot be used: write 1 to {RESPONDER_SLOTS_MAX}");
            return Err(Refused::new(ErrorCode::RequestInvalid, message));
        }
        Ok(Subscription {
            start: Start::Now,
            position_form: PositionForm::None,
            responder: Some(Responder { filters, max_in_flight }),
            description,
            ..Subscription::new(FilterSet::none(), format)
        })
    }
}

/// A connected responder.
#[derive(Debug)]
pub(super) struct ConnectedResponder {
    pub(super) settings: Responder,
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
