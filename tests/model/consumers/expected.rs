//! The naive queue: what is known of each event of one consumer.

use std::collections::BTreeMap;

use sse_bus::bus::consumers::ConsumerSettings;

/// An event that matches the consumer.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) key: Option<u8>,
    pub(super) expires: Option<u64>,
    pub(super) status: Status,
    /// Attempts that count; None if a crash has made them uncertain.
    pub(super) attempts: Option<u32>,
    pub(super) was_delivered: bool,
    /// The status has changed since it was written.
    pub(super) is_touched: bool,
}

impl Job {
    /// Returns an event that was not delivered yet.
    pub(super) fn new(key: Option<u8>, expires: Option<u64>, status: Status) -> Job {
        Job { key, expires, status, attempts: Some(0), was_delivered: false, is_touched: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It must be delivered until it is done or dead.
    Open,
    Done,
    Dead,
    /// A crash may have lost that it is done, or history may not have it any more: it may be delivered.
    Either,
}

/// A consumer, as the test expects it.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) settings: ConsumerSettings,
    pub(super) topics: &'static [usize],
    /// Events may be missing: it drops them when history is full, or stops holding them.
    pub(super) may_miss: bool,
    pub(super) jobs: BTreeMap<u64, Job>,
    /// The last event that was delivered for the first time, since the last change of position.
    pub(super) last_first: u64,
    /// A dead letter was retried: it may follow later events.
    pub(super) has_retried: bool,
}

impl Queue {
    pub(super) fn set(&mut self, seq: u64, status: Status) {
        if let Some(job) = self.jobs.get_mut(&seq) {
            (job.status, job.is_touched) = (status, true);
        }
    }

    /// Ends an attempt that has failed.
    pub(super) fn fail(&mut self, seq: u64) {
        let attempts = self.jobs.get(&seq).and_then(|job| job.attempts).unwrap_or_default();
        if attempts >= self.settings.max_attempts {
            self.set(seq, Status::Dead);
        }
    }

    /// All changes are on disk.
    pub(super) fn written(&mut self) {
        self.jobs.values_mut().for_each(|job| job.is_touched = false);
    }

    /// The bus restarts with what was written. Events after `head` are lost.
    pub(super) fn crash(&mut self, head: u64) {
        self.jobs.retain(|seq, _| *seq <= head);
        for job in self.jobs.values_mut() {
            if job.is_touched {
                job.status = Status::Either;
            }
            (job.attempts, job.was_delivered) = (None, true);
        }
    }

    /// Moves the position.
    pub(super) fn seek(&mut self, position: u64) {
        self.last_first = 0;
        for (seq, job) in &mut self.jobs {
            job.status = match job.status {
                Status::Open | Status::Dead if *seq > position => Status::Open,
                _ if *seq > position => Status::Either,
                Status::Open => Status::Done,
                other => other,
            };
            if *seq > position {
                (job.attempts, job.was_delivered) = (Some(0), false);
            }
        }
    }
}
