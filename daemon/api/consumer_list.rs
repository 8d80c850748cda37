//! The consumers, with the workers of all nodes.

use sse_bus::{
    bus::consumers::ConsumerName,
    protocol::{ConsumerInfo, Refused},
};
use tokio::task::yield_now;

use crate::context::Daemon;

/// Returns the consumers by name, at most about `most`. Reads them in steps, between which other tasks use the bus.
///
/// # Errors
///
/// They are on NATS, and the servers do not answer.
pub(super) async fn all_consumers(daemon: &Daemon, most: usize) -> Result<Vec<ConsumerInfo>, Refused> {
    #[cfg(feature = "nats")]
    if let Some(queue) = &daemon.queue {
        let mut consumers = queue.list().await?;
        add_workers(daemon, &mut consumers).await;
        return Ok(consumers);
    }
    let mut consumers: Vec<ConsumerInfo> = Vec::new();
    while consumers.len() < most {
        let last = consumers.last().and_then(|last| ConsumerName::parse(&last.name).ok());
        let next = daemon.bus.look(|bus, now| bus.consumers_after(last.as_ref(), now));
        if next.is_empty() {
            break;
        }
        consumers.extend(next);
        yield_now().await;
    }
    Ok(consumers)
}

/// Adds the workers of other nodes.
#[cfg(feature = "nats")]
pub(super) async fn add_workers(daemon: &Daemon, consumers: &mut [ConsumerInfo]) {
    let Some(cluster) = daemon.cluster.as_ref().filter(|_| !consumers.is_empty()) else { return };
    let workers = cluster.workers().await;
    for consumer in consumers {
        consumer.workers += workers.get(&consumer.name).copied().unwrap_or_default();
    }
}
