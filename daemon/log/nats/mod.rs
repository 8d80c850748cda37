//! The log on NATS JetStream, which several daemons share.
//!
//! The stream assigns the numbers, keeps the events, and replicates them. A node [publishes](publish) to it, and delivers an event
//! only when the stream [returns](ingest) it, so that there is one order. The newest events are in the window of the bus; older
//! ones are [read](read) from the stream. Retained events are in [memory](retained) too.
//!
//! Servers may lose the newest events: files are restored from a copy, or a machine dies before it has synced. Then they assign the
//! same numbers to other events, and nothing in the stream's identity shows it. So each event has a check, and a node compares the
//! last one that it has applied with the stream's before it continues after an interruption.

mod ingest;
mod message;
mod publish;
mod read;
mod retained;
mod streams;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream::stream::Stream;
use parking_lot::Mutex;
use sse_bus::{
    EventId,
    bus::{
        fetch::{Fetched, Wanted},
        history::{Memory, SnapshotKind, Window},
    },
    limits::Limits,
    protocol::{ErrorCode, Refused},
    retention::Retention,
};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        watch,
    },
    time::timeout,
};

pub(crate) use self::streams::StreamError;
use self::{ingest::Ingest, retained::RetainedEvents};
use super::external::{ExternalLog, Mark, Returned, Sent};
use crate::nats::Nats;

/// The bounds of the window of the bus.
const WINDOW: Window = Window { events: 200_000, bytes: 64 << 20 };
/// The newest events of the stream with which a node begins.
const BEGIN_WITH: u64 = 10_000;
/// How long a node waits for those before it serves clients.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);

/// The log of one node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct NatsLog(Arc<Shared>);

/// What the tasks of the log share.
struct Shared {
    nats: Nats,
    stream: Stream,
    retention: Retention,
    /// Where the window of the bus began.
    begin: EventId,
    /// The last number of the stream when the node started.
    end: u64,
    /// Distinguishes the marks of this node from those of others, and of its earlier runs.
    run: u64,
    sent: UnboundedSender<Sent>,
    received: Mutex<Option<UnboundedReceiver<Sent>>>,
    tail: UnboundedSender<Returned>,
    returned: Mutex<Option<UnboundedReceiver<Returned>>>,
    retained: RetainedEvents,
    /// Maximum bytes of retained events.
    retained_max: AtomicUsize,
    /// The last event that was returned, and the epoch of the log.
    position: watch::Sender<EventId>,
    status: Status,
    failed: publish::FailedPublishes,
}

/// What is known about the log, for people.
#[derive(Default)]
struct Status {
    /// The last number of the stream.
    last: AtomicU64,
    /// Messages that no node has published.
    skipped: AtomicU64,
    /// How often the log was rewritten.
    rewrites: AtomicU64,
    /// Why events cannot be ingested now.
    error: Mutex<Option<String>>,
    /// Why the last publish has failed; None once one succeeds.
    publish_error: Mutex<Option<String>>,
}

/// The health of a log on NATS.
#[derive(Clone, Debug)]
pub(crate) struct NatsHealth {
    /// Events of the stream that this node has not applied.
    pub(crate) lag: u64,
    /// Why events cannot be published or received now.
    pub(crate) error: Option<String>,
    /// Messages on the subjects of the bus that no node has published.
    pub(crate) skipped: u64,
}

