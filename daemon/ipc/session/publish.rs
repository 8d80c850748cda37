//! Publishing the events of a connection in batches.

use sse_bus::{
    bus::Publication,
    protocol::{Ack, Publish, Refused, Reply},
};

use super::{Session, held::Outcome};
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

    /// Publishes the batch and appends the replies. If the log takes its time, the replies follow later, and the connection
    /// publishes its next batch meanwhile.
    pub(super) async fn publish_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let (daemon, client) = (self.daemon, self.client().map(|client| client.id));
        // Its memory is reused.
        let mut batch = std::mem::take(&mut self.batch);
        let waits = daemon.events.is_elsewhere() || batch.iter().any(|((_, ack), _)| *ack == Ack::Durable);
        if waits {
            let admitted = batch.iter().filter_map(|(_, admitted)| admitted.as_ref().ok());
            let bytes = admitted.map(|publication| publication.data.len()).sum();
            let publish = async move { api::publish(daemon, client, batch.into_iter()).await.collect() };
            self.held.push_publishes(Box::pin(publish), bytes).await;
            return self.end_published().await;
        }
        for outcome in api::publish(daemon, client, batch.drain(..)).await {
            if let Some(reply) = self.published(outcome) {
                self.codec.reply(&reply, self.held.buffer(&mut self.out));
            }
        }
        self.batch = batch;
    }

    /// Returns the reply to a publish, unless none is wanted.
    pub(super) fn published(&self, ((number, ack), result): Outcome) -> Option<Reply> {
        let position = || self.daemon.bus.with(|bus, _| bus.position());
        match result.map(|published| self.codec.published(published, position)) {
            Ok(_) if ack == Ack::None => None,
            Ok(published) => Some(Reply::Published(published)),
            Err(refused) => Some(self.refusal(number, refused)),
        }
    }
}
