//! One feed: segments of wire bytes, and the cursors that read them. See [`feeds`](super::feeds).

use std::{collections::VecDeque, task::Waker};

#[cfg(debug_assertions)]
use super::ids::FeedKey;
use super::{
    format::Format,
    framing::{Chunk, ChunkBuffer},
    ids::{ClientId, ReaderId},
    shared_cursor::SharedCursor,
    split_map::FxSplitMap,
};
use crate::topic::FilterSet;

/// Sealed events of one batch.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) chunk: Chunk,
    /// The turn of its first event, see [`Feeds::begin`](super::feeds::Feeds::begin).
    pub(super) turn: u64,
    /// The position of the log at its last event: a cursor that has read the segment has everything up to it.
    pub(super) last: u64,
    /// The highest sequence number of its events; 0 if all are live-only.
    pub(super) newest: u64,
    pub(super) events: u64,
    /// Events of all segments before it.
    pub(super) before: u64,
    /// Number of live cursors that have not read it.
    pub(super) unread: usize,
}

/// Events that are appended and not sealed yet.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) bytes: ChunkBuffer,
    pub(super) turn: u64,
    pub(super) last: u64,
    pub(super) newest: u64,
    pub(super) events: u64,
}

/// One feed.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) filters: FilterSet,
    pub(super) format: Format,
    /// The index of the first [broadcast](super::broadcasts) that was not examined for this feed.
    pub(super) next_broadcast: u64,
    /// Number of live cursors.
    pub(super) live: usize,
    pub(super) segments: VecDeque<Segment>,
    /// The index of the oldest segment that is not dropped. Indexes count all segments of the feed, from 0.
    pub(super) oldest: u64,
    /// Number of events of all segments so far.
    pub(super) events: u64,
    pub(super) bytes: usize,
    pub(super) open: Open,
    /// The position of the newest live-only event.
    pub(super) last_live: Option<u64>,
    /// Subscribers that wait without a shared cursor, with their wakers.
    pub(super) parked: FxSplitMap<ClientId, Waker>,
    /// The shared cursors, one for each reader.
    pub(super) shared_cursors: Vec<SharedCursor>,
}

/// What a cursor finds at its position in a feed.
pub(super) enum Next {
    /// A segment.
    Segment(Segment),
    /// Nothing new.
    Nothing,
    /// The feed has dropped segments that the cursor had not read.
    LeftBehind,
}

impl Feed {
    /// Returns a feed without events and subscribers.
    pub(super) fn new(filters: FilterSet, format: Format) -> Feed {
        Feed {
            filters,
            format,
            next_broadcast: 0,
            live: 0,
            segments: VecDeque::new(),
            oldest: 0,
            events: 0,
            bytes: 0,
            open: Open::default(),
            last_live: None,
            parked: FxSplitMap::default(),
            shared_cursors: Vec::new(),
        }
    }

    /// Returns the position after the last segment.
    pub(super) fn end(&self) -> u64 {
        self.oldest + self.segments.len() as u64
    }

    /// Returns true if a cursor that stops reading at a position, and reads history instead, misses live-only events.
    pub(super) fn has_live_since(&self, position: u64) -> bool {
        self.last_live.is_some_and(|live| live >= position)
    }

    /// Returns the segment at a position, without marking it as read.
    pub(super) fn peek(&self, position: u64) -> Next {
        let Some(index) = position.checked_sub(self.oldest) else { return Next::LeftBehind };
        self.segments.get(index as usize).map_or(Next::Nothing, |segment| Next::Segment(segment.clone()))
    }

    /// Returns the number of events after a position.
    pub(super) fn waiting(&self, position: u64) -> u64 {
        let skip = position.saturating_sub(self.oldest) as usize;
        self.segments.get(skip).map_or(0, |segment| self.events - segment.before)
    }

