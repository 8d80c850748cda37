//! Unicast: events for one client, or for all connections of one name. They are live only.
//!
//! An event is encoded once for each format, and shared by all clients that take it. What waits for one client is bounded by
//! [`Limits::unicast_buffer`](crate::limits::Limits::unicast_buffer), what waits for all of them by [`UNICAST_BUFFERS`]. A
//! client whose buffer is full does not take another event. At the limit for all clients, no client does.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    Bus, Format, Now, Publication,
    framing::{Chunk, ChunkBuffer},
};
use crate::{event::Event, limits::UNICAST_BUFFERS, protocol::Published};

/// When an event without a number was published: it is delivered in this order among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Its turn among the events of all kinds.
    pub(super) turn: u64,
    /// The position of the log.
    pub(super) position: u64,
}

/// An encoded event, charged while it waits for a client.
#[derive(Debug)]
struct Waiting {
    moment: Moment,
    chunk: Chunk,
    /// Bytes of all waiting events.
    charged: Arc<AtomicUsize>,
}

impl Waiting {
    /// Charges an event. None if there is no room for it.
    fn charge(moment: Moment, chunk: Chunk, charged: &Arc<AtomicUsize>) -> Option<Arc<Waiting>> {
        if charged.load(Ordering::Relaxed) + chunk.len() > UNICAST_BUFFERS {
            return None;
        }
        charged.fetch_add(chunk.len(), Ordering::Relaxed);
        Some(Arc::new(Waiting { moment, chunk, charged: charged.clone() }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.charged.fetch_sub(self.chunk.len(), Ordering::Relaxed);
    }
}

/// The unicast events that wait for one subscriber.
#[derive(Debug, Default)]
pub(super) struct UnicastQueue {
    events: VecDeque<Arc<Waiting>>,
    bytes: usize,
}

impl UnicastQueue {
    /// Takes the next event, if it was published at such a moment.
    pub(super) fn pop_if(&mut self, is_next: impl Fn(Moment) -> bool) -> Option<Chunk> {
        let waiting = self.events.pop_front_if(|waiting| is_next(waiting.moment))?;
        self.bytes -= waiting.chunk.len();
        Some(waiting.chunk.clone())
    }

    /// Appends an event, unless the buffer is full. Returns whether it was appended.
    fn push(&mut self, waiting: &Arc<Waiting>, most: usize) -> bool {
        let bytes = self.bytes + waiting.chunk.len();
        // One event is always taken, however large.
        let fits = self.events.is_empty() || bytes <= most;
        if fits {
            self.bytes = bytes;
            self.events.push_back(waiting.clone());
        }
        fits
    }
}

impl Bus {
    /// Delivers to one client, live: the answer counts the connections that took it.
    pub(super) fn unicast(&mut self, address: &str, publication: &Publication, now: Now) -> Published {
        let Publication { topic, kind, headers, data, .. } = publication.clone();
        let event = Event { id: self.position(), topic, event_type: kind, headers, data, time: now.unix };
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
            // What the feed has open came before this event and must be read before it.
            self.feeds.seal(key, &self.limits);
            let Some(format) = self.feeds.get(key).map(|feed| feed.format) else { continue };
            let waiting = encoded[format as usize].get_or_insert_with(|| {
                let mut bytes = ChunkBuffer::default();
                format.encode_live(Some(address), &event, bytes.payload());
                Waiting::charge(moment, bytes.into(), &self.unicast_bytes)
            });
            let Some(waiting) = waiting else { continue };
            if subscriber.unicast.push(waiting, self.limits.unicast_buffer) {
                self.call(id);
                taken += 1;
            }
        }
        Published { id: None, subscribers: taken }
    }
}

#[cfg(debug_assertions)]
impl UnicastQueue {
    /// Notes the bytes of each waiting event once, by its address.
    pub(super) fn self_check(
        &self,
        client: super::ClientId,
        waiting: &mut std::collections::HashMap<*const (), usize>,
    ) {
        let bytes = self.events.iter().map(|event| event.chunk.len()).sum::<usize>();
        assert_eq!(self.bytes, bytes, "bytes of the unicast events that wait for {client}");
        assert!(
            self.events.iter().is_sorted_by_key(|event| (event.moment.turn, event.moment.position)),
            "order of the unicast events that wait for {client}"
        );
        waiting.extend(self.events.iter().map(|event| (Arc::as_ptr(event).cast(), event.chunk.len())));
    }
}
