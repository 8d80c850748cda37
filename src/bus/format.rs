//! The formats of feeds. Each event is encoded once for each format that has subscribers.

use crate::{
    event::{Event, EventId, EventType},
    protocol::{
        Delivery, END, EventBody, EventMessage, EventReply, GAP, Gap, Refused, Reply, Transport, binary::Version, json,
        sse,
    },
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
    /// The number of formats.
    pub(super) const COUNT: usize = 5;

    /// Returns the format of a version of the binary protocol.
    pub fn binary(version: Version) -> Format {
        match version {
            Version::V1 => Format::BinaryV1,
            Version::V2 => Format::BinaryV2,
        }
    }

    /// Returns true if streams of this format carry heartbeats. The local socket detects a dead peer without them.
    pub fn has_heartbeat(self) -> bool {
        matches!(self, Format::SseData | Format::SseJson)
    }

    /// Returns the transport, for descriptions of clients.
    pub fn transport(self) -> Transport {
        match self {
            Format::SseData | Format::SseJson => Transport::Sse,
            Format::Json => Transport::Json,
            Format::BinaryV1 | Format::BinaryV2 => Transport::Binary,
        }
    }

    /// Appends an event in this format.
    pub fn encode(self, event: &Event, out: &mut Vec<u8>) {
        match self {
            Format::SseData => sse::encode_data(event, out),
            Format::SseJson => sse::encode_json(event, out),
            Format::Json => json::encode(&EventReply::Event(EventBody::from(event)), out),
            Format::BinaryV1 => whole(Version::V1.encode_event(event, out)),
            Format::BinaryV2 => whole(Version::V2.encode_event(event, out)),
        }
    }

    /// Appends a live-only event, which has no id. Version 1 of the binary protocol requires an id, so there it has `id` of
    /// the event, which is the position of the log. `to` is the address of a unicast event; the envelope for browsers has it,
    /// so that tabs that share a connection can tell unicast events from others.
    pub fn encode_live(self, to: Option<&str>, event: &Event, out: &mut Vec<u8>) {
        match self {
            Format::SseData => sse::encode(None, event.event_type.as_ref().map(EventType::as_str), &event.data, out),
            Format::SseJson => sse::encode_live_json(to, event, out),
            Format::Json => json::encode(&EventReply::Event(EventBody::live(event)), out),
            Format::BinaryV1 => whole(Version::V1.encode_live_event(event, out)),
            Format::BinaryV2 => whole(Version::V2.encode_live_event(event, out)),
        }
    }

    /// Appends a request for a responder, with the address for its reply. Version 1 of the binary protocol and streams without
    /// an envelope have no responders.
    pub(super) fn encode_request(self, event: &Event, reply_to: &str, timeout_ms: u64, out: &mut Vec<u8>) {
        match self {
            Format::SseData | Format::SseJson => sse::encode_request(event, reply_to, timeout_ms, out),
            Format::Json => json::encode(&EventReply::Event(EventBody::request(event, reply_to, timeout_ms)), out),
            Format::BinaryV1 => whole(Version::V1.encode_request(event, reply_to, timeout_ms, out)),
            Format::BinaryV2 => whole(Version::V2.encode_request(event, reply_to, timeout_ms, out)),
        }
    }

    /// Appends a delivery of a consumer. In a stream it is always an envelope, which has the token.
    pub fn encode_delivery(self, event: &Event, delivery: &Delivery, out: &mut Vec<u8>) {
        match self {
            Format::SseData | Format::SseJson => sse::encode_delivery(event, delivery, out),
            Format::Json => json::encode(&EventReply::Event(EventBody::delivered(event, delivery)), out),
            Format::BinaryV1 => whole(Version::V1.encode_delivery(event, delivery, out)),
            Format::BinaryV2 => whole(Version::V2.encode_delivery(event, delivery, out)),
        }
    }

    /// Appends a gap: an event of type `$gap`, with the id from which a subscriber that reconnects resumes.
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

    /// Appends the end of a subscription to history only. For browsers it is an event of type `$end`, because they cannot
    /// tell the end of a stream from a broken connection.
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

    /// Appends the error with which a subscription to history only ends. A stream for browsers has none: without its end,
    /// which is an event, they request the rest again.
    pub fn encode_error(self, refused: &Refused, out: &mut Vec<u8>) {
        let reply = || Reply::Error(refused.clone());
        match self {
            Format::SseData | Format::SseJson => {}
            Format::Json => json::encode(&reply(), out),
            Format::BinaryV1 => whole(Version::V1.encode(&reply(), out)),
            Format::BinaryV2 => whole(Version::V2.encode(&reply(), out)),
        }
    }
}

/// Expects a frame to fit: the bounds of an event's fields are well below the largest frame.
fn whole(encoded: Result<(), usize>) {
    if let Err(size) = encoded {
        debug_assert!(false, "a frame of {size} bytes");
    }
}
