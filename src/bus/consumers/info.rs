//! Descriptions of consumers and dead letters.

use std::sync::Arc;

use super::{
    event_state::{Counts, DeadReason},
    name::ConsumerName,
    settings::ConsumerSettings,
};
use crate::event::{Event, EventId};

/// A consumer, described.
#[derive(Clone, Debug)]
pub struct ConsumerInfo {
    /// Its name.
    pub name: ConsumerName,
    /// Its settings.
    pub settings: ConsumerSettings,
    /// The last event that was examined for it.
    pub position: EventId,
    /// Events ahead of the position. Only a part of history is examined: if `is_pending_exact` is false there may be more.
    pub pending: u64,
    /// All of history was examined.
    pub is_pending_exact: bool,
    /// Deliveries in flight.
    pub in_flight: usize,
    /// Events that wait to be delivered again.
    pub waiting: usize,
    /// Dead letters.
    pub dead: usize,
    /// Workers.
    pub workers: usize,
    /// When the oldest event that is not done arrived, in milliseconds of the monotonic clock.
    pub oldest: Option<u64>,
    /// It delivers nothing.
    pub is_paused: bool,
    /// It holds its events. False after `inactive_after` without a worker.
    pub is_holding: bool,
    /// Totals.
    pub counts: Counts,
    /// When it was created, in milliseconds since 1970.
    pub created: u64,
}

/// A dead letter, described.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The id of the event.
    pub id: EventId,
    /// Why it is dead.
    pub reason: DeadReason,
    /// Attempts.
    pub attempts: u32,
    /// The worker of the last attempt.
    pub worker: Option<Arc<str>>,
    /// Since when it is dead, in milliseconds since 1970.
    pub since: u64,
    /// The event, if it is in memory.
    pub event: Option<Arc<Event>>,
}
