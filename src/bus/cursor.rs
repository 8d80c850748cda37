//! A subscriber's position in the log: a snapshot, history, or its feed.
//!
//! While it reads history, a cursor accounts for what history has lost ahead of it. Every loss is told as a gap before
//! any later event, so that a subscriber who leaves at any event and comes back with that event's id is told of
//! everything that it did not get. The gap's own id is that of its last missed event, or, if history still has something
//! within the gap, the number before that: a client that resumes from there receives the event, and the rest of the gap again.
//!
//! The size of a cursor does not depend on what was published: the losses that it has accounted for are one number.

use std::{
    ops::ControlFlow,
    sync::{Arc, Weak},
    task::Waker,
};

use super::{
    feeds::Feed,
    fetch::Fetched,
    history::{History, Selection, SnapshotKind, TopicKey},
};
use crate::{
    event::{Epoch, EventId},
    protocol::{Gap, GapReason},
};

/// A subscriber's position.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) position: Position,
    /// What was read from disk for it, while there is room for that.
    pub(super) fetched: Weak<Fetched>,
    /// The event that it waits for, while it does.
    pub(super) wanted: Option<u64>,
}

impl Cursor {
    pub(super) fn new(position: Position) -> Cursor {
        Cursor { position, fetched: Weak::new(), wanted: None }
    }

    /// What was read from disk for it, if it is still there.
    pub(super) fn fetched(&self) -> Option<Arc<Fetched>> {
        self.fetched.upgrade()
    }

    /// The segment of its feed that it reads next, if it has a place there.
    pub(super) fn segment(&self) -> Option<u64> {
        match &self.position {
            Position::Live { segment, .. } => Some(*segment),
            Position::Snapshot(snapshot) => snapshot.segment,
            Position::History(_) | Position::Shared(_) => None,
        }
    }

    /// The number from which a client could resume and receive all that this cursor has still to deliver or to report as a
    /// gap. None if there is no such number: the bus does not know the subscriber's own id and reports that first, the cursor
    /// is in a group, or it reads a snapshot whose first event is not found yet.
    pub(super) fn resume_seq(&self) -> Option<u64> {
        match &self.position {
            Position::Snapshot(_) | Position::Shared(_) => None,
            Position::History(cursor) => cursor.gap.is_none().then_some(cursor.after),
            Position::Live { seq, .. } => Some(*seq),
        }
    }
}

#[derive(Debug)]
pub(super) enum Position {
    /// It reads one event of each topic, then its feed.
    Snapshot(Box<Snapshot>),
    /// It reads history. Boxed: most cursors are live, and there may be many.
    History(Box<HistoryCursor>),
    /// It reads its feed: the next segment, and the place up to which it has read everything.
    Live { segment: u64, seq: u64 },
    /// It has read everything and shares the place of its [group](super::shared_cursor).
    Shared(MemberSlot),
}

/// A subscriber's slot in its group.
#[derive(Debug)]
pub(super) struct MemberSlot {
    /// Where it stands among the members.
    pub(super) number: usize,
    /// The group's events when it came.
    pub(super) since: u64,
    /// Wakes this subscriber alone.
    pub(super) waker: Waker,
}

/// A cursor in a snapshot.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) kind: SnapshotKind,
    /// What the snapshot has up to here was delivered.
    pub(super) after: u64,
    /// Where it ends.
    pub(super) upto: u64,
    /// The segment of the feed that follows. None for a subscriber that wants the past alone.
    pub(super) segment: Option<u64>,
    /// The gap to report before the first event.
    pub(super) gap: Option<Gap>,
}

impl Snapshot {
    /// The state of the topics at the head of the log.
    pub(super) fn new(kind: SnapshotKind, head: u64, segment: Option<u64>) -> Snapshot {
        Snapshot { kind, after: 0, upto: head, segment, gap: None }
    }

    /// The newest event of each topic after a number, for a slow subscriber that jumps there. All else is a gap.
    pub(super) fn jump(after: u64, head: EventId, segment: u64) -> Snapshot {
        // Where only live-only events were missed there is none after it.
        let from = EventId { seq: head.seq.min(after + 1), ..head };
        let gap = Gap { reason: GapReason::Lagged, missed: None, from, to: head };
        Snapshot { after, gap: Some(gap), ..Snapshot::new(SnapshotKind::Newest, head.seq, Some(segment)) }
    }

    /// What the cursor reads after the snapshot.
    pub(super) fn next(&self) -> Position {
        match self.segment {
            Some(segment) => Position::Live { segment, seq: self.upto },
            None => Position::History(HistoryCursor::after(self.upto, GapReason::Evicted).into()),
        }
    }
}

