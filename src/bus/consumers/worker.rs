//! A worker.

use std::{collections::BTreeMap, sync::Arc, task::Waker};

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
    /// The events of its deliveries in flight, by token.
    pub(super) in_flight: BTreeMap<u64, u64>,
    /// Its position among the workers that wait.
    pub(super) ticket: Option<u64>,
    /// It waits for deliveries.
    pub(super) waker: Option<Waker>,
}

impl Worker {
    pub(super) fn free(&self) -> usize {
        self.slots.saturating_sub(self.in_flight.len())
    }
}
