//! The bus: what it holds, its bounds and its position.

use std::sync::{Arc, atomic::AtomicUsize};

use super::{
    batch::Gone,
    clients::Clients,
    feeds::Feeds,
    fetch::Wanted,
    framing::ChunkBuffer,
    heartbeats::Heartbeats,
    history::History,
    ids::FeedKey,
    now::Now,
    replay::ReplayBuffers,
    stats::Stats,
    topics::Topics,
    wakeups::{Wakes, Wakeups},
};
use crate::{
    event::{Epoch, EventId},
    limits::Limits,
    protocol::{ErrorCode, Refused},
    retention::Retention,
};

/// The bus.
pub struct Bus {
    pub(super) epoch: Epoch,
    /// The number of the newest event.
    pub(super) head: u64,
    pub(super) limits: Limits,
    pub(super) topics: Topics,
    pub(super) history: Box<dyn History>,
    pub(super) feeds: Feeds,
    pub(super) clients: Clients,
    pub(super) stats: Stats,
    pub(super) wakeups: Wakeups,
    pub(super) heartbeats: Heartbeats,
    /// The time of the last tick.
    pub(super) ticked: u64,
    /// Nothing more is published.
    pub(super) is_closed: bool,
    /// Topics that were forgotten since the last batch.
    pub(super) gone: Gone,
    /// What subscribers wait for, which is on disk only.
    pub(super) wanted: Vec<Wanted>,
    /// The feeds that want the event that is being published.
    pub(super) wanting: Vec<FeedKey>,
    /// Where reads put together what is for one subscriber.
    pub(super) buffer: ChunkBuffer,
    /// What reads of the past have returned and sockets have not accepted.
    pub(super) replay: ReplayBuffers,
    /// Bytes of unicast events that wait for anybody.
    pub(super) unicast_bytes: Arc<AtomicUsize>,
}

impl Bus {
    /// An empty bus. The epoch must be one that no bus of this user had before.
    pub fn new(epoch: Epoch, limits: Limits, history: Box<dyn History>) -> Bus {
        Bus {
            epoch,
            head: 0,
            limits,
            topics: Topics::default(),
            history,
            feeds: Feeds::default(),
            clients: Clients::default(),
            stats: Stats::default(),
            wakeups: Wakeups::default(),
            heartbeats: Heartbeats::default(),
            ticked: 0,
            is_closed: false,
            gone: Gone::default(),
            wanted: Vec::new(),
            wanting: Vec::new(),
            buffer: ChunkBuffer::default(),
            replay: ReplayBuffers::default(),
            unicast_bytes: Arc::default(),
        }
    }

    /// The bounds that the bus was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Goes on with other bounds. What is beyond them is not read any more, and goes in steps if it is much. The same
    /// bounds change nothing; what has grown too old goes when it would have gone.
    pub fn configure(&mut self, limits: Limits, retention: Retention, now: Now) {
        self.limits = limits;
        if *self.history.retention() != retention {
            self.history.set_retention(retention, now.mono);
        }
    }

    /// The id of the newest event.
    pub fn position(&self) -> EventId {
        self.id(self.head)
    }

    /// Takes no more publications: whoever has read everything from now on has had everything that was ever accepted,
    /// but for what the bus itself tells.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Seals what this call of the bus has published, and returns whom to wake once the bus is unlocked.
    pub fn finish(&mut self) -> Wakes {
        self.feeds.seal_all(&self.limits, &mut self.wakeups);
        Wakes(std::mem::take(&mut self.wakeups.woken))
    }

    /// Ids below this lie in the older half of what history holds, or before it: history may evict soon what follows them.
    /// 0 while history has evicted nothing.
    pub(super) fn horizon(&self) -> u64 {
        if self.history.last_loss() == 0 {
            return 0;
        }
        let oldest = self.history.oldest().unwrap_or(self.head);
        oldest + self.head.saturating_sub(oldest) / 2
    }

    pub(super) fn id(&self, seq: u64) -> EventId {
        EventId { epoch: self.epoch, seq }
    }

    /// Refuses what would make filters cost more than they may.
    pub(super) fn refuse_more_filters(&self, more: usize) -> Result<(), Refused> {
        let limit = self.limits.filters_bytes;
        if self.topics.cost() + more <= limit {
            return Ok(());
        }
        let message = format!(
            "the filters of all subscribers would need more than `filters_bytes` = {limit}; use fewer or shorter filters, or \
             the same for many subscribers, or raise the limit"
        );
        Err(Refused::new(ErrorCode::LimitFilters, message))
    }
}

pub(super) fn refuse_more(have: usize, most: usize, code: ErrorCode, what: &str) -> Result<(), Refused> {
    if have < most {
        return Ok(());
    }
    Err(Refused::new(
        code,
        format!("there are {have} {what}, as many as `{what}` = {most} allows; raise it or use fewer"),
    ))
}
