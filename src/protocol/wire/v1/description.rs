//! Descriptions of the daemon, its clients and its topics, in replies.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    event::EventId,
    protocol::{
        info, setting,
        wire::{Json, all_borrowed, all_owned, owned},
    },
};

#[derive(Serialize, Deserialize)]
pub(crate) struct ClientInfo<'a> {
    id: &'a str,
    name: Option<&'a str>,
    role: &'a str,
    via: &'a str,
    peer: &'a str,
    filters: Vec<&'a str>,
    connected: u64,
    events: u64,
    lag: u64,
    origin: Option<&'a str>,
    gaps: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct TopicInfo<'a> {
    topic: &'a str,
    published: u64,
    events: u64,
    bytes: u64,
    retained: bool,
    subscribers: u64,
    last_id: Option<EventId>,
    last_time: Option<u64>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Status<'a> {
    version: &'a str,
    pid: u32,
    uptime_ms: u64,
    url: Option<&'a str>,
    socket: &'a str,
    state_dir: &'a str,
    position: &'a str,
    subscribers: u64,
    publishers: u64,
    topics: u64,
    published: u64,
    delivered: u64,
    history: &'a str,
    history_error: Option<&'a str>,
    history_events: u64,
    history_bytes: u64,
    history_budget: u64,
    retained: u64,
    gaps: u64,
    slow_disconnects: u64,
    refused_origins: Vec<RefusedOrigin<'a>>,
    limits: Vec<LimitInfo<'a>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct LimitInfo<'a> {
    limit: &'a str,
    used: u64,
    bound: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RefusedOrigin<'a> {
    origin: &'a str,
    times: u64,
    last: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Setting<'a> {
    key: &'a str,
    value: Json<'a, Value>,
    source: &'a str,
}

impl<'a> From<&'a info::ClientInfo> for ClientInfo<'a> {
    fn from(client: &'a info::ClientInfo) -> ClientInfo<'a> {
        ClientInfo {
            id: &client.id,
            name: client.name.as_deref(),
            role: client.role.as_str(),
            via: client.via.as_str(),
            peer: &client.peer,
            filters: all_borrowed(&client.filters),
            connected: client.connected,
            events: client.events,
            lag: client.lag,
            origin: client.origin.as_deref(),
            gaps: client.gaps,
        }
    }
}

impl From<ClientInfo<'_>> for info::ClientInfo {
    fn from(client: ClientInfo<'_>) -> info::ClientInfo {
        info::ClientInfo {
            id: client.id.into(),
            name: owned(client.name),
            role: client.role.into(),
            via: client.via.into(),
            peer: client.peer.into(),
            filters: all_owned(&client.filters),
            connected: client.connected,
            events: client.events,
            lag: client.lag,
            origin: owned(client.origin),
            gaps: client.gaps,
            published_to: Vec::new(),
        }
    }
}

impl<'a> From<&'a info::TopicInfo> for TopicInfo<'a> {
    fn from(info: &'a info::TopicInfo) -> TopicInfo<'a> {
        let info::TopicInfo { topic, published, events, bytes, retained, subscribers, last_id, last_time } = info;
        let (published, events, bytes, subscribers) = (*published, *events, *bytes, *subscribers);
        let (retained, last_id, last_time) = (*retained, *last_id, *last_time);
        TopicInfo { topic, published, events, bytes, retained, subscribers, last_id, last_time }
    }
}

impl From<TopicInfo<'_>> for info::TopicInfo {
    fn from(info: TopicInfo<'_>) -> info::TopicInfo {
        let TopicInfo { topic, published, events, bytes, retained, subscribers, last_id, last_time } = info;
        let topic = topic.into();
        info::TopicInfo { topic, published, events, bytes, retained, subscribers, last_id, last_time }
    }
}

impl<'a> From<&'a info::Status> for Status<'a> {
    fn from(status: &'a info::Status) -> Status<'a> {
        let refused = |refused: &'a info::RefusedOrigin| RefusedOrigin {
            origin: &refused.origin,
            times: refused.times,
            last: refused.last,
        };
        let limit =
            |limit: &'a info::LimitInfo| LimitInfo { limit: &limit.limit, used: limit.used, bound: limit.bound };
        Status {
            version: &status.version,
            pid: status.pid,
            uptime_ms: status.uptime_ms,
            url: status.url.as_deref(),
            socket: &status.socket,
            state_dir: &status.state_dir,
            position: &status.position,
            subscribers: status.subscribers,
            publishers: status.publishers,
            topics: status.topics,
            published: status.published,
            delivered: status.delivered,
            history: status.history.as_str(),
            history_error: status.history_error.as_deref(),
            history_events: status.history_events,
            history_bytes: status.history_bytes,
            history_budget: status.history_budget,
            retained: status.retained,
            gaps: status.gaps,
            slow_disconnects: status.slow_disconnects,
            refused_origins: status.refused_origins.iter().map(refused).collect(),
            limits: status.limits.iter().map(limit).collect(),
        }
    }
}

impl From<Status<'_>> for info::Status {
    fn from(status: Status<'_>) -> info::Status {
        let refused = |refused: RefusedOrigin<'_>| info::RefusedOrigin {
            origin: refused.origin.into(),
            times: refused.times,
            last: refused.last,
        };
        let limit = |limit: LimitInfo<'_>| info::LimitInfo {
            limit: Cow::Owned(limit.limit.into()),
            used: limit.used,
            bound: limit.bound,
        };
        info::Status {
            version: status.version.into(),
            pid: status.pid,
            uptime_ms: status.uptime_ms,
            url: owned(status.url),
            socket: status.socket.into(),
            state_dir: status.state_dir.into(),
            position: status.position.into(),
            subscribers: status.subscribers,
            publishers: status.publishers,
            topics: status.topics,
            published: status.published,
            delivered: status.delivered,
            history: status.history.into(),
            history_error: owned(status.history_error),
            history_events: status.history_events,
            history_bytes: status.history_bytes,
            history_budget: status.history_budget,
            retained: status.retained,
            gaps: status.gaps,
            slow_disconnects: status.slow_disconnects,
            refused_origins: status.refused_origins.into_iter().map(refused).collect(),
            limits: status.limits.into_iter().map(limit).collect(),
            ..info::Status::default()
        }
    }
}

impl<'a> From<&'a setting::Setting> for Setting<'a> {
    fn from(setting: &'a setting::Setting) -> Setting<'a> {
        let setting::Setting { key, value, source } = setting;
        Setting { key, value: Json(Cow::Borrowed(value)), source }
    }
}

impl From<Setting<'_>> for setting::Setting {
    fn from(setting: Setting<'_>) -> setting::Setting {
        let Setting { key, value, source } = setting;
        setting::Setting { key: key.into(), value: value.0.into_owned(), source: source.into() }
    }
}
