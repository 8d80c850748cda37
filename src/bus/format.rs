//! The encodings in which feeds carry events. Each event is encoded once for each format that somebody wants.

use crate::{
    event::{Event, EventId, EventType},
    protocol::{END, EventBody, EventMessage, EventReply, GAP, Gap, Reply, binary::Version, json, sse},
};

/// How a subscriber receives events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Server-Sent Events, the data as published.
    SseData,
    /// Server-Sent Events, an envelope as data.
    SseJson,
    /// JSON lines of the local socket.
    Json,
    /// Binary frames of the local socket, version 1.
    BinaryV1,
    /// Binary frames of the local socket, version 2.
    BinaryV2,
}

impl Format {
    /// How many formats there are.
    pub(super) const COUNT: usize = 5;

    /// Binary frames of a version.
    pub fn binary(version: Version) -> Format {
        match version {
            Version::V1 => Format::BinaryV1,
            Version::V2 => Format::BinaryV2,
        }
    }

    /// Whether idle streams of this format carry heartbeats. The local socket tells of a dead peer without them.
    pub fn has_heartbeat(self) -> bool {
        matches!(self, Format::SseData | Format::SseJson)
    }

    /// The way in, for descriptions of clients.
    pub fn via(self) -> &'static str {
        match self {
            Format::SseData | Format::SseJson => "sse",
            Format::Json => "json",
            Format::BinaryV1 | Format::BinaryV2 => "binary",
        }
    }

    /// Appends an event as this format writes it.
    pub fn encode(self, event: &Event, out: &mut Vec<u8>) {
        match self {
            Format::SseData => sse::encode_data(event, out),
            Format::SseJson => sse::encode_json(event, out),
            Format::Json => json::encode(&EventReply::Event(EventBody::from(event)), out),
            Format::BinaryV1 => whole(Version::V1.encode_event(event, out)),
            Format::BinaryV2 => whole(Version::V2.encode_event(event, out)),
        }
    }

    /// Appends an event that is live only: it has no id of its own. Version 1 of the binary protocol has no event without
    /// one, and gets the event's `id`, which is the position of the log. `to` is the address of an event for one
    /// client. The envelope for browsers contains it, so that tabs that share a connection recognize events for all of them.
    pub fn encode_live(self, to: Option<&str>, event: &Event, out: &mut Vec<u8>) {
        match self {
            Format::SseData => sse::encode(None, event.event_type.as_ref().map(EventType::as_str), &event.data, out),
            Format::SseJson => sse::encode_live_json(to, event, out),
            Format::Json => json::encode(&EventReply::Event(EventBody::live(event)), out),
            Format::BinaryV1 => whole(Version::V1.encode_live_event(event, out)),
            Format::BinaryV2 => whole(Version::V2.encode_live_event(event, out)),
        }
    }

    /// Appends a gap: an event of type `$gap` with the id from which a subscriber that comes back goes on.
    pub fn encode_gap(self, gap: &Gap, id: EventId, time: u64, out: &mut Vec<u8>) {
        let data = serde_json::to_string(gap).unwrap_or_default();
        let reply = |data| {
            Reply::Event(EventMessage { event_type: Some(GAP.to_owned()), ..EventMessage::new(id, GAP, data, time) })
        };
        match self {
            Format::SseData | Format::SseJson => sse::encode(id, Some(GAP), &data, out),
            Format::Json => json::encode(&reply(data), out),
            Format::BinaryV1 => whole(Version::V1.encode(&reply(data), out)),
            Format::BinaryV2 => whole(Version::V2.encode(&reply(data), out)),
        }
    }

    /// Appends the end of a subscription that wanted only the past: for browsers an event of type `$end`, because a
    /// connection that broke looks as if the stream had ended.
    pub fn encode_end(self, position: EventId, out: &mut Vec<u8>) {
        match self {
            Format::SseData | Format::SseJson => {
                sse::encode(position, Some(END), &format!(r#"{{"position":"{position}"}}"#), out);
            }
            Format::Json => json::encode(&Reply::End { position }, out),
            Format::BinaryV1 => whole(Version::V1.encode(&Reply::End { position }, out)),
            Format::BinaryV2 => whole(Version::V2.encode(&Reply::End { position }, out)),
        }
    }
}

/// An event's fields are bounded well below the largest frame, so that it is always encoded.
fn whole(encoded: Result<(), usize>) {
    if let Err(size) = encoded {
        debug_assert!(false, "a frame of {size} bytes");
    }
}
