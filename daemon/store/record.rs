//! How events stand on disk: pieces of many, each with a checksum, so that nothing wrong is ever taken for right.
//!
//! A piece is the CRC-32 of what follows, then records: the length of the rest, number, time (Unix milliseconds), when it
//! came and when it expires (milliseconds of the bus's clock), the lengths of topic and type, topic, type, data. Numbers
//! are little endian.
//!
//! Where the highest bit of the topic's length is set, the length of the headers and their
//! [lines](sse_bus::Headers::as_lines) stand between type and data. So an event without headers stands as it did before
//! schema 3, and what was written then is read as it is.

use std::collections::{HashMap, hash_map};

use bytes::{Buf, BufMut};
use sse_bus::{Epoch, Event, EventId, EventType, Headers, Topic, bus::history::Entry};

/// An event from disk, as it stands in its piece.
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

/// Encodes the first of some events as one piece, of at most so many bytes unless one event is larger. Gives how many
/// events it holds.
pub(super) fn encode(entries: &[Entry], most: usize) -> (Vec<u8>, usize) {
    let (mut piece, mut events) = (vec![0; 4], 0);
    for Entry { event, came, expires, .. } in entries {
        // What is new is in memory.
        let Some(event) = event else { continue };
        let (topic, kind) = (event.topic.as_str(), event.event_type.as_ref().map(EventType::as_str));
        let headers = event.headers.as_lines();
        let (flag, extra) = if headers.is_empty() { (0, 0) } else { (HAS_HEADERS, 2 + headers.len()) };
        let rest = HEAD + topic.len() + kind.map_or(0, str::len) + extra + event.data.len();
        if events > 0 && piece.len() + 4 + rest > most {
            break;
        }
        events += 1;
        piece.put_u32_le(rest as u32);
        piece.put_u64_le(event.id.seq);
        piece.put_u64_le(event.time);
        piece.put_u64_le(*came);
        piece.put_u64_le(expires.unwrap_or(u64::MAX));
        piece.put_u16_le(topic.len() as u16 | flag);
        piece.put_u16_le(kind.map_or(NO_TYPE, |kind| kind.len() as u16));
        piece.put_slice(topic.as_bytes());
        piece.put_slice(kind.unwrap_or_default().as_bytes());
        if flag == HAS_HEADERS {
            piece.put_u16_le(headers.len() as u16);
            piece.put_slice(headers.as_bytes());
        }
        piece.put_slice(event.data.as_bytes());
    }
    (seal(piece), events)
}

/// A piece without some of its events. Nothing if it is damaged.
pub(super) fn without(piece: &[u8], is_gone: impl Fn(u64) -> bool) -> Option<Vec<u8>> {
    let mut kept = vec![0; 4];
    let mut rest = checked(piece)?;
    while !rest.is_empty() {
        let (length, seq) = ((&rest[..]).try_get_u32_le().ok()?, rest.get(4..12)?.try_get_u64_le().ok()?);
        let whole = 4 + length as usize;
        if !is_gone(seq) {
            kept.put_slice(rest.get(..whole)?);
        }
        rest = rest.get(whole..)?;
    }
    Some(seal(kept))
}

/// The events of a piece. Nothing if it is damaged.
pub(super) fn decode(piece: &[u8]) -> Option<Vec<Record<'_>>> {
    let mut records = Vec::new();
    let mut rest = checked(piece)?;
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

/// Adds the events of a piece, to be delivered, to others. Nothing of it if it is damaged.
pub(super) fn events(piece: &[u8], epoch: Epoch, events: &mut Vec<Event>) -> Option<()> {
    let records = decode(piece)?;
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

fn seal(mut piece: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&piece[4..]);
    piece[..4].copy_from_slice(&checksum.to_le_bytes());
    piece
}

fn checked(piece: &[u8]) -> Option<&[u8]> {
    let (checksum, records) = piece.split_first_chunk()?;
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
        let (piece, _) = encode(&entries, usize::MAX);
        let read = decode(&piece).unwrap();
        for (entry, record) in entries.iter().zip(&read) {
            let event = record.event(epoch, &mut HashMap::new()).unwrap();
            assert_eq!(
                (entry.event.as_deref(), entry.came, entry.expires),
                (Some(&event), record.came, record.expires)
            );
        }
        let less = without(&piece, |seq| seq == 4).unwrap();
        let mut left = Vec::new();
        events(&less, epoch, &mut left).unwrap();
        let seqs: Vec<_> = left.iter().map(|event| event.id.seq).collect();
        assert_eq!(seqs, [3, 5, 6, 9]);
    }

    #[test]
    fn no_bit_can_change_unnoticed() {
        let (_, entries) = entries();
        let (piece, _) = encode(&entries, usize::MAX);
        for bit in 0..piece.len() * 8 {
            let mut damaged = piece.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged), None);
            assert_eq!(without(&damaged, |_| false), None);
        }
        for length in 0..piece.len() {
            assert_eq!(decode(&piece[..length]).map(|records| records.len()), None.filter(|_: &usize| length > 0));
        }
    }
}
