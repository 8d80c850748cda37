//! The log on NATS `JetStream`, which several daemons share.
//!
//! The stream assigns the numbers, keeps the events, and replicates them. A node [publishes](publish) to it, and delivers an event
//! only when the stream [returns](ingest) it, so that there is one order. The newest events are in the window of the bus; older
//! ones are [read](read) from the stream. Retained events are in [memory](retained) too.
//!
//! Servers may lose the newest events: files are restored from a copy, or a machine dies before it has synced. Then they assign the
//! same numbers to other events, and nothing in the stream's identity shows it. So each event has a check, and a node compares the
//! last one that it has applied with the stream's before it continues after an interruption.

mod ahead;
mod failed;
mod ingest;
mod message;
mod publish;
mod reach;
mod read;
mod retained;
mod schedules;
mod shared;
mod stored;
mod streams;
mod times;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use sse_bus::{
    EventId,
    bus::{
        Publication,
        fetch::{Fetched, Wanted},
        history::{Memory, SnapshotKind, Window},
    },
    limits::Limits,
    protocol::{ErrorCode, LogInfo, Refused},
    retention::Retention,
};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, unbounded_channel},
        watch,
    },
    time::{Instant, timeout},
};

use self::{
    ahead::Ahead,
    failed::FailedPublishes,
    ingest::Ingest,
    retained::RetainedEvents,
    shared::{Shared, Status},
};
pub(crate) use self::{message::parse_event, streams::StreamError, times::rfc3339};
use super::external::{ExternalLog, Returned, Sent};
use crate::{config::nats::without_password, nats::Nats};

/// The bounds of the window of the bus.
const WINDOW: Window = Window { events: 200_000, bytes: 64 << 20 };
/// The newest events of the stream with which a node begins.
const BEGIN_WITH: u64 = 10_000;
/// How long a node waits for those before it serves clients.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
/// Copies of the stream with which an acknowledged event survives the loss of a server.
const DURABLE_COPIES: usize = 3;
/// How long a failed publish makes the log unhealthy. After that the connection alone decides, until another publish fails.
const FAILING: Duration = Duration::from_secs(10);

/// The log of one node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct NatsLog(Arc<Shared>);

impl NatsLog {
    /// Opens the streams, and decides where the window begins.
    ///
    /// # Errors
    ///
    /// The streams do not exist, are not as they must be, or cannot be used.
    pub(crate) async fn open(nats: &Nats, retention: &Retention, limits: &Limits) -> Result<NatsLog, StreamError> {
        streams::wait_until_answered(nats).await;
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
            failed: FailedPublishes::default(),
            ahead: Ahead::default(),
            known_end: tokio::sync::Mutex::default(),
        };
        shared.status.last.store(last, Ordering::Relaxed);
        Ok(NatsLog(Arc::new(shared)))
    }

    /// Returns the history for the bus of this node.
    pub(crate) fn history(&self) -> Memory {
        self.window(self.0.begin.seq)
    }

    /// Returns the newest position of the log that this node has.
    pub(crate) fn position(&self) -> EventId {
        *self.0.position.borrow()
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

    /// Waits until the bus has everything up to an id, or the log is known to end before it.
    ///
    /// # Errors
    ///
    /// Neither is the case in time.
    pub(crate) async fn reach(&self, id: EventId) -> Result<(), Refused> {
        self.0.reach(id).await
    }

    /// Describes the log, without asking the servers.
    pub(crate) fn describe(&self) -> LogInfo {
        let Shared { nats, status, position, .. } = &*self.0;
        let unreachable = || nats.error().unwrap_or_else(|| "the NATS servers cannot be reached".into());
        let error = (!nats.is_connected()).then(unreachable);
        let recent = |(error, at): (String, Instant)| (at.elapsed() < FAILING).then_some(error);
        let error = error.or_else(|| status.error.lock().clone());
        let error = error.or_else(|| status.publish_error.lock().clone().and_then(recent));
        let (server, version) = nats.server();
        let mut log = LogInfo::default();
        log.servers = nats.config().servers.iter().map(|server| without_password(server)).collect();
        (log.server, log.server_version, log.error) = (server, version, error);
        (log.bus, log.stream, log.node) = (nats.config().bus.clone(), nats.names().log(), nats.node().into());
        log.last = status.last.load(Ordering::Relaxed);
        log.lag = log.last.saturating_sub(position.borrow().seq);
        log.skipped = status.skipped.load(Ordering::Relaxed);
        log.rewrites = status.rewrites.load(Ordering::Relaxed);
        log
    }

    /// Returns the time that a request to the servers takes.
    pub(crate) async fn round_trip(&self) -> Option<Duration> {
        let began = Instant::now();
        // Flushing the connection would not wait for the server.
        timeout(Duration::from_secs(1), self.0.nats.jetstream().query_account()).await.ok()?.ok()?;
        Some(began.elapsed())
    }
}

impl ExternalLog for NatsLog {
    const RECOGNIZES_REPEATS: bool = true;

    fn check_durable(&self, publication: &mut Publication) -> Result<(), Refused> {
        let copies = self.0.stream.cached_info().config.num_replicas;
        if !std::mem::take(&mut publication.durable) || self.0.nats.config().synced || copies >= DURABLE_COPIES {
            return Ok(());
        }
        let message = format!(
            "the stream has {copies} copy, and its server may not sync each message, so nothing is durable; use ack `accepted`, \
             three copies, or --nats-synced if the servers do (sync_interval: always)"
        );
        Err(Refused::new(ErrorCode::NotDurable, message))
    }

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
