//! The interface of a history.

use std::ops::{ControlFlow, Range};

use super::{
    entry::{Entry, TopicKey, TopicUsage, Totals},
    losses::LostEvent,
    past::CrashLoss,
    persist::Persist,
    selection::{Selection, SnapshotKind},
};
use crate::{retention::Retention, topic::Topic};

/// Where the past is kept. Times are milliseconds of the bus's monotonic clock; sequence numbers only rise.
pub trait History: Send {
    /// Takes up a topic; before anything else is said of it.
    fn add_topic(&mut self, topic: TopicKey, name: &Topic);
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
    fn crashes(&self) -> &[CrashLoss];
    /// Lets go what is beyond the bounds, in a bounded step.
    fn expire(&mut self, now: u64);
    /// When an event may have grown too old next; nothing if there are no events.
    fn next_expiry(&self) -> Option<u64>;
    /// Whether the last step has left something that is beyond the bounds. Until it has gone, nobody should read.
    fn is_behind(&self) -> bool;
    /// Lets go retained events that have expired, in a bounded step.
    fn reclaim(&mut self, now: u64);
    /// What a topic has.
    fn usage(&self, topic: TopicKey) -> TopicUsage;
    /// What all topics have.
    fn totals(&self) -> Totals;
    /// Forgets a topic that has nothing in history, so that its number can be used again.
    fn remove_topic(&mut self, topic: TopicKey);
    /// Where the past is kept, in a word.
    fn kind(&self) -> &'static str;
    /// Its journal, if it keeps one.
    fn persist(&mut self) -> Option<&mut dyn Persist>;
    /// Its bounds.
    fn retention(&self) -> &Retention;
    /// Has other bounds from now on, and begins to let go what is beyond them.
    fn set_retention(&mut self, retention: Retention, now: u64);
    /// Compares every counter, sum and index with one that is computed from scratch, and panics if one differs. For tests.
    #[cfg(debug_assertions)]
    fn self_check(&self) {}
}
