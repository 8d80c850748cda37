//! What every task of the daemon can reach.
//!
//! [`server`](crate::server) builds it once and nothing replaces it; only the configuration inside changes. Whatever a
//! single part needs, such as the shards of the fan-out, is passed to that part alone.

use std::{net::SocketAddr, sync::Arc};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[cfg(feature = "nats")]
use crate::queue::Queue;
use crate::{
    access::{Access, KeptOutClients, RefusedNames},
    cluster::Cluster,
    config::Config,
    connection_limits::ConnectionLimits,
    log::{EventLog, Store},
    logging::Log,
    metrics::Metrics,
    origin::Scheme,
    shared_bus::SharedBus,
};

/// The daemon, as its tasks share it.
pub(crate) struct Daemon {
    pub(crate) bus: SharedBus,
    /// The configuration in effect; [`Daemon::configure`] replaces it.
    pub(crate) config: ArcSwap<Config>,
    pub(crate) log: Log,
    /// The TCP addresses, at least one, with the ports that the system chose.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) metrics: Metrics,
    pub(crate) access: Arc<Access>,
    /// The clients that are kept out after a kick.
    pub(crate) kept_out: Arc<KeptOutClients>,
    pub(crate) refused_origins: RefusedNames,
    pub(crate) refused_hosts: RefusedNames,
    /// The log that events are published to.
    pub(crate) events: EventLog,
    /// History on disk, if the configuration asks for it.
    pub(crate) store: Option<Arc<Store>>,
    /// The other nodes, if several daemons share the bus.
    pub(crate) cluster: Option<Cluster>,
    /// The consumers of the bus, if they are on NATS.
    #[cfg(feature = "nats")]
    pub(crate) queue: Option<Queue>,
    pub(crate) connections: ConnectionLimits,
    /// Requests a check that the path of the local socket leads to it.
    pub(crate) check_socket: Notify,
    /// Stops every task.
    pub(crate) stop: CancellationToken,
    /// All connections.
    pub(crate) tasks: TaskTracker,
}

impl Daemon {
    /// Returns the output of a future, or nothing if the daemon stops first.
    pub(crate) async fn or_stop<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.stop.run_until_cancelled(future).await
    }

    /// Returns the configuration in effect.
    pub(crate) fn config(&self) -> Guard<Arc<Config>> {
        self.config.load()
    }

    /// Puts another configuration into effect.
    pub(crate) fn configure(&self, config: Config) {
        self.events.configure(&config.limits, &config.retention);
        self.config.store(Arc::new(config));
        // Lower bounds may take several ticks to enforce.
        self.bus.wake();
    }

    /// Begins to stop, once every accepted event is applied.
    pub(crate) fn begin_to_stop(&self) {
        self.events.close(&self.stop);
    }

    /// Returns the URLs of the TCP addresses without a final slash, which is how browsers write the daemon's own origins.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.addresses.iter().map(|address| format!("{}://{address}", self.scheme())).collect()
    }

    /// Returns the first URL.
    pub(crate) fn url(&self) -> String {
        self.urls().swap_remove(0)
    }

    /// Returns the scheme of the TCP addresses.
    pub(crate) fn scheme(&self) -> Scheme {
        if self.config().tls.is_some() { Scheme::Https } else { Scheme::Http }
    }
}
