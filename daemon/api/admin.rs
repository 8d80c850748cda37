//! Inspecting and managing the bus.

use std::{sync::Arc, time::Duration};

use sse_bus::{
    limits::CONSUMERS_MAX,
    protocol::{ClientInfo, HistoryKind, NodeInfo, Refused, Setting, Status, TopicInfo},
    tokens::Scope,
};

use super::consumer_list::{all_consumers, work_totals};
use crate::{
    access::{Caller, kick_for},
    cluster::{Cluster, Partial},
    consumer_metrics,
    context::Daemon,
};

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

    /// Returns the topics, with the subscribers of all nodes that answer in time.
    pub(crate) async fn topics(&self) -> Vec<TopicInfo> {
        let mut topics = self.0.bus.topics().await;
        if let Some(cluster) = &self.0.cluster {
            cluster.add_subscribers(&mut topics).await;
        }
        topics
    }

    /// Returns the connected clients of all nodes.
    pub(crate) async fn clients(&self) -> Partial<Vec<ClientInfo>> {
        match &self.0.cluster {
            None => Partial::whole(self.0.bus.clients().await),
            Some(cluster) => cluster.clients().await,
        }
    }

    /// Returns the nodes of the bus. There are none if this daemon has a bus of its own.
    pub(crate) fn nodes(&self) -> Vec<NodeInfo> {
        self.0.cluster.as_ref().map_or_else(Vec::new, Cluster::nodes)
    }

    /// Disconnects the connections of a client on all nodes, by ID or name, and returns their number.
    ///
    /// # Errors
    ///
    /// No client has this ID or name.
    pub(crate) async fn kick(&self, client: &str) -> Result<Partial<u64>, Refused> {
        match &self.0.cluster {
            None => self.0.bus.kick(client).await.map(Partial::whole),
            Some(cluster) => cluster.kick(client).await,
        }
    }

    /// Keeps a client out for a while, and disconnects every connection that it would not get again: also the others with its
    /// name, its token or its process. Zero lets it in again.
    ///
    /// # Errors
    ///
    /// No client has this ID or name, or it cannot be kept out. Then nothing changes.
    pub(crate) async fn kick_for(&self, client: &str, time: Duration) -> Result<Partial<u64>, Refused> {
        let Admin(daemon) = self;
        match &daemon.cluster {
            None => {
                let kicked = kick_for(&daemon.bus, &daemon.kept_out, client, time).await?;
                Ok(Partial::whole(kicked.connections))
            }
            Some(cluster) => cluster.kick_for(client, time).await,
        }
    }

    /// Returns all settings in effect, with their sources.
    pub(crate) fn config(&self) -> Vec<Setting> {
        self.0.config().settings.clone()
    }

    /// Returns the metrics in the text format of Prometheus.
    pub(crate) async fn metrics(&self) -> String {
        let mut consumers = all_consumers(&self.0, consumer_metrics::CONSUMERS_MAX).await.unwrap_or_default();
        let totals = work_totals(&self.0, &consumers);
        consumers.truncate(consumer_metrics::CONSUMERS_MAX);
        self.0.metrics.encode(totals, consumers, self.0.events.describe())
    }

    /// Returns a description of the daemon.
    pub(crate) async fn status(&self) -> Status {
        let daemon = &self.0;
        let consumers = all_consumers(daemon, CONSUMERS_MAX).await.unwrap_or_default();
        let work = work_totals(daemon, &consumers);
        let config = daemon.config();
        let mut status = daemon.bus.look(|bus, _| bus.status());
        status.version = env!("CARGO_PKG_VERSION").into();
        status.pending = consumers.iter().map(|consumer| consumer.pending).sum();
        (status.consumers, status.workers) = (work.consumers, work.workers);
        (status.in_flight, status.dead) = (work.in_flight, work.dead);
        status.pid = std::process::id();
        status.uptime_ms = daemon.bus.uptime();
        status.url = Some(daemon.url());
        status.socket = config.endpoint.to_string();
        status.state_dir = config.state_dir.display().to_string();
        status.refused_origins = daemon.refused_origins.origins();
        status.refused_hosts = daemon.refused_hosts.hosts();
        status.urls = daemon.urls();
        status.kept_out = daemon.kept_out.list();
        status.nodes = self.nodes();
        status.history_error = health(daemon).err();
        status.log = daemon.events.describe_with_round_trip().await;
        if let (Some(log), Some(cluster)) = (&mut status.log, &daemon.cluster) {
            log.skipped += cluster.skipped();
        }
        if status.log.is_some() {
            status.history = HistoryKind::Nats;
            status.history_budget = config.retention.budget as u64;
        }
        status
    }
}

/// Returns the reason if history cannot be written, to disk or to the log on NATS. Every caller may ask.
pub(crate) fn health(daemon: &Daemon) -> Result<(), String> {
    let on_disk = daemon.store.as_ref().and_then(|store| store.error()).map(|why| why.to_string());
    on_disk.or_else(|| daemon.events.describe()?.error).map_or(Ok(()), Err)
}
