//! Feeds: the live events that match one set of filters, in one format, as wire bytes.
//!
//! A publish appends to each matching feed, or to very many in [steps](super::broadcasts). The events of one batch are sealed
//! into a segment of contiguous, shared bytes, [framed](super::framing) once for all subscribers that need a frame. A segment
//! is dropped as soon as every live cursor has read it, so a feed holds only what its slowest cursor has not read. This is
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
use std::collections::BTreeSet;
#[cfg(debug_assertions)]
use std::collections::HashMap;
use std::sync::Arc;

use super::{
    broadcasts::{Broadcasts, Outgoing, work_of},
    feed::{Feed, Open, Segment},
    format::Format,
    framing::Chunk,
    ids::FeedKey,
    split_map::SplitMap,
    wakeups::Wakeups,
};
use crate::{
    event::Event,
    limits::{BROADCASTS_MAX, FEEDS_AT_ONCE, Limits},
    topic::FilterSet,
};

/// A segment is sealed when it reaches this size, so that it can be read, and dropped, before the batch ends.
const SEGMENT_BYTES: usize = 32 << 10;

/// The events of a new segment, see [`Segment`].
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
    /// The number of subscribers of each feed. Apart from the feeds, so that those of very many feeds are quickly added.
    subscribers: Vec<u32>,
    free: Vec<FeedKey>,
    by_filters: SplitMap<(FilterSet, Format), FeedKey>,
    /// Feeds with events that are not sealed.
    dirty: Vec<FeedKey>,
    /// Bytes in all segments.
    bytes: usize,
    /// The feed with which the search for large feeds continues.
    hand: FeedKey,
    /// Bytes that are not sealed, in all feeds.
    open_bytes: usize,
    /// The encodings of the event that is being published. Kept to reuse their memory; taken meanwhile.
    outgoing: Option<Box<Outgoing>>,
    /// Events that not all of their feeds have yet.
    broadcasts: Broadcasts,
    /// Counts all events, live-only ones too; unicast events are delivered in the order of turns.
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

    /// Returns the number of subscribers of feeds.
    pub(super) fn subscribers(&self, feeds: &[FeedKey]) -> u64 {
        feeds.iter().map(|key| u64::from(self.subscribers[*key])).sum()
    }

    /// Closes a feed that has no subscribers any more.
    pub(super) fn close(&mut self, key: FeedKey) -> Option<Box<Feed>> {
        let feed = self.open.get_mut(key)?.take()?;
        self.bytes -= feed.bytes;
        self.open_bytes -= feed.open.bytes.len();
        self.by_filters.remove(&(feed.filters.clone(), feed.format));
        self.free.push(key);
        Some(feed)
    }

    /// Begins a new event. Returns its turn.
    pub(super) fn begin(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    /// Appends an event to feeds: at once if that is little work, or else in steps, see
    /// [`broadcasts`](super::broadcasts). The keys must be sorted. A live-only event has the position of the log as its id.
    pub(super) fn publish(&mut self, feeds: &[FeedKey], event: &Arc<Event>, is_live: bool, limits: &Limits) {
        let (turn, work) = (self.begin(), work_of(event));
        if feeds.is_empty() {
            return;
        }
        if feeds.len() > 1 && feeds.len() * (self.broadcasts.work() + work) > FEEDS_AT_ONCE {
            while self.broadcasts.is_full(work) {
                self.broadcast_some(limits);
            }
            return self.broadcasts.push(feeds, Outgoing::new(event, is_live, turn), work);
        }
        let mut outgoing = self.outgoing.take().unwrap_or_default();
        outgoing.begin(event, is_live, turn);
        for key in feeds {
            self.catch_up(*key, limits);
            self.append(*key, &mut outgoing, limits);
        }
        outgoing.end();
        self.outgoing = Some(outgoing);
    }

    /// Appends the broadcasts to a feed that it does not have yet. Returns the work that this was.
    fn catch_up(&mut self, key: FeedKey, limits: &Limits) -> usize {
        let end = self.broadcasts.end();
        let Some(feed) = self.get_mut(key).filter(|feed| feed.next_broadcast < end) else { return 0 };
        let next = std::mem::replace(&mut feed.next_broadcast, end);
        let mut broadcasts = std::mem::take(&mut self.broadcasts);
        let mut total = 0;
        for (outgoing, work) in broadcasts.for_feed(key, next) {
            self.append(key, outgoing, limits);
            total += work;
        }
        self.broadcasts = broadcasts;
        total
    }

    /// Appends the oldest broadcast to the next of its feeds, each after it has caught up, in a bounded step.
    fn broadcast_some(&mut self, limits: &Limits) {
        let mut work = 0;
        while work < FEEDS_AT_ONCE
            && let Some(key) = self.broadcasts.next_feed()
        {
            work += self.catch_up(key, limits).max(1);
        }
    }

    /// Appends an event to a feed, unless the feed has no live cursor.
    fn append(&mut self, key: FeedKey, outgoing: &mut Outgoing, limits: &Limits) {
        let Some(feed) = self.open.get_mut(key).and_then(Option::as_mut) else { return };
        if outgoing.is_live {
            feed.last_live = Some(feed.end());
            if feed.live == 0 {
                // A cursor that joins the feed later begins after this event.
                feed.oldest += 1;
            }
        }
        if feed.live == 0 {
            return;
        }
        let encoded = outgoing.encoded(feed.format);
        if feed.open.events == 0 {
            self.dirty.push(key);
        }
        // A large event may match many feeds. Until the batch is published, feeds may hold twice the bound.
        if self.bytes + self.open_bytes + encoded.len() > limits.feeds_buffer.saturating_mul(2) {
            self.open_bytes -= feed.open.bytes.len();
            return feed.leave_behind(&mut self.bytes);
        }
        if let Some(chunk) = outgoing.shared(feed.format) {
            let (turn, last, newest) = (outgoing.turn, outgoing.position(), outgoing.seq());
            self.seal_open(key, limits);
            return self.push(key, chunk, Sealed { turn, last, newest, events: 1 }, limits);
        }
        let encoded = outgoing.encoded(feed.format);
        let open = &mut feed.open;
        self.open_bytes += encoded.len();
        open.bytes.append(encoded);
        if open.events == 0 {
            open.turn = outgoing.turn;
        }
        open.last = outgoing.position();
        open.newest = open.newest.max(outgoing.seq());
        open.events += 1;
        if open.bytes.len() >= SEGMENT_BYTES {
            self.seal_open(key, limits);
        }
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
        let mut largest: Vec<_> = feeds.filter(|feed| feed.bytes > 0 && feed.bytes >= average).collect();
        largest.sort_unstable_by_key(|feed| std::cmp::Reverse(feed.bytes));
        let mut dropped = 0;
        for feed in largest {
            while self.bytes > target && feed.bytes > 0 && dropped < AT_ONCE {
                feed.drop_oldest(&mut self.bytes);
                dropped += 1;
            }
        }
    }

    /// Seals feeds and wakes the clients that wait for their events, or else continues a broadcast, in a bounded step. Returns
    /// true if there is more to do.
    pub(super) fn finish_some(&mut self, limits: &Limits, wakeups: &mut Wakeups) -> bool {
        if !self.dirty.is_empty() {
            self.seal_some(limits, wakeups);
        } else if !self.broadcasts.is_empty() {
            self.broadcast_some(limits);
        }
        self.relieve(limits.feeds_buffer);
        !self.dirty.is_empty() || !self.broadcasts.is_empty()
    }

    /// Seals feeds with open events, and wakes the clients that wait for them, in a bounded step.
    fn seal_some(&mut self, limits: &Limits, wakeups: &mut Wakeups) {
        let mut left = FEEDS_AT_ONCE;
        while left > 0
            && let Some(key) = self.dirty.last().copied()
        {
            left = left.saturating_sub(1 + self.seal(key, limits));
            if let Some(feed) = self.get_mut(key) {
                wakeups.shared_cursors_of(key, &mut feed.shared_cursors);
                let before = wakeups.woken.len();
                feed.parked.remove_some(left, |waker| wakeups.woken.push(waker));
                left -= wakeups.woken.len() - before;
                if !feed.parked.is_empty() {
                    break;
                }
            }
            self.dirty.pop();
        }
    }

    /// Returns the number of broadcasts so far.
    pub(super) fn broadcasts(&self) -> u64 {
        self.broadcasts.end()
    }

    /// Returns true if the events that wait for very many feeds are a quarter of the most that may.
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
        self.open.iter().enumerate().filter_map(|(key, feed)| Some((key, feed.as_deref()?)))
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
            assert_eq!(self.subscribers[key] as usize, users.subscribers, "subscribers of feed {key}");
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
        assert_eq!(self.free.len(), unused.len(), "free feed keys");
        assert_eq!(self.free.iter().copied().collect::<BTreeSet<_>>(), unused, "free feed keys");
        assert!(unused.iter().all(|key| self.subscribers[*key] == 0), "subscribers of closed feeds");
        self.broadcasts.self_check();
    }
}
