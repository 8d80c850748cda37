//! Publishing events.

use std::{collections::BTreeSet, time::Instant};

use sse_bus::{
    bus::{ClientId, Publication},
    protocol::{Publish, Published, Refused},
    tokens::Scope,
};

use crate::{
    access,
    access::Caller,
    cluster::Cluster,
    context::Daemon,
    log::{Item, Outcome},
};

/// Authorizes and validates an event.
///
/// # Errors
///
/// The caller may not publish it, or it is not valid.
pub(crate) fn admit(daemon: &Daemon, caller: &Caller, publish: Publish) -> Result<Publication, Refused> {
    caller.grant.require(Scope::Publish)?;
    let config = daemon.config();
    access::admit(caller, Publication::parse(publish, &config.limits)?, &config.topics)
}

/// Appends a batch on a shared bus: counts the subscribers of the other nodes meanwhile, and sends unicasts to their clients.
async fn append_for_all<T>(
    daemon: &Daemon,
    cluster: &Cluster,
    batch: Vec<Item<T>>,
    from: Option<ClientId>,
) -> Vec<Outcome<T>> {
    let sent: Vec<Option<Publication>> = batch.iter().map(|(_, admitted)| admitted.as_ref().ok().cloned()).collect();
    let topics = sent.iter().flatten().filter(|event| event.to.is_none()).map(|event| event.topic.clone());
    let topics: BTreeSet<_> = topics.collect();
    let appended = daemon.events.append(batch.into_iter(), from);
    let (mut outcomes, counts) = tokio::join!(appended, cluster.count_subscribers(&topics));
    for ((_, outcome), event) in outcomes.iter_mut().zip(sent) {
        let (Ok(published), Some(event)) = (outcome, event) else { continue };
        if event.to.is_none() {
            published.subscribers += counts.get(&event.topic).copied().unwrap_or_default();
        } else if published.id.is_none() && !published.duplicate {
            // One after the other, so that a client receives them in order.
            let others = cluster.unicast(event).await;
            published.subscribers += others.result;
            published.unreachable = others.unreachable;
        }
    }
    outcomes
}

/// Publishes one admitted event, as [`publish`] does for a batch.
///
/// # Errors
///
/// A limit refuses it, or it could not be written to disk.
pub(crate) async fn publish_one(daemon: &Daemon, publication: Publication) -> Result<Published, Refused> {
    let mut results = publish(daemon, None, std::iter::once(((), Ok(publication)))).await;
    match results.next() {
        Some(((), result)) => result,
        None => unreachable!("a batch of one has one result"),
    }
}

/// Publishes a batch of admitted events under one lock of the bus, and waits until those that ask for it are on disk.
/// Returns the result of each item, in order, with its tag. Items that are refused already keep their refusal.
///
/// An event that could not be written to disk was delivered nevertheless.
pub(crate) async fn publish<T>(
    daemon: &Daemon,
    publisher: Option<ClientId>,
    batch: impl Iterator<Item = (T, Result<Publication, Refused>)>,
) -> impl Iterator<Item = (T, Result<Published, Refused>)> {
    let began = Instant::now();
    let batch = batch.map(|(tag, admitted)| {
        let is_durable = admitted.as_ref().is_ok_and(|publication| publication.durable);
        ((tag, is_durable), admitted)
    });
    let results = match &daemon.cluster {
        None => daemon.events.append(batch, publisher).await,
        Some(cluster) => append_for_all(daemon, cluster, batch.collect(), publisher).await,
    };
    daemon.metrics.published_in(began.elapsed());
    let durable = results.iter().filter(|((_, is_durable), _)| *is_durable);
    let is_unknown = |published: &Published| published.duplicate && published.id.is_none();
    let last = durable.clone().filter_map(|(_, result)| result.as_ref().ok()?.id.map(|id| id.seq)).max();
    let last = if durable.filter_map(|(_, result)| result.as_ref().ok()).any(is_unknown) {
        // The first publish may not be on disk yet, and is before the head.
        Some(daemon.bus.with(|bus, _| bus.position().seq))
    } else {
        last
    };
    let written = match (&daemon.store, last) {
        (Some(store), Some(last)) => store.written(last).await,
        _ => Ok(()),
    };
    results.into_iter().map(move |((tag, is_durable), result)| {
        let written = if is_durable { written.clone() } else { Ok(()) };
        (tag, result.and_then(|published| written.map(|()| published)))
    })
}
