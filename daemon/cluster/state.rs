//! The state of a node that shares its bus with others, and how it sends messages.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use sse_bus::{
    limits::NODE_LOST,
    protocol::{NodeInfo, NodeState},
    time::whole_millis,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::AbortHandle,
};

use super::{
    arrived::Arrived,
    asks::Asks,
    counts::Counts,
    link::{Link, NotSent},
    message::{Body, Message},
    nodes::Nodes,
};
#[cfg(feature = "nats")]
use crate::queue::Queue;
use crate::{access::KeptOutClients, shared_bus::SharedBus};

/// The part of a node's description that changes, and that only the log knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    /// Events of the log that this node has not applied.
    pub(crate) lag: Option<u64>,
    /// The last number of the log, as far as this node knows.
    pub(crate) last: u64,
    /// The last error, if there is one now.
    pub(crate) error: Option<String>,
}

/// This node, as it joins the others.
pub(crate) struct Own {
    /// Its description. The numbers are filled in when it is described.
    pub(crate) info: NodeInfo,
    pub(crate) health: Box<dyn Fn() -> Health + Send + Sync>,
    #[cfg(feature = "nats")]
    pub(crate) queue: Queue,
}

/// The nodes of the bus, as this one sees them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cluster(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) bus: SharedBus,
    pub(super) kept_out: Arc<KeptOutClients>,
    pub(super) link: Link,
    /// This node. Its numbers are filled in when it is described.
    pub(super) own: NodeInfo,
    /// Distinguishes this node from an earlier one with its name.
    pub(super) instance: u64,
    pub(super) health: Box<dyn Fn() -> Health + Send + Sync>,
    /// The deliveries of this node, which others may settle.
    #[cfg(feature = "nats")]
    pub(super) queue: Queue,
    pub(super) nodes: Mutex<Nodes>,
    pub(super) asks: Mutex<Asks>,
    pub(super) counts: Mutex<Counts>,
    /// Bounds the questions of other nodes that take a while.
    pub(super) working: Arc<Semaphore>,
    /// The unicasts of other nodes that wait.
    pub(super) unicasts: mpsc::Sender<Arrived>,
    /// The requests of other nodes that wait for replies here, by node and question.
    pub(super) serving: Mutex<HashMap<(String, u64), AbortHandle>>,
    /// Messages that could not be read, or are too old.
    pub(super) skipped: AtomicU64,
    /// Bytes of the requests that this node has passed on and that wait.
    pub(super) passed_on: Arc<Semaphore>,
    /// When this node last received a message of its own, in milliseconds of its monotonic clock.
    pub(super) heard_itself: AtomicU64,
    /// Another node has the name of this one.
    pub(super) has_namesake: AtomicBool,
}

impl Cluster {
    /// Describes all nodes, by name.
    pub(crate) fn nodes(&self) -> Vec<NodeInfo> {
        let last = (self.0.health)().last;
        let mut nodes = self.0.nodes.lock().list(self.now(), last);
        nodes.push(self.own());
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes
    }

    /// Describes this node.
    pub(super) fn own(&self) -> NodeInfo {
        let Health { lag, error, .. } = (self.0.health)();
        let mut own = self.0.own.clone();
        (own.own, own.state, own.lag, own.error) = (true, NodeState::Up, lag, error);
        if self.0.has_namesake.load(Ordering::Relaxed) {
            own.error = Some("another node of the bus has the same name; choose another with --nats-node".into());
        } else if !self.0.link.is_connected() {
            own.error.get_or_insert_with(|| "the NATS servers cannot be reached".into());
        } else if self.now().saturating_sub(self.0.heard_itself.load(Ordering::Relaxed)) > whole_millis(NODE_LOST) {
            let subjects = self.0.link.subjects();
            let why = format!(
                "the messages of this node do not return: permit it to publish and subscribe to `{subjects}` on the NATS servers"
            );
            own.error.get_or_insert(why);
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
    pub(super) fn now(&self) -> u64 {
        self.0.bus.now().mono
    }

    pub(super) async fn broadcast(&self, body: Body) -> Result<(), NotSent> {
        self.0.link.send_to_all(self.message(body)).await
    }

    pub(super) async fn send(&self, node: &str, body: Body) -> Result<(), NotSent> {
        self.0.link.send(node, self.message(body)).await
    }

    pub(super) fn message(&self, body: Body) -> Vec<u8> {
        let Inner { own, instance, .. } = &*self.0;
        Message { from: own.name.clone(), instance: *instance, sent: self.now(), body }.encode()
    }

    pub(super) fn skip(&self) {
        self.0.skipped.fetch_add(1, Ordering::Relaxed);
    }
}
