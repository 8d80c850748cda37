//! History on disk: one thread writes changes in batches, another reads old events, and the next daemon recovers them.
//!
//! A batch is on disk once it is appended to the [write-ahead file](wal). Many batches together are moved into the
//! [database].
//!
//! Publishing never waits for the disk, and no queue is kept for it: the writer takes a batch of changes from the bus, and
//! everything published during a write belongs to the next batch. Only publishers that ask for `durable` wait, until the
//! batch with their event is on disk or has failed. While the disk fails, everything else continues and the writer retries.

mod block;
mod consumers;
mod database;
mod encoding;
mod error;
#[cfg(test)]
mod fault_injection;
mod file_size;
mod files;
mod pending;
mod publishes;
mod reader;
mod recovery;
mod region;
mod rewrite;
mod rows;
mod shared;
mod start;
mod storage;
mod wal;
mod writer;

use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread::{self, Thread},
    time::Instant,
};

use parking_lot::Mutex;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use sse_bus::{
    Epoch, Event,
    bus::{Bus, Now},
    limits::DISK_END,
    protocol::{ErrorCode, Refused},
};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
    time::timeout,
};
use tracing::{error, info, warn};

pub(crate) use self::error::OpenError;
use self::{
    consumers::RecoveredConsumers,
    files::Files,
    publishes::RecoveredPublishes,
    reader::Reader,
    recovery::Recovered,
    shared::{Lookup, Progress, Shared},
    writer::Writer,
};
use crate::{
    clock::{Machine, PROBATION, Relation},
    shared_bus::SharedBus,
};

/// File name of the database in the state directory.
const DATABASE_NAME: &str = "history.redb";

/// The open files and the history recovered from them, before the threads start.
pub(crate) struct Opened {
    files: Files,
    recovered: Option<Recovered>,
    clocks: Relation,
}

impl Opened {
    /// Opens the files of a state directory. New files get `epoch`.
    pub(crate) fn open(state: &Path, epoch: Epoch) -> Result<Opened, OpenError> {
        let (files, recovered) = Files::open(&state.join(DATABASE_NAME), epoch)?;
        Ok(Opened { files, recovered, clocks: Relation::default() })
    }

