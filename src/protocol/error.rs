//! Refusals: a code for programs, a message for people, the number of the request that it answers.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::MESSAGE_MAX;

/// A request was refused: why, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What went wrong, for programs.
    pub code: ErrorCode,
    /// What went wrong and what to do, for people.
    pub message: String,
    /// The number of the request on its connection, from 1.
    pub request: u64,
}

impl Refused {
    /// A refusal that is not yet tied to a request. Its message may show what was sent: it comes out on one line, without
    /// control characters, and not much longer than [`MESSAGE_MAX`].
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

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.as_str())
    }
}

impl std::error::Error for Refused {}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What went wrong, for programs. Codes are never renamed; new ones may come.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// The code as it is written on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            fn from_text(text: &str) -> ErrorCode {
                match text { $($text => Self::$name,)* _ => Self::Other }
            }
        }
    };
}

error_codes! {
    /// The request could not be read.
    RequestInvalid = "request_invalid",
    /// The request has no such query parameter.
    ParameterUnknown = "parameter_unknown",
    /// A topic is not legal.
    TopicInvalid = "topic_invalid",
    /// A filter is not legal.
    FilterInvalid = "filter_invalid",
    /// A type is not legal.
    TypeInvalid = "type_invalid",
    /// A header is not legal, or there are too many.
    HeadersInvalid = "headers_invalid",
    /// The data is not UTF-8 or holds NUL.
    DataInvalid = "data_invalid",
    /// A place to begin is not legal.
    SinceInvalid = "since_invalid",
    /// A client's name is not legal.
    ClientInvalid = "client_invalid",
    /// No such client is connected.
    ClientUnknown = "client_unknown",
    /// The connection is a subscriber already.
    AlreadySubscribed = "already_subscribed",
    /// A durable acknowledgement was asked of a bus without disk history.
    NotDurable = "not_durable",
    /// The peer may not do that.
    Denied = "denied",
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
    /// The filters of all subscribers cost too much together.
    LimitFilters = "limit_filters_bytes",
    /// There are too many publishers.
    LimitPublishers = "limit_publishers",
    /// The retained events are too large together.
    LimitRetained = "limit_retained_bytes",
    /// There are too many tickets of one token.
    LimitTickets = "limit_tickets",
    /// A code that this version does not know.
    Other = "other",
}

impl ErrorCode {
    /// Whether a limit refused the request.
    pub fn is_limit(self) -> bool {
        self.as_str().starts_with("limit_")
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ErrorCode, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = ErrorCode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an error code")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ErrorCode, E> {
                Ok(ErrorCode::from_text(text))
            }
        }
        deserializer.deserialize_str(Text)
    }
}
