//! Reading ahead: while a subscriber receives a range of the log, the servers already send the next one.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sse_bus::protocol::Refused;
use tokio::task::JoinHandle;

use super::stored::Stored;

/// Ranges that are read ahead, for all subscribers together. Each is one answer of the servers.
const RANGES: usize = 8;
/// How long a range may wait for its subscriber.
pub(super) const KEPT: Duration = Duration::from_secs(5);

/// The ranges that are read ahead, by the number at which they begin.
#[derive(Default)]
pub(super) struct Ahead(Mutex<HashMap<u64, Range>>);

/// A range that is read. Dropping it cancels that.
pub(super) struct Range {
    pub(super) reading: JoinHandle<Result<Vec<Stored>, Refused>>,
    since: Instant,
}

impl Drop for Range {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Ahead {
    /// Forgets all ranges: the log was rewritten.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }

    /// Forgets the ranges that have waited too long.
    pub(super) fn expire(&self) {
        self.0.lock().retain(|_, range| range.since.elapsed() < KEPT);
    }

    pub(super) fn take(&self, seq: u64) -> Option<Range> {
        self.expire();
        self.0.lock().remove(&seq)
    }

    pub(super) fn add(&self, seq: u64, reading: JoinHandle<Result<Vec<Stored>, Refused>>) {
        let mut ranges = self.0.lock();
        if ranges.len() >= RANGES
            && let Some(oldest) = ranges.iter().min_by_key(|(_, range)| range.since).map(|(seq, _)| *seq)
        {
            ranges.remove(&oldest);
        }
        ranges.insert(seq, Range { reading, since: Instant::now() });
    }
}
