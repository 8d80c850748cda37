//! Events that are sent to a consumer by its name.

use sse_bus::{
    EventId,
    bus::{
        Publication,
        consumers::{ConsumerName, put_in_mailbox},
    },
    protocol::{ErrorCode, Published, Refused},
};

use super::{job::Job, state::Queue};
use crate::nats::level;

impl Queue {
    /// Sends an event to the consumer that it names; None if there is none with this name.
    ///
    /// # Errors
    ///
    /// The servers do not answer, or the topic is too long.
    pub(crate) async fn send(&self, publication: Publication) -> Result<Option<Published>, Refused> {
        let Some(Ok(name)) = publication.to.as_deref().map(ConsumerName::parse) else { return Ok(None) };
        match self.settings(&name).await {
            Ok(_) => {}
            Err(refused) if refused.code == ErrorCode::ConsumerUnknown => return Ok(None),
            Err(refused) => return Err(refused),
        }
        let repeat = publication.dedup_id.as_ref().map(|id| format!("job {name} {}", id.as_str()));
        let publication = put_in_mailbox(publication)?;
        let mut headers = Job::sent(&publication).into_headers();
        if let Some(repeat) = repeat {
            headers.insert("Nats-Msg-Id", level(&repeat));
        }
        let stored = self.publish(self.0.nats.names().job(name.as_str()), headers, &publication.data).await?;
        let mut published = Published::new(EventId::new(self.0.log.position().epoch, stored.sequence), 0);
        (published.duplicate, published.queued) = (stored.duplicate, true);
        Ok(Some(published))
    }
}
