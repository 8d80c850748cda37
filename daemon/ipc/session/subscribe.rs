//! Making a connection a subscriber.

use sse_bus::protocol::{ErrorCode, Refused, Reply, Subscribe};

use super::{Session, Subscribing};
use crate::api;

impl Session<'_> {
    /// Refuses a request that makes the connection a subscriber or a worker if it is one.
    pub(super) fn refuse_subscriber(&self) -> Result<(), Refused> {
        let message = if self.worker.is_some() {
            "this connection is a worker; open another connection"
        } else if self.subscription != Subscribing::No {
            "this connection already has a subscription; open another connection"
        } else {
            return Ok(());
        };
        Err(Refused::new(ErrorCode::AlreadySubscribed, message))
    }

    pub(super) async fn subscribe(&mut self, subscribe: Subscribe) -> Result<Reply, Refused> {
        self.refuse_subscriber()?;
        let subscription = api::subscription(&self.caller, subscribe, self.codec.format())?;
        let past_only = subscription.past_only;
        let (client, subscribed) = api::subscribe(self.daemon, &self.caller, subscription).await?;
        // A connection that was a publisher continues as this subscriber.
        self.client = Some(client);
        self.subscription = if past_only { Subscribing::PastOnly } else { Subscribing::Live };
        Ok(Reply::Subscribed(subscribed))
    }
}
