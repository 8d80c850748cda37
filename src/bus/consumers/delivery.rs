//! Deliveries, and how workers settle them.

use std::{fmt, str::FromStr, sync::Arc};

use crate::{
    event::{Event, EventId},
    protocol::{ErrorCode, Refused},
};

/// Identifies a worker. It is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub(super) u64);

/// Identifies a delivery. It is current until the delivery is settled or its deadline has passed, and is never used twice,
/// after a restart neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// Differs between runs of the bus.
    pub(super) run: u64,
    pub(super) number: u64,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.run, self.number)
    }
}

impl FromStr for Token {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Token, Refused> {
        let parse = || {
            let (run, number) = text.split_once('-')?;
            Some(Token { run: number_of(run)?, number: number_of(number)? })
        };
        parse().ok_or_else(|| {
            let shown: String = text.chars().take(60).collect();
            Refused::new(ErrorCode::StaleDelivery, format!("`{shown}` is not the token of a delivery"))
        })
    }
}

/// Returns the number that is written like this, in hexadecimal digits. Other spellings of it are no tokens.
fn number_of(text: &str) -> Option<u64> {
    let is_digit = |digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    let is_canonical = text.bytes().all(is_digit) && (text == "0" || !text.starts_with('0'));
    u64::from_str_radix(text, 16).ok().filter(|_| is_canonical)
}

/// One attempt to have an event processed.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The token, by which the worker settles it.
    pub token: Token,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// The time by which the worker must settle it, in milliseconds of the monotonic clock.
    pub deadline: u64,
    /// The event.
    pub event: Arc<Event>,
}

/// Events that a consumer did not receive and can no longer receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The number of events; a lower bound.
    pub events: u64,
    /// The first of them.
    pub from: EventId,
    /// The last of them.
    pub to: EventId,
}

/// The result of a [`Bus::take`](crate::bus::Bus::take).
#[derive(Debug)]
pub struct Taken {
    /// The deliveries, in the order of their events.
    pub deliveries: Vec<Delivery>,
    /// Events that are missing since the last report to a worker of this consumer.
    pub missed: Option<Missed>,
    /// What to do next.
    pub next: Next,
}

/// What a worker does after it has taken deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// There may be more: take again.
    Ready,
    /// The waker is woken when there may be more, or when the worker is removed.
    Waiting,
}

/// How a worker settles a delivery.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// The event is done.
    Ack,
    /// The attempt failed. The next one follows after this time in milliseconds, or after the back-off.
    Nak(Option<u64>),
    /// The worker needs more time: the deadline is `ack_wait` from now.
    Extend,
    /// The event cannot be processed, for this reason. It becomes a dead letter.
    Reject(String),
    /// The worker returns the event. The attempt does not count.
    Release,
}

/// How a worker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// In an orderly way: its deliveries are released.
    Released,
    /// Its connection is lost: its deliveries fail now, or are released if the bus is closed.
    Lost,
    /// Its deliveries continue until they are settled or their deadline passes.
    Detached,
}
