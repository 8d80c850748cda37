//! Inspecting and managing the bus.

use std::{sync::Arc, time::Duration};

use sse_bus::{
    limits::CONSUMERS_MAX,
    protocol::{ClientInfo, Refused, Setting, Status, TopicInfo},
    tokens::Scope,
};

use super::consumers::all_consumers;
use crate::{access::Caller, consumer_metrics, context::Daemon};

/// The operations of an administrator. Having one proves that the caller is authorized.
pub(crate) struct Admin(Arc<Daemon>);

impl Admin {
    /// Authorizes a caller.
    ///
    /// # Errors
    ///
    /// The caller is not an administrator.
    pub(crate) fn authorize(daemon: &Arc<Daemon>, caller: &Caller) -> Result<Admin, Refused> {
        caller.grant.require(Scope::Admin)?;
        Ok(Admin(daemon.clone()))
    }

    /// Returns the topics.
    pub(crate) async fn topics(&self) -> Vec<TopicInfo> {
        self.0.bus.topics().await
    }

    /// Returns the connected clients.
    pub(crate) async fn clients(&self) -> Vec<ClientInfo> {
        self.0.bus.clients().await
    }

    /// Disconnects the connections of a client, by ID or name, and returns their number.
    ///
    /// # Errors
    ///
    /// No client has this ID or name.
    pub(crate) async fn kick(&self, client: &str) -> Result<u64, Refused> {
        self.0.bus.kick(client).await
    }

    /// Keeps a client out for a while, and disconnects every connection that it would not get again: also the others with its
    /// name, its token or its process. Zero lets it in again.
    ///
    /// # Errors
    ///
    /// No client has this ID or name, or it cannot be kept out. Then nothing changes.
    pub(crate) async fn kick_for(&self, client: &str, time: Duration) -> Result<u64, Refused> {
        let Admin(daemon) = self;
        let clients = match daemon.bus.described(client) {
            Ok(clients) => clients,
            // It may be kept out already.
            Err(_) if daemon.kept_out.change(client, time) => return Ok(0),
            Err(unknown) => return Err(unknown),
        };
        // First, so that it does not connect again in between.
        daemon.kept_out.keep_out(&clients, time)?;
        if time.is_zero() {
            return Ok(0);
        }
        let mut connections = 0;
        for client in daemon.bus.clients().await {
            if daemon.kept_out.check(client.name.as_deref(), &client.peer, client.via).is_err() {
                // It may have disconnected meanwhile.
                connections += daemon.bus.kick(&client.id).await.unwrap_or_default();
            }
        }
        Ok(connections)
    }

    /// Returns all settings in effect, with their sources.
    pub(crate) fn config(&self) -> Vec<Setting> {
        self.0.config().settings.clone()
    }

    /// Returns the metrics in the text format of Prometheus.
    pub(crate) async fn metrics(&self) -> String {
        let mut consumers = all_consumers(&self.0.bus, consumer_metrics::CONSUMERS_MAX).await;
        consumers.truncate(consumer_metrics::CONSUMERS_MAX);
        self.0.metrics.encode(consumers)
    }

    /// Returns a description of the daemon.
    pub(crate) async fn status(&self) -> Status {
        let daemon = &self.0;
        let pending = all_consumers(&daemon.bus, CONSUMERS_MAX).await.iter().map(|consumer| consumer.pending).sum();
        let config = daemon.config();
        let mut status = daemon.bus.look(|bus, _| bus.status());
        status.version = env!("CARGO_PKG_VERSION").into();
        status.pending = pending;
        status.pid = std::process::id();
        status.uptime_ms = daemon.bus.uptime();
        status.url = Some(daemon.url());
        status.socket = config.endpoint.to_string();
        status.state_dir = config.state_dir.display().to_string();
        status.refused_origins = daemon.refused_origins.origins();
        status.refused_hosts = daemon.refused_hosts.hosts();
        status.urls = daemon.urls();
        status.kept_out = daemon.kept_out.list();
        status.history_error = daemon.store.as_ref().and_then(|store| store.error()).map(|why| why.to_string());
        status
    }
}

/// Returns the reason if history cannot be written to disk. Every caller may ask.
pub(crate) fn health(daemon: &Daemon) -> Result<(), Arc<str>> {
    daemon.store.as_ref().and_then(|store| store.error()).map_or(Ok(()), Err)
}
