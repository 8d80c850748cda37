//! Events that are on disk only: whoever reads so far back waits for them.
//!
//! The bus does no I/O. A read that comes to such an event notes what it [wants](Wanted) and waits like any other; whoever
//! keeps history on disk takes the wishes, reads without the bus, and [hands over](Bus::hand_over) what it found. Only
//! that subscriber waits. What was handed over belongs to the caller, who bounds it: once it is dropped, a cursor that has
//! not read it wants it again.

use std::{mem, sync::Weak};

use super::{Bus, ClientId, history::Entry};
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
            let place = fetched.events.binary_search_by_key(&entry.seq, |event| event.id.seq);
            place.map_or(Found::Lost, |place| Found::Here(&fetched.events[place]))
        }
        (None, _) => Found::OnDisk,
    }
}

impl Bus {
    /// Whether anybody waits for the disk.
    pub fn has_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Takes what is wanted, in the order in which it was asked for. Each is to be handed over, or asked for again by
    /// nobody.
    pub fn take_wanted(&mut self) -> Vec<Wanted> {
        std::mem::take(&mut self.wanted)
    }

    /// Hands over what a subscriber waits for, if it still does, and calls it. What is dropped before the subscriber has read
    /// it is wanted again.
    pub fn hand_over(&mut self, client: ClientId, fetched: Weak<Fetched>) {
        let Some(subscriber) = self.clients.subscriber_mut(client) else { return };
        if subscriber.cursor.wanted.take().is_some() {
            subscriber.cursor.fetched = fetched;
            self.call(client);
        }
    }

    /// Notes that a subscriber waits for an event.
    pub(super) fn want(&mut self, client: ClientId, seq: u64, waker: &std::task::Waker) {
        let Some(subscriber) = self.clients.subscriber_mut(client) else { return };
        let cursor = &mut subscriber.cursor;
        if cursor.wanted.replace(seq) != Some(seq) {
            let previous = mem::take(&mut cursor.fetched).upgrade().map_or(0, |fetched| fetched.upto);
            self.wanted.push(Wanted { client, seq, previous });
        }
        if let Some(feed) = self.feeds.get_mut(subscriber.feed) {
            feed.parked.insert(client, waker.clone());
        }
    }
}
