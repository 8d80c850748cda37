//! A request that waits for the replies of this daemon's responders.

use std::{future::poll_fn, task::Poll, time::Duration};

use sse_bus::{
    bus::{
        ClientId, Publication,
        requests::{RequestId, RequestTerms},
    },
    protocol::{Refused, ReplyMessage},
};
use tokio::time::{Instant, timeout_at};

use crate::shared_bus::SharedBus;

/// A request that waits for its replies. Dropping it cancels the request.
pub(crate) struct PendingRequest {
    bus: SharedBus,
    id: RequestId,
    deadline: Instant,
}

impl PendingRequest {
    /// Sends a request. `client` is its publisher, if that is a client.
    ///
    /// # Errors
    ///
    /// No responder matches, or there are too many requests.
    pub(crate) fn begin(
        bus: &SharedBus,
        publication: Publication,
        terms: RequestTerms,
        client: Option<ClientId>,
    ) -> Result<PendingRequest, Refused> {
        let id = bus.with(|bus, now| bus.request(publication, terms, client, now))?;
        Ok(PendingRequest { bus: bus.clone(), id, deadline: Instant::now() + terms.timeout })
    }

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
