//! A subscriber's place: first what was set aside for it, then history, then its feed.
//!
//! While it reads history, a cursor keeps account of what history lets go ahead of it. Every loss is told as a gap at
//! its own place in the order of ids, so that a subscriber who leaves at any event and comes back with that event's id
//! is told of everything that it did not get.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use super::{
    accountable,
    history::{History, TopicKey},
};
use crate::{
    event::{Epoch, Event, EventId},
    protocol::{Gap, GapReason},
};

/// A subscriber's place.
#[derive(Debug)]
pub(super) struct Cursor {
    /// What is delivered before anything else, by id.
    pub(super) aside: VecDeque<Aside>,
    pub(super) place: Place,
}

/// Something set aside for one subscriber.
#[derive(Debug)]
pub(super) enum Aside {
    Event(Arc<Event>),
    Gap(Gap),
}

#[derive(Debug)]
pub(super) enum Place {
    /// It reads history.
    Past(Past),
    /// It reads its feed: the next segment, and the last event that it has read.
    Live { segment: u64, seq: u64 },
}

/// A cursor in history.
#[derive(Debug)]
pub(super) struct Past {
    /// Everything up to here was delivered, or is told as lost.
    pub(super) after: u64,
    /// Why what is lost is lost.
    pub(super) reason: GapReason,
    /// For topics of which history let something go ahead of the cursor: up to where that is told already. For all
    /// others that is `after`.
    told: HashMap<TopicKey, u64>,
    /// What is lost and not yet told.
    gap: Option<Gap>,
}

/// A loss ahead of a cursor.
pub(super) struct Ahead {
    topic: TopicKey,
    /// The place behind which it is told.
    pub(super) last: u64,
    from: u64,
    missed: Option<u64>,
}

impl Past {
    /// Goes on after an event that the subscriber had.
    pub(super) fn after(seq: u64, reason: GapReason) -> Past {
        Past { after: seq, reason, told: HashMap::new(), gap: None }
    }

    /// Begins where nobody had anything: what history let go before now is not lost to this subscriber.
    pub(super) fn from_now_on(after: u64, history: &dyn History, topics: &HashSet<TopicKey>) -> Past {
        let past = accountable(topics).filter_map(|key| Some((key, history.loss(key, after)?.last)));
        Past { told: past.collect(), ..Past::after(after, GapReason::Evicted) }
    }

    /// Begins with everything there is, after telling why the subscriber's own place is unknown.
    pub(super) fn with_gap(gap: Gap) -> Past {
        Past { gap: Some(gap), ..Past::after(0, GapReason::Evicted) }
    }

    /// What history has let go ahead of the cursor, nearest first.
    pub(super) fn losses(&mut self, history: &dyn History, topics: &HashSet<TopicKey>) -> VecDeque<Ahead> {
        if history.last_loss() <= self.after {
            return VecDeque::new();
        }
        let mut losses = Vec::new();
        for topic in accountable(topics) {
            let told = self.told.get(&topic).copied().unwrap_or(self.after);
            if let Some(loss) = history.loss(topic, told) {
                self.told.insert(topic, told);
                losses.push(Ahead { topic, last: loss.last, from: told + 1, missed: loss.missed });
            }
        }
        losses.sort_unstable_by_key(|loss| loss.last);
        losses.into()
    }

    /// The cursor passes a loss: it joins the gap that is told next.
    pub(super) fn pass(&mut self, loss: &Ahead, epoch: Epoch) {
        self.told.remove(&loss.topic);
        let id = |seq| EventId { epoch, seq };
        let gap = self.gap.get_or_insert(Gap {
            reason: self.reason,
            missed: Some(0),
            from: id(loss.from),
            to: id(loss.last),
        });
        gap.missed = gap.missed.zip(loss.missed).map(|(a, b)| a + b);
        gap.to = id(gap.to.seq.max(loss.last));
        if gap.from.epoch == epoch {
            gap.from = id(gap.from.seq.min(loss.from));
        }
    }

    /// The gap that is to be told now.
    pub(super) fn take_gap(&mut self) -> Option<Gap> {
        self.gap.take()
    }
}

/// The jump of a slow subscriber to now: of each topic the newest event after `after`, and gaps for the rest, by id.
pub(super) fn jump(
    after: u64,
    history: &dyn History,
    topics: &HashSet<TopicKey>,
    now: u64,
    epoch: Epoch,
) -> VecDeque<Aside> {
    // Newest events, and for each topic what lies before its newest: the last of it, and how many.
    let mut newest = Vec::new();
    let mut skipped = Vec::new();
    for topic in accountable(topics) {
        let event = history.newest(topic, now).filter(|event| event.id.seq > after);
        let (kept, last) = history.between(topic, after, event.as_ref().map_or(u64::MAX, |e| e.id.seq), now);
        let loss = history.loss(topic, after);
        let last = last.max(loss.map_or(0, |loss| loss.last));
        if last > 0 {
            skipped.push((last, loss.map_or(Some(0), |loss| loss.missed).map(|lost| lost + kept)));
        }
        newest.extend(event);
    }
    newest.sort_unstable_by_key(|event| event.id.seq);
    skipped.sort_unstable_by_key(|(last, _)| *last);

    let id = |seq| EventId { epoch, seq };
    let mut skipped = skipped.into_iter().peekable();
    let mut aside = VecDeque::new();
    let ends = newest.iter().map(|event| event.id.seq).chain([u64::MAX]);
    for (end, event) in ends.zip(newest.iter().map(Some).chain([None])) {
        let mut gap: Option<Gap> = None;
        while let Some((last, missed)) = skipped.next_if(|(last, _)| *last < end) {
            let gap = gap.get_or_insert(Gap {
                reason: GapReason::Lagged,
                missed: Some(0),
                from: id(after + 1),
                to: id(last),
            });
            gap.to = id(last);
            gap.missed = gap.missed.zip(missed).map(|(a, b)| a + b);
        }
        aside.extend(gap.map(Aside::Gap));
        aside.extend(event.cloned().map(Aside::Event));
    }
    aside
}
