//! The write-ahead file, `history.tail` on disk: batches that are not yet in the database, appended and synced.
//!
//! A commit of the database writes pages in many positions; appending a batch costs its bytes and one sync. So small
//! batches are appended here, and move into the database together once there are many or no more follow. Then the file
//! is overwritten from its beginning. This is cheaper than growing it, because the file system records neither a new
//! length nor new blocks.
//!
//! The file begins with a [header](header) that names the epoch. Each record has these fields: a CRC-32 of everything
//! after the next field; the length of the rest; the batch number; the length of the events; the events as a block; the
//! other parts of the batch as JSON. Each batch number is one more than the previous one, and each daemon starts from a
//! random number. So old records that follow the last one are never read as its successors.
//!
//! Two tests cover a torn write-ahead file, whose last record was written in part:
//! `confirmed_events_survive_a_power_failure_at_any_operation` in `fault_injection/power_loss.rs` loses and tears writes, and
//! `damage_at_any_offset_is_detected` in `fault_injection/corruption.rs` truncates the file.

use std::{
    borrow::Cow,
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    io,
};

use bytes::{Buf, BufMut};
use redb::StorageBackend;
use serde::{Deserialize, Serialize};
use sse_bus::{
    Epoch, Topic,
    bus::{
        batch::{Batch, Gone, PublishChanges, TopicRecord},
        history::{Entry, UnattributedLosses},
    },
};

use super::{consumers::ConsumerUpdates, database::TopicState, encoding, publishes};

/// The file grows by multiples of this many bytes.
const GROWTH_STEP: u64 = 64 << 10;
/// Bytes of a record before its events: the checksum, two lengths and the batch number.
const RECORD_HEADER: usize = 3 * 4 + 8;
/// The open write-ahead file.
pub(super) struct Wal {
    storage: Box<dyn StorageBackend>,
    epoch: Epoch,
    /// Offset of the next record.
    end: u64,
    length: u64,
}

/// A batch that was read from the file.
pub(super) struct WalBatch {
    pub(super) number: u64,
    pub(super) batch: Batch,
    /// The changes of consumers before it.
    pub(super) consumers: ConsumerUpdates,
    pub(super) clock: u64,
}

/// The parts of a batch other than its events.
#[derive(Serialize, Deserialize)]
struct BatchMetadata<'a> {
    head: u64,
    clock: u64,
    forgotten: UnattributedLosses,
    /// `None` removes all topics that `topics` does not name.
    gone: Option<Vec<String>>,
    topics: Vec<(String, TopicState)>,
    #[serde(default, skip_serializing_if = "no_consumers")]
    consumers: Cow<'a, ConsumerUpdates>,
    #[serde(default, skip_serializing_if = "publishes::is_empty")]
    publishes: Cow<'a, PublishChanges>,
}

fn no_consumers(consumers: &ConsumerUpdates) -> bool {
    consumers.is_empty()
}

/// Returns the header of the file.
fn header(epoch: Epoch) -> String {
    format!("sse-bus tail 1 {:<1$}\n", epoch.to_string(), Epoch::MAX)
}

/// Returns the number that precedes the first batch of a daemon. It is random, because the database may be a copy that
/// is older than the write-ahead file.
pub(super) fn random_start() -> u64 {
    RandomState::new().hash_one(()) >> 1
}

impl Wal {
    /// Opens the file. Returns `None` if it belongs to another bus.
    pub(super) fn open(storage: Box<dyn StorageBackend>, epoch: Epoch) -> io::Result<Option<Wal>> {
        let (length, header) = (storage.len()?, header(epoch));
        let mut found = vec![0; header.len().min(length as usize)];
        storage.read(0, &mut found)?;
        // A file that was never synced may hold zeros instead of the header.
        let is_own = found.iter().zip(header.bytes()).all(|(found, own)| [own, 0].contains(found));
        Ok(is_own.then_some(Wal { storage, epoch, end: 0, length }))
    }

    /// Bytes appended since the file was last restarted.
    pub(super) fn bytes(&self) -> usize {
        self.end as usize
    }

