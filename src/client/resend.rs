//! A publisher that reconnects and resends, without publishing anything twice.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Backoff, address::Address, error::Error, transport::Transport};
use crate::protocol::{ErrorCode, Publish, Published, PublisherId, Sequence};

/// The waits between two attempts to connect.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(1) };

/// Publishes one event at a time. If the connection breaks before the reply, it connects again and resends the event, which has a
/// number by which the daemon recognizes a repeat.
///
/// Every event whose publish returns was published once. This also holds if the daemon was killed in between, for events with
/// [`Ack::Durable`](crate::protocol::Ack::Durable) and history on disk. A daemon that keeps history in memory does not know after
/// its restart what was published before: the event in flight may then be published by both daemons.
///
/// ```no_run
/// use std::time::Duration;
/// use sse_bus::{Endpoint, client::ResendingPublisher, protocol::{Ack, Publish}};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut publisher = ResendingPublisher::connect(&Endpoint::find()?, Duration::from_secs(30)).await?;
/// publisher.publish(Publish::new("orders", "17").with_ack(Ack::Durable)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ResendingPublisher {
    address: Address,
    /// None after the connection broke.
    transport: Option<Transport>,
    retry_for: Duration,
    publisher: PublisherId,
    /// The number of the last publish.
    number: u64,
}

impl ResendingPublisher {
    /// Connects to the daemon. `retry_for` is the longest time to connect again after the connection broke.
    ///
    /// # Errors
    ///
    /// The same as those of [`Client::connect`](super::Client::connect).
    pub async fn connect(address: impl Into<Address>, retry_for: Duration) -> Result<ResendingPublisher, Error> {
        let address = address.into();
        let transport = Some(Transport::connect(&address).await?);
        Ok(ResendingPublisher { address, transport, retry_for, publisher: PublisherId::random(), number: 0 })
    }

    /// Publishes one event, and waits for the reply. The publisher sets the number of the event. If the reply belongs to an earlier
    /// attempt, [`Published::duplicate`] is true.
    ///
    /// If the call is dropped, the event may or may not be published, and no later call publishes it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] and the like concern this event only. After another error the event may or may not be published.
    pub async fn publish(&mut self, publish: Publish) -> Result<Published, Error> {
        self.number += 1;
        let publish = publish.with_sequence(Sequence { publisher: self.publisher, number: self.number });
        let (mut attempt, mut outage) = (0, None);
        loop {
            // Taken while the call waits, so that one that is dropped leaves no reply behind.
            let result = match self.transport.take() {
                Some(mut transport) => {
                    let result = transport.publish(&publish).await;
                    if !matches!(&result, Err(error) if may_resend(error)) {
                        self.transport = Some(transport);
                    }
                    result
                }
                None => match Transport::connect(&self.address).await {
                    Ok(transport) => {
                        self.transport = Some(transport);
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            let Err(error) = result else { return result };
            let began: &mut Instant = outage.get_or_insert_with(Instant::now);
            if !may_resend(&error) || began.elapsed() >= self.retry_for {
                return Err(error);
            }
            sleep(BACKOFF.wait(attempt)).await;
            attempt += 1;
        }
    }
}

/// Returns true if another connection may answer the publish. A daemon that refuses an event would refuse it again, unless it stops.
fn may_resend(error: &Error) -> bool {
    match error {
        Error::Refused(refused) => {
            matches!(refused.code, ErrorCode::Stopping | ErrorCode::Unavailable | ErrorCode::UnknownOutcome)
        }
        error => error.is_transient(),
    }
}
