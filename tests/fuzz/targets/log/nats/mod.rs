//! Reads a message as a node does.

#[path = "../../../../../daemon/log/nats/message.rs"]
mod message;

use async_nats::HeaderMap;
use sse_bus::{
    Epoch, EventId, Topic,
    bus::{LogEvent, Publication},
    limits::EVENT_MAX,
};

use self::message::Found;

const TIME: u64 = 1_700_000_000_000;

fn read(topic: &Topic, is_retained: bool, headers: &HeaderMap, payload: &[u8]) -> Option<(LogEvent, message::Origin)> {
    let id = EventId::new(Epoch::parse("e").expect("legal"), 7);
    Found { topic: topic.clone(), is_retained, headers, payload, time: TIME }.into_event(id)
}

pub(crate) fn check(topic: &Topic, is_retained: bool, headers: &HeaderMap, payload: &[u8]) {
    let Some((read_event, origin)) = read(topic, is_retained, headers, payload) else { return };
    let LogEvent { event, retain, ttl } = &read_event;
    assert!(event.topic == *topic && *retain == is_retained && event.time == TIME);
    assert!(event.data.len() <= EVENT_MAX && event.data.as_bytes() == payload);
    let check = event.id.check.expect("an event of a shared log has a check");
    let mut publication = Publication::new(topic.clone(), event.data.to_string());
    (publication.event_type, publication.headers) = (event.event_type.clone(), event.headers.clone());
    (publication.retain, publication.ttl) = (*retain, *ttl);
    let written = message::headers(&publication, check, origin);
    let again = read(topic, is_retained, &written, payload).expect("a node writes what it reads");
    assert_eq!(format!("{again:?}"), format!("{:?}", (&read_event, origin)));
}
