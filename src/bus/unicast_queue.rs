//! The unicast events that wait for subscribers.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::framing::Chunk;
use crate::limits::UNICAST_BUFFERS;

/// When a subscriber took a unicast event, which determines its order among the other events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Its turn among all events.
    pub(super) turn: u64,
    /// The position of the log at that time.
    pub(super) position: u64,
}

/// An encoded event, charged while it waits for a client.
#[derive(Debug)]
pub(super) struct Waiting {
    chunk: Chunk,
    /// The bytes of all waiting events.
    charged: Arc<AtomicUsize>,
}

impl Waiting {
    /// Charges an event. Returns None if there is no room for it.
    pub(super) fn charge(chunk: Chunk, charged: &Arc<AtomicUsize>) -> Option<Arc<Waiting>> {
        if charged.load(Ordering::Relaxed) + chunk.len() > UNICAST_BUFFERS {
            return None;
        }
        charged.fetch_add(chunk.len(), Ordering::Relaxed);
        Some(Arc::new(Waiting { chunk, charged: charged.clone() }))
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
    /// Each with the moment at which the subscriber took it.
    events: VecDeque<(Moment, Arc<Waiting>)>,
    bytes: usize,
}

impl UnicastQueue {
    /// Takes the next event, if `is_next` returns true for the moment of its publication.
    pub(super) fn pop_if(&mut self, is_next: impl Fn(Moment) -> bool) -> Option<Chunk> {
        let (_, waiting) = self.events.pop_front_if(|(moment, _)| is_next(*moment))?;
        self.bytes -= waiting.chunk.len();
        Some(waiting.chunk.clone())
    }

    /// Appends an event, unless the buffer is full. Returns true if it was appended.
    pub(super) fn push(&mut self, moment: Moment, waiting: &Arc<Waiting>, most: usize) -> bool {
        let bytes = self.bytes + waiting.chunk.len();
        // An empty buffer takes one event of any size.
        let fits = self.events.is_empty() || bytes <= most;
        if fits {
            self.bytes = bytes;
            self.events.push_back((moment, waiting.clone()));
        }
        fits
    }
}

#[cfg(debug_assertions)]
impl UnicastQueue {
    /// Notes the bytes of each waiting event once, by its address.
    pub(super) fn self_check(
        &self,
        client: super::ids::ClientId,
        waiting: &mut std::collections::HashMap<*const (), usize>,
    ) {
        let bytes = self.events.iter().map(|(_, event)| event.chunk.len()).sum::<usize>();
        assert_eq!(self.bytes, bytes, "bytes of the unicast events that wait for {client}");
        assert!(
            self.events.iter().is_sorted_by_key(|(moment, _)| (moment.turn, moment.position)),
            "order of the unicast events that wait for {client}"
        );
        waiting.extend(self.events.iter().map(|(_, event)| (Arc::as_ptr(event).cast(), event.chunk.len())));
    }
}
