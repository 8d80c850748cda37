//! Requests that wait: for replies of responders, or for the log.
//!
//! Replies are sent in the order of requests. While the first unanswered request waits, the replies to later ones are held
//! behind it, and the connection still reads requests and sends events. A request that would begin events of its own waits
//! until all earlier ones are answered. So does every request but another publish while publishes wait for the log, because its
//! effect must follow theirs.

use sse_bus::{
    limits::READ_MAX,
    protocol::{ErrorCode, Refused, Reply, Request, RequestMessage, Respond, Responding},
};

use super::{Session, Subscribing, held::Ended};
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

    /// Defers a request that begins events, or follows publishes that wait for the log, until all earlier requests are answered.
    /// Returns any other request.
    pub(super) fn defer(&mut self, request: Request) -> Option<Request> {
        let begins = matches!(request, Request::Subscribe(_) | Request::Consume(_) | Request::Respond(_));
        if (begins && !self.held.is_empty()) || self.held.is_publishing() {
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
        self.held.push_request(request, self.requests);
        Ok(())
    }

    /// Appends the replies to what has waited first, and those that it held.
    pub(super) fn end_held(&mut self, ended: Ended) {
        let after = self.held.pop();
        match ended {
            Ended::Request(number, result) => {
                let reply = result.map_or_else(|refused| self.refusal(number, refused), Reply::Replies);
                self.codec.reply(&reply, &mut self.out);
            }
            Ended::Publishes(outcomes) => {
                for outcome in outcomes {
                    if let Some(reply) = self.published(outcome) {
                        self.codec.reply(&reply, &mut self.out);
                    }
                }
            }
        }
        self.out.extend_from_slice(&after);
    }

    /// Appends the replies to all publishes whose outcomes are known.
    pub(super) async fn end_published(&mut self) {
        while self.out.len() < READ_MAX
            && let Some(ended) = self.held.next_published().await
        {
            self.end_held(ended);
        }
    }

    /// Refuses the requests that wait for responders when the connection ends, and waits for the outcomes of publishes.
    pub(super) async fn refuse_held(&mut self) {
        while !self.held.is_empty() {
            let ended = match self.held.first_request() {
                Some(number) => {
                    let message = "the connection ends before a reply has arrived";
                    Ended::Request(number, Err(Refused::new(ErrorCode::Stopping, message)))
                }
                None => self.held.next().await,
            };
            self.end_held(ended);
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
}
