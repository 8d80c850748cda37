//! A worker: deliveries of a consumer, and optionally automatic reconnects.
//!
//! A task of its own owns the connection, so that deliveries can be settled, or dropped, anywhere and at any time. It holds at
//! most as many deliveries as the worker may have in flight, and [`HANDED`] that wait for [`Worker::next`]: of more, the oldest
//! are no longer current.

use std::{collections::VecDeque, time::Duration};

use tokio::{
    select,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::{
    Client,
    address::Address,
    delivery::{Command, Commands, Delivery},
    error::Error,
    subscription::Backoff,
    transport::{Transport, Working},
};
use crate::{
    gap::{GAP, Gap},
    protocol::{Consume, Consuming, EventMessage},
};

/// Maximum number of items that wait for [`Worker::next`].
const HANDED: usize = 64;

/// A delivery or a notice of a worker.
#[derive(Debug)]
#[non_exhaustive]
pub enum Work {
    /// An event to process.
    Delivery(Delivery),
    /// Events that the consumer did not receive and can no longer receive.
    Gap {
        /// The missed events and the reason.
        gap: Gap,
        /// When the daemon reported the gap, in milliseconds since 1970 (UTC).
        time: u64,
    },
    /// The connection broke, or an attempt to reconnect failed. Its deliveries are delivered again, perhaps to another worker.
    Reconnecting {
        /// The error.
        error: Error,
        /// The number of the next attempt, from 1.
        attempt: u32,
        /// The time until the next attempt.
        wait: Duration,
    },
    /// The connection is restored.
    Resumed {
        /// The client id of the new connection, such as `c12`.
        client: String,
    },
}

/// A connection that takes deliveries of a consumer.
///
/// Dropping it ends the worker once its deliveries are settled or dropped. A process that ends should await
/// [`finish`](Self::finish): a connection that breaks counts as a failed attempt of its deliveries.
///
/// ```no_run
/// use sse_bus::{Client, Endpoint, client::Work, protocol::Consume};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::connect(&Endpoint::find()?).await?;
/// let mut worker = client.work(Consume::new("thumbs")).await?.reconnecting(Default::default());
/// while let Some(work) = worker.next().await {
///     match work? {
///         Work::Delivery(delivery) => {
///             println!("attempt {}: {}", delivery.attempt(), delivery.data);
///             delivery.ack().await?;
///         }
///         notice => eprintln!("{notice:?}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Worker {
    client: String,
    items: mpsc::Receiver<Result<Work, Error>>,
    commands: Commands,
    task: JoinHandle<()>,
}

impl Client {
    /// Turns the connection into a worker of a consumer. Call it within a Tokio runtime, in which the worker runs a task.
    pub async fn work(self, consume: Consume) -> Result<Worker, Error> {
        let address = self.0.address();
        let (working, consuming) = self.0.consume(&consume).await?;
        let (send_items, items) = mpsc::channel(HANDED);
        let (commands, receiver) = mpsc::unbounded_channel();
        let slots = consume.max_in_flight.map_or(1, |slots| usize::try_from(slots).unwrap_or(usize::MAX));
        let driver = Driver {
            address,
            consume,
            items: send_items,
            commands: receiver,
            sender: commands.downgrade(),
            waiting: VecDeque::new(),
            slots,
            backoff: None,
            attempt: 0,
        };
        let task = tokio::spawn(driver.run(working));
        Ok(Worker { client: consuming.client, items, commands, task })
    }
}

impl Worker {
    /// Makes the worker reconnect if its connection breaks.
    #[must_use]
    pub fn reconnecting(self, backoff: Backoff) -> Worker {
        // Fails if the worker has ended.
        let _ = self.commands.send(Command::Reconnect(backoff));
        self
    }

    /// Returns the id of the current connection, as a client. It changes with each [`Work::Resumed`].
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Returns the next delivery or notice. Returns `None` after an error. Cancel-safe: nothing is lost if the call is dropped.
    pub async fn next(&mut self) -> Option<Result<Work, Error>> {
        let item = self.items.recv().await;
        if let Some(Ok(Work::Resumed { client })) = &item {
            self.client.clone_from(client);
        }
        item
    }

    /// Takes no more deliveries, and returns once those that were taken are settled or dropped, and the daemon has confirmed
    /// it. Deliveries that were not returned yet are released.
    pub async fn finish(self) {
        let Worker { items, commands, task, .. } = self;
        drop((items, commands));
        let _ = task.await;
    }
}

/// The task of a worker.
pub(super) struct Driver {
    address: Address,
    consume: Consume,
    pub(super) items: mpsc::Sender<Result<Work, Error>>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    /// For new deliveries. Not a sender of its own, which would keep the channel open.
    sender: mpsc::WeakUnboundedSender<Command>,
    /// What waits for the caller.
    waiting: VecDeque<Waiting>,
    slots: usize,
    backoff: Option<Backoff>,
    /// Number of failed attempts to connect since the last delivery, or since the last connection that lasted longer than the
    /// maximum wait.
    attempt: u32,
}

/// What waits for the caller.
enum Waiting {
    Delivery(EventMessage),
    Notice(Result<Work, Error>),
}

