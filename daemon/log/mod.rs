//! The event log. It assigns sequence numbers to events and defines the order in which the bus applies them. Live-only events
//! have no number.
//!
//! | | in-memory log | with history on disk | external log |
//! |---|---|---|---|
//! | number events (`append`) | number and apply in one call of the bus | the same; the store writes asynchronously | admits the event, sends it to the log, and waits until the bus has applied it |
//! | return events of others | none: an event is applied when it is appended | none | every event that the log returns, from any node |
//! | read the past | the bus's history | the bus's index, and the store's reader for the events | the bus's history |
//! | read the newest event of each topic | the bus's snapshots | the same: retained events stay in memory | the bus's snapshots |
//! | restore at the start | nothing | the store, before the bus is shared | from the position of the bus |
//!
//! Publishers only call [`EventLog::append`] and do not depend on where the numbers come from. The only external log so far is
//! one for tests, in `delayed.rs`, in builds with the feature `delayed-log`. Only numbering has a
//! function here: cursors read the bus's history, and the bus keeps only a bounded part of an external log.
//!
//! To add a log, give [`EventLog`] another field, and branch in `new`, `append` and `close` as for the one of `delayed.rs`.

mod batch;
#[cfg(feature = "delayed-log")]
mod delayed;
mod disk;

use sse_bus::bus::ClientId;
use tokio_util::sync::CancellationToken;

use self::batch::{Answer, Item};
pub(crate) use self::disk::{OpenError, Opened, Store};
use crate::shared_bus::SharedBus;

/// The log that the daemon publishes to.
pub(crate) struct EventLog {
    bus: SharedBus,
    #[cfg(feature = "delayed-log")]
    delayed: Option<delayed::Delayed>,
}

impl EventLog {
    /// Creates the log of a bus. History must be restored before.
    pub(crate) fn new(bus: &SharedBus) -> EventLog {
        EventLog {
            #[cfg(feature = "delayed-log")]
            delayed: delayed::Delayed::chosen(bus),
            bus: bus.clone(),
        }
    }

    /// Appends a batch of publications. `from` is the publishing client, or None if the caller is no connected client. Returns the answers in the same order, once
    /// all events were applied.
    #[cfg_attr(not(feature = "delayed-log"), expect(clippy::unused_async, reason = "the in-memory log never waits"))]
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
