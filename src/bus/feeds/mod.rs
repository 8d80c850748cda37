//! Feeds: the live events that match one set of filters, in one format, as wire bytes.
//!
//! A publish appends the event to each matching feed; if very many match, in [steps](super::broadcasts). The events of one
//! batch are sealed into a segment of contiguous, shared bytes, [framed](super::framing) once for all subscribers that need a
//! frame. A segment is dropped as soon as every live cursor has read it, so a feed holds only what its slowest cursor has not read. This is
//! bounded by `feed_buffer` for each feed (the newest segment always stays) and, once a batch is published, by `feeds_buffer`
//! for all feeds, starting with the largest. At a bound the oldest segments are dropped; the cursors that had not read them
//! fall behind, and read history instead.
//!
//! A live cursor belongs to one subscriber, or to a [shared cursor](super::shared_cursor).
//!
//! Feeds also carry live-only events, which have no sequence number and are not in history. A cursor that fell behind reads all
//! other events from history. The feed records the position of its last live-only event, so that the cursor reports a gap for
//! those it missed.
//!
//! A position in a feed is the index of a segment.

#[cfg(debug_assertions)]
mod check;
mod finish;
mod publish;

use super::{
    broadcasts::{Broadcasts, Outgoing},
    feed::{Feed, Open, Segment},
    format::Format,
    framing::Chunk,
    ids::FeedKey,
    split_map::SplitMap,
};
use crate::{
    limits::{BROADCASTS_MAX, Limits},
    topic::FilterSet,
};

/// A segment is sealed when it reaches this size, so that it can be read, and dropped, before the batch ends.
const SEGMENT_BYTES: usize = 32 << 10;

/// What a new [`Segment`] records about its events.
#[derive(Clone, Copy)]
struct Sealed {
    turn: u64,
    last: u64,
    newest: u64,
    events: u64,
}

/// All feeds.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    /// Boxed, so that a step that adds a feed moves only pointers when the table grows.
    open: Vec<Option<Box<Feed>>>,
    /// The number of subscribers of each feed. Stored apart from the feeds, so that summing over very many feeds is fast.
    subscribers: Vec<u32>,
    free: Vec<FeedKey>,
    by_filters: SplitMap<(FilterSet, Format), FeedKey>,
    /// Feeds with events that are not sealed.
    dirty: Vec<FeedKey>,
    /// Bytes in all segments.
    bytes: usize,
    /// The feed at which the next search for large feeds starts.
    hand: FeedKey,
    /// Bytes that are not sealed, in all feeds.
    open_bytes: usize,
    /// The encodings of the event that is being published. Kept between publishes to reuse their memory; None during one.
    outgoing: Option<Box<Outgoing>>,
    /// Events that have not been appended to all of their feeds yet.
    broadcasts: Broadcasts,
    /// The number of events published so far, including live-only ones. It orders unicast events among the others.
    turn: u64,
}

impl Feeds {
    pub(super) fn get(&self, key: FeedKey) -> Option<&Feed> {
        self.open.get(key)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, key: FeedKey) -> Option<&mut Feed> {
        self.open.get_mut(key)?.as_deref_mut()
    }

    /// Returns the keys of all feeds.
    pub(super) fn keys(&self) -> Vec<FeedKey> {
        (0..self.open.len()).filter(|key| self.open[*key].is_some()).collect()
    }

    /// Returns the feed with these filters and format.
    pub(super) fn find(&self, filters: &FilterSet, format: Format) -> Option<FeedKey> {
        self.by_filters.get(&(filters.clone(), format)).copied()
    }

    /// Opens a feed.
    pub(super) fn open(&mut self, filters: FilterSet, format: Format) -> FeedKey {
        let key = self.free.pop().unwrap_or_else(|| {
            self.open.push(None);
            self.subscribers.push(0);
            self.open.len() - 1
        });
        self.by_filters.insert((filters.clone(), format), key);
        self.open[key] = Some(Box::new(Feed { next_broadcast: self.broadcasts.end(), ..Feed::new(filters, format) }));
        key
    }

    /// Adds a subscriber to a feed.
    pub(super) fn add_subscriber(&mut self, key: FeedKey) {
        self.subscribers[key] += 1;
    }

    /// Removes a subscriber from a feed. Returns true if it was the last one.
    pub(super) fn remove_subscriber(&mut self, key: FeedKey) -> bool {
        self.subscribers[key] -= 1;
        self.subscribers[key] == 0
    }

    /// Returns the number of subscribers of these feeds together.
    pub(super) fn subscribers(&self, feeds: &[FeedKey]) -> u64 {
        feeds.iter().map(|key| u64::from(self.subscribers[*key])).sum()
    }

    /// Closes a feed without subscribers.
    pub(super) fn close(&mut self, key: FeedKey) -> Option<Box<Feed>> {
        let feed = self.open.get_mut(key)?.take()?;
        self.bytes -= feed.bytes;
        self.open_bytes -= feed.open.bytes.len();
        self.by_filters.remove(&(feed.filters.clone(), feed.format));
        self.free.push(key);
        Some(feed)
    }

    /// Appends the broadcasts that the feed does not have yet, and seals its open events. Returns the work of the broadcasts.
    pub(super) fn seal(&mut self, key: FeedKey, limits: &Limits) -> usize {
        let work = self.catch_up(key, limits);
        self.seal_open(key, limits);
        work
    }

    /// Seals the open events of a feed.
    fn seal_open(&mut self, key: FeedKey, limits: &Limits) {
        let Some(feed) = self.open.get_mut(key).and_then(Option::as_mut).filter(|feed| feed.open.events > 0) else {
            return;
        };
        let Open { bytes, turn, last, newest, events } = std::mem::take(&mut feed.open);
        self.open_bytes -= bytes.len();
        if feed.live == 0 {
            feed.oldest += 1;
            return;
        }
        self.push(key, bytes.into(), Sealed { turn, last, newest, events }, limits);
    }

    /// Adds a segment to a feed.
    fn push(&mut self, key: FeedKey, chunk: Chunk, sealed: Sealed, limits: &Limits) {
        let Some(feed) = self.open.get_mut(key).and_then(Option::as_mut) else { return };
        let Sealed { turn, last, newest, events } = sealed;
        feed.bytes += chunk.len();
        self.bytes += chunk.len();
        let before = feed.events;
        feed.events += events;
        feed.segments.push_back(Segment { chunk, turn, last, newest, events, before, unread: feed.live });
        while feed.segments.len() > 1 && feed.bytes > limits.feed_buffer {
            feed.drop_oldest(&mut self.bytes);
        }
    }

    /// Returns the number of broadcasts so far.
    pub(super) fn broadcasts(&self) -> u64 {
        self.broadcasts.end()
    }

    /// Returns true if the work of unfinished broadcasts is above a quarter of its maximum.
    pub(super) fn has_many_broadcasts(&self) -> bool {
        self.broadcasts.work() > BROADCASTS_MAX / 4
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

    /// Removes a live cursor. The segments that it has not read no longer wait for it.
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
