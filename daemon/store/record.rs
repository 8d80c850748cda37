//! How events stand on disk: blocks of many, each with a checksum, so that nothing wrong is ever taken for right.
//!
//! A block is the CRC-32 of what follows, then records: the length of the rest, number, time (Unix milliseconds), when it
//! came and when it expires (milliseconds of the bus's clock), the lengths of topic and type, topic, type, data. Numbers
//! are little endian.
//!
//! Where the highest bit of the topic's length is set, the length of the headers and their
//! [lines](sse_bus::Headers::as_lines) stand between type and data. So an event without headers stands as it did before
//! schema 3, and what was written then is read as it is.

use std::collections::{HashMap, hash_map};

use bytes::{Buf, BufMut};
use sse_bus::{Epoch, Event, EventId, EventType, Headers, Topic, bus::history::Entry};

/// An event from disk, as it stands in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) seq: u64,
    pub(super) time: u64,
    pub(super) came: u64,
    pub(super) expires: Option<u64>,
    pub(super) topic: &'a str,
    pub(super) kind: Option<&'a str>,
    /// Lines; none for an event without headers.
    pub(super) headers: &'a str,
    pub(super) data: &'a str,
}

impl<'a> Record<'a> {
    /// The event. `topics` are those of the events before. Nothing if it is none of this bus.
    pub(super) fn event(&self, epoch: Epoch, topics: &mut HashMap<&'a str, Topic>) -> Option<Event> {
        let topic = match topics.entry(self.topic) {
            hash_map::Entry::Occupied(known) => known.get().clone(),
            hash_map::Entry::Vacant(new) => new.insert(Topic::parse(self.topic).ok()?).clone(),
        };
        let mut event = Event::new(EventId { epoch, seq: self.seq }, topic, self.data, self.time);
        event.event_type = self.kind.map(EventType::parse).transpose().ok()?;
        event.headers = Headers::from_lines(self.headers).ok()?;
        Some(event)
    }
}

/// Bytes of a record before topic, type and data: four numbers, two lengths.
const HEAD: usize = 4 * 8 + 2 * 2;
/// The length of a type that is none.
const NO_TYPE: u16 = u16::MAX;
/// Set in the length of the topic of an event that has headers.
const HAS_HEADERS: u16 = 1 << 15;

/// A block that takes more events.
pub(super) struct Unsealed {
    bytes: Vec<u8>,
    events: usize,
}

impl Default for Unsealed {
    fn default() -> Unsealed {
        Unsealed { bytes: vec![0; 4], events: 0 }
    }
}

impl Unsealed {
    /// How many events it holds.
    pub(super) fn events(&self) -> usize {
        self.events
    }

    /// Takes the first of some events, up to so many bytes of the block. An empty block takes one event of any size.
    /// Returns how many it has taken.
    pub(super) fn fill(&mut self, entries: &[Entry], most: usize) -> usize {
        let (before, block) = (self.events, &mut self.bytes);
        for Entry { event, arrived_at: came, expires, .. } in entries {
            // What is new is in memory.
            let Some(event) = event else { continue };
            let (topic, kind) = (event.topic.as_str(), event.event_type.as_ref().map(EventType::as_str));
            let headers = event.headers.as_lines();
            let (flag, extra) = if headers.is_empty() { (0, 0) } else { (HAS_HEADERS, 2 + headers.len()) };
            let rest = HEAD + topic.len() + kind.map_or(0, str::len) + extra + event.data.len();
            if self.events > 0 && block.len() + 4 + rest > most {
                break;
            }
            self.events += 1;
            block.put_u32_le(rest as u32);
            block.put_u64_le(event.id.seq);
            block.put_u64_le(event.time);
            block.put_u64_le(*came);
            block.put_u64_le(expires.unwrap_or(u64::MAX));
            block.put_u16_le(topic.len() as u16 | flag);
            block.put_u16_le(kind.map_or(NO_TYPE, |kind| kind.len() as u16));
            block.put_slice(topic.as_bytes());
            block.put_slice(kind.unwrap_or_default().as_bytes());
            if flag == HAS_HEADERS {
                block.put_u16_le(headers.len() as u16);
                block.put_slice(headers.as_bytes());
            }
            block.put_slice(event.data.as_bytes());
        }
        self.events - before
    }

    /// The block, with its checksum.
    pub(super) fn seal(mut self) -> Vec<u8> {
        let checksum = crc32fast::hash(&self.bytes[4..]);
        self.bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        self.bytes
    }
}

/// Encodes events as one block.
pub(super) fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut block = Unsealed::default();
    block.fill(entries, usize::MAX);
    block.seal()
}

