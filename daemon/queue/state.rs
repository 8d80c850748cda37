//! What the parts of the queue share.

use std::{collections::BTreeMap, sync::Arc};

use async_nats::jetstream::stream::Stream;
use parking_lot::Mutex;
use sse_bus::protocol::{ErrorCode, Refused};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::deliveries::{Deliveries, Worker};
use crate::{log::NatsLog, nats::Nats};

/// The consumers of the bus, and the deliveries of this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Queue(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) nats: Nats,
    pub(super) log: NatsLog,
    pub(super) deliveries: Mutex<Deliveries>,
    /// Notified when the first deadline changes.
    pub(super) added: Notify,
    /// The workers of this node.
    pub(super) workers: Mutex<Vec<(String, Arc<Worker>)>>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Queue {
    /// Returns the name of this node.
    pub(crate) fn node(&self) -> &str {
        self.0.nats.node()
    }

    /// Returns the number of workers that this node has for each consumer.
    pub(crate) fn workers(&self) -> BTreeMap<String, u64> {
        let mut workers = BTreeMap::new();
        for (consumer, _) in self.0.workers.lock().iter() {
            *workers.entry(consumer.clone()).or_default() += 1;
        }
        workers
    }

    pub(super) async fn log_stream(&self) -> Result<Stream<()>, Refused> {
        let name = self.0.nats.names().log();
        self.0.nats.jetstream().get_stream_no_info(name).await.map_err(|error| self.unavailable(&error))
    }

    pub(super) fn check_connected(&self) -> Result<(), Refused> {
        if self.0.nats.is_connected() { Ok(()) } else { Err(self.unavailable(&"there is no connection")) }
    }

    pub(super) fn unavailable(&self, why: &dyn std::fmt::Display) -> Refused {
        let why = self.0.nats.error().unwrap_or_else(|| why.to_string());
        Refused::new(ErrorCode::Unavailable, format!("the log on NATS cannot be used: {why}; try again later"))
    }
}
