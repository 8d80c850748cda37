//! Work on consumers that is done in bounded steps: what is left of a consumer that was moved or deleted, the deliveries of a
//! worker that has left, and calling the workers of very many consumers for one event.
//!
//! The operation that causes it does the first step, and [`Bus::finish_some`](crate::bus::Bus::finish_some) the others. Between these steps other calls see
//! the operation as done, except that the deliveries of a worker that has left are still in flight, and that a consumer that was
//! moved delivers nothing.

use std::collections::{BTreeMap, VecDeque};

use super::{
    delivery::Departure,
    event_state::{Dead, Unfinished},
    ids::ConsumerKey,
};
use crate::bus::Now;

/// Work that is not done yet.
#[derive(Debug, Default)]
pub(super) struct Chores {
    pub(super) cleared: Vec<Cleared>,
    pub(super) departed: Vec<Departed>,
    pub(super) offers: VecDeque<Offers>,
    /// The number of events so far that were in `offers`.
    pub(super) offered: u64,
}

/// The states that the events of a consumer had before it was moved or deleted.
#[derive(Debug)]
pub(super) struct Cleared {
    pub(super) consumer: ConsumerKey,
    pub(super) unfinished: BTreeMap<u64, Unfinished>,
    pub(super) dead: BTreeMap<u64, Dead>,
    /// The new position. Unfinished events after it that history does not have are missing.
    pub(super) position: u64,
}

/// The deliveries of a worker that has left, by token.
#[derive(Debug)]
pub(super) struct Departed {
    pub(super) consumer: ConsumerKey,
    pub(super) in_flight: BTreeMap<u64, u64>,
    pub(super) departure: Departure,
    pub(super) now: Now,
}

/// The consumers of a new event whose workers were not called yet.
#[derive(Debug)]
pub(super) struct Offers {
    pub(super) seq: u64,
    pub(super) consumers: Vec<ConsumerKey>,
    pub(super) now: u64,
}

impl Chores {
    pub(super) fn is_empty(&self) -> bool {
        self.cleared.is_empty() && self.departed.is_empty() && self.offers.is_empty()
    }
}
