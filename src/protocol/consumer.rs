//! Consumers, as requests and replies describe them. Durations are texts such as `30s`, as in flags.

use serde::{Deserialize, Serialize};

use super::{bounded, text_enum::text_enum};
use crate::{
    event::EventId,
    limits::{BACKOFF_MAX, FILTERS_MAX},
};

text_enum! {
    /// What happens when history has no room for another event that a consumer holds.
    #[derive(Default)]
    OnFull as "`refuse` or `drop`" {
        /// Publishes to the consumer's topics are refused with `limit_history`.
        #[default]
        Refuse = "refuse",
        /// The oldest held event is evicted, and the consumer receives a gap.
        Drop = "drop",
        /// A value that this version does not define.
        Other = "other",
    }
}

/// The settings of a consumer. A field that is absent has its default. The daemon validates all fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ConsumerConfig {
    /// The topics of its events; at least one filter.
    #[serde(deserialize_with = "bounded::list::<_, _, FILTERS_MAX>")]
    pub filters: Vec<String>,
    /// Where it begins: `now` (the default), `all`, `latest`, an event id, a duration such as `10m`, or a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Time from a delivery to its deadline. Default `30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack_wait: Option<String>,
    /// Number of attempts after which an event becomes a dead letter. Default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Time until the next attempt, after the first failure, the second, and so on. Default `1s`, `10s`, `1m`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "backoff")]
    pub backoff: Option<Vec<String>>,
    /// Maximum number of events in flight. Default 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u64>,
    /// What happens when history is full. Default `refuse`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_full: Option<OnFull>,
    /// How long it holds events without a worker. Default `7d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inactive_after: Option<String>,
}

fn backoff<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    bounded::list::<_, _, BACKOFF_MAX>(deserializer).map(Some)
}

impl ConsumerConfig {
    /// Returns the default settings for some filters.
    pub fn new<S: Into<String>>(filters: impl IntoIterator<Item = S>) -> ConsumerConfig {
        ConsumerConfig { filters: filters.into_iter().map(Into::into).collect(), ..ConsumerConfig::default() }
    }
}

/// An operation on one consumer. The reply is a [`Reply::Consumer`](super::Reply::Consumer) to `Show`, a
/// [`Reply::DeadLetters`](super::Reply::DeadLetters) to `Dead`, and to all others a [`Reply::Changed`](super::Reply::Changed) with
/// the number of consumers or dead letters that the operation has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ConsumerAction {
    /// Describe it.
    Show,
    /// Create it. If it exists with the same settings, nothing happens.
    Create(ConsumerConfig),
    /// Deliver nothing until it is resumed. Deliveries in flight continue.
    Pause,
    /// Deliver again.
    Resume,
    /// Continue at another position.
    Seek {
        /// The position, as in [`ConsumerConfig::from`].
        to: String,
    },
    /// Delete it, with its dead letters.
    Delete,
    /// List its dead letters, by id: at most [`DEAD_AT_ONCE`](crate::limits::DEAD_AT_ONCE), and about
    /// [`DEAD_BYTES_AT_ONCE`](crate::limits::DEAD_BYTES_AT_ONCE) bytes. An empty list means that there are no more.
    Dead {
        /// List only those after this event.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<EventId>,
    },
    /// Make dead letters ready to be delivered again.
    RetryDead(DeadSelection),
    /// Remove dead letters.
    DropDead(DeadSelection),
}

/// The dead letters of a consumer that an operation applies to; exactly one field is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DeadSelection {
    /// The dead letter of one event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<EventId>,
    /// Those whose topics match this filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// All of them.
    pub all: bool,
}