/// A block without some of its events. Nothing if it is damaged.
pub(super) fn without(block: &[u8], is_gone: impl Fn(u64) -> bool) -> Option<Unsealed> {
    let mut kept = Unsealed::default();
    let mut rest = checked(block)?;
    while !rest.is_empty() {
        let (length, seq) = ((&rest[..]).try_get_u32_le().ok()?, rest.get(4..12)?.try_get_u64_le().ok()?);
        let whole = 4 + length as usize;
        if !is_gone(seq) {
            kept.bytes.put_slice(rest.get(..whole)?);
            kept.events += 1;
        }
        rest = rest.get(whole..)?;
    }
    Some(kept)
}

/// The events of a block. Nothing if it is damaged.
pub(super) fn decode(block: &[u8]) -> Option<Vec<Record<'_>>> {
    let mut records = Vec::new();
    let mut rest = checked(block)?;
    while !rest.is_empty() {
        let length = rest.try_get_u32_le().ok()? as usize;
        let mut record = rest.get(..length)?;
        rest.advance(length);
        let (seq, time) = (record.try_get_u64_le().ok()?, record.try_get_u64_le().ok()?);
        let (came, expires) = (record.try_get_u64_le().ok()?, record.try_get_u64_le().ok()?);
        let (topic, kind) = (record.try_get_u16_le().ok()?, record.try_get_u16_le().ok()?);
        let has_headers = topic & HAS_HEADERS != 0;
        let (topic, after) = record.split_at_checked((topic & !HAS_HEADERS).into())?;
        let (kind, mut data) = after.split_at_checked(if kind == NO_TYPE { 0 } else { kind.into() })?;
        let mut headers: &[u8] = &[];
        if has_headers {
            let length = data.try_get_u16_le().ok()?;
            (headers, data) = data.split_at_checked(length.into())?;
        }
        let text = |bytes| str::from_utf8(bytes).ok();
        records.push(Record {
            seq,
            time,
            came,
            expires: Some(expires).filter(|expires| *expires != u64::MAX),
            topic: text(topic)?,
            kind: if kind.is_empty() { None } else { Some(text(kind)?) },
            headers: text(headers)?,
            data: text(data)?,
        });
    }
    Some(records)
}

/// Adds the events of a block, to be delivered, to others. Nothing of it if it is damaged.
pub(super) fn events(block: &[u8], epoch: Epoch, events: &mut Vec<Event>) -> Option<()> {
    let records = decode(block)?;
    let (before, mut topics) = (events.len(), HashMap::new());
    events.reserve(records.len());
    for record in records {
        let Some(event) = record.event(epoch, &mut topics) else {
            events.truncate(before);
            return None;
        };
        events.push(event);
    }
    Some(())
}

fn checked(block: &[u8]) -> Option<&[u8]> {
    let (checksum, records) = block.split_first_chunk()?;
    (u32::from_le_bytes(*checksum) == crc32fast::hash(records)).then_some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> (Epoch, Vec<Entry>) {
        let epoch = Epoch::parse("e").unwrap();
        let entry = |seq, kind: Option<&str>, headers: &[(&str, &str)], data: &str, expires| {
            let mut event = Event::new(EventId { epoch, seq }, Topic::parse("a/b").unwrap(), data, 7);
            event.event_type = kind.map(|kind| EventType::parse(kind).unwrap());
            event.headers = Headers::parse(headers.iter().copied()).unwrap();
            Entry::new(event, 0, 5, expires)
        };
        let entries = vec![
            entry(3, None, &[], "", None),
            entry(4, Some("done"), &[], "é\n", Some(9)),
            entry(5, Some("done"), &[("a", ""), ("b", "é: c")], "data", None),
            entry(6, None, &[("only", "headers")], "", None),
            entry(9, None, &[], "x", None),
        ];
        (epoch, entries)
    }

    #[test]
    fn what_is_written_is_read() {
        let (epoch, entries) = entries();
        let block = encode(&entries);
        let read = decode(&block).unwrap();
        for (entry, record) in entries.iter().zip(&read) {
            let event = record.event(epoch, &mut HashMap::new()).unwrap();
            assert_eq!(
                (entry.event.as_deref(), entry.arrived_at, entry.expires),
                (Some(&event), record.came, record.expires)
            );
        }
        let less = without(&block, |seq| seq == 4).unwrap().seal();
        let mut left = Vec::new();
        events(&less, epoch, &mut left).unwrap();
        let seqs: Vec<_> = left.iter().map(|event| event.id.seq).collect();
        assert_eq!(seqs, [3, 5, 6, 9]);
    }

    #[test]
    fn no_bit_can_change_unnoticed() {
        let (_, entries) = entries();
        let block = encode(&entries);
        for bit in 0..block.len() * 8 {
            let mut damaged = block.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged), None);
            assert!(without(&damaged, |_| false).is_none());
        }
        for length in 0..block.len() {
            assert_eq!(decode(&block[..length]).map(|records| records.len()), None.filter(|_: &usize| length > 0));
        }
    }
}
