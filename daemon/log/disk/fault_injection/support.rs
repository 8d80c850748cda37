//! Random events and batches, and the recovered events, for the tests in this folder.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use redb::ReadableDatabase as _;
use sse_bus::{
    Epoch, Event, EventId, EventType, FilterSet, Headers, Topic,
    bus::{
        batch::{Batch, Gone, PublishChanges, TopicRecord},
        consumers::{ConsumerChanges, ConsumerName, ConsumerRecord, ConsumerSettings, Counts, DeadReason, EventRecord},
        history::{Entry, TopicPast, UnattributedLosses},
    },
};

use super::super::{
    encoding,
    files::{Files, Next},
    recovery::Recovered,
    rows::StoredBlocks,
};

/// The epoch of all files in these tests.
pub(super) fn epoch() -> Epoch {
    Epoch::from_seed(1)
}

/// Number of topics.
pub(super) const TOPICS: usize = 5;

pub(super) fn topic(n: usize) -> Topic {
    Topic::parse(&format!("t/{n}")).unwrap()
}

/// Random numbers, the same in each run.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below a bound.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Returns true about once in `times` calls.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Returns an event whose data depends on its sequence number.
    pub(super) fn entry(&mut self, seq: u64, size: usize) -> Entry {
        let data = format!("{seq} {}", format!("{:x}", self.next()).repeat(size / 16));
        let mut event = Event::new(EventId::new(epoch(), seq), topic(self.below(TOPICS)), data, self.next() >> 20);
        event.event_type = self.once_in(3).then(|| EventType::parse("done").unwrap());
        if self.once_in(3) {
            event.headers = Headers::parse([("key", self.next().to_string()), ("seq", seq.to_string())]).unwrap();
        }
        let expires = self.once_in(4).then(|| self.next() >> 20);
        Entry::new(event, 0, seq, expires)
    }

    /// Returns random changes of three consumers. One that is removed may be created again.
    pub(super) fn consumer_changes(&mut self) -> ConsumerChanges {
        let mut changes = ConsumerChanges::default();
        for n in 0..3 {
            let name = ConsumerName::parse(&format!("consumer-{n}")).unwrap();
            if self.once_in(6) {
                changes.removed.push(name.clone());
            }
            if self.once_in(2) {
                changes.records.push(self.consumer(name.clone()));
                for _ in 0..self.below(5) {
                    let record = if self.once_in(3) { None } else { Some(self.event_record()) };
                    changes.events.push((name.clone(), self.below(20) as u64, record));
                }
            }
        }
        changes
    }

    fn consumer(&mut self, name: ConsumerName) -> ConsumerRecord {
        let filters = FilterSet::parse(&["a/**", "b"]).unwrap();
        ConsumerRecord {
            name,
            settings: ConsumerSettings {
                ack_wait: Duration::from_micros(self.next() >> 30),
                max_attempts: 1 + self.below(9) as u32,
                backoff: (0..self.below(3)).map(|_| Duration::from_millis(self.next() >> 40)).collect(),
                ..ConsumerSettings::new(filters)
            },
            position: self.next() >> 20,
            is_paused: self.once_in(2),
            counts: Counts { delivered: self.next(), missed: self.next(), ..Counts::default() },
            missed: self.once_in(3).then(|| (self.next(), 1, 2)),
            created: self.next() >> 20,
        }
    }

    fn event_record(&mut self) -> EventRecord {
        let reason = match self.below(6) {
            0 => Some(DeadReason::Attempts),
            1 => Some(DeadReason::Expired),
            2 => Some(DeadReason::Rejected("it cannot be \"parsed\"".into())),
            _ => None,
        };
        EventRecord {
            attempts: self.below(5) as u32,
            key: self.once_in(2).then(|| self.next()),
            worker: self.once_in(2).then(|| "worker".into()),
            dead: reason.map(|reason| (reason, self.next() >> 20)),
        }
    }
}

/// Returns the recovered events, as the reader reads them from disk.
pub(super) fn events(files: &Files, recovered: &Recovered) -> Vec<Entry> {
    let database = files.database().get().unwrap();
    let mut on_disk = BTreeMap::new();
    let blocks = StoredBlocks::open(&database.begin_read().unwrap()).unwrap();
    for block in blocks.iter_from(0).unwrap() {
        let mut events = Vec::new();
        let _ = encoding::events(&block.unwrap().1, epoch(), &mut events);
        on_disk.extend(events.into_iter().map(|event| (event.id.seq, event)));
    }
    let event = |entry: &Entry| {
        let event = Arc::new(on_disk.remove(&entry.seq).expect("a recovered event is on disk"));
        assert_eq!(event.topic, recovered.topics[entry.topic].topic);
        assert!(entry.event.as_ref().is_none_or(|kept| *kept == event));
        Entry { event: Some(event), ..entry.clone() }
    };
    recovered.entries.iter().map(event).collect()
}

/// Returns true if the event that was read is the event that was written.
pub(super) fn is_same(read: &Entry, written: &Entry) -> bool {
    let parts = |entry: &Entry| (entry.seq, entry.arrived_at, entry.expires, entry.cost, entry.event.clone());
    parts(read) == parts(written)
}

/// Returns a batch of one event of `size` bytes.
pub(super) fn batch(seq: u64, size: usize) -> Batch {
    let record = |n| TopicRecord { topic: topic(n), published: seq, last: None, past: TopicPast::default() };
    Batch {
        entries: vec![Random::new(seq).entry(seq, size)],
        gone: Gone::default(),
        topics: (0..TOPICS).map(record).collect(),
        removed: Vec::new(),
        forgotten: UnattributedLosses::default(),
        publishes: PublishChanges::default(),
        head: seq,
        more: false,
    }
}

/// Writes a batch of one event of `size` bytes.
pub(super) fn write(files: &mut Files, seq: u64, size: usize) {
    files.add(batch(seq, size), seq, Next::More);
    files.write().unwrap();
}

/// Returns the sequence numbers of the recovered events.
pub(super) fn numbers((files, recovered): &(Files, Option<Recovered>)) -> Vec<u64> {
    events(files, recovered.as_ref().unwrap()).iter().map(|entry| entry.seq).collect()
}