    /// Returns the recovered epoch, which the bus continues with, or `None` if the files are new.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.recovered.as_ref().map(|recovered| recovered.epoch)
    }

    /// Returns the time from which the bus's clock continues.
    pub(crate) fn resume_clock(&mut self, machine: &Machine) -> u64 {
        let Some(recovered) = &self.recovered else { return machine.unix().max(1) };
        let (clock, clocks) = recovered.clocks.clone().go_on(recovered.clock, machine);
        self.clocks = clocks;
        clock
    }

    /// Restores the recovered history into the bus.
    pub(crate) fn restore(&mut self, bus: &mut Bus, now: Now) {
        let Some(recovered) = self.recovered.take() else { return };
        let began = Instant::now();
        let RecoveredConsumers { records, events } = recovered.consumers;
        let consumers = records.len();
        bus.restore_consumers(records, events);
        let RecoveredPublishes { publishers, ids, schedules } = recovered.publishes;
        bus.restore_dedup(publishers, ids);
        let unreadable = bus.restore_schedules(schedules);
        if !unreadable.is_empty() {
            error!(?unreadable, "schedules cannot be read, and their events are not published");
        }
        let keys = bus.restore_topics(recovered.topics);
        let mut entries = recovered.entries;
        for entry in &mut entries {
            entry.topic = keys[entry.topic];
        }
        let found = entries.len();
        let evicted = bus.restore_events(entries);
        let events = found - evicted.len();
        for seq in evicted {
            self.files.drop_event(seq);
        }
        bus.doubt(self.clocks.doubt());
        bus.restored(recovered.forgotten, recovered.head, now);
        if recovered.damaged > 0 {
            // At least one event in each block.
            bus.note_unreadable(recovered.damaged as u64, now);
        }
        info!(events, consumers, losses = recovered.has_losses, took = ?began.elapsed(), "history is restored");
    }

    /// Starts the threads that write and read.
    pub(crate) fn start(self, bus: &SharedBus) -> io::Result<Store> {
        let (progress, watched) = watch::channel(Progress {
            written: self.files.checkpointed(),
            flushed: 0,
            error: self.files.disk_full().map(|error| error.to_string().into()),
            failures: 0,
        });
        let shared = Arc::new(Shared { clocks: Mutex::new(self.clocks), ..Shared::default() });
        let reader = Reader {
            bus: bus.clone(),
            database: self.files.database(),
            epoch: bus.with(|bus, _| bus.position().epoch),
            shared: shared.clone(),
        };
        // From 0.1 ms to 26 s.
        let commits = Histogram::new(exponential_buckets(1e-4, 4.0, 10));
        let writer = Writer {
            files: self.files,
            bus: bus.clone(),
            shared: shared.clone(),
            progress,
            commits: commits.clone(),
            runtime: Handle::current(),
        };
        let (writer_running, running) = watch::channel(());
        let reader_running = writer_running.clone();
        // A thread drops its sender as its last action.
        let writer = move || {
            writer.run();
            drop(writer_running);
        };
        let reader = move || {
            reader.run();
            drop(reader_running);
        };
        let writer = thread::Builder::new().name("history".into()).spawn(writer)?.thread().clone();
        let reader = thread::Builder::new().name("history-reader".into()).spawn(reader)?.thread().clone();
        let (write, read, notified) = (writer.clone(), reader.clone(), shared.clone());
        bus.set_disk(move |what| {
            // A writer that is not idle notices the changes without a wake-up.
            if what.changes && notified.is_idle.swap(false, Ordering::AcqRel) {
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

/// History on disk with its threads running.
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
    /// Reads single events. Those that are not on disk are left out.
    pub(crate) async fn events(&self, seqs: Vec<u64>) -> Vec<Event> {
        let (found, events) = oneshot::channel();
        self.shared.lookups.lock().push(Lookup { seqs, found });
        self.threads.iter().for_each(Thread::unpark);
        // The reader has ended if the daemon stops.
        events.await.unwrap_or_default()
    }

    /// Waits until all events up to `seq` are on disk.
    ///
    /// # Errors
    ///
    /// The events could not be written. They may be written later, because the daemon retries.
    pub(crate) async fn written(&self, seq: u64) -> Result<(), Refused> {
        let mut progress = self.progress.clone();
        let before = progress.borrow().failures;
        self.shared.wanted.fetch_max(seq, Ordering::AcqRel);
        self.writer.unpark();
        let done = progress.wait_for(|progress| progress.written >= seq || progress.failures > before).await;
        match done {
            Ok(progress) if progress.written >= seq => Ok(()),
            Ok(progress) => {
                let why = progress.error.as_deref().unwrap_or("the writer has stopped").to_owned();
                Err(Refused::new(ErrorCode::NotDurable, format!("the event was delivered but is not on disk: {why}")))
            }
            Err(_) => Err(Refused::new(ErrorCode::Stopping, "the event was delivered, but the daemon is stopping")),
        }
    }

    /// Waits until all present changes are on disk, or the attempt to write them has failed. Then [`Store::error`] returns why,
    /// and the daemon retries.
    pub(crate) async fn flush(&self) {
        let mut progress = self.progress.clone();
        let failures = progress.borrow().failures;
        let flush = self.shared.flush.fetch_add(1, Ordering::AcqRel) + 1;
        self.writer.unpark();
        let _ = progress.wait_for(|progress| progress.flushed >= flush || progress.failures > failures).await;
    }

    /// Returns why the last attempt to write failed, or `None` if it succeeded.
    pub(crate) fn error(&self) -> Option<Arc<str>> {
        self.progress.borrow().error.clone()
    }

    /// Returns the number of batches written and the duration of each.
    pub(crate) fn commits(&self) -> &Histogram {
        &self.commits
    }

    /// Waits until the wall clock has not jumped for [`PROBATION`], then trusts it: from then on the bus deletes events
    /// that expired while the machine was off.
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

    /// Writes the remaining changes and stops the threads. Gives up after [`DISK_END`] if the disk does not respond.
    /// Returns true if everything is written.
    pub(crate) async fn end(&self) -> bool {
        let published = self.bus.with(|bus, _| bus.position());
        self.shared.is_stopping.store(true, Ordering::Release);
        self.threads.iter().for_each(Thread::unpark);
        let mut running = self.running.clone();
        let has_ended = timeout(DISK_END, running.wait_for(|()| false)).await.is_ok();
        let written = published.at(self.progress.borrow().written);
        if written.seq < published.seq {
            let why = if has_ended { "the disk fails" } else { "the disk does not respond" };
            warn!(%written, %published, "{why}; history on disk ends with the last event that was written");
        } else if !has_ended {
            warn!("the disk does not respond; all events are in history on disk");
        }
        has_ended && written.seq >= published.seq
    }
}
