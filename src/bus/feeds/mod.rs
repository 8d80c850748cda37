//! Feeds: the live events that one set of filters lets through, in one format, as wire bytes.
//!
//! A publish appends to each matching feed; what one batch appended is sealed into a segment of contiguous, shared
//! bytes, [framed](super::framing) once for all subscribers that need a frame. A segment is dropped as soon as every live cursor has read it, so a feed holds only what its slowest reader
//! has not taken. That is bounded by `feed_buffer` for each feed (the newest segment always stays) and, once a batch is
//! published, by `feeds_buffer` for all (large feeds give first): the oldest segments go, and the cursors that had
//! not read them find that their feed has left them behind.
//!
//! A live cursor is that of one subscriber, or of a [group](super::shared_cursor).
//!
//! Feeds also carry events that are live only, which have no number and are in no history. A cursor that its feed has left
//! behind reads the others from history, and reports a gap if the newest place with such an event is not before its own.

#[cfg(debug_assertions)]
mod check;

use std::{
    collections::{HashMap, VecDeque},
    task::Waker,
};

use rustc_hash::FxHashMap;

use super::{
    format::Format,
    framing::{Chunk, ChunkBuffer},
    ids::{ClientId, FeedKey, ReaderId},
    shared_cursor::SharedCursor,
    wakeups::Wakeups,
};
use crate::{event::Event, limits::Limits, topic::FilterSet};

/// A segment is sealed when it reaches this size, so that readers can begin on it and bounds stay fine.
const SEGMENT_BYTES: usize = 32 << 10;

/// What one batch appended to a feed.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) chunk: Chunk,
    /// The turn of its first event.
    pub(super) turn: u64,
    /// The position of the log at its last event. A cursor that has read the segment has everything up to there.
    pub(super) last: u64,
    /// The newest number among its events; 0 if all are live only.
    pub(super) newest: u64,
    pub(super) events: u64,
    /// Events of all segments before it.
    before: u64,
    /// Live cursors that have not read it yet.
    unread: usize,
}

/// What is appended but not sealed yet.
#[derive(Debug, Default)]
struct Open {
    bytes: ChunkBuffer,
    turn: u64,
    last: u64,
    newest: u64,
    events: u64,
}

/// One feed.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) filters: FilterSet,
    pub(super) format: Format,
    pub(super) subscribers: usize,
    /// Live cursors.
    live: usize,
    segments: VecDeque<Segment>,
    /// The number of the oldest segment that is still there; segments are counted from 0.
    oldest: u64,
    /// Events of all segments that there have been.
    events: u64,
    bytes: usize,
    open: Open,
    /// The newest place with an event that is live only.
    last_live: Option<u64>,
    /// Subscribers that have read everything and wait, alone or in groups.
    pub(super) parked: FxHashMap<ClientId, Waker>,
    pub(super) groups: Vec<SharedCursor>,
}

/// What a cursor finds at its place in a feed.
pub(super) enum Next {
    /// A segment.
    Segment(Segment),
    /// Nothing new.
    Nothing,
    /// The feed has dropped segments that the cursor had not read.
    LeftBehind,
}

impl Feed {
    /// The place behind everything that is in the feed.
    pub(super) fn end(&self) -> u64 {
        self.oldest + self.segments.len() as u64
    }

    /// Whether a cursor that stops reading at a place, and reads history instead, misses events that are live only.
    pub(super) fn has_live_since(&self, position: u64) -> bool {
        self.last_live.is_some_and(|live| live >= position)
    }

    /// Looks at a cursor's place without reading.
    pub(super) fn peek(&self, position: u64) -> Next {
        let Some(index) = position.checked_sub(self.oldest) else { return Next::LeftBehind };
        self.segments.get(index as usize).map_or(Next::Nothing, |segment| Next::Segment(segment.clone()))
    }

    /// Events that wait for a cursor.
    pub(super) fn waiting(&self, position: u64) -> u64 {
        let skip = position.saturating_sub(self.oldest) as usize;
        self.segments.get(skip).map_or(0, |segment| self.events - segment.before)
    }

    pub(super) fn group(&self, reader: Option<ReaderId>) -> Option<&SharedCursor> {
        self.groups.iter().find(|group| Some(group.reader) == reader)
    }

    pub(super) fn group_or_new(&mut self, reader: ReaderId) -> &mut SharedCursor {
        match self.groups.iter().position(|group| group.reader == reader) {
            Some(known) => &mut self.groups[known],
            None => self.groups.push_mut(SharedCursor::new(reader)),
        }
    }

    pub(super) fn group_mut(&mut self, reader: Option<ReaderId>) -> Option<&mut SharedCursor> {
        self.groups.iter_mut().find(|group| Some(group.reader) == reader)
    }
}

