//! Reading what is before the window, from the ranges of the log that were [fetched](super::fetch).

use std::mem;

use super::{
    clients::{PositionDue, Subscriber},
    cursor::{HistoryCursor, Position, Snapshot},
    fetch::Fetched,
    ids::FeedKey,
    output::Output,
    read_steps::{ReadContext, Step},
};
use crate::{
    event::{Epoch, Event, EventId},
    protocol::{Gap, GapReason},
    topic::FilterSet,
};

impl ReadContext<'_> {
    /// Reads from a fetched range of the log, if the subscriber's cursor is before the window. Returns None if it is not.
    pub(super) fn before_window(&mut self, key: FeedKey, subscriber: &mut Subscriber) -> Option<Step> {
        let start = self.history.start();
        let seq = match &subscriber.cursor.position {
            Position::History(cursor) if cursor.after < start => cursor.after + 1,
            // The event before the window is that of the log, which compares its check.
            Position::History(cursor) if cursor.after == start && start > 0 && cursor.check.is_some() => start + 1,
            Position::Snapshot(snapshot) if snapshot.after < start.min(snapshot.upto) => snapshot.after + 1,
            _ => return None,
        };
        let Some(feed) = self.feeds.get(key) else { return Some(Step::Ended) };
        let Some(fetched) = subscriber.cursor.fetched().filter(|fetched| fetched.contains(seq)) else {
            return Some(Step::Wanted(seq));
        };
        if let Some(refused) = &fetched.refused {
            if !subscriber.past_only {
                return Some(Step::Wanted(seq));
            }
            self.output.format.encode_error(refused, self.output.buffer.payload());
            return Some(Step::Ended);
        }
        // The position is taken out of the subscriber, whose unicast events are delivered between those of the log.
        let taken_out = Position::Live { segment: 0, seq: 0 };
        let mut position = mem::replace(&mut subscriber.cursor.position, taken_out);
        let range = Range { fetched: &fetched, start, filters: &feed.filters, epoch: self.head.epoch };
        match &mut position {
            Position::History(cursor) if fetched.rewritten && cursor.check.is_some() => {
                let lost = EventId { check: cursor.check, ..self.head.at(cursor.after) };
                *cursor = HistoryCursor::with_gap(Gap::new(GapReason::Rewritten, None, lost, self.head.at(0))).into();
            }
            Position::History(cursor) => cursor.read_range(&range, subscriber, &mut self.output),
            Position::Snapshot(snapshot) => snapshot.read_range(&range, subscriber, &mut self.output),
            Position::Live { .. } | Position::Shared(_) => {}
        }
        subscriber.cursor.position = position;
        Some(Step::Continue)
    }
}

/// A fetched range, of which a cursor reads the part before the window.
#[derive(Clone, Copy)]
struct Range<'a> {
    fetched: &'a Fetched,
    /// The last sequence number before the window.
    start: u64,
    filters: &'a FilterSet,
    epoch: Epoch,
}

impl<'a> Range<'a> {
    /// Returns the events that match the filters, after a sequence number and up to another one.
    fn events(&self, after: u64, upto: u64) -> impl Iterator<Item = &'a Event> {
        let Range { fetched, filters, .. } = *self;
        let first = fetched.events.partition_point(|event| event.id.seq <= after);
        let events = fetched.events[first..].iter().take_while(move |event| event.id.seq <= upto);
        events.filter(|event| filters.matches(&event.topic))
    }
}

/// Writes an event, and before it the gap and the unicast events that precede it.
fn write(event: &Event, gap: &mut Option<Gap>, subscriber: &mut Subscriber, output: &mut Output<'_>) {
    let seq = event.id.seq;
    if let Some(gap) = gap.take() {
        output.gap(&gap, seq);
    }
    output.unicast(subscriber, |moment| moment.position < seq);
    output.event(event);
}

impl HistoryCursor {
    /// Reads the range until the output is full.
    fn read_range(&mut self, range: &Range<'_>, subscriber: &mut Subscriber, output: &mut Output<'_>) {
        let Range { fetched, start, epoch, .. } = *range;
        // The log has verified it.
        self.check = None;
        let (begin, upto) = (self.after, fetched.upto.min(start));
        if self.losses_from == u64::MAX {
            // The subscription is new: what the log had lost before is no gap for it.
            (self.losses_from, self.uncertain_after) = (fetched.losses_end, upto);
        }
        let mut lost = fetched.lost.iter().skip_while(|lost| lost.to <= begin).peekable();
        let events = range.events(begin, upto).map(|event| (event.id.seq, Some(event)));
        for (seq, event) in events.chain([(upto + 1, None)]) {
            if output.is_full() {
                return;
            }
            while let Some(lost) = lost.next_if(|lost| lost.from < seq) {
                // Losses that were reported ahead of the cursor, when they were in the window, may be among them.
                let missed = lost.missed.filter(|_| lost.from > self.reported);
                self.miss(lost.from.max(self.after + 1), lost.to, missed, epoch);
                self.after = lost.to.clamp(self.after, seq - 1);
            }
            if let Some(event) = event {
                write(event, &mut self.gap, subscriber, output);
                self.after = seq;
            }
        }
        self.after = self.after.max(upto);
    }
}

impl Snapshot {
    /// Reads the range until the output is full.
    fn read_range(&mut self, range: &Range<'_>, subscriber: &mut Subscriber, output: &mut Output<'_>) {
        let upto = range.fetched.upto.min(range.start).min(self.upto);
        for event in range.events(self.after, upto) {
            if output.is_full() {
                return;
            }
            output.first_position(event.id.seq - 1, subscriber, PositionDue::AfterSnapshot);
            write(event, &mut self.gap, subscriber, output);
            self.after = event.id.seq;
        }
        self.after = self.after.max(upto);
    }
}
