//! A subscriber's place: first what was set aside for it, then history, then its feed.
//!
//! While it reads history, a cursor keeps account of what history lets go ahead of it. Every loss is told as a gap before
//! any later event, so that a subscriber who leaves at any event and comes back with that event's id is told of
//! everything that it did not get. The gap's own id is that of its last missed event, or, if history still has something
//! within the gap, the place before that: whoever comes back with it gets that, and is told of the rest again.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    task::Waker,
};

use super::{
    accountable,
    fetch::Fetched,
    history::{Entry, FORGOTTEN, History, Loss, TopicKey},
};
use crate::{
    event::{Epoch, EventId},
    protocol::{Gap, GapReason},
};

/// A subscriber's place.
#[derive(Debug)]
pub(super) struct Cursor {
    /// What is delivered before anything else, by id.
    pub(super) aside: VecDeque<Aside>,
    pub(super) place: Place,
    /// What was read from disk for it.
    pub(super) fetched: Option<Arc<Fetched>>,
    /// The event that it waits for, while it does.
    pub(super) wanted: Option<u64>,
}

impl Cursor {
    pub(super) fn new(aside: VecDeque<Aside>, place: Place) -> Cursor {
        Cursor { aside, place, fetched: None, wanted: None }
    }
}

/// Something set aside for one subscriber.
#[derive(Debug)]
pub(super) enum Aside {
    Event(Entry),
    /// A gap, and the event that comes next.
    Gap(Gap, u64),
}

#[derive(Debug)]
pub(super) enum Place {
    /// It reads history. Boxed: most cursors are live, and there may be many.
    Past(Box<Past>),
    /// It reads its feed: the next segment, and the place up to which it has read everything.
    Live { segment: u64, seq: u64 },
    /// It has read everything and shares the place of its [group](super::groups).
    Grouped(Seat),
}

/// A subscriber's seat in its group.
#[derive(Debug)]
pub(super) struct Seat {
    /// Where it stands among the members.
    pub(super) number: usize,
    /// The group's events when it came.
    pub(super) since: u64,
    /// Calls this subscriber alone.
    pub(super) waker: Waker,
}

/// A cursor in history.
#[derive(Debug)]
pub(super) struct Past {
    /// Everything up to here was delivered, or is told as lost.
    pub(super) after: u64,
    /// Why what is lost is lost.
    reason: GapReason,
    /// What history let go ahead of the cursor, by topic, as far as it is noted already.
    noted: HashMap<TopicKey, Loss>,
    /// Retained events that outlived the rest of their topic's past, by id: history shows them no more.
    pub(super) kept: VecDeque<Entry>,
    /// What is lost and not yet told.
    pub(super) gap: Option<Gap>,
    /// Whether what crashes have taken is lost to this subscriber.
    is_torn: bool,
}

impl Past {
    /// Goes on after an event that the subscriber had.
    pub(super) fn after(seq: u64, reason: GapReason) -> Past {
        Past { after: seq, reason, noted: HashMap::new(), kept: VecDeque::new(), gap: None, is_torn: true }
    }

    /// Begins where nobody had anything: what history let go before now is not lost to this subscriber.
    pub(super) fn from_now_on(after: EventId, history: &dyn History, topics: &HashSet<TopicKey>, now: u64) -> Past {
        let mut past = Past::after(after.seq, GapReason::Evicted);
        past.note_losses(history, topics, now, after.epoch);
        Past { gap: None, is_torn: false, ..past }
    }

    /// Begins with everything there is, after telling why the subscriber's own place is unknown.
    pub(super) fn with_gap(gap: Gap) -> Past {
        Past { gap: Some(gap), ..Past::after(0, GapReason::Evicted) }
    }

    /// Notes what history has let go ahead of the cursor, as part of the gap that is told before the next event. A
    /// topic's oldest events go first, so what is noted once is the whole truth up to there.
    pub(super) fn note_losses(&mut self, history: &dyn History, topics: &HashSet<TopicKey>, now: u64, epoch: Epoch) {
        if history.last_loss() <= self.after {
            return;
        }
        self.noted.retain(|_, noted| noted.last > self.after);
        let kept_before = self.kept.len();
        for topic in accountable(topics) {
            // What a topic had lost when it was forgotten may lie anywhere ahead.
            let noted = self.noted.get(&topic).copied().filter(|_| topic != FORGOTTEN);
            let after = noted.map_or(self.after, |noted| noted.last);
            let Some(loss) = history.loss(topic, after) else { continue };
            if self.noted.get(&topic).is_some_and(|noted| noted.total == loss.total) {
                continue;
            }
            // The difference would count also what an earlier topic with this number has lost since, which is told as
            // forgotten. What this one has lost is known then, as all of it comes after what was noted.
            let missed = loss.missed.or(noted.map(|noted| loss.total - noted.total));
            let kept = history.retained(topic, now).filter(|kept| (after + 1..=loss.last).contains(&kept.seq));
            let (last, kept_one) = if kept.is_some() { (loss.last_not_retained, 1) } else { (loss.last, 0) };
            if last > after && missed != Some(kept_one) {
                self.miss(after + 1, last, missed.map(|missed| missed - kept_one), epoch);
            }
            self.noted.insert(topic, loss);
            self.kept.extend(kept.cloned());
        }
        if self.kept.len() > kept_before {
            self.kept.make_contiguous().sort_unstable_by_key(|kept| kept.seq);
        }
    }

    /// Notes what crashes have taken between two places, as part of the gap that is told next.
    pub(super) fn note_torn(&mut self, history: &dyn History, after: u64, upto: u64, epoch: Epoch) {
        if !self.is_torn {
            return;
        }
        for torn in history.torn().iter().filter(|torn| torn.last > after && torn.last <= upto) {
            self.miss(torn.after.max(after) + 1, torn.last, None, epoch);
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

/// The jump of a slow subscriber to now: of each topic the newest event after `after`, and gaps for the rest, each
/// before the event that follows it.
pub(super) fn jump(
    after: u64,
    history: &dyn History,
    topics: &HashSet<TopicKey>,
    now: u64,
    epoch: Epoch,
) -> VecDeque<Aside> {
    let mut past = Past::after(after, GapReason::Lagged);
    past.note_losses(history, topics, now, epoch);
    let mut entries = Vec::from(std::mem::take(&mut past.kept));
    history.scan(topics, after, now, usize::MAX, &mut |entry| {
        entries.push(entry.clone());
        true
    });
    entries.sort_unstable_by_key(|entry| entry.seq);
    let newest: HashMap<TopicKey, u64> = entries.iter().map(|entry| (entry.topic, entry.seq)).collect();

    let mut aside = VecDeque::new();
    for entry in entries {
        let seq = entry.seq;
        if newest.get(&entry.topic) == Some(&seq) {
            aside.extend(past.gap.take().map(|gap| Aside::Gap(gap, seq)));
            aside.push_back(Aside::Event(entry));
        } else {
            past.miss(seq, seq, Some(1), epoch);
        }
    }
    aside.extend(past.gap.take().map(|gap| Aside::Gap(gap, u64::MAX)));
    aside
}
