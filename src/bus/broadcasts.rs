//! Broadcasts: events for very many feeds, which receive them in steps.
//!
//! Appending an event to each of 50,000 feeds takes several milliseconds. So an event whose appends take more than
//! [`FEEDS_AT_ONCE`] [units](work_of) of work is stored once, and the next calls of
//! [`Bus::finish_some`](super::Bus::finish_some) append it to some of the feeds at a time. A feed first receives the broadcasts
//! that it does not have yet whenever it is read, joined or appended to. So its content does not depend on the steps: they only
//! determine when its clients are woken.
//!
//! The waiting events are bounded by [`BROADCASTS_MAX`]. The next publish to very many feeds then appends them all.
//!
//! [`FEEDS_AT_ONCE`]: crate::limits::FEEDS_AT_ONCE

use std::{collections::VecDeque, sync::Arc};

use super::{
    feed_set::FeedSet,
    format::Format,
    framing::{Chunk, ChunkBuffer},
    ids::FeedKey,
};
use crate::{event::Event, limits::BROADCASTS_MAX};

/// Bytes of data that are copied in about the time of the rest of an append.
const WORK_BYTES: usize = 2 << 10;

/// An event that is at least this large when encoded is not copied: the feeds share its chunk, as a segment of its own.
const SHARED_BYTES: usize = 32 << 10;

/// Returns the work of appending an event to one feed: 1, and more for bytes that are copied.
pub(super) fn work_of(event: &Event) -> usize {
    if event.data.len() >= SHARED_BYTES { 1 } else { 1 + event.data.len() / WORK_BYTES }
}

/// An event that is being appended to feeds, encoded in each format that was needed so far.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    event: Option<Arc<Event>>,
    /// The event has no sequence number. Its id is the position of the log.
    pub(super) is_live: bool,
    /// See [`Feeds::begin`](super::feeds::Feeds::begin).
    pub(super) turn: u64,
    encoded: [Vec<u8>; Format::COUNT],
    /// The chunks of a large event, in each format that was needed so far.
    shared: [Option<Chunk>; Format::COUNT],
}

impl Outgoing {
    pub(super) fn new(event: &Arc<Event>, is_live: bool, turn: u64) -> Outgoing {
        Outgoing { event: Some(event.clone()), is_live, turn, ..Outgoing::default() }
    }

    /// Begins with another event.
    pub(super) fn begin(&mut self, event: &Arc<Event>, is_live: bool, turn: u64) {
        (self.event, self.is_live, self.turn) = (Some(event.clone()), is_live, turn);
    }

    /// Frees the event. The memory of its encodings is reused.
    pub(super) fn end(&mut self) {
        self.event = None;
        self.encoded.iter_mut().for_each(Vec::clear);
        self.shared = Default::default();
    }

    /// Returns the event in a format.
    pub(super) fn encoded(&mut self, format: Format) -> &[u8] {
        let encoded = &mut self.encoded[format as usize];
        if let Some(event) = self.event.as_ref().filter(|_| encoded.is_empty()) {
            if self.is_live {
                format.encode_live(None, event, encoded);
            } else {
                format.encode(event, encoded);
            }
        }
        encoded
    }

    /// Returns the chunk of a large event in a format.
    pub(super) fn shared(&mut self, format: Format) -> Option<Chunk> {
        if self.encoded(format).len() < SHARED_BYTES {
            return None;
        }
        let encoded = &self.encoded[format as usize];
        let chunk = self.shared[format as usize].get_or_insert_with(|| {
            let mut buffer = ChunkBuffer::default();
            buffer.append(encoded);
            buffer.into()
        });
        Some(chunk.clone())
    }

    /// Returns the position of the log at the event.
    pub(super) fn position(&self) -> u64 {
        self.event.as_ref().map_or(0, |event| event.id.seq)
    }

    /// Returns the event's sequence number; 0 for a live-only one.
    pub(super) fn seq(&self) -> u64 {
        if self.is_live { 0 } else { self.position() }
    }
}

/// An event that not all of its feeds have yet.
#[derive(Debug)]
struct Broadcast {
    outgoing: Outgoing,
    /// Its feeds. Consecutive events for the same feeds share them.
    feeds: Arc<FeedSet>,
    /// The key from which on the steps have not reached its feeds.
    next: FeedKey,
    /// The work of appending it to one feed.
    work: usize,
}

/// The events that not all of their feeds have yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Broadcasts {
    queue: VecDeque<Broadcast>,
    /// The index of the oldest. Indexes count all broadcasts, from 0.
    first: u64,
    /// The work of appending all of them to one feed.
    work: usize,
}

impl Broadcasts {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns the work of appending all of them to one feed.
    pub(super) fn work(&self) -> usize {
        self.work
    }

    /// Returns true if there is no room for an event. There always is for one.
    pub(super) fn is_full(&self, work: usize) -> bool {
        !self.is_empty() && self.work + work > BROADCASTS_MAX
    }

    /// Returns the index of the next broadcast.
    pub(super) fn end(&self) -> u64 {
        self.first + self.queue.len() as u64
    }

    /// Adds an event for feeds. `work` is that of appending it to one feed.
    pub(super) fn push(&mut self, feeds: &[FeedKey], outgoing: Outgoing, work: usize) {
        let feeds = FeedSet::new(feeds);
        let feeds = match self.queue.back() {
            Some(last) if *last.feeds == feeds => last.feeds.clone(),
            _ => feeds.into(),
        };
        self.work += work;
        self.queue.push_back(Broadcast { outgoing, feeds, next: 0, work });
    }

    /// Returns the events for a feed, beginning with the broadcast at an index, each with the work of appending it.
    pub(super) fn for_feed(&mut self, key: FeedKey, next: u64) -> impl Iterator<Item = (&mut Outgoing, usize)> {
        let unseen = self.queue.iter_mut().skip(next.saturating_sub(self.first) as usize);
        let wanted = unseen.filter(move |broadcast| broadcast.feeds.contains(key));
        wanted.map(|Broadcast { outgoing, work, .. }| (outgoing, *work))
    }

    /// Returns the next feed of the oldest event, which then counts as reached. Removes the event instead if there is none.
    pub(super) fn next_feed(&mut self) -> Option<FeedKey> {
        let oldest = self.queue.front_mut()?;
        let Some(key) = oldest.feeds.next_from(oldest.next) else {
            self.work -= oldest.work;
            self.first += 1;
            self.queue.pop_front();
            return None;
        };
        oldest.next = key + 1;
        Some(key)
    }
}

#[cfg(debug_assertions)]
impl Broadcasts {
    pub(super) fn self_check(&self) {
        let work = self.queue.iter().map(|broadcast| broadcast.work).sum::<usize>();
        assert_eq!(self.work, work, "the work of all broadcasts");
        assert!(self.queue.len() < 2 || work <= BROADCASTS_MAX, "the work of broadcasts is {work}");
        assert!(self.queue.iter().is_sorted_by_key(|broadcast| broadcast.outgoing.turn), "turns of broadcasts");
    }
}
