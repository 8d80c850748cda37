//! What is said over the local socket: one set of types, two codecs ([`binary`] and [`json`]), and the encoding of
//! streams for browsers ([`sse`]).
//!
//! A connection is a sequence of [`Request`]s, each answered by one [`Reply`] in order (a publish with
//! [`Ack::None`] only if it is refused). After a [`Reply::Subscribed`], [`Reply::Event`]s stand between the answers
//! of later requests. Requests are numbered from 1 on their connection; an error names the number it answers.

pub mod binary;
pub mod json;
pub mod sse;

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::event::{Event, EventId, EventType};

/// What a client asks. New kinds are added at the end: the binary codec counts them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Publish one event.
    Publish(Publish),
    /// Turn the connection into a subscriber; once a connection.
    Subscribe(Subscribe),
    /// List the clients.
    Clients {},
    /// List the topics.
    Topics {},
    /// Close every connection of a client.
    Kick {
        /// Its id or its name.
        client: String,
    },
    /// Describe the daemon.
    Status {},
}

/// One event to publish. Everything is checked by the daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Publish {
    /// The topic.
    pub topic: String,
    /// The payload: UTF-8 without NUL.
    pub data: Payload,
    /// What a browser dispatches the event as.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Keep it as the topic's retained event. Empty data removes the one that is kept.
    pub retain: bool,
    /// Milliseconds until the event is neither replayed nor retained any more.
    pub ttl_ms: Option<u64>,
    /// Deliver it to one client only, by id or name; live, never from history.
    pub to: Option<String>,
    /// When to answer.
    pub ack: Ack,
}

impl Publish {
    /// An event with a topic and data.
    pub fn new(topic: impl Into<String>, data: impl Into<String>) -> Publish {
        Publish { topic: topic.into(), data: Payload(data.into().into_bytes()), ..Publish::default() }
    }
}

/// When a publish is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// Never, unless it is refused.
    None,
    /// When the event is in history and on its way.
    #[default]
    Accepted,
    /// When the event is on disk.
    Durable,
}

/// A subscription.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Subscribe {
    /// Which topics; all but the bus's own if empty.
    pub filters: Vec<String>,
    /// Where to begin: `now`, `latest`, `all`, an event id, or a duration such as `10m`. Without it: the retained
    /// events, then live.
    pub since: Option<String>,
    /// What happens when the subscriber falls behind.
    pub slow: Slow,
    /// A name for this connection, by which it can be sent to and kicked.
    pub client: Option<String>,
    /// End with [`Reply::End`] once the past is told, instead of going on live.
    pub past_only: bool,
}

impl Subscribe {
    /// A subscription to some filters.
    pub fn new<S: Into<String>>(filters: impl IntoIterator<Item = S>) -> Subscribe {
        Subscribe { filters: filters.into_iter().map(Into::into).collect(), ..Subscribe::default() }
    }
}

/// What happens to a subscriber that its feed leaves behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slow {
    /// It goes on from history; what history no longer has is told as a gap.
    #[default]
    Gap,
    /// It jumps to now, with the newest event of each topic; the rest is told as a gap.
    Latest,
    /// It is disconnected, and replays when it comes back.
    Disconnect,
}

impl std::str::FromStr for Slow {
    type Err = String;

    fn from_str(text: &str) -> Result<Slow, String> {
        match text {
            "gap" => Ok(Slow::Gap),
            "latest" => Ok(Slow::Latest),
            "disconnect" => Ok(Slow::Disconnect),
            _ => Err(format!("`{text}` is none of gap, latest, disconnect")),
        }
    }
}

/// What the daemon answers. New kinds are added at the end: the binary codec counts them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// An event of the subscription. First, because [`EventReply`] mirrors it.
    Event(EventMessage),
    /// The event was taken.
    Published(Published),
    /// The subscription begins.
    Subscribed(Subscribed),
    /// The past is told; only after a subscription with [`Subscribe::past_only`].
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
}

/// [`Reply::Event`] without owning the event: what the daemon encodes.
#[cfg(feature = "bus")]
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventReply<'a> {
    Event(EventBody<'a>),
}

/// The envelope of an event, for encoding.
#[derive(Serialize)]
pub(crate) struct EventBody<'a> {
    id: EventId,
    topic: &'a str,
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    time: u64,
    data: &'a str,
}

