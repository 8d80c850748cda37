//! Replies of the daemon, and the events that it sends to subscribers.

use serde::{Deserialize, Serialize};

use super::{
    consumer::{ConsumerInfo, Consuming, DeadLetter, Delivery},
    error::Refused,
    exchange::{ReplyMessage, Responding},
    info::{ClientInfo, Status, TopicInfo},
    node::NodeInfo,
    schedule::{ScheduleInfo, Scheduled},
    setting::Setting,
};
use crate::{
    event::{Event, EventId, EventType},
    headers::Headers,
};

/// A reply of the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reply {
    /// An event of the subscription.
    Event(EventMessage),
    /// The event was accepted.
    Published(Published),
    /// The subscription begins.
    Subscribed(Subscribed),
    /// All past events were sent. Only for a subscription with [`Subscribe::past_only`](super::Subscribe::past_only).
    End {
        /// The position of the subscription, from which another one can continue.
        position: EventId,
    },
    /// The clients, by id.
    Clients(Vec<ClientInfo>),
    /// The clients of the nodes that have answered. Others have not, so that there may be more clients.
    PartialClients {
        /// The clients.
        clients: Vec<ClientInfo>,
        /// The names of the other nodes.
        unreachable: Vec<String>,
    },
    /// The nodes of the bus, by name. Empty if this daemon has a bus of its own.
    Nodes(Vec<NodeInfo>),
    /// The topics, by name.
    Topics(Vec<TopicInfo>),
    /// Clients were disconnected.
    Kicked {
        /// The number of closed connections.
        connections: u64,
        /// The nodes that have not answered, and may have other connections.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unreachable: Vec<String>,
    },
    /// The state of the daemon.
    Status(Box<Status>),
    /// The request was refused.
    Error(Refused),
    /// The configuration.
    Config(Vec<Setting>),
    /// The consumers, by name.
    Consumers(Vec<ConsumerInfo>),
    /// A consumer.
    Consumer(Box<ConsumerInfo>),
    /// Dead letters, by id.
    DeadLetters(Vec<DeadLetter>),
    /// The operation has changed this number of consumers or dead letters.
    Changed {
        /// The number.
        count: u64,
    },
    /// The connection is a worker.
    Consuming(Consuming),
    /// The deliveries are acknowledged, extended, or otherwise settled, as the request says.
    Settled {
        /// The number of deliveries.
        deliveries: u64,
    },
    /// The replies to a request; at least one.
    Replies(Vec<ReplyMessage>),
    /// The connection is a responder.
    Responding(Responding),
    /// The reply has reached the request.
    Replied {},
    /// The event will be published later.
    Scheduled(Scheduled),
    /// The schedules, by id.
    Schedules(Vec<ScheduleInfo>),
    /// The schedule was cancelled.
    Cancelled {
        /// Its id.
        schedule: String,
    },
}

impl Reply {
    /// Returns the reply with the clients of the nodes that have answered, and the names of the others.
    pub fn of_clients(clients: Vec<ClientInfo>, unreachable: Vec<String>) -> Reply {
        if unreachable.is_empty() { Reply::Clients(clients) } else { Reply::PartialClients { clients, unreachable } }
    }
}

/// [`Reply::Event`] as a JSON line, without owning the event.
#[cfg(feature = "bus")]
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventReply<'a> {
    Event(EventBody<'a>),
}

/// The JSON envelope of an event, for encoding.
#[derive(Serialize)]
pub(crate) struct EventBody<'a> {
    id: Option<EventId>,
    topic: &'a str,
    #[serde(rename = "type")]
    event_type: Option<&'a str>,
    time: u64,
    #[serde(skip_serializing_if = "Headers::is_empty")]
    headers: &'a Headers,
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<&'a Delivery>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
}

impl<'a> From<&'a Event> for EventBody<'a> {
    fn from(event: &'a Event) -> EventBody<'a> {
        let Event { id, topic, event_type, headers, data, time } = event;
        let event_type = event_type.as_ref().map(EventType::as_str);
        EventBody {
            id: Some(*id),
            topic: topic.as_str(),
            event_type,
            time: *time,
            headers,
            data,
            delivery: None,
            reply_to: None,
            timeout_ms: None,
        }
    }
}

