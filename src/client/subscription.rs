//! A subscription: events in order, gaps told, and reconnecting when asked.
//!
//! After a broken connection it goes on from the last event that was given out, so that nothing is missed or doubled;
//! what history does not have any more comes as a gap. Nothing is buffered beyond what one read brings.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::{Client, Error};
use crate::{
    endpoint::Endpoint,
    event::EventId,
    protocol::{EventMessage, GAP, Gap, Reply, Subscribe, Subscribed},
};

/// How long to wait between attempts to reconnect: from `first`, doubling up to `max`, each wait shortened by up to a
/// half at random, so that the clients of a restarted daemon do not all come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { first: Duration::from_millis(100), max: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// How long to wait before an attempt, where the first has the number 0.
    pub fn wait(&self, attempt: u32) -> Duration {
        let whole = self.first.saturating_mul(1 << attempt.min(20)).min(self.max);
        // Each RandomState has keys of its own: random enough for jitter.
        let random = RandomState::new().build_hasher().finish() % 1024;
        whole.mul_f64(1.0 - random as f64 / 2048.0)
    }
}

/// What a subscription gives out.
#[derive(Debug)]
#[non_exhaustive]
pub enum Delivery {
    /// An event.
    Event(EventMessage),
    /// Events that were missed and cannot be had any more.
    Gap {
        /// Which, and why.
        gap: Gap,
        /// The last of them. A subscription since this id goes on behind the gap.
        id: EventId,
        /// When the daemon said so, in milliseconds since 1970 (UTC).
        time: u64,
    },
    /// The connection broke, or an attempt to restore it failed; the next attempt comes after `wait`.
    Reconnecting {
        /// What happened.
        error: Error,
        /// The number of the coming attempt, from 1.
        attempt: u32,
        /// How long until then.
        wait: Duration,
    },
    /// The connection is back.
    Resumed {
        /// From where it goes on: the id of the last event that was given out or, before the first, what was asked for.
        since: String,
        /// The id that the daemon knows this connection by.
        client: String,
    },
}

#[derive(Debug)]
enum State {
    Live(Client),
    Down { until: Instant },
    Ended,
}

/// A connection that receives events.
///
/// ```no_run
/// use sse_bus::{Client, Endpoint, client::Delivery, protocol::Subscribe};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::connect(&Endpoint::find()?).await?;
/// let mut subscription = client.subscribe(Subscribe::new(["build/**"])).await?.reconnecting(Default::default());
/// while let Some(delivery) = subscription.next().await {
///     match delivery? {
///         Delivery::Event(event) => println!("{}: {}", event.topic, event.data),
///         Delivery::Gap { gap, .. } => eprintln!("missed some: {gap:?}"),
///         notice => eprintln!("{notice:?}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Subscription {
    endpoint: Endpoint,
    /// What to ask for when reconnecting: `since` follows what was given out.
    request: Subscribe,
    subscribed: Subscribed,
    state: State,
    backoff: Option<Backoff>,
    /// Attempts since something was last received, or a connection lasted.
    attempt: u32,
    /// When the (last) connection was made.
    connected: Instant,
    /// The bus's position when the subscription began, if it begins with a snapshot (retained or latest events),
    /// whose ids are older than the place to go on from.
    snapshot: Option<EventId>,
}

impl Subscription {
    pub(super) fn new(client: Client, mut request: Subscribe, subscribed: Subscribed) -> Subscription {
        let endpoint = client.endpoint.clone();
        let live = matches!(request.since.as_deref(), None | Some("now" | "latest")) && !request.past_only;
        if live {
            request.since = Some(subscribed.position.to_string());
        }
        let snapshot = live.then_some(subscribed.position);
        let state = State::Live(client);
        Subscription {
            endpoint,
            request,
            subscribed,
            state,
            backoff: None,
            attempt: 0,
            connected: Instant::now(),
            snapshot,
        }
    }

    /// Makes the subscription reconnect when its connection breaks.
    #[must_use]
    pub fn reconnecting(mut self, backoff: Backoff) -> Subscription {
        self.backoff = Some(backoff);
        self
    }

    /// The id that the daemon knows this connection by. A new one after each [`Delivery::Resumed`].
    pub fn client(&self) -> &str {
        &self.subscribed.client
    }

    /// The last event of the bus when the (last) connection was made.
    pub fn position(&self) -> EventId {
        self.subscribed.position
    }

    /// The next delivery. `None` once the past is told (with [`Subscribe::past_only`]), and after an error.
    /// Cancel-safe: nothing is lost when the call is dropped.
    pub async fn next(&mut self) -> Option<Result<Delivery, Error>> {
        let outcome = match &mut self.state {
            State::Ended => return None,
            State::Live(client) => client.reader.reply().await,
            State::Down { until } => {
                sleep_until(*until).await;
                return Some(self.resume().await);
            }
        };
        match outcome {
            Ok(Reply::Event(message)) => {
                self.attempt = 0;
                if let Some(id) = message.id {
                    self.advance(id);
                }
                Some(Ok(delivery(message)))
            }
            Ok(Reply::End { position }) => {
                self.subscribed.position = position;
                self.state = State::Ended;
                None
            }
            Ok(Reply::Error(refused)) => Some(self.lost(Error::refused(refused))),
            Ok(other) => Some(self.lost(Error::unexpected(&other))),
            Err(e) => Some(self.lost(e)),
        }
    }

    /// Moves the place to go on from behind a delivered event.
    fn advance(&mut self, id: EventId) {
        match self.snapshot {
            Some(start) if start.epoch == id.epoch && id.seq <= start.seq => {}
            _ => {
                self.snapshot = None;
                self.request.since = Some(id.to_string());
            }
        }
    }

    /// The connection is of no use any more: wait for the next attempt, or end.
    fn lost(&mut self, error: Error) -> Result<Delivery, Error> {
        match self.backoff {
            Some(backoff) if error.is_transient() => {
                if matches!(self.state, State::Live(_)) && self.connected.elapsed() > backoff.max {
                    self.attempt = 0;
                }
                let wait = backoff.wait(self.attempt);
                self.attempt += 1;
                self.state = State::Down { until: Instant::now() + wait };
                Ok(Delivery::Reconnecting { error, attempt: self.attempt, wait })
            }
            _ => {
                self.state = State::Ended;
                Err(error)
            }
        }
    }

    async fn resume(&mut self) -> Result<Delivery, Error> {
        let request = self.request.clone();
        let attempt = async { Client::connect(&self.endpoint).await?.subscribe(request).await };
        match attempt.await {
            Ok(Subscription { state, subscribed, .. }) => {
                self.state = state;
                self.subscribed = subscribed;
                self.connected = Instant::now();
                let since = self.request.since.clone().unwrap_or_default();
                Ok(Delivery::Resumed { since, client: self.subscribed.client.clone() })
            }
            Err(e) => self.lost(e),
        }
    }
}

fn delivery(message: EventMessage) -> Delivery {
    if message.topic == GAP
        && let Some(id) = message.id
    {
        // Only the bus publishes to `$gap`; a gap that this version cannot read is shown as it came.
        if let Ok(gap) = serde_json::from_str(&message.data) {
            return Delivery::Gap { gap, id, time: message.time };
        }
    }
    Delivery::Event(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_stay_within_half_of_it() {
        let backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(10) };
        for attempt in 0..100 {
            let whole = Duration::from_millis(100 << attempt.min(20)).min(backoff.max);
            let wait = backoff.wait(attempt);
            assert!(wait <= whole && wait >= whole / 2, "attempt {attempt}: {wait:?}");
        }
    }
}
