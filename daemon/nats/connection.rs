//! The connection of a node, as its tasks share it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_nats::{Client, connection::State, jetstream};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::names::Names;
use crate::config::nats::NatsConfig;

/// The connection of this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Nats(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) client: Client,
    pub(super) jetstream: jetstream::Context,
    pub(super) names: Names,
    pub(super) node: String,
    pub(super) config: NatsConfig,
    pub(super) events: Arc<Events>,
}

/// What the connection reports.
#[derive(Default)]
pub(super) struct Events {
    /// How often it was established.
    pub(super) connections: AtomicU64,
    /// Notified at each change.
    pub(super) changed: Notify,
    pub(super) error: Mutex<Option<String>>,
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

    /// Removes all streams of the bus.
    pub(crate) async fn remove_streams(&self) {
        let names = self.names();
        for stream in [names.retained(), names.dead_letters(), names.log()] {
            // The one of dead letters exists only if there was a consumer.
            let _ = self.jetstream().delete_stream(stream).await;
        }
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
