//! Replies, counted in their order. [`Refused`] is number 8 in every version.

use serde::{Deserialize, Serialize};

use super::description::{ClientInfo, Setting, Status, TopicInfo};
use crate::{
    event::{self, Epoch, EventId, EventType},
    protocol::{self, ErrorCode, wire::owned},
};

#[derive(Serialize, Deserialize)]
pub(crate) enum Reply<'a> {
    #[serde(borrow)]
    Event(Event<'a>),
    Published(Published),
    Subscribed(Subscribed<'a>),
    End(EventId),
    Clients(Vec<ClientInfo<'a>>),
    Topics(Vec<TopicInfo<'a>>),
    Kicked(u64),
    Status(Box<Status<'a>>),
    Error(Refused<'a>),
    Config(Vec<Setting<'a>>),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Event<'a> {
    id: EventId,
    topic: &'a str,
    kind: Option<&'a str>,
    time: u64,
    data: &'a str,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Published {
    id: EventId,
    subscribers: u64,
}

/// In version 1 everything has an id. The daemon puts the log's position where there is none; this is of no log.
fn id_or_none(id: Option<EventId>) -> EventId {
    id.unwrap_or_else(|| EventId { epoch: Epoch::from_seed(0), seq: 0 })
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Subscribed<'a> {
    client: &'a str,
    position: EventId,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Refused<'a> {
    code: ErrorCode,
    message: &'a str,
    request: u64,
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
            protocol::Reply::Status(status) => Reply::Status(Box::new((&**status).into())),
            protocol::Reply::Error(refused) => Reply::Error(refused.into()),
            protocol::Reply::Config(settings) => Reply::Config(settings.iter().map(Into::into).collect()),
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
            Reply::Status(status) => protocol::Reply::Status(Box::new((*status).into())),
            Reply::Error(refused) => protocol::Reply::Error(refused.into()),
            Reply::Config(settings) => protocol::Reply::Config(settings.into_iter().map(Into::into).collect()),
        }
    }
}

impl<'a> From<&'a event::Event> for Event<'a> {
    fn from(event: &'a event::Event) -> Event<'a> {
        // There were no headers.
        let event::Event { id, topic, kind, headers: _, data, time } = event;
        let kind = kind.as_ref().map(EventType::as_str);
        Event { id: *id, topic: topic.as_str(), kind, time: *time, data }
    }
}

impl<'a> From<&'a protocol::EventMessage> for Event<'a> {
    fn from(event: &'a protocol::EventMessage) -> Event<'a> {
        let protocol::EventMessage { id, topic, kind, time, headers: _, data } = event;
        Event { id: id_or_none(*id), topic, kind: kind.as_deref(), time: *time, data }
    }
}

impl From<Event<'_>> for protocol::EventMessage {
    fn from(event: Event<'_>) -> protocol::EventMessage {
        let Event { id, topic, kind, time, data } = event;
        let headers = crate::Headers::default();
        protocol::EventMessage {
            id: Some(id),
            topic: topic.into(),
            kind: owned(kind),
            time,
            headers,
            data: data.into(),
        }
    }
}

impl From<&protocol::Published> for Published {
    fn from(published: &protocol::Published) -> Published {
        let protocol::Published { id, subscribers } = *published;
        Published { id: id_or_none(id), subscribers }
    }
}

impl From<Published> for protocol::Published {
    fn from(published: Published) -> protocol::Published {
        let Published { id, subscribers } = published;
        protocol::Published { id: Some(id), subscribers }
    }
}

impl<'a> From<&'a protocol::Subscribed> for Subscribed<'a> {
    fn from(subscribed: &'a protocol::Subscribed) -> Subscribed<'a> {
        let protocol::Subscribed { client, position } = subscribed;
        Subscribed { client, position: *position }
    }
}

impl From<Subscribed<'_>> for protocol::Subscribed {
    fn from(subscribed: Subscribed<'_>) -> protocol::Subscribed {
        let Subscribed { client, position } = subscribed;
        protocol::Subscribed { client: client.into(), position }
    }
}

impl<'a> From<&'a protocol::Refused> for Refused<'a> {
    fn from(refused: &'a protocol::Refused) -> Refused<'a> {
        let protocol::Refused { code, message, request } = refused;
        Refused { code: *code, message, request: *request }
    }
}

impl From<Refused<'_>> for protocol::Refused {
    fn from(refused: Refused<'_>) -> protocol::Refused {
        let Refused { code, message, request } = refused;
        protocol::Refused { code, message: message.into(), request }
    }
}
