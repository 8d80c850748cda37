//! Descriptions of clients and topics, and statistics.

use super::{
    Bus, ClientId, Now, Stats,
    clients::{Client, Role, Worker},
    cursor::Position,
    history::TopicKey,
    topics::TopicState,
};
use crate::{
    limits::{
        CONSUMERS_MAX, DEAD_ALL_MAX, FEEDS_AT_ONCE, REQUESTS_BYTES, REQUESTS_MAX, RESPONDERS_MAX, SCHEDULES_BYTES,
        SCHEDULES_MAX, TOPICS_AT_ONCE, UNFINISHED_MAX, WORKERS_MAX,
    },
    protocol::{ClientInfo, ClientRole, LimitInfo, Status, TopicInfo, Transport},
};

impl Bus {
    /// Describes all clients, by id. With many clients this takes long: under a contended lock, get their
    /// [ids](Bus::client_ids) and describe [a few at a time](Bus::describe_clients).
    pub fn clients(&self) -> Vec<ClientInfo> {
        self.describe_clients(&self.client_ids())
    }

    /// Returns the ids of all clients, in order.
    pub fn client_ids(&self) -> Vec<ClientId> {
        let mut ids: Vec<_> = self.clients.iter().map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids
    }

    /// Describes those of some clients that are still connected. Call it with at most
    /// [`CLIENTS_AT_ONCE`](crate::limits::CLIENTS_AT_ONCE) ids.
    pub fn describe_clients(&self, ids: &[ClientId]) -> Vec<ClientInfo> {
        ids.iter().filter_map(|id| Some(self.info(*id, self.clients.get(*id)?))).collect()
    }

    /// Describes all topics, by name. With many topics this takes long: under a contended lock, get
    /// [a few at a time](Bus::topics_after).
    pub fn topics(&self, now: Now) -> Vec<TopicInfo> {
        let mut topics = self.topics_after(None, now);
        let mut begin = 0;
        while let Some(last) = topics[begin..].last() {
            let next = self.topics_after(Some(&last.topic), now);
            begin = topics.len();
            topics.extend(next);
        }
        topics
    }

    /// Describes the topics after a name, in order, at most [`TOPICS_AT_ONCE`], and fewer if they have very many feeds. An
    /// empty result means that there are no more.
    pub fn topics_after(&self, name: Option<&str>, now: Now) -> Vec<TopicInfo> {
        /// No further topic is described after this number of feeds.
        const FEEDS: usize = 8 * FEEDS_AT_ONCE;
        let (mut feeds, mut found) = (Vec::new(), 0);
        let info = |(key, state): (TopicKey, &TopicState)| {
            if found > FEEDS {
                return None;
            }
            let usage = self.history.usage(key);
            self.topics.wanted_by(&state.name, &mut feeds);
            found += feeds.len();
            Some(TopicInfo {
                topic: state.name.to_string(),
                published: state.published,
                events: usage.events as u64,
                bytes: usage.bytes as u64,
                retained: self.history.retained(key, now.mono).is_some(),
                subscribers: self.feeds.subscribers(&feeds),
                last_id: state.last.map(|(seq, _)| self.id(seq)),
                last_time: state.last.map(|(_, time)| time),
            })
        };
        self.topics.after(name).take(TOPICS_AT_ONCE).map_while(info).collect()
    }

    /// Returns the totals since the bus was created.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Returns the status of the bus, to which the daemon adds its own part, and the events that are
    /// [pending](Status::pending).
    pub fn status(&self) -> Status {
        let totals = self.history.totals();
        Status {
            position: self.position().to_string(),
            subscribers: self.clients.subscribers as u64,
            publishers: self.clients.publishers as u64,
            topics: self.topics.len() as u64,
            published: self.stats.published,
            delivered: self.stats.delivered,
            history: self.history.kind(),
            history_events: totals.events as u64,
            history_bytes: totals.bytes as u64,
            history_budget: self.history.retention().budget as u64,
            retained: totals.retained as u64,
            gaps: self.stats.gaps.iter().sum(),
            slow_disconnects: self.stats.slow_disconnects,
            limits: self.limits_used(),
            consumers: self.consumers.len() as u64,
            workers: self.consumers.totals().workers as u64,
            in_flight: self.consumers.totals().in_flight as u64,
            dead: self.consumers.totals().dead as u64,
            ..Status::default()
        }
    }

