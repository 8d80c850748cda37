//! Events, and their ids, by which subscribers resume.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{headers::Headers, limits::TYPE_MAX, topic::Topic};

/// The name of one uninterrupted history. Ids of different epochs cannot be compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch {
    len: u8,
    text: [u8; Epoch::MAX],
}

impl Epoch {
    /// The maximum number of characters.
    pub const MAX: usize = 15;

    /// Parses 1 to [`Epoch::MAX`] characters of `[a-z0-9]`. Returns `None` for any other text.
    pub fn parse(text: &str) -> Option<Epoch> {
        let fits = (1..=Self::MAX).contains(&text.len());
        if !fits || !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return None;
        }
        let mut epoch = Epoch { len: text.len() as u8, text: [0; Self::MAX] };
        epoch.text[..text.len()].copy_from_slice(text.as_bytes());
        Some(epoch)
    }

    /// Returns an epoch of eight characters from the low 40 bits of `seed`. The seed must come from a random source,
    /// because an epoch must never repeat.
    pub fn from_seed(seed: u64) -> Epoch {
        let mut rest = seed & ((1 << 40) - 1);
        let mut epoch = Epoch { len: 8, text: [0; Self::MAX] };
        for character in epoch.text[..8].iter_mut().rev() {
            *character = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
            rest /= 36;
        }
        epoch
    }

    /// Returns the epoch as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.text[..self.len.into()]).unwrap_or_default()
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The check of an id: [`Check::LEN`] characters of `[a-z0-9]`, drawn at random for each event of a shared log.
///
/// The servers of such a log may assign a sequence number again after they have lost the newest events. Another check shows that
/// the event with this number is another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Check([u8; Check::LEN]);

impl Check {
    /// The number of characters.
    pub const LEN: usize = 4;

    /// Parses a check. Returns `None` for any other text.
    pub fn parse(text: &str) -> Option<Check> {
        let check = <[u8; Self::LEN]>::try_from(text.as_bytes()).ok()?;
        check.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()).then_some(Check(check))
    }

    /// Returns a check that is chosen by a seed, which must come from a random source.
    pub fn from_seed(seed: u32) -> Check {
        let mut rest = seed;
        Check([0; Self::LEN].map(|_: u8| {
            let character = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
            rest /= 36;
            character
        }))
    }

    /// Returns the check as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The id of an event: `<epoch>-<seq>`, on a log that several daemons share `<epoch>-<seq>-<check>`. Within an epoch, `seq` counts
/// all events of the bus from 1; `seq` 0 is the position before the first event.
///
/// ```
/// let id: sse_bus::EventId = "k3f9-184".parse().unwrap();
/// assert_eq!((id.epoch.as_str(), id.seq), ("k3f9", 184));
/// assert_eq!(id.to_string(), "k3f9-184");
/// let shared: sse_bus::EventId = "k3f9-184-x7q2".parse().unwrap();
/// assert_eq!(shared.check.unwrap().as_str(), "x7q2");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    /// The history that the id belongs to.
    pub epoch: Epoch,
    /// The number of the event in that history.
    pub seq: u64,
    /// Distinguishes the event from others that a shared log has had with the same number.
    pub check: Option<Check>,
}

impl EventId {
    /// Returns an id without a check.
    pub const fn new(epoch: Epoch, seq: u64) -> EventId {
        EventId { epoch, seq, check: None }
    }

    /// Returns the position with another number, of which the check is unknown.
    #[must_use]
    pub const fn at(self, seq: u64) -> EventId {
        EventId::new(self.epoch, seq)
    }

    /// Appends the id as text. Faster than `Display`, which would dominate the cost of a delivery from history.
    pub(crate) fn append_to(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.text[..self.epoch.len.into()]);
        out.push(b'-');
        out.extend_from_slice(itoa::Buffer::new().format(self.seq).as_bytes());
        if let Some(check) = self.check {
            out.push(b'-');
            out.extend_from_slice(&check.0);
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)?;
        self.check.map_or(Ok(()), |check| write!(f, "-{}", check.as_str()))
    }
}

/// The text is not an event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an event id; ids look like `k3f9-184`")]
pub struct NotAnEventId;

impl FromStr for EventId {
    type Err = NotAnEventId;