/// All feeds.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    open: Vec<Option<Feed>>,
    free: Vec<FeedKey>,
    by_filters: HashMap<(FilterSet, Format), FeedKey>,
    /// Feeds with something open, to be sealed.
    dirty: Vec<FeedKey>,
    /// Bytes in all segments.
    bytes: usize,
    /// The feed with which the search for large ones continues.
    hand: FeedKey,
    /// Bytes in all feeds that are not sealed yet.
    open_bytes: usize,
    /// Each format's encoding of the event that is being published; empty if not needed yet.
    encoded: [Vec<u8>; Format::COUNT],
    /// Counts the events of all kinds: those without a number are delivered in the order of their turns.
    turn: u64,
}

impl Feeds {
    pub(super) fn get(&self, key: FeedKey) -> Option<&Feed> {
        self.open.get(key)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: FeedKey) -> Option<&mut Feed> {
        self.open.get_mut(key)?.as_mut()
    }

    /// The feed with these filters and format.
    pub(super) fn find(&self, filters: &FilterSet, format: Format) -> Option<FeedKey> {
        self.by_filters.get(&(filters.clone(), format)).copied()
    }

    /// A new feed.
    pub(super) fn open(&mut self, filters: FilterSet, format: Format) -> FeedKey {
        let key = self.free.pop().unwrap_or_else(|| {
            self.open.push(None);
            self.open.len() - 1
        });
        self.by_filters.insert((filters.clone(), format), key);
        self.open[key] = Some(Feed {
            filters,
            format,
            subscribers: 0,
            live: 0,
            segments: VecDeque::new(),
            oldest: 0,
            events: 0,
            bytes: 0,
            open: Open::default(),
            last_live: None,
            parked: FxHashMap::default(),
            groups: Vec::new(),
        });
        key
    }

    /// Closes a feed that nobody subscribes to any more.
    pub(super) fn close(&mut self, key: FeedKey) -> Option<Feed> {
        let feed = self.open.get_mut(key)?.take()?;
        self.bytes -= feed.bytes;
        self.open_bytes -= feed.open.bytes.len();
        self.by_filters.remove(&(feed.filters.clone(), feed.format));
        self.free.push(key);
        Some(feed)
    }

    /// Begins with a new event; encodings of the last one are forgotten. Returns the event's turn.
    pub(super) fn begin(&mut self) -> u64 {
        self.encoded.iter_mut().for_each(Vec::clear);
        self.turn += 1;
        self.turn
    }

    /// Appends the event to a feed, unless nobody reads it live.
    pub(super) fn append(&mut self, key: FeedKey, event: &Event, limits: &Limits) {
        self.append_encoded(key, event, event.id.seq, limits, |format, out| format.encode(event, out));
    }

    /// Appends an event that is live only. Its id is the position of the log.
    pub(super) fn append_live(&mut self, key: FeedKey, event: &Event, limits: &Limits) {
        let Some(feed) = self.get_mut(key) else { return };
        feed.last_live = Some(feed.end());
        if feed.live == 0 {
            // A cursor that begins to read the feed now does so behind this event.
            feed.oldest += 1;
        }
        self.append_encoded(key, event, 0, limits, |format, out| format.encode_live(None, event, out));
    }

    /// Appends an event, with its number if it has one.
    fn append_encoded(
        &mut self,
        key: FeedKey,
        event: &Event,
        number: u64,
        limits: &Limits,
        encode: impl FnOnce(Format, &mut Vec<u8>),
    ) {
        let Some(feed) = self.open.get_mut(key).and_then(Option::as_mut).filter(|feed| feed.live > 0) else { return };
        let encoded = &mut self.encoded[feed.format as usize];
        if encoded.is_empty() {
            encode(feed.format, encoded);
        }
        if feed.open.events == 0 {
            self.dirty.push(key);
        }
        // Many feeds may want a large event. Until the batch is published they may have as much again, then no more.
        if self.bytes + self.open_bytes + encoded.len() > limits.feeds_buffer.saturating_mul(2) {
            self.open_bytes -= feed.open.bytes.len();
            return feed.leave_behind(&mut self.bytes);
        }
        let open = &mut feed.open;
        if open.events == 0 {
            open.turn = self.turn;
        }
        self.open_bytes += encoded.len();
        open.last = event.id.seq;
        open.newest = open.newest.max(number);
        open.events += 1;
        open.bytes.append(encoded);
        if open.bytes.len() >= SEGMENT_BYTES {
            self.seal(key, limits);
        }
    }

