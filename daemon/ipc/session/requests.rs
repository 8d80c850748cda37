//! Requests that wait for replies of responders.
//!
//! Replies are sent in the order of requests. While the first unanswered request waits, the replies to later ones are held
//! behind it, and the connection still reads requests and sends events. A request that would begin events of its own waits
//! until all earlier ones are answered.

use sse_bus::protocol::{
    ErrorCode, Refused, Reply, ReplyMessage, ReplyTo, Request, RequestMessage, Respond, Responding,
};

use super::{Session, Subscribing, held::Held};
use crate::api;

impl Session<'_> {
    /// Returns true if no more requests are read until a reply of a responder has arrived.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_full() || (self.deferred.is_some() && !self.held.is_empty())
    }

    /// Returns the request that has waited for the replies to all earlier ones.
    pub(super) fn take_deferred(&mut self) -> Option<Request> {
        self.deferred.take_if(|_| self.held.is_empty())
    }

    /// Defers a request that begins events, until all earlier requests are answered. Returns any other request.
    pub(super) fn defer(&mut self, request: Request) -> Option<Request> {
        let begins = matches!(request, Request::Subscribe(_) | Request::Consume(_) | Request::Respond(_));
        if begins && !self.held.is_empty() {
            self.deferred = Some(request);
            return None;
        }
        Some(request)
    }

    /// Sends a request to responders.
    pub(super) fn begin_request(&mut self, request: RequestMessage) -> Result<(), Refused> {
        self.become_publisher()?;
        let client = self.client().map(|client| client.id);
        let request = api::request(self.daemon, &self.caller, request, client)?;
        self.held.push(request, self.requests);
        Ok(())
    }

    /// Appends the reply to the first request that waits, and those that it held.
    pub(super) fn end_request(&mut self, result: Result<Vec<ReplyMessage>, Refused>) {
        let Some(Held { number, after, .. }) = self.held.pop() else { return };
        let reply = result.map_or_else(|refused| self.refusal(number, refused), Reply::Replies);
        self.codec.reply(&reply, &mut self.out);
        self.out.extend_from_slice(&after);
    }

    /// Refuses the requests that wait when the connection ends.
    pub(super) fn refuse_held(&mut self) {
        while !self.held.is_empty() {
            let message = "the connection ends before a reply has arrived";
            self.end_request(Err(Refused::new(ErrorCode::Stopping, message)));
        }
    }

    /// Makes the connection a responder, or changes the number of its requests in flight.
    pub(super) async fn respond(&mut self, respond: &Respond) -> Result<Reply, Refused> {
        if let Some(client) = self.client.as_ref().filter(|_| self.subscription == Subscribing::Requests) {
            return api::resize_responder(self.daemon, client.id, respond).map(Reply::Responding);
        }
        self.refuse_subscriber()?;
        let subscription = api::responder(&self.caller, respond, self.codec.format())?;
        let (client, subscribed) = api::subscribe(self.daemon, &self.caller, subscription).await?;
        (self.client, self.subscription) = (Some(client), Subscribing::Requests);
        Ok(Reply::Responding(Responding::new(subscribed.client)))
    }

    /// Applies and answers a reply to a request.
    pub(super) async fn reply_for(&self, reply: ReplyTo) -> Result<Reply, Refused> {
        api::reply(self.daemon, reply).await.map(|()| Reply::Replied {})
    }
}
