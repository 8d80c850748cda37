//! Unicast: events for one client, or for all clients with one name. They are live-only.
//!
//! An event is encoded once for each format, and shared by the clients that take it. The events that wait for one client are
//! bounded by [`Limits::unicast_buffer`](crate::limits::Limits::unicast_buffer), those that wait for all clients by
//! [`UNICAST_BUFFERS`](crate::limits::UNICAST_BUFFERS). A client at its limit does not take another event; at the limit for
//! all clients, no client does.

use std::sync::Arc;

use super::{
    Bus, Format, Now, Publication,
    framing::ChunkBuffer,
    unicast_queue::{Moment, Waiting},
};
use crate::{event::Event, protocol::Published};

impl Bus {
    /// Delivers an event to the clients with an address. The reply counts those that received it.
    pub(super) fn unicast(&mut self, address: &str, publication: &Publication, now: Now) -> Published {
        let Publication { topic, event_type, headers, data, .. } = publication.clone();
        let event = Event { id: self.position(), topic, event_type, headers, data, time: now.unix };
        let moment = Moment { turn: self.feeds.begin(), position: self.head };
        let mut taken = 0;
        let mut encoded: [Option<Option<Arc<Waiting>>>; Format::COUNT] = Default::default();
        for id in self.clients.addressed(address) {
            let Some(subscriber) = self.clients.subscriber_mut(id) else { continue };
            if !subscriber.allowed.is_empty() && !subscriber.allowed.iter().any(|allowed| allowed.matches(&event.topic))
            {
                continue;
            }
            let key = subscriber.feed;
            // The open events of the feed are older than this event and must be read before it.
            self.feeds.seal(key, &self.limits);
            let Some(format) = self.feeds.get(key).map(|feed| feed.format) else { continue };
            let waiting = encoded[format as usize].get_or_insert_with(|| {
                let mut bytes = ChunkBuffer::default();
                format.encode_live(Some(address), &event, bytes.payload());
                Waiting::charge(moment, bytes.into(), &self.unicast_bytes)
            });
            let Some(waiting) = waiting else { continue };
            if subscriber.unicast.push(waiting, self.limits.unicast_buffer) {
                self.wake(id);
                taken += 1;
            }
        }
        Published { id: None, subscribers: taken }
    }
}
