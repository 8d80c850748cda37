//! The event log. It assigns sequence numbers to events and defines the order in which the bus applies them. Live-only events
//! have no number.
//!
//! | | in memory | on disk | elsewhere |
//! |---|---|---|---|
//! | `append` | numbers and applies an event in one call of the bus | the same; the store writes asynchronously | admits the event, sends it to the log, and waits until the bus has applied it |
//! | `tail` | none: an event is applied when it is appended | none | every event that the log returns, from any node |
//! | `read` | none: all of history is in the bus | the store's reader, for events whose entries are in the bus | a range of numbers before the window of the bus |
//! | `latest` | none | the same: retained events stay in memory | the retained or newest events before the window |
//! | `recover` | nothing | the store, before the bus is shared | the position of the log, at which the window begins |
//!
//! Publishers only call [`EventLog::append`] and do not depend on where the numbers come from. Subscribers only read from the
//! bus: it [wants](sse_bus::bus::fetch) what it does not have, and the store or the `reads.rs` of the log supply it. The
//! only log elsewhere so far is one for tests, in `delayed.rs`, in builds with the feature `delayed-log`.
//!
//! To add a backend for history, another log, implement `ExternalLog` in `external.rs`, as `delayed.rs` does, and give
//! [`EventLog`] a node of it.

mod batch;
#[cfg(feature = "delayed-log")]
mod delayed;
mod disk;
#[cfg(feature = "delayed-log")]
mod external;
#[cfg(feature = "delayed-log")]
mod node;
#[cfg(feature = "delayed-log")]
mod reads;

use sse_bus::{
    bus::{ClientId, history::Memory},
    limits::Limits,
    retention::Retention,
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::batch::{Item, Outcome};
pub(crate) use self::disk::{OpenError, Opened, Store};
use crate::shared_bus::SharedBus;

/// The log that the daemon publishes to.
pub(crate) struct EventLog {
    bus: SharedBus,
    #[cfg(feature = "delayed-log")]
    elsewhere: Option<node::Node<delayed::Delayed>>,
}

/// Returns the history for a bus without a disk: all of it, or the window of a log elsewhere.
pub(crate) fn history(retention: &Retention) -> Memory {
    #[cfg(feature = "delayed-log")]
    if let Some(window) = delayed::window(retention) {
        return window;
    }
    Memory::new(retention.clone())
}

impl EventLog {
    /// Creates the log of a bus. History must be restored before. `on_disk` is true if there is a [`Store`].
    #[cfg_attr(not(feature = "delayed-log"), expect(unused_variables, reason = "for a log elsewhere"))]
    pub(crate) fn new(bus: &SharedBus, retention: &Retention, on_disk: bool) -> EventLog {
        EventLog {
            #[cfg(feature = "delayed-log")]
            elsewhere: delayed::Delayed::chosen(bus, retention).map(|log| node::Node::start(bus, log, !on_disk)),
            bus: bus.clone(),
        }
    }

    /// Returns true if the log is not that of this daemon.
    #[cfg_attr(not(feature = "delayed-log"), expect(clippy::unused_self, reason = "there is no such log"))]
    pub(crate) fn is_elsewhere(&self) -> bool {
        #[cfg(feature = "delayed-log")]
        return self.elsewhere.is_some();
        #[cfg(not(feature = "delayed-log"))]
        false
    }

    /// Changes the limits, and the bounds of history.
    pub(crate) fn configure(&self, limits: &Limits, retention: &Retention) {
        #[cfg(feature = "delayed-log")]
        if let Some(node) = &self.elsewhere {
            node.configure(limits, retention);
        }
        self.bus.with(|bus, now| bus.configure(limits.clone(), retention.clone(), now));
    }

    /// Appends a batch of publications. `from` is the publishing client, or None if the caller is no connected client. Returns
    /// the outcomes in the same order, once all events were applied.
    #[cfg_attr(not(feature = "delayed-log"), expect(clippy::unused_async, reason = "the in-memory log never waits"))]
    pub(crate) async fn append<T>(
        &self,
        batch: impl Iterator<Item = Item<T>>,
        from: Option<ClientId>,
    ) -> Vec<Outcome<T>> {
        #[cfg(feature = "delayed-log")]
        if let Some(node) = &self.elsewhere {
            return node.append(batch, from).await;
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
        if let Some(node) = &self.elsewhere {
            return node.close(stop);
        }
        stop.cancel();
    }
}
