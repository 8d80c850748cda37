//! What clients ask: one request a frame or a line.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::FILTERS_MAX;

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
    /// Tell the daemon's configuration.
    Config {},
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
    /// Which topics; all but the bus's own if empty. Of more than fit one subscription a decoder keeps only so many that it
    /// can be told.
    #[serde(deserialize_with = "few")]
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
}

/// Reads a list of filters to its end. An empty one takes a byte of a frame, and two dozen in memory.
fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Few;
    impl<'de> de::Visitor<'de> for Few {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of filters")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut filters = Vec::new();
            while let Some(filter) = list.next_element()? {
                if filters.len() <= FILTERS_MAX {
                    filters.push(filter);
                }
            }
            Ok(filters)
        }
    }
    deserializer.deserialize_seq(Few)
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
