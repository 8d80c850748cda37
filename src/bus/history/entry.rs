//! What history keeps of an event, and what topics have in history.

use std::sync::Arc;

use crate::{event::Event, headers::Headers};

/// A topic's number in the bus's table of topics. Used again after the topic is forgotten.
pub type TopicKey = usize;

/// An event with what history knows about it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The event's number.
    pub seq: u64,
    /// Its topic.
    pub topic: TopicKey,
    /// When it arrived, in milliseconds of the bus's monotonic clock.
    pub arrived_at: u64,
    /// When it stops being replayed or retained, on the same clock.
    pub expires: Option<u64>,
    /// Bytes of memory that it is charged with.
    pub cost: usize,
    /// The event, unless it is on disk only.
    pub event: Option<Arc<Event>>,
}

impl Entry {
    /// An event that has just come.
    pub fn new(event: Event, topic: TopicKey, arrived_at: u64, expires: Option<u64>) -> Entry {
        let type_bytes = event.event_type.as_ref().map_or(0, |name| name.as_str().len());
        let cost = Entry::cost_of(event.data.len(), type_bytes, event.headers.as_lines().len());
        Entry { seq: event.id.seq, topic, arrived_at, expires, cost, event: Some(event.into()) }
    }

    /// What an event with so many bytes of data, type and [lines of headers](crate::Headers::as_lines) is charged with.
    pub fn cost_of(data: usize, event_type: usize, headers: usize) -> usize {
        // Two tree slots, a queue slot and the allocator's own; measured with 200-byte events.
        const OVERHEAD: usize = 144;
        size_of::<Event>() + OVERHEAD + data + event_type + Headers::cost_of(headers)
    }

    pub(super) fn is_live(&self, now: u64) -> bool {
        self.expires.is_none_or(|at| at > now)
    }
}

/// What a topic has in history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicUsage {
    /// Events.
    pub events: usize,
    /// What they cost, in bytes.
    pub bytes: usize,
    /// Whether there is a retained event.
    pub retained: bool,
}

/// What all topics have in history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events within the bounds.
    pub events: usize,
    /// What they cost, in bytes.
    pub bytes: usize,
    /// Retained events.
    pub retained: usize,
    /// What the retained events cost, in bytes.
    pub retained_bytes: usize,
}
