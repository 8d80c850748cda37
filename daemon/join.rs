//! Joining a bus that several daemons share: the connection, the log, and the other nodes.

use std::sync::Arc;

use sse_bus::{Epoch, bus::history::Memory, protocol::NodeInfo, time::unix_now};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    access::KeptOutClients,
    cluster::{Cluster, Health, Link, NotSent, Own},
    config::{Config, nats::NatsConfig},
    log::{NatsLog, StreamError},
    nats::{ConnectError, Nats},
    queue::Queue,
    shared_bus::SharedBus,
};

/// Why a node cannot join.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Streams(#[from] StreamError),
    #[error("cannot receive messages of other nodes: {0}")]
    Nodes(#[from] NotSent),
}

/// A node whose log is open.
pub(crate) struct Node {
    nats: Nats,
    pub(crate) log: NatsLog,
}

impl Node {
    /// Connects, and opens the streams.
    ///
    /// # Errors
    ///
    /// The servers cannot be reached or refuse the node, or the streams are not as they must be.
    pub(crate) async fn open(nats: &NatsConfig, config: &Config) -> Result<Node, JoinError> {
        let nats = Nats::connect(nats).await?;
        let log = NatsLog::open(&nats, &config.retention, &config.limits).await?;
        Ok(Node { nats, log })
    }

    /// Returns the epoch of the log, and the window for the bus.
    pub(crate) fn window(&self) -> (Epoch, Memory) {
        (self.log.begin().epoch, self.log.history())
    }

    /// Returns the connection, if the streams are removed at the end.
    pub(crate) fn temporary(&self) -> Option<Nats> {
        self.nats.config().temporary.then(|| self.nats.clone())
    }

    /// Joins the other nodes. The tasks end after `stop`, once the others know that this one has left.
    ///
    /// # Errors
    ///
    /// The connection has ended.
    pub(crate) async fn join(
        &self,
        bus: &SharedBus,
        kept_out: Arc<KeptOutClients>,
        url: String,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<(Cluster, Queue), JoinError> {
        bus.with(|bus, _| bus.set_node(self.nats.node()));
        let link = Link::new(self.nats.client().clone(), self.nats.names().between_nodes());
        let mut own = NodeInfo::new(self.nats.node());
        own.version = env!("CARGO_PKG_VERSION").into();
        own.url = Some(url);
        own.started = unix_now();
        let log = self.log.clone();
        let health = move || {
            let log = log.describe();
            Health { lag: Some(log.lag), last: log.last, error: log.error }
        };
        let queue = Queue::start(&self.nats, &self.log, stop, tasks);
        let own = Own { info: own, health: Box::new(health), queue: queue.clone() };
        let cluster = Cluster::join(bus, kept_out, link, own, stop, tasks).await?;
        Ok((cluster, queue))
    }
}
