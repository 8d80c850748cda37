//! History on disk: one thread writes down what has changed, in groups, and the next daemon begins with it.
//!
//! A group is on disk once it is appended to the [tail]; many of them together go into the [database].
//!
//! Publishing never waits for the disk, and nothing is queued for it: the thread takes a batch of what the bus has, and
//! whatever is published while it writes is in the next. Only who asked for `durable` waits, until the batch with its
//! event is on disk or could not be written. While the disk fails everything else goes on, and the thread tries again.

mod block;
mod database;
mod encoding;
#[cfg(test)]
mod fault_injection;
mod files;
mod pending;
mod reader;
mod recovery;
mod region;
mod rewrite;
mod rows;
mod start;
mod storage;
mod wal;

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use sse_bus::{
    Epoch, EventId,
    bus::{Bus, Now},
    limits::DISK_END,
    protocol::{ErrorCode, Refused},
};
use tokio::{runtime::Handle, sync::watch, time::timeout};
use tracing::{info, warn};

use self::{
    files::{File, Next},
    reader::Reader,
    recovery::Left,
};
use crate::{
    clock::{Machine, PROBATION, Relation},
    shared::SharedBus,
};

/// Bytes of events in one batch.
const BATCH: usize = 4 << 20;
/// How long changes that nobody waits for are gathered before they are written.
const GATHER: Duration = Duration::from_millis(20);
/// How long nothing comes before all that was written goes into the database.
const REST: Duration = Duration::from_secs(1);
/// Between two attempts while the disk fails, at least. An attempt may read the whole database.
const AGAIN: Duration = Duration::from_secs(1);
/// So many times as long as the last attempt took, and no longer than [`AGAIN_MOST`].
const AGAIN_TIMES: u32 = 10;
const AGAIN_MOST: Duration = Duration::from_secs(30);
/// Bytes that the file of the database may have, for each byte of the budget.
const FILE_TIMES: u64 = 3;
/// Bytes that it may have in any case.
const FILE_LEAST: u64 = 32 << 20;
/// Bytes that it may have beyond that for each topic.
const FILE_TOPIC: u64 = 2 << 10;
/// The database, in the state directory.
const NAME: &str = "history.redb";

/// How far the disk is.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Everything up to here is on disk.
    written: u64,
    /// Why the last attempt has failed, if it has.
    trouble: Option<Arc<str>>,
    /// Attempts that have failed.
    failures: u64,
}

/// The file with what an earlier daemon left in it, not yet at work.
pub(crate) struct Opened {
    file: File,
    left: Option<Left>,
    clocks: Relation,
}

impl Opened {
    /// Opens the file of a state directory. `epoch` is for a new one.
    ///
    /// # Errors
    ///
    /// Says what stands in the way, and what to do.
    pub(crate) fn open(state: &Path, epoch: Epoch) -> Result<Opened, String> {
        let (file, left) = File::open(&state.join(NAME), epoch)?;
        Ok(Opened { file, left, clocks: Relation::default() })
    }

