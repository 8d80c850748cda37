//! Writes the log to stderr from a thread of its own: a stopped terminal, or a pipe that is not read, blocks only that thread.
//!
//! At most [`QUEUE`] lines wait. Lines above that are dropped and counted, and the count is logged as soon as the queue is
//! empty again. At the end of the process [`Flush`] waits a moment for the queue to empty.

use std::{
    io::{self, Write},
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::Duration,
};

use tracing::warn;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that may wait. [`format`](super::format) bounds the values in each.
const QUEUE: usize = 1024;
/// How long the end of the process waits for the queue to empty.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Writes the lines that still wait when it is dropped. Gives up after [`LAST_LINES`].
pub(crate) struct Flush(Option<WorkerGuard>);

/// A writer that never blocks, and the guard for the end of the process.
pub(super) fn stderr() -> (NonBlocking, Flush) {
    let dropped = Arc::new(OnceLock::new());
    let lines = Lines { stderr: io::stderr(), dropped: dropped.clone(), failed: 0, is_writable: true, reported: 0 };
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE).thread_name("log");
    let (writer, worker) = builder.finish(lines);
    let _ = dropped.set(writer.error_counter());
    (writer, Flush(Some(worker)))
}

/// The thread's end of the queue.
struct Lines {
    stderr: io::Stderr,
    /// Lines that found the queue full.
    dropped: Arc<OnceLock<ErrorCounter>>,
    /// Lines that could not be written, for example to a full disk.
    failed: usize,
    /// The last line was written.
    is_writable: bool,
    /// The lost lines that the log has reported.
    reported: usize,
}

impl Lines {
    fn lost(&self) -> usize {
        self.failed.saturating_add(self.dropped.get().map_or(0, ErrorCounter::dropped_lines))
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.is_writable = self.stderr.write_all(line).is_ok();
        self.failed += usize::from(!self.is_writable);
        Ok(line.len())
    }

    /// Called whenever the queue is empty.
    fn flush(&mut self) -> io::Result<()> {
        let lost = self.lost();
        // A report on a full disk would be lost as well, and be the next to report.
        if lost > self.reported && self.is_writable {
            // It goes through the queue like every line. The sum since the start: a report may be lost itself.
            warn!(lost, "log lines were lost since the start: stderr did not accept them");
            self.reported = lost;
        }
        Ok(())
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let worker = self.0.take();
        let (done, wait) = mpsc::channel::<()>();
        // In a thread of its own: if the queue is full, the guard writes to stdout, which may be a stopped terminal.
        let flush = thread::Builder::new().spawn(move || {
            drop(worker);
            drop(done);
        });
        if flush.is_ok() {
            let _ = wait.recv_timeout(LAST_LINES);
        }
    }
}
