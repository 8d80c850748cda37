//! The interface of the index of history, which is always in memory and never waits. Storage is not behind it: the daemon's
//! disk takes the changes through [`Persist`], and the events that are no longer in memory are read by
//! [fetching](super::super::fetch). A further backend is an `ExternalLog` of the daemon, see `daemon/log/external.rs`.

use std::ops::{ControlFlow, Range};

use super::{
    entry::{Entry, TopicKey, TopicUsage, Totals},
    held::HeldEvent,
    losses::LostEvent,
    past::CrashLoss,
    persist::Persist,
    selection::{Selection, SnapshotKind},
};
use crate::{protocol::HistoryKind, retention::Retention, topic::Topic};

/// Stores the past of the bus. Times are in milliseconds of the monotonic clock of the bus; sequence numbers only rise.
pub trait History: Send {
    /// Adds a topic. Call it before any other method with this topic.
    fn add_topic(&mut self, topic: TopicKey, name: &Topic);
    /// Adds an event that is newer than all others. With `retain` it becomes the topic's retained event.
    fn append(&mut self, entry: Entry, retain: bool);
    /// Records an event that is newer than all others and is not stored, because there is no room for its topic.
    fn pass_over(&mut self, seq: u64);
    /// Removes a topic's retained event.
    fn clear_retained(&mut self, topic: TopicKey, now: u64);
    /// Returns a topic's retained event, which is in memory.
    fn retained(&self, topic: TopicKey, now: u64) -> Option<&Entry>;
    /// Returns the cost of a topic's retained event, in bytes.
    fn retained_cost(&self, topic: TopicKey) -> usize;
    /// Returns a topic's newest event, or else the retained one. Do not call it while history [is
    /// behind](History::is_behind).
    fn newest(&self, topic: TopicKey, now: u64) -> Option<&Entry>;
    /// Visits the events of some topics that are newer than `after`, in order, until `visit` returns false or `most` entries
    /// were examined. Returns the sequence number up to which all events were visited, or None if there are no more.
    fn scan(
        &self,
        topics: &Selection,
        after: u64,
        now: u64,
        most: usize,
        visit: &mut dyn FnMut(&Entry) -> bool,
    ) -> Option<u64>;
    /// Returns the sequence number of the last event that arrived before a time; 0 if there is none.
    fn last_before(&self, time: u64) -> u64;
    /// Returns the sequence number up to which events are in a log elsewhere only; 0 if there is no such log. It only rises.
    fn start(&self) -> u64 {
        0
    }
    /// Returns true if the log is elsewhere, and this is a window of it.
    fn is_window(&self) -> bool;
    /// Returns the sequence number of the oldest event within the bounds.
    fn oldest(&self) -> Option<u64>;
    /// Visits the snapshot's events of some topics, with sequence numbers in a range (after the first, up to the second), in
    /// order, until `visit` returns false or `most` entries were examined. Returns the sequence number up to which all events
    /// were visited, or None if there are no more.
    fn snapshot(
        &self,
        kind: SnapshotKind,
        topics: &Selection,
        range: (u64, u64),
        now: u64,
        most: usize,
        visit: &mut dyn FnMut(&Entry) -> bool,
    ) -> Option<u64>;
    /// Returns the indexes of the losses that are recorded one by one. They count all losses, from 0, in the order of eviction.
    fn losses(&self) -> Range<u64>;
    /// Returns the loss with an index, if it is recorded.
    fn lost(&self, index: u64) -> Option<LostEvent>;
    /// Searches the losses that are not recorded one by one for lost events of some topics after a sequence number. Breaks
    /// with the last of them, or None if there is none. Each call examines a bounded number of topics, beginning with `from`,
    /// and returns the topic to continue with.
    fn earlier_loss(&self, topics: &Selection, after: u64, from: TopicKey) -> ControlFlow<Option<u64>, TopicKey>;
    /// Returns true if a lost event is of one of these topics; None if its topic is unknown, because it was removed.
    fn is_lost_of(&self, lost: LostEvent, topics: &Selection) -> Option<bool>;
    /// Returns the sequence number of the last lost event of any topic; 0 if there is none.
    fn last_loss(&self) -> u64;
    /// Returns the losses by crashes, oldest first.
    fn crashes(&self) -> &[CrashLoss];
    /// Evicts events that exceed the bounds, in a bounded step.
    fn expire(&mut self, now: u64);
    /// Returns the next time at which an event may be too old or expires; None if there are no events.
    fn next_expiry(&self) -> Option<u64>;
    /// Returns true if the last step has left events that exceed the bounds. Until they are evicted, do not read history.
    fn is_behind(&self) -> bool;
    /// Evicts expired retained events, in a bounded step.
    fn reclaim(&mut self, now: u64);
    /// Removes expired events, retained or not, in a bounded step. Returns true if there are more.
    fn remove_expired(&mut self, now: u64) -> bool;
    /// Returns what a topic has in history.
    fn usage(&self, topic: TopicKey) -> TopicUsage;
    /// Returns what all topics have in history.
    fn totals(&self) -> Totals;
    /// Removes a topic that has nothing in history, so that its key can be reused.
    fn remove_topic(&mut self, topic: TopicKey);
    /// Returns where history is stored.
    fn kind(&self) -> HistoryKind;
    /// Returns the interface to its changes, if it is persistent.
    fn persist(&mut self) -> Option<&mut dyn Persist>;
    /// Returns the bounds.
    fn retention(&self) -> &Retention;
    /// Changes the bounds, and begins to evict events that exceed them.
    fn set_retention(&mut self, retention: Retention, now: u64);
    /// Returns the entry of an event within the bounds, retained, or held.
    fn entry(&self, seq: u64) -> Option<&Entry>;
    /// Visits the events of some topics that are newer than `after`, held and expired ones included, as [`History::scan`]
    /// does. For consumers.
    fn walk(&self, topics: &Selection, after: u64, most: usize, visit: &mut dyn FnMut(&Entry) -> bool) -> Option<u64>;
    /// Begins or ends to collect evicted events. Each of them is then to be [held](History::hold) or
    /// [forgotten](History::forget).
    fn keep_evicted(&mut self, keep: bool);
    /// Takes the events that were evicted since the last call.
    fn take_evicted(&mut self) -> Vec<Entry>;
    /// Removes an evicted event for good.
    fn forget(&mut self, seq: u64);
    /// Holds an evicted event. Subscribers do not read it.
    fn hold(&mut self, held: HeldEvent);
    /// Changes whether a held event may be dropped for lack of room.
    fn set_droppable(&mut self, seq: u64, is_droppable: bool);
    /// Removes a held event for good.
    fn release(&mut self, seq: u64);
    /// Returns a held event.
    fn held(&self, seq: u64) -> Option<&HeldEvent>;
    /// Returns the held events after a sequence number, in order, at most `most`.
    fn held_after(&self, after: u64, most: usize) -> Vec<u64>;
    /// Returns the oldest held event that may be dropped.
    fn oldest_droppable(&self) -> Option<&Entry>;
    /// Returns the sequence number of the newest held event.
    fn last_held(&self) -> Option<u64>;
    /// Returns the cost of all held events, in bytes.
    fn held_bytes(&self) -> usize;
    /// Computes every counter, sum and index from scratch, and panics if one differs. For tests.
    #[cfg(debug_assertions)]
    fn self_check(&self) {}
}
