//! The log: it gives every event its number, and what it returns is applied to the bus in its order.
//!
//! | | own log in memory | with history on disk | a log elsewhere |
//! |---|---|---|---|
//! | `append(batch)` returns ids | number and apply in one call of the bus | the same; the store writes behind it | admit, send, and wait until the event was applied |
//! | `tail(from)` | none: an event is applied when it is appended | none | every event that the log returns, whoever appended it |
//! | `read(filters, range)` | the bus's history | the bus's index, and the store's reader for the events | the bus's history |
//! | `latest(filters)` | the bus's snapshots | the same: retained events stay in memory | the bus's snapshots |
//! | `recover()` | nothing | the store, before the bus is shared | from the position of the bus |
//!
//! Transports call [`EventLog::append`] alone, and so does not matter to them where the numbers come from. A log elsewhere is
//! so far [one of tests](delayed), in builds with the feature `delayed-log`.

#[cfg(feature = "delayed-log")]
mod delayed;

use sse_bus::{
    bus::{ClientId, Publication},
    protocol::{Published, Refused},
};
use tokio_util::sync::CancellationToken;

use crate::shared::SharedBus;

/// A publication that was checked, or why it was refused, with what its caller knows it by.
pub(crate) type Item<T> = (T, Result<Publication, Refused>);
/// The answer to it.
pub(crate) type Answer<T> = (T, Result<Published, Refused>);

/// The log that the daemon publishes to.
pub(crate) struct EventLog {
    bus: SharedBus,
    #[cfg(feature = "delayed-log")]
    delayed: Option<delayed::Delayed>,
}

impl EventLog {
    /// The log of a bus that has what was recovered.
    pub(crate) fn new(bus: &SharedBus) -> EventLog {
        EventLog {
            #[cfg(feature = "delayed-log")]
            delayed: delayed::Delayed::chosen(bus),
            bus: bus.clone(),
        }
    }

    /// Appends a batch, from a publisher that is a client or from elsewhere. Returns once all of it was applied; refused items
    /// keep their place.
    #[cfg_attr(not(feature = "delayed-log"), expect(clippy::unused_async, reason = "the bus's own log has no wait"))]
    pub(crate) async fn append<T>(
        &self,
        batch: impl Iterator<Item = Item<T>>,
        from: Option<ClientId>,
    ) -> Vec<Answer<T>> {
        #[cfg(feature = "delayed-log")]
        if let Some(delayed) = &self.delayed {
            return delayed.append(batch, from).await;
        }
        self.bus.with_each(batch, |bus, now, (caller, item)| {
            (caller, item.and_then(|publication| bus.publish(publication, from, now)))
        })
    }

    /// Accepts nothing more, and stops the daemon once all that was accepted is applied: a stream that ends because it stops
    /// has had everything.
    pub(crate) fn close(&self, stop: &CancellationToken) {
        self.bus.with(|bus, _| bus.close());
        #[cfg(feature = "delayed-log")]
        if let Some(delayed) = &self.delayed {
            return delayed.close(stop);
        }
        stop.cancel();
    }
}