    /// The epoch to go on with, if there was one.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.left.as_ref().map(|left| left.epoch)
    }

    /// The clock that the bus goes on with.
    pub(crate) fn go_on(&mut self, machine: &Machine) -> u64 {
        let Some(left) = &self.left else { return machine.unix().max(1) };
        let (clock, clocks) = left.clocks.clone().go_on(left.clock, machine);
        self.clocks = clocks;
        clock
    }

    /// Gives the bus what was left.
    pub(crate) fn restore(&mut self, bus: &mut Bus, now: Now) {
        let Some(left) = self.left.take() else { return };
        let began = Instant::now();
        let keys = bus.restore_topics(left.topics);
        let mut entries = left.entries;
        for entry in &mut entries {
            entry.topic = keys[entry.topic];
        }
        let found = entries.len();
        let gone = bus.restore_events(entries);
        let events = found - gone.len();
        for seq in gone {
            self.file.drop_event(seq);
        }
        bus.doubt(self.clocks.doubt());
        bus.restored(left.forgotten, left.head, now);
        info!(events, torn = left.is_torn, took = ?began.elapsed(), "history is back");
    }

    /// Begins to write down what changes.
    pub(crate) fn start(self, bus: &SharedBus) -> io::Result<Store> {
        let (progress, watched) = watch::channel(Progress {
            written: self.file.settled(),
            trouble: self.file.full().map(Arc::from),
            failures: 0,
        });
        let shared = Arc::new(Shared { clocks: Mutex::new(self.clocks), ..Shared::default() });
        let (file, at_work) = (self.file, shared.clone());
        let reader = Reader {
            bus: bus.clone(),
            shelf: file.shelf(),
            epoch: bus.with(|bus, _| bus.position().epoch),
            shared: shared.clone(),
        };
        // From 0.1 ms to 26 s.
        let commits = Histogram::new(exponential_buckets(1e-4, 4.0, 10));
        let runtime = Handle::current();
        let writer = Writer { file, bus: bus.clone(), shared: at_work, progress, commits: commits.clone(), runtime };
        let (of_writer, running) = watch::channel(());
        let of_reader = of_writer.clone();
        // The last thing that a thread does is to drop its sender.
        let writer = move || {
            writer.run();
            drop(of_writer);
        };
        let reader = move || {
            reader.run();
            drop(of_reader);
        };
        let writer = thread::Builder::new().name("history".into()).spawn(writer)?.thread().clone();
        let reader = thread::Builder::new().name("history-reader".into()).spawn(reader)?.thread().clone();
        let (write, read, told) = (writer.clone(), reader.clone(), shared.clone());
        bus.set_disk(move |what| {
            // One that gathers or writes comes to it by itself.
            if what.changes && told.is_idle.swap(false, Ordering::AcqRel) {
                write.unpark();
            }
            if what.wishes {
                read.unpark();
            }
        });
        Ok(Store {
            shared,
            progress: watched,
            commits,
            bus: bus.clone(),
            writer: writer.clone(),
            threads: [writer, reader],
            running,
        })
    }
}

/// What the threads are told.
#[derive(Debug, Default)]
struct Shared {
    /// The writer sleeps, and has to be woken when there is something to write.
    is_idle: AtomicBool,
    /// Somebody waits until everything up to here is on disk.
    wanted: AtomicU64,
    /// The daemon ends.
    ends: AtomicBool,
    /// How the bus's clock stood to those of the machine when it was last looked at.
    clocks: Mutex<Relation>,
}

impl Shared {
    /// How the bus's clock stands to those of the machine now.
    fn clocks(&self, clock: u64) -> Relation {
        self.clocks.lock().clone().at(clock, &Machine::now())
    }
}

/// History on disk, at work.
pub(crate) struct Store {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    commits: Histogram,
    bus: SharedBus,
    writer: Thread,
    threads: [Thread; 2],
    /// Closed when both threads have ended.
    running: watch::Receiver<()>,
}

impl Store {
    /// Waits until everything up to an event is on disk.
    ///
    /// # Errors
    ///
    /// It could not be written. It may be later: the daemon goes on trying.
    pub(crate) async fn written(&self, seq: u64) -> Result<(), Refused> {
        let mut progress = self.progress.clone();
        let before = progress.borrow().failures;
        self.shared.wanted.fetch_max(seq, Ordering::AcqRel);
        self.writer.unpark();
        let done = progress.wait_for(|progress| progress.written >= seq || progress.failures > before).await;
        match done {
            Ok(progress) if progress.written >= seq => Ok(()),
            Ok(progress) => {
                let why = progress.trouble.as_deref().unwrap_or("it has ended").to_owned();
                Err(Refused::new(ErrorCode::NotDurable, format!("the event was delivered but is not on disk: {why}")))
            }
            Err(_) => Err(Refused::new(ErrorCode::Stopping, "the event was delivered, but the daemon stops")),
        }
    }

    /// Why the disk does not take what it should, if it does not.
    pub(crate) fn trouble(&self) -> Option<Arc<str>> {
        self.progress.borrow().trouble.clone()
    }

    /// How many batches were written, and how long each took.
    pub(crate) fn commits(&self) -> &Histogram {
        &self.commits
    }

    /// Believes the wall clock once it has not jumped for a while: what has become too old while the machine was off is
    /// deleted from then on.
    pub(crate) async fn believe_clock(&self, bus: &SharedBus) {
        let clocks = || self.shared.clocks(bus.with(|_, now| now.mono));
        loop {
            let before = clocks();
            if before.doubt().steps.is_empty() {
                return;
            }
            tokio::time::sleep(PROBATION).await;
            let now = clocks();
            if before.is_plausible(&now) {
                let believed = now.believe();
                bus.with(|bus, _| bus.doubt(believed.doubt()));
                bus.wake();
                *self.shared.clocks.lock() = believed;
                return;
            }
        }
    }

