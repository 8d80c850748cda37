//! What is on disk before it is in the database: batches, appended to a file of their own and synced.
//!
//! A commit of the database writes pages here and there; a batch that is appended costs its bytes and one sync. So small
//! batches come here, and go into the database together when they are many or nothing follows. Then the tail begins anew
//! over what stands in it, which costs less than to grow: a file system need not note a length or a place for it.
//!
//! The file begins with a [header](header) that names the epoch. A record is the CRC-32 of what follows but for the next
//! number, the length of the rest, the batch's number, the length of its events, these as a block, and all else as JSON.
//! Each batch has a number, one more than the last, and a daemon begins with one that no other has begun with:
//! whatever else stands behind the last record is never taken for the next.

use std::{
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
        batch::{Batch, Gone, TopicRecord},
        history::{Entry, UnattributedLosses},
    },
};

use super::{database::TopicState, record};

/// Bytes that a file grows by, at least.
const GROWTH: u64 = 64 << 10;
/// Bytes of a record before its events: a checksum, two lengths, and its number.
const HEAD: usize = 3 * 4 + 8;
/// The tail, open.
pub(super) struct Tail {
    storage: Box<dyn StorageBackend>,
    epoch: Epoch,
    /// Where the next record goes.
    end: u64,
    length: u64,
}

/// A batch, as it was appended.
pub(super) struct Appended {
    pub(super) number: u64,
    pub(super) batch: Batch,
    pub(super) clock: u64,
}

/// What of a batch is no event.
#[derive(Serialize, Deserialize)]
struct Rest {
    head: u64,
    clock: u64,
    forgotten: UnattributedLosses,
    /// Nothing stands for all that are not named.
    gone: Option<Vec<String>>,
    topics: Vec<(String, TopicState)>,
}

/// The beginning of a tail.
fn header(epoch: Epoch) -> String {
    format!("sse-bus tail 1 {:<1$}\n", epoch.to_string(), Epoch::MAX)
}

/// The number before the first batch of a daemon: by chance, since the database may be a copy that is older than the tail.
pub(super) fn begin() -> u64 {
    RandomState::new().hash_one(()) >> 1
}

impl Tail {
    /// Takes up a tail. Nothing if it is none of this bus.
    pub(super) fn open(storage: Box<dyn StorageBackend>, epoch: Epoch) -> io::Result<Option<Tail>> {
        let (length, header) = (storage.len()?, header(epoch));
        let mut found = vec![0; header.len().min(length as usize)];
        storage.read(0, &mut found)?;
        // Of one that never got so far as to be synced, zeros may be there instead.
        let is_own = found.iter().zip(header.bytes()).all(|(found, own)| [own, 0].contains(found));
        Ok(is_own.then_some(Tail { storage, epoch, end: 0, length }))
    }

    /// Bytes of what was appended since it began anew.
    pub(super) fn bytes(&self) -> usize {
        self.end as usize
    }

