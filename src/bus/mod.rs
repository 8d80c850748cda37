//! The core of the bus: topics, history, feeds, cursors, clients.
//!
//! [`Bus`] is a state machine: no I/O, no async, no clock. Time comes in as an argument, bytes go out through
//! [`Bus::read`], and who must be woken is told by [`Bus::finish`], to be done after the bus is unlocked. One mutex
//! around it is all the locking there is.
//!
//! What is promised: events reach each subscriber in the order of their ids, each at most once; what a subscriber does
//! not get is told as a gap; no subscriber slows a publisher or another subscriber. Every bound is in
//! [`limits`](crate::limits).
//!
#![doc = include_str!("server.md")]

mod admin;
#[cfg(debug_assertions)]
mod check;
mod clients;
mod cursor;
mod feeds;
pub mod fetch;
mod format;
mod framing;
mod groups;
pub mod history;
pub mod journal;
mod output;
mod read;
mod replay;
mod request;
mod subscribe;
mod topics;
mod unicast;

use std::{
    sync::{Arc, atomic::AtomicUsize},
    task::Waker,
    time::Duration,
};

use self::{
    clients::{Client, Clients, Role, Subscriber},
    cursor::Place,
    feeds::{FeedKey, Feeds},
    fetch::Wanted,
    framing::ChunkBuffer,
    groups::Calls,
    history::{Entry, History, TopicKey},
    journal::Gone,
    replay::ReplayBuffers,
    topics::Topics,
};
pub use self::{
    clients::{ClientId, ClientName, Description},
    format::Format,
    framing::Framing,
    groups::{GroupId, ReaderId},
    read::Read,
    request::{Publication, Start, Subscription},
};
use crate::{
    event::{Epoch, Event, EventId, EventType},
    limits::{CALLS_MAX, Limits},
    protocol::{ErrorCode, GapReason, Published, Refused},
    retention::Retention,
    topic::Topic,
};

/// The topic on which the bus tells who comes and goes.
pub const CLIENTS_TOPIC: &str = "$sys/clients";