    /// Returns the shared cursor of a reader.
    pub(super) fn shared_cursor(&self, reader: Option<ReaderId>) -> Option<&SharedCursor> {
        self.shared_cursors.iter().find(|shared| Some(shared.reader) == reader)
    }

    /// Returns the shared cursor of a reader, which is added if there is none.
    pub(super) fn shared_cursor_or_new(&mut self, reader: ReaderId) -> &mut SharedCursor {
        match self.shared_cursors.iter().position(|shared| shared.reader == reader) {
            Some(known) => &mut self.shared_cursors[known],
            None => self.shared_cursors.push_mut(SharedCursor::new(reader)),
        }
    }

    /// Returns the shared cursor of a reader.
    pub(super) fn shared_cursor_mut(&mut self, reader: Option<ReaderId>) -> Option<&mut SharedCursor> {
        self.shared_cursors.iter_mut().find(|shared| Some(shared.reader) == reader)
    }

    /// Returns the segments from a position on.
    pub(super) fn unread_from(&mut self, position: u64) -> impl Iterator<Item = &mut Segment> {
        self.segments.iter_mut().skip(position.saturating_sub(self.oldest) as usize)
    }

    /// Drops the oldest segment.
    pub(super) fn drop_oldest(&mut self, total: &mut usize) {
        if let Some(segment) = self.segments.pop_front() {
            self.oldest += 1;
            self.bytes -= segment.chunk.len();
            *total -= segment.chunk.len();
        }
    }

    /// Drops all events, so that all cursors fall behind, also those that have read everything.
    pub(super) fn leave_behind(&mut self, total: &mut usize) {
        while !self.segments.is_empty() {
            self.drop_oldest(total);
        }
        self.open = Open::default();
        self.oldest += 1;
    }

    /// Drops the segments that all cursors have read.
    pub(super) fn drop_read(&mut self, total: &mut usize) {
        while self.segments.front().is_some_and(|segment| segment.unread == 0) {
            self.drop_oldest(total);
        }
    }
}

/// The subscribers and cursors of a feed, as its clients have them.
#[cfg(debug_assertions)]
#[derive(Debug, Default)]
pub(super) struct FeedUsers {
    pub(super) subscribers: usize,
    /// The positions of its live cursors: those of single subscribers, and of shared cursors.
    pub(super) positions: Vec<u64>,
}

#[cfg(debug_assertions)]
impl Feed {
    /// The positions of the shared cursors that have members.
    pub(super) fn self_check_positions(&self) -> impl Iterator<Item = u64> {
        self.shared_cursors.iter().filter(|shared| !shared.members.is_empty()).map(|shared| shared.segment)
    }

    pub(super) fn self_check(&self, key: FeedKey, users: &FeedUsers) {
        assert_eq!(self.live, users.positions.len(), "live cursors of feed {key}");
        let bytes = self.segments.iter().map(|segment| segment.chunk.len()).sum::<usize>();
        assert_eq!(self.bytes, bytes, "bytes of feed {key}");
        assert_eq!(self.open.events == 0, self.open.bytes.is_empty(), "open events of feed {key}");
        let (mut turn, mut last) = (0, 0);
        for (index, segment) in (self.oldest..).zip(&self.segments) {
            let unread = users.positions.iter().filter(|cursor| **cursor <= index).count();
            assert_eq!(segment.unread, unread, "cursors that have not read segment {index} of feed {key}");
            assert!(unread > 0, "segment {index} of feed {key} was read by all");
            assert!(turn < segment.turn && last <= segment.last, "the order of segment {index} of feed {key}");
            assert!(
                segment.newest == 0 || segment.newest > last,
                "the sequence numbers of segment {index} of feed {key}"
            );
            assert!(segment.events > 0, "events of segment {index} of feed {key}");
            (turn, last) = (segment.turn, segment.last);
        }
        assert!(
            users.positions.iter().all(|position| *position <= self.end()),
            "a cursor of feed {key} is beyond its end"
        );
    }
}
