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
//! bus: it [wants](sse_bus::bus::fetch) what it does not have, and the store or the `reads.rs` of the log supply it. Logs
//! elsewhere are that on NATS, in `nats/`, and one for tests, in `delayed.rs`, in builds with the feature `delayed-log`.
//!
//! To add a backend for history, another log, implement `ExternalLog` in `external.rs`, as `delayed.rs` does, and give
//! [`Elsewhere`] a node of it.

mod batch;
#[cfg(feature = "delayed-log")]
mod delayed;
mod disk;
#[cfg(any(feature = "nats", feature = "delayed-log"))]
mod external;
#[cfg(feature = "nats")]
mod nats;
#[cfg(any(feature = "nats", feature = "delayed-log"))]
mod node;
#[cfg(any(feature = "nats", feature = "delayed-log"))]
mod reads;

#[cfg(feature = "nats")]
use sse_bus::EventId;
use sse_bus::{
    bus::{ClientId, Start, history::Memory},
    limits::Limits,
    protocol::{LogInfo, Refused},
    retention::Retention,
};
use tokio_util::sync::CancellationToken;

#[cfg(feature = "nats")]
pub(crate) use self::nats::{NatsLog, StreamError, parse_event, rfc3339};
pub(crate) use self::{
    batch::{Item, Outcome},
    disk::{OpenError, Opened, Store},
};
use crate::shared_bus::SharedBus;

/// The log that the daemon publishes to.
pub(crate) struct EventLog {
    bus: SharedBus,
    elsewhere: Option<Elsewhere>,
}

/// A node of a log that is not that of this daemon.
enum Elsewhere {
    #[cfg(not(any(feature = "nats", feature = "delayed-log")))]
    #[expect(dead_code, reason = "there is no log elsewhere")]
    Never(std::convert::Infallible),
    #[cfg(feature = "delayed-log")]
    Delayed(node::Node<delayed::Delayed>),
    #[cfg(feature = "nats")]
    Nats(node::Node<nats::NatsLog>),
}

/// Runs an expression with the node of whichever log there is.
macro_rules! with_node {
    ($elsewhere:expr, $node:ident => $result:expr) => {
        match $elsewhere {
            #[cfg(not(any(feature = "nats", feature = "delayed-log")))]
            Elsewhere::Never(never) => match *never {},
            #[cfg(feature = "delayed-log")]
            Elsewhere::Delayed($node) => $result,
            #[cfg(feature = "nats")]
            Elsewhere::Nats($node) => $result,
        }
    };
}

/// Returns the history for a bus without a disk: all of it, or the window of a log for tests.
pub(crate) fn history(retention: &Retention) -> Memory {
    #[cfg(feature = "delayed-log")]
    if let Some(window) = delayed::window(retention) {
        return window;
    }
    Memory::new(retention.clone())
}

#[cfg_attr(
    not(any(feature = "nats", feature = "delayed-log")),
    allow(unreachable_code, reason = "there is no log elsewhere")
)]
impl EventLog {
    /// Creates the log of a bus. History must be restored before. `on_disk` is true if there is a [`Store`].
    #[cfg_attr(not(feature = "delayed-log"), expect(unused_variables, reason = "for a log of tests"))]
    pub(crate) fn new(bus: &SharedBus, retention: &Retention, on_disk: bool) -> EventLog {
        #[cfg(feature = "delayed-log")]
        let elsewhere = delayed::Delayed::chosen(bus, retention)
            .map(|log| Elsewhere::Delayed(node::Node::start(bus, log, !on_disk)));
        #[cfg(not(feature = "delayed-log"))]
        let elsewhere = None;
        EventLog { bus: bus.clone(), elsewhere }
    }

    /// Creates the log of a bus that is at the beginning of the window of a log on NATS.
    #[cfg(feature = "nats")]
    pub(crate) fn on_nats(bus: &SharedBus, log: NatsLog) -> EventLog {
        EventLog { bus: bus.clone(), elsewhere: Some(Elsewhere::Nats(node::Node::start(bus, log, true))) }
    }

