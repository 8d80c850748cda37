//! A subscriber's position in the log. A cursor has one of four positions:
//!
//! - a snapshot: one event of each topic, such as the retained one; then the feed;
//! - history: from a sequence number on, until it reaches the feed;
//! - its feed: the live events, for itself alone;
//! - a shared cursor: it has read everything, like the other subscribers of its feed that use the cursor.
//!
//! An event can be *missed*, by one subscriber that can no longer receive it; *evicted*, by a bound of history; *expired*, by
//! its time to live; or *lost*, the general word for an event that history had and no longer has, whatever the reason. A gap
//! reports what was missed.
//!
//! While a cursor reads history, it accounts for the events that history has lost ahead of it. Every loss is reported as a
//! gap before any later event: a subscriber that disconnects after any event, and resumes with its id, is notified of all
//! events that it did not receive. The id of a gap is that of its last missed event, or, if history still has an event
//! within the gap, the sequence number before that event: a client that resumes there receives the event, and the rest of the
//! gap again.
//!
//! The size of a cursor does not depend on the number of published events: it stores only the index of the first loss that
//! it has not processed.

use std::{
    ops::ControlFlow,
    sync::{Arc, Weak},
    task::Waker,
};

use super::{
    feed::Feed,
    fetch::Fetched,
    history::{History, Selection, SnapshotKind, TopicKey},
};
use crate::{
    event::{Check, Epoch, EventId},
    protocol::{Gap, GapReason},
};

/// A subscriber's position.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) position: Position,
    /// The events that were fetched for it; their owner may drop them.
    pub(super) fetched: Weak<Fetched>,
    /// The sequence number of the event that it waits for.
    pub(super) wanted: Option<u64>,
}

impl Cursor {
    pub(super) fn new(position: Position) -> Cursor {
        Cursor { position, fetched: Weak::new(), wanted: None }
    }

    /// Returns the events that were fetched for it, unless they were dropped.
    pub(super) fn fetched(&self) -> Option<Arc<Fetched>> {
        self.fetched.upgrade()
    }

    /// Returns the segment of its feed that it reads next, if it has a position in the feed.
    pub(super) fn segment(&self) -> Option<u64> {
        match &self.position {
            Position::Live { segment, .. } => Some(*segment),
            Position::Snapshot(snapshot) => snapshot.segment,
            Position::History(_) | Position::Shared(_) => None,
        }
    }

    /// Returns the sequence number from which a client could resume to receive everything that this cursor has yet to deliver
    /// or to report as a gap. Returns None
    ///
    /// - in a snapshot, which a resumed client does not receive again;
    /// - in history while a gap is not yet reported;
    /// - on a shared cursor, which has the position.
    pub(super) fn resume_seq(&self) -> Option<u64> {
        match &self.position {
            Position::Snapshot(_) | Position::Shared(_) => None,
            Position::History(cursor) => cursor.gap.is_none().then_some(cursor.after),
            Position::Live { seq, .. } => Some(*seq),
        }
    }
}

/// Where a cursor reads.
#[derive(Debug)]
pub(super) enum Position {
    /// It reads one event of each topic, then its feed.
    Snapshot(Box<Snapshot>),
    /// It reads history. Boxed: most cursors are live, and there may be many.
    History(Box<HistoryCursor>),
    /// It reads its feed: the next segment, and the sequence number up to which it has read everything.
    Live { segment: u64, seq: u64 },
    /// It has read everything and uses a [shared cursor](super::shared_cursor).
    Shared(Membership),
}

/// A subscriber's membership of its shared cursor.
#[derive(Debug)]
pub(super) struct Membership {
    /// The index among the members.
    pub(super) index: usize,
    /// The events that the shared cursor had delivered when it joined.
    pub(super) since: u64,
    /// Wakes the task of this subscriber alone.
    pub(super) waker: Waker,
}

/// A cursor in a snapshot.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) kind: SnapshotKind,
    /// Events of the snapshot up to this sequence number were delivered.
    pub(super) after: u64,
    /// The last sequence number of the snapshot.
    pub(super) upto: u64,
    /// The segment of the feed that follows. None for a subscription to history only.
    pub(super) segment: Option<u64>,
    /// The gap to report before the first event.
    pub(super) gap: Option<Gap>,
}

impl Snapshot {
    /// Returns a snapshot of the topics at the head of the log.
    pub(super) fn new(kind: SnapshotKind, head: u64, segment: Option<u64>) -> Snapshot {
        Snapshot { kind, after: 0, upto: head, segment, gap: None }
    }

    /// Returns a snapshot of the newest events after a sequence number, for a slow subscriber that jumps to the head. All other
    /// events become a gap.
    pub(super) fn jump(after: u64, head: EventId, segment: u64) -> Snapshot {
        // If only live-only events were missed, there is no sequence number after it.
        let from = head.at(head.seq.min(after + 1));
        let gap = Gap { reason: GapReason::Lagged, missed: None, from, to: head };
        Snapshot { after, gap: Some(gap), ..Snapshot::new(SnapshotKind::Newest, head.seq, Some(segment)) }
    }

