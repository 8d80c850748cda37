//! Messages of a stream, as the answer to a direct get has them.

use async_nats::HeaderMap;
use bytes::Bytes;
use sse_bus::{EventId, bus::LogEvent};

use super::{
    message::{Found, Origin},
    times::parse_rfc3339,
};
use crate::nats::Nats;

/// A message of an answer.
pub(super) struct Stored {
    pub(super) seq: u64,
    subject: String,
    pub(super) headers: HeaderMap,
    payload: Bytes,
    /// In milliseconds since 1970.
    time: u64,
}

impl Stored {
    pub(super) fn bytes(&self) -> usize {
        self.payload.len()
    }

    /// Returns the event, or None if no node has published the message.
    pub(super) fn into_event(self, nats: &Nats, id: EventId) -> Option<(LogEvent, Origin)> {
        let (topic, is_retained) = nats.names().topic(&self.subject)?;
        let Stored { headers, payload, time, .. } = &self;
        Found { topic, is_retained, headers, payload, time: *time }.into_event(id)
    }
}

/// Parses a message of an answer: what it is lies in its headers.
pub(super) fn parse(answer: async_nats::Message) -> Option<Stored> {
    let headers = answer.headers?;
    let text = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    let (seq, subject) = (text("Nats-Sequence")?.parse().ok()?, text("Nats-Subject")?);
    let time = text("Nats-Time-Stamp").and_then(|time| parse_rfc3339(&time)).unwrap_or_default();
    Some(Stored { seq, subject, headers, payload: answer.payload, time })
}
