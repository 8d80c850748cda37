//! Publishing events.

use std::{collections::BTreeSet, time::Instant};

use sse_bus::{
    Topic,
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

/// What an event needs of the other nodes of a shared bus.
enum Others {
    /// The number of the subscribers of its topic.
    Count(Topic),
    /// Its delivery to their clients.
    Send(Publication),
}

/// Appends a batch on a shared bus: counts the subscribers of the other nodes meanwhile, and sends unicasts to their clients.
async fn append_for_all<T>(
    daemon: &Daemon,
    cluster: &Cluster,
    batch: Vec<Item<T>>,
    from: Option<ClientId>,
) -> Vec<Outcome<T>> {
    // What each event needs of the other nodes.
    let others = |admitted: &Result<Publication, Refused>| {
        let event = admitted.as_ref().ok()?;
        Some(if event.to.is_some() { Others::Send(event.clone()) } else { Others::Count(event.topic.clone()) })
    };
    let others: Vec<_> = batch.iter().map(|(_, admitted)| others(admitted)).collect();
    let counted =
        |other: &Option<Others>| if let Some(Others::Count(topic)) = other { Some(topic.clone()) } else { None };
    let topics: BTreeSet<_> = others.iter().filter_map(counted).collect();
    let appended = daemon.events.append(batch.into_iter(), from);
    let (mut outcomes, counts) = tokio::join!(appended, cluster.count_subscribers(&topics));
    for ((_, outcome), others) in outcomes.iter_mut().zip(others) {
        let Ok(published) = &mut *outcome else { continue };
        match others {
            Some(Others::Count(topic)) if !published.duplicate => {
                published.subscribers += counts.get(&topic).copied().unwrap_or_default();
            }
            // One after the other, so that a client receives them in order. An event with an id is for a consumer.
            Some(Others::Send(event)) if published.id.is_none() && !published.duplicate => {
                let sent = cluster.unicast(event.clone()).await;
                published.subscribers += sent.result;
                published.unreachable = sent.unreachable;
                #[cfg(feature = "nats")]
                if published.subscribers == 0
                    && let Some(queue) = &daemon.queue
                {
                    match queue.send(event).await {
                        Ok(Some(queued)) => *outcome = Ok(queued),
                        Ok(None) => {}
                        Err(refused) => *outcome = Err(refused),
                    }
                }
            }
            _ => {}
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
