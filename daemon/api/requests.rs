//! Requests and replies.

use sse_bus::{
    bus::{
        ClientId, ClientName, Description, Format, Subscription,
        requests::{Answer, RequestTerms},
    },
    limits::RESPONDER_SLOTS_MAX,
    protocol::{ErrorCode, Refused, ReplyMessage, ReplyTo, RequestMessage, Respond, Responding},
    tokens::Scope,
};

use crate::{
    access,
    access::Caller,
    cluster::{Cluster, SharedRequest},
    context::Daemon,
    pending_request::PendingRequest,
};

/// A request that waits for its replies. Dropping it cancels the request.
pub(crate) enum WaitingRequest {
    /// For responders of this node.
    Own(PendingRequest),
    /// For responders of all nodes.
    Shared(SharedRequest),
}

/// Authorizes, validates and sends a request. `client` is its publisher, if that is a client.
///
/// # Errors
///
/// The caller may not publish to the topic, the request is not valid, or no responder matches.
pub(crate) fn request(
    daemon: &Daemon,
    caller: &Caller,
    request: RequestMessage,
    client: Option<ClientId>,
) -> Result<WaitingRequest, Refused> {
    caller.grant.require(Scope::Publish)?;
    let config = daemon.config();
    let (publication, terms) = RequestTerms::parse(request, &config.limits)?;
    let publication = access::admit(caller, publication, &config.topics)?;
    let shared = daemon.cluster.as_ref().and_then(|cluster| cluster.request(&publication, terms, client));
    match shared {
        Some(shared) => Ok(WaitingRequest::Shared(shared)),
        None => PendingRequest::begin(&daemon.bus, publication, terms, client).map(WaitingRequest::Own),
    }
}

impl WaitingRequest {
    /// Waits for the replies. Cancel-safe.
    ///
    /// # Errors
    ///
    /// There are none: in time, or because the responders have disconnected or failed.
    pub(crate) async fn replies(&self) -> Result<Vec<ReplyMessage>, Refused> {
        match self {
            WaitingRequest::Own(request) => request.replies().await,
            WaitingRequest::Shared(request) => request.replies().await,
        }
    }
}

/// Authorizes and validates a request to become a responder, which [`subscribe`](super::subscribe) then connects.
///
/// # Errors
///
/// The caller may not work for these topics, or the request is not valid.
pub(crate) fn responder(caller: &Caller, respond: &Respond, format: Format) -> Result<Subscription, Refused> {
    let name = respond.client.as_deref().map(ClientName::parse).transpose()?;
    let origin = caller.page.as_ref().map(|page| page.origin.clone());
    let description = Description { name, peer: caller.to_string(), origin };
    let subscription = Subscription::respond(respond, format, description)?;
    if let Some(responder) = &subscription.responder {
        caller.grant.check_work(&responder.filters)?;
    }
    Ok(subscription)
}

/// Changes the number of requests that a responder receives at a time.
///
/// # Errors
///
/// The number is too large.
pub(crate) fn resize_responder(daemon: &Daemon, client: ClientId, respond: &Respond) -> Result<Responding, Refused> {
    let max_in_flight = respond.max_in_flight.unwrap_or(1);
    let slots = usize::try_from(max_in_flight).ok().filter(|slots| *slots <= RESPONDER_SLOTS_MAX).ok_or_else(|| {
        let message = format!("`max_in_flight` = {max_in_flight} cannot be used: write 0 to {RESPONDER_SLOTS_MAX}");
        Refused::new(ErrorCode::RequestInvalid, message)
    })?;
    daemon.bus.with(|bus, now| bus.resize_responder(client, slots, now));
    Ok(Responding::new(daemon.bus.with(|bus, _| bus.client_address(client))))
}

/// Validates and delivers a reply. Any caller may send it, to any node: only the receiver of the request has its address.
///
/// # Errors
///
/// The request has ended, or the reply is not valid. Then the request fails, too.
pub(crate) async fn reply(daemon: &Daemon, reply: ReplyTo) -> Result<(), Refused> {
    if let Some((cluster, node)) = other_node(daemon, &reply.to) {
        return cluster.reply(node, reply.clone()).await;
    }
    let to = reply.to.clone();
    match Answer::parse(reply, &daemon.config().limits) {
        Ok((to, answer)) => daemon.bus.with(|bus, now| bus.reply(&to, answer, now)),
        Err(refused) => {
            fail_request(daemon, &to, &refused).await;
            Err(refused)
        }
    }
}

/// Fails a request whose reply was refused.
pub(crate) async fn fail_request(daemon: &Daemon, to: &str, refused: &Refused) {
    let why = format!("the reply was refused: {}", refused.message);
    // In both cases the request may be over.
    if let Some((cluster, node)) = other_node(daemon, to) {
        let _ = cluster.reply(node, ReplyTo::failed(to, why)).await;
    } else {
        let _ = daemon.bus.with(|bus, now| bus.reply(to, Answer::Failed(why), now));
    }
}

/// Returns the node of the responder that has received a request, unless it is this one.
fn other_node<'a>(daemon: &'a Daemon, address: &'a str) -> Option<(&'a Cluster, &'a str)> {
    let cluster = daemon.cluster.as_ref()?;
    Some((cluster, cluster.other_node(address)?))
}
