//! Refusals: a code for programs, a message for people, and the number of the refused request.

use serde::{Deserialize, Serialize};

use super::text_enum::text_enum;
use crate::limits::MESSAGE_MAX;

/// The refusal of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message} ({code})")]
pub struct Refused {
    /// The reason, for programs.
    pub code: ErrorCode,
    /// The reason and what to do about it, for people.
    pub message: String,
    /// The number of the request on its connection, from 1.
    pub request: u64,
}

impl Refused {
    /// Returns a refusal without a request number. The message may quote the request: control characters and line
    /// breaks are escaped, and it is cut at about [`MESSAGE_MAX`] bytes.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Refused {
        let mut message = message.into();
        if message.len() > MESSAGE_MAX || message.contains(char::is_control) {
            message = on_one_line(&message);
        }
        Refused { code, message, request: 0 }
    }
}

fn on_one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if line.len() >= MESSAGE_MAX {
            line.push('…');
            break;
        }
        match c {
            _ if c.is_control() => line.extend(c.escape_debug()),
            _ => line.push(c),
        }
    }
    line
}

text_enum! {
    /// The reason of a refusal, for programs. Codes are never renamed; new ones may be added.
    ErrorCode as "an error code" {
        /// The request could not be read.
        RequestInvalid = "request_invalid",
        /// The request has no such query parameter.
        ParameterUnknown = "parameter_unknown",
        /// A topic is invalid.
        TopicInvalid = "topic_invalid",
        /// A filter is invalid.
        FilterInvalid = "filter_invalid",
        /// A type is invalid.
        TypeInvalid = "type_invalid",
        /// A header is invalid, or there are too many.
        HeadersInvalid = "headers_invalid",
        /// The data is not UTF-8 or contains NUL.
        DataInvalid = "data_invalid",
        /// The start of a subscription is invalid.
        SinceInvalid = "since_invalid",
        /// The name of a client is invalid.
        ClientInvalid = "client_invalid",
        /// No such client is connected.
        ClientUnknown = "client_unknown",
        /// The connection is already a subscriber or a worker.
        AlreadySubscribed = "already_subscribed",
        /// The request asks for a durable acknowledgement, but history is not on disk.
        NotDurable = "not_durable",
        /// The peer is not authorized.
        Denied = "denied",
        /// The client was disconnected, and is kept out for a while.
        KeptOut = "kept_out",
        /// The log cannot be reached now.
        Unavailable = "unavailable",
        /// The log has not acknowledged the event in time; it may be stored.
        UnknownOutcome = "unknown_outcome",
        /// The daemon is stopping.
        Stopping = "stopping",
        /// The event's data is too large.
        LimitEvent = "limit_event_bytes",
        /// The frame is too large.
        LimitFrame = "limit_frame_bytes",
        /// The line is too long.
        LimitLine = "limit_line_bytes",
        /// There are too many topics.
        LimitTopics = "limit_topics",
        /// There are too many subscribers.
        LimitSubscribers = "limit_subscribers",
        /// The filters of all subscribers together use too much memory.
        LimitFilters = "limit_filters_bytes",
        /// There are too many publishers.
        LimitPublishers = "limit_publishers",
        /// The retained events together are too large.
        LimitRetained = "limit_retained_bytes",
        /// The name or the settings of a consumer are invalid.
        ConsumerInvalid = "consumer_invalid",
        /// There is no such consumer.
        ConsumerUnknown = "consumer_unknown",
        /// There is a consumer with this name and other settings.
        ConsumerExists = "consumer_exists",
        /// There is no such dead letter.
        DeadUnknown = "dead_unknown",
        /// The token of a delivery is not current.
        StaleDelivery = "stale_delivery",
        /// No responder is connected whose filters match the topic.
        NoResponder = "no_responder",
        /// No reply has arrived in time.
        TimedOut = "timed_out",
        /// The responder has disconnected before it replied.
        ResponderGone = "responder_gone",
        /// The responder reports that it cannot reply.
        ResponderFailed = "responder_failed",
        /// The request has ended: it was answered or has timed out, or its client has disconnected.
        StaleRequest = "stale_request",
        /// History is full of events that consumers have not acknowledged.
        LimitHistory = "limit_history",
        /// There are too many consumers.
        LimitConsumers = "limit_consumers",
        /// There are too many workers.
        LimitWorkers = "limit_workers",
        /// There are too many unanswered requests, or they and their replies are too large together.
        LimitRequests = "limit_requests",
        /// There are too many responders.
        LimitResponders = "limit_responders",
        /// The id or the time of a schedule is invalid, or the event cannot be scheduled.
        ScheduleInvalid = "schedule_invalid",
        /// There is no such schedule.
        ScheduleUnknown = "schedule_unknown",
        /// There are too many schedules, or their events are too large together.
        LimitSchedules = "limit_schedules",
        /// The token has too many tickets.
        LimitTickets = "limit_tickets",
        /// Too many clients are kept out.
        LimitKeptOut = "limit_kept_out",
        /// A code that this version does not define.
        Other = "other",
    }
}

impl ErrorCode {
    /// Returns true if the request exceeds a limit.
    pub fn is_limit(self) -> bool {
        self.as_str().starts_with("limit_")
    }
}