impl NatsLog {
    /// Opens the streams, and decides where the window begins.
    ///
    /// # Errors
    ///
    /// The streams do not exist, are not as they must be, or cannot be used.
    pub(crate) async fn open(nats: &Nats, retention: &Retention, limits: &Limits) -> Result<NatsLog, StreamError> {
        let stream = streams::open(nats, retention).await?;
        let info = stream.cached_info();
        let (first, last) = (info.state.first_sequence, info.state.last_sequence);
        let begin = last.saturating_sub(BEGIN_WITH).max(first.saturating_sub(1)).min(last);
        let begin = EventId::new(streams::epoch(info), begin);
        let ((sent, received), (tail, returned)) = (unbounded_channel(), unbounded_channel());
        let shared = Shared {
            nats: nats.clone(),
            stream: stream.clone(),
            retention: retention.clone(),
            begin,
            end: last,
            run: fastrand::u64(..),
            sent,
            received: Mutex::new(Some(received)),
            tail,
            returned: Mutex::new(Some(returned)),
            retained: RetainedEvents::default(),
            retained_max: AtomicUsize::new(limits.retained_bytes),
            position: watch::Sender::new(begin),
            status: Status::default(),
            failed: publish::FailedPublishes::default(),
        };
        shared.status.last.store(last, Ordering::Relaxed);
        Ok(NatsLog(Arc::new(shared)))
    }

    /// Returns the history for the bus of this node.
    pub(crate) fn history(&self) -> Memory {
        self.window(self.0.begin.seq)
    }

    /// Returns the position at which the window begins.
    pub(crate) fn begin(&self) -> EventId {
        self.0.begin
    }

    /// Waits until the node has the newest events of the stream, at most for [`BEGIN_WITHIN`].
    pub(crate) async fn ready(&self) {
        let mut position = self.0.position.subscribe();
        let (begin, end) = (self.0.begin, self.0.end);
        let is_there = |at: &EventId| at.seq >= end || at.epoch != begin.epoch;
        // What is late arrives as if it were published now.
        let _ = timeout(BEGIN_WITHIN, position.wait_for(is_there)).await;
    }

    pub(crate) fn health(&self) -> NatsHealth {
        let Shared { nats, status, position, .. } = &*self.0;
        let error =
            if nats.is_connected() { None } else { nats.error().or(Some("the NATS servers cannot be reached".into())) };
        let error = error.or_else(|| status.error.lock().clone()).or_else(|| status.publish_error.lock().clone());
        NatsHealth {
            lag: status.last.load(Ordering::Relaxed).saturating_sub(position.borrow().seq),
            error,
            skipped: status.skipped.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    /// Returns the reason why the log cannot be used now.
    fn unavailable(why: &str) -> Refused {
        Refused::new(ErrorCode::Unavailable, format!("the log on NATS cannot be reached: {why}; try again later"))
    }
}

impl ExternalLog for NatsLog {
    const RECOGNIZES_REPEATS: bool = true;

    fn window(&self, start: u64) -> Memory {
        // The bounds of the log are those of the stream.
        let retention = Retention {
            events: usize::MAX,
            bytes: usize::MAX,
            budget: usize::MAX,
            age: self.0.retention.age,
            ..Retention::default()
        };
        Memory::window(retention, WINDOW, start)
    }

    fn recover(&self) -> EventId {
        self.0.begin
    }

    fn append(&self, sent: Sent) {
        let _ = self.0.sent.send(sent);
    }

    fn tail(&self) -> UnboundedReceiver<Returned> {
        if let Some(received) = self.0.received.lock().take() {
            tokio::spawn(publish::run(self.0.clone(), received));
            tokio::spawn(Ingest::run(self.0.clone()));
        }
        self.0.returned.lock().take().unwrap_or_else(|| unbounded_channel().1)
    }

    async fn read(&self, wanted: &Wanted) -> Result<Fetched, Refused> {
        self.0.read(wanted).await
    }

    async fn latest(&self, wanted: &Wanted, kind: SnapshotKind) -> Result<Fetched, Refused> {
        match kind {
            SnapshotKind::Retained => Ok(self.0.retained.read(wanted)),
            SnapshotKind::Newest => self.0.newest(wanted).await,
        }
    }

    fn configure(&self, limits: &Limits, _: &Retention) {
        self.0.retained_max.store(limits.retained_bytes, Ordering::Relaxed);
    }
}

/// A mark of this node.
fn own_mark(shared: &Shared, origin: message::Origin) -> Option<Mark> {
    (origin.run == shared.run).then_some(origin.mark)
}
