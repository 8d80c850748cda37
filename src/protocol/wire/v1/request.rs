//! Requests. Their order defines their numbers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    limits::FILTERS_MAX,
    protocol::{
        bounded, payload, request,
        wire::{Bytes, Json, all_borrowed, all_owned, owned},
    },
};

#[derive(Serialize, Deserialize)]
pub(crate) enum Request<'a> {
    Publish(Publish<'a>),
    Subscribe(Subscribe<'a>),
    Clients,
    Topics,
    Kick(&'a str),
    Status,
    Config,
    KickFor(&'a str, u64),
    /// Any other request.
    Other(#[serde(borrow)] Json<'a, request::Request>),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Publish<'a> {
    topic: &'a str,
    data: Bytes<'a>,
    event_type: Option<&'a str>,
    retain: bool,
    ttl_ms: Option<u64>,
    to: Option<&'a str>,
    ack: Ack,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Ack {
    None,
    Accepted,
    Durable,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Subscribe<'a> {
    #[serde(borrow, deserialize_with = "bounded::list::<_, _, FILTERS_MAX>")]
    filters: Vec<&'a str>,
    since: Option<&'a str>,
    slow: Slow,
    client: Option<&'a str>,
    past_only: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Slow {
    Gap,
    Latest,
    Disconnect,
}

impl<'a> From<&'a request::Request> for Request<'a> {
    fn from(request: &'a request::Request) -> Request<'a> {
        match request {
            request::Request::Publish(publish) => Request::Publish(publish.into()),
            request::Request::Subscribe(subscribe) => Request::Subscribe(subscribe.into()),
            request::Request::Clients {} => Request::Clients,
            request::Request::Topics {} => Request::Topics,
            request::Request::Kick { client, for_ms: None } => Request::Kick(client),
            request::Request::Kick { client, for_ms: Some(time) } => Request::KickFor(client, *time),
            request::Request::Status {} => Request::Status,
            request::Request::Config {} => Request::Config,
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
            Request::Other(request) => request.0.into_owned(),
        }
    }
}

impl<'a> From<&'a request::Publish> for Publish<'a> {
    fn from(publish: &'a request::Publish) -> Publish<'a> {
        // Version 1 has no headers, and nothing that was added since.
        let request::Publish { topic, data, event_type, headers: _, retain, ttl_ms, to, ack, .. } = publish;
        let (event_type, to, ack) = (event_type.as_deref(), to.as_deref(), (*ack).into());
        Publish { topic, data: Bytes(&data.0), event_type, retain: *retain, ttl_ms: *ttl_ms, to, ack }
    }
}

impl From<Publish<'_>> for request::Publish {
    fn from(publish: Publish<'_>) -> request::Publish {
        let Publish { topic, data, event_type, retain, ttl_ms, to, ack } = publish;
        let (topic, data) = (topic.into(), payload::Payload(data.0.into()));
        let (event_type, to, ack) = (owned(event_type), owned(to), ack.into());
        request::Publish { topic, data, event_type, retain, ttl_ms, to, ack, ..request::Publish::default() }
    }
}

impl From<request::Ack> for Ack {
    fn from(ack: request::Ack) -> Ack {
        match ack {
            request::Ack::None => Ack::None,
            request::Ack::Accepted => Ack::Accepted,
            request::Ack::Durable => Ack::Durable,
        }
    }
}

impl From<Ack> for request::Ack {
    fn from(ack: Ack) -> request::Ack {
        match ack {
            Ack::None => request::Ack::None,
            Ack::Accepted => request::Ack::Accepted,
            Ack::Durable => request::Ack::Durable,
        }
    }
}

impl<'a> From<&'a request::Subscribe> for Subscribe<'a> {
    fn from(subscribe: &'a request::Subscribe) -> Subscribe<'a> {
        let request::Subscribe { filters, since, slow, client, past_only } = subscribe;
        let slow = match slow {
            request::Slow::Gap => Slow::Gap,
            request::Slow::Latest => Slow::Latest,
            request::Slow::Disconnect => Slow::Disconnect,
        };
        let (since, client) = (since.as_deref(), client.as_deref());
        Subscribe { filters: all_borrowed(filters), since, slow, client, past_only: *past_only }
    }
}

impl From<Subscribe<'_>> for request::Subscribe {
    fn from(subscribe: Subscribe<'_>) -> request::Subscribe {
        let Subscribe { filters, since, slow, client, past_only } = subscribe;
        let slow = match slow {
            Slow::Gap => request::Slow::Gap,
            Slow::Latest => request::Slow::Latest,
            Slow::Disconnect => request::Slow::Disconnect,
        };
        let (since, client) = (owned(since), owned(client));
        request::Subscribe { filters: all_owned(&filters), since, slow, client, past_only }
    }
}
