//! The encoding of streams for browsers, in one canonical form: LF only, no byte order mark, fields in the order
//! `id`, `event`, `data`, no blank line but the one that ends an event (some clients dispatch on any).
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::fmt;

use serde::Serialize;

use super::EventBody;
use crate::event::{Event, EventId, EventType};

/// The type of the event that carries a stream's position to a browser.
pub const POSITION: &str = "$position";

/// The form in which a stream sends its position, from which a client that reconnects misses nothing. Clients differ in the
/// form that they accept without side effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionForm {
    /// As an event of type [`POSITION`], which an `EventSource` dispatches to no `onmessage`. Firefox ignores an `id` without
    /// data.
    Event,
    /// As an `id` without data, which dispatches nothing.
    Id,
    /// Not sent: some clients dispatch an empty event for an `id` without data.
    None,
}

/// A comment, sent now and then so that both ends notice a dead connection.
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
    encode(event.id, event.kind.as_ref().map(EventType::as_str), &event.data, out);
}

/// Appends the event with the envelope `{"id","topic","type","time","headers","data"}` as its data.
pub fn encode_json(event: &Event, out: &mut Vec<u8>) {
    envelope(Some(event.id), &EventBody::from(event), out);
}

/// The same for an event that is live only and has no id. The envelope of an event for one client has its address as `to`.
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

fn envelope(id: Option<EventId>, body: &impl Serialize, out: &mut Vec<u8>) {
    // The envelope carries the type. As a field it would hide the event from `onmessage`.
    head(id, None, out);
    out.extend_from_slice(b"data: ");
    // JSON as written here holds no line break.
    super::json::encode(body, out);
    out.push(b'\n');
}

/// Appends an event of the given id, type and data. CR, LF and CRLF in the data all become line breaks. The type must
/// hold neither CR nor LF. Without an id the client's last id stays as it is.
pub fn encode(id: impl Into<Option<EventId>>, kind: Option<&str>, data: &str, out: &mut Vec<u8>) {
    // Enough for most: one line, and the fields' names.
    out.reserve(data.len() + 64);
    head(id.into(), kind, out);
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

fn head(id: Option<EventId>, kind: Option<&str>, out: &mut Vec<u8>) {
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        id.append_to(out);
        out.push(b'\n');
    }
    if let Some(kind) = kind {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'\n');
    }
}