/// A cursor in history.
#[derive(Debug)]
pub(super) struct HistoryCursor {
    /// Everything up to here was delivered, or is told as lost.
    pub(super) after: u64,
    /// Why what is lost is lost.
    reason: GapReason,
    /// Losses below this number are accounted for.
    accounted: u64,
    /// While the losses before those that are known one by one are accounted for: the first that was known when that began,
    /// and the topic with which it continues.
    earlier: Option<(u64, TopicKey)>,
    /// What is lost and not yet told.
    pub(super) gap: Option<Gap>,
    /// Whether what crashes have taken is lost to this subscriber.
    counts_crashes: bool,
    /// The place from which it would have read its feed: what has been live only since then is missed.
    pub(super) left: Option<u64>,
}

impl HistoryCursor {
    /// Goes on after an event that the subscriber had.
    pub(super) fn after(seq: u64, reason: GapReason) -> HistoryCursor {
        HistoryCursor { after: seq, reason, accounted: 0, earlier: None, gap: None, counts_crashes: true, left: None }
    }

    /// Goes on after an event, for a subscriber that was left behind at a place of its feed.
    pub(super) fn left_behind(seq: u64, segment: u64) -> HistoryCursor {
        HistoryCursor { left: Some(segment), ..HistoryCursor::after(seq, GapReason::Lagged) }
    }

    /// Whether its feed has had events that are live only while the cursor read history.
    pub(super) fn has_missed_live(&self, feed: &Feed) -> bool {
        self.left.is_some_and(|segment| feed.has_live_since(segment))
    }

    /// A cursor of a new subscriber: what history lost before now is not missing for it.
    pub(super) fn from_now_on(after: u64, history: &dyn History) -> HistoryCursor {
        HistoryCursor {
            accounted: history.losses().end,
            counts_crashes: false,
            ..HistoryCursor::after(after, GapReason::Evicted)
        }
    }

    /// Begins with everything there is, after telling why the subscriber's own place is unknown.
    pub(super) fn with_gap(gap: Gap) -> HistoryCursor {
        HistoryCursor { gap: Some(gap), ..HistoryCursor::after(0, GapReason::Evicted) }
    }

    /// Accounts for what history has lost ahead of the cursor, as part of the gap that is told before the next event. Does so
    /// in steps, and returns whether that was all.
    pub(super) fn account(&mut self, history: &dyn History, topics: &Selection, epoch: Epoch) -> bool {
        if self.accounted < history.losses().start && !self.account_earlier(history, topics, epoch) {
            return false;
        }
        let known = history.losses();
        let end = known.end.min(self.accounted.saturating_add(topics.tests_at_once() as u64));
        for number in self.accounted..end {
            let Some(lost) = history.lost(number).filter(|lost| lost.seq > self.after) else { continue };
            match history.is_lost_of(lost, topics) {
                Some(true) => self.miss(lost.seq, lost.seq, Some(1), epoch),
                Some(false) => {}
                // It may have been any topic.
                None => self.miss(lost.seq, lost.seq, None, epoch),
            }
        }
        self.accounted = end;
        end == known.end
    }

    /// Accounts, in a step, for the losses that are not known one by one. Returns whether that was all.
    fn account_earlier(&mut self, history: &dyn History, topics: &Selection, epoch: Epoch) -> bool {
        let (start, from) = *self.earlier.get_or_insert((history.losses().start, 0));
        match history.earlier_loss(topics, self.after, from) {
            ControlFlow::Continue(next) => {
                self.earlier = Some((start, next));
                return false;
            }
            ControlFlow::Break(Some(last)) => {
                self.miss(self.after + 1, last, None, epoch);
                self.accounted = history.losses().start;
            }
            ControlFlow::Break(None) => self.accounted = start,
        }
        self.earlier = None;
        // More may have been lost meanwhile, of topics that had been looked at.
        self.accounted >= history.losses().start
    }

    /// Notes what crashes have taken between two places, as part of the gap that is told next.
    pub(super) fn note_crashes(&mut self, history: &dyn History, after: u64, upto: u64, epoch: Epoch) {
        if !self.counts_crashes {
            return;
        }
        for crash in history.crashes().iter().filter(|crash| crash.last > after && crash.last <= upto) {
            self.miss(crash.after.max(after) + 1, crash.last, None, epoch);
        }
    }

    /// Adds to the gap that is told next.
    pub(super) fn miss(&mut self, from: u64, to: u64, missed: Option<u64>, epoch: Epoch) {
        let id = |seq| EventId { epoch, seq };
        let first = Gap { reason: self.reason, missed: Some(0), from: id(from), to: id(to) };
        let gap = self.gap.get_or_insert(first);
        gap.missed = gap.missed.zip(missed).map(|(a, b)| a + b);
        gap.to = id(gap.to.seq.max(to));
        if gap.from.epoch == epoch {
            gap.from = id(gap.from.seq.min(from));
        }
    }
}
