//! What the daemon answers, and the events that it sends to subscribers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Refused, Setting};
use crate::{
    event::{Event, EventId, EventType},
    headers::Headers,
};

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reply {
    /// An event of the subscription.
    Event(EventMessage),
    /// The event was taken.
    Published(Published),
    /// The subscription begins.
    Subscribed(Subscribed),
    /// The past is told; only after a subscription with [`Subscribe::past_only`](super::Subscribe::past_only).
    End {
        /// Where the subscription stands: subscribe from here to go on.
        position: EventId,
    },
    /// The clients, by id.
    Clients(Vec<ClientInfo>),
    /// The topics, by name.
    Topics(Vec<TopicInfo>),
    /// Clients were disconnected.
    Kicked {
        /// How many connections.
        connections: u64,
    },
    /// The daemon.
    Status(Box<Status>),
    /// The request was refused.
    Error(Refused),
    /// The configuration.
    Config(Vec<Setting>),
}

/// [`Reply::Event`] without owning the event, as a JSON line has it.
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
    kind: Option<&'a str>,
    time: u64,
    #[serde(skip_serializing_if = "Headers::is_empty")]
    headers: &'a Headers,
    data: &'a str,
}

impl<'a> From<&'a Event> for EventBody<'a> {
    fn from(event: &'a Event) -> EventBody<'a> {
        let Event { id, topic, kind, headers, data, time } = event;
        let kind = kind.as_ref().map(EventType::as_str);
        EventBody { id: Some(*id), topic: topic.as_str(), kind, time: *time, headers, data }
    }
}

impl<'a> EventBody<'a> {
    /// The envelope of an event that is live only.
    #[cfg(feature = "bus")]
    pub(crate) fn live(event: &'a Event) -> EventBody<'a> {
        EventBody { id: None, ..EventBody::from(event) }
    }
}

/// An event as a client receives it. A gap comes as an event of topic and type `$gap` whose data is a [`Gap`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventMessage {
    /// Its place in the order of the bus. None for an event that is live only: one for this client alone, or one of the
    /// bus's own.
    pub id: Option<EventId>,
    /// What it is about.
    pub topic: String,
    /// What a browser dispatches it as.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// When the bus took it, in milliseconds since 1970 (UTC).
    pub time: u64,
    /// Named texts beside the data.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// The payload.
    pub data: String,
}

impl EventMessage {
    /// An event without type and headers.
    pub fn new(
        id: impl Into<Option<EventId>>,
        topic: impl Into<String>,
        data: impl Into<String>,
        time: u64,
    ) -> EventMessage {
        let (id, topic, data) = (id.into(), topic.into(), data.into());
        EventMessage { id, topic, kind: None, time, headers: Headers::default(), data }
    }
}

/// The topic and the type of the event that tells a gap.
pub const GAP: &str = "$gap";

/// Events that a subscriber did not get and cannot get any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// How many, if the bus can know.
    pub missed: Option<u64>,
    /// The first id that may be among them.
    pub from: EventId,
    /// The last id among them. Events that are live only have no ids: where only such were missed, both are the position of the
    /// log.
    pub to: EventId,
}

/// The type of the event that ends a stream for browsers which was to tell the past alone. Its id is where live events
/// would begin.
pub const END: &str = "$end";

/// Why there is a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GapReason {
    /// History let them go before the subscriber came back.
    Evicted,
    /// The subscriber fell behind, and history did not have them any more, or `slow=latest` left them out.
    Lagged,
    /// The id is of an earlier epoch: the bus was restarted without its history.
    Restarted,
    /// The bus never gave out that id.
    UnknownId,
}

impl GapReason {
    /// The reason as it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            GapReason::Evicted => "evicted",
            GapReason::Lagged => "lagged",
            GapReason::Restarted => "restarted",
            GapReason::UnknownId => "unknown_id",
        }
    }
}

/// The answer to a publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Published {
    /// The event's id. None for an event for one client, which is live only.
    pub id: Option<EventId>,
    /// The live subscribers that it goes to; of an event for one client, the connections that took it.
    pub subscribers: u64,
}

impl Published {
    /// The answer for an event with this id.
    pub fn new(id: impl Into<Option<EventId>>, subscribers: u64) -> Published {
        Published { id: id.into(), subscribers }
    }
}

/// The answer to a subscribe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Subscribed {
    /// The connection's id as a client.
    pub client: String,
    /// The last event of the bus when the subscription began.
    pub position: EventId,
}

impl Subscribed {
    /// The answer to a client with this id.
    pub fn new(client: impl Into<String>, position: EventId) -> Subscribed {
        Subscribed { client: client.into(), position }
    }
}

