//! Timers: heartbeats, and the eviction of old events.

use super::{Bus, Now, cursor::Position, ids::ClientId};

impl Bus {
    /// Returns when [`tick`](Bus::tick) must be called next, in milliseconds of [`Now::mono`]; a time in the past means
    /// immediately. Returns None if there is nothing to do before the next publish or subscription.
    pub fn next_timeout(&self) -> Option<u64> {
        if self.is_behind() {
            return Some(0);
        }
        // Events may expire one after the other in quick succession; evict those of a second together.
        let history = self.history.next_expiry().map(|due| due.max(self.next_eviction));
        let timers = [
            self.heartbeats.next(),
            history,
            self.next_consumer_timer(),
            self.next_request_timer(),
            self.next_schedule(),
        ];
        timers.into_iter().flatten().min()
    }

    /// Makes heartbeats due and evicts old events, in bounded steps. Call it at the [next timeout](Bus::next_timeout); a late
    /// call also does the work of the calls that were missed.
    pub fn tick(&mut self, now: Now) {
        let has_more = self.history.remove_expired(now.mono);
        self.next_eviction = if has_more { 0 } else { now.mono.saturating_add(1000) };
        self.expire_history(now);
        self.tick_consumers(now);
        self.tick_requests(now);
        self.publish_due(now);
        for id in self.heartbeats.take(now) {
            self.heartbeat(id);
        }
    }

    /// Makes a subscriber's heartbeat due. The reader of its shared cursor sends it, unless the subscriber also needs its
    /// position.
    fn heartbeat(&mut self, id: ClientId) {
        let horizon = self.horizon();
        let Some(subscriber) = self.clients.subscriber_mut(id) else { return };
        let Some(feed) = self.feeds.get(subscriber.feed) else { return };
        if let (Position::Shared(_), Some(reader)) = (&subscriber.cursor.position, subscriber.reader) {
            let delivered = feed.shared_cursor(Some(reader)).map_or(0, |shared| shared.delivered);
            if !subscriber.needs_position(delivered, horizon) {
                return self.wakeups.heartbeat_of(id, reader);
            }
        }
        subscriber.is_heartbeat_due = true;
        self.wake(id);
    }

    /// Returns true while history holds more than its bounds allow. Until it is evicted, history is not read.
    pub fn is_behind(&self) -> bool {
        self.history.is_behind()
    }

    /// Evicts in one more step, if history is above its bounds.
    pub(super) fn evict_more(&mut self, now: Now) {
        if self.is_behind() {
            self.expire_history(now);
        }
    }
}