    fn from_str(text: &str) -> Result<EventId, NotAnEventId> {
        let (epoch, seq) = text.split_once('-').ok_or(NotAnEventId)?;
        let (seq, check) = match seq.split_once('-') {
            Some((seq, check)) => (seq, Some(Check::parse(check).ok_or(NotAnEventId)?)),
            None => (seq, None),
        };
        // One spelling per id: no sign, no leading zero.
        let canonical = seq == "0" || seq.starts_with(|c: char| ('1'..='9').contains(&c));
        match (Epoch::parse(epoch), seq.parse()) {
            (Some(epoch), Ok(seq)) if canonical => Ok(EventId { epoch, seq, check }),
            _ => Err(NotAnEventId),
        }
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EventId, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = EventId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event id")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<EventId, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The type of an event, which an `EventSource` uses as the name of the event. 1 to [`TYPE_MAX`] bytes without CR, LF
/// and NUL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventType(Box<str>);

impl EventType {
    /// Parses the type of a published event. Types that begin with `$` are reserved for the bus.
    pub fn parse(text: &str) -> Result<EventType, TypeError> {
        match text {
            "" => Err(TypeError::Empty),
            _ if text.len() > TYPE_MAX => Err(TypeError::TooLong(text.len())),
            _ if text.starts_with('$') => Err(TypeError::Reserved),
            _ if text.contains(['\r', '\n', '\0']) => Err(TypeError::LineBreak),
            _ => Ok(EventType(text.into())),
        }
    }

    /// Returns the type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not an event type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// The text is empty.
    #[error("it is empty; leave the type out instead")]
    Empty,
    /// The text is longer than [`TYPE_MAX`] bytes. Contains its length.
    #[error("it has {0} bytes; at most {TYPE_MAX} are allowed")]
    TooLong(usize),
    /// The text begins with `$`.
    #[error("types that begin with `$` belong to the bus; choose another name")]
    Reserved,
    /// The text contains CR, LF or NUL.
    #[error("it contains CR, LF or NUL; remove them")]
    LineBreak,
}

/// Why bytes cannot be the data of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// The data is not UTF-8. Contains the position of the first invalid byte.
    #[error("byte {0} is not UTF-8; encode binary data, for example with base64")]
    NotUtf8(usize),
    /// The data contains NUL. Contains the position of the first one.
    #[error("byte {0} is NUL; encode binary data, for example with base64")]
    Nul(usize),
}

/// Converts the data of an event to text.
///
/// # Errors
///
/// Returns [`DataError`] if the data is not UTF-8 or contains NUL.
pub fn check_data(bytes: Vec<u8>) -> Result<String, DataError> {
    let text = String::from_utf8(bytes).map_err(|e| DataError::NotUtf8(e.utf8_error().valid_up_to()))?;
    match memchr::memchr(0, text.as_bytes()) {
        Some(at) => Err(DataError::Nul(at)),
        None => Ok(text),
    }
}

/// An event. Immutable once published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The id, which defines the order of events.
    pub id: EventId,
    /// The topic.
    pub topic: Topic,
    /// The type, by which a browser dispatches the event; `message` if there is none.
    pub event_type: Option<EventType>,
    /// The headers.
    pub headers: Headers,
    /// The data: text without NUL.
    pub data: String,
    /// When the event was published, in milliseconds since 1970 (UTC).
    pub time: u64,
}

impl Event {
    /// Returns an event without type and headers. Data from outside must be validated with [`check_data`] first.
    pub fn new(id: EventId, topic: Topic, data: impl Into<String>, time: u64) -> Event {
        Event { id, topic, event_type: None, headers: Headers::default(), data: data.into(), time }
    }

    /// Returns an event with all fields, as [`Event::fields`] returns them. For code that stores events: a new field changes
    /// both signatures, so that code which would lose it does not compile. No part of the stable API.
    #[doc(hidden)]
    pub fn from_fields(
        (id, topic, event_type, headers, data, time): (EventId, Topic, Option<EventType>, Headers, String, u64),
    ) -> Event {
        Event { id, topic, event_type, headers, data, time }
    }

    /// Returns all fields. See [`Event::from_fields`].
    #[doc(hidden)]
    pub fn fields(&self) -> (EventId, &Topic, Option<&EventType>, &Headers, &str, u64) {
        let Event { id, topic, event_type, headers, data, time } = self;
        (*id, topic, event_type.as_ref(), headers, data, *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_appended_id_equals_its_display() {
        for seq in [0, 9, 10, 1234, u64::MAX] {
            let id = EventId::new(Epoch::from_seed(seq), seq);
            let mut appended = Vec::new();
            id.append_to(&mut appended);
            assert_eq!(appended, id.to_string().as_bytes());
        }
    }
}
