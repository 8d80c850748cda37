//! Subscribing to events.

use sse_bus::{
    bus::{Format, Subscription},
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
/// There are too many subscribers or filters, or the daemon stops.
pub(crate) fn subscribe(
    daemon: &Daemon,
    caller: &Caller,
    subscription: Subscription,
) -> Result<(ClientGuard, Subscribed), Refused> {
    let (client, subscribed) = ClientGuard::subscriber(&daemon.bus, subscription)?;
    let token = daemon.access.register(&caller.grant, client.id);
    Ok((client.with_token(token), subscribed))
}
