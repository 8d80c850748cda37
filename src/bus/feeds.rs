//! Feeds: the live events that match one set of filters, in one format, as wire bytes.
//!
//! A publish appends to each matching feed. The events of one batch are sealed into a segment of contiguous, shared bytes,
//! [framed](super::framing) once for all subscribers that need a frame. A segment is dropped as soon as every live cursor has
//! read it, so a feed holds only what its slowest cursor has not read. This is bounded by `feed_buffer` for each feed (the
//! newest segment always stays) and, once a batch is published, by `feeds_buffer` for all feeds, starting with the largest.
//! At a bound the oldest segments are dropped; the cursors that had not read them fall behind, and read history instead.
//!
//! A live cursor belongs to one subscriber, or to a [group](super::shared_cursor).
//!
//! Feeds also carry live-only events, which have no number and are not in history. A cursor that fell behind reads all other
//! events from history. The feed records the position of its last live-only event, so that the cursor reports a gap for those
//! it missed.
//!
//! A position in a feed is the number of a segment.

#[cfg(debug_assertions)]
use std::collections::BTreeSet;
use std::collections::HashMap;

use super::{
    feed::{Feed, Open, Segment},
    format::Format,
    framing::Chunk,
    ids::FeedKey,
    wakeups::Wakeups,
};
use crate::{event::Event, limits::Limits, topic::FilterSet};

/// A segment is sealed when it reaches this size, so that it can be read, and dropped, before the batch ends.
const SEGMENT_BYTES: usize = 32 << 10;

/// All feeds.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    open: Vec<Option<Feed>>,
    free: Vec<FeedKey>,
    by_filters: HashMap<(FilterSet, Format), FeedKey>,
    /// Feeds with events that are not sealed.
    dirty: Vec<FeedKey>,
    /// Bytes in all segments.
    bytes: usize,
    /// The feed with which the search for large feeds continues.
    hand: FeedKey,
    /// Bytes that are not sealed, in all feeds.
    open_bytes: usize,
    /// The event that is being published, encoded in each format that was needed so far.
    encoded: [Vec<u8>; Format::COUNT],
    /// Counts all events, numbered or live-only; unicast events are delivered in the order of turns.
    turn: u64,
}

impl Feeds {
    pub(super) fn get(&self, key: FeedKey) -> Option<&Feed> {
        self.open.get(key)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: FeedKey) -> Option<&mut Feed> {
        self.open.get_mut(key)?.as_mut()
    }

    /// Returns the feed with these filters and format.
    pub(super) fn find(&self, filters: &FilterSet, format: Format) -> Option<FeedKey> {
        self.by_filters.get(&(filters.clone(), format)).copied()
    }

    /// Opens a feed.
    pub(super) fn open(&mut self, filters: FilterSet, format: Format) -> FeedKey {
        let key = self.free.pop().unwrap_or_else(|| {
            self.open.push(None);
            self.open.len() - 1
        });
        self.by_filters.insert((filters.clone(), format), key);
        self.open[key] = Some(Feed::new(filters, format));
        key
    }

    /// Closes a feed that has no subscribers any more.
    pub(super) fn close(&mut self, key: FeedKey) -> Option<Feed> {
        let feed = self.open.get_mut(key)?.take()?;
        self.bytes -= feed.bytes;
        self.open_bytes -= feed.open.bytes.len();
        self.by_filters.remove(&(feed.filters.clone(), feed.format));
        self.free.push(key);
        Some(feed)
    }

    /// Begins a new event, and discards the encodings of the last one. Returns the event's turn.
    pub(super) fn begin(&mut self) -> u64 {
        self.encoded.iter_mut().for_each(Vec::clear);
        self.turn += 1;
        self.turn
    }

    /// Appends the event to a feed, unless the feed has no live cursor.
    pub(super) fn append(&mut self, key: FeedKey, event: &Event, limits: &Limits) {
        self.append_encoded(key, event, event.id.seq, limits, |format, out| format.encode(event, out));
    }

    /// Appends a live-only event. Its id is the position of the log.
    pub(super) fn append_live(&mut self, key: FeedKey, event: &Event, limits: &Limits) {
        let Some(feed) = self.get_mut(key) else { return };
        feed.last_live = Some(feed.end());
        if feed.live == 0 {
            // A cursor that joins the feed later begins after this event.
            feed.oldest += 1;
        }
        self.append_encoded(key, event, 0, limits, |format, out| format.encode_live(None, event, out));
    }

