//! Requests. Their order defines their numbers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    limits::{HEADERS_MAX, SETTLE_MAX},
    protocol::{
        PublisherId, Sequence, bounded, exchange, payload, request,
        wire::{Bytes, Json, all_borrowed, all_owned, owned, v1},
    },
};

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