    /// Returns the batches that follow batch `number`, which is in the database.
    pub(super) fn after(&self, mut number: u64) -> io::Result<Vec<WalBatch>> {
        let (mut batches, mut at) = (Vec::new(), header(self.epoch).len() as u64);
        loop {
            let mut lengths = [0; 8];
            if at + RECORD_HEADER as u64 > self.length {
                break;
            }
            self.storage.read(at, &mut lengths)?;
            let (checksum, length) = lengths.split_at(4);
            let length = (&length[..]).get_u32_le();
            at += lengths.len() as u64;
            if at + u64::from(length) > self.length {
                break;
            }
            let mut record = vec![0; length as usize];
            self.storage.read(at, &mut record)?;
            let is_whole = crc32fast::hash(&record).to_le_bytes() == checksum;
            let Some(appended) = is_whole.then(|| self.decode(&record)).flatten() else { break };
            if appended.number != number + 1 {
                break;
            }
            number += 1;
            at += u64::from(length);
            batches.push(appended);
        }
        Ok(batches)
    }

    /// Appends a batch. The batch is on disk when this succeeds; after an error the caller must append it again.
    pub(super) fn append(
        &mut self,
        number: u64,
        batch: &Batch,
        consumers: &ConsumerUpdates,
        clock: u64,
    ) -> io::Result<()> {
        let mut bytes = if self.end == 0 { header(self.epoch).into_bytes() } else { Vec::new() };
        encode(&mut bytes, number, batch, consumers, clock)?;
        let end = self.end + bytes.len() as u64;
        if end > self.length {
            let length = end.next_multiple_of(GROWTH_STEP);
            self.storage.set_len(length)?;
            self.length = length;
        }
        self.storage.write(self.end, &bytes)?;
        self.storage.sync_data()?;
        self.end = end;
        Ok(())
    }

    /// Restarts the file from its beginning: everything in it is in the database.
    pub(super) fn rewind(&mut self) {
        self.end = 0;
    }

    /// Truncates the file when the daemon shuts down.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        (self.end, self.length) = (0, 0);
        self.storage.set_len(0)
    }

    fn decode(&self, mut record: &[u8]) -> Option<WalBatch> {
        let (number, events) = (record.try_get_u64_le().ok()?, record.try_get_u32_le().ok()?);
        let (events, metadata) = record.split_at_checked(events as usize)?;
        let BatchMetadata { head, clock, forgotten, gone, topics, consumers, publishes } =
            serde_json::from_slice(metadata).ok()?;
        let (mut names, mut entries) = (HashMap::new(), Vec::new());
        for record in encoding::decode(events)? {
            let event = record.event(self.epoch, &mut names)?;
            entries.push(Entry::new(event, 0, record.arrived_at, record.expires));
        }
        let topic = |name: String| Topic::parse(&name).ok();
        let gone = match gone {
            Some(gone) => Gone::Topics(gone.into_iter().map(topic).collect::<Option<_>>()?),
            None => Gone::AllOthers,
        };
        let topic_record = |(name, TopicState { published, last, past })| {
            Some(TopicRecord { topic: topic(name)?, published, last, past })
        };
        let topics = topics.into_iter().map(topic_record).collect::<Option<_>>()?;
        let batch = Batch {
            entries,
            gone,
            topics,
            removed: Vec::new(),
            forgotten,
            publishes: publishes.into_owned(),
            head,
            more: false,
        };
        Some(WalBatch { number, batch, consumers: consumers.into_owned(), clock })
    }
}

