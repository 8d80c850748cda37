//! A log elsewhere, for tests: a task of its own assigns the numbers after a delay, with gaps, and all events are returned by
//! its tail.
//!
//! It stands for an ordered log on other machines, and shows that nothing in the daemon and in the bus relies on numbers that
//! are known at once, or on a history that is in the bus: with history in memory, only the last [`WINDOW`] events are in the
//! bus, and everything older is read from here, with the delay. Every seventh read fails at first.
//!
//! `SSE_BUS_DELAYED_LOG` enables it and is the delay in milliseconds. While there is a file at the path
//! `SSE_BUS_DELAYED_LOG_OUTAGE`, the log cannot be reached.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use sse_bus::{
    EventId,
    bus::{
        Bus,
        fetch::{Fetched, Wanted},
        history::{Memory, SnapshotKind, Window},
    },
    limits::Limits,
    protocol::{ErrorCode, Refused},
    retention::Retention,
    time::unix_now,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep, sleep_until},
};
use tracing::info;

use super::external::{ExternalLog, Returned, Sent};
use crate::shared_bus::SharedBus;

/// The bounds of the window.
const WINDOW: Window = Window { events: 64, bytes: usize::MAX };
/// Bytes of the events of one read.
const READ_BYTES: usize = 256 << 10;
/// One in this number of reads fails.
const FAILING: u64 = 7;

/// Returns the delay if the environment enables the log.
fn delay() -> Option<Duration> {
    Some(Duration::from_millis(std::env::var("SSE_BUS_DELAYED_LOG").ok()?.parse().ok()?))
}

/// Returns the window for the bus, if the environment enables the log.
pub(super) fn window(retention: &Retention) -> Option<Memory> {
    delay().map(|_| Memory::window(retention.clone(), WINDOW, 0))
}

/// The log.
pub(super) struct Delayed {
    bus: SharedBus,
    delay: Duration,
    outage: Option<PathBuf>,
    position: EventId,
    sent: UnboundedSender<(Instant, Sent)>,
    returned: Mutex<Option<UnboundedReceiver<Returned>>>,
    reads: AtomicU64,
    whole: Whole,
}

/// All of history.
type Whole = Arc<Mutex<Bus>>;

impl Delayed {
    /// Returns the log if the environment enables it.
    pub(super) fn chosen(bus: &SharedBus, retention: &Retention) -> Option<Delayed> {
        let delay = delay()?;
        info!(?delay, "events are numbered by a log of tests");
        let (position, limits) = bus.with(|bus, _| (bus.position(), bus.limits().clone()));
        let history = Memory::window(retention.clone(), Window { events: usize::MAX, bytes: usize::MAX }, position.seq);
        let whole = Arc::new(Mutex::new(Bus::new(position.epoch, limits, Box::new(history))));
        let (sent, received) = unbounded_channel();
        let (tail, returned) = unbounded_channel();
        let log = Delayed {
            bus: bus.clone(),
            delay,
            outage: std::env::var_os("SSE_BUS_DELAYED_LOG_OUTAGE").map(PathBuf::from),
            position,
            sent,
            returned: Mutex::new(Some(returned)),
            reads: AtomicU64::new(0),
            whole,
        };
        tokio::spawn(number(log.numbering(), received, tail));
        Some(log)
    }

    fn numbering(&self) -> Numbering {
        Numbering {
            bus: self.bus.clone(),
            delay: self.delay,
            outage: self.outage.clone(),
            last: self.position,
            whole: self.whole.clone(),
        }
    }

    async fn fetch(&self, wanted: &Wanted) -> Result<Fetched, Refused> {
        sleep(self.delay).await;
        let fails = self.reads.fetch_add(1, Ordering::Relaxed) % FAILING == FAILING - 1;
        if fails || is_away(self.outage.as_ref()) {
            return Err(unavailable());
        }
        let now = self.bus.now();
        let mut whole = self.whole.lock();
        whole.tick(now);
        Ok(whole.serve(wanted, READ_BYTES, now))
    }
}

impl ExternalLog for Delayed {
    const RECOGNIZES_REPEATS: bool = false;

    fn window(&self, start: u64) -> Memory {
        Memory::window(self.whole.lock().retention().clone(), WINDOW, start)
    }

    fn recover(&self) -> EventId {
        self.position
    }

    fn append(&self, sent: Sent) {
        let _ = self.sent.send((Instant::now(), sent));
    }

    fn tail(&self) -> UnboundedReceiver<Returned> {
        self.returned.lock().take().unwrap_or_else(|| unbounded_channel().1)
    }

    async fn read(&self, wanted: &Wanted) -> Result<Fetched, Refused> {
        self.fetch(wanted).await
    }

    async fn latest(&self, wanted: &Wanted, kind: SnapshotKind) -> Result<Fetched, Refused> {
        debug_assert_eq!(wanted.snapshot, Some(kind));
        self.fetch(wanted).await
    }

    fn configure(&self, limits: &Limits, retention: &Retention) {
        let now = self.bus.now();
        let mut whole = self.whole.lock();
        whole.configure(limits.clone(), retention.clone(), now);
        while whole.is_behind() {
            whole.tick(now);
        }
    }
}

fn is_away(outage: Option<&PathBuf>) -> bool {
    outage.is_some_and(|path| path.exists())
}

fn unavailable() -> Refused {
    Refused::new(ErrorCode::Unavailable, "the log cannot be reached; try again later")
}

/// What numbering needs.
struct Numbering {
    bus: SharedBus,
    delay: Duration,
    outage: Option<PathBuf>,
    last: EventId,
    whole: Whole,
}

/// The log's task: numbers events in order, after a delay. Some numbers are left out.
async fn number(numbering: Numbering, mut sent: UnboundedReceiver<(Instant, Sent)>, tail: UnboundedSender<Returned>) {
    let Numbering { bus, delay, outage, mut last, whole } = numbering;
    while let Some((at, sent)) = sent.recv().await {
        sleep_until(at + delay).await;
        let returned = match sent {
            Sent::Append(mark, _) if is_away(outage.as_ref()) => Returned::Refused(mark, unavailable()),
            Sent::Append(mark, admitted) => {
                last.seq += if last.seq % 7 == 3 { 2 } else { 1 };
                let event = admitted.into_event(last, unix_now());
                whole.lock().apply(event.clone(), bus.now());
                Returned::Event(Some(mark), event)
            }
            Sent::Live(mark, publication, from) => Returned::Live(mark, publication, from),
            Sent::End(stop) => Returned::End(stop),
        };
        if tail.send(returned).is_err() {
            return;
        }
    }
}
