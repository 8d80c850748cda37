//! The past: what a cursor reads when its feed does not have it.
//!
//! [`History`] is the seam behind which the past is kept; [`Memory`] keeps it in the process. Each topic is bounded by
//! count, bytes and age, and all share one budget ([`Retention`]); the oldest event goes first. What goes is counted,
//! so that a subscriber who comes back for it can be told. A topic's retained event outlives these bounds until it is
//! replaced, removed or expires; [`Limits::retained_bytes`](crate::limits::Limits::retained_bytes) bounds them all.
//!
//! When very many events are beyond the bounds at once, because these have changed or time has jumped, they go in steps
//! of [`EVICT_MAX`](crate::limits::EVICT_MAX), so that nobody waits long for the bus; the past is not read until all have
//! gone.
//!
//! A history may keep a [journal](Journaled): what of it has changed since it was last written down. Whoever keeps it
//! on disk takes that in [batches](super::journal::Batch), and gives back at the next start what it has. Of what is
//! written down only the newest and the retained events stay in memory as well; of the others an entry without its event
//! does, and whoever reads so far back [waits for the disk](super::fetch).

mod bounds;
#[cfg(debug_assertions)]
mod check;
mod losses;
mod memory;
mod memory_persist;
mod newest;
mod scan;
mod selection;
mod snapshot;

use std::{
    ops::{ControlFlow, Range},
    sync::Arc,
};

pub use self::{
    bounds::Doubt,
    losses::LostEvent,
    memory::Memory,
    memory_persist::{Changes, Forgotten, Journaled, TopicPast, Torn},
    selection::Selection,
    snapshot::SnapshotKind,
};
use crate::{event::Event, headers::Headers, retention::Retention, topic::Topic};

/// A topic's number in the bus's table of topics. Used again after the topic is forgotten.
pub type TopicKey = usize;

/// An event with what history knows about it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The event's number.
    pub seq: u64,
    /// Its topic.
    pub topic: TopicKey,
    /// When it came, in milliseconds of the bus's monotonic clock.
    pub came: u64,
    /// When it stops being replayed or retained, on the same clock.
    pub expires: Option<u64>,
    /// Bytes of memory that it is charged with.
    pub cost: usize,
    /// The event, unless it is on disk only.
    pub event: Option<Arc<Event>>,
}

impl Entry {
    /// An event that has just come.
    pub fn new(event: Event, topic: TopicKey, came: u64, expires: Option<u64>) -> Entry {
        let kind = event.event_type.as_ref().map_or(0, |kind| kind.as_str().len());
        let cost = Entry::cost_of(event.data.len(), kind, event.headers.as_lines().len());
        Entry { seq: event.id.seq, topic, came, expires, cost, event: Some(event.into()) }
    }

    /// What an event with so many bytes of data, type and [lines of headers](crate::Headers::as_lines) is charged with.
    pub fn cost_of(data: usize, kind: usize, headers: usize) -> usize {
        // Two tree slots, a queue slot and the allocator's own; measured with 200-byte events.
        const OVERHEAD: usize = 144;
        size_of::<Event>() + OVERHEAD + data + kind + Headers::cost_of(headers)
    }

    fn is_live(&self, now: u64) -> bool {
        self.expires.is_none_or(|at| at > now)
    }
}

/// What a topic has in history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Events.
    pub events: usize,
    /// What they cost, in bytes.
    pub bytes: usize,
    /// Whether there is a retained event.
    pub retained: bool,
}

/// What all topics have in history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events within the bounds.
    pub events: usize,
    /// What they cost, in bytes.
    pub bytes: usize,
    /// Retained events.
    pub retained: usize,
    /// What the retained events cost, in bytes.
    pub retained_bytes: usize,
}

