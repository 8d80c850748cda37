//! Requests for events that are published later.

use sse_bus::protocol::{Ack, Publish, Reply};

use super::Session;
use crate::api;

impl Session<'_> {
    /// Schedules an event, and appends the reply.
    pub(super) async fn schedule(&mut self, publish: Publish) {
        // Replies are sent in the order of requests.
        self.apply_batches().await;
        let is_silent = publish.ack == Ack::None;
        let scheduled = match self.become_publisher() {
            Ok(()) => api::schedule(self.daemon, &self.caller, publish).await,
            Err(refused) => Err(refused),
        };
        match scheduled {
            Ok(_) if is_silent => {}
            Ok(scheduled) => self.codec.reply(&Reply::Scheduled(scheduled), self.held.buffer(&mut self.out)),
            Err(refused) => {
                let refusal = self.refusal(self.requests, refused);
                self.codec.reply(&refusal, self.held.buffer(&mut self.out));
            }
        }
    }
}
