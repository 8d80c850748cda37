//! The file of history under every accident: the power fails, the disk is full, a bit is wrong, a part is missing.
//!
//! A [`Disk`] stands where the file system would; all above it is the real thing.

mod damage;
mod disk;
mod end;
mod growth;
mod power;
mod single;

use std::{collections::BTreeMap, sync::Arc};

use redb::ReadableDatabase as _;
use sse_bus::{Epoch, Event, EventId, EventType, Headers, Topic, bus::history::Entry};

use self::disk::Disk;
use super::{file::File, left::Left, record, rows::StoredBlocks};

/// The epoch of all files here.
fn epoch() -> Epoch {
    Epoch::from_seed(1)
}

/// How many topics there are.
const TOPICS: usize = 5;

fn topic(n: usize) -> Topic {
    Topic::parse(&format!("t/{n}")).unwrap()
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
        let mut event = Event::new(EventId { epoch: epoch(), seq }, topic(self.below(TOPICS)), data, self.next() >> 20);
        event.event_type = self.once_in(3).then(|| EventType::parse("done").unwrap());
        if self.once_in(3) {
            event.headers = Headers::parse([("key", self.next().to_string()), ("seq", seq.to_string())]).unwrap();
        }
        let expires = self.once_in(4).then(|| self.next() >> 20);
        Entry::new(event, 0, seq, expires)
    }
}

/// The events that were left, as those get them who read from disk.
fn events(file: &File, left: &Left) -> Vec<Entry> {
    let database = file.shelf().get().unwrap();
    let mut on_disk = BTreeMap::new();
    let blocks = StoredBlocks::open(&database.begin_read().unwrap()).unwrap();
    for block in blocks.from(0).unwrap() {
        let mut events = Vec::new();
        let _ = record::events(&block.unwrap().1, epoch(), &mut events);
        on_disk.extend(events.into_iter().map(|event| (event.id.seq, event)));
    }
    let event = |entry: &Entry| {
        let event = Arc::new(on_disk.remove(&entry.seq).expect("what was left is on disk"));
        assert_eq!(event.topic, left.topics[entry.topic].topic);
        assert!(entry.event.as_ref().is_none_or(|kept| *kept == event));
        Entry { event: Some(event), ..entry.clone() }
    };
    left.entries.iter().map(event).collect()
}

/// Whether what was read is what was written.
fn is_same(read: &Entry, written: &Entry) -> bool {
    let parts = |entry: &Entry| (entry.seq, entry.arrived_at, entry.expires, entry.cost, entry.event.clone());
    parts(read) == parts(written)
}