#[cfg(feature = "bus")]
impl<'a> EventBody<'a> {
    /// The envelope of an event that is live only.
    pub(crate) fn live(event: &'a Event) -> EventBody<'a> {
        EventBody { id: None, ..EventBody::from(event) }
    }

    /// The envelope of a request.
    pub(crate) fn request(event: &'a Event, reply_to: &'a str, timeout_ms: u64) -> EventBody<'a> {
        EventBody { reply_to: Some(reply_to), timeout_ms: Some(timeout_ms), ..EventBody::live(event) }
    }

    /// The envelope of a delivery.
    pub(crate) fn delivered(event: &'a Event, delivery: &'a Delivery) -> EventBody<'a> {
        EventBody { delivery: Some(delivery), ..EventBody::from(event) }
    }
}

/// An event as a client receives it. A gap is an event with the topic and the type `$gap` whose data is a
/// [`Gap`](super::Gap).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventMessage {
    /// The id, which defines the order of events. None for an event that is live only: one for this client alone, or one of
    /// the bus's own.
    pub id: Option<EventId>,
    /// The topic.
    pub topic: String,
    /// The type, by which a browser dispatches the event.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// When the event was published, in milliseconds since 1970 (UTC).
    pub time: u64,
    /// The headers.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// The data.
    pub data: String,
    /// The attempt, if this is a delivery of a consumer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// The address for the reply, if this is a request. See [`ReplyTo`](super::ReplyTo).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Milliseconds after which the request no longer accepts a reply, counted from when the daemon sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl EventMessage {
    /// Returns an event without type and headers.
    pub fn new(
        id: impl Into<Option<EventId>>,
        topic: impl Into<String>,
        data: impl Into<String>,
        time: u64,
    ) -> EventMessage {
        let (id, topic, data) = (id.into(), topic.into(), data.into());
        EventMessage {
            id,
            topic,
            event_type: None,
            time,
            headers: Headers::default(),
            data,
            delivery: None,
            reply_to: None,
            timeout_ms: None,
        }
    }
}

impl From<&Event> for EventMessage {
    fn from(event: &Event) -> EventMessage {
        let Event { id, topic, event_type, headers, data, time } = event;
        EventMessage {
            id: Some(*id),
            topic: topic.to_string(),
            event_type: event_type.as_ref().map(|name| name.as_str().to_owned()),
            time: *time,
            headers: headers.clone(),
            data: data.clone(),
            delivery: None,
            reply_to: None,
            timeout_ms: None,
        }
    }
}

/// The type of the last event of a stream over HTTP that is limited to past events. Its id is the position from which
/// live events continue.
pub const END: &str = "$end";

/// The reply to a publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Published {
    /// The event's id. None for an event for one client, which is live only.
    pub id: Option<EventId>,
    /// The number of connected subscribers whose filters match, on all nodes that have answered in time; for a unicast, the connections that received it; for an event
    /// for a consumer, the workers that are free to take it.
    pub subscribers: u64,
    /// The publish repeats an earlier one, and has published nothing. The id is that of the earlier one, or None if only its
    /// number is known.
    #[serde(default, skip_serializing_if = "is_false")]
    pub duplicate: bool,
    /// The event is for a consumer, and waits until a worker takes it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub queued: bool,
    /// For a unicast, the nodes that have not answered, and may have other connections.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Published {
    /// Returns the reply for the event with this id.
    pub fn new(id: impl Into<Option<EventId>>, subscribers: u64) -> Published {
        Published { id: id.into(), subscribers, duplicate: false, queued: false, unreachable: Vec::new() }
    }
}

/// The reply to a subscribe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Subscribed {
    /// The id of this connection, as a client.
    pub client: String,
    /// The newest id of the bus when the subscription began.
    pub position: EventId,
}

impl Subscribed {
    /// Returns the reply to the client with this id.
    pub fn new(client: impl Into<String>, position: EventId) -> Subscribed {
        Subscribed { client: client.into(), position }
    }
}
