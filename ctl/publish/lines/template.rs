//! Converts lines to events.

use std::cell::Cell;

use sse_bus::protocol::{Ack, Publish, PublisherId, Sequence};

use super::json::{self, LineError};
use crate::publish::{single, text};

/// The event from the command line, of which each line provides the data or, as a JSON object, any fields.
pub(crate) struct Template {
    event: Publish,
    /// Lines are JSON objects.
    is_json: bool,
    /// Invalid UTF-8 is replaced.
    is_lossy: bool,
    /// The name of this run, under which the daemon recognizes a line that is resent.
    publisher: PublisherId,
    /// The warning about a type was already printed.
    has_warned: Cell<bool>,
}

impl Template {
    /// Lines are the data of events like `event`, or JSON objects with fields that override it.
    pub(crate) fn new(event: Publish, is_json: bool, is_lossy: bool) -> Template {
        Template { event, is_json, is_lossy, publisher: PublisherId::random(), has_warned: Cell::new(false) }
    }

    /// Returns an event to pass to [`fill`](Template::fill).
    pub(super) fn event(&self) -> Publish {
        self.event.clone()
    }

    /// Returns the number of a line among the publishes of this run. A line without a reply is never resent and needs none.
    pub(super) fn sequence(&self, ack: Ack, number: u64) -> Option<Sequence> {
        (ack != Ack::None).then_some(Sequence { publisher: self.publisher, number })
    }

    /// Sets the fields of an event from a line.
    pub(super) fn fill(&self, event: &mut Publish, line: &[u8]) -> Result<(), LineError> {
        let line = &*text::utf8(line, self.is_lossy)?;
        if self.is_json {
            *event = json::parse(line, &self.event)?;
            if !self.has_warned.get() && event.event_type != self.event.event_type {
                self.has_warned.set(single::warn_of_type(event.event_type.as_deref()));
            }
        } else {
            event.data.0.clear();
            event.data.0.extend_from_slice(line);
        }
        Ok(())
    }
}
