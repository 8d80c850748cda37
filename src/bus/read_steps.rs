//! The steps of one read: from a snapshot, from history, or from the feed.

use std::sync::Weak;

use super::{
    clients::{PositionDue, Subscriber},
    cursor::{Cursor, HistoryCursor, Position, Snapshot},
    feed::Next,
    feeds::Feeds,
    fetch::{Found, find},
    history::{Entry, History, Selection, SnapshotKind},
    ids::FeedKey,
    now::Now,
    output::Output,
    topics::Topics,
};
use crate::{
    event::EventId,
    limits::Limits,
    protocol::{Gap, GapReason, Slow},
};

/// The outcome of one step of a read.
pub(super) enum Step {
    /// There may be more to read.
    Continue,
    /// There is nothing more to read now.
    Idle,
    /// One call may not read more of history, or history is being evicted: other clients have their turn.
    Pause,
    /// The next event, with this sequence number or a later one, is not in memory.
    Wanted(u64),
    /// The subscription was for history only, and has reached its end.
    Ended,
    /// The subscriber fell behind its feed, and has the policy to be disconnected then.
    TooSlow,
}

/// The inputs of one read, and its output.
pub(super) struct ReadContext<'a> {
    pub(super) feeds: &'a mut Feeds,
    pub(super) limits: &'a Limits,
    pub(super) topics: &'a Topics,
    pub(super) history: &'a dyn History,
    /// History was above its bounds when the read began: it may be read in the next call.
    pub(super) is_behind: bool,
    pub(super) head: EventId,
    pub(super) now: Now,
    pub(super) output: Output<'a>,
}

impl ReadContext<'_> {
    /// Reads until the output is full or a step other than `Step::Continue` occurs.
    pub(super) fn fill(&mut self, key: FeedKey, subscriber: &mut Subscriber) -> Step {
        let mut step = Step::Continue;
        while matches!(step, Step::Continue) && !self.output.is_full() {
            step = match subscriber.cursor.position {
                Position::Live { segment, seq } => self.live(key, segment, seq, subscriber),
                Position::Snapshot(_) | Position::History(_) | Position::Shared(_) => self.past(key, subscriber),
            };
        }
        step
    }

    /// Reads earlier events: before the window, or of it.
    fn past(&mut self, key: FeedKey, subscriber: &mut Subscriber) -> Step {
        if let Some(step) = self.before_window(key, subscriber) {
            return step;
        }
        match subscriber.cursor.position {
            Position::Snapshot(_) => self.snapshot(key, subscriber),
            _ => self.history(key, subscriber),
        }
    }

    /// Reads events of a snapshot.
    fn snapshot(&mut self, key: FeedKey, subscriber: &mut Subscriber) -> Step {
        let is_of_newest = match &subscriber.cursor.position {
            Position::Snapshot(snapshot) => snapshot.kind == SnapshotKind::Newest,
            _ => false,
        };
        if self.is_behind && is_of_newest {
            return Step::Pause;
        }
        let taken_out = Position::Live { segment: 0, seq: 0 };
        let (Some(feed), Position::Snapshot(mut snapshot)) =
            (self.feeds.get(key), std::mem::replace(&mut subscriber.cursor.position, taken_out))
        else {
            return Step::Ended;
        };
        let (output, head) = (&mut self.output, self.head);
        let fetched = subscriber.cursor.fetched();
        let (mut wanted, mut gap) = (None, snapshot.gap.take());
        let range = (snapshot.after, snapshot.upto);
        let mut show = |entry: &Entry| {
            if output.is_full() {
                return false;
            }
            let found = find(entry, fetched.as_deref());
            if let Found::OnDisk = found {
                wanted = Some(entry.seq);
                return false;
            }
            output.first_position(entry.seq - 1, subscriber, PositionDue::AfterSnapshot);
            if let Some(gap) = gap.take() {
                output.gap(&gap, entry.seq);
            }
            match found {
                Found::Here(event) => {
                    output.unicast(subscriber, |moment| moment.position < entry.seq);
                    output.event(event);
                }
                Found::OnDisk | Found::Lost => {
                    let id = head.at(entry.seq);
                    let gap = Gap { reason: GapReason::Evicted, missed: Some(1), from: id, to: id };
                    output.gap(&gap, entry.seq + 1);
                }
            }
            true
        };
        let topics = self.topics.select(&feed.filters);
        let most = topics.tests_at_once();
        let stopped = self.history.snapshot(snapshot.kind, &topics, range, self.now.mono, most, &mut show);
        if let Some(reached) = stopped {
            output.first_position(reached, subscriber, PositionDue::AfterSnapshot);
            (snapshot.after, snapshot.gap) = (reached, gap);
            subscriber.cursor.position = Position::Snapshot(snapshot);
            return match wanted {
                Some(seq) => Step::Wanted(seq),
                None if output.is_full() => Step::Continue,
                None => Step::Pause,
            };
        }
        output.first_position(snapshot.upto, subscriber, PositionDue::WhenOld);
        if let Some(gap) = gap {
            output.gap(&gap, u64::MAX);
        }
        // A range of the log that was fetched for the snapshot has only some of the events.
        subscriber.cursor = Cursor::new(snapshot.next());
        Step::Continue
    }

    /// Reads a segment of the feed.
    fn live(&mut self, key: FeedKey, segment: u64, seq: u64, subscriber: &mut Subscriber) -> Step {
        let Some(feed) = self.feeds.get(key) else { return Step::Ended };
        match feed.peek(segment) {
            Next::Segment(found) => {
                subscriber.cursor.position = Position::Live { segment: segment + 1, seq: found.last };
                self.output.unicast(subscriber, |moment| moment.turn < found.turn);
                self.output.events += found.events;
                self.output.sent = self.output.sent.max(found.newest);
                self.output.share(&found.chunk);
                self.feeds.advance(key, segment);
            }
            Next::Nothing => {
                self.output.unicast(subscriber, |_| true);
                subscriber.cursor.position = Position::Live { segment, seq: self.head.seq };
                subscriber.cursor.fetched = Weak::new();
                return Step::Idle;
            }
            Next::LeftBehind if self.is_behind => return Step::Pause,
            Next::LeftBehind if subscriber.slow == Slow::Disconnect => return Step::TooSlow,
            Next::LeftBehind => {
                subscriber.cursor.position = if subscriber.slow == Slow::Latest {
                    let segment = self.feeds.join(key, self.limits);
                    Position::Snapshot(Snapshot::jump(seq, self.head, segment).into())
                } else {
                    Position::History(HistoryCursor::left_behind(seq, segment).into())
                };
                self.feeds.leave(key, segment);
            }
        }
        Step::Continue
    }

    /// Reads events of history.
    fn history(&mut self, key: FeedKey, subscriber: &mut Subscriber) -> Step {
        if self.is_behind {
            return Step::Pause;
        }
        // The cursor is taken out of the subscriber, whose unicast events are delivered between those of history.
        let taken_out = Position::Live { segment: 0, seq: 0 };
        let (Some(feed), Position::History(mut cursor)) =
            (self.feeds.get(key), std::mem::replace(&mut subscriber.cursor.position, taken_out))
        else {
            return Step::Ended;
        };
        let topics = self.topics.select(&feed.filters);
        let reached = cursor.read(self.history, &topics, self.head, self.now, subscriber, &mut self.output);
        match reached {
            Reached::Head if subscriber.past_only => {
                subscriber.cursor.position = Position::History(cursor);
                self.output.format.encode_end(self.head, self.output.buffer.payload());
                Step::Ended
            }
            Reached::Head => {
                if cursor.has_missed_live(feed) {
                    // Live-only events have no sequence numbers, so an event after the head may be missing as well.
                    let gap = Gap { reason: GapReason::Lagged, missed: None, from: self.head, to: self.head };
                    self.output.gap(&gap, u64::MAX);
                }
                let segment = self.feeds.join(key, self.limits);
                subscriber.cursor = Cursor::new(Position::Live { segment, seq: self.head.seq });
                Step::Continue
            }
            Reached::Pause => {
                subscriber.cursor.position = Position::History(cursor);
                Step::Pause
            }
            Reached::Wanted(seq) => {
                subscriber.cursor.position = Position::History(cursor);
                Step::Wanted(seq)
            }
        }
    }
}

