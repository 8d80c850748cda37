//! Encodes events on disk as blocks, each with a checksum that detects any damage.
//!
//! A block is the CRC-32 of the rest, then one record for each event: the length of the rest of the record, sequence
//! number, time (Unix milliseconds), arrival and expiry (milliseconds of the bus's clock), length of the topic, length
//! of the type, topic, type, data. Numbers are little endian.
//!
//! If the highest bit of the topic's length is set, the length of the headers and their
//! [lines](sse_bus::Headers::as_lines) follow the type. So records without headers are the same as before schema 3, and
//! older blocks are read without conversion.

use std::collections::{HashMap, hash_map};

use bytes::{Buf, BufMut};
use sse_bus::{Epoch, Event, EventId, EventType, Headers, Topic, bus::history::Entry};

/// An event as it is stored in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventRecord<'a> {
    pub(super) seq: u64,
    pub(super) time: u64,
    pub(super) arrived_at: u64,
    pub(super) expires: Option<u64>,
    pub(super) topic: &'a str,
    pub(super) event_type: Option<&'a str>,
    /// Lines; empty for an event without headers.
    pub(super) headers: &'a str,
    pub(super) data: &'a str,
}

impl<'a> EventRecord<'a> {
    /// Returns the event, or `None` if it is invalid. `topics` caches the topics of previous records.
    pub(super) fn event(&self, epoch: Epoch, topics: &mut HashMap<&'a str, Topic>) -> Option<Event> {
        // `arrived_at` and `expires` belong to the entry in history.
        let EventRecord { seq, time, arrived_at: _, expires: _, topic, event_type, headers, data } = *self;
        let topic = match topics.entry(topic) {
            hash_map::Entry::Occupied(known) => known.get().clone(),
            hash_map::Entry::Vacant(new) => new.insert(Topic::parse(topic).ok()?).clone(),
        };
        let event_type = event_type.map(EventType::parse).transpose().ok()?;
        let headers = Headers::from_lines(headers).ok()?;
        Some(Event::from_fields((EventId::new(epoch, seq), topic, event_type, headers, data.into(), time)))
    }
}

/// Bytes of a record before topic, type and data: four numbers and two lengths.
const RECORD_HEADER: usize = 4 * 8 + 2 * 2;
/// The length that marks an event without a type.
const NO_TYPE: u16 = u16::MAX;
/// Set in the length of the topic if the event has headers.
const HAS_HEADERS: u16 = 1 << 15;

/// A block under construction.
pub(super) struct BlockBuilder {
    bytes: Vec<u8>,
    events: usize,
}

impl Default for BlockBuilder {
    fn default() -> BlockBuilder {
        BlockBuilder { bytes: vec![0; 4], events: 0 }
    }
}

impl BlockBuilder {
    /// Number of events in the block.
    pub(super) fn events(&self) -> usize {
        self.events
    }

    /// Adds events until the block would have more than `most` bytes. An empty block accepts one event of any size.
    /// Returns the number of events added.
    pub(super) fn fill(&mut self, entries: &[Entry], most: usize) -> usize {
        let (before, block) = (self.events, &mut self.bytes);
        for Entry { event, arrived_at, expires, .. } in entries {
            // New events are always in memory.
            let Some(event) = event else { continue };
            let (id, topic, event_type, headers, data, time) = event.fields();
            let (topic, event_type, headers) = (topic.as_str(), event_type.map(EventType::as_str), headers.as_lines());
            let (flag, extra) = if headers.is_empty() { (0, 0) } else { (HAS_HEADERS, 2 + headers.len()) };
            let rest = RECORD_HEADER + topic.len() + event_type.map_or(0, str::len) + extra + data.len();
            if self.events > 0 && block.len() + 4 + rest > most {
                break;
            }
            self.events += 1;
            block.put_u32_le(rest as u32);
            block.put_u64_le(id.seq);
            block.put_u64_le(time);
            block.put_u64_le(*arrived_at);
            block.put_u64_le(expires.unwrap_or(u64::MAX));
            block.put_u16_le(topic.len() as u16 | flag);
            block.put_u16_le(event_type.map_or(NO_TYPE, |event_type| event_type.len() as u16));
            block.put_slice(topic.as_bytes());
            block.put_slice(event_type.unwrap_or_default().as_bytes());
            if flag == HAS_HEADERS {
                block.put_u16_le(headers.len() as u16);
                block.put_slice(headers.as_bytes());
            }
            block.put_slice(data.as_bytes());
        }
        self.events - before
    }

