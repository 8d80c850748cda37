//! The thread that writes batches of changes to disk, and tries again while the disk fails.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use prometheus_client::metrics::histogram::Histogram;
use tokio::{runtime::Handle, sync::watch};
use tracing::{info, warn};

use super::{
    files::{Files, Next},
    shared::{Progress, RETRY_DELAY, Shared},
};
use crate::shared_bus::SharedBus;

/// Bytes of events in one batch.
const BATCH_BYTES: usize = 4 << 20;
/// How long changes are gathered before they are written, unless a publisher waits for one of them.
const COMMIT_WINDOW: Duration = Duration::from_millis(20);
/// After this time without changes the write-ahead file is moved into the database.
const IDLE_FLUSH: Duration = Duration::from_secs(1);
/// The pause after a failed attempt is this multiple of the attempt's duration, at least [`RETRY_DELAY`] and at most
/// [`MAX_RETRY_DELAY`].
const RETRY_FACTOR: u32 = 10;
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);
/// Size limit of the database file as a multiple of the history budget.
const FILE_BUDGET_FACTOR: u64 = 3;
/// The size limit is never below this.
const MIN_FILE_BYTES: u64 = 32 << 20;
/// Bytes added to the size limit for each topic.
const FILE_BYTES_PER_TOPIC: u64 = 2 << 10;

/// The thread that writes.
pub(super) struct Writer {
    pub(super) files: Files,
    pub(super) bus: SharedBus,
    pub(super) shared: Arc<Shared>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) commits: Histogram,
    pub(super) runtime: Handle,
}

impl Writer {
    pub(super) fn run(mut self) {
        loop {
            let next = self.wait();
            if !self.write_all(next) || next == Next::Shutdown {
                return;
            }
        }
    }

    /// Waits for changes, then up to [`COMMIT_WINDOW`] for more of them. A durable publish or a shutdown ends the wait. Returns
    /// what follows this batch.
    fn wait(&self) -> Next {
        let (written, flushed) = {
            let progress = self.progress.borrow();
            (progress.written, progress.flushed)
        };
        let ends = || self.shared.is_stopping.load(Ordering::Acquire);
        let is_wanted = || {
            let Shared { wanted, flush, .. } = &*self.shared;
            wanted.load(Ordering::Acquire) > written || flush.load(Ordering::Acquire) > flushed
        };
        let is_urgent = || is_wanted() || ends();
        let began = Instant::now();
        loop {
            // Set before the check: a change made after the check must wake this thread.
            self.shared.is_idle.store(true, Ordering::Release);
            if is_urgent() || self.bus.with(|bus, _| bus.has_changed()) {
                break;
            }
            match IDLE_FLUSH.checked_sub(began.elapsed()) {
                _ if self.files.is_checkpointed() => thread::park(),
                Some(left) => thread::park_timeout(left),
                None => return Next::Idle,
            }
        }
        self.shared.is_idle.store(false, Ordering::Release);
        let began = Instant::now();
        while !is_urgent()
            && let Some(left) = COMMIT_WINDOW.checked_sub(began.elapsed())
        {
            thread::park_timeout(left);
        }
        if ends() { Next::Shutdown } else { Next::More }
    }

    /// Writes all changes. Returns true if everything was written.
    fn write_all(&mut self, next: Next) -> bool {
        loop {
            let flush = self.shared.flush.load(Ordering::Acquire);
            let (consumers, batch, status, now) = self.bus.with(|bus, now| {
                let consumers = bus.take_consumer_changes();
                let batch = if consumers.more { None } else { bus.take_batch(BATCH_BYTES) };
                (consumers, batch, bus.status(), now)
            });
            let more = consumers.more;
            self.files.add_consumers(consumers);
            if more {
                continue;
            }
            let Some(batch) = batch else { return true };
            let (head, more) = (batch.head, batch.more);
            let (mut began, mut is_last) = (Instant::now(), false);
            let limit =
                MIN_FILE_BYTES.max(FILE_BUDGET_FACTOR * status.history_budget) + FILE_BYTES_PER_TOPIC * status.topics;
            self.files.set_size_limit(limit);
            self.files.set_clocks(self.shared.clocks(now.mono));
            self.files.add(batch, now.mono, next);
            if more {
                continue;
            }
            while let Err(error) = self.files.write() {
                if self.progress.borrow().error.is_none() {
                    warn!(%error, "history cannot be written to disk; the daemon continues and will retry");
                }
                self.progress.send_modify(|progress| {
                    progress.error = Some(error.to_string().into());
                    progress.failures += 1;
                });
                // New events wake this thread, but they do not repair the disk: wait for the whole pause.
                let pause = (began.elapsed() * RETRY_FACTOR).clamp(RETRY_DELAY, MAX_RETRY_DELAY);
                let failed = Instant::now();
                while let Some(left) = pause.checked_sub(failed.elapsed()) {
                    if self.shared.is_stopping.load(Ordering::Acquire) {
                        // The daemon is shutting down: try once more without a pause.
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
            if self.progress.borrow().error.is_some() {
                info!("history is written to disk again");
            }
            self.progress.send_if_modified(|progress| {
                (progress.written, progress.flushed, progress.error) = (head, flush, None);
                false
            });
            // Wake waiters from the runtime: waking them from this thread costs a system call each.
            let progress = self.progress.clone();
            self.runtime.spawn(async move { progress.send_modify(|_| ()) });
            // Events leave memory only once all are in the database: the reader does not read the write-ahead file.
            if self.files.checkpointed() == head {
                drop(self.bus.with(|bus, _| bus.written(head)));
            }
            return true;
        }
    }
}