/// Encodes a record.
fn encode(bytes: &mut Vec<u8>, number: u64, batch: &Batch, consumers: &ConsumerUpdates, clock: u64) -> io::Result<()> {
    // Removed events are not listed: the per-topic metadata shows that they were evicted.
    let Batch { entries, gone, topics, forgotten, publishes, head, .. } = batch;
    let gone = match gone {
        Gone::Topics(gone) => Some(gone.iter().map(|topic| topic.as_str().to_owned()).collect()),
        Gone::AllOthers => None,
    };
    let topics = topics.iter().map(|record| (record.topic.as_str().to_owned(), TopicState::of(record))).collect();
    let metadata = BatchMetadata {
        head: *head,
        clock,
        forgotten: forgotten.clone(),
        gone,
        topics,
        consumers: Cow::Borrowed(consumers),
        publishes: Cow::Borrowed(publishes),
    };
    let events = encoding::encode(entries);
    let start = bytes.len();
    bytes.put_u64_le(0);
    bytes.put_u64_le(number);
    bytes.put_u32_le(events.len() as u32);
    bytes.put_slice(&events);
    serde_json::to_writer(&mut *bytes, &metadata)?;
    let record = &bytes[start + 8..];
    let (checksum, length) = (crc32fast::hash(record), record.len() as u32);
    (&mut bytes[start..]).put_u32_le(checksum);
    (&mut bytes[start + 4..]).put_u32_le(length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;
    use sse_bus::{Event, EventId, bus::history::TopicPast};

    use super::*;

    /// Returns a batch of one event with `size` bytes of data.
    fn batch(epoch: Epoch, seq: u64, size: usize) -> Batch {
        let topic = Topic::parse("a/b").unwrap();
        let data = "x".repeat(size);
        let event = Event::new(EventId::new(epoch, seq), topic.clone(), data, 7);
        let record = TopicRecord { topic, published: seq, last: Some((seq, 7)), past: TopicPast::default() };
        Batch {
            entries: vec![Entry::new(event, 0, 5, None)],
            gone: Gone::Topics(vec![Topic::parse("gone").unwrap()]),
            topics: vec![record],
            removed: Vec::new(),
            forgotten: UnattributedLosses::default(),
            publishes: PublishChanges::default(),
            head: seq,
            more: false,
        }
    }

    /// Returns number, head and data length of each batch that follows batch `after`.
    fn read(wal: &Wal, after: u64) -> Vec<(u64, u64, usize)> {
        let appended = wal.after(after).unwrap().into_iter();
        appended
            .map(|WalBatch { number, batch, clock, .. }| {
                assert_eq!((clock, &*batch.topics[0].topic.to_string()), (9, "a/b"));
                assert_eq!(batch.gone, Gone::Topics(vec![Topic::parse("gone").unwrap()]));
                (number, batch.head, batch.entries[0].event.as_ref().unwrap().data.len())
            })
            .collect()
    }

    #[test]
    fn old_records_after_the_last_one_are_never_read() {
        let epoch = Epoch::from_seed(1);
        let mut wal = Wal::open(Box::new(InMemoryBackend::new()), epoch).unwrap().unwrap();
        let mut append = |number, size| {
            wal.append(number, &batch(epoch, number, size), &ConsumerUpdates::default(), 9).unwrap();
            read(&wal, 100)
        };
        append(101, 40);
        append(102, 40);
        assert_eq!(append(103, 40), [(101, 101, 40), (102, 102, 40), (103, 103, 40)]);
        // After the restart, each new record ends where an old record begins.
        wal.rewind();
        assert_eq!(read(&wal, 103), []);
        for number in [104, 105] {
            wal.append(number, &batch(epoch, number, 40), &ConsumerUpdates::default(), 9).unwrap();
            assert_eq!(read(&wal, 103).last(), Some(&(number, number, 40)));
            assert_eq!(read(&wal, 103).len() as u64, number - 103);
            // No batch follows the last one, and none follows a batch from before the restart.
            assert_eq!((read(&wal, number), read(&wal, 101)), (Vec::new(), Vec::new()));
        }
        assert_ne!(random_start(), random_start());
        wal.clear().unwrap();
        assert_eq!(read(&wal, 103), []);
    }

    #[test]
    fn a_write_ahead_file_of_another_bus_is_refused() {
        let file = |bytes: &[u8]| {
            let storage = InMemoryBackend::new();
            storage.set_len(bytes.len() as u64).unwrap();
            storage.write(0, bytes).unwrap();
            Wal::open(Box::new(storage), Epoch::from_seed(1)).unwrap().is_some()
        };
        let [own, other] = [1, 2].map(|seed| header(Epoch::from_seed(seed)));
        assert_eq!(own.len(), other.len());
        assert!(file(own.as_bytes()) && !file(other.as_bytes()) && !file(b"something else"));
        assert!(file(b"") && file(&[0; 4096]) && file(&own.as_bytes()[..9]));
    }
}