    /// Appends an event with its number, which is 0 for a live-only one.
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
        // A large event may match many feeds. Until the batch is published, feeds may hold twice the bound.
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

    /// Seals the open events of a feed.
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

    /// Reduces the bytes of all feeds towards their bound, in a bounded step: examines the next feeds, and drops segments of
    /// those that hold more than the average, beginning with the largest. [`Feeds::append`] bounds the rest.
    fn relieve(&mut self, most: usize) {
        /// Feeds that a step examines, and segments that it drops.
        const AT_ONCE: usize = 2048;
        if self.bytes <= most {
            return;
        }
        // Drop more than necessary, so that not every batch has to do this.
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

    /// Seals every feed, and wakes the clients that wait for its events.
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

    /// Adds a live cursor at the end of a feed, after its open events. Returns its position.
    pub(super) fn join(&mut self, key: FeedKey, limits: &Limits) -> u64 {
        self.seal(key, limits);
        let end = self.get(key).map_or(0, Feed::end);
        self.enter(key, end);
        end
    }

    /// Adds a live cursor at a position.
    pub(super) fn enter(&mut self, key: FeedKey, position: u64) {
        let Some(feed) = self.get_mut(key) else { return };
        feed.live += 1;
        feed.unread_from(position).for_each(|segment| segment.unread += 1);
    }

    /// Removes a live cursor. Segments that it has not read wait for one cursor less.
    pub(super) fn leave(&mut self, key: FeedKey, position: u64) {
        let Some(feed) = self.open.get_mut(key).and_then(Option::as_mut) else { return };
        feed.live -= 1;
        feed.unread_from(position).for_each(|segment| segment.unread -= 1);
        feed.drop_read(&mut self.bytes);
    }

    /// Records that a cursor has read the segment at a position.
    pub(super) fn advance(&mut self, key: FeedKey, position: u64) {
        let Some(feed) = self.open.get_mut(key).and_then(Option::as_mut) else { return };
        let index = position.checked_sub(feed.oldest).map(|index| index as usize);
        if let Some(segment) = index.and_then(|index| feed.segments.get_mut(index)) {
            segment.unread -= 1;
        }
        feed.drop_read(&mut self.bytes);
    }
}

#[cfg(debug_assertions)]
impl Feeds {
    pub(super) fn iter(&self) -> impl Iterator<Item = (FeedKey, &Feed)> {
        self.open.iter().enumerate().filter_map(|(key, feed)| Some((key, feed.as_ref()?)))
    }

    /// Returns true if the feed is sealed, and its clients are woken, when the batch ends.
    pub(super) fn self_check_is_dirty(&self, key: FeedKey) -> bool {
        self.dirty.contains(&key)
    }

    pub(super) fn self_check(&self, users: &HashMap<FeedKey, super::feed::FeedUsers>) {
        let (mut bytes, mut open_bytes) = (0, 0);
        for (key, feed) in self.iter() {
            let Some(users) = users.get(&key) else { panic!("feed {key} has no subscribers") };
            feed.self_check(key, users);
            bytes += feed.bytes;
            open_bytes += feed.open.bytes.len();
            assert!(feed.open.events == 0 || self.self_check_is_dirty(key), "feed {key} is open, and not to be sealed");
            let found = self.by_filters.get(&(feed.filters.clone(), feed.format));
            assert_eq!(found, Some(&key), "the feed with {:?} in {:?}", feed.filters, feed.format);
        }
        assert_eq!(self.bytes, bytes, "bytes of all feeds");
        assert_eq!(self.open_bytes, open_bytes, "open bytes of all feeds");
        assert_eq!(self.by_filters.len(), self.iter().count(), "feeds that are found by their filters");
        let unused: BTreeSet<_> = (0..self.open.len()).filter(|key| self.open[*key].is_none()).collect();
        assert_eq!(self.free.len(), unused.len(), "free feed numbers");
        assert_eq!(self.free.iter().copied().collect::<BTreeSet<_>>(), unused, "free feed numbers");
    }
}
