//! Events that are on disk only: whoever reads so far back waits for them.
//!
//! The bus does no I/O. A read that comes to such an event notes what it [wants](Wanted) and waits like any other; whoever
//! keeps history on disk takes the wishes, reads without the bus, and [hands over](super::Bus::hand_over) what it found. Only
//! that subscriber waits. What was handed over belongs to the caller, who bounds it: once it is dropped, a cursor that has
//! not read it wants it again.

use super::{history::Entry, ids::ClientId};
use crate::event::Event;

/// What a subscriber waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Who.
    pub client: ClientId,
    /// The number of the event that comes next.
    pub seq: u64,
    /// What was handed over last reached up to here; 0 if nothing was.
    pub previous: u64,
}

/// What was found on disk: everything that is there from one event to another.
#[derive(Debug, Default)]
pub struct Fetched {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The first number that was looked for.
    pub from: u64,
    /// The last. What is not among the events, from the first to here, cannot be read.
    pub upto: u64,
}

/// Where an entry's event is.
pub(super) enum Found<'a> {
    Here(&'a Event),
    OnDisk,
    /// It should be on disk and is not.
    Lost,
}

/// Finds the event of an entry.
pub(super) fn find<'a>(entry: &'a Entry, fetched: Option<&'a Fetched>) -> Found<'a> {
    match (&entry.event, fetched) {
        (Some(event), _) => Found::Here(event),
        (None, Some(fetched)) if (fetched.from..=fetched.upto).contains(&entry.seq) => {
            let index = fetched.events.binary_search_by_key(&entry.seq, |event| event.id.seq);
            index.map_or(Found::Lost, |index| Found::Here(&fetched.events[index]))
        }
        (None, _) => Found::OnDisk,
    }
}
