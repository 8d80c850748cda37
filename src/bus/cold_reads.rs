//! Reads of events that are on disk only, see [`fetch`](super::fetch).

use std::{mem, sync::Weak};

use super::{
    Bus,
    fetch::{Fetched, Wanted},
    ids::ClientId,
};

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
            self.wake(client);
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
