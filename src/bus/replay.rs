//! The memory of history that was read and is not yet accepted by sockets.
//!
//! A read copies small events of history into bytes for one subscriber. These copies are charged to [`REPLAY_BUFFERS`] until
//! the last of their bytes is dropped. An event of [`SHARED`] bytes or more is encoded once for each format and shared by all
//! subscribers that have not accepted it yet. Above the bound, reads return one event at a time, which is shared whatever its
//! size: then the memory grows with history and not with subscribers, and no subscriber waits for another.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::{
    Format, Framing,
    framing::{Chunk, ChunkBuffer},
};
use crate::{
    event::Event,
    limits::{DELIVER_MAX, REPLAY_BUFFERS},
};

/// Events with at least this number of bytes of data are shared instead of copied.
const SHARED: usize = 4 << 10;

/// The bytes that reads have returned and that are still in use.
#[derive(Debug, Default)]
pub(super) struct ReplayBuffers {
    /// Bytes of all copies.
    copied: Arc<AtomicUsize>,
    /// The shared events in use, and some that are not in use any more.
    encoded: FxHashMap<(u64, Format), Weak<Chunk>>,
    /// Their keys, in the order in which they are examined for removal.
    order: VecDeque<(u64, Format)>,
}

impl ReplayBuffers {
    fn is_full(&self) -> bool {
        self.copied.load(Ordering::Relaxed) >= REPLAY_BUFFERS
    }

    /// Returns the number of bytes after which a read ends.
    pub(super) fn read_size(&self) -> usize {
        if self.is_full() { 1 } else { DELIVER_MAX }
    }

    /// Charges a copy for one subscriber.
    pub(super) fn copied(&self, bytes: Vec<u8>) -> Bytes {
        self.copied.fetch_add(bytes.len(), Ordering::Relaxed);
        Bytes::from_owner(Copied { bytes, charged: self.copied.clone() })
    }

    /// Returns the encoded event, if it must be shared.
    pub(super) fn shared(&mut self, event: &Event, format: Format, framing: Framing) -> Option<Bytes> {
        if event.data.len() < SHARED && !self.is_full() {
            return None;
        }
        let key = (event.id.seq, format);
        let known = self.encoded.get(&key);
        let chunk = known.and_then(Weak::upgrade).unwrap_or_else(|| {
            let mut bytes = ChunkBuffer::default();
            format.encode(event, bytes.payload());
            let chunk = Arc::new(Chunk::from(bytes));
            if self.encoded.insert(key, Arc::downgrade(&chunk)).is_none() {
                self.order.push_back(key);
            }
            self.forget_unused();
            chunk
        });
        Some(Bytes::from_owner(Shared { chunk, framing }))
    }

    /// Forgets all shared events: others may get their sequence numbers.
    pub(super) fn forget_all(&mut self) {
        self.encoded.clear();
        self.order.clear();
    }

    /// Examines two events for each one that is added, so that most of those in the map are in use.
    fn forget_unused(&mut self) {
        for _ in 0..2 {
            let Some(key) = self.order.pop_front() else { return };
            if self.encoded.get(&key).is_some_and(|chunk| chunk.strong_count() > 0) {
                self.order.push_back(key);
            } else {
                self.encoded.remove(&key);
            }
        }
    }
}

/// A copy for one subscriber, charged while it is in use.
struct Copied {
    bytes: Vec<u8>,
    charged: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Copied {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        self.charged.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// An encoded event, in use by one subscriber.
struct Shared {
    chunk: Arc<Chunk>,
    framing: Framing,
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.chunk.as_framed(self.framing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, EventId, Topic};

    #[test]
    fn encoded_events_that_are_not_in_use_are_forgotten() {
        let mut replay = ReplayBuffers::default();
        let mut share = |seq| {
            let id = EventId::new(Epoch::parse("e").unwrap(), seq);
            let event = Event::new(id, Topic::parse("t").unwrap(), "x".repeat(SHARED), 0);
            let bytes = replay.shared(&event, Format::SseData, Framing::Plain).unwrap();
            (bytes, replay.encoded.len(), replay.order.len())
        };
        let in_use: Vec<_> = (0..100).map(|seq| share(seq).0).collect();
        assert_eq!(share(0), (in_use[0].clone(), 100, 100));
        drop(in_use);
        // Each new one makes room for two others.
        for seq in 100..300 {
            share(seq);
        }
        let (_, encoded, order) = share(300);
        assert!(encoded <= 2 && order == encoded, "{encoded} of {order} events");
    }
}
