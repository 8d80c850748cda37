//! The struct of the bus: its parts, limits and position.

use std::sync::{Arc, atomic::AtomicUsize};

use super::{
    batch::Gone,
    clients::Clients,
    consumers::Consumers,
    dedup::Dedup,
    feeds::Feeds,
    fetch::Wanted,
    framing::ChunkBuffer,
    heartbeats::Heartbeats,
    history::{History, TopicKey},
    ids::FeedKey,
    now::Now,
    presence_watch::PresenceWatch,
    replay::ReplayBuffers,
    requests::Requests,
    schedules::Schedules,
    stats::Stats,
    topics::Topics,
    wakeups::{Wakes, Wakeups},
};
use crate::{
    event::{Check, Epoch, EventId},
    limits::Limits,
    protocol::{ErrorCode, Refused},
    retention::Retention,
};

/// The bus.
pub struct Bus {
    pub(super) epoch: Epoch,
    /// The sequence number of the newest event.
    pub(super) head: u64,
    /// The check of that event.
    pub(super) head_check: Option<Check>,
    /// How often the log was rewritten.
    pub(super) rewrites: u64,
    pub(super) limits: Limits,
    pub(super) topics: Topics,
    pub(super) history: Box<dyn History>,
    pub(super) feeds: Feeds,
    pub(super) clients: Clients,
    pub(super) consumers: Consumers,
    pub(super) requests: Requests,
    pub(super) dedup: Dedup,
    pub(super) schedules: Schedules,
    pub(super) stats: Stats,
    pub(super) presence_watch: PresenceWatch,
    pub(super) wakeups: Wakeups,
    pub(super) heartbeats: Heartbeats,
    /// The time before which no tick is needed for history.
    pub(super) next_eviction: u64,
    /// The bus refuses publications.
    pub(super) is_closed: bool,
    /// Topics that were removed since the last batch.
    pub(super) gone: Gone,
    /// The key of the next topic to write again, because too many were removed to name them; the maximum if there is none.
    pub(super) unlisted: TopicKey,
    /// Events that are not in memory, for which subscribers wait.
    pub(super) wanted: Vec<Wanted>,
    /// The feeds that match the event that is being published. Kept to reuse its memory.
    pub(super) wanting: Vec<FeedKey>,
    /// In which reads assemble the bytes for one subscriber. Kept to reuse its memory.
    pub(super) buffer: ChunkBuffer,
    /// Bytes of history that reads have returned and sockets have not accepted.
    pub(super) replay: ReplayBuffers,
    /// Bytes of the unicast events that wait for all clients.
    pub(super) unicast_bytes: Arc<AtomicUsize>,
}

impl Bus {
    /// Returns an empty bus. No earlier bus of this user may have had the same epoch. With the window of a log elsewhere, the
    /// bus is at the beginning of the window, and is to [apply](Bus::apply) all later events of the log.
    pub fn new(epoch: Epoch, limits: Limits, history: Box<dyn History>) -> Bus {
        Bus {
            epoch,
            head: history.start(),
            head_check: None,
            rewrites: 0,
            limits,
            topics: Topics::default(),
            history,
            feeds: Feeds::default(),
            clients: Clients::default(),
            consumers: Consumers::default(),
            requests: Requests::default(),
            dedup: Dedup::default(),
            schedules: Schedules::default(),
            stats: Stats::default(),
            presence_watch: PresenceWatch::default(),
            wakeups: Wakeups::default(),
            heartbeats: Heartbeats::default(),
            next_eviction: 0,
            is_closed: false,
            gone: Gone::default(),
            unlisted: TopicKey::MAX,
            wanted: Vec::new(),
            wanting: Vec::new(),
            buffer: ChunkBuffer::default(),
            replay: ReplayBuffers::default(),
            unicast_bytes: Arc::default(),
        }
    }

    /// Returns the limits of the bus.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Changes the limits, and the bounds of history. Events above the new bounds are not read any more; if there are many,
    /// they are evicted in steps. The same bounds change nothing: old events are evicted when they would have been.
    pub fn configure(&mut self, limits: Limits, retention: Retention, now: Now) {
        self.limits = limits;
        if *self.history.retention() != retention {
            self.history.set_retention(retention, now.mono);
            self.settle_evicted(now);
        }
    }

    /// Returns the bounds of history.
    pub fn retention(&self) -> &Retention {
        self.history.retention()
    }

    /// Returns the id of the newest event.
    pub fn position(&self) -> EventId {
        EventId { check: self.head_check, ..self.id(self.head) }
    }

    /// Refuses publications from now on: a subscriber that then reads everything has received every accepted event, except
    /// later events of the bus itself.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Seals what was published since the last call, and returns the tasks to wake once the bus is unlocked. With very many
    /// feeds this takes long: under a contended lock, call [`Bus::finish_some`] instead.
    pub fn finish(&mut self) -> Wakes {
        while self.finish_some() {}
        self.take_wakes()
    }

    /// Does a bounded part of the work of [`Bus::finish`]. Returns true if there is more. Other calls of the bus, between these
    /// steps, see the same as after them; only tasks are woken later.
    pub fn finish_some(&mut self) -> bool {
        let has_chores = self.finish_some_consumers();
        self.feeds.finish_some(&self.limits, &mut self.wakeups) || has_chores
    }

    /// Returns the number of events so far that were for very many feeds or consumers, which [`Bus::finish_some`] serves.
    pub fn broadcasts(&self) -> u64 {
        self.feeds.broadcasts() + self.offered()
    }

    /// Returns true if many events wait for very many feeds or consumers. Call [`Bus::finish_some`] before the next such
    /// publish.
    pub fn has_many_broadcasts(&self) -> bool {
        self.feeds.has_many_broadcasts() || self.has_many_offers()
    }

    /// Takes the tasks to wake once the bus is unlocked.
    pub fn take_wakes(&mut self) -> Wakes {
        Wakes(std::mem::take(&mut self.wakeups.woken))
    }

    /// Returns the middle of the events that history holds. History may soon evict the events after an earlier position.
    /// Returns 0 while history has evicted nothing. Events before the window count as evicted: the log may be about to.
    pub(super) fn horizon(&self) -> u64 {
        if self.history.last_loss() == 0 && self.history.start() == 0 {
            return 0;
        }
        let oldest = self.history.oldest().unwrap_or(self.head);
        oldest + self.head.saturating_sub(oldest) / 2
    }

    /// Returns the id of a sequence number in the epoch of this bus.
    pub(super) fn id(&self, seq: u64) -> EventId {
        EventId::new(self.epoch, seq)
    }

    /// Refuses more bytes of filters than the limit allows.
    pub(super) fn refuse_more_filters(&self, more: usize) -> Result<(), Refused> {
        let limit = self.limits.filters_bytes;
        let have = self.topics.cost() + self.consumers.filters_cost() + self.requests.filters_cost();
        if have + more <= limit {
            return Ok(());
        }
        let message = format!(
            "the filters of all subscribers would need more than `filters_bytes` = {limit}; use fewer or shorter filters, or \
             the same for many subscribers, or raise the limit"
        );
        Err(Refused::new(ErrorCode::LimitFilters, message))
    }
}

/// Refuses one more of something when its limit is reached.
pub(super) fn refuse_more(have: usize, most: usize, code: ErrorCode, what: &str) -> Result<(), Refused> {
    if have < most {
        return Ok(());
    }
    Err(Refused::new(
        code,
        format!("there are {have} {what}, as many as `{what}` = {most} allows; raise it or use fewer"),
    ))
}
