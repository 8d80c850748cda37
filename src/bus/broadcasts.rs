//! Broadcasts: events for very many feeds, which receive them in steps.
//!
//! Appending an event to each of 50,000 feeds takes several milliseconds. So an event for more than
//! [`FEEDS_AT_ONCE`] feeds is stored once, and the next calls of [`Bus::finish_some`](super::Bus::finish_some) append it to
//! some of them at a time. A feed first receives the broadcasts that it does not have yet whenever it is read, joined or
//! appended to. So its content does not depend on the steps: they only determine when its clients are woken.
//!
//! At most [`BROADCASTS_MAX`] events wait. The next publish to very many feeds then appends them all.

use std::{collections::VecDeque, sync::Arc};

use super::{format::Format, ids::FeedKey};
use crate::{
    event::Event,
    limits::{BROADCASTS_MAX, FEEDS_AT_ONCE},
};

/// An event that is being appended to feeds, encoded in each format that was needed so far.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    event: Option<Arc<Event>>,
    /// The event has no sequence number. Its id is the position of the log.
    pub(super) is_live: bool,
    /// See [`Feeds::begin`](super::feeds::Feeds::begin).
    pub(super) turn: u64,
    encoded: [Vec<u8>; Format::COUNT],
}

impl Outgoing {
    pub(super) fn new(event: &Arc<Event>, is_live: bool, turn: u64) -> Outgoing {
        Outgoing { event: Some(event.clone()), is_live, turn, encoded: Default::default() }
    }

    /// Begins with another event.
    pub(super) fn begin(&mut self, event: &Arc<Event>, is_live: bool, turn: u64) {
        (self.event, self.is_live, self.turn) = (Some(event.clone()), is_live, turn);
    }

    /// Frees the event. The memory of its encodings is reused.
    pub(super) fn end(&mut self) {
        self.event = None;
        self.encoded.iter_mut().for_each(Vec::clear);
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
    /// The keys of its feeds, sorted. Consecutive events for the same feeds share them.
    feeds: Arc<[FeedKey]>,
    /// The number of feeds that the steps have reached.
    reached: usize,
}

/// The events that not all of their feeds have yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Broadcasts {
    queue: VecDeque<Broadcast>,
    /// The index of the oldest. Indexes count all broadcasts, from 0.
    first: u64,
}

impl Broadcasts {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= BROADCASTS_MAX
    }

    /// Returns the index of the next broadcast.
    pub(super) fn end(&self) -> u64 {
        self.first + self.queue.len() as u64
    }

    /// Adds an event for feeds, whose keys must be sorted.
    pub(super) fn push(&mut self, feeds: &[FeedKey], outgoing: Outgoing) {
        let feeds = match self.queue.back() {
            Some(last) if *last.feeds == *feeds => last.feeds.clone(),
            _ => feeds.into(),
        };
        self.queue.push_back(Broadcast { outgoing, feeds, reached: 0 });
    }

    /// Returns the events for a feed, beginning with the broadcast at an index.
    pub(super) fn for_feed(&mut self, key: FeedKey, next: u64) -> impl Iterator<Item = &mut Outgoing> {
        let unseen = self.queue.iter_mut().skip(next.saturating_sub(self.first) as usize);
        unseen.filter(move |broadcast| broadcast.feeds.binary_search(&key).is_ok()).map(|found| &mut found.outgoing)
    }

    /// Returns the next feeds of the oldest event, which then count as reached.
    pub(super) fn next_feeds(&mut self) -> Vec<FeedKey> {
        let Some(Broadcast { feeds, reached, .. }) = self.queue.front_mut() else { return Vec::new() };
        let begin = *reached;
        *reached = feeds.len().min(begin + FEEDS_AT_ONCE);
        feeds[begin..*reached].to_vec()
    }

    /// Removes the events that the steps have appended to all of their feeds.
    pub(super) fn drop_finished(&mut self) {
        while self.queue.pop_front_if(|oldest| oldest.reached == oldest.feeds.len()).is_some() {
            self.first += 1;
        }
    }
}

#[cfg(debug_assertions)]
impl Broadcasts {
    pub(super) fn self_check(&self) {
        assert!(self.len() <= BROADCASTS_MAX, "{} broadcasts", self.len());
        for Broadcast { feeds, reached, .. } in &self.queue {
            assert!(feeds.is_sorted() && *reached < feeds.len(), "{reached} feeds reached of {feeds:?}");
        }
        assert!(self.queue.iter().is_sorted_by_key(|broadcast| broadcast.outgoing.turn), "turns of broadcasts");
    }
}
