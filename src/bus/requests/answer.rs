//! Replies, and the results of requests.

use std::task::Waker;

use super::{
    ids::{ReplyAddress, RequestId},
    parse::Answer,
    table::Ending,
};
use crate::{
    bus::{Bus, ClientId, ClientName, Now},
    protocol::{ErrorCode, Refused, ReplyMessage},
};

impl Bus {
    /// Answers a request, whose address is that of the event that the responder received.
    ///
    /// # Errors
    ///
    /// The request has ended (`stale_request`), or the reply would exceed a limit; then the request fails as well.
    pub fn reply(&mut self, to: &str, answer: Answer, now: Now) -> Result<(), Refused> {
        let at_node = to.split_once('@').filter(|(_, node)| Some(*node) == self.node());
        let address = at_node.map_or(to, |(address, _)| address).parse::<ReplyAddress>();
        let address = address
            .ok()
            .filter(|address| *address == ReplyAddress::new(address.request, address.responder, &self.requests.secret));
        let Some(ReplyAddress { request: id, responder: client, .. }) = address else {
            let shown: String = to.chars().take(60).collect();
            return Err(Refused::new(ErrorCode::StaleRequest, format!("`{shown}` is not the address of a request")));
        };
        // Its time may have passed before the tick that notices it.
        if self.requests.pending.get(&id).is_some_and(|pending| pending.deadline <= now.mono) {
            self.requests.ending.insert(id, Ending::TimedOut);
            self.end_requests(now);
        }
        let is_open = |pending: &super::pending::Pending| pending.asked.contains(&(client, true));
        if !self.requests.pending.get(&id).is_some_and(is_open) {
            let message = "the request has ended: it was answered or has timed out, or its client has disconnected";
            return Err(Refused::new(ErrorCode::StaleRequest, message));
        }
        let result = match answer {
            Answer::Failed(why) => {
                let message = if why.is_empty() { "the responder cannot reply".into() } else { why };
                self.answered(id, client, Some(Refused::new(ErrorCode::ResponderFailed, message)));
                Ok(())
            }
            Answer::Reply { data, headers } => {
                let bytes = data.len() + headers.as_lines().len();
                let charged = self.charge_requests(bytes);
                let responder = self.responder_name(client);
                if let Some(pending) = self.requests.pending.get_mut(&id).filter(|_| charged.is_ok()) {
                    pending.bytes += bytes;
                    pending.replies.push(ReplyMessage { data, headers, responder });
                }
                self.answered(id, client, charged.clone().err());
                charged
            }
        };
        self.settle_request(id);
        self.offer_requests(client, now);
        self.end_requests(now);
        result
    }

    fn responder_name(&self, client: ClientId) -> String {
        let name = self.clients.get(client).and_then(|client| client.description.name.as_ref());
        name.map_or_else(|| self.client_address(client), |name| ClientName::as_str(name).to_owned())
    }

    /// Notes that a responder has answered a request, or why it never will.
    pub(super) fn answered(&mut self, id: RequestId, client: ClientId, failure: Option<Refused>) {
        if let Some(responder) = self.requests.responders.get_mut(&client) {
            responder.in_flight.remove(&id);
        }
        let Some(pending) = self.requests.pending.get_mut(&id) else { return };
        if pending.answered_by(client) && failure.is_some() {
            pending.failure = failure;
        }
    }

    /// Returns the result of a request, and forgets the request. While it waits, returns None; the waker is woken when there is
    /// a result.
    pub fn poll_request(&mut self, id: RequestId, waker: &Waker) -> Option<Result<Vec<ReplyMessage>, Refused>> {
        if let Some(pending) = self.requests.pending.get_mut(&id).filter(|pending| !pending.has_ended()) {
            pending.waker = Some(waker.clone());
            return None;
        }
        let Some(pending) = self.requests.pending.remove(&id) else {
            return Some(Err(Refused::new(ErrorCode::StaleRequest, "the request has ended")));
        };
        self.requests.bytes -= pending.bytes;
        Some(pending.into_result())
    }

    /// Forgets a request whose client has left, or has its result.
    pub fn cancel_request(&mut self, id: RequestId, now: Now) {
        self.requests.ending.insert(id, Ending::Cancelled);
        self.end_requests(now);
        if let Some(pending) = self.requests.pending.remove(&id) {
            self.requests.bytes -= pending.bytes;
        }
    }
}