    /// Returns the usage of limits at which requests are refused. Full history and buffers are normal.
    fn limits_used(&self) -> Vec<LimitInfo> {
        let (limits, work) = (&self.limits, self.consumers.totals());
        let info = |limit: &'static str, used: usize, bound: usize| LimitInfo {
            limit: limit.into(),
            used: used as u64,
            bound: bound as u64,
        };
        vec![
            info("topics", self.topics.len(), limits.topics),
            info("subscribers", self.clients.subscribers, limits.subscribers),
            info("filters_bytes", self.topics.cost(), limits.filters_bytes),
            info("publishers", self.clients.publishers, limits.publishers),
            info("responders", self.requests.responders(), RESPONDERS_MAX),
            info("requests", self.requests.unanswered(), REQUESTS_MAX),
            info("requests_bytes", self.requests.bytes(), REQUESTS_BYTES),
            info("retained_bytes", self.history.totals().retained_bytes, limits.retained_bytes),
            info("consumers", self.consumers.len(), CONSUMERS_MAX),
            info("workers", work.workers, WORKERS_MAX),
            info("unfinished_events", work.unfinished, UNFINISHED_MAX),
            info("dead_letters", work.dead, DEAD_ALL_MAX),
            info("schedules", self.scheduled(), SCHEDULES_MAX),
            info("schedules_bytes", self.schedules.bytes(), SCHEDULES_BYTES),
            info("held_bytes", self.history.held_bytes(), self.history.retention().budget / 2),
        ]
    }

    /// Describes a client.
    pub(super) fn info(&self, id: ClientId, client: &Client) -> ClientInfo {
        let (role, via, filters, lag, more) = match &client.role {
            Role::Publisher { via, .. } => (ClientRole::Publisher, *via, Vec::new(), 0, 0),
            Role::Worker { via, worker: Worker::Elsewhere { filters, .. } } => {
                (ClientRole::Worker, *via, filters.clone(), 0, 0)
            }
            Role::Worker { via, worker: Worker::Here(worker) } => {
                let (filters, delivered) = self.worker_info(*worker).unwrap_or_default();
                (ClientRole::Worker, *via, filters, 0, delivered)
            }
            Role::Subscriber(subscriber) => {
                let feed = self.feeds.get(subscriber.feed);
                let waiting = |segment| feed.map_or(0, |feed| feed.waiting(segment));
                let (lag, in_group) = match &subscriber.cursor.position {
                    Position::Shared(membership) => feed
                        .and_then(|feed| feed.shared_cursor(subscriber.reader))
                        .map_or((0, 0), |shared| (waiting(shared.segment), shared.events - membership.since)),
                    _ => (subscriber.cursor.segment().map_or(0, waiting), 0),
                };
                let filters = feed.map_or(Vec::new(), |feed| feed.filters.to_strings());
                (
                    ClientRole::Subscriber,
                    feed.map_or(Transport::Other, |feed| feed.format.transport()),
                    filters,
                    lag,
                    in_group,
                )
            }
        };
        let (role, filters) = match self.requests.responder(id) {
            Some(responder) => (ClientRole::Responder, responder.filters.to_strings()),
            None => (role, filters),
        };
        let published_to = match &client.role {
            Role::Publisher { recent, .. } => recent.to_strings(),
            Role::Subscriber(_) | Role::Worker { .. } => Vec::new(),
        };
        ClientInfo {
            id: self.client_address(id),
            name: client.description.name.as_ref().map(|name| name.as_str().to_owned()),
            role,
            via,
            peer: client.description.peer.clone(),
            filters,
            connected: client.connected,
            events: client.events + more,
            lag,
            origin: client.description.origin.clone(),
            gaps: client.gaps,
            published_to,
        }
    }
}
