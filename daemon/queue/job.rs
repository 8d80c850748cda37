//! Events for one consumer, and dead letters, as messages: the data is the payload, and everything else is in one header.

use std::sync::Arc;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sse_bus::{Event, EventId, EventType, Headers, Topic, bus::Publication, event::check_data, limits::EVENT_MAX};

/// The header that has the description.
const DESCRIPTION: &str = "Sse-Bus-Job";
/// What a header value cannot contain.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%').add(b' ');

/// An event of a consumer, without its data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// None if the number of the message is that of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<EventId>,
    topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    /// When the event was published, in milliseconds since 1970; None if that is the time of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
    /// Why it is dead, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) death: Option<Death>,
}

/// Why an event is a dead letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Death {
    /// `attempts`, `rejected` or `expired`.
    pub(super) reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    pub(super) attempts: u32,
    pub(super) worker: Option<String>,
    /// In milliseconds since 1970.
    pub(super) since: u64,
}

impl Job {
    pub(super) fn new(event: &Event, death: Option<Death>) -> Job {
        Job {
            id: Some(event.id),
            topic: event.topic.as_str().into(),
            event_type: event.event_type.as_ref().map(|event_type| event_type.as_str().into()),
            headers: event.headers.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            time: Some(event.time),
            death,
        }
    }

    /// Describes an event that is sent to a consumer.
    pub(super) fn sent(publication: &Publication) -> Job {
        Job {
            id: None,
            topic: publication.topic.as_str().into(),
            event_type: publication.event_type.as_ref().map(|event_type| event_type.as_str().into()),
            headers: publication.headers.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            time: None,
            death: None,
        }
    }

    pub(super) fn into_headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let text = serde_json::to_string(&self).unwrap_or_default();
        headers.insert(DESCRIPTION, utf8_percent_encode(&text, ENCODED).to_string());
        headers
    }

    /// Returns what a message describes, or None if no node has published it. `sent` is the id and the time of an event that was
    /// sent to a consumer by this message.
    pub(super) fn read(
        headers: &HeaderMap,
        payload: &[u8],
        sent: Option<(EventId, u64)>,
    ) -> Option<(Arc<Event>, Option<Death>)> {
        let text = headers.get(HeaderName::from_static(DESCRIPTION)).map(HeaderValue::as_str)?;
        let text = percent_decode_str(text).decode_utf8().ok()?;
        let Job { id, topic, event_type, headers, time, death } = serde_json::from_str(&text).ok()?;
        if payload.len() > EVENT_MAX {
            return None;
        }
        let (id, time) = (id.or(sent.map(|(id, _)| id))?, time.or(sent.map(|(_, time)| time))?);
        let mut event = Event::new(id, Topic::parse(&topic).ok()?, check_data(payload.to_vec()).ok()?, time);
        event.event_type = event_type.map(|text| EventType::parse(&text)).transpose().ok()?;
        event.headers =
            Headers::parse(headers.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>()).ok()?;
        Some((Arc::new(event), death))
    }
}
