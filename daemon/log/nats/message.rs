//! Events as messages of the stream.
//!
//! The data is the payload, the topic and whether the event is retained are in the subject, its time is that of the server. The
//! header `Sse-Bus` has the check of its id, and the node and the mark by which its publisher recognizes it; the others are there
//! where they are needed. Whatever is not such a message is skipped: others may publish to these subjects.

use std::{borrow::Cow, time::Duration};

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use sse_bus::{
    Check, Event, EventId, EventType, Headers, Topic,
    bus::{LogEvent, Publication},
    event::check_data,
    limits::EVENT_MAX,
};

use super::super::external::Mark;
use crate::nats::Names;

/// The check, the run of the node that has published the event, and its mark: `x7q2 1f6b2c9d3e5a7081 12`.
const BUS: &str = "Sse-Bus";
const TYPE: &str = "Sse-Bus-Type";
/// The headers of the event: `name:value` for each, joined by line feeds, percent-encoded.
const HEADERS: &str = "Sse-Bus-Headers";
/// The exact time to live in milliseconds. That of the server has whole seconds.
const TTL: &str = "Sse-Bus-TTL";
const SERVER_TTL: &str = "Nats-TTL";
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// What a header value cannot contain, or would not keep: white space at its ends is removed.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%').add(b' ');

/// Where an event comes from: the run of a node, and the mark of its publish there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) run: u64,
    pub(super) mark: Mark,
}

/// Returns the headers of the message for a publication.
pub(super) fn headers(publication: &Publication, check: Check, origin: Origin) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(BUS, format!("{} {:x} {}", check.as_str(), origin.run, origin.mark));
    if let Some(event_type) = &publication.event_type {
        headers.insert(TYPE, utf8_percent_encode(event_type.as_str(), ENCODED).to_string());
    }
    let lines: Vec<_> = publication.headers.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    if !lines.is_empty() {
        headers.insert(HEADERS, utf8_percent_encode(&lines.join("\n"), ENCODED).to_string());
    }
    if let Some(ttl) = publication.ttl {
        headers.insert(TTL, ttl.as_millis().to_string());
        // The server refuses less than a second. The event expires at the nodes before.
        headers.insert(SERVER_TTL, format!("{}s", ttl.as_millis().div_ceil(1000).max(1)));
    }
    if let Some(id) = message_id(publication) {
        headers.insert(MESSAGE_ID, utf8_percent_encode(&id, ENCODED).to_string());
    }
    headers
}

/// Returns the name by which the servers recognize a repeated publish.
fn message_id(publication: &Publication) -> Option<String> {
    match (&publication.dedup_id, publication.sequence) {
        (Some(id), _) => Some(format!("id {} {}", publication.topic, id.as_str())),
        (None, Some(sequence)) => Some(format!("seq {} {}", sequence.publisher, sequence.number)),
        (None, None) => None,
    }
}

/// A message of the stream, or of an answer of the servers.
pub(super) struct Found<'a> {
    pub(super) topic: Topic,
    pub(super) is_retained: bool,
    pub(super) headers: &'a HeaderMap,
    pub(super) payload: &'a [u8],
    /// In milliseconds since 1970.
    pub(super) time: u64,
}

/// Returns the check and the origin of a message, or None if no node has published it.
pub(super) fn origin(headers: &HeaderMap) -> Option<(Check, Origin)> {
    let mut fields = text(headers, BUS)?.split(' ');
    let check = Check::parse(fields.next()?)?;
    let run = u64::from_str_radix(fields.next()?, 16).ok()?;
    let mark = fields.next()?.parse().ok()?;
    fields.next().is_none().then_some((check, Origin { run, mark }))
}

impl Found<'_> {
    /// Returns the event, or None if it is none: a node would not have published it.
    pub(super) fn into_event(self, id: EventId) -> Option<(LogEvent, Origin)> {
        let Found { topic, is_retained, headers, payload, time } = self;
        let (check, origin) = origin(headers)?;
        if payload.len() > EVENT_MAX {
            return None;
        }
        let data = check_data(payload.to_vec()).ok()?;
        let mut event = Event::new(EventId { check: Some(check), ..id }, topic, data, time);
        if let Some(encoded) = text(headers, TYPE) {
            event.event_type = Some(EventType::parse(&decoded(encoded)?).ok()?);
        }
        if let Some(encoded) = text(headers, HEADERS) {
            let lines = decoded(encoded)?;
            let lines: Option<Vec<_>> = lines.split('\n').map(|line| line.split_once(':')).collect();
            event.headers = Headers::parse(lines?).ok()?;
        }
        let ttl = match text(headers, TTL) {
            Some(millis) => Some(Duration::from_millis(millis.parse().ok()?)),
            None => None,
        };
        Some((LogEvent { event, retain: is_retained, ttl }, origin))
    }
}

/// Returns true if the TTL of an event has not ended.
pub(super) fn is_live(event: &LogEvent) -> bool {
    event.ttl.is_none_or(|ttl| event.event.time + sse_bus::time::whole_millis(ttl) > sse_bus::time::unix_now())
}

/// Returns the type of the event of a message.
pub(super) fn event_type(headers: &HeaderMap) -> Option<String> {
    text(headers, TYPE).and_then(decoded)
}

/// Returns the event of a message of the log, unless no node has published it or its TTL has ended.
pub(crate) fn parse_event(
    names: &Names,
    subject: &str,
    headers: &HeaderMap,
    payload: &[u8],
    time: u64,
    id: EventId,
) -> Option<Event> {
    let (topic, is_retained) = names.topic(subject)?;
    let (event, _) = Found { topic, is_retained, headers, payload, time }.into_event(id)?;
    is_live(&event).then_some(event.event)
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    headers.get(HeaderName::from_static(name)).map(HeaderValue::as_str)
}

fn decoded(encoded: &str) -> Option<String> {
    percent_decode_str(encoded).decode_utf8().ok().map(Cow::into_owned)
}