    /// Returns the block with its checksum.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let checksum = crc32fast::hash(&self.bytes[4..]);
        self.bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        self.bytes
    }
}

/// Encodes events as one block.
pub(super) fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut block = BlockBuilder::default();
    block.fill(entries, usize::MAX);
    block.finish()
}

/// Returns a block without the evicted events, or `None` if the block is damaged.
pub(super) fn without(block: &[u8], is_evicted: impl Fn(u64) -> bool) -> Option<BlockBuilder> {
    let mut kept = BlockBuilder::default();
    let mut rest = verify(block)?;
    while !rest.is_empty() {
        let (length, seq) = ((&rest[..]).try_get_u32_le().ok()?, rest.get(4..12)?.try_get_u64_le().ok()?);
        let whole = 4 + length as usize;
        if !is_evicted(seq) {
            kept.bytes.put_slice(rest.get(..whole)?);
            kept.events += 1;
        }
        rest = rest.get(whole..)?;
    }
    Some(kept)
}

/// Returns the events of a block, or `None` if the block is damaged.
pub(super) fn decode(block: &[u8]) -> Option<Vec<EventRecord<'_>>> {
    let mut records = Vec::new();
    let mut rest = verify(block)?;
    while !rest.is_empty() {
        let length = rest.try_get_u32_le().ok()? as usize;
        let mut record = rest.get(..length)?;
        rest.advance(length);
        let (seq, time) = (record.try_get_u64_le().ok()?, record.try_get_u64_le().ok()?);
        let (arrived_at, expires) = (record.try_get_u64_le().ok()?, record.try_get_u64_le().ok()?);
        let (topic, event_type) = (record.try_get_u16_le().ok()?, record.try_get_u16_le().ok()?);
        let has_headers = topic & HAS_HEADERS != 0;
        let (topic, after) = record.split_at_checked((topic & !HAS_HEADERS).into())?;
        let (event_type, mut data) =
            after.split_at_checked(if event_type == NO_TYPE { 0 } else { event_type.into() })?;
        let mut headers: &[u8] = &[];
        if has_headers {
            let length = data.try_get_u16_le().ok()?;
            (headers, data) = data.split_at_checked(length.into())?;
        }
        let text = |bytes| str::from_utf8(bytes).ok();
        records.push(EventRecord {
            seq,
            time,
            arrived_at,
            expires: Some(expires).filter(|expires| *expires != u64::MAX),
            topic: text(topic)?,
            event_type: if event_type.is_empty() { None } else { Some(text(event_type)?) },
            headers: text(headers)?,
            data: text(data)?,
        });
    }
    Some(records)
}

/// Appends the decoded events of a block to `events`. Returns `None` and appends nothing if the block is damaged.
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

fn verify(block: &[u8]) -> Option<&[u8]> {
    let (checksum, records) = block.split_first_chunk()?;
    (u32::from_le_bytes(*checksum) == crc32fast::hash(records)).then_some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> (Epoch, Vec<Entry>) {
        let epoch = Epoch::parse("e").unwrap();
        let entry = |seq, event_type: Option<&str>, headers: &[(&str, &str)], data: &str, expires| {
            let mut event = Event::new(EventId::new(epoch, seq), Topic::parse("a/b").unwrap(), data, 7);
            event.event_type = event_type.map(|event_type| EventType::parse(event_type).unwrap());
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
    fn encoded_events_decode_to_themselves() {
        let (epoch, entries) = entries();
        let block = encode(&entries);
        let read = decode(&block).unwrap();
        for (entry, record) in entries.iter().zip(&read) {
            let event = record.event(epoch, &mut HashMap::new()).unwrap();
            assert_eq!(
                (entry.event.as_deref(), entry.arrived_at, entry.expires),
                (Some(&event), record.arrived_at, record.expires)
            );
        }
        let less = without(&block, |seq| seq == 4).unwrap().finish();
        let mut remaining = Vec::new();
        events(&less, epoch, &mut remaining).unwrap();
        let seqs: Vec<_> = remaining.iter().map(|event| event.id.seq).collect();
        assert_eq!(seqs, [3, 5, 6, 9]);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_detected() {
        let (_, entries) = entries();
        let block = encode(&entries);
        for bit in 0..block.len() * 8 {
            let mut damaged = block.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged), None);
            assert!(without(&damaged, |_| false).is_none());
        }
        for length in 0..block.len() {
            assert!(decode(&block[..length]).is_none());
        }
    }
}
