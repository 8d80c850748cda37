//! Requests of clients: one request per frame or line.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    bounded,
    consumer::{Consume, ConsumerAction},
    exchange::{ReplyTo, RequestMessage, Respond},
    payload::Payload,
    schedule::Sequence,
};
use crate::{
    headers::unchecked,
    limits::{FILTERS_MAX, SETTLE_MAX},
    time::whole_millis,
};

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Request {
    /// Publish one event.
    Publish(Publish),
    /// Turn the connection into a subscriber; at most once per connection.
    Subscribe(Subscribe),
    /// List the clients.
    Clients {},
    /// List the nodes of the bus.
    Nodes {},
    /// List the topics.
    Topics {},
    /// Close every connection of a client.
    Kick {
        /// The id or name of the client.
        client: String,
        /// Milliseconds for which the client is kept out, by its name or else by its token or local process.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    /// Report the state of the daemon.
    Status {},
    /// Report the configuration of the daemon.
    Config {},
    /// List the consumers.
    Consumers {},
    /// Inspect or change a consumer.
    Consumer {
        /// Its name.
        name: String,
        /// What to do.
        action: ConsumerAction,
    },
    /// Turn the connection into a worker of a consumer; at most once per connection.
    Consume(Consume),
    /// Acknowledge deliveries: their events are done.
    Ack {
        /// The tokens of the deliveries.
        #[serde(deserialize_with = "bounded::list::<_, _, SETTLE_MAX>")]
        tokens: Vec<String>,
    },
    /// Report that attempts have failed. The events are delivered again.
    Nak {
        /// The tokens of the deliveries.
        #[serde(deserialize_with = "bounded::list::<_, _, SETTLE_MAX>")]
        tokens: Vec<String>,
        /// Milliseconds until the next attempt, instead of the back-off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delay_ms: Option<u64>,
    },
    /// Move the deadlines of deliveries to `ack_wait` from now.
    Extend {
        /// The tokens of the deliveries.
        #[serde(deserialize_with = "bounded::list::<_, _, SETTLE_MAX>")]
        tokens: Vec<String>,
    },
    /// Make the events of deliveries dead letters.
    Reject {
        /// The tokens of the deliveries.
        #[serde(deserialize_with = "bounded::list::<_, _, SETTLE_MAX>")]
        tokens: Vec<String>,
        /// Why they cannot be processed.
        #[serde(default)]
        reason: String,
    },
    /// Return deliveries. Their attempts do not count.
    Release {
        /// The tokens of the deliveries.
        #[serde(deserialize_with = "bounded::list::<_, _, SETTLE_MAX>")]
        tokens: Vec<String>,
    },
    /// Send a request, and answer with the replies of responders.
    Request(RequestMessage),
    /// Turn the connection into a responder; at most once per connection.
    Respond(Respond),
    /// Reply to a request.
    Reply(ReplyTo),
    /// List the schedules.
    Schedules {},
    /// Cancel a schedule.
    CancelSchedule {
        /// Its id.
        schedule: String,
    },
}

/// An event to publish. The daemon validates all fields.
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
    /// The data: UTF-8 without NUL.
    pub data: Payload,
    /// The type, by which a browser dispatches the event.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// The headers; see [`Headers`](crate::Headers) for what is allowed.
    #[serde(with = "unchecked", skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Keep it as the topic's retained event. Empty data removes the retained event instead.
    pub retain: bool,
    /// Milliseconds after which the event is no longer replayed or retained.
    pub ttl_ms: Option<u64>,
    /// Deliver it to one client only, by id or name. Such an event is live only and never stored in history.
    pub to: Option<String>,
    /// When the daemon answers.
    pub ack: Ack,
    /// A name for this publish. A publish with the same name and topic within two minutes is answered with the id of this one
    /// and publishes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup_id: Option<String>,
    /// The number of this publish, by which a repeat is recognized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    /// Milliseconds after which the event is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_ms: Option<u64>,
    /// When the event is published, in milliseconds since 1970 (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// The id of the schedule, which replaces one with the same id. Only with `in_ms` or `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_id: Option<String>,
}

impl Publish {
    /// Returns an event with a topic and data.
    pub fn new(topic: impl Into<String>, data: impl Into<Payload>) -> Publish {
        Publish { topic: topic.into(), data: data.into(), ..Publish::default() }
    }

