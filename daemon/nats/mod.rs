//! NATS: the connection, and the names that the nodes of a bus use there.
//!
//! The [log](crate::log) and the [cluster](crate::cluster) share one connection. It connects again by itself, for ever.

mod connect;
mod names;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_nats::{Client, connection::State, jetstream};
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use self::{connect::ConnectError, names::Names};
use crate::config::nats::NatsConfig;

/// The connection of this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Nats(Arc<Inner>);

struct Inner {
    client: Client,
    jetstream: jetstream::Context,
    names: Names,
    node: String,
    config: NatsConfig,
    events: Arc<Events>,
}

/// What the connection reports.
#[derive(Default)]
struct Events {
    /// How often it was established.
    connections: AtomicU64,
    /// Notified at each change.
    changed: Notify,
    error: Mutex<Option<String>>,
}

impl Nats {
    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    pub(crate) fn jetstream(&self) -> &jetstream::Context {
        &self.0.jetstream
    }

    pub(crate) fn names(&self) -> &Names {
        &self.0.names
    }

    /// Returns the name of this node.
    pub(crate) fn node(&self) -> &str {
        &self.0.node
    }

    pub(crate) fn config(&self) -> &NatsConfig {
        &self.0.config
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.0.client.connection_state() == State::Connected
    }

    /// Returns how often the connection was established.
    pub(crate) fn connections(&self) -> u64 {
        self.0.events.connections.load(Ordering::Relaxed)
    }

    /// Waits until the connection is established or lost.
    pub(crate) async fn changed(&self) {
        self.0.events.changed.notified().await;
    }

    /// Returns the last error of the connection since it was established.
    pub(crate) fn error(&self) -> Option<String> {
        self.0.events.error.lock().clone()
    }

    /// Returns the name of the server that this node is connected to, and its version.
    pub(crate) fn server(&self) -> (String, String) {
        let info = self.0.client.server_info();
        (info.server_name, info.version)
    }
}
