//! The interface of a log elsewhere, such as one on other machines.
//!
//! Such a log assigns the numbers of events and keeps all of history. A [`Node`](super::node) has the newest events in the
//! window of its bus, and reads everything older from the log. Every operation may take time, and may fail while the log
//! cannot be reached.

use sse_bus::{
    EventId,
    bus::{
        Admitted, ClientId, LogEvent, Publication,
        fetch::{Fetched, Wanted},
        history::{Memory, SnapshotKind},
    },
    limits::Limits,
    protocol::Refused,
    retention::Retention,
};
use tokio::sync::{mpsc::UnboundedReceiver, oneshot};
use tokio_util::sync::CancellationToken;

/// Identifies an event of this node, from the time it is sent to the log until the log returns it.
pub(super) type Mark = u64;

/// Something for the log. All of it keeps its order.
pub(super) enum Sent {
    /// An event to append.
    Append(Mark, Admitted),
    /// An event that is live only. It has no number and keeps its place in the order.
    Live(Mark, Publication, Option<ClientId>),
    /// The end: nothing is sent after it.
    End(CancellationToken),
}

/// Something from the log, in its order.
#[cfg_attr(not(feature = "nats"), allow(dead_code, reason = "the log for tests returns only some of them"))]
pub(super) enum Returned {
    /// An event, with its number. The mark is None if another node has published it.
    Event(Option<Mark>, LogEvent),
    /// The log has an event with this id, which it returned earlier or returns later. `duplicate` if that of another publish.
    Stored { mark: Mark, id: EventId, duplicate: bool },
    /// An event that the log did not accept.
    Refused(Mark, Refused),
    /// See [`Sent::Live`].
    Live(Mark, Publication, Option<ClientId>),
    /// Everything before is applied once this is answered.
    Reached(oneshot::Sender<()>),
    /// Everything that was sent before was returned.
    End(CancellationToken),
    /// The log has lost all events after this position, or all of another epoch. The window begins here.
    Rewritten(EventId),
}

/// A log elsewhere.
pub(super) trait ExternalLog: Send + Sync + 'static {
    /// The log recognizes repeated publishes by itself.
    const RECOGNIZES_REPEATS: bool;

    /// Checks a publication that is to be durable, and takes the wish if every acknowledged event of the log is.
    ///
    /// # Errors
    ///
    /// Acknowledged events of the log may be lost.
    fn check_durable(&self, _: &mut Publication) -> Result<(), Refused> {
        Ok(())
    }

    /// Returns the empty window for the bus, which begins at a position.
    fn window(&self, start: u64) -> Memory;

    /// Returns the position after which the tail begins: everything up to it is before the window.
    fn recover(&self) -> EventId;

    /// Sends an event to be appended. Its number, or the reason why it has none, arrives with the tail.
    fn append(&self, sent: Sent);

    /// Returns the tail: all events after the position of [`recover`](ExternalLog::recover), in order. Call it once.
    fn tail(&self) -> UnboundedReceiver<Returned>;

    /// Reads events in a range of numbers. The reply may end earlier than the range.
    fn read(&self, wanted: &Wanted) -> impl Future<Output = Result<Fetched, Refused>> + Send;

    /// Reads the retained or the newest event of each topic, if its number is in a range. The reply may end earlier.
    fn latest(&self, wanted: &Wanted, kind: SnapshotKind) -> impl Future<Output = Result<Fetched, Refused>> + Send;

    /// Changes the limits and the bounds of history.
    fn configure(&self, limits: &Limits, retention: &Retention);
}