    /// Sets the type, by which a browser dispatches the event.
    #[must_use]
    pub fn with_type(self, event_type: impl Into<String>) -> Publish {
        Publish { event_type: Some(event_type.into()), ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Publish {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Makes it the topic's retained event.
    #[must_use]
    pub fn retained(self) -> Publish {
        Publish { retain: true, ..self }
    }

    /// Sets the time after which the event is no longer replayed or retained.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Publish {
        Publish { ttl_ms: Some(whole_millis(ttl)), ..self }
    }

    /// Sends it to one client only, by id or name.
    #[must_use]
    pub fn to_client(self, client: impl Into<String>) -> Publish {
        Publish { to: Some(client.into()), ..self }
    }

    /// Sets when the daemon answers.
    #[must_use]
    pub fn with_ack(self, ack: Ack) -> Publish {
        Publish { ack, ..self }
    }

    /// Sets the name by which a repeat within two minutes is recognized.
    #[must_use]
    pub fn with_dedup_id(self, dedup_id: impl Into<String>) -> Publish {
        Publish { dedup_id: Some(dedup_id.into()), ..self }
    }

    /// Sets the number by which a repeat is recognized.
    #[must_use]
    pub fn with_sequence(self, sequence: Sequence) -> Publish {
        Publish { sequence: Some(sequence), ..self }
    }

    /// Publishes the event after a time.
    #[must_use]
    pub fn after(self, time: Duration) -> Publish {
        Publish { in_ms: Some(whole_millis(time)), ..self }
    }

    /// Publishes the event at a time, in milliseconds since 1970 (UTC).
    #[must_use]
    pub fn at(self, time: u64) -> Publish {
        Publish { at: Some(time), ..self }
    }

    /// Sets the id of the schedule, which replaces one with the same id.
    #[must_use]
    pub fn with_schedule_id(self, id: impl Into<String>) -> Publish {
        Publish { schedule_id: Some(id.into()), ..self }
    }

    /// Returns true if the event is published later.
    pub fn is_scheduled(&self) -> bool {
        self.in_ms.is_some() || self.at.is_some() || self.schedule_id.is_some()
    }
}

/// When the daemon answers a publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ack {
    /// Never, unless the event is refused.
    None,
    /// When the event is in history and queued for delivery.
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
    /// The filters; without any, all topics except those of the bus itself. Of more than [`FILTERS_MAX`] filters a
    /// decoder stores one too many, so that the subscription is refused.
    #[serde(deserialize_with = "bounded::list::<_, _, FILTERS_MAX>")]
    pub filters: Vec<String>,
    /// The start: `now`, `latest`, `all`, an event id, or a duration such as `10m`. The default is the retained events,
    /// then live events.
    pub since: Option<String>,
    /// What happens if the subscriber falls behind.
    pub slow: Slow,
    /// A name for this connection. Other clients use it to send events to the connection or to disconnect it.
    pub client: Option<String>,
    /// End with [`Reply::End`](super::Reply::End) after the past events, instead of continuing with live ones.
    pub past_only: bool,
}

impl Subscribe {
    /// Returns a subscription to these filters.
    pub fn new<S: Into<String>>(filters: impl IntoIterator<Item = S>) -> Subscribe {
        Subscribe { filters: filters.into_iter().map(Into::into).collect(), ..Subscribe::default() }
    }

    /// Sets the start.
    #[must_use]
    pub fn with_since(self, since: impl Into<String>) -> Subscribe {
        Subscribe { since: Some(since.into()), ..self }
    }

    /// Sets what happens if the subscriber falls behind.
    #[must_use]
    pub fn with_slow(self, slow: Slow) -> Subscribe {
        Subscribe { slow, ..self }
    }

    /// Sets the name of this connection.
    #[must_use]
    pub fn with_client(self, client: impl Into<String>) -> Subscribe {
        Subscribe { client: Some(client.into()), ..self }
    }

    /// Ends it after the past events.
    #[must_use]
    pub fn past_only(self) -> Subscribe {
        Subscribe { past_only: true, ..self }
    }
}

/// What happens to a subscriber that falls behind its feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Slow {
    /// It continues from history; events that history no longer has are reported as a gap.
    #[default]
    Gap,
    /// It skips to the newest event of each topic; the events in between are reported as a gap.
    Latest,
    /// It is disconnected, and can resume from history when it reconnects.
    Disconnect,
}

impl Slow {
    /// Returns the policy as it appears on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Slow::Gap => "gap",
            Slow::Latest => "latest",
            Slow::Disconnect => "disconnect",
        }
    }
}

/// The text is not a [`Slow`]. Contains the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of gap, latest, disconnect")]
pub struct InvalidSlow(String);

impl std::str::FromStr for Slow {
    type Err = InvalidSlow;

    fn from_str(text: &str) -> Result<Slow, InvalidSlow> {
        match text {
            "gap" => Ok(Slow::Gap),
            "latest" => Ok(Slow::Latest),
            "disconnect" => Ok(Slow::Disconnect),
            _ => Err(InvalidSlow(text.into())),
        }
    }
}
