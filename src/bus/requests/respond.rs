//! Requests to become a responder.

use super::settings::Responder;
use crate::{
    bus::{Description, Format, Start, Subscription, request::invalid},
    limits::RESPONDER_SLOTS_MAX,
    protocol::{ErrorCode, Refused, Respond, sse::PositionForm},
    topic::{Filter, FilterSet},
};

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
