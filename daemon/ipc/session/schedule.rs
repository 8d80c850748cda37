//! Requests for events that are published later.

use sse_bus::protocol::{Ack, Publish, Refused, Reply, Request};

use super::{Session, error};
use crate::api;

impl Session<'_> {
    /// Schedules an event, and appends the reply.
    pub(super) async fn schedule(&mut self, publish: Publish) {
        // Replies are sent in the order of requests.
        self.publish_batch().await;
        let is_silent = publish.ack == Ack::None;
        let scheduled = self.become_publisher().and_then(|()| api::schedule(self.daemon, &self.caller, publish));
        match scheduled {
            Ok(_) if is_silent => {}
            Ok(scheduled) => self.codec.reply(&Reply::Scheduled(scheduled), &mut self.out),
            Err(refused) => self.codec.reply(&error(self.daemon, self.requests, refused), &mut self.out),
        }
    }

    /// Lists or cancels schedules. Returns any other request unchanged.
    pub(super) async fn manage_schedules(&mut self, request: Request) -> Result<Result<Reply, Refused>, Request> {
        Ok(match request {
            Request::Schedules {} => api::schedules(self.daemon, &self.caller).await.map(Reply::Schedules),
            Request::CancelSchedule { schedule } => {
                api::cancel_schedule(self.daemon, &self.caller, &schedule).map(|()| Reply::Cancelled { schedule })
            }
            other => return Err(other),
        })
    }
}
