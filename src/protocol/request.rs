//! What clients ask: one request a frame or a line.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use super::bounded;
use crate::{headers::unchecked, limits::FILTERS_MAX};

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
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
    /// Tell the daemon's configuration.
    Config {},
}

/// One event to publish. Everything is checked by the daemon.
///
/// ```
/// use std::time::Duration;
/// use sse_bus::protocol::Publish;
///
/// let publish = Publish::new("build/web", "ok")
///     .with_type("done")
///     .with_header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
///     .with_ttl(Duration::from_secs(600))
///     .retained();
/// assert_eq!(publish.ttl_ms, Some(600_000));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Publish {
    /// The topic.
    pub topic: String,
    /// The payload: UTF-8 without NUL.
    pub data: Payload,
    /// What a browser dispatches the event as.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Named texts beside the data; what is legal says [`Headers`](crate::Headers).
    #[serde(with = "unchecked", skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
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
    pub fn new(topic: impl Into<String>, data: impl Into<Payload>) -> Publish {
        Publish { topic: topic.into(), data: data.into(), ..Publish::default() }
    }

    /// Gives it a type, by which a browser dispatches it.
    #[must_use]
    pub fn with_type(self, kind: impl Into<String>) -> Publish {
        Publish { kind: Some(kind.into()), ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Publish {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Keeps it as the topic's retained event.
    #[must_use]
    pub fn retained(self) -> Publish {
        Publish { retain: true, ..self }
    }

    /// Lets it be neither replayed nor retained after a while.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Publish {
        Publish { ttl_ms: Some(ttl.as_millis().try_into().unwrap_or(u64::MAX)), ..self }
    }

    /// Sends it to one client only, by id or name.
    #[must_use]
    pub fn to_client(self, client: impl Into<String>) -> Publish {
        Publish { to: Some(client.into()), ..self }
    }

    /// Chooses when it is answered.
    #[must_use]
    pub fn with_ack(self, ack: Ack) -> Publish {
        Publish { ack, ..self }
    }
}

/// When a publish is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
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
#[non_exhaustive]
pub struct Subscribe {
    /// Which topics; all but the bus's own if empty. Of more than fit one subscription a decoder keeps only so many that it
    /// can be told.
    #[serde(deserialize_with = "bounded::list::<_, _, FILTERS_MAX>")]
    pub filters: Vec<String>,
    /// Where to begin: `now`, `latest`, `all`, an event id, or a duration such as `10m`. Without it: the retained
    /// events, then live.
    pub since: Option<String>,
    /// What happens when the subscriber falls behind.
    pub slow: Slow,
    /// A name for this connection, by which it can be sent to and kicked.
    pub client: Option<String>,
    /// End with [`Reply::End`](super::Reply::End) once the past is told, instead of going on live.
    pub past_only: bool,
}

impl Subscribe {
    /// A subscription to some filters.
    pub fn new<S: Into<String>>(filters: impl IntoIterator<Item = S>) -> Subscribe {
        Subscribe { filters: filters.into_iter().map(Into::into).collect(), ..Subscribe::default() }
    }

    /// Chooses where it begins.
    #[must_use]
    pub fn with_since(self, since: impl Into<String>) -> Subscribe {
        Subscribe { since: Some(since.into()), ..self }
    }

    /// Chooses what happens when the subscriber falls behind.
    #[must_use]
    pub fn with_slow(self, slow: Slow) -> Subscribe {
        Subscribe { slow, ..self }
    }

    /// Names this connection, so that it can be sent to and kicked.
    #[must_use]
    pub fn with_client(self, client: impl Into<String>) -> Subscribe {
        Subscribe { client: Some(client.into()), ..self }
    }

    /// Ends it once the past is told.
    #[must_use]
    pub fn past_only(self) -> Subscribe {
        Subscribe { past_only: true, ..self }
    }
}

/// What happens to a subscriber that its feed leaves behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
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

/// The data of an event on its way to the daemon, which checks that it is UTF-8: bytes in the binary codec, so that bad
/// data costs its sender an error and not the connection.
///
/// In JSON a string is itself, and any other value its text, as it was written. For this the JSON text must be at hand:
/// `serde_json` reads it, but not from a [`serde_json::Value`], nor behind `#[serde(flatten)]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload(pub Vec<u8>);

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Payload(bytes)
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Payload {
        Payload(text.into_bytes())
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Payload {
        Payload(text.into())
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(&self.0))
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Payload, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        if !json.get().starts_with('"') {
            return Ok(json.get().into());
        }
        serde_json::from_str::<String>(json.get()).map(Payload::from).map_err(|e| {
            // The position within the string says nothing; that in the line is added.
            let what = e.to_string();
            de::Error::custom(format_args!("{} in the data", what.split(" at line ").next().unwrap_or_default()))
        })
    }
}