/// A connected client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClientInfo {
    /// Given by the bus; never given twice while the daemon runs.
    pub id: String,
    /// The name it gave itself.
    pub name: Option<String>,
    /// `subscriber` or `publisher`.
    pub role: Cow<'static, str>,
    /// `sse`, `json` or `binary`.
    pub via: Cow<'static, str>,
    /// Where it comes from: an address, or a local process.
    pub peer: String,
    /// What a subscriber wants.
    pub filters: Vec<String>,
    /// When it came, in milliseconds since 1970 (UTC).
    pub connected: u64,
    /// Events delivered to a subscriber, or taken from a publisher.
    pub events: u64,
    /// Live events that wait for a subscriber.
    pub lag: u64,
    /// The origin of the page that subscribed, if a page did.
    #[serde(default)]
    pub origin: Option<String>,
    /// Gaps told to a subscriber.
    #[serde(default)]
    pub gaps: u64,
}

/// A topic that the bus knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TopicInfo {
    /// The topic.
    pub topic: String,
    /// Events published since the topic became known.
    pub published: u64,
    /// Events in history.
    pub events: u64,
    /// What they cost, in bytes.
    pub bytes: u64,
    /// Whether there is a retained event.
    pub retained: bool,
    /// Live subscribers whose filters match.
    pub subscribers: u64,
    /// The newest event's id, if it was broadcast and is still known.
    pub last_id: Option<EventId>,
    /// When the newest event was published, in milliseconds since 1970 (UTC).
    pub last_time: Option<u64>,
}

/// The daemon, described.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// Where browsers find it.
    pub url: Option<String>,
    /// The local socket.
    pub socket: String,
    /// The directory of what outlives the daemon, such as tokens.
    pub state_dir: String,
    /// The newest id, also the place to subscribe from for all that follows.
    pub position: String,
    /// Connected subscribers.
    pub subscribers: u64,
    /// Connected publishers (on the local socket).
    pub publishers: u64,
    /// Known topics.
    pub topics: u64,
    /// Events published.
    pub published: u64,
    /// Deliveries to subscribers.
    pub delivered: u64,
    /// Where history is kept: `memory` or `disk`.
    pub history: String,
    /// Why the disk does not take it, if it does not.
    pub history_trouble: Option<String>,
    /// Events in history.
    pub history_events: u64,
    /// What they cost, in bytes.
    pub history_bytes: u64,
    /// How much they may cost, in bytes.
    pub history_budget: u64,
    /// Retained events.
    pub retained: u64,
    /// Gaps told to subscribers.
    pub gaps: u64,
    /// Subscribers disconnected because they were slow.
    pub slow_disconnects: u64,
    /// Origins whose pages were refused lately, the newest first.
    pub refused_origins: Vec<RefusedOrigin>,
    /// The limits that are reached little by little, and how much of each is used.
    pub limits: Vec<LimitInfo>,
    /// Hosts that requests were for and that are not the daemon's, the newest first.
    #[serde(default)]
    pub refused_hosts: Vec<RefusedHost>,
    /// Every address at which browsers find it; `url` is the first.
    #[serde(default)]
    pub urls: Vec<String>,
}

/// A limit of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LimitInfo {
    /// Its name in the configuration.
    pub limit: Cow<'static, str>,
    /// How much of it is used.
    pub used: u64,
    /// How much may be.
    pub bound: u64,
}

impl LimitInfo {
    /// A limit by its name in the configuration.
    pub fn new(limit: impl Into<Cow<'static, str>>, used: u64, bound: u64) -> LimitInfo {
        LimitInfo { limit: limit.into(), used, bound }
    }

    /// Whether four fifths of it are used: whoever looks should be told.
    pub fn is_near(&self) -> bool {
        self.bound > 0 && self.used >= self.bound - self.bound / 5
    }
}

impl RefusedOrigin {
    /// An origin that was refused so often, the last time at `last`.
    pub fn new(origin: impl Into<String>, times: u64, last: u64) -> RefusedOrigin {
        RefusedOrigin { origin: origin.into(), times, last }
    }
}

impl RefusedHost {
    /// A host that was refused so often, the last time at `last`.
    pub fn new(host: impl Into<String>, times: u64, last: u64) -> RefusedHost {
        RefusedHost { host: host.into(), times, last }
    }
}

/// An origin whose pages were refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RefusedOrigin {
    /// The origin as browsers write it; `null` for pages that have none.
    pub origin: String,
    /// How often.
    pub times: u64,
    /// When it was last, in milliseconds since 1970 (UTC).
    pub last: u64,
}

/// A host that requests named and that is not the daemon's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RefusedHost {
    /// The host, without a port.
    pub host: String,
    /// How often.
    pub times: u64,
    /// When it was last, in milliseconds since 1970 (UTC).
    pub last: u64,
}
