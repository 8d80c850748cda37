//! The file of history under every accident: the power fails, the disk is full, a bit is wrong, a part is missing.
//!
//! A [`Disk`] stands where the file system would; all above it is the real thing.

mod disk;
mod power;

use std::sync::Arc;

use sse_bus::{Epoch, Event, EventId, EventType, Topic, bus::history::Entry};

use self::disk::Disk;
use super::record::Record;

/// The epoch of all files here.
fn epoch() -> Epoch {
    Epoch::from_seed(1)
}

/// Numbers at random, and the same ones each time.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below a bound.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// What comes about once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// An event whose every byte depends on its number.
    fn entry(&mut self, seq: u64, size: usize) -> Entry {
        let data = format!("{seq} {}", format!("{:x}", self.next()).repeat(size / 16));
        let event = Event {
            id: EventId { epoch: epoch(), seq },
            topic: Topic::parse(&format!("t/{}", self.below(5))).unwrap(),
            kind: self.once_in(3).then(|| EventType::parse("done").unwrap()),
            data,
            time: self.next() >> 20,
        };
        let expires = self.once_in(4).then(|| self.next() >> 20);
        Entry { event: Arc::new(event), topic: 0, came: seq, expires }
    }
}

/// Whether this is what was read of that.
fn is_same(read: &Record, written: &Entry) -> bool {
    (&read.event, read.came, read.expires) == (&*written.event, written.came, written.expires)
}
