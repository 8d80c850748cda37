//! Version 2, frozen. Events have headers; the status and the configuration are JSON text, so that they can grow. What is
//! as in version 1 is taken from there.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeSeq as _};

use super::{Bytes, Json, owned, v1};
use crate::{
    Headers,
    event::{self, EventId, EventType},
    limits::HEADERS_MAX,
    protocol::{self, bounded},
};

/// Requests, counted in their order.
#[derive(Serialize, Deserialize)]
pub(crate) enum Request<'a> {
    Publish(Publish<'a>),
    Subscribe(v1::Subscribe<'a>),
    Clients,
    Topics,
    Kick(&'a str),
    Status,
    Config,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Publish<'a> {
    topic: &'a str,
    data: Bytes<'a>,
    kind: Option<&'a str>,
    #[serde(deserialize_with = "bounded::list::<_, _, HEADERS_MAX>")]
    headers: Vec<(&'a str, &'a str)>,
    retain: bool,
    ttl_ms: Option<u64>,
    to: Option<&'a str>,
    ack: v1::Ack,
}

/// Replies, counted in their order.
#[derive(Serialize, Deserialize)]
pub(crate) enum Reply<'a> {
    #[serde(borrow)]
    Event(Event<'a>),
    Published(Published),
    Subscribed(v1::Subscribed<'a>),
    End(EventId),
    Clients(Vec<v1::ClientInfo<'a>>),
    Topics(Vec<v1::TopicInfo<'a>>),
    Kicked(u64),
    Status(Json<'a, Box<protocol::Status>>),
    Error(v1::Refused<'a>),
    Config(Json<'a, Vec<protocol::Setting>>),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Published {
    /// None for an event that is live only.
    id: Option<EventId>,
    subscribers: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Event<'a> {
    /// None for an event that is live only.
    id: Option<EventId>,
    topic: &'a str,
    kind: Option<&'a str>,
    time: u64,
    headers: EventHeaders<'a>,
    data: &'a str,
}

/// A list of names and values.
pub(crate) struct EventHeaders<'a>(Cow<'a, Headers>);

impl Serialize for EventHeaders<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.iter().count()))?;
        for header in self.0.iter() {
            list.serialize_element(&header)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for EventHeaders<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let headers: Vec<(&str, &str)> = bounded::list::<_, _, HEADERS_MAX>(deserializer)?;
        Headers::parse(headers).map(|headers| EventHeaders(Cow::Owned(headers))).map_err(de::Error::custom)
    }
}

impl<'a> From<&'a protocol::Request> for Request<'a> {
    fn from(request: &'a protocol::Request) -> Request<'a> {
        match request {
            protocol::Request::Publish(publish) => Request::Publish(publish.into()),
            protocol::Request::Subscribe(subscribe) => Request::Subscribe(subscribe.into()),
            protocol::Request::Clients {} => Request::Clients,
            protocol::Request::Topics {} => Request::Topics,
            protocol::Request::Kick { client } => Request::Kick(client),
            protocol::Request::Status {} => Request::Status,
            protocol::Request::Config {} => Request::Config,
        }
    }
}

impl From<Request<'_>> for protocol::Request {
    fn from(request: Request<'_>) -> protocol::Request {
        match request {
            Request::Publish(publish) => protocol::Request::Publish(publish.into()),
            Request::Subscribe(subscribe) => protocol::Request::Subscribe(subscribe.into()),
            Request::Clients => protocol::Request::Clients {},
            Request::Topics => protocol::Request::Topics {},
            Request::Kick(client) => protocol::Request::Kick { client: client.into() },
            Request::Status => protocol::Request::Status {},
            Request::Config => protocol::Request::Config {},
        }
    }
}

impl<'a> From<&'a protocol::Publish> for Publish<'a> {
    fn from(publish: &'a protocol::Publish) -> Publish<'a> {
        let protocol::Publish { topic, data, kind, headers, retain, ttl_ms, to, ack } = publish;
        let (data, kind, to, ack) = (Bytes(&data.0), kind.as_deref(), to.as_deref(), (*ack).into());
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Publish { topic, data, kind, headers, retain: *retain, ttl_ms: *ttl_ms, to, ack }
    }
}

impl From<Publish<'_>> for protocol::Publish {
    fn from(publish: Publish<'_>) -> protocol::Publish {
        let Publish { topic, data, kind, headers, retain, ttl_ms, to, ack } = publish;
        let (topic, data) = (topic.into(), protocol::Payload(data.0.into()));
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        protocol::Publish { topic, data, kind: owned(kind), headers, retain, ttl_ms, to: owned(to), ack: ack.into() }
    }
}

impl<'a> From<&'a protocol::Reply> for Reply<'a> {
    fn from(reply: &'a protocol::Reply) -> Reply<'a> {
        match reply {
            protocol::Reply::Event(event) => Reply::Event(event.into()),
            protocol::Reply::Published(published) => Reply::Published(published.into()),
            protocol::Reply::Subscribed(subscribed) => Reply::Subscribed(subscribed.into()),
            protocol::Reply::End { position } => Reply::End(*position),
            protocol::Reply::Clients(clients) => Reply::Clients(clients.iter().map(Into::into).collect()),
            protocol::Reply::Topics(topics) => Reply::Topics(topics.iter().map(Into::into).collect()),
            protocol::Reply::Kicked { connections } => Reply::Kicked(*connections),
            protocol::Reply::Status(status) => Reply::Status(Json(Cow::Borrowed(status))),
            protocol::Reply::Error(refused) => Reply::Error(refused.into()),
            protocol::Reply::Config(settings) => Reply::Config(Json(Cow::Borrowed(settings))),
        }
    }
}

impl From<Reply<'_>> for protocol::Reply {
    fn from(reply: Reply<'_>) -> protocol::Reply {
        match reply {
            Reply::Event(event) => protocol::Reply::Event(event.into()),
            Reply::Published(published) => protocol::Reply::Published(published.into()),
            Reply::Subscribed(subscribed) => protocol::Reply::Subscribed(subscribed.into()),
            Reply::End(position) => protocol::Reply::End { position },
            Reply::Clients(clients) => protocol::Reply::Clients(clients.into_iter().map(Into::into).collect()),
            Reply::Topics(topics) => protocol::Reply::Topics(topics.into_iter().map(Into::into).collect()),
            Reply::Kicked(connections) => protocol::Reply::Kicked { connections },
            Reply::Status(status) => protocol::Reply::Status(status.0.into_owned()),
            Reply::Error(refused) => protocol::Reply::Error(refused.into()),
            Reply::Config(settings) => protocol::Reply::Config(settings.0.into_owned()),
        }
    }
}

impl<'a> From<&'a event::Event> for Event<'a> {
    fn from(event: &'a event::Event) -> Event<'a> {
        let event::Event { id, topic, kind, headers, data, time } = event;
        let (kind, headers) = (kind.as_ref().map(EventType::as_str), EventHeaders(Cow::Borrowed(headers)));
        Event { id: Some(*id), topic: topic.as_str(), kind, time: *time, headers, data }
    }
}

#[cfg(feature = "bus")]
impl<'a> Event<'a> {
    /// An event that is live only.
    pub(crate) fn live(event: &'a event::Event) -> Event<'a> {
        Event { id: None, ..event.into() }
    }
}

impl From<&protocol::Published> for Published {
    fn from(published: &protocol::Published) -> Published {
        let protocol::Published { id, subscribers } = *published;
        Published { id, subscribers }
    }
}

impl From<Published> for protocol::Published {
    fn from(published: Published) -> protocol::Published {
        let Published { id, subscribers } = published;
        protocol::Published { id, subscribers }
    }
}

impl<'a> From<&'a protocol::EventMessage> for Event<'a> {
    fn from(event: &'a protocol::EventMessage) -> Event<'a> {
        let protocol::EventMessage { id, topic, kind, time, headers, data } = event;
        let headers = EventHeaders(Cow::Borrowed(headers));
        Event { id: *id, topic, kind: kind.as_deref(), time: *time, headers, data }
    }
}

impl From<Event<'_>> for protocol::EventMessage {
    fn from(event: Event<'_>) -> protocol::EventMessage {
        let Event { id, topic, kind, time, headers, data } = event;
        let headers = headers.0.into_owned();
        protocol::EventMessage { id, topic: topic.into(), kind: owned(kind), time, headers, data: data.into() }
    }
}