    /// Returns the position after the snapshot.
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
    /// Everything up to this sequence number was delivered, or is part of the gap.
    pub(super) after: u64,
    /// The reason of gaps.
    reason: GapReason,
    /// Losses below this index are accounted for.
    accounted: u64,
    /// The highest sequence number of an event whose loss is accounted for.
    pub(super) reported: u64,
    /// The first loss to report of the part of the log before the window, by its index there; `u64::MAX` until the
    /// first range of a new subscription was read.
    pub(super) losses_from: u64,
    /// The end of the first range of a new subscription; `u64::MAX` if there is none. Whether the log had lost later events
    /// before the subscription, or between the subscription and that range, is unknown.
    pub(super) uncertain_after: u64,
    /// The check of the event that the subscriber resumes after, until it has read on. Before the window, the log compares it.
    pub(super) check: Option<Check>,
    /// A time in milliseconds since 1970: the subscription begins after earlier events, which are before the window.
    pub(super) since: Option<u64>,
    /// While it accounts for the losses that are not recorded one by one: the first recorded loss when that began, and the
    /// topic with which the next step continues.
    earlier: Option<(u64, TopicKey)>,
    /// The losses that are not yet reported.
    pub(super) gap: Option<Gap>,
    /// True if events that crashes have lost count as gaps for this subscriber.
    counts_crashes: bool,
    /// The segment with which it stopped reading its feed: later live-only events are missed.
    pub(super) left: Option<u64>,
}

impl HistoryCursor {
    /// Returns a cursor after an event that the subscriber has received.
    pub(super) fn after(seq: u64, reason: GapReason) -> HistoryCursor {
        HistoryCursor {
            after: seq,
            reason,
            accounted: 0,
            reported: 0,
            losses_from: 0,
            uncertain_after: u64::MAX,
            check: None,
            since: None,
            earlier: None,
            gap: None,
            counts_crashes: true,
            left: None,
        }
    }

    /// Returns a cursor after an event, for a subscriber that fell behind its feed at a segment.
    pub(super) fn left_behind(seq: u64, segment: u64) -> HistoryCursor {
        HistoryCursor { left: Some(segment), ..HistoryCursor::after(seq, GapReason::Lagged) }
    }

    /// Returns true if its feed had live-only events while the cursor read history.
    pub(super) fn has_missed_live(&self, feed: &Feed) -> bool {
        self.left.is_some_and(|segment| feed.has_live_since(segment))
    }

    /// Returns a cursor for a new subscriber: earlier losses of history are no gap for it.
    pub(super) fn from_now_on(after: u64, history: &dyn History) -> HistoryCursor {
        HistoryCursor {
            accounted: history.losses().end,
            losses_from: u64::MAX,
            counts_crashes: false,
            ..HistoryCursor::after(after, GapReason::Evicted)
        }
    }

    /// Returns a cursor at the beginning of history, for a subscriber whose own position is unknown. The gap reports why.
    pub(super) fn with_gap(gap: Gap) -> HistoryCursor {
        HistoryCursor { gap: Some(gap), ..HistoryCursor::after(0, GapReason::Evicted) }
    }

    /// Adds the events that history has lost ahead of the cursor to the gap that is reported before the next event, in a
    /// bounded step. Returns true if all are added.
    pub(super) fn account(&mut self, history: &dyn History, topics: &Selection, epoch: Epoch) -> bool {
        if self.accounted < history.losses().start && !self.account_earlier(history, topics, epoch) {
            return false;
        }
        let known = history.losses();
        let end = known.end.min(self.accounted.saturating_add(topics.tests_at_once() as u64));
        for index in self.accounted..end {
            let Some(lost) = history.lost(index).filter(|lost| lost.seq > self.after) else { continue };
            let is_lost = history.is_lost_of(lost, topics);
            if is_lost != Some(false) {
                self.reported = self.reported.max(lost.seq);
            }
            match is_lost {
                Some(true) => self.miss(lost.seq, lost.seq, Some(1), epoch),
                Some(false) => {}
                // The topic is unknown, so it may be one of these.
                None => self.miss(lost.seq, lost.seq, None, epoch),
            }
        }
        self.accounted = end;
        end == known.end
    }

    /// Accounts for the losses that are not recorded one by one, in a bounded step. Returns true if that is finished.
    fn account_earlier(&mut self, history: &dyn History, topics: &Selection, epoch: Epoch) -> bool {
        let (start, from) = *self.earlier.get_or_insert((history.losses().start, 0));
        match history.earlier_loss(topics, self.after, from) {
            ControlFlow::Continue(next) => {
                self.earlier = Some((start, next));
                return false;
            }
            ControlFlow::Break(Some(last)) => {
                self.miss(self.after + 1, last, None, epoch);
                self.reported = self.reported.max(last);
                self.accounted = history.losses().start;
            }
            ControlFlow::Break(None) => self.accounted = start,
        }
        self.earlier = None;
        // Topics that were examined in earlier steps may have lost more events since.
        self.accounted >= history.losses().start
    }

    /// Adds the events that crashes have lost between two sequence numbers to the next gap.
    pub(super) fn note_crashes(&mut self, history: &dyn History, after: u64, upto: u64, epoch: Epoch) {
        if !self.counts_crashes {
            return;
        }
        for crash in history.crashes().iter().filter(|crash| crash.last > after && crash.last <= upto) {
            self.miss(crash.after.max(after) + 1, crash.last, None, epoch);
        }
    }

    /// Adds events to the next gap.
    pub(super) fn miss(&mut self, from: u64, to: u64, missed: Option<u64>, epoch: Epoch) {
        let id = |seq| EventId::new(epoch, seq);
        let first = Gap { reason: self.reason, missed: Some(0), from: id(from), to: id(to) };
        let gap = self.gap.get_or_insert(first);
        gap.missed = gap.missed.zip(missed).map(|(a, b)| a + b);
        gap.to = id(gap.to.seq.max(to));
        if gap.from.epoch == epoch {
            gap.from = id(gap.from.seq.min(from));
        }
    }
}
