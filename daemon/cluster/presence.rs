//! Presence events of the clients of all nodes: this node sends those of its clients while another one has subscribers of them.

use std::{future::poll_fn, task::Poll};

use sse_bus::bus::{CLIENTS_TOPIC, PresenceEvent};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{message::Body, state::Cluster};

/// Events in one message. Each has at most a few kilobytes.
const AT_ONCE: usize = 64;

/// Sends the presence events of this node.
pub(super) async fn forward(cluster: Cluster, stop: CancellationToken) {
    let next = || {
        poll_fn(|cx| {
            let events = cluster.0.bus.with(|bus, _| bus.poll_presence(cx.waker()));
            events.map_or(Poll::Pending, Poll::Ready)
        })
    };
    while let Some((events, dropped)) = stop.run_until_cancelled(next()).await {
        if dropped > 0 {
            warn!(
                dropped,
                "too many clients have connected and disconnected: other nodes do not receive all such events"
            );
        }
        for some in events.chunks(AT_ONCE) {
            // Presence is live only: while the servers are away, the others do not receive it.
            let _ = cluster.broadcast(Body::Presence(some.to_vec())).await;
        }
    }
}

impl Cluster {
    /// Begins or ends to collect presence events, as the announcements of the others require.
    pub(super) fn watch_clients(&self) {
        let is_watched = self.0.nodes.lock().watch_presence();
        self.0.bus.with(|bus, _| bus.watch_presence(is_watched));
    }

    /// Publishes the presence events of another node.
    pub(super) fn present(&self, events: Vec<PresenceEvent>) {
        let events = events.into_iter().filter(|event| ["join", "leave"].contains(&&*event.what));
        let texts = events.map(|event| (event.what, serde_json::to_string(&event.client).unwrap_or_default()));
        self.0.bus.with_each(texts, |bus, now, (what, client)| bus.announce(CLIENTS_TOPIC, &what, client, now));
    }
}
