//! Consumers of a log elsewhere: which of the two has them, and settling deliveries that other nodes have made.

use sse_bus::{FilterSet, bus::consumers::ConsumerName, protocol::Refused};
#[cfg(feature = "nats")]
use {
    crate::{
        access::Caller,
        queue::{Queue, QueueToken, stale},
    },
    futures_util::future::join_all,
    sse_bus::bus::consumers::Settlement,
    std::collections::{HashMap, hash_map::Entry},
};

use crate::context::Daemon;

/// Deliveries that are settled at once.
#[cfg(feature = "nats")]
const AT_ONCE: usize = 256;

/// Returns the consumers on NATS, if the log is there.
#[cfg(feature = "nats")]
pub(super) fn queue(daemon: &Daemon) -> Option<&Queue> {
    daemon.queue.as_ref()
}

/// Without NATS all consumers are those of the bus.
#[cfg(not(feature = "nats"))]
pub(super) fn queue(_: &Daemon) -> Option<std::convert::Infallible> {
    None
}

/// Returns the filters of a consumer.
///
/// # Errors
///
/// There is no such consumer, or the servers do not answer.
#[cfg_attr(not(feature = "nats"), allow(clippy::unused_async, reason = "the bus answers at once"))]
pub(super) async fn filters(daemon: &Daemon, consumer: &ConsumerName) -> Result<FilterSet, Refused> {
    #[cfg(feature = "nats")]
    if let Some(queue) = &daemon.queue {
        return Ok(queue.settings(consumer).await?.filters.clone());
    }
    daemon.bus.with(|bus, _| bus.consumer_filters(consumer).cloned())
}

/// Settles deliveries, each of a request with a number, those of other nodes there.
#[cfg(feature = "nats")]
pub(super) async fn settle(
    daemon: &Daemon,
    queue: &Queue,
    caller: &Caller,
    deliveries: &[(usize, &str, &Settlement)],
) -> Vec<Result<(), Refused>> {
    let allowed = allowed(daemon, caller, deliveries).await;
    let mut results: Vec<_> = deliveries.iter().map(|_| Ok(())).collect();
    let (mut own, mut others) = (Vec::new(), Vec::<(String, &Settlement, Vec<usize>)>::new());
    for (at, (_, text, settlement)) in deliveries.iter().enumerate() {
        match QueueToken::parse(text) {
            Err(refused) => results[at] = Err(refused),
            Ok(token) => match allowed.get(&token.consumer) {
                Some(Err(refused)) => results[at] = Err(refused.clone()),
                _ if token.node == queue.node() => own.push((at, token)),
                _ => match others.iter_mut().find(|(node, same, _)| *node == token.node && same == settlement) {
                    Some((_, _, group)) => group.push(at),
                    None => others.push((token.node, settlement, vec![at])),
                },
            },
        }
    }
    for some in own.chunks(AT_ONCE) {
        let settle = some.iter().map(async |(at, token)| (*at, queue.settle(token, deliveries[*at].2).await));
        for (at, result) in join_all(settle).await {
            results[at] = result;
        }
    }
    for (node, settlement, group) in others {
        let tokens: Vec<_> = group.iter().map(|at| deliveries[*at].1.to_owned()).collect();
        let settled = match &daemon.cluster {
            Some(cluster) => cluster.settle(&node, tokens, settlement).await,
            None => tokens.iter().map(|token| Err(stale(token, "is of another node"))).collect(),
        };
        for (at, result) in group.into_iter().zip(settled) {
            results[at] = result;
        }
    }
    results
}

/// Returns whether the caller may work for the consumers of some deliveries. The owner of the daemon may settle any.
#[cfg(feature = "nats")]
async fn allowed(
    daemon: &Daemon,
    caller: &Caller,
    deliveries: &[(usize, &str, &Settlement)],
) -> HashMap<ConsumerName, Result<(), Refused>> {
    let mut allowed = HashMap::new();
    if caller.grant.token().is_none() {
        return allowed;
    }
    for token in deliveries.iter().filter_map(|(_, text, _)| QueueToken::parse(text).ok()) {
        if let Entry::Vacant(entry) = allowed.entry(token.consumer) {
            let may = filters(daemon, entry.key()).await.and_then(|filters| caller.grant.check_work(&filters));
            entry.insert(may);
        }
    }
    allowed
}
