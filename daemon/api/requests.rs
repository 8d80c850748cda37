//! Requests and replies.

use std::{future::poll_fn, task::Poll, time::Duration};

use sse_bus::{
    bus::{
        ClientId, ClientName, Description, Format, Subscription,
        requests::{Answer, RequestId, RequestTerms},
    },
    limits::RESPONDER_SLOTS_MAX,
    protocol::{ErrorCode, Refused, ReplyMessage, ReplyTo, RequestMessage, Respond, Responding},
    tokens::Scope,
};
use tokio::time::{Instant, timeout_at};

use crate::{access, access::Caller, context::Daemon, shared_bus::SharedBus};

/// A request that waits for its replies. Dropping it cancels the request.
pub(crate) struct PendingRequest {
    bus: SharedBus,
    id: RequestId,
    deadline: Instant,
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
) -> Result<PendingRequest, Refused> {
    caller.grant.require(Scope::Publish)?;
    let config = daemon.config();
    let (publication, terms) = RequestTerms::parse(request, &config.limits)?;
    let publication = access::admit(caller, publication, &config.topics)?;
    let id = daemon.bus.with(|bus, now| bus.request(publication, terms, client, now))?;
    Ok(PendingRequest { bus: daemon.bus.clone(), id, deadline: Instant::now() + terms.timeout })
}

impl PendingRequest {
    /// Waits for the replies. Cancel-safe.
    ///
    /// # Errors
    ///
    /// There are none: in time, or because the responders have disconnected or failed.
    pub(crate) async fn replies(&self) -> Result<Vec<ReplyMessage>, Refused> {
        /// The clock of the bus counts whole milliseconds.
        const LATER: Duration = Duration::from_millis(1);
        let mut deadline = self.deadline + LATER;
        loop {
            let replies = poll_fn(|cx| {
                let result = self.bus.with(|bus, _| bus.poll_request(self.id, cx.waker()));
                result.map_or(Poll::Pending, Poll::Ready)
            });
            match timeout_at(deadline, replies).await {
                Ok(result) => return result,
                // Sooner than the daemon's own timer.
                Err(_) => self.bus.with(|bus, now| bus.tick_requests(now)),
            }
            deadline = Instant::now() + LATER;
        }
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.bus.with(|bus, now| bus.cancel_request(self.id, now));
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
    Ok(Responding::new(client.to_string()))
}

/// Validates and delivers a reply. Any caller may send it: only the receiver of the request has its address.
///
/// # Errors
///
/// The request has ended, or the reply is not valid. Then the request fails, too.
pub(crate) fn reply(daemon: &Daemon, reply: ReplyTo) -> Result<(), Refused> {
    let to = reply.to.clone();
    match Answer::parse(reply, &daemon.config().limits) {
        Ok((to, answer)) => daemon.bus.with(|bus, now| bus.reply(&to, answer, now)),
        Err(refused) => {
            fail_request(daemon, &to, &refused);
            Err(refused)
        }
    }
}

/// Fails a request whose reply was refused.
pub(crate) fn fail_request(daemon: &Daemon, to: &str, refused: &Refused) {
    let failed = Answer::Failed(format!("the reply was refused: {}", refused.message));
    // The request may be over.
    let _ = daemon.bus.with(|bus, now| bus.reply(to, failed, now));
}
