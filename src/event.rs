//! Events: what travels on the bus, and the ids by which subscribers find their place again.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{headers::Headers, limits::TYPE_MAX, topic::Topic};

/// The name of one unbroken history. Ids of different epochs cannot be compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch {
    len: u8,
    text: [u8; Epoch::MAX],
}

impl Epoch {
    /// The most characters an epoch has.
    pub const MAX: usize = 15;

    /// Parses 1 to [`Epoch::MAX`] characters of `[a-z0-9]`.
    pub fn parse(text: &str) -> Option<Epoch> {
        let fits = (1..=Self::MAX).contains(&text.len());
        if !fits || !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return None;
        }
        let mut epoch = Epoch { len: text.len() as u8, text: [0; Self::MAX] };
        epoch.text[..text.len()].copy_from_slice(text.as_bytes());
        Some(epoch)
    }

    /// An epoch made of the low 40 bits of `seed`, as eight characters. Take the seed from a random source:
    /// an epoch must not come again.
    pub fn from_seed(seed: u64) -> Epoch {
        let mut rest = seed & ((1 << 40) - 1);
        let mut epoch = Epoch { len: 8, text: [0; Self::MAX] };
        for place in epoch.text[..8].iter_mut().rev() {
            *place = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
            rest /= 36;
        }
        epoch
    }

    /// The epoch as text.
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

/// The id of an event: `<epoch>-<seq>`. Within an epoch, `seq` counts every event of the bus from 1;
/// `seq` 0 names the place before the first.
///
/// ```
/// let id: sse_bus::EventId = "k3f9-184".parse().unwrap();
/// assert_eq!((id.epoch.as_str(), id.seq), ("k3f9", 184));
/// assert_eq!(id.to_string(), "k3f9-184");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    /// Which history the id belongs to.
    pub epoch: Epoch,
    /// The event's number in it.
    pub seq: u64,
}

impl EventId {
    /// Appends the id as text. Every delivery of an event from history writes one, and formatting would take longer
    /// than all the rest of it.
    pub(crate) fn append_to(self, out: &mut Vec<u8>) {
        let mut digits = [0; 20];
        let (mut first, mut rest) = (digits.len(), self.seq);
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        out.extend_from_slice(&self.epoch.text[..self.epoch.len.into()]);
        out.push(b'-');
        out.extend_from_slice(&digits[first..]);
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

/// The text is no event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnEventId;

impl fmt::Display for NotAnEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an event id; ids look like `k3f9-184`")
    }
}

impl std::error::Error for NotAnEventId {}

impl FromStr for EventId {
    type Err = NotAnEventId;

    fn from_str(text: &str) -> Result<EventId, NotAnEventId> {
        let (epoch, seq) = text.split_once('-').ok_or(NotAnEventId)?;
        // One spelling per id: no sign, no leading zero.
        let canonical = seq == "0" || seq.starts_with(|c: char| ('1'..='9').contains(&c));
        match (Epoch::parse(epoch), seq.parse()) {
            (Some(epoch), Ok(seq)) if canonical => Ok(EventId { epoch, seq }),
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

/// The type of an event: what an `EventSource` calls the event's name. 1 to [`TYPE_MAX`] bytes without
/// CR, LF and NUL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventType(Box<str>);

impl EventType {
    /// Parses a type that a publisher gives. Types that begin with `$` belong to the bus.
    pub fn parse(text: &str) -> Result<EventType, TypeError> {
        match text {
            "" => Err(TypeError::Empty),
            _ if text.len() > TYPE_MAX => Err(TypeError::TooLong(text.len())),
            _ if text.starts_with('$') => Err(TypeError::Reserved),
            _ if text.contains(['\r', '\n', '\0']) => Err(TypeError::LineBreak),
            _ => Ok(EventType(text.into())),
        }
    }

    /// The type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no event type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeError {
    /// Nothing at all.
    Empty,
    /// Longer than [`TYPE_MAX`] bytes; holds the length found.
    TooLong(usize),
    /// Begins with `$`.
    Reserved,
    /// Holds CR, LF or NUL.
    LineBreak,
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty; leave the type out instead"),
            Self::TooLong(n) => write!(f, "it has {n} bytes; at most {TYPE_MAX} are allowed"),
            Self::Reserved => f.write_str("types that begin with `$` belong to the bus; choose another name"),
            Self::LineBreak => f.write_str("it holds CR, LF or NUL; remove them"),
        }
    }
}

impl std::error::Error for TypeError {}

/// Why a text cannot be the data of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataError {
    /// Not UTF-8; holds where the first bad byte stands.
    NotUtf8(usize),
    /// A NUL; holds where the first one stands.
    Nul(usize),
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8(at) => write!(f, "byte {at} is not UTF-8; encode binary data, for example with base64"),
            Self::Nul(at) => write!(f, "byte {at} is NUL; encode binary data, for example with base64"),
        }
    }
}

impl std::error::Error for DataError {}

/// Checks the data of an event: UTF-8 without NUL.
pub fn check_data(bytes: Vec<u8>) -> Result<String, DataError> {
    let text = String::from_utf8(bytes).map_err(|e| DataError::NotUtf8(e.utf8_error().valid_up_to()))?;
    match memchr::memchr(0, text.as_bytes()) {
        Some(at) => Err(DataError::Nul(at)),
        None => Ok(text),
    }
}

/// One event, as the bus keeps it. Immutable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Its place in the order of the bus.
    pub id: EventId,
    /// What it is about.
    pub topic: Topic,
    /// What a browser dispatches it as; `message` without.
    pub kind: Option<EventType>,
    /// Named texts beside the data.
    pub headers: Headers,
    /// The payload: text without NUL.
    pub data: String,
    /// When the bus took it, in milliseconds since 1970 (UTC).
    pub time: u64,
}

impl Event {
    /// An event without type and headers. [`check_data`] checks the data of one from outside.
    pub fn new(id: EventId, topic: Topic, data: impl Into<String>, time: u64) -> Event {
        Event { id, topic, kind: None, headers: Headers::default(), data: data.into(), time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_appended_as_they_are_shown() {
        for seq in [0, 9, 10, 1234, u64::MAX] {
            let id = EventId { epoch: Epoch::from_seed(seq), seq };
            let mut appended = Vec::new();
            id.append_to(&mut appended);
            assert_eq!(appended, id.to_string().as_bytes());
        }
    }
}
