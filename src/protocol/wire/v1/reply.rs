//! Replies. Their order defines their numbers; [`Refused`] has number 8 in all versions.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::description::{ClientInfo, Setting, Status, TopicInfo};
use crate::{
    event::{self, Epoch, EventId, EventType},
    protocol::{
        error::{self, ErrorCode},
        reply,
        wire::{Json, owned},
    },
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
    /// Any other reply.
    Other(Json<'a, reply::Reply>),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Event<'a> {
    id: EventId,
    topic: &'a str,
    event_type: Option<&'a str>,
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
    id.unwrap_or_else(|| EventId::new(Epoch::from_seed(0), 0))
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

impl<'a> From<&'a reply::Reply> for Reply<'a> {
    fn from(reply: &'a reply::Reply) -> Reply<'a> {
        match reply {
            reply::Reply::Event(event) if event.delivery.is_none() => Reply::Event(event.into()),
            reply::Reply::Published(published) => Reply::Published(published.into()),
            reply::Reply::Subscribed(subscribed) => Reply::Subscribed(subscribed.into()),
            reply::Reply::End { position } => Reply::End(*position),
            reply::Reply::Clients(clients) => Reply::Clients(clients.iter().map(Into::into).collect()),
            reply::Reply::Topics(topics) => Reply::Topics(topics.iter().map(Into::into).collect()),
            reply::Reply::Kicked { connections, unreachable } if unreachable.is_empty() => Reply::Kicked(*connections),
            reply::Reply::Status(status) => Reply::Status(Box::new((&**status).into())),
            reply::Reply::Error(refused) => Reply::Error(refused.into()),
            reply::Reply::Config(settings) => Reply::Config(settings.iter().map(Into::into).collect()),
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
            Reply::Status(status) => reply::Reply::Status(Box::new((*status).into())),
            Reply::Error(refused) => reply::Reply::Error(refused.into()),
            Reply::Config(settings) => reply::Reply::Config(settings.into_iter().map(Into::into).collect()),
            Reply::Other(reply) => reply.0.into_owned(),
        }
    }
}

impl<'a> From<&'a event::Event> for Event<'a> {
    fn from(event: &'a event::Event) -> Event<'a> {
        // Version 1 has no headers.
        let event::Event { id, topic, event_type, headers: _, data, time } = event;
        let event_type = event_type.as_ref().map(EventType::as_str);
        Event { id: *id, topic: topic.as_str(), event_type, time: *time, data }
    }
}

impl<'a> From<&'a reply::EventMessage> for Event<'a> {
    fn from(event: &'a reply::EventMessage) -> Event<'a> {
        let reply::EventMessage { id, topic, event_type, time, data, .. } = event;
        Event { id: id_or_none(*id), topic, event_type: event_type.as_deref(), time: *time, data }
    }
}

impl From<Event<'_>> for reply::EventMessage {
    fn from(event: Event<'_>) -> reply::EventMessage {
        let Event { id, topic, event_type, time, data } = event;
        reply::EventMessage { event_type: owned(event_type), ..reply::EventMessage::new(id, topic, data, time) }
    }
}

impl From<&reply::Published> for Published {
    fn from(published: &reply::Published) -> Published {
        let reply::Published { id, subscribers, .. } = *published;
        Published { id: id_or_none(id), subscribers }
    }
}

impl From<Published> for reply::Published {
    fn from(published: Published) -> reply::Published {
        let Published { id, subscribers } = published;
        reply::Published::new(id, subscribers)
    }
}

impl<'a> From<&'a reply::Subscribed> for Subscribed<'a> {
    fn from(subscribed: &'a reply::Subscribed) -> Subscribed<'a> {
        let reply::Subscribed { client, position } = subscribed;
        Subscribed { client, position: *position }
    }
}

impl From<Subscribed<'_>> for reply::Subscribed {
    fn from(subscribed: Subscribed<'_>) -> reply::Subscribed {
        let Subscribed { client, position } = subscribed;
        reply::Subscribed { client: client.into(), position }
    }
}

impl<'a> From<&'a error::Refused> for Refused<'a> {
    fn from(refused: &'a error::Refused) -> Refused<'a> {
        let error::Refused { code, message, request } = refused;
        Refused { code: *code, message, request: *request }
    }
}

impl From<Refused<'_>> for error::Refused {
    fn from(refused: Refused<'_>) -> error::Refused {
        let Refused { code, message, request } = refused;
        error::Refused { code, message: message.into(), request }
    }
}
