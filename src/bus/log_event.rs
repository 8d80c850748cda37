//! What a log elsewhere is given, and what it returns.

use std::time::Duration;

use super::Publication;
use crate::event::{Event, EventId};

/// A publication that the bus has accepted, to be appended to the log.
#[derive(Clone, Debug)]
#[must_use]
pub struct Admitted {
    publication: Publication,
}

impl Admitted {
    pub(super) fn new(publication: Publication) -> Admitted {
        Admitted { publication }
    }

    /// Returns the publication.
    pub fn publication(&self) -> &Publication {
        &self.publication
    }

    /// Returns the event, with the id that the log has assigned. `time` is in milliseconds since 1970.
    pub fn into_event(self, id: EventId, time: u64) -> LogEvent {
        let (retain, ttl) = (self.publication.retain, self.publication.ttl);
        LogEvent { event: self.publication.into_event(id, time), retain, ttl }
    }
}

/// An event of the log, with the options of its publication.
#[derive(Clone, Debug)]
pub struct LogEvent {
    /// The event.
    pub event: Event,
    /// The event becomes the retained event of its topic; an event without data removes the retained event.
    pub retain: bool,
    /// How long the event is replayed and retained.
    pub ttl: Option<Duration>,
}
