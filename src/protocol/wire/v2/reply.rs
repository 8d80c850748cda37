//! Replies. Their order defines their numbers.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeSeq as _};

use crate::{
    event::{self, EventId, EventType},
    headers::Headers,
    limits::HEADERS_MAX,
    protocol::{
        bounded, consumer, exchange, info, reply, setting,
        wire::{Json, owned, v1},
    },
};

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
    Status(Json<'a, Box<info::Status>>),
    Error(v1::Refused<'a>),
    Config(Json<'a, Vec<setting::Setting>>),
    Delivery(Event<'a>, Delivery<'a>),
    Settled(u64),
    /// Any other reply.
    Other(Json<'a, reply::Reply>),
    /// A request, the address for its reply, and its milliseconds.
    Request(Event<'a>, &'a str, u64),
    Replies(Vec<ReplyMessage<'a>>),
    Replied,
    /// The reply to a publish that is a duplicate, or is queued for a consumer.
    PublishedWith(Published, PublishedOptions),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ReplyMessage<'a> {
    data: &'a str,
    headers: EventHeaders<'a>,
    responder: &'a str,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Published {
    /// None for an event that is live only.
    id: Option<EventId>,
    subscribers: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct PublishedOptions {
    duplicate: bool,
    queued: bool,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Event<'a> {
    /// None for an event that is live only.
    id: Option<EventId>,
    topic: &'a str,
    event_type: Option<&'a str>,
    time: u64,
    headers: EventHeaders<'a>,
    data: &'a str,
}

/// One attempt to have an event processed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Delivery<'a> {
    token: &'a str,
    attempt: u32,
    deadline: u64,
}

/// Headers as a list of names and values.
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

impl<'a> From<&'a reply::Reply> for Reply<'a> {
    fn from(reply: &'a reply::Reply) -> Reply<'a> {
        match reply {
            reply::Reply::Event(event) => match (&event.delivery, &event.reply_to) {
                (Some(delivery), _) => Reply::Delivery(event.into(), delivery.into()),
                (None, Some(to)) => Reply::Request(event.into(), to, event.timeout_ms.unwrap_or_default()),
                (None, None) => Reply::Event(event.into()),
            },
            reply::Reply::Published(published) if published.unreachable.is_empty() => match *published {
                reply::Published { duplicate: false, queued: false, .. } => Reply::Published(published.into()),
                reply::Published { duplicate, queued, .. } => {
                    Reply::PublishedWith(published.into(), PublishedOptions { duplicate, queued })
                }
            },
            reply::Reply::Subscribed(subscribed) => Reply::Subscribed(subscribed.into()),
            reply::Reply::End { position } => Reply::End(*position),
            reply::Reply::Clients(clients) => Reply::Clients(clients.iter().map(Into::into).collect()),
            reply::Reply::Topics(topics) => Reply::Topics(topics.iter().map(Into::into).collect()),
            reply::Reply::Kicked { connections, unreachable } if unreachable.is_empty() => Reply::Kicked(*connections),
            reply::Reply::Status(status) => Reply::Status(Json(Cow::Borrowed(status))),
            reply::Reply::Error(refused) => Reply::Error(refused.into()),
            reply::Reply::Config(settings) => Reply::Config(Json(Cow::Borrowed(settings))),
            reply::Reply::Settled { deliveries } => Reply::Settled(*deliveries),
            reply::Reply::Replies(replies) => Reply::Replies(replies.iter().map(Into::into).collect()),
            reply::Reply::Replied {} => Reply::Replied,
            other => Reply::Other(Json(Cow::Borrowed(other))),
        }
    }
}

impl From<Reply<'_>> for reply::Reply {
    fn from(reply: Reply<'_>) -> reply::Reply {
        match reply {
            Reply::Event(event) => reply::Reply::Event(event.into()),
            Reply::Published(published) => reply::Reply::Published(published.into()),
            Reply::Subscribed(subscribed) => reply::Reply::Subscribed(subscribed.into()),
            Reply::End(position) => reply::Reply::End { position },
            Reply::Clients(clients) => reply::Reply::Clients(clients.into_iter().map(Into::into).collect()),
            Reply::Topics(topics) => reply::Reply::Topics(topics.into_iter().map(Into::into).collect()),
            Reply::Kicked(connections) => reply::Reply::Kicked { connections, unreachable: Vec::new() },
            Reply::Status(status) => reply::Reply::Status(status.0.into_owned()),
            Reply::Error(refused) => reply::Reply::Error(refused.into()),
            Reply::Config(settings) => reply::Reply::Config(settings.0.into_owned()),
            Reply::Delivery(event, delivery) => {
                reply::Reply::Event(reply::EventMessage { delivery: Some(delivery.into()), ..event.into() })
            }
            Reply::Settled(deliveries) => reply::Reply::Settled { deliveries },
            Reply::Other(reply) => reply.0.into_owned(),
            Reply::Request(event, to, timeout) => reply::Reply::Event(reply::EventMessage {
                reply_to: Some(to.into()),
                timeout_ms: Some(timeout),
                ..event.into()
            }),
            Reply::Replies(replies) => reply::Reply::Replies(replies.into_iter().map(Into::into).collect()),
            Reply::Replied => reply::Reply::Replied {},
            Reply::PublishedWith(published, PublishedOptions { duplicate, queued }) => {
                reply::Reply::Published(reply::Published { duplicate, queued, ..published.into() })
            }
        }
    }
}

impl<'a> From<&'a event::Event> for Event<'a> {
    fn from(event: &'a event::Event) -> Event<'a> {
        let event::Event { id, topic, event_type, headers, data, time } = event;
        let (event_type, headers) = (event_type.as_ref().map(EventType::as_str), EventHeaders(Cow::Borrowed(headers)));
        Event { id: Some(*id), topic: topic.as_str(), event_type, time: *time, headers, data }
    }
}

#[cfg(feature = "bus")]
impl<'a> Event<'a> {
    /// An event that is live only.
    pub(crate) fn live(event: &'a event::Event) -> Event<'a> {
        Event { id: None, ..event.into() }
    }
}

impl<'a> From<&'a consumer::Delivery> for Delivery<'a> {
    fn from(delivery: &'a consumer::Delivery) -> Delivery<'a> {
        let consumer::Delivery { token, attempt, deadline } = delivery;
        Delivery { token, attempt: *attempt, deadline: *deadline }
    }
}

impl From<Delivery<'_>> for consumer::Delivery {
    fn from(delivery: Delivery<'_>) -> consumer::Delivery {
        let Delivery { token, attempt, deadline } = delivery;
        consumer::Delivery { token: token.into(), attempt, deadline }
    }
}

impl From<&reply::Published> for Published {
    fn from(published: &reply::Published) -> Published {
        let reply::Published { id, subscribers, .. } = *published;
        Published { id, subscribers }
    }
}

impl From<Published> for reply::Published {
    fn from(published: Published) -> reply::Published {
        let Published { id, subscribers } = published;
        reply::Published::new(id, subscribers)
    }
}

impl<'a> From<&'a reply::EventMessage> for Event<'a> {
    fn from(event: &'a reply::EventMessage) -> Event<'a> {
        let reply::EventMessage { id, topic, event_type, time, headers, data, .. } = event;
        let headers = EventHeaders(Cow::Borrowed(headers));
        Event { id: *id, topic, event_type: event_type.as_deref(), time: *time, headers, data }
    }
}

impl From<Event<'_>> for reply::EventMessage {
    fn from(event: Event<'_>) -> reply::EventMessage {
        let Event { id, topic, event_type, time, headers, data } = event;
        let headers = headers.0.into_owned();
        reply::EventMessage {
            id,
            topic: topic.into(),
            event_type: owned(event_type),
            time,
            headers,
            data: data.into(),
            delivery: None,
            reply_to: None,
            timeout_ms: None,
        }
    }
}

impl<'a> From<&'a exchange::ReplyMessage> for ReplyMessage<'a> {
    fn from(reply: &'a exchange::ReplyMessage) -> ReplyMessage<'a> {
        let exchange::ReplyMessage { data, headers, responder } = reply;
        ReplyMessage { data, headers: EventHeaders(Cow::Borrowed(headers)), responder }
    }
}

impl From<ReplyMessage<'_>> for exchange::ReplyMessage {
    fn from(reply: ReplyMessage<'_>) -> exchange::ReplyMessage {
        let ReplyMessage { data, headers, responder } = reply;
        exchange::ReplyMessage { data: data.into(), headers: headers.0.into_owned(), responder: responder.into() }
    }
}
