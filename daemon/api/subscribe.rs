//! Subscribing to events.

use sse_bus::{
    Topic,
    bus::{CLIENTS_TOPIC, ClientName, Format, Subscription},
    protocol::{Refused, Subscribe, Subscribed},
};

use crate::{access::Caller, client_guard::ClientGuard, context::Daemon};

/// Authorizes and validates a request to subscribe. Filters and a client name that the request leaves open are set to those
/// of the caller's token or ticket.
///
/// # Errors
///
/// The caller may not subscribe to these topics, or the request is not valid.
pub(crate) fn subscription(caller: &Caller, mut subscribe: Subscribe, format: Format) -> Result<Subscription, Refused> {
    caller.grant.complete(&mut subscribe)?;
    let mut subscription = Subscription::parse(&subscribe, format, caller.to_string())?;
    caller.grant.check_filters(&subscription.filters)?;
    subscription.allowed = caller.grant.topics().into();
    subscription.description.origin = caller.page.as_ref().map(|page| page.origin.clone());
    Ok(subscription)
}

/// Connects a subscriber. It is disconnected when the guard is dropped, or when the caller's token ends.
///
/// # Errors
///
/// There are too many subscribers or filters, the client is kept out, this node has not received yet what the client had, or the
/// daemon stops.
pub(crate) async fn subscribe(
    daemon: &Daemon,
    caller: &Caller,
    subscription: Subscription,
) -> Result<(ClientGuard, Subscribed), Refused> {
    let (name, peer) = (subscription.description.name.clone(), subscription.description.peer.clone());
    let via = subscription.format.transport();
    let is_kept_out = || daemon.kept_out.check(name.as_ref().map(ClientName::as_str), &peer, via);
    is_kept_out()?;
    daemon.events.reach(&subscription.start).await?;
    let watches = daemon
        .cluster
        .as_ref()
        .filter(|_| Topic::parse(CLIENTS_TOPIC).is_ok_and(|topic| subscription.filters.matches(&topic)));
    let (client, subscribed) = ClientGuard::subscriber(&daemon.bus, subscription)?;
    if let Some(cluster) = watches {
        // The other nodes send their events from now on.
        tokio::spawn(cluster.clone().begin_to_watch());
    }
    // A kick in between did not find it.
    is_kept_out()?;
    let token = daemon.access.register(&caller.grant, client.id);
    Ok((client.with_token(token), subscribed))
}
