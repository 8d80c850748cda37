//! Version 2. Frozen. Events have headers; the status and the configuration are JSON text, so that they can gain
//! fields. Types that are the same as in version 1 are used from there.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeSeq as _};

use super::{Bytes, Json, all_borrowed, all_owned, owned, v1};
use crate::{
    event::{self, EventId, EventType},
    headers::Headers,
    limits::{HEADERS_MAX, SETTLE_MAX},
    protocol::{PublisherId, Sequence, bounded, consumer, exchange, info, payload, reply, request, setting},
};

/// Requests. Their order defines their numbers.
#[derive(Serialize, Deserialize)]
pub(crate) enum Request<'a> {
    Publish(Publish<'a>),
    Subscribe(v1::Subscribe<'a>),
    Clients,
    Topics,
    Kick(&'a str),
    Status,
    Config,
    KickFor(&'a str, u64),
    Ack(#[serde(borrow, deserialize_with = "bounded::list::<_, _, SETTLE_MAX>")] Vec<&'a str>),
    /// Any other request.
    Other(Json<'a, request::Request>),
    Ask(RequestMessage<'a>),
    Reply(ReplyTo<'a>),
    /// A publish with options that [`Publish`] does not have.
    PublishWith(Publish<'a>, PublishOptions<'a>),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RequestMessage<'a> {
    topic: &'a str,
    data: Bytes<'a>,
    event_type: Option<&'a str>,
    #[serde(deserialize_with = "bounded::list::<_, _, HEADERS_MAX>")]
    headers: Vec<(&'a str, &'a str)>,
    timeout_ms: Option<u64>,
    replies: Option<u64>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ReplyTo<'a> {
    to: &'a str,
    data: Bytes<'a>,
    #[serde(deserialize_with = "bounded::list::<_, _, HEADERS_MAX>")]
    headers: Vec<(&'a str, &'a str)>,
    error: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Publish<'a> {
    topic: &'a str,
    data: Bytes<'a>,
    event_type: Option<&'a str>,
    #[serde(deserialize_with = "bounded::list::<_, _, HEADERS_MAX>")]
    headers: Vec<(&'a str, &'a str)>,
    retain: bool,
    ttl_ms: Option<u64>,
    to: Option<&'a str>,
    ack: v1::Ack,
}

/// What later versions of the program have added to a publish.
#[derive(Serialize, Deserialize)]
pub(crate) struct PublishOptions<'a> {
    #[serde(borrow)]
    dedup_id: Option<&'a str>,
    /// The publisher and the number.
    sequence: Option<(u64, u64)>,
    in_ms: Option<u64>,
    at: Option<u64>,
    schedule_id: Option<&'a str>,
}

/// Replies. Their order defines their numbers.
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

impl<'a> From<&'a request::Request> for Request<'a> {
    fn from(request: &'a request::Request) -> Request<'a> {
        match request {
            request::Request::Publish(publish) => Request::publish(publish),
            request::Request::Subscribe(subscribe) => Request::Subscribe(subscribe.into()),
            request::Request::Clients {} => Request::Clients,
            request::Request::Topics {} => Request::Topics,
            request::Request::Kick { client, for_ms: None } => Request::Kick(client),
            request::Request::Kick { client, for_ms: Some(time) } => Request::KickFor(client, *time),
            request::Request::Status {} => Request::Status,
            request::Request::Config {} => Request::Config,
            request::Request::Ack { tokens } => Request::Ack(all_borrowed(tokens)),
            request::Request::Request(request) => Request::Ask(request.into()),
            request::Request::Reply(reply) => Request::Reply(reply.into()),
            other => Request::Other(Json(Cow::Borrowed(other))),
        }
    }
}

impl From<Request<'_>> for request::Request {
    fn from(request: Request<'_>) -> request::Request {
        match request {
            Request::Publish(publish) => request::Request::Publish(publish.into()),
            Request::Subscribe(subscribe) => request::Request::Subscribe(subscribe.into()),
            Request::Clients => request::Request::Clients {},
            Request::Topics => request::Request::Topics {},
            Request::Kick(client) => request::Request::Kick { client: client.into(), for_ms: None },
            Request::KickFor(client, time) => request::Request::Kick { client: client.into(), for_ms: Some(time) },
            Request::Status => request::Request::Status {},
            Request::Config => request::Request::Config {},
            Request::Ack(tokens) => request::Request::Ack { tokens: all_owned(&tokens) },
            Request::Other(request) => request.0.into_owned(),
            Request::Ask(request) => request::Request::Request(request.into()),
            Request::Reply(reply) => request::Request::Reply(reply.into()),
            Request::PublishWith(publish, options) => request::Request::Publish(options.add_to(publish.into())),
        }
    }
}

impl<'a> Request<'a> {
    /// Returns a request to publish.
    pub(crate) fn publish(publish: &'a request::Publish) -> Request<'a> {
        match PublishOptions::of(publish) {
            None => Request::Publish(publish.into()),
            Some(options) => Request::PublishWith(publish.into(), options),
        }
    }
}

impl<'a> From<&'a exchange::RequestMessage> for RequestMessage<'a> {
    fn from(request: &'a exchange::RequestMessage) -> RequestMessage<'a> {
        let exchange::RequestMessage { topic, data, event_type, headers, timeout_ms, replies } = request;
        let (data, event_type, headers) = (Bytes(&data.0), event_type.as_deref(), borrowed_headers(headers));
        RequestMessage { topic, data, event_type, headers, timeout_ms: *timeout_ms, replies: *replies }
    }
}

impl From<RequestMessage<'_>> for exchange::RequestMessage {
    fn from(request: RequestMessage<'_>) -> exchange::RequestMessage {
        let RequestMessage { topic, data, event_type, headers, timeout_ms, replies } = request;
        let (topic, data, event_type) = (topic.into(), payload::Payload(data.0.into()), owned(event_type));
        exchange::RequestMessage { topic, data, event_type, headers: owned_headers(headers), timeout_ms, replies }
    }
}

impl<'a> From<&'a exchange::ReplyTo> for ReplyTo<'a> {
    fn from(reply: &'a exchange::ReplyTo) -> ReplyTo<'a> {
        let exchange::ReplyTo { to, data, headers, error } = reply;
        ReplyTo { to, data: Bytes(&data.0), headers: borrowed_headers(headers), error: error.as_deref() }
    }
}

impl From<ReplyTo<'_>> for exchange::ReplyTo {
    fn from(reply: ReplyTo<'_>) -> exchange::ReplyTo {
        let ReplyTo { to, data, headers, error } = reply;
        let (to, data, headers) = (to.into(), payload::Payload(data.0.into()), owned_headers(headers));
        exchange::ReplyTo { to, data, headers, error: owned(error) }
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

fn borrowed_headers(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn owned_headers(headers: Vec<(&str, &str)>) -> Vec<(String, String)> {
    headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

impl<'a> From<&'a request::Publish> for Publish<'a> {
    fn from(publish: &'a request::Publish) -> Publish<'a> {
        // The other fields are options.
        let request::Publish { topic, data, event_type, headers, retain, ttl_ms, to, ack, .. } = publish;
        let (data, event_type, to, ack) = (Bytes(&data.0), event_type.as_deref(), to.as_deref(), (*ack).into());
        let headers = borrowed_headers(headers);
        Publish { topic, data, event_type, headers, retain: *retain, ttl_ms: *ttl_ms, to, ack }
    }
}

impl From<Publish<'_>> for request::Publish {
    fn from(publish: Publish<'_>) -> request::Publish {
        let Publish { topic, data, event_type, headers, retain, ttl_ms, to, ack } = publish;
        let (topic, data) = (topic.into(), payload::Payload(data.0.into()));
        let headers = owned_headers(headers);
        let (event_type, to, ack) = (owned(event_type), owned(to), ack.into());
        request::Publish { topic, data, event_type, headers, retain, ttl_ms, to, ack, ..request::Publish::default() }
    }
}

impl<'a> PublishOptions<'a> {
    /// Returns the options of a publish, if it has any.
    fn of(publish: &'a request::Publish) -> Option<PublishOptions<'a>> {
        let request::Publish { dedup_id, sequence, in_ms, at, schedule_id, .. } = publish;
        let has_none = dedup_id.is_none() && sequence.is_none() && !publish.is_scheduled();
        let sequence = sequence.map(|sequence| (sequence.publisher.0, sequence.number));
        let (dedup_id, schedule_id) = (dedup_id.as_deref(), schedule_id.as_deref());
        (!has_none).then_some(PublishOptions { dedup_id, sequence, in_ms: *in_ms, at: *at, schedule_id })
    }

    fn add_to(self, publish: request::Publish) -> request::Publish {
        let PublishOptions { dedup_id, sequence, in_ms, at, schedule_id } = self;
        let sequence = sequence.map(|(publisher, number)| Sequence { publisher: PublisherId(publisher), number });
        request::Publish { dedup_id: owned(dedup_id), sequence, in_ms, at, schedule_id: owned(schedule_id), ..publish }
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
            reply::Reply::Published(published) => match *published {
                reply::Published { duplicate: false, queued: false, .. } => Reply::Published(published.into()),
                reply::Published { duplicate, queued, .. } => {
                    Reply::PublishedWith(published.into(), PublishedOptions { duplicate, queued })
                }
            },
            reply::Reply::Subscribed(subscribed) => Reply::Subscribed(subscribed.into()),
            reply::Reply::End { position } => Reply::End(*position),
            reply::Reply::Clients(clients) => Reply::Clients(clients.iter().map(Into::into).collect()),
            reply::Reply::Topics(topics) => Reply::Topics(topics.iter().map(Into::into).collect()),
            reply::Reply::Kicked { connections } => Reply::Kicked(*connections),
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
            Reply::Kicked(connections) => reply::Reply::Kicked { connections },
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
