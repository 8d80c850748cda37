//! When a log elsewhere has lost its newest events, or all of them.
//!
//! The bus then continues at an earlier position, or in another epoch. A subscriber that had received a lost event is notified by
//! a gap, and receives what the log has after the last event that both have. This is rare, and takes time for each subscriber.

use std::mem;

use super::{
    Bus, ClientId,
    clients::Role,
    cursor::{Cursor, HistoryCursor, Position},
    dedup::Dedup,
    feed::Feed,
    history::History,
};
use crate::{
    event::EventId,
    protocol::{Gap, GapReason},
};

impl Bus {
    /// Continues at another position of the log: after `position`, with an empty window that [starts](History::start) there.
    /// Returns the history so far, which is best dropped after unlocking.
    #[must_use = "dropping it takes long, and is best done after unlocking"]
    pub fn rewrite(&mut self, position: EventId, window: Box<dyn History>) -> Box<dyn History> {
        debug_assert_eq!(window.start(), position.seq, "the start of the window");
        let before = self.position();
        let history = mem::replace(&mut self.history, window);
        (self.epoch, self.head, self.head_check) = (position.epoch, position.seq, position.check);
        self.rewrites += 1;
        (self.next_eviction, self.dedup) = (0, Dedup::default());
        self.replay.forget_all();
        for (key, state) in self.topics.iter_mut() {
            self.history.add_topic(key, &state.name);
            let is_lost = |(seq, _): &(u64, u64)| before.epoch != position.epoch || *seq > position.seq;
            state.last.take_if(|last| is_lost(last));
        }
        for key in self.feeds.keys() {
            self.feeds.seal(key, &self.limits);
        }
        for id in self.client_ids() {
            self.move_subscriber(id, before, position);
        }
        history
    }

    /// Returns how often the log was [rewritten](Bus::rewrite) under this bus.
    pub fn rewrites(&self) -> u64 {
        self.rewrites
    }

    /// Moves the cursor of a subscriber to history, and notifies it of the events that it had and the log has lost.
    fn move_subscriber(&mut self, id: ClientId, before: EventId, position: EventId) {
        let member = self.leave_shared_cursor(id);
        let Some(client) = self.clients.get_mut(id) else { return };
        let Role::Subscriber(subscriber) = &mut client.role else { return };
        let key = subscriber.feed;
        if let Some(segment) = subscriber.cursor.segment() {
            self.feeds.leave(key, segment);
        }
        let (after, earlier_gap, check) = match &mut subscriber.cursor.position {
            Position::Live { seq, .. } => (*seq, None, None),
            // What is left of a snapshot becomes part of the gap.
            Position::Snapshot(snapshot) => (snapshot.upto, snapshot.gap.take(), None),
            Position::History(cursor) => (cursor.after, cursor.gap.take(), cursor.check),
            Position::Shared(_) => return,
        };
        let from = if after == before.seq { before } else { before.at(after) };
        let mut cursor = if before.epoch == position.epoch {
            let lost = (after > position.seq).then(|| Gap::new(GapReason::Rewritten, None, from, position));
            let mut cursor = HistoryCursor::after(after.min(position.seq), GapReason::Evicted);
            cursor.check = check.filter(|_| lost.is_none());
            cursor.gap = lost.or(earlier_gap);
            cursor
        } else {
            HistoryCursor::with_gap(Gap::new(GapReason::Restarted, None, from, position.at(0)))
        };
        cursor.left = self.feeds.get(key).map(Feed::end);
        subscriber.cursor = Cursor::new(Position::History(cursor.into()));
        subscriber.sent = subscriber.sent.min(position.seq);
        let parked = self.feeds.get_mut(key).and_then(|feed| feed.parked.remove(&id));
        self.wakeups.woken.extend(parked.or(member));
    }
}
