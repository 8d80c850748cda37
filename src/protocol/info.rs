//! What the daemon reports about its clients, its topics and itself.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{node::NodeInfo, text_enum::text_enum};
use crate::event::EventId;

text_enum! {
    /// What a client does.
    ClientRole as "a role" {
        /// It receives events.
        Subscriber = "subscriber",
        /// It publishes events.
        Publisher = "publisher",
        /// It takes deliveries of a consumer.
        Worker = "worker",
        /// It replies to requests.
        Responder = "responder",
        /// A role that this version does not define.
        Other = "other",
    }
}

text_enum! {
    /// The format of a client's connection.
    Transport as "a transport" {
        /// An event stream over HTTP.
        Sse = "sse",
        /// JSON lines on the local socket.
        Json = "json",
        /// Binary frames on the local socket.
        Binary = "binary",
        /// A format that this version does not define.
        Other = "other",
    }
}

text_enum! {
    /// Where history is stored.
    #[derive(Default)]
    HistoryKind as "a kind of history" {
        /// In memory; it ends with the daemon.
        #[default]
        Memory = "memory",
        /// On disk.
        Disk = "disk",
        /// On NATS, shared with other daemons.
        Nats = "nats",
        /// A store that this version does not define.
        Other = "other",
    }
}

/// A connected client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClientInfo {
    /// The id that the bus assigned; unique while the daemon runs.
    pub id: String,
    /// The name that the client chose.
    pub name: Option<String>,
    /// What it does.
    pub role: ClientRole,
    /// The format of the connection.
    pub via: Transport,
    /// The peer: an address, or a local process.
    pub peer: String,
    /// The filters of a subscriber, or those of a worker's consumer.
    pub filters: Vec<String>,
    /// When it connected, in milliseconds since 1970 (UTC).
    pub connected: u64,
    /// Events delivered to a subscriber or a worker, and those accepted from a publisher or a worker.
    pub events: u64,
    /// Live events of its feed that wait for a subscriber. 0 while it reads history, however far behind it is. This is not the
    /// gap reason `lagged`, which means that events were missed.
    pub lag: u64,
    /// The origin of the web page, if the subscriber is one.
    #[serde(default)]
    pub origin: Option<String>,
    /// Gaps reported to a subscriber.
    #[serde(default)]
    pub gaps: u64,
    /// The topics that a publisher published to last, the most recent first, at most
    /// [`PUBLISHED_TO`](crate::limits::PUBLISHED_TO). Absent in JSON if there are none. The binary protocol does not transfer
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published_to: Vec<String>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TopicInfo {
    /// The topic itself.
    pub topic: String,
    /// Events published since the topic was added.
    pub published: u64,
    /// Events in history.
    pub events: u64,
    /// Bytes that those events cost.
    pub bytes: u64,
    /// Whether the topic has a retained event.
    pub retained: bool,
    /// Connected subscribers whose filters match the topic.
    pub subscribers: u64,
    /// The id of the newest event, if that was not a unicast and is still available.
    pub last_id: Option<EventId>,
    /// When the newest event was published, in milliseconds since 1970 (UTC).
    pub last_time: Option<u64>,
}

/// The state of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Status {
    /// The version of the daemon.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// The URL of the daemon, for browsers.
    pub url: Option<String>,
    /// The path of the local socket.
    pub socket: String,
    /// The directory of persistent files, such as tokens.
    pub state_dir: String,
    /// The newest id. A subscription since this id receives all later events.
    pub position: String,
    /// Connected subscribers.
    pub subscribers: u64,
    /// Connected publishers (on the local socket).
    pub publishers: u64,
    /// Topics.
    pub topics: u64,
    /// Events published.
    pub published: u64,
    /// Events delivered to subscribers.
    pub delivered: u64,
    /// Where history is stored.
    pub history: HistoryKind,
    /// Why history cannot be written to disk, if it cannot.
    #[serde(alias = "history_trouble")]
    pub history_error: Option<String>,
    /// Events in history.
    pub history_events: u64,
    /// Bytes that those events cost.
    pub history_bytes: u64,
    /// Maximum bytes of history.
    pub history_budget: u64,
    /// Retained events.
    pub retained: u64,
    /// Gaps reported to subscribers.
    pub gaps: u64,
    /// Subscribers that were disconnected because they were slow.
    pub slow_disconnects: u64,
    /// Origins whose pages were refused recently, most recent first.
    pub refused_origins: Vec<RefusedOrigin>,
    /// The limits that fill up gradually, with their current use.
    pub limits: Vec<LimitInfo>,
    /// Host names in refused requests, because they are not names of the daemon; most recent first.
    #[serde(default)]
    pub refused_hosts: Vec<RefusedHost>,
    /// All URLs of the daemon; `url` is the first.
    #[serde(default)]
    pub urls: Vec<String>,
    /// The log, if it is on NATS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogInfo>,
    /// The clients that are kept out after a kick.
    pub kept_out: Vec<KeptOut>,
    /// Consumers.
    pub consumers: u64,
    /// Workers of consumers.
    pub workers: u64,
    /// Events that wait for their first delivery by a consumer, counted for each of them. A lower bound, see
    /// [`ConsumerInfo::pending`](super::ConsumerInfo::pending).
    pub pending: u64,
    /// Deliveries in flight.
    pub in_flight: u64,
    /// Dead letters of all consumers.
    pub dead: u64,
    /// The nodes of the bus, by name, if several daemons share it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeInfo>,
}

