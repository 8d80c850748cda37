//! The steps of one read: from a snapshot, from history, or from the feed.

use std::sync::Weak;

use super::{
    clients::{PositionDue, Subscriber},
    cursor::{Cursor, HistoryCursor, Position, Snapshot},
    feeds::{Feeds, Next},
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

/// How a read goes on.
pub(super) enum Step {
    Continue,
    /// There is nothing more to read now.
    Idle,
    /// So much of history was looked at, or has to go before it is read on, that others have their turn.
    Pause,
    /// This event comes next and is on disk only.
    OnDisk(u64),
    /// The past is told, and no more was wanted.
    Over,
    /// The subscriber was left behind and wanted to be disconnected then.
    TooSlow,
}

/// One read: what it reads from, and what it puts out.
pub(super) struct ReadContext<'a> {
    pub(super) feeds: &'a mut Feeds,
    pub(super) limits: &'a Limits,
    pub(super) topics: &'a Topics,
    pub(super) history: &'a dyn History,
    /// History had something to let go first. It is read next time, if that was all.
    pub(super) is_behind: bool,
    pub(super) head: EventId,
    pub(super) now: Now,
    pub(super) output: Output<'a>,
}

impl ReadContext<'_> {
    /// Reads until the output is full or something else than `Step::Continue` comes.
    pub(super) fn fill(&mut self, key: FeedKey, subscriber: &mut Subscriber) -> Step {
        let mut step = Step::Continue;
        while matches!(step, Step::Continue) && !self.output.is_full() {
            step = match subscriber.cursor.position {
                Position::Live { segment, seq } => self.live(key, segment, seq, subscriber),
                Position::Snapshot(_) => self.snapshot(key, subscriber),
                Position::History(_) | Position::Shared(_) => self.history(key, subscriber),
            };
        }
        step
    }

    fn snapshot(&mut self, key: FeedKey, subscriber: &mut Subscriber) -> Step {
        let is_of_newest = matches!(&subscriber.cursor.position, Position::Snapshot(snapshot) if snapshot.kind == SnapshotKind::Newest);
        if self.is_behind && is_of_newest {
            return Step::Pause;
        }
        let taken_out = Position::Live { segment: 0, seq: 0 };
        let (Some(feed), Position::Snapshot(mut snapshot)) =
            (self.feeds.get(key), std::mem::replace(&mut subscriber.cursor.position, taken_out))
        else {
            return Step::Over;
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
                    let id = EventId { seq: entry.seq, ..head };
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
                Some(seq) => Step::OnDisk(seq),
                None if output.is_full() => Step::Continue,
                None => Step::Pause,
            };
        }
        output.first_position(snapshot.upto, subscriber, PositionDue::WhenOld);
        if let Some(gap) = gap {
            output.gap(&gap, u64::MAX);
        }
        subscriber.cursor.position = snapshot.next();
        Step::Continue
    }

    fn live(&mut self, key: FeedKey, segment: u64, seq: u64, subscriber: &mut Subscriber) -> Step {
        let Some(feed) = self.feeds.get(key) else { return Step::Over };
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

    fn history(&mut self, key: FeedKey, subscriber: &mut Subscriber) -> Step {
        if self.is_behind {
            return Step::Pause;
        }
        // The past is taken out so that the subscriber's unicast events can be woven in.
        let taken_out = Position::Live { segment: 0, seq: 0 };
        let (Some(feed), Position::History(mut cursor)) =
            (self.feeds.get(key), std::mem::replace(&mut subscriber.cursor.position, taken_out))
        else {
            return Step::Over;
        };
        let topics = self.topics.select(&feed.filters);
        let reached = cursor.read(self.history, &topics, self.head, self.now, subscriber, &mut self.output);
        match reached {
            Reached::Head if subscriber.past_only => {
                subscriber.cursor.position = Position::History(cursor);
                self.output.format.encode_end(self.head, self.output.buffer.payload());
                Step::Over
            }
            Reached::Head => {
                if cursor.has_missed_live(feed) {
                    // They had no numbers: one after this event may be among them.
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
            Reached::Disk(seq) => {
                subscriber.cursor.position = Position::History(cursor);
                Step::OnDisk(seq)
            }
        }
    }
}

/// How far a read of history came.
enum Reached {
    Head,
    Pause,
    Disk(u64),
}

impl HistoryCursor {
    /// Reads on in history.
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
        self.after = reached;
        if let Some(seq) = wanted {
            return Reached::Disk(seq);
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
