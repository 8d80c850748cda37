//! The tasks of a node: announcing it, and handling what the others send.

use std::sync::atomic::Ordering;

use sse_bus::{
    bus::{CLIENTS_TOPIC, NODES_TOPIC},
    limits::{NODE_ANNOUNCE, NODE_WAIT},
};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    link::Incoming,
    message::{Announcement, Body, Message},
    nodes::Change,
    state::Cluster,
};

/// Announces the node every few seconds, and once more when it stops.
pub(super) async fn announce(cluster: Cluster, stop: CancellationToken) {
    let mut turns = interval(NODE_ANNOUNCE);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // After each new connection the others may have forgotten this node.
    let mut is_known = false;
    while stop.run_until_cancelled(turns.tick()).await.is_some() {
        let changes = cluster.0.nodes.lock().expire(cluster.now());
        for change in changes {
            cluster.report(&change);
        }
        if !is_known {
            cluster.0.heard_itself.store(cluster.now(), Ordering::Relaxed);
        }
        let announced = cluster.announce_to_all(!is_known).await;
        is_known = announced && cluster.0.link.is_connected();
    }
    // Without a connection there is nobody to notify.
    if cluster.broadcast(Body::Leave {}).await.is_ok() {
        let _ = timeout(NODE_WAIT, cluster.0.link.flush()).await;
    }
}

/// Handles the messages of other nodes.
pub(super) async fn receive(cluster: Cluster, mut incoming: Incoming, stop: CancellationToken) {
    while let Some(Some(payload)) = stop.run_until_cancelled(incoming.next()).await {
        match Message::decode(&payload) {
            Some(message) => cluster.handle(message, payload.len()).await,
            None => cluster.skip(),
        }
    }
}

impl Cluster {
    /// Announces this node to all others. Returns true if it was sent. A new node receives announcements of the others.
    async fn announce_to_all(&self, is_new: bool) -> bool {
        self.broadcast(self.announcement(is_new)).await.is_ok()
    }

    fn announcement(&self, is_new: bool) -> Body {
        let watches_presence = self.0.bus.with(|bus, _| bus.has_subscribers_of(CLIENTS_TOPIC));
        Body::Announce(Box::new(Announcement { info: self.own(), is_new, watches_presence }))
    }

    /// Announces this node if that makes the others send presence events, so that no client joins between this and what follows.
    pub(crate) async fn begin_to_watch(self) {
        if self.0.bus.with(|bus, _| bus.has_subscribers_of(CLIENTS_TOPIC)) {
            self.announce_to_all(false).await;
        }
    }

    async fn handle(&self, message: Message, bytes: usize) {
        let Message { from, instance, sent, body } = message;
        if from == self.0.own.name {
            if instance == self.0.instance {
                self.0.heard_itself.store(self.now(), Ordering::Relaxed);
            } else if !self.0.has_namesake.swap(true, Ordering::Relaxed) {
                error!(node = from, "another node of the bus has the same name; choose another with --nats-node");
            }
            return;
        }
        let now = self.now();
        if let Body::Announce(announcement) = body {
            return self.announced(&from, instance, sent, *announcement).await;
        }
        if !self.0.nodes.lock().is_recent(&from, instance, sent, now) {
            return self.skip();
        }
        match body {
            // Handled above.
            Body::Announce(_) => {}
            Body::Leave {} => {
                let change = self.0.nodes.lock().left(&from, instance, now);
                if let Some(change) = change {
                    self.report(&change);
                }
            }
            Body::Presence(events) => self.present(events),
            Body::Ask { ask, question } => self.serve(from, ask, question).await,
            Body::Answer { ask, is_last, answer } => {
                self.0.asks.lock().answered(ask, &from, answer, is_last, bytes);
            }
            #[cfg(feature = "nats")]
            Body::Forget { consumer } => self.0.queue.forget(&consumer),
            #[cfg(not(feature = "nats"))]
            Body::Forget { .. } => {}
            Body::Cancel { ask } => {
                if let Some(request) = self.0.serving.lock().remove(&(from, ask)) {
                    request.abort();
                }
            }
        }
    }

    async fn announced(&self, from: &str, instance: u64, sent: u64, announcement: Announcement) {
        if announcement.is_new {
            // First, so that it knows this node before it receives a question.
            let _ = self.send(from, self.announcement(false)).await;
        }
        let last = (self.0.health)().last;
        let change = self.0.nodes.lock().announced(from, instance, sent, announcement, self.now(), last);
        if let Some(change) = change {
            self.report(&change);
        }
        self.watch_clients();
    }

    /// Publishes an event about a node, and ends what waits for one that has left.
    fn report(&self, Change { what, node, has_ended }: &Change) {
        if *has_ended {
            self.0.asks.lock().gone(&node.name);
            self.0.serving.lock().retain(|(name, _), request| {
                let stays = *name != node.name;
                if !stays {
                    request.abort();
                }
                stays
            });
            self.watch_clients();
        }
        match *what {
            "lost" => warn!(node = node.name, "lost a node: it has not announced itself for some seconds"),
            what => info!(node = node.name, version = node.version, "a node has {what}"),
        }
        let data = serde_json::to_string(node).unwrap_or_default();
        self.0.bus.with(|bus, now| bus.announce(NODES_TOPIC, what, data, now));
    }
}