/// Where a read of history stopped.
enum Reached {
    Head,
    Pause,
    Wanted(u64),
}

impl HistoryCursor {
    /// Reads the next events of history.
    fn read(
        &mut self,
        history: &dyn History,
        topics: &Selection,
        head: EventId,
        now: Now,
        subscriber: &mut Subscriber,
        output: &mut Output<'_>,
    ) -> Reached {
        if !self.account(history, topics, head.epoch) {
            return Reached::Pause;
        }
        let fetched = subscriber.cursor.fetched();
        let (begin, mut after) = (self.after, self.after);
        let mut wanted = None;
        let mut show = |entry: &Entry| {
            if output.is_full() {
                return false;
            }
            self.note_crashes(history, after, entry.seq, head.epoch);
            match find(entry, fetched.as_deref()) {
                Found::Here(event) => {
                    if let Some(gap) = self.gap.take() {
                        output.gap(&gap, entry.seq);
                    }
                    output.unicast(subscriber, |moment| moment.position < entry.seq);
                    output.event(event);
                }
                Found::OnDisk => {
                    wanted = Some(entry.seq);
                    return false;
                }
                Found::Lost => self.miss(entry.seq, entry.seq, Some(1), head.epoch),
            }
            after = entry.seq;
            true
        };
        let stopped = history.scan(topics, begin, now.mono, topics.tests_at_once(), &mut show);
        let reached = stopped.map_or(head.seq, |reached| reached.max(after));
        self.note_crashes(history, after, reached, head.epoch);
        if reached > begin {
            self.check = None;
        }
        self.after = reached;
        if let Some(seq) = wanted {
            return Reached::Wanted(seq);
        }
        if stopped.is_some() {
            return Reached::Pause;
        }
        if let Some(gap) = self.gap.take() {
            output.gap(&gap, u64::MAX);
        }
        output.unicast(subscriber, |_| true);
        Reached::Head
    }
}
