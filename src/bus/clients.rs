//! The connected clients: subscribers, publishers and workers, by id and by name.
//!
//! An id is never used twice. Clients choose their names; several may have the same name, which then addresses all of them.
//! Where an address is an id, it means the client with that id.

use super::{
    consumers::WorkerId,
    cursor::Cursor,
    ids::{ClientId, FeedKey, ReaderId},
    recent_topics::RecentTopics,
    split_map::{FxSplitMap, SplitMap},
    unicast_queue::UnicastQueue,
};
use crate::{
    limits::NAME_MAX,
    protocol::{ErrorCode, Refused, Slow, Transport, sse::PositionForm},
    topic::Filter,
};

/// The name that a client has chosen: 1 to [`NAME_MAX`] bytes without control characters, and not in the form of an id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientName(Box<str>);

impl ClientName {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<ClientName, Refused> {
        let refuse = |what: String| Err(Refused::new(ErrorCode::ClientInvalid, format!("the client's name {what}")));
        match text {
            "" => refuse("is empty; leave it out instead".into()),
            _ if text.len() > NAME_MAX => refuse(format!("has {} bytes; at most {NAME_MAX} are allowed", text.len())),
            _ if text.contains(char::is_control) => refuse("holds control characters; remove them".into()),
            _ if text.parse::<ClientId>().is_ok() || ClientId::parse_at_node(text).is_some() => {
                refuse(format!("`{text}` looks like the id of a client, to which others send events; choose another"))
            }
            _ => Ok(ClientName(text.into())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Describes a connection when it becomes a client.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// The name that the client has chosen.
    pub name: Option<ClientName>,
    /// The peer: an address, or a local process.
    pub peer: String,
    /// The origin of the page, if the client is a browser.
    pub origin: Option<String>,
}

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) description: Description,
    /// The time of the connection, in milliseconds since 1970.
    pub(super) connected: u64,
    pub(super) role: Role,
    /// Events delivered to it or published by it. While it uses a shared cursor, without what that cursor has delivered.
    pub(super) events: u64,
    /// Gaps reported to it.
    pub(super) gaps: u64,
}

/// The role of a client, with its state.
#[derive(Debug)]
pub(super) enum Role {
    Subscriber(Box<Subscriber>),
    /// Its transport, the waker to notify its connection when it is kicked, and the topics that it published to.
    Publisher {
        via: Transport,
        waker: Option<std::task::Waker>,
        recent: RecentTopics,
    },
    /// Its transport, and how it takes deliveries.
    Worker {
        via: Transport,
        worker: Worker,
    },
}

/// How a worker takes deliveries.
#[derive(Debug)]
pub(super) enum Worker {
    /// Of a consumer of this bus.
    Here(WorkerId),
    /// Of a consumer of a log elsewhere, with these filters. The waker is notified when it is kicked.
    Elsewhere { filters: Vec<String>, waker: Option<std::task::Waker> },
}

/// A subscriber's part of a client.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) feed: FeedKey,
    pub(super) slow: Slow,
    pub(super) past_only: bool,
    /// Filters that the topics of unicast events must match; any topic if empty.
    pub(super) allowed: Box<[Filter]>,
    pub(super) cursor: Cursor,
    /// The reader of its shared cursor.
    pub(super) reader: Option<ReaderId>,
    pub(super) unicast: UnicastQueue,
    /// The form in which the stream sends its position.
    pub(super) position_form: PositionForm,
    /// The newest id sent to it, with an event or as a position. While it uses a shared cursor, that cursor has later ones.
    pub(super) sent: u64,
    pub(super) position_due: PositionDue,
    /// Seconds between heartbeats.
    pub(super) heartbeat_interval: u8,
    pub(super) is_heartbeat_due: bool,
}

/// When a stream sends its position next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PositionDue {
    /// Before anything else.
    First,
    /// Once it has read everything: it began with a snapshot, whose ids are old.
    AfterSnapshot,
    /// When history may soon evict the newest id that was sent.
    WhenOld,
}

impl Subscriber {
    /// Returns true if history may soon evict the events after the newest id that the subscriber has. `delivered` is the last
    /// event that its shared cursor has delivered.
    pub(super) fn needs_position(&self, delivered: u64, horizon: u64) -> bool {
        self.position_form != PositionForm::None && self.sent.max(delivered) < horizon
    }
}

