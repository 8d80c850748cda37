//! A worker.

use std::{collections::BTreeSet, sync::Arc, task::Waker};

use super::ids::ConsumerKey;

/// A client that takes deliveries of one consumer.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) consumer: ConsumerKey,
    /// Its name, for dead letters.
    pub(super) name: Arc<str>,
    /// Maximum number of its deliveries in flight.
    pub(super) slots: usize,
    /// The number of its deliveries so far.
    pub(super) delivered: u64,
    /// The events of its deliveries in flight.
    pub(super) in_flight: BTreeSet<u64>,
    /// It waits for deliveries.
    pub(super) waker: Option<Waker>,
}

impl Worker {
    pub(super) fn free(&self) -> usize {
        self.slots.saturating_sub(self.in_flight.len())
    }
}
