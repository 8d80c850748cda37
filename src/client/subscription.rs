//! A subscription: events in order, gaps, and optionally automatic reconnects.
//!
//! After a broken connection the subscription resumes after the last returned event; events that history no longer has are
//! reported as a gap. If the connection breaks while retained or latest events are sent at the start, the rest of these is not
//! sent again. The subscription buffers no more than one read.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{
    address::Address,
    backoff::Backoff,
    error::Error,
    received::Received,
    transport::{Events, Transport},
};
use crate::{
    event::EventId,
    gap::{GAP, Gap},
    protocol::{EventMessage, Subscribe, Subscribed},
};

/// An event or a notice of a subscription.
#[derive(Debug)]
#[non_exhaustive]
pub enum Item {
    /// An event.
    Event(EventMessage),
    /// Events that were missed.
    Gap {
        /// The missed events and the reason.
        gap: Gap,
        /// The id to resume from: that of the last missed event, or the one before an event that history still has within
        /// the gap.
        id: EventId,
        /// When the daemon reported the gap, in milliseconds since 1970 (UTC).
        time: u64,
    },
    /// The connection broke, or an attempt to reconnect failed. The next attempt follows after `wait`.
    Reconnecting {
        /// The error.
        error: Error,
        /// The number of the next attempt. The first has the number 1; an event, or a connection that lasted longer than
        /// [`Backoff::max`], begins again at 1.
        attempt: u32,
        /// The time until the next attempt.
        wait: Duration,
    },
    /// The connection is restored.
    Resumed {
        /// The start of the new connection, as in [`Subscribe::since`]: the id of the last returned event. Before the first
        /// event it is the position of the bus when the subscription began, or, if past events were requested, the requested
        /// start.
        since: String,
        /// The client id of the new connection, such as `c12`.
        client: String,
    },
}

#[derive(Debug)]
enum State {
    Live(Events),
    Down { until: Instant },
    Ended,
}

/// A connection that receives events.
///
/// ```no_run
/// use sse_bus::{Client, Endpoint, client::Item, protocol::Subscribe};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::connect(&Endpoint::find()?).await?;
/// let mut subscription = client.subscribe(Subscribe::new(["build/**"])).await?.reconnecting(Default::default());
/// while let Some(item) = subscription.next().await {
///     match item? {
///         Item::Event(event) => println!("{}: {}", event.topic, event.data),
///         Item::Gap { gap, .. } => eprintln!("missed events: {gap:?}"),
///         notice => eprintln!("{notice:?}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Subscription {
    address: Address,
    /// The request for the next connection. Its `since` follows the returned events.
    request: Subscribe,
    subscribed: Subscribed,
    state: State,
    backoff: Option<Backoff>,
    /// Number of failed attempts since the last event, or since the last connection that lasted longer than the maximum wait.
    attempt: u32,
    /// When the current connection was established.
    connected: Instant,
    /// The position of the bus when the subscription began, while it returns a snapshot (retained or latest events).
    /// The ids of a snapshot are older than the position to resume from.
    snapshot: Option<EventId>,
}

impl Subscription {
    /// Subscribes on an established connection.
    pub(super) async fn start(transport: Transport, mut request: Subscribe) -> Result<Subscription, Error> {
        let address = transport.address();
        let (events, subscribed) = transport.subscribe(&request).await?;
        let live = matches!(request.since.as_deref(), None | Some("now" | "latest")) && !request.past_only;
        if live {
            request.since = Some(subscribed.position.to_string());
        }
        let snapshot = live.then_some(subscribed.position);
        Ok(Subscription {
            address,
            request,
            subscribed,
            state: State::Live(events),
            backoff: None,
            attempt: 0,
            connected: Instant::now(),
            snapshot,
        })
    }

    /// Makes the subscription reconnect if its connection breaks.
    #[must_use]
    pub fn reconnecting(mut self, backoff: Backoff) -> Subscription {
        self.backoff = Some(backoff);
        self
    }

    /// Returns the id of the current connection, as a client. It changes with each [`Item::Resumed`].
    pub fn client(&self) -> &str {
        &self.subscribed.client
    }

    /// Returns the newest id of the bus when the current connection was established.
    pub fn position(&self) -> EventId {
        self.subscribed.position
    }

    /// Returns the next event or notice. Returns `None` after an error and, with [`Subscribe::past_only`], after the
    /// past events. Cancel-safe: nothing is lost if the call is dropped.
    #[cfg_attr(not(feature = "remote"), expect(clippy::never_loop, reason = "only streams over HTTP send positions"))]
    pub async fn next(&mut self) -> Option<Result<Item, Error>> {
        loop {
            let received = match &mut self.state {
                State::Ended => return None,
                State::Live(events) => events.next().await,
                State::Down { until } => {
                    sleep_until(*until).await;
                    return Some(self.resume().await);
                }
            };
            match received {
                Ok(Received::Event(message)) => {
                    self.attempt = 0;
                    if let Some(id) = message.id {
                        self.advance(id);
                    }
                    return Some(Ok(item(message)));
                }
                #[cfg(feature = "remote")]
                Ok(Received::Position(id)) => self.advance(id),
                Ok(Received::End(position)) => {
                    self.subscribed.position = position;
                    self.state = State::Ended;
                    return None;
                }
                Err(e) => return Some(self.lost(e)),
            }
        }
    }

    /// Moves the position to resume from to that of a returned event.
    fn advance(&mut self, id: EventId) {
        match self.snapshot {
            Some(start) if start.epoch == id.epoch && id.seq <= start.seq => {}
            _ => {
                self.snapshot = None;
                self.request.since = Some(id.to_string());
            }
        }
    }

    /// Handles a broken connection: schedules the next attempt, or ends the subscription.
    fn lost(&mut self, error: Error) -> Result<Item, Error> {
        match self.backoff {
            Some(backoff) if error.is_transient() => {
                if matches!(self.state, State::Live(_)) && self.connected.elapsed() > backoff.max {
                    self.attempt = 0;
                }
                let wait = backoff.wait(self.attempt);
                self.attempt += 1;
                self.state = State::Down { until: Instant::now() + wait };
                Ok(Item::Reconnecting { error, attempt: self.attempt, wait })
            }
            _ => {
                self.state = State::Ended;
                Err(error)
            }
        }
    }

    async fn resume(&mut self) -> Result<Item, Error> {
        let attempt = async { Transport::connect(&self.address).await?.subscribe(&self.request).await };
        match attempt.await {
            Ok((events, subscribed)) => {
                self.state = State::Live(events);
                self.subscribed = subscribed;
                self.connected = Instant::now();
                let since = self.request.since.clone().unwrap_or_default();
                Ok(Item::Resumed { since, client: self.subscribed.client.clone() })
            }
            Err(e) => self.lost(e),
        }
    }
}

fn item(message: EventMessage) -> Item {
    if message.topic == GAP
        && let Some(id) = message.id
    {
        // Only the bus publishes to `$gap`. A gap that this version cannot decode is returned as an event.
        if let Ok(gap) = serde_json::from_str(&message.data) {
            return Item::Gap { gap, id, time: message.time };
        }
    }
    Item::Event(message)
}