/// All clients.
#[derive(Debug, Default)]
pub(super) struct Clients {
    by_id: FxSplitMap<ClientId, Client>,
    by_name: SplitMap<ClientName, Vec<ClientId>>,
    last_id: u64,
    /// The name of this node, if several nodes share the bus.
    pub(super) node: Option<Box<str>>,
    pub(super) subscribers: usize,
    pub(super) publishers: usize,
    pub(super) workers: usize,
}

impl Clients {
    pub(super) fn insert(&mut self, client: Client) -> ClientId {
        self.last_id += 1;
        let id = ClientId(self.last_id);
        if let Some(name) = &client.description.name {
            self.by_name.get_or_insert_with(name.clone(), Vec::new).push(id);
        }
        *self.count(&client.role) += 1;
        self.by_id.insert(id, client);
        id
    }

    pub(super) fn remove(&mut self, id: ClientId) -> Option<Client> {
        let client = self.by_id.remove(&id)?;
        if let Some(name) = &client.description.name
            && let Some(ids) = self.by_name.get_mut(name)
        {
            // They are in the order of their connection, which is that of ids.
            if let Ok(index) = ids.binary_search(&id) {
                ids.remove(index);
            }
            if ids.is_empty() {
                self.by_name.remove(name);
            }
        }
        *self.count(&client.role) -= 1;
        Some(client)
    }

    /// Returns the counter of the clients with a role.
    fn count(&mut self, role: &Role) -> &mut usize {
        match role {
            Role::Subscriber(_) => &mut self.subscribers,
            Role::Publisher { .. } => &mut self.publishers,
            Role::Worker { .. } => &mut self.workers,
        }
    }

    pub(super) fn get(&self, id: ClientId) -> Option<&Client> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn subscriber_mut(&mut self, id: ClientId) -> Option<&mut Subscriber> {
        match &mut self.by_id.get_mut(&id)?.role {
            Role::Subscriber(subscriber) => Some(subscriber),
            Role::Publisher { .. } | Role::Worker { .. } => None,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ClientId, &Client)> {
        self.by_id.iter().map(|(id, client)| (*id, client))
    }

    /// Returns the id of a client as others address it: on a shared bus with the name of this node.
    pub(super) fn address_of(&self, id: ClientId) -> String {
        match &self.node {
            Some(node) => format!("{id}@{node}"),
            None => id.to_string(),
        }
    }

    /// Returns the client with this id, or else all clients with this name.
    pub(super) fn addressed(&self, address: &str) -> Vec<ClientId> {
        let at_node = ClientId::parse_at_node(address).filter(|(_, node)| Some(*node) == self.node.as_deref());
        let id = at_node.map(|(id, _)| id).or_else(|| address.parse().ok());
        let by_id = id.filter(|id| self.by_id.contains_key(id));
        let by_name = || Some(self.by_name.get(&ClientName::parse(address).ok()?)?.clone());
        by_id.map(|id| vec![id]).or_else(by_name).unwrap_or_default()
    }
}

#[cfg(debug_assertions)]
impl Clients {
    pub(super) fn self_check(&self) {
        let (mut subscribers, mut publishers, mut workers) = (0, 0, 0);
        for (_, client) in self.iter() {
            match client.role {
                Role::Subscriber(_) => subscribers += 1,
                Role::Publisher { .. } => publishers += 1,
                Role::Worker { .. } => workers += 1,
            }
        }
        let counted = (self.subscribers, self.publishers, self.workers);
        assert_eq!(counted, (subscribers, publishers, workers), "subscribers, publishers and workers");
        let mut by_name = std::collections::HashMap::<&ClientName, Vec<ClientId>>::new();
        let mut ids: Vec<_> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        for id in &ids {
            if let Some(name) = self.get(*id).and_then(|client| client.description.name.as_ref()) {
                by_name.entry(name).or_default().push(*id);
            }
        }
        assert_eq!(
            self.by_name.iter().map(|(name, ids)| (name, ids.clone())).collect::<std::collections::HashMap<_, _>>(),
            by_name,
            "clients by name"
        );
        assert!(ids.last().is_none_or(|id| id.0 <= self.last_id), "the last id is {}, of {ids:?}", self.last_id);
    }
}
