//! Appending events to feeds: at once, or in steps where there are very many.

use std::sync::Arc;

use super::{Feeds, SEGMENT_BYTES, Sealed};
use crate::{
    bus::{
        broadcasts::{Outgoing, work_of},
        ids::FeedKey,
    },
    event::Event,
    limits::{FEEDS_AT_ONCE, Limits},
};

impl Feeds {
    /// Begins a new event. Returns its turn.
    pub(in crate::bus) fn begin(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    /// Appends an event to feeds: at once if that is little work, or else in steps, see
    /// [`broadcasts`](super::broadcasts). The keys must be sorted. A live-only event has the position of the log as its id.
    pub(in crate::bus) fn publish(&mut self, feeds: &[FeedKey], event: &Arc<Event>, is_live: bool, limits: &Limits) {
        let (turn, work) = (self.begin(), work_of(event));
        if feeds.is_empty() {
            return;
        }
        if feeds.len() > 1 && feeds.len() * (self.broadcasts.work() + work) > FEEDS_AT_ONCE {
            while self.broadcasts.is_full(work) {
                self.broadcast_some(limits);
            }
            return self.broadcasts.push(feeds, Outgoing::new(event, is_live, turn), work);
        }
        let mut outgoing = self.outgoing.take().unwrap_or_default();
        outgoing.begin(event, is_live, turn);
        for key in feeds {
            self.catch_up(*key, limits);
            self.append(*key, &mut outgoing, limits);
        }
        outgoing.end();
        self.outgoing = Some(outgoing);
    }

    /// Appends the broadcasts to a feed that it does not have yet. Returns the work that this was.
    pub(super) fn catch_up(&mut self, key: FeedKey, limits: &Limits) -> usize {
        let end = self.broadcasts.end();
        let Some(feed) = self.get_mut(key).filter(|feed| feed.next_broadcast < end) else { return 0 };
        let next = std::mem::replace(&mut feed.next_broadcast, end);
        let mut broadcasts = std::mem::take(&mut self.broadcasts);
        let mut total = 0;
        for (outgoing, work) in broadcasts.for_feed(key, next) {
            self.append(key, outgoing, limits);
            total += work;
        }
        self.broadcasts = broadcasts;
        total
    }

    /// Appends the oldest broadcast to the next of its feeds, each after it has caught up, in a bounded step.
    pub(super) fn broadcast_some(&mut self, limits: &Limits) {
        let mut work = 0;
        while work < FEEDS_AT_ONCE
            && let Some(key) = self.broadcasts.next_feed()
        {
            work += self.catch_up(key, limits).max(1);
        }
    }

    /// Appends an event to a feed, unless the feed has no live cursor.
    fn append(&mut self, key: FeedKey, outgoing: &mut Outgoing, limits: &Limits) {
        let Some(feed) = self.open.get_mut(key).and_then(Option::as_mut) else { return };
        if outgoing.is_live {
            feed.last_live = Some(feed.end());
            if feed.live == 0 {
                // A cursor that joins the feed later begins after this event.
                feed.oldest += 1;
            }
        }
        if feed.live == 0 {
            return;
        }
        let encoded = outgoing.encoded(feed.format);
        if feed.open.events == 0 {
            self.dirty.push(key);
        }
        // A large event may match many feeds. Until the batch is published, feeds may hold twice the bound.
        if self.bytes + self.open_bytes + encoded.len() > limits.feeds_buffer.saturating_mul(2) {
            self.open_bytes -= feed.open.bytes.len();
            return feed.leave_behind(&mut self.bytes);
        }
        if let Some(chunk) = outgoing.shared(feed.format) {
            let (turn, last, newest) = (outgoing.turn, outgoing.position(), outgoing.seq());
            self.seal_open(key, limits);
            return self.push(key, chunk, Sealed { turn, last, newest, events: 1 }, limits);
        }
        let encoded = outgoing.encoded(feed.format);
        let open = &mut feed.open;
        self.open_bytes += encoded.len();
        open.bytes.append(encoded);
        if open.events == 0 {
            open.turn = outgoing.turn;
        }
        open.last = outgoing.position();
        open.newest = open.newest.max(outgoing.seq());
        open.events += 1;
        if open.bytes.len() >= SEGMENT_BYTES {
            self.seal_open(key, limits);
        }
    }
}