impl<'a> From<&'a Event> for EventBody<'a> {
    fn from(event: &'a Event) -> EventBody<'a> {
        let Event { id, topic, kind, data, time } = event;
        EventBody { id: *id, topic: topic.as_str(), kind: kind.as_ref().map(EventType::as_str), time: *time, data }
    }
}

/// An event as a client receives it. A gap comes as an event of topic and type `$gap` whose data is a [`Gap`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventMessage {
    /// Its place in the order of the bus.
    pub id: EventId,
    /// What it is about.
    pub topic: String,
    /// What a browser dispatches it as.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// When the bus took it, in milliseconds since 1970 (UTC).
    pub time: u64,
    /// The payload.
    pub data: String,
}

/// The topic and the type of the event that tells a gap.
pub const GAP: &str = "$gap";

/// Events that a subscriber did not get and cannot get any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// How many, if the bus can know.
    pub missed: Option<u64>,
    /// The first id that may be among them.
    pub from: EventId,
    /// The last id among them.
    pub to: EventId,
}

/// Why there is a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// The answer to a publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The event's id.
    pub id: EventId,
    /// The live subscribers that it goes to; of a unicast the connections that took it.
    pub subscribers: u64,
}

/// The answer to a subscribe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// The connection's id as a client.
    pub client: String,
    /// The last event of the bus when the subscription began.
    pub position: EventId,
}

/// A connected client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// A topic that the bus knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Where history is kept: `memory`.
    pub history: String,
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
}

/// A request was refused: why, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What went wrong, for programs.
    pub code: ErrorCode,
    /// What went wrong and what to do, for people.
    pub message: String,
    /// The number of the request on its connection, from 1.
    pub request: u64,
}

impl Refused {
    /// A refusal that is not yet tied to a request.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Refused {
        Refused { code, message: message.into(), request: 0 }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.as_str())
    }
}

impl std::error::Error for Refused {}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What went wrong, for programs. Codes are never renamed; new ones may come.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// The code as it is written on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            fn from_text(text: &str) -> ErrorCode {
                match text { $($text => Self::$name,)* _ => Self::Other }
            }
        }
    };
}

error_codes! {
    /// The request could not be read.
    RequestInvalid = "request_invalid",
    /// A topic is not legal.
    TopicInvalid = "topic_invalid",
    /// A filter is not legal.
    FilterInvalid = "filter_invalid",
    /// A type is not legal.
    TypeInvalid = "type_invalid",
    /// The data is not UTF-8 or holds NUL.
    DataInvalid = "data_invalid",
    /// A place to begin is not legal.
    SinceInvalid = "since_invalid",
    /// A client's name is not legal.
    ClientInvalid = "client_invalid",
    /// No such client is connected.
    ClientUnknown = "client_unknown",
    /// The connection is a subscriber already.
    AlreadySubscribed = "already_subscribed",
    /// A durable acknowledgement was asked of a bus without disk history.
    NotDurable = "not_durable",
    /// The peer may not do that.
    Denied = "denied",
    /// The daemon is stopping.
    Stopping = "stopping",
    /// The event's data is too large.
    LimitEvent = "limit_event_bytes",
    /// The frame is too large.
    LimitFrame = "limit_frame_bytes",
    /// The line is too long.
    LimitLine = "limit_line_bytes",
    /// There are too many topics.
    LimitTopics = "limit_topics",
    /// There are too many subscribers.
    LimitSubscribers = "limit_subscribers",
    /// There are too many publishers.
    LimitPublishers = "limit_publishers",
    /// The retained events are too large together.
    LimitRetained = "limit_retained_bytes",
    /// A code that this version does not know.
    Other = "other",
}

impl ErrorCode {
    /// Whether a limit refused the request.
    pub fn is_limit(self) -> bool {
        self.as_str().starts_with("limit_")
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ErrorCode, D::Error> {
        Ok(ErrorCode::from_text(&String::deserialize(deserializer)?))
    }
}

/// The data of an event on its way to the daemon, which checks that it is UTF-8: a string in JSON, bytes in the
/// binary codec, so that bad data costs its sender an error and not the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload(pub Vec<u8>);

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&String::from_utf8_lossy(&self.0))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Payload, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Payload;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Payload, E> {
                Ok(Payload(text.as_bytes().to_vec()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Payload, E> {
                Ok(Payload(text.into_bytes()))
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Payload, E> {
                Ok(Payload(bytes.to_vec()))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Payload, E> {
                Ok(Payload(bytes))
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_string(Bytes)
        } else {
            deserializer.deserialize_byte_buf(Bytes)
        }
    }
}