impl Driver {
    /// Serves the worker until it is dropped and its deliveries are settled, or until an error.
    async fn run(mut self, mut working: Working) {
        loop {
            let connected = Instant::now();
            let Err(error) = working.serve(&mut self).await else { return };
            drop(working);
            // The daemon delivers them again.
            self.waiting.retain(|waiting| matches!(waiting, Waiting::Notice(_)));
            if self.backoff.is_some_and(|backoff| connected.elapsed() > backoff.max) {
                self.attempt = 0;
            }
            working = match self.reconnect(error).await {
                Some(working) => working,
                None => return,
            };
        }
    }

    /// Connects again. Returns None if the worker ends.
    async fn reconnect(&mut self, mut error: Error) -> Option<Working> {
        loop {
            let Some(backoff) = self.backoff.filter(|_| error.is_transient()) else {
                self.waiting.push_back(Waiting::Notice(Err(error)));
                return self.hand_over_rest().await;
            };
            let wait = backoff.wait(self.attempt);
            self.attempt += 1;
            self.notice(Work::Reconnecting { error, attempt: self.attempt, wait });
            self.pause(Instant::now() + wait).await?;
            let items = self.items.clone();
            let connected = select! {
                connected = self.connect() => connected,
                () = items.closed() => return None,
            };
            match connected {
                Ok((working, consuming)) => {
                    self.notice(Work::Resumed { client: consuming.client });
                    return Some(working);
                }
                Err(failed) => error = failed,
            }
        }
    }

    async fn connect(&self) -> Result<(Working, Consuming), Error> {
        Transport::connect(&self.address).await?.consume(&self.consume).await
    }

    /// Adds a notice. It replaces the notice of an earlier attempt that was not returned yet.
    fn notice(&mut self, work: Work) {
        if let Some(Waiting::Notice(Ok(Work::Reconnecting { .. }))) = self.waiting.back() {
            self.waiting.pop_back();
        }
        self.waiting.push_back(Waiting::Notice(Ok(work)));
    }

    /// Waits until a time. Returns None if the worker was dropped.
    async fn pause(&mut self, until: Instant) -> Option<()> {
        loop {
            let has_waiting = !self.waiting.is_empty();
            select! {
                biased;
                () = self.items.closed() => return None,
                () = sleep_until(until) => return Some(()),
                () = room(&self.items), if has_waiting => self.hand_over(),
                command = self.commands.recv() => self.decline(command?),
            }
        }
    }

    /// Hands over what waits, before the end.
    async fn hand_over_rest(&mut self) -> Option<Working> {
        while !self.waiting.is_empty() {
            if self.items.is_closed() {
                return None;
            }
            room(&self.items).await;
            self.hand_over();
        }
        None
    }

    /// Answers a command while there is no connection: the delivery was on an earlier one.
    fn decline(&mut self, command: Command) {
        match command {
            Command::Settle(_, Some(reply)) => drop(reply.send(Err(Error::closed()))),
            Command::Settle(_, None) => {}
            Command::Reconnect(backoff) => self.backoff = Some(backoff),
        }
    }

    /// Sets how the worker reconnects.
    pub(super) fn set_backoff(&mut self, backoff: Backoff) {
        self.backoff = Some(backoff);
    }

    /// Adds what the daemon has sent.
    pub(super) fn receive(&mut self, message: EventMessage) {
        self.attempt = 0;
        if message.delivery.is_some() {
            // They are not extended while they wait, so the oldest is the first whose deadline has passed. The worker has no
            // more than its slots of them that are current.
            let is_delivery = |waiting: &Waiting| matches!(waiting, Waiting::Delivery(_));
            if self.waiting.len() >= self.slots.max(1)
                && let Some(oldest) = self.waiting.iter().position(is_delivery)
            {
                self.waiting.remove(oldest);
            }
            return self.waiting.push_back(Waiting::Delivery(message));
        }
        // Only the bus publishes to `$gap`.
        if message.topic == GAP
            && let Ok(gap) = serde_json::from_str(&message.data)
        {
            self.waiting.push_back(Waiting::Notice(Ok(Work::Gap { gap, time: message.time })));
        }
    }

    /// Returns true if something waits for the caller.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes the deliveries that were not handed over.
    pub(super) fn take_waiting(&mut self) -> Vec<String> {
        let waiting = self.waiting.drain(..);
        waiting
            .filter_map(|waiting| match waiting {
                Waiting::Delivery(event) => event.delivery.map(|delivery| delivery.token),
                Waiting::Notice(_) => None,
            })
            .collect()
    }

    /// Hands over what waits, as far as the caller has room for it.
    pub(super) fn hand_over(&mut self) {
        let Some(commands) = self.sender.upgrade() else { return };
        while !self.waiting.is_empty()
            && let Ok(permit) = self.items.try_reserve()
            && let Some(waiting) = self.waiting.pop_front()
        {
            permit.send(match waiting {
                Waiting::Delivery(event) => Ok(Work::Delivery(Delivery::new(event, commands.clone()))),
                Waiting::Notice(notice) => notice,
            });
        }
    }
}

/// Waits until the caller has room for another item, or has dropped the worker.
pub(super) async fn room(items: &mpsc::Sender<Result<Work, Error>>) {
    let _ = items.reserve().await;
}