/// The time, as the caller's clocks have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back; bounds ages.
    pub mono: u64,
    /// Milliseconds since 1970 (UTC); only shown.
    pub unix: u64,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events published, the bus's own and unicast included.
    pub published: u64,
    /// Bytes of their data.
    pub published_bytes: u64,
    /// Events handed to subscribers.
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
    /// The second of the last tick.
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

    /// Publishes an event, from a publisher that is a client or from elsewhere.
    pub fn publish(
        &mut self,
        publication: Publication,
        from: Option<ClientId>,
        now: Now,
    ) -> Result<Published, Refused> {
        if self.is_closed {
            let message = "the daemon is stopping; publish again when there is another";
            return Err(Refused::new(ErrorCode::Stopping, message));
        }
        if publication.durable && self.history.journal().is_none() {
            let message = "this bus keeps history in memory, so nothing can be durable; use ack `accepted`";
            return Err(Refused::new(ErrorCode::NotDurable, message));
        }
        let published = match &publication.to {
            Some(address) => self.unicast(address, &publication, now),
            None => self.broadcast(publication, now)?,
        };
        if let Some(client) = from.and_then(|id| self.clients.get_mut(id)) {
            client.events += 1;
        }
        Ok(published)
    }

    fn broadcast(&mut self, publication: Publication, now: Now) -> Result<Published, Refused> {
        let Publication { topic, kind, headers, data, retain, ttl, .. } = publication;
        let key = self.topic_key(&topic, now)?;
        let event = Event { id: self.id(self.head + 1), topic, event_type: kind, headers, data, time: now.unix };
        let expires = ttl.map(|ttl| now.mono.saturating_add(crate::time::whole_millis(ttl)));
        let clear = retain && event.data.is_empty();
        let (id, size) = (event.id, event.data.len());
        let entry = Entry::new(event, key, now.mono, expires);
        if clear {
            self.history.clear_retained(key, now.mono);
        } else if retain {
            self.make_room_to_retain(&entry, now)?;
        }

        let event = entry.event.clone();
        self.head += 1;
        self.stats.published += 1;
        self.stats.published_bytes += size as u64;
        self.history.append(entry, retain && !clear);
        self.history.expire(now.mono);
        let mut subscribers = 0;
        if let Some(state) = self.topics.get_mut(key) {
            state.published += 1;
            state.last = Some((self.head, now.unix));
        }
        self.feeds.begin();
        if let Some(event) = &event {
            self.topics.wanted_by(&event.topic, &mut self.wanting);
            for feed in &self.wanting {
                self.feeds.append(*feed, event, &self.limits);
                subscribers += self.feeds.get(*feed).map_or(0, |feed| feed.subscribers as u64);
            }
        }
        Ok(Published { id, subscribers })
    }

    /// Seals what this call of the bus has published, and gives the wakers to call once the bus is unlocked.
    #[must_use]
    pub fn finish(&mut self) -> Vec<Waker> {
        self.feeds.seal_all(&self.limits, &mut self.calls);
        std::mem::take(&mut self.calls.woken)
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
            Some(Role::Subscriber(subscriber)) => self.leave_feed(&subscriber),
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

    /// Makes heartbeats due and lets old history go; to be called once a second while there are subscribers. What is left for
    /// want of time is done by [`Bus::catch_up`].
    pub fn tick(&mut self, now: Now) {
        self.history.expire(now.mono);
        self.ticked = self.ticked.max(now.mono / 1000);
        self.heartbeats();
    }

    /// Makes some of the heartbeats due whose time has come.
    fn heartbeats(&mut self) {
        for _ in 0..CALLS_MAX {
            let Some(id) = self.clients.next_heartbeat(self.ticked) else { return };
            self.heartbeat(id);
        }
    }

    /// Makes a subscriber's heartbeat due. Its reader sends it, unless this subscriber also needs its position.
    fn heartbeat(&mut self, id: ClientId) {
        let horizon = self.horizon();
        let Some(subscriber) = self.clients.subscriber_mut(id) else { return };
        let Some(feed) = self.feeds.get(subscriber.feed).filter(|feed| feed.format.has_heartbeat()) else { return };
        if let (Place::Grouped(_), Some(reader)) = (&subscriber.cursor.place, subscriber.reader) {
            let delivered = feed.group(Some(reader)).map_or(0, |group| group.delivered);
            if !subscriber.needs_position(delivered, horizon) {
                return self.calls.heartbeat_of(id, reader);
            }
        }
        subscriber.is_heartbeat_due = true;
        self.call(id);
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

    /// Lets go more of what is beyond its bounds, and makes more of the heartbeats due. Returns whether there is still more;
    /// then this is to be called again, once others have had the bus.
    pub fn catch_up(&mut self, now: Now) -> bool {
        self.evict_more(now);
        self.heartbeats();
        self.is_behind() || self.clients.has_heartbeat(self.ticked)
    }

    fn evict_more(&mut self, now: Now) {
        if self.is_behind() {
            self.history.expire(now.mono);
        }
    }

    fn id(&self, seq: u64) -> EventId {
        EventId { epoch: self.epoch, seq }
    }

    /// Publishes that a client comes or goes. A full table of topics keeps it from being told; that table says so.
    fn tell(&mut self, id: ClientId, what: &str, now: Now) {
        let Some(client) = self.clients.get(id) else { return };
        let data = serde_json::to_string(&self.presence(id, client)).unwrap_or_default();
        let (Ok(topic), Ok(kind)) = (Topic::parse(CLIENTS_TOPIC), EventType::parse(what)) else { return };
        let _ = self.broadcast(Publication { kind: Some(kind), ..Publication::new(topic, data) }, now);
    }

    /// A topic's number; a new topic is taken up if there is room.
    fn topic_key(&mut self, topic: &Topic, now: Now) -> Result<TopicKey, Refused> {
        if let Some(key) = self.topics.find(topic.as_str()) {
            return Ok(key);
        }
        if self.topics.len() >= self.limits.topics {
            self.history.expire(now.mono);
            let history = &self.history;
            let idle = self.topics.next_idle(|key| history.held(key) == history::Held::default());
            if let Some(key) = idle {
                if let Some(state) = self.topics.get(key).filter(|_| self.history.journal().is_some()) {
                    self.gone.note(state.name.clone());
                }
                self.topics.remove(key);
                self.history.forget(key);
            }
        }
        // One place is kept for the bus's own topic.
        let reserve = usize::from(topic.is_system());
        refuse_more(self.topics.len(), self.limits.topics + reserve, ErrorCode::LimitTopics, "topics")?;
        let key = self.topics.insert(topic.clone());
        self.history.know(key, topic);
        Ok(key)
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

    fn make_room_to_retain(&mut self, entry: &Entry, now: Now) -> Result<(), Refused> {
        let limit = self.limits.retained_bytes;
        let after =
            |history: &dyn History| history.totals().retained_bytes - history.retained_cost(entry.topic) + entry.cost;
        if after(&*self.history) > limit {
            self.history.reclaim(now.mono);
        }
        if after(&*self.history) > limit {
            let message = format!(
                "the retained events would need more than `retained_bytes` = {limit}; remove some (retain empty data), give \
                 them a TTL, or raise the limit"
            );
            return Err(Refused::new(ErrorCode::LimitRetained, message));
        }
        Ok(())
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

/// How often [`Bus::tick`] is to be called.
pub const TICK: Duration = Duration::from_secs(1);
