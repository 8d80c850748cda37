//! Requests and replies: events that expect an answer, and the answers of responders.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{bounded, payload::Payload};
use crate::{
    headers::{Headers, unchecked},
    limits::FILTERS_MAX,
    time::whole_millis,
};

/// A request: an event for a responder, which replies to it. It is live only. The daemon validates all fields.
///
/// ```
/// use std::time::Duration;
/// use sse_bus::protocol::RequestMessage;
///
/// let request = RequestMessage::new("math/sum", "1 2").with_timeout(Duration::from_secs(2));
/// assert_eq!(request.timeout_ms, Some(2000));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RequestMessage {
    /// The topic, which the filters of a responder match.
    pub topic: String,
    /// The data: UTF-8 without NUL.
    pub data: Payload,
    /// The type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// The headers; see [`Headers`] for what is allowed.
    #[serde(with = "unchecked", skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Milliseconds after which the request fails with `timed_out`. Default
    /// [`REQUEST_TIMEOUT`](crate::limits::REQUEST_TIMEOUT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Maximum number of replies, each from another responder. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replies: Option<u64>,
}

impl RequestMessage {
    /// Returns a request for one reply.
    pub fn new(topic: impl Into<String>, data: impl Into<Payload>) -> RequestMessage {
        RequestMessage { topic: topic.into(), data: data.into(), ..RequestMessage::default() }
    }

    /// Sets the type.
    #[must_use]
    pub fn with_type(self, event_type: impl Into<String>) -> RequestMessage {
        RequestMessage { event_type: Some(event_type.into()), ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> RequestMessage {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the time after which the request fails with `timed_out`.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> RequestMessage {
        RequestMessage { timeout_ms: Some(whole_millis(timeout)), ..self }
    }

    /// Sends it to several responders, and collects this number of replies. With fewer responders, or when the time has passed,
    /// there are fewer replies.
    #[must_use]
    pub fn with_replies(self, replies: u64) -> RequestMessage {
        RequestMessage { replies: Some(replies), ..self }
    }
}

/// A reply of a responder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReplyMessage {
    /// The data.
    pub data: String,
    /// The headers.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// The name of the responder, or its id as a client.
    pub responder: String,
}

impl ReplyMessage {
    /// Returns a reply without headers.
    pub fn new(data: impl Into<String>, responder: impl Into<String>) -> ReplyMessage {
        ReplyMessage { data: data.into(), headers: Headers::default(), responder: responder.into() }
    }
}

/// A request to become a responder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Respond {
    /// The topics of the requests; at least one filter.
    #[serde(deserialize_with = "bounded::list::<_, _, FILTERS_MAX>")]
    pub filters: Vec<String>,
    /// Maximum number of requests that the responder receives before it has replied to one of them. Default 1. A responder can
    /// repeat the request to change it; with 0 it receives no further requests, and can still reply to those that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u64>,
    /// A name for this connection, which requesters see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

impl Respond {
    /// Returns an offer to reply to requests, one at a time.
    pub fn new<S: Into<String>>(filters: impl IntoIterator<Item = S>) -> Respond {
        Respond { filters: filters.into_iter().map(Into::into).collect(), ..Respond::default() }
    }

    /// Sets the maximum number of requests at a time.
    #[must_use]
    pub fn with_max_in_flight(self, max_in_flight: u64) -> Respond {
        Respond { max_in_flight: Some(max_in_flight), ..self }
    }

    /// Sets the name of this connection.
    #[must_use]
    pub fn with_client(self, client: impl Into<String>) -> Respond {
        Respond { client: Some(client.into()), ..self }
    }
}

/// The answer to a [`Respond`]. Requests follow as [`Reply::Event`](super::Reply::Event)s with
/// [`reply_to`](super::EventMessage::reply_to).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Responding {
    /// The id of this connection, as a client.
    pub client: String,
}

impl Responding {
    /// Returns the answer to the client with this id.
    pub fn new(client: impl Into<String>) -> Responding {
        Responding { client: client.into() }
    }
}

/// A reply to a request, or the reason why there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ReplyTo {
    /// The address of the request, from [`reply_to`](super::EventMessage::reply_to).
    pub to: String,
    /// The data: UTF-8 without NUL.
    pub data: Payload,
    /// The headers; see [`Headers`] for what is allowed.
    #[serde(with = "unchecked", skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Why the responder cannot answer. The request then fails with `responder_failed`, and the data is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl ReplyTo {
    /// Returns a reply.
    pub fn new(to: impl Into<String>, data: impl Into<Payload>) -> ReplyTo {
        ReplyTo { to: to.into(), data: data.into(), ..ReplyTo::default() }
    }

    /// Returns a failure: the request has no reply.
    pub fn failed(to: impl Into<String>, error: impl Into<String>) -> ReplyTo {
        ReplyTo { to: to.into(), error: Some(error.into()), ..ReplyTo::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> ReplyTo {
        self.headers.push((name.into(), value.into()));
        self
    }
}