    /// Waits until this node has everything up to the id at which a subscription starts. Another node may have been ahead.
    ///
    /// # Errors
    ///
    /// The node does not receive it in time.
    #[cfg_attr(
        not(feature = "nats"),
        expect(clippy::unused_async, unused_variables, reason = "there is no other node")
    )]
    pub(crate) async fn reach(&self, start: &Start) -> Result<(), Refused> {
        #[cfg(feature = "nats")]
        if let Some(Elsewhere::Nats(node)) = &self.elsewhere
            && let Start::After(text) = start
            && let Ok(id) = text.parse::<EventId>()
            && let at = self.bus.with(|bus, _| bus.position())
            && (at.epoch == id.epoch && at.seq < id.seq && id.check.is_some())
        {
            return node.log().reach(id).await;
        }
        Ok(())
    }

    /// Returns the log, if it is on NATS.
    #[cfg(feature = "nats")]
    pub(crate) fn on_nats_servers(&self) -> Option<&NatsLog> {
        match self.elsewhere.as_ref()? {
            Elsewhere::Nats(node) => Some(node.log()),
            #[cfg(feature = "delayed-log")]
            Elsewhere::Delayed(_) => None,
        }
    }

    /// Returns true if the log is not that of this daemon.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.elsewhere.is_some()
    }

    /// Describes the log, if it is on NATS.
    pub(crate) fn describe(&self) -> Option<LogInfo> {
        match self.elsewhere.as_ref()? {
            #[cfg(feature = "nats")]
            Elsewhere::Nats(node) => Some(node.log().describe()),
            #[allow(unreachable_patterns, reason = "another log, in builds for tests")]
            _ => None,
        }
    }

    /// Does the same, and measures the round trip to the server.
    #[cfg_attr(not(feature = "nats"), expect(clippy::unused_async, reason = "there is no server"))]
    pub(crate) async fn describe_with_round_trip(&self) -> Option<LogInfo> {
        match self.elsewhere.as_ref()? {
            #[cfg(feature = "nats")]
            Elsewhere::Nats(node) => {
                let mut log = node.log().describe();
                let round_trip = node.log().round_trip().await;
                log.round_trip_us = round_trip.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
                Some(log)
            }
            #[allow(unreachable_patterns, reason = "another log, in builds for tests")]
            _ => None,
        }
    }

    /// Changes the limits, and the bounds of history.
    pub(crate) fn configure(&self, limits: &Limits, retention: &Retention) {
        if let Some(elsewhere) = &self.elsewhere {
            with_node!(elsewhere, node => node.configure(limits, retention));
        }
        // The bounds of a log on NATS are those of its stream.
        let is_on_nats = self.describe().is_some();
        let retention = if is_on_nats { self.bus.with(|bus, _| bus.retention().clone()) } else { retention.clone() };
        self.bus.with(|bus, now| bus.configure(limits.clone(), retention, now));
    }

    /// Appends a batch of publications. `from` is the publishing client, or None if the caller is no connected client. Returns
    /// the outcomes in the same order, once all events were applied.
    #[cfg_attr(
        not(any(feature = "nats", feature = "delayed-log")),
        expect(clippy::unused_async, reason = "the in-memory log never waits")
    )]
    pub(crate) async fn append<T>(
        &self,
        batch: impl Iterator<Item = Item<T>>,
        from: Option<ClientId>,
    ) -> Vec<Outcome<T>> {
        if let Some(elsewhere) = &self.elsewhere {
            return with_node!(elsewhere, node => node.append(batch, from).await);
        }
        self.bus.with_each(batch, |bus, now, (caller, item)| {
            (caller, item.and_then(|publication| bus.publish(publication, from, now)))
        })
    }

    /// Accepts no more events, and cancels `stop` once all accepted events are applied, so that streams that end because of it
    /// have received them.
    pub(crate) fn close(&self, stop: &CancellationToken) {
        self.bus.with(|bus, _| bus.close());
        if let Some(elsewhere) = &self.elsewhere {
            return with_node!(elsewhere, node => node.close(stop));
        }
        stop.cancel();
    }
}
