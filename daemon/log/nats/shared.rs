//! What the tasks of the log share.

use std::sync::atomic::{AtomicU64, AtomicUsize};

use async_nats::jetstream::stream::Stream;
use parking_lot::Mutex;
use sse_bus::{
    EventId,
    protocol::{ErrorCode, Refused},
    retention::Retention,
};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender},
        watch,
    },
    time::Instant,
};

use super::{ahead::Ahead, failed::FailedPublishes, message::Origin, retained::RetainedEvents};
use crate::{
    log::external::{Mark, Returned, Sent},
    nats::Nats,
};

/// What the tasks of the log share.
pub(super) struct Shared {
    pub(super) nats: Nats,
    pub(super) stream: Stream,
    pub(super) retention: Retention,
    /// Where the window of the bus began.
    pub(super) begin: EventId,
    /// The last number of the stream when the node started.
    pub(super) end: u64,
    /// Distinguishes the marks of this node from those of others, and of its earlier runs.
    pub(super) run: u64,
    pub(super) sent: UnboundedSender<Sent>,
    pub(super) received: Mutex<Option<UnboundedReceiver<Sent>>>,
    pub(super) tail: UnboundedSender<Returned>,
    pub(super) returned: Mutex<Option<UnboundedReceiver<Returned>>>,
    pub(super) retained: RetainedEvents,
    /// Maximum bytes of retained events.
    pub(super) retained_max: AtomicUsize,
    /// The last event that was returned, and the epoch of the log.
    pub(super) position: watch::Sender<EventId>,
    pub(super) status: Status,
    pub(super) failed: FailedPublishes,
    pub(super) ahead: Ahead,
    /// The end of the log as the servers have said last, and when; None if they have not answered.
    pub(super) known_end: tokio::sync::Mutex<Option<(Instant, Option<EventId>)>>,
}

/// What is known about the log, for people.
#[derive(Default)]
pub(super) struct Status {
    /// The last number of the stream.
    pub(super) last: AtomicU64,
    /// Messages that no node has published.
    pub(super) skipped: AtomicU64,
    /// How often the log was rewritten.
    pub(super) rewrites: AtomicU64,
    /// Why events cannot be ingested now.
    pub(super) error: Mutex<Option<String>>,
    /// Why the last publish has failed, and when; None once one succeeds.
    pub(super) publish_error: Mutex<Option<(String, Instant)>>,
}

impl Shared {
    /// Returns the reason why the log cannot be used now.
    pub(super) fn unavailable(why: &str) -> Refused {
        Refused::new(ErrorCode::Unavailable, format!("the log on NATS cannot be used: {why}; try again later"))
    }

    /// Returns the mark of an event that this node has published.
    pub(super) fn own_mark(&self, origin: Origin) -> Option<Mark> {
        (origin.run == self.run).then_some(origin.mark)
    }
}
