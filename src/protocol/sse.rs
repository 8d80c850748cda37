//! The encoding of event streams in one canonical form: LF only, no byte order mark, fields in the order `id`, `event`,
//! `data`, and a blank line only at the end of an event, because some clients dispatch at every blank line.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::fmt;

use serde::Serialize;

#[cfg(feature = "bus")]
use super::consumer::Delivery;
use super::{json, reply::EventBody};
use crate::event::{Event, EventId, EventType};

/// The type of the event that carries a stream's position to a browser.
pub const POSITION: &str = "$position";

/// The header of a stream's response with the id of the connection, as a client.
pub const CLIENT_HEADER: &str = "sse-bus-client";

/// The header of a stream's response with the newest id of the bus when the subscription began.
pub const POSITION_HEADER: &str = "sse-bus-position";

/// The form in which a stream sends its position, from which a client can resume without missing an event. Clients
/// differ in the form that they accept without side effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionForm {
    /// An event of type [`POSITION`], which an `EventSource` does not dispatch to `onmessage`. Firefox ignores an `id`
    /// without data.
    Event,
    /// An `id` without data, which dispatches nothing.
    Id,
    /// No position, for clients that dispatch an empty event for an `id` without data.
    None,
}

/// A comment that is sent periodically, so that both ends notice a dead connection.
pub const HEARTBEAT: &[u8] = b":\n";

/// Appends a position in one of its forms. `client` is the id of the connection.
pub fn encode_position(form: PositionForm, client: &impl fmt::Display, position: EventId, out: &mut Vec<u8>) {
    match form {
        PositionForm::Event => {
            let data = format!(r#"{{"client":"{client}","position":"{position}"}}"#);
            encode(position, Some(POSITION), &data, out);
        }
        PositionForm::Id => {
            head(Some(position), None, out);
            out.push(b'\n');
        }
        PositionForm::None => {}
    }
}

/// Appends the event with its data as published.
pub fn encode_data(event: &Event, out: &mut Vec<u8>) {
    encode(event.id, event.event_type.as_ref().map(EventType::as_str), &event.data, out);
}

/// Appends the event with the envelope `{"id","topic","type","time","headers","data"}` as its data.
pub fn encode_json(event: &Event, out: &mut Vec<u8>) {
    envelope(Some(event.id), &EventBody::from(event), out);
}

/// Appends an event that is live only, and has no id, like [`encode_json`]. The envelope of a unicast event has the
/// additional field `to`.
#[cfg(feature = "bus")]
pub(crate) fn encode_live_json(to: Option<&str>, event: &Event, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Addressed<'a> {
        #[serde(flatten)]
        event: EventBody<'a>,
        to: &'a str,
    }
    let event = EventBody::live(event);
    match to {
        Some(to) => envelope(None, &Addressed { event, to }, out),
        None => envelope(None, &event, out),
    }
}

/// Appends a request like [`encode_json`], without an id.
#[cfg(feature = "bus")]
pub(crate) fn encode_request(event: &Event, reply_to: &str, timeout_ms: u64, out: &mut Vec<u8>) {
    envelope(None, &EventBody::request(event, reply_to, timeout_ms), out);
}

/// Appends a delivery of a consumer, like [`encode_json`] with the field `delivery`. It has no `id` field: no stream resumes
/// after it.
#[cfg(feature = "bus")]
pub(crate) fn encode_delivery(event: &Event, delivery: &Delivery, out: &mut Vec<u8>) {
    envelope(None, &EventBody::delivered(event, delivery), out);
}

fn envelope(id: Option<EventId>, body: &impl Serialize, out: &mut Vec<u8>) {
    // The envelope contains the type. An `event` field would hide the event from `onmessage`.
    head(id, None, out);
    out.extend_from_slice(b"data: ");
    // This JSON contains no line break.
    json::encode(body, out);
    out.push(b'\n');
}

/// Appends an event with this type and data. CR, LF and CRLF in the data each become a line break. The type must not
/// contain CR or LF. Without an id the client's last id does not change.
pub fn encode(id: impl Into<Option<EventId>>, event_type: Option<&str>, data: &str, out: &mut Vec<u8>) {
    // Enough for most events: one line of data, and the names of the fields.
    out.reserve(data.len() + 64);
    head(id.into(), event_type, out);
    let mut rest = data.as_bytes();
    loop {
        let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest[..end]);
        out.push(b'\n');
        rest = match &rest[end..] {
            [b'\r', b'\n', after @ ..] | [_, after @ ..] => after,
            [] => break,
        };
    }
    out.push(b'\n');
}

fn head(id: Option<EventId>, event_type: Option<&str>, out: &mut Vec<u8>) {
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        id.append_to(out);
        out.push(b'\n');
    }
    if let Some(event_type) = event_type {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(event_type.as_bytes());
        out.push(b'\n');
    }
}
