//! The consumers, with the workers of all nodes.

use sse_bus::{
    bus::consumers::ConsumerName,
    protocol::{ConsumerInfo, Refused},
};
use tokio::task::yield_now;

use crate::{consumer_metrics::WorkTotals, context::Daemon};

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
        let others = workers.get(&consumer.name).copied().unwrap_or_default();
        consumer.workers = consumer.workers.saturating_add(others);
    }
}

/// Adds up what all consumers have: those of the bus as it counts them, and those on NATS from their list.
pub(super) fn work_totals(daemon: &Daemon, consumers: &[ConsumerInfo]) -> WorkTotals {
    if daemon.events.is_elsewhere() && daemon.cluster.is_some() {
        let sum = |number: fn(&ConsumerInfo) -> u64| consumers.iter().map(number).fold(0, u64::saturating_add);
        return WorkTotals {
            consumers: consumers.len() as u64,
            workers: sum(|consumer| consumer.workers),
            in_flight: sum(|consumer| consumer.in_flight),
            dead: sum(|consumer| consumer.dead),
        };
    }
    let status = daemon.bus.look(|bus, _| bus.status());
    WorkTotals { consumers: status.consumers, workers: status.workers, in_flight: status.in_flight, dead: status.dead }
}
