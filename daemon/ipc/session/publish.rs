//! Publishing the events of a connection in batches.

use sse_bus::{
    bus::Publication,
    protocol::{Ack, Publish, Refused, Reply},
};

use super::Session;
use crate::{api, client_guard::ClientGuard};

impl Session<'_> {
    /// Admits an event.
    pub(super) fn admit(&mut self, publish: Publish) -> Result<Publication, Refused> {
        self.become_publisher()?;
        api::admit(self.daemon, &self.caller, publish)
    }

    /// Makes the connection a publisher, unless it is another client.
    pub(super) fn become_publisher(&mut self) -> Result<(), Refused> {
        if self.client().is_none() {
            let process = self.caller.address.to_string();
            let transport = self.codec.format().transport();
            self.daemon.kept_out.check(None, &process, transport)?;
            self.client = Some(ClientGuard::publisher(&self.daemon.bus, process, transport)?);
        }
        Ok(())
    }

    /// Publishes the batch and appends the replies.
    pub(super) async fn publish_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let client = self.client().map(|client| client.id);
        // Its memory is reused.
        let mut batch = std::mem::take(&mut self.batch);
        let results = api::publish(self.daemon, client, batch.drain(..)).await;
        for ((number, ack), result) in results {
            let position = || self.daemon.bus.with(|bus, _| bus.position());
            let reply = match result.map(|published| self.codec.published(published, position)) {
                Ok(_) if ack == Ack::None => continue,
                Ok(published) => Reply::Published(published),
                Err(refused) => self.refusal(number, refused),
            };
            self.codec.reply(&reply, self.held.buffer(&mut self.out));
        }
        self.batch = batch;
    }
}
