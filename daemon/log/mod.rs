//! The log: it gives every event its number, and the events that it returns are applied to the bus in its order.
//!
//! | | own log in memory | with history on disk | a log elsewhere |
//! |---|---|---|---|
//! | `append(batch)` returns ids | number and apply in one call of the bus | the same; the store writes behind it | admit, send, and wait until the event was applied |
//! | `tail(from)` | none: an event is applied when it is appended | none | every event that the log returns, from any node |
//! | `read(filters, range)` | the bus's history | the bus's index, and the store's reader for the events | the bus's history |
//! | `latest(filters)` | the bus's snapshots | the same: retained events stay in memory | the bus's snapshots |
//! | `recover()` | nothing | the store, before the bus is shared | from the position of the bus |
//!
//! Publishers only call [`EventLog::append`] and do not depend on where the numbers come from. The only log elsewhere so far is
//! one for tests, in `delayed.rs`, in builds with the feature `delayed-log`. `read` and `latest` have no function of their own
//! here: cursors read the bus's history, and a log elsewhere must fit into its bounds.

mod batch;
#[cfg(feature = "delayed-log")]
mod delayed;
mod disk;

use sse_bus::bus::ClientId;
use tokio_util::sync::CancellationToken;

use self::batch::{Answer, Item};
pub(crate) use self::disk::{Opened, Store};
use crate::shared_bus::SharedBus;

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

    /// Appends a batch of publications of a client, or of a caller that is none. Returns the answers in the same order, once
    /// all events were applied.
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

    /// Accepts no more events, and cancels `stop` once all accepted events are applied, so that streams that end because of it
    /// have received them.
    pub(crate) fn close(&self, stop: &CancellationToken) {
        self.bus.with(|bus, _| bus.close());
        #[cfg(feature = "delayed-log")]
        if let Some(delayed) = &self.delayed {
            return delayed.close(stop);
        }
        stop.cancel();
    }
}