    /// Seals what is open in a feed.
    pub(super) fn seal(&mut self, key: FeedKey, limits: &Limits) {
        let Some(feed) = self.open.get_mut(key).and_then(Option::as_mut).filter(|feed| feed.open.events > 0) else {
            return;
        };
        let Open { bytes, turn, last, newest, events } = std::mem::take(&mut feed.open);
        self.open_bytes -= bytes.len();
        if feed.live == 0 {
            feed.oldest += 1;
            return;
        }
        let chunk = Chunk::from(bytes);
        feed.bytes += chunk.len();
        self.bytes += chunk.len();
        let before = feed.events;
        feed.events += events;
        feed.segments.push_back(Segment { chunk, turn, last, newest, events, before, unread: feed.live });
        while feed.segments.len() > 1 && feed.bytes > limits.feed_buffer {
            feed.drop_oldest(&mut self.bytes);
        }
    }

    /// Brings the bytes of all feeds back towards their bound, in a step: of some feeds, others each time, those that hold more
    /// than the average give, the largest first. What steps do not keep up with is bounded by [`Feeds::append`].
    fn relieve(&mut self, most: usize) {
        /// Feeds that are looked at, and segments that are dropped.
        const AT_ONCE: usize = 2048;
        if self.bytes <= most {
            return;
        }
        // Some room is made ahead, so that this is not done for each batch.
        let target = most - most / 8;
        let average = self.bytes / self.by_filters.len().max(1);
        let begin = if self.hand < self.open.len() { self.hand } else { 0 };
        self.hand = self.open.len().min(begin + AT_ONCE);
        let feeds = self.open[begin..self.hand].iter_mut().flatten();
        let mut largest: Vec<&mut Feed> = feeds.filter(|feed| feed.bytes > 0 && feed.bytes >= average).collect();
        largest.sort_unstable_by_key(|feed| std::cmp::Reverse(feed.bytes));
        let mut dropped = 0;
        for feed in largest {
            while self.bytes > target && feed.bytes > 0 && dropped < AT_ONCE {
                feed.drop_oldest(&mut self.bytes);
                dropped += 1;
            }
        }
    }

    /// Seals every feed and calls those that wait for what was appended.
    pub(super) fn seal_all(&mut self, limits: &Limits, wakeups: &mut Wakeups) {
        while let Some(key) = self.dirty.pop() {
            self.seal(key, limits);
            if let Some(feed) = self.get_mut(key) {
                wakeups.woken.extend(feed.parked.drain().map(|(_, waker)| waker));
                wakeups.groups_of(key, &mut feed.groups);
            }
        }
        self.relieve(limits.feeds_buffer);
    }

    /// A cursor begins to read a feed live, at its end: what the feed has open came before.
    pub(super) fn join(&mut self, key: FeedKey, limits: &Limits) -> u64 {
        self.seal(key, limits);
        let end = self.get(key).map_or(0, Feed::end);
        self.enter(key, end);
        end
    }

    /// There is one more live cursor, at a position.
    pub(super) fn enter(&mut self, key: FeedKey, position: u64) {
        let Some(feed) = self.get_mut(key) else { return };
        feed.live += 1;
        feed.unread_from(position).for_each(|segment| segment.unread += 1);
    }

    /// A cursor stops reading a feed live: what it has not read waits for one reader less.
    pub(super) fn leave(&mut self, key: FeedKey, position: u64) {
        let Some(feed) = self.open.get_mut(key).and_then(Option::as_mut) else { return };
        feed.live -= 1;
        feed.unread_from(position).for_each(|segment| segment.unread -= 1);
        feed.drop_read(&mut self.bytes);
    }

    /// A cursor has read the segment at a position.
    pub(super) fn advance(&mut self, key: FeedKey, position: u64) {
        let Some(feed) = self.open.get_mut(key).and_then(Option::as_mut) else { return };
        let index = position.checked_sub(feed.oldest).map(|index| index as usize);
        if let Some(segment) = index.and_then(|index| feed.segments.get_mut(index)) {
            segment.unread -= 1;
        }
        feed.drop_read(&mut self.bytes);
    }
}

impl Feed {
    /// The segments that a cursor has not read.
    fn unread_from(&mut self, position: u64) -> impl Iterator<Item = &mut Segment> {
        self.segments.iter_mut().skip(position.saturating_sub(self.oldest) as usize)
    }

    fn drop_oldest(&mut self, total: &mut usize) {
        if let Some(segment) = self.segments.pop_front() {
            self.oldest += 1;
            self.bytes -= segment.chunk.len();
            *total -= segment.chunk.len();
        }
    }

    /// Lets everything go, and leaves all cursors behind, also those that have read everything.
    fn leave_behind(&mut self, total: &mut usize) {
        while !self.segments.is_empty() {
            self.drop_oldest(total);
        }
        self.open = Open::default();
        self.oldest += 1;
    }

    fn drop_read(&mut self, total: &mut usize) {
        while self.segments.front().is_some_and(|segment| segment.unread == 0) {
            self.drop_oldest(total);
        }
    }
}
