//! The core of the bus: topics, history, feeds, cursors, clients.
//!
//! [`Bus`] is a state machine: no I/O, no async, no clock. Time comes in as an argument, bytes go out through
//! [`Bus::read`], and who must be woken is told by [`Bus::finish`], to be done after the bus is unlocked. One mutex
//! around it is all the locking there is.
//!
//! What is promised: events reach each subscriber in the order of the log, each at most once; what a subscriber does
//! not get is told as a gap; no subscriber slows a publisher or another subscriber. Every bound is in
//! [`limits`](crate::limits).
//!
#![doc = include_str!("server.md")]

#[cfg(debug_assertions)]
mod check;
mod clients;
mod cursor;
mod feeds;
pub mod fetch;
mod format;
mod framing;
mod heartbeats;
pub mod history;
mod inspect;
pub mod journal;
mod output;
mod publish;
mod read;
mod read_shared;
mod replay;
mod request;
mod subscribe;
mod topics;
mod unicast;

use std::{
    sync::{Arc, atomic::AtomicUsize},
    task::Waker,
};

use self::{
    clients::{Client, Clients, Role, Subscriber},
    feeds::{FeedKey, Feeds},
    fetch::Wanted,
    framing::ChunkBuffer,
    heartbeats::Heartbeats,
    history::History,
    journal::Gone,
    read_shared::Calls,
    replay::ReplayBuffers,
    topics::Topics,
};
pub use self::{
    clients::{ClientId, ClientName, Description},
    format::Format,
    framing::Framing,
    publish::{Admitted, LogEvent},
    read::Read,
    read_shared::{GroupId, ReaderId},
    request::{Publication, Start, Subscription},
};
use crate::{
    event::{Epoch, EventId},
    limits::Limits,
    protocol::{ErrorCode, GapReason, Refused},
    retention::Retention,
};

/// The topic on which the bus tells who comes and goes. Its events are live only: they have no id and are in no history, and
/// who needs the present state asks for the [clients](Bus::clients).
pub const CLIENTS_TOPIC: &str = "$sys/clients";

/// The time, as the caller's clocks have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back; bounds ages.
    pub mono: u64,
    /// Milliseconds since 1970 (UTC); only shown.
    pub unix: u64,
}

/// Tasks that have something to read. They are woken when this is dropped, if not before; to be dropped once the bus is
/// unlocked, as each of them will lock it.
#[derive(Debug)]
#[must_use = "it is to be dropped once the bus is unlocked"]
pub struct Wakes(Vec<Waker>);

impl Wakes {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Wakes them.
    pub fn wake(self) {}
}

impl Drop for Wakes {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events published, but for those that are live only: the bus's own, and those for one client.
    pub published: u64,
    /// Bytes of their data.
    pub published_bytes: u64,
    /// Events handed to subscribers, those that are live only included.
    pub delivered: u64,
    /// Bytes handed to subscribers, as encoded.
    pub delivered_bytes: u64,
    /// Gaps told, by reason, in the order of [`Stats::GAP_REASONS`].
    pub gaps: [u64; 4],
    /// Subscribers disconnected because they were slow.
    pub slow_disconnects: u64,
}

impl Stats {
    /// The reasons by which gaps are counted.
    pub const GAP_REASONS: [GapReason; 4] =
        [GapReason::Evicted, GapReason::Lagged, GapReason::Restarted, GapReason::UnknownId];
}