    /// The batches that follow one that is in the database.
    pub(super) fn after(&self, mut number: u64) -> io::Result<Vec<Appended>> {
        let (mut batches, mut at) = (Vec::new(), header(self.epoch).len() as u64);
        loop {
            let mut lengths = [0; 8];
            if at + HEAD as u64 > self.length {
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

    /// Appends a batch. It is on disk when this returns; after an error it is to be appended again.
    pub(super) fn append(&mut self, number: u64, batch: &Batch, clock: u64) -> io::Result<()> {
        let mut bytes = if self.end == 0 { header(self.epoch).into_bytes() } else { Vec::new() };
        encode(&mut bytes, number, batch, clock)?;
        let end = self.end + bytes.len() as u64;
        if end > self.length {
            let length = end.next_multiple_of(GROWTH);
            self.storage.set_len(length)?;
            self.length = length;
        }
        self.storage.write(self.end, &bytes)?;
        self.storage.sync_data()?;
        self.end = end;
        Ok(())
    }

    /// Begins anew: all that was appended is in the database.
    pub(super) fn rewind(&mut self) {
        self.end = 0;
    }

    /// Gives back the room, at the end.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        (self.end, self.length) = (0, 0);
        self.storage.set_len(0)
    }

    fn decode(&self, mut record: &[u8]) -> Option<Appended> {
        let (number, events) = (record.try_get_u64_le().ok()?, record.try_get_u32_le().ok()?);
        let (events, rest) = record.split_at_checked(events as usize)?;
        let Rest { head, clock, forgotten, gone, topics } = serde_json::from_slice(rest).ok()?;
        let (mut names, mut entries) = (HashMap::new(), Vec::new());
        for record in record::decode(events)? {
            let event = record.event(self.epoch, &mut names)?;
            entries.push(Entry::new(event, 0, record.came, record.expires));
        }
        let topic = |name: String| Topic::parse(&name).ok();
        let gone = match gone {
            Some(gone) => Gone::Topics(gone.into_iter().map(topic).collect::<Option<_>>()?),
            None => Gone::AllOthers,
        };
        let known = |(name, TopicState { published, last, past })| {
            Some(TopicRecord { topic: topic(name)?, published, last, past })
        };
        let topics = topics.into_iter().map(known).collect::<Option<_>>()?;
        let batch = Batch { entries, gone, topics, removed: Vec::new(), forgotten, head, more: false };
        Some(Appended { number, batch, clock })
    }
}

/// Encodes a record.
fn encode(bytes: &mut Vec<u8>, number: u64, batch: &Batch, clock: u64) -> io::Result<()> {
    // Events that were removed need not be named: their topics' past says that they are gone.
    let Batch { entries, gone, topics, forgotten, head, .. } = batch;
    let gone = match gone {
        Gone::Topics(gone) => Some(gone.iter().map(|topic| topic.as_str().to_owned()).collect()),
        Gone::AllOthers => None,
    };
    let topics = topics.iter().map(|record| (record.topic.as_str().to_owned(), TopicState::of(record))).collect();
    let rest = Rest { head: *head, clock, forgotten: forgotten.clone(), gone, topics };
    let events = record::encode(entries);
    let start = bytes.len();
    bytes.put_u64_le(0);
    bytes.put_u64_le(number);
    bytes.put_u32_le(events.len() as u32);
    bytes.put_slice(&events);
    serde_json::to_writer(&mut *bytes, &rest)?;
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

    /// A batch of one event, with so many bytes.
    fn batch(epoch: Epoch, seq: u64, size: usize) -> Batch {
        let topic = Topic::parse("a/b").unwrap();
        let data = "x".repeat(size);
        let event = Event::new(EventId { epoch, seq }, topic.clone(), data, 7);
        let record = TopicRecord { topic, published: seq, last: Some((seq, 7)), past: TopicPast::default() };
        Batch {
            entries: vec![Entry::new(event, 0, 5, None)],
            gone: Gone::Topics(vec![Topic::parse("gone").unwrap()]),
            topics: vec![record],
            removed: Vec::new(),
            forgotten: UnattributedLosses::default(),
            head: seq,
            more: false,
        }
    }

    /// The numbers of the batches after one, and what they hold.
    fn read(tail: &Tail, after: u64) -> Vec<(u64, u64, usize)> {
        let appended = tail.after(after).unwrap().into_iter();
        appended
            .map(|Appended { number, batch, clock }| {
                assert_eq!((clock, &*batch.topics[0].topic.to_string()), (9, "a/b"));
                assert_eq!(batch.gone, Gone::Topics(vec![Topic::parse("gone").unwrap()]));
                (number, batch.head, batch.entries[0].event.as_ref().unwrap().data.len())
            })
            .collect()
    }

    #[test]
    fn what_stands_behind_the_last_record_is_never_taken_for_the_next() {
        let epoch = Epoch::from_seed(1);
        let mut tail = Tail::open(Box::new(InMemoryBackend::new()), epoch).unwrap().unwrap();
        let mut append = |number, size| {
            tail.append(number, &batch(epoch, number, size), 9).unwrap();
            read(&tail, 100)
        };
        append(101, 40);
        append(102, 40);
        assert_eq!(append(103, 40), [(101, 101, 40), (102, 102, 40), (103, 103, 40)]);
        // Begun anew, each ends where one of before begins.
        tail.rewind();
        assert_eq!(read(&tail, 103), []);
        for number in [104, 105] {
            tail.append(number, &batch(epoch, number, 40), 9).unwrap();
            assert_eq!(read(&tail, 103).last(), Some(&(number, number, 40)));
            assert_eq!(read(&tail, 103).len() as u64, number - 103);
            // It is known to the database already, or the database has lost something.
            assert_eq!((read(&tail, number), read(&tail, 101)), (Vec::new(), Vec::new()));
        }
        assert_ne!(begin(), begin());
        tail.clear().unwrap();
        assert_eq!(read(&tail, 103), []);
    }

    #[test]
    fn the_tail_of_another_bus_is_refused() {
        let file = |bytes: &[u8]| {
            let storage = InMemoryBackend::new();
            storage.set_len(bytes.len() as u64).unwrap();
            storage.write(0, bytes).unwrap();
            Tail::open(Box::new(storage), Epoch::from_seed(1)).unwrap().is_some()
        };
        let [own, other] = [1, 2].map(|seed| header(Epoch::from_seed(seed)));
        assert_eq!(own.len(), other.len());
        assert!(file(own.as_bytes()) && !file(other.as_bytes()) && !file(b"something else"));
        assert!(file(b"") && file(&[0; 4096]) && file(&own.as_bytes()[..9]));
    }
}
