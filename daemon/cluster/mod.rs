//! The other nodes of a bus that several daemons share: who is there, and what they do for each other.
//!
//! The log is not part of this: events, history and their order come from the stream. Here are the things that are live only:
//! clients, unicast, presence, requests and replies, and the numbers of subscribers. Nodes exchange [messages](message) over
//! [core NATS](link).
//!
//! - A node announces itself every [`NODE_ANNOUNCE`](sse_bus::limits::NODE_ANNOUNCE), and is lost after
//!   [`NODE_LOST`](sse_bus::limits::NODE_LOST) without an announcement.
//! - A question goes to all nodes, or to the one that an id names. The nodes that have not answered within
//!   [`NODE_WAIT`](sse_bus::limits::NODE_WAIT) are named in the answer, and the next questions do not wait for them.
//! - A message that is older than [`NODE_MESSAGE_AGE`](sse_bus::limits::NODE_MESSAGE_AGE), since it waited in a connection, has no
//!   effect: its sender has reported that the node did not answer.
//! - The node that sends a question has authorized its caller. A node trusts the others: they have credentials for the servers.
//!   What they send is nevertheless parsed and bounded like the input of a client.

#![allow(dead_code, reason = "a daemon joins others once its log is on NATS")]

mod asks;
mod clients;
mod counts;
mod gather;
mod link;
mod message;
mod nodes;
mod presence;
mod requests;
mod run;
mod serve;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use sse_bus::{
    limits::NODE_QUESTIONS_MAX,
    protocol::{NodeInfo, NodeState},
};
use tokio::{sync::Semaphore, task::AbortHandle};

use self::{
    asks::Asks,
    counts::Counts,
    message::{Body, Message},
    nodes::Nodes,
};
pub(crate) use self::{gather::Partial, link::NotSent, requests::SharedRequest};
use crate::{access::KeptOutClients, shared_bus::SharedBus};

/// The part of a node's description that changes, and that only the log knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    /// Events of the log that this node has not applied.
    pub(crate) lag: Option<u64>,
    /// The last error, if there is one now.
    pub(crate) error: Option<String>,
}

/// The nodes of the bus, as this one sees them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cluster(Arc<Inner>);

struct Inner {
    bus: SharedBus,
    kept_out: Arc<KeptOutClients>,
    link: link::Link,
    /// This node. Its numbers are filled in when it is described.
    own: NodeInfo,
    /// Distinguishes this node from an earlier one with its name.
    instance: u64,
    health: Box<dyn Fn() -> Health + Send + Sync>,
    nodes: Mutex<Nodes>,
    asks: Mutex<Asks>,
    counts: Mutex<Counts>,
    /// Bounds the questions of other nodes that take a while.
    working: Arc<Semaphore>,
    /// The requests of other nodes that wait for replies here, by node and question.
    serving: Mutex<HashMap<(String, u64), AbortHandle>>,
    /// Messages that could not be read, or are too old.
    skipped: AtomicU64,
    /// Another node has the name of this one.
    has_namesake: AtomicBool,
}

impl Cluster {
    /// Joins the nodes of the bus. `own` describes this node. The tasks run within the current runtime, until `stop` is cancelled;
    /// the returned one ends once the others know that this node has left.
    ///
    /// # Errors
    ///
    /// The connection is closed.
    pub(crate) async fn join(
        bus: &SharedBus,
        kept_out: Arc<KeptOutClients>,
        link: link::Link,
        own: NodeInfo,
        health: impl Fn() -> Health + Send + Sync + 'static,
        stop: tokio_util::sync::CancellationToken,
    ) -> Result<(Cluster, tokio::task::JoinHandle<()>), NotSent> {
        let incoming = link.receive(&own.name).await?;
        let inner = Inner {
            bus: bus.clone(),
            kept_out,
            link,
            instance: std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), &own.name),
            own,
            health: Box::new(health),
            nodes: Mutex::default(),
            asks: Mutex::default(),
            counts: Mutex::default(),
            working: Arc::new(Semaphore::new(NODE_QUESTIONS_MAX)),
            serving: Mutex::default(),
            skipped: AtomicU64::new(0),
            has_namesake: AtomicBool::new(false),
        };
        let cluster = Cluster(Arc::new(inner));
        tokio::spawn(run::receive(cluster.clone(), incoming, stop.clone()));
        tokio::spawn(presence::forward(cluster.clone(), stop.clone()));
        let announcing = tokio::spawn(run::announce(cluster.clone(), stop));
        Ok((cluster, announcing))
    }

    /// Describes all nodes, by name.
    pub(crate) fn nodes(&self) -> Vec<NodeInfo> {
        let mut nodes = self.0.nodes.lock().list(self.now());
        nodes.push(self.own());
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes
    }

    /// Describes this node.
    fn own(&self) -> NodeInfo {
        let Health { lag, error } = (self.0.health)();
        let mut own = self.0.own.clone();
        (own.own, own.state, own.lag, own.error) = (true, NodeState::Up, lag, error);
        if self.0.has_namesake.load(Ordering::Relaxed) {
            own.error = Some("another node of the bus has the same name; choose another with --nats-node".into());
        } else if !self.0.link.is_connected() {
            own.error.get_or_insert_with(|| "the NATS servers cannot be reached".into());
        }
        let (clients, subscribers) = self.0.bus.with(|bus, _| (bus.connected(), bus.subscribers()));
        (own.clients, own.subscribers) = (clients as u64, subscribers as u64);
        own
    }

    /// Returns the number of messages that could not be read, or were too old.
    pub(crate) fn skipped(&self) -> u64 {
        self.0.skipped.load(Ordering::Relaxed)
    }

    /// Returns the name of another node that the id of a client or the address of a reply contains, unless it is this one.
    pub(crate) fn other_node<'a>(&self, address: &'a str) -> Option<&'a str> {
        let (_, node) = address.rsplit_once('@')?;
        (node != self.0.own.name && self.0.nodes.lock().contains(node)).then_some(node)
    }

    /// Returns the time of this daemon's monotonic clock, in milliseconds.
    fn now(&self) -> u64 {
        self.0.bus.now().mono
    }

    async fn broadcast(&self, body: Body) -> Result<(), NotSent> {
        self.0.link.send_to_all(self.message(body)).await
    }

    async fn send(&self, node: &str, body: Body) -> Result<(), NotSent> {
        self.0.link.send(node, self.message(body)).await
    }

    fn message(&self, body: Body) -> Vec<u8> {
        let Inner { own, instance, .. } = &*self.0;
        Message { from: own.name.clone(), instance: *instance, sent: self.now(), body }.encode()
    }

    fn skip(&self) {
        self.0.skipped.fetch_add(1, Ordering::Relaxed);
    }
}