/// Where the past is kept. Times are milliseconds of the bus's monotonic clock; sequence numbers only rise.
pub trait History: Send {
    /// Takes up a topic; before anything else is said of it.
    fn know(&mut self, topic: TopicKey, name: &Topic);
    /// Takes an event that is newer than all before. With `retain` it becomes the topic's retained event.
    fn append(&mut self, entry: Entry, retain: bool);
    /// Notes an event that is newer than all before and is not kept, because there is no room for its topic.
    fn pass_over(&mut self, seq: u64);
    /// Removes a topic's retained event.
    fn clear_retained(&mut self, topic: TopicKey, now: u64);
    /// A topic's retained event, which is in memory.
    fn retained(&self, topic: TopicKey, now: u64) -> Option<&Entry>;
    /// What a topic's retained event costs, in bytes.
    fn retained_cost(&self, topic: TopicKey) -> usize;
    /// A topic's newest event, else the retained one. Not while events are [beyond their bounds](History::is_behind).
    fn newest(&self, topic: TopicKey, now: u64) -> Option<&Entry>;
    /// Shows the events of some topics, within the bounds, that are newer than `after`, in order, until `visit` says
    /// `false` or `most` entries were looked at. Returns the place up to which everything has been shown, or `None` for all.
    fn scan(
        &self,
        topics: &Selection,
        after: u64,
        now: u64,
        most: usize,
        visit: &mut dyn FnMut(&Entry) -> bool,
    ) -> Option<u64>;
    /// The place before the first event that came at or after a time.
    fn place_at(&self, time: u64) -> u64;
    /// The number of the oldest event within the bounds.
    fn oldest(&self) -> Option<u64>;
    /// Shows the events of some topics that a snapshot has, with numbers in a range (after the first, up to the second), in
    /// order, until `visit` returns `false` or `most` entries were looked at. Returns the number up to which everything has
    /// been shown, or `None` for all.
    fn snapshot(
        &self,
        kind: SnapshotKind,
        topics: &Selection,
        range: (u64, u64),
        now: u64,
        most: usize,
        visit: &mut dyn FnMut(&Entry) -> bool,
    ) -> Option<u64>;
    /// The numbers of the losses that are known one by one; losses are numbered from 0, in the order in which they came.
    fn losses(&self) -> Range<u64>;
    /// One of them.
    fn lost(&self, number: u64) -> Option<LostEvent>;
    /// The last event among the losses that are not known one by one, if some topics may have lost any of these after a
    /// number. Looks at a bounded number of topics from one on, and continues with the one that it returns.
    fn earlier_loss(&self, topics: &Selection, after: u64, from: TopicKey) -> ControlFlow<Option<u64>, TopicKey>;
    /// Whether a loss is that of some topics; none if that is not known, because its topic has been forgotten since.
    fn is_lost_of(&self, lost: LostEvent, topics: &Selection) -> Option<bool>;
    /// The last event that was lost of any topic; 0 if none was.
    fn last_loss(&self) -> u64;
    /// What crashes have taken, oldest first.
    fn torn(&self) -> &[Torn];
    /// Lets go what is beyond the bounds, in a bounded step.
    fn expire(&mut self, now: u64);
    /// When an event may have grown too old next; nothing if there are no events.
    fn next_expiry(&self) -> Option<u64>;
    /// Whether the last step has left something that is beyond the bounds. Until it has gone, nobody should read.
    fn is_behind(&self) -> bool;
    /// Lets go retained events that have expired, in a bounded step.
    fn reclaim(&mut self, now: u64);
    /// What a topic has.
    fn held(&self, topic: TopicKey) -> Held;
    /// What all topics have.
    fn totals(&self) -> Totals;
    /// Forgets a topic that has nothing in history, so that its number can be used again.
    fn forget(&mut self, topic: TopicKey);
    /// Where the past is kept, in a word.
    fn kind(&self) -> &'static str;
    /// Its journal, if it keeps one.
    fn journal(&mut self) -> Option<&mut dyn Journaled>;
    /// Its bounds.
    fn retention(&self) -> &Retention;
    /// Has other bounds from now on, and begins to let go what is beyond them.
    fn set_retention(&mut self, retention: Retention, now: u64);
    /// Compares every counter, sum and index with one that is computed from scratch, and panics if one differs. For tests.
    #[cfg(debug_assertions)]
    fn self_check(&self) {}
}