/// The bus.
pub struct Bus {
    epoch: Epoch,
    /// The number of the newest event.
    head: u64,
    limits: Limits,
    topics: Topics,
    history: Box<dyn History>,
    feeds: Feeds,
    clients: Clients,
    stats: Stats,
    calls: Calls,
    heartbeats: Heartbeats,
    /// The time of the last tick.
    ticked: u64,
    /// Nothing more is published.
    is_closed: bool,
    /// Topics that were forgotten since the last batch.
    gone: Gone,
    /// What subscribers wait for, which is on disk only.
    wanted: Vec<Wanted>,
    /// The feeds that want the event that is being published.
    wanting: Vec<FeedKey>,
    /// Where reads put together what is for one subscriber.
    buffer: ChunkBuffer,
    /// What reads of the past have returned and sockets have not accepted.
    replay: ReplayBuffers,
    /// Bytes of unicast events that wait for anybody.
    unicast_bytes: Arc<AtomicUsize>,
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
            calls: Calls::default(),
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
        self.feeds.seal_all(&self.limits, &mut self.calls);
        Wakes(std::mem::take(&mut self.calls.woken))
    }

    /// Adds a publisher. `via` is the way in that it uses.
    pub fn add_publisher(
        &mut self,
        description: Description,
        via: &'static str,
        now: Now,
    ) -> Result<ClientId, Refused> {
        refuse_more(self.clients.publishers, self.limits.publishers, ErrorCode::LimitPublishers, "publishers")?;
        let role = Role::Publisher { via, waker: None };
        let id = self.clients.insert(Client { description, connected: now.unix, role, events: 0, gaps: 0 });
        self.tell(id, "join", now);
        Ok(id)
    }

    /// Removes a client whose connection is gone. Says whether it was still there.
    pub fn disconnect(&mut self, id: ClientId, now: Now) -> bool {
        if self.clients.get(id).is_none() {
            return false;
        }
        self.tell(id, "leave", now);
        self.call(id);
        match self.clients.remove(id).map(|client| client.role) {
            Some(Role::Subscriber(subscriber)) => {
                self.heartbeats.remove(id, subscriber.heartbeat_interval);
                self.leave_feed(&subscriber);
            }
            Some(Role::Publisher { waker, .. }) => self.calls.woken.extend(waker),
            None => {}
        }
        true
    }

    /// Whether a client is still there. One that has more to read than it takes learns only so that it was kicked.
    pub fn is_connected(&self, id: ClientId) -> bool {
        self.clients.get(id).is_some()
    }

    /// Removes a client that does not take what it gets.
    pub fn disconnect_slow(&mut self, id: ClientId, now: Now) {
        self.stats.slow_disconnects += u64::from(self.disconnect(id, now));
    }

    fn leave_feed(&mut self, subscriber: &Subscriber) {
        let key = subscriber.feed;
        if let Some(segment) = subscriber.cursor.segment() {
            self.feeds.seal(key, &self.limits);
            self.feeds.leave(key, segment);
        }
        let Some(feed) = self.feeds.get_mut(key) else { return };
        feed.subscribers -= 1;
        if feed.subscribers == 0
            && let Some(feed) = self.feeds.close(key)
        {
            self.topics.disconnect(&feed.filters, key);
        }
    }

    /// Disconnects the clients with an id or a name, and returns how many there were. With many clients this takes long: under
    /// a lock that others wait for, take [them](Bus::addressed) and [disconnect](Bus::disconnect) some at a time.
    pub fn kick(&mut self, address: &str, now: Now) -> Result<u64, Refused> {
        let kicked = self.addressed(address)?;
        for id in &kicked {
            self.disconnect(*id, now);
        }
        Ok(kicked.len() as u64)
    }

    /// The clients that an address means: the one with that id, else all with that name; at least one.
    pub fn addressed(&self, address: &str) -> Result<Vec<ClientId>, Refused> {
        let addressed = self.clients.addressed(address);
        if addressed.is_empty() {
            let message =
                format!("no client has the id or the name `{}`; list them with `clients`", address.escape_debug());
            return Err(Refused::new(ErrorCode::ClientUnknown, message));
        }
        Ok(addressed)
    }

    /// Whether there are subscribers.
    pub fn has_subscribers(&self) -> bool {
        self.clients.subscribers > 0
    }

    /// Ids below this lie in the older half of what history holds, or before it: history may evict soon what follows them.
    /// 0 while history has evicted nothing.
    fn horizon(&self) -> u64 {
        if self.history.last_loss() == 0 {
            return 0;
        }
        let oldest = self.history.oldest().unwrap_or(self.head);
        oldest + self.head.saturating_sub(oldest) / 2
    }

    /// Whether something that is beyond its bounds has not gone yet. Until it has, nobody is given any of the past.
    pub fn is_behind(&self) -> bool {
        self.history.is_behind()
    }

    fn evict_more(&mut self, now: Now) {
        if self.is_behind() {
            self.history.expire(now.mono);
        }
    }

    fn id(&self, seq: u64) -> EventId {
        EventId { epoch: self.epoch, seq }
    }

    /// Refuses what would make filters cost more than they may.
    fn refuse_more_filters(&self, more: usize) -> Result<(), Refused> {
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

fn refuse_more(have: usize, most: usize, code: ErrorCode, what: &str) -> Result<(), Refused> {
    if have < most {
        return Ok(());
    }
    Err(Refused::new(
        code,
        format!("there are {have} {what}, as many as `{what}` = {most} allows; raise it or use fewer"),
    ))
}
