//! State that the [`Store`](super::Store) and its two threads share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use parking_lot::Mutex;
use sse_bus::Event;
use tokio::sync::oneshot;

use crate::clock::{Machine, Relation};

/// Minimum pause between two attempts while the disk fails. An attempt may read the whole database.
pub(super) const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How much of the log is on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// All events up to this sequence number are on disk.
    pub(super) written: u64,
    /// The last [flush](Shared::flush) that is done.
    pub(super) flushed: u64,
    /// Why the last attempt failed, if it failed.
    pub(super) error: Option<Arc<str>>,
    /// Number of failed attempts.
    pub(super) failures: u64,
}

/// A request for single events, by their sequence numbers, and where they go. Those that are not on disk are left out.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) seqs: Vec<u64>,
    pub(super) found: oneshot::Sender<Vec<Event>>,
}

/// Requests to the threads, and the state of the clocks.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The writer sleeps and must be woken when there is something to write.
    pub(super) is_idle: AtomicBool,
    /// A publisher waits until all events up to this sequence number are on disk.
    pub(super) wanted: AtomicU64,
    /// The number of the last request to write all changes, whatever they are.
    pub(super) flush: AtomicU64,
    /// Events that are read for others than subscribers and consumers.
    pub(super) lookups: Mutex<Vec<Lookup>>,
    /// The daemon is shutting down.
    pub(super) is_stopping: AtomicBool,
    /// The relation between the bus's clock and the machine's clocks when it was last stored.
    pub(super) clocks: Mutex<Relation>,
}

impl Shared {
    /// Returns the current relation between the bus's clock and the machine's clocks.
    pub(super) fn clocks(&self, clock: u64) -> Relation {
        self.clocks.lock().clone().at(clock, &Machine::now())
    }
}