/// A consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// Its name.
    pub name: String,
    /// The topics of its events.
    pub filters: Vec<String>,
    /// Time from a delivery to its deadline.
    pub ack_wait: String,
    /// Number of attempts after which an event becomes a dead letter.
    pub max_attempts: u32,
    /// Time until the next attempt, after the first failure, the second, and so on.
    pub backoff: Vec<String>,
    /// Maximum number of events in flight.
    pub max_in_flight: u64,
    /// What happens when history is full.
    pub on_full: OnFull,
    /// How long it holds events without a worker.
    pub inactive_after: String,
    /// The id of the last event that was examined for it.
    pub position: String,
    /// Events that wait for their first delivery. A lower bound if `pending_exact` is false.
    pub pending: u64,
    /// All events of history were counted.
    pub pending_exact: bool,
    /// Deliveries in flight.
    pub in_flight: u64,
    /// Events that wait to be delivered again.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// Workers.
    pub workers: u64,
    /// Age of the oldest event that is not done, in milliseconds.
    pub oldest_ms: Option<u64>,
    /// It delivers nothing until it is resumed.
    pub paused: bool,
    /// It holds its events. False after `inactive_after` without a worker.
    pub holding: bool,
    /// Deliveries so far, repeated ones included.
    pub delivered: u64,
    /// Deliveries so far of an event that was delivered before.
    pub redelivered: u64,
    /// Events done so far.
    pub acknowledged: u64,
    /// Events that became dead letters so far.
    pub died: u64,
    /// Events whose TTL ended before their first delivery, so far.
    pub expired: u64,
    /// Events that history evicted before they were done, so far.
    pub missed: u64,
    /// When it was created, in milliseconds since 1970 (UTC).
    pub created: u64,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The id of the event.
    pub id: EventId,
    /// Why it is dead: `attempts`, `rejected` or `expired`.
    pub reason: String,
    /// The text with which a worker has rejected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Attempts.
    pub attempts: u32,
    /// The worker of the last attempt.
    #[serde(default)]
    pub worker: Option<String>,
    /// Since when it is dead, in milliseconds since 1970 (UTC).
    pub since: u64,
    /// Its topic, if the event is still available.
    #[serde(default)]
    pub topic: Option<String>,
    /// Its data, if the event is available and the caller may receive it.
    #[serde(default)]
    pub data: Option<String>,
}

impl DeadLetter {
    /// Returns a dead letter without the fields that may be absent.
    pub fn new(id: EventId, reason: impl Into<String>, attempts: u32, since: u64) -> DeadLetter {
        DeadLetter { id, reason: reason.into(), text: None, attempts, worker: None, since, topic: None, data: None }
    }
}

/// A request to become a worker of a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Consume {
    /// The name of the consumer.
    pub consumer: String,
    /// Maximum number of deliveries in flight on this connection. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u64>,
    /// A name for this connection, which dead letters show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

impl Consume {
    /// Returns a request to take one delivery at a time.
    pub fn new(consumer: impl Into<String>) -> Consume {
        Consume { consumer: consumer.into(), ..Consume::default() }
    }

    /// Sets the maximum number of deliveries in flight.
    #[must_use]
    pub fn with_max_in_flight(self, max_in_flight: u64) -> Consume {
        Consume { max_in_flight: Some(max_in_flight), ..self }
    }

    /// Sets the name of this connection.
    #[must_use]
    pub fn with_client(self, client: impl Into<String>) -> Consume {
        Consume { client: Some(client.into()), ..self }
    }
}

/// The reply to a [`Consume`]. Deliveries follow as [`Reply::Event`](super::Reply::Event)s with
/// [`delivery`](super::EventMessage::delivery).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Consuming {
    /// The id of this connection, as a client.
    pub client: String,
    /// The name of the consumer.
    pub consumer: String,
}

impl Consuming {
    /// Returns the reply to the client with this id.
    pub fn new(client: impl Into<String>, consumer: impl Into<String>) -> Consuming {
        Consuming { client: client.into(), consumer: consumer.into() }
    }
}

/// One attempt to have an event processed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Delivery {
    /// The token, by which the worker acknowledges it.
    pub token: String,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// The time by which the worker must acknowledge it, in milliseconds since 1970 (UTC).
    pub deadline: u64,
}

impl Delivery {
    /// Returns a delivery.
    pub fn new(token: impl Into<String>, attempt: u32, deadline: u64) -> Delivery {
        Delivery { token: token.into(), attempt, deadline }
    }
}
