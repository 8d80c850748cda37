//! What becomes due as time passes: heartbeats, and the eviction of old events.

use super::{Bus, Now, cursor::Position, ids::ClientId};

impl Bus {
    /// When [`tick`](Bus::tick) is to be called next, in milliseconds of [`Now::mono`]: at once if that time is over. Nothing if
    /// there is nothing to do until somebody publishes or subscribes.
    pub fn next_timeout(&self) -> Option<u64> {
        if self.is_behind() {
            return Some(0);
        }
        // Many events may grow too old one after the other: some together.
        let history = self.history.next_expiry().map(|due| due.max(self.ticked.saturating_add(1000)));
        self.heartbeats.next().into_iter().chain(history).min()
    }

    /// Does what is due: makes heartbeats due and evicts old events, some at a time. To be called at the
    /// [next timeout](Bus::next_timeout). A call that comes late makes up for the time in which there was none.
    pub fn tick(&mut self, now: Now) {
        self.ticked = now.mono;
        self.history.expire(now.mono);
        for id in self.heartbeats.take(now) {
            self.heartbeat(id);
        }
    }

    /// Makes a subscriber's heartbeat due. Its reader sends it, unless this subscriber also needs its position.
    fn heartbeat(&mut self, id: ClientId) {
        let horizon = self.horizon();
        let Some(subscriber) = self.clients.subscriber_mut(id) else { return };
        let Some(feed) = self.feeds.get(subscriber.feed) else { return };
        if let (Position::Shared(_), Some(reader)) = (&subscriber.cursor.position, subscriber.reader) {
            let delivered = feed.group(Some(reader)).map_or(0, |group| group.delivered);
            if !subscriber.needs_position(delivered, horizon) {
                return self.wakeups.heartbeat_of(id, reader);
            }
        }
        subscriber.is_heartbeat_due = true;
        self.wake(id);
    }

    /// Whether something that is beyond its bounds has not gone yet. Until it has, nobody is given any of the past.
    pub fn is_behind(&self) -> bool {
        self.history.is_behind()
    }

    pub(super) fn evict_more(&mut self, now: Now) {
        if self.is_behind() {
            self.history.expire(now.mono);
        }
    }
}