/// A log on NATS, as one of its nodes sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LogInfo {
    /// The configured servers, without passwords.
    pub servers: Vec<String>,
    /// The name of the server that the node is connected to, or was last.
    pub server: String,
    /// Its version.
    pub server_version: String,
    /// The time that a request to it takes, in microseconds; None if it does not answer.
    pub round_trip_us: Option<u64>,
    /// The name of the bus.
    pub bus: String,
    /// The name of the stream.
    pub stream: String,
    /// The name of the node.
    pub node: String,
    /// The last number of the stream, as far as the node knows.
    pub last: u64,
    /// The events up to it that the node has not applied.
    pub lag: u64,
    /// Messages on the subjects of the bus that no node has published, since the node started.
    pub skipped: u64,
    /// How often the log has lost its newest events, since the node started.
    pub rewrites: u64,
    /// Why events cannot be published or received now.
    pub error: Option<String>,
}

/// A client that is kept out after a kick.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeptOut {
    /// The name of the client, or its token or local process.
    pub client: String,
    /// Until when, in milliseconds since 1970 (UTC).
    pub until: u64,
}

impl KeptOut {
    /// Returns a client that is kept out until a time.
    pub fn new(client: impl Into<String>, until: u64) -> KeptOut {
        KeptOut { client: client.into(), until }
    }
}

/// The use of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LimitInfo {
    /// The name of the limit in the configuration, or another name if it is [fixed](LimitInfo::is_fixed).
    pub limit: Cow<'static, str>,
    /// The current use.
    pub used: u64,
    /// The maximum.
    pub bound: u64,
}

impl LimitInfo {
    /// Returns the use of a limit, by its name in the configuration.
    pub fn new(limit: impl Into<Cow<'static, str>>, used: u64, bound: u64) -> LimitInfo {
        LimitInfo { limit: limit.into(), used, bound }
    }

    /// Returns true if the configuration cannot set the limit.
    pub fn is_fixed(&self) -> bool {
        matches!(
            &*self.limit,
            "consumers"
                | "workers"
                | "unfinished_events"
                | "dead_letters"
                | "held_bytes"
                | "schedules"
                | "schedules_bytes"
                | "responders"
                | "requests"
        )
    }

    /// Returns true if at least four fifths of the limit are used, which is worth a warning.
    pub fn is_near(&self) -> bool {
        self.bound > 0 && self.used >= self.bound - self.bound / 5
    }
}

/// An origin whose pages were refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RefusedOrigin {
    /// The origin as browsers send it; `null` for pages without one.
    pub origin: String,
    /// The number of refusals.
    pub times: u64,
    /// When it was last refused, in milliseconds since 1970 (UTC).
    pub last: u64,
}

impl RefusedOrigin {
    /// Returns an origin that was refused `times` times, last at `last`.
    pub fn new(origin: impl Into<String>, times: u64, last: u64) -> RefusedOrigin {
        RefusedOrigin { origin: origin.into(), times, last }
    }

    /// Returns true if the origin can be allowed with `--allow-origin`. Pages without an origin send `null`, which
    /// cannot.
    pub fn can_be_allowed(&self) -> bool {
        ["http://", "https://"].iter().any(|scheme| self.origin.starts_with(scheme))
    }
}

/// A host name in refused requests that is not a name of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RefusedHost {
    /// The host name, without a port.
    pub host: String,
    /// The number of refusals.
    pub times: u64,
    /// When it was last refused, in milliseconds since 1970 (UTC).
    pub last: u64,
}

impl RefusedHost {
    /// Returns a host that was refused `times` times, last at `last`.
    pub fn new(host: impl Into<String>, times: u64, last: u64) -> RefusedHost {
        RefusedHost { host: host.into(), times, last }
    }
}
