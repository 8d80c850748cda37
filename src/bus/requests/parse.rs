//! Requests and replies, valid by construction.

use std::time::Duration;

use crate::{
    bus::Publication,
    event::check_data,
    headers::Headers,
    limits::{Limits, MESSAGE_MAX, REPLIES_MAX, REQUEST_TIMEOUT, REQUEST_TIMEOUT_MAX},
    protocol::{ErrorCode, Publish, Refused, ReplyTo, RequestMessage},
    time::format_duration,
};

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTerms {
    /// How long it waits.
    pub timeout: Duration,
    /// Maximum number of replies; at least 1.
    pub replies: usize,
}

impl Default for RequestTerms {
    fn default() -> RequestTerms {
        RequestTerms { timeout: REQUEST_TIMEOUT, replies: 1 }
    }
}

impl RequestTerms {
    /// Parses a request.
    ///
    /// # Errors
    ///
    /// The topic, the data or another field is invalid, or above a limit.
    pub fn parse(request: RequestMessage, limits: &Limits) -> Result<(Publication, RequestTerms), Refused> {
        let RequestMessage { topic, data, event_type, headers, timeout_ms, replies } = request;
        let timeout = timeout_ms.map_or(REQUEST_TIMEOUT, Duration::from_millis);
        if timeout.is_zero() || timeout > REQUEST_TIMEOUT_MAX {
            let (given, most) = (format_duration(timeout), format_duration(REQUEST_TIMEOUT_MAX));
            let message = format!("the timeout {given} cannot be used: write more than 0 and at most {most}");
            return Err(Refused::new(ErrorCode::RequestInvalid, message));
        }
        let replies = usize::try_from(replies.unwrap_or(1)).unwrap_or(usize::MAX);
        if !(1..=REPLIES_MAX).contains(&replies) {
            let message = format!("`replies` = {replies} cannot be used: write 1 to {REPLIES_MAX}");
            return Err(Refused::new(ErrorCode::RequestInvalid, message));
        }
        let publish = Publish { topic, data, event_type, headers, ..Publish::default() };
        Ok((Publication::parse(publish, limits)?, RequestTerms { timeout, replies }))
    }
}

/// The answer of a responder to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// A reply.
    Reply {
        /// The data.
        data: String,
        /// The headers.
        headers: Headers,
    },
    /// The responder cannot reply. Contains its reason.
    Failed(String),
}

impl Answer {
    /// Parses a reply. Returns it with the address of its request.
    ///
    /// # Errors
    ///
    /// The data or a header is invalid, or the data is above the limit for events.
    pub fn parse(reply: ReplyTo, limits: &Limits) -> Result<(String, Answer), Refused> {
        let ReplyTo { to, data, headers, error } = reply;
        if let Some(mut error) = error {
            error.truncate(error.floor_char_boundary(MESSAGE_MAX / 2));
            return Ok((to, Answer::Failed(error)));
        }
        if data.0.len() > limits.event_bytes {
            let (have, most) = (data.0.len(), limits.event_bytes);
            let message = format!("the data has {have} bytes, more than `event_bytes` = {most}; reply with less");
            return Err(Refused::new(ErrorCode::LimitEvent, message));
        }
        let headers = Headers::parse(headers).map_err(|e| Refused::new(ErrorCode::HeadersInvalid, e.to_string()))?;
        let data = check_data(data.0).map_err(|e| Refused::new(ErrorCode::DataInvalid, format!("the data: {e}")))?;
        Ok((to, Answer::Reply { data, headers }))
    }
}
