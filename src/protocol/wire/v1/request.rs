//! Requests, counted in their order.

use serde::{Deserialize, Serialize};

use crate::{
    limits::FILTERS_MAX,
    protocol::{
        self, bounded,
        wire::{Bytes, all_borrowed, all_owned, owned},
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
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Publish<'a> {
    topic: &'a str,
    data: Bytes<'a>,
    kind: Option<&'a str>,
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
        // There were no headers.
        let protocol::Publish { topic, data, kind, headers: _, retain, ttl_ms, to, ack } = publish;
        let (kind, to, ack) = (kind.as_deref(), to.as_deref(), (*ack).into());
        Publish { topic, data: Bytes(&data.0), kind, retain: *retain, ttl_ms: *ttl_ms, to, ack }
    }
}

impl From<Publish<'_>> for protocol::Publish {
    fn from(publish: Publish<'_>) -> protocol::Publish {
        let Publish { topic, data, kind, retain, ttl_ms, to, ack } = publish;
        let (topic, data, headers) = (topic.into(), protocol::Payload(data.0.into()), Vec::new());
        protocol::Publish { topic, data, kind: owned(kind), headers, retain, ttl_ms, to: owned(to), ack: ack.into() }
    }
}

impl From<protocol::Ack> for Ack {
    fn from(ack: protocol::Ack) -> Ack {
        match ack {
            protocol::Ack::None => Ack::None,
            protocol::Ack::Accepted => Ack::Accepted,
            protocol::Ack::Durable => Ack::Durable,
        }
    }
}

impl From<Ack> for protocol::Ack {
    fn from(ack: Ack) -> protocol::Ack {
        match ack {
            Ack::None => protocol::Ack::None,
            Ack::Accepted => protocol::Ack::Accepted,
            Ack::Durable => protocol::Ack::Durable,
        }
    }
}

impl<'a> From<&'a protocol::Subscribe> for Subscribe<'a> {
    fn from(subscribe: &'a protocol::Subscribe) -> Subscribe<'a> {
        let protocol::Subscribe { filters, since, slow, client, past_only } = subscribe;
        let slow = match slow {
            protocol::Slow::Gap => Slow::Gap,
            protocol::Slow::Latest => Slow::Latest,
            protocol::Slow::Disconnect => Slow::Disconnect,
        };
        let (since, client) = (since.as_deref(), client.as_deref());
        Subscribe { filters: all_borrowed(filters), since, slow, client, past_only: *past_only }
    }
}

impl From<Subscribe<'_>> for protocol::Subscribe {
    fn from(subscribe: Subscribe<'_>) -> protocol::Subscribe {
        let Subscribe { filters, since, slow, client, past_only } = subscribe;
        let slow = match slow {
            Slow::Gap => protocol::Slow::Gap,
            Slow::Latest => protocol::Slow::Latest,
            Slow::Disconnect => protocol::Slow::Disconnect,
        };
        let (since, client) = (owned(since), owned(client));
        protocol::Subscribe { filters: all_owned(&filters), since, slow, client, past_only }
    }
}