    /// Writes what is left, and ends; a disk that does not answer by then is not waited for. Returns true if everything is
    /// written.
    pub(crate) async fn end(&self) -> bool {
        let published = self.bus.with(|bus, _| bus.position());
        self.shared.ends.store(true, Ordering::Release);
        self.threads.iter().for_each(Thread::unpark);
        let mut running = self.running.clone();
        let is_over = timeout(DISK_END, running.wait_for(|()| false)).await.is_ok();
        let written = EventId { seq: self.progress.borrow().written, ..published };
        if written.seq < published.seq {
            let why = if is_over { "the disk fails" } else { "the disk does not answer" };
            warn!(%written, %published, "{why}; history on disk ends with the event that was written last");
        } else if !is_over {
            warn!("the disk does not answer; all events are in history on disk");
        }
        is_over && written.seq >= published.seq
    }
}

/// The thread that writes.
struct Writer {
    file: File,
    bus: SharedBus,
    shared: Arc<Shared>,
    progress: watch::Sender<Progress>,
    commits: Histogram,
    runtime: Handle,
}

impl Writer {
    fn run(mut self) {
        loop {
            let next = self.wait();
            if !self.write_all(next) || next == Next::End {
                return;
            }
        }
    }

    /// Waits until there is something to write, and a moment for more unless somebody waits for it. Says what comes after
    /// it.
    fn wait(&self) -> Next {
        let written = self.progress.borrow().written;
        let ends = || self.shared.ends.load(Ordering::Acquire);
        let is_pressed = || self.shared.wanted.load(Ordering::Acquire) > written || ends();
        let began = Instant::now();
        loop {
            // Before the look, so that what comes after it wakes this thread.
            self.shared.is_idle.store(true, Ordering::Release);
            if is_pressed() || self.bus.with(|bus, _| bus.has_changed()) {
                break;
            }
            match REST.checked_sub(began.elapsed()) {
                _ if self.file.is_settled() => thread::park(),
                Some(left) => thread::park_timeout(left),
                None => return Next::Rest,
            }
        }
        self.shared.is_idle.store(false, Ordering::Release);
        let began = Instant::now();
        while !is_pressed()
            && let Some(left) = GATHER.checked_sub(began.elapsed())
        {
            thread::park_timeout(left);
        }
        if ends() { Next::End } else { Next::More }
    }

    /// Writes all that has changed. Says whether it was all written.
    fn write_all(&mut self, next: Next) -> bool {
        loop {
            let (batch, status, now) = self.bus.with(|bus, now| (bus.take_batch(BATCH), bus.status(), now));
            let Some(batch) = batch else { return true };
            let (head, more) = (batch.head, batch.more);
            let (mut began, mut is_last) = (Instant::now(), false);
            let room = FILE_LEAST.max(FILE_TIMES * status.history_budget) + FILE_TOPIC * status.topics;
            self.file.note_room(room);
            self.file.note_clocks(self.shared.clocks(now.mono));
            self.file.add(batch, now.mono, next);
            if more {
                continue;
            }
            while let Err(error) = self.file.write() {
                if self.progress.borrow().trouble.is_none() {
                    warn!(%error, "history cannot be written to disk; the daemon goes on and tries again");
                }
                self.progress.send_modify(|progress| {
                    progress.trouble = Some(error.into());
                    progress.failures += 1;
                });
                // What is published meanwhile wakes this thread, but does not mend the disk.
                let pause = (began.elapsed() * AGAIN_TIMES).clamp(AGAIN, AGAIN_MOST);
                let failed = Instant::now();
                while let Some(left) = pause.checked_sub(failed.elapsed()) {
                    if self.shared.ends.load(Ordering::Acquire) {
                        // There is no later: once more at once.
                        if std::mem::replace(&mut is_last, true) {
                            return false;
                        }
                        break;
                    }
                    thread::park_timeout(left);
                }
                began = Instant::now();
            }
            self.commits.observe(began.elapsed().as_secs_f64());
            if self.progress.borrow().trouble.is_some() {
                info!("history is written to disk again");
            }
            self.progress.send_if_modified(|progress| {
                (progress.written, progress.trouble) = (head, None);
                false
            });
            // Whoever waits is woken from a thread of theirs; from here each would take a call of the system.
            let progress = self.progress.clone();
            self.runtime.spawn(async move { progress.send_modify(|_| ()) });
            // Whoever reads from disk finds in the database only.
            if self.file.settled() == head {
                drop(self.bus.with(|bus, _| bus.written(head)));
            }
            return true;
        }
    }
}
