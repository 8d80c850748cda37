//! Reading events that are not in memory, see [`fetch`](super::fetch).

use std::{mem, sync::Weak};

use super::{
    Bus,
    cursor::Position,
    fetch::{Fetched, Wanted},
    ids::ClientId,
};

impl Bus {
    /// Returns true if there are requests for events that are not in memory.
    pub fn has_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Takes the requests for events that are not in memory, in order. Each must be answered with [`Bus::hand_over`]: a
    /// subscriber does not repeat its request.
    pub fn take_wanted(&mut self) -> Vec<Wanted> {
        mem::take(&mut self.wanted)
    }

    /// Hands over the events that a subscriber waits for, if it still does, and wakes it. If they are dropped before the
    /// subscriber has read them, it requests them again.
    pub fn hand_over(&mut self, client: ClientId, fetched: Weak<Fetched>) {
        let Some(subscriber) = self.clients.subscriber_mut(client) else { return };
        if subscriber.cursor.wanted.take().is_some() {
            subscriber.cursor.fetched = fetched;
            self.wake(client);
        }
    }

    /// Records that a subscriber waits for an event, or for the next one of the log before the window.
    pub(super) fn want(&mut self, client: ClientId, seq: u64, waker: &std::task::Waker) {
        let start = self.history.start();
        let Some(subscriber) = self.clients.subscriber_mut(client) else { return };
        let Some(feed) = self.feeds.get_mut(subscriber.feed) else { return };
        let cursor = &mut subscriber.cursor;
        if cursor.wanted.replace(seq) != Some(seq) {
            let previous = mem::take(&mut cursor.fetched).upgrade().map_or(0, |fetched| fetched.upto);
            let filters = feed.filters.clone();
            let mut wanted = Wanted {
                client,
                seq,
                previous,
                check: None,
                rewrites: self.rewrites,
                filters,
                upto: start,
                snapshot: None,
                since: None,
                losses_from: 0,
                uncertain_after: u64::MAX,
            };
            match &cursor.position {
                Position::Snapshot(snapshot) => {
                    wanted.snapshot = Some(snapshot.kind);
                    wanted.upto = start.min(snapshot.upto);
                    wanted.losses_from = u64::MAX;
                }
                Position::History(cursor) => {
                    (wanted.since, wanted.check) = (cursor.since, cursor.check);
                    (wanted.losses_from, wanted.uncertain_after) = (cursor.losses_from, cursor.uncertain_after);
                }
                Position::Live { .. } | Position::Shared(_) => {}
            }
            wanted.upto = wanted.upto.max(seq);
            self.wanted.push(wanted);
        }
        feed.parked.insert(client, waker.clone());
    }
}
