//! Publishes that are numbered, so that a repeat is recognized, and events that are published later.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The number of a publish among those of one publisher. A publish whose number was used before is answered and publishes
/// nothing, so that a client can resend what has no reply.
///
/// The numbers of a publisher rise from 1, in the order in which it publishes. Two publishes never have the same number, unless
/// the second is a repeat of the first.
///
/// ```
/// use sse_bus::protocol::{Publish, PublisherId, Sequence};
///
/// let publisher = PublisherId::random();
/// let first = Publish::new("log", "started").with_sequence(Sequence { publisher, number: 1 });
/// assert_eq!(first.sequence.unwrap().number, 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    /// The publisher.
    pub publisher: PublisherId,
    /// The number, from 1.
    pub number: u64,
}

/// A name that a publisher draws at random for its numbers. In JSON it has 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublisherId(pub u64);

impl PublisherId {
    /// Returns a random name. Another publisher cannot guess it.
    #[cfg(feature = "client")]
    pub fn random() -> PublisherId {
        use std::hash::{BuildHasher as _, RandomState};
        // The keys of the hasher come from the random source of the system.
        PublisherId(RandomState::new().hash_one(std::process::id()))
    }
}

impl fmt::Display for PublisherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for PublisherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a [`PublisherId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a publisher is named by 16 hexadecimal digits, chosen at random")]
pub struct NotAPublisherId;

impl FromStr for PublisherId {
    type Err = NotAPublisherId;

    fn from_str(text: &str) -> Result<PublisherId, NotAPublisherId> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(text, 16).ok().filter(|_| is_hex).map(PublisherId).ok_or(NotAPublisherId)
    }
}

impl Serialize for PublisherId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublisherId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PublisherId, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The reply to a publish with a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Scheduled {
    /// The id of the schedule, by which it can be cancelled or replaced.
    pub schedule: String,
    /// When the event will be published, in milliseconds since 1970 (UTC).
    pub at: u64,
    /// The schedule is written to disk, and survives a restart of the daemon.
    #[serde(default)]
    pub persistent: bool,
}

impl Scheduled {
    /// Returns the reply for a schedule.
    pub fn new(schedule: impl Into<String>, at: u64, persistent: bool) -> Scheduled {
        Scheduled { schedule: schedule.into(), at, persistent }
    }
}

/// A schedule: an event that will be published later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ScheduleInfo {
    /// Its id.
    pub schedule: String,
    /// When the event will be published, in milliseconds since 1970 (UTC).
    pub at: u64,
    /// The topic of the event.
    pub topic: String,
    /// The type of the event.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// Bytes of the event's data.
    pub bytes: u64,
    /// When it was scheduled, in milliseconds since 1970 (UTC).
    pub created: u64,
    /// Why the bus could not publish the event when it was due. The bus tries again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl ScheduleInfo {
    /// Returns the description of a schedule of an event without type and data.
    pub fn new(schedule: impl Into<String>, at: u64, topic: impl Into<String>) -> ScheduleInfo {
        let (schedule, topic) = (schedule.into(), topic.into());
        ScheduleInfo { schedule, at, topic, event_type: None, bytes: 0, created: 0, refused: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_is_named_by_sixteen_digits() {
        for id in [PublisherId(0), PublisherId(u64::MAX), PublisherId(0x0123_4567_89ab_cdef)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "0", "0123456789abcde", "0123456789abcdefa", "+123456789abcdef", "0123456789abcdeg"] {
            assert_eq!(text.parse::<PublisherId>(), Err(NotAPublisherId), "{text}");
        }
    }
}
