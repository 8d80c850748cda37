//! Entries of history, and the amounts that topics have in history.

use std::sync::Arc;

use crate::{event::Event, headers::Headers};

/// The index of a topic in the bus. It is reused after the topic is removed.
pub type TopicKey = usize;

/// An event in history.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The event's sequence number.
    pub seq: u64,
    /// Its topic.
    pub topic: TopicKey,
    /// When it arrived, in milliseconds of the bus's monotonic clock.
    pub arrived_at: u64,
    /// When it stops being replayed or retained, on the same clock.
    pub expires: Option<u64>,
    /// Its charged cost, in bytes of memory.
    pub cost: usize,
    /// The event, unless it is on disk only.
    pub event: Option<Arc<Event>>,
}

impl Entry {
    /// Returns the entry of a new event.
    pub fn new(event: Event, topic: TopicKey, arrived_at: u64, expires: Option<u64>) -> Entry {
        let type_bytes = event.event_type.as_ref().map_or(0, |name| name.as_str().len());
        let cost = Entry::cost_of(event.data.len(), type_bytes, event.headers.as_lines().len());
        Entry { seq: event.id.seq, topic, arrived_at, expires, cost, event: Some(event.into()) }
    }

    /// Returns the cost of an event, from its number of bytes of data, type and
    /// [lines of headers](crate::Headers::as_lines).
    pub fn cost_of(data: usize, event_type: usize, headers: usize) -> usize {
        // Two tree slots, a queue slot and the allocator's own; measured with 200-byte events.
        const OVERHEAD: usize = 144;
        size_of::<Event>() + OVERHEAD + data + event_type + Headers::cost_of(headers)
    }

    /// Returns true if the event has not expired.
    pub(super) fn is_live(&self, now: u64) -> bool {
        self.expires.is_none_or(|at| at > now)
    }
}

/// The amounts that a topic has in history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicUsage {
    /// Number of events within the bounds.
    pub events: usize,
    /// Cost of these events, in bytes.
    pub bytes: usize,
    /// True if there is a retained event.
    pub retained: bool,
    /// Number of events outside of the bounds that are held for consumers.
    pub held: usize,
}

/// The amounts that all topics have in history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of events within the bounds.
    pub events: usize,
    /// Cost of these events, in bytes.
    pub bytes: usize,
    /// Number of retained events.
    pub retained: usize,
    /// Cost of the retained events, in bytes.
    pub retained_bytes: usize,
}
