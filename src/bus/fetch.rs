//! Events that are on disk only: a subscriber that reads them waits for the disk.
//!
//! The bus does no I/O. A read that reaches such an event records what it [wants](Wanted), and waits. The owner of the files
//! takes these requests, reads without the lock of the bus, and [hands over](super::Bus::hand_over) the events. Only that
//! subscriber waits. The caller owns the events it hands over, and bounds them: once they are dropped, a cursor that has not
//! read them requests them again.

use super::{history::Entry, ids::ClientId};
use crate::event::Event;

/// A request of a subscriber for events on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The subscriber.
    pub client: ClientId,
    /// The number of the next event to read.
    pub seq: u64,
    /// The end of the range that was handed over last; 0 if there was none.
    pub previous: u64,
}

/// All events on disk with numbers in a range.
#[derive(Debug, Default)]
pub struct Fetched {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The first number of the range.
    pub from: u64,
    /// The last number of the range. An event of the range that is not in `events` cannot be read.
    pub upto: u64,
}

/// The location of an entry's event.
pub(super) enum Found<'a> {
    /// In memory.
    Here(&'a Event),
    /// On disk; it must be requested.
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
