//! A worker: deliveries of a consumer, and optionally automatic reconnects.
//!
//! A task of its own owns the connection, so that deliveries can be settled, or dropped, anywhere and at any time.

use tokio::{select, sync::mpsc, task::JoinHandle, time::Instant};

use super::{
    address::Address,
    backoff::Backoff,
    delivery::{Command, Commands},
    error::Error,
    handover::{Handover, Work},
    transport::{Transport, Working},
};
use crate::protocol::{Consume, Consuming};

/// A connection that takes deliveries of a consumer.
///
/// Dropping it ends the worker once its deliveries are settled or dropped. A process that ends should await
/// [`finish`](Self::finish): a connection that breaks counts as a failed attempt of its deliveries. Over HTTP, deliveries
/// continue until their deadlines instead.
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

impl Worker {
    /// Becomes a worker on an established connection.
    pub(super) async fn start(transport: Transport, consume: Consume) -> Result<Worker, Error> {
        let address = transport.address();
        let (working, consuming) = transport.consume(&consume).await?;
        let (handover, items, commands) = Handover::new(&consume);
        let driver = Driver { address, consume, handover, attempt: 0 };
        let task = tokio::spawn(driver.run(working));
        Ok(Worker { client: consuming.client, items, commands, task })
    }

    /// Makes the worker reconnect if its connection breaks.
    #[must_use]
    pub fn reconnecting(self, backoff: Backoff) -> Worker {
        // Fails if the worker has ended.
        let _ = self.commands.send(Command::Reconnect(backoff));
        self
    }

    /// Returns the id of the current connection, as a client. It changes with each [`Work::Resumed`]. Over HTTP it is empty:
    /// there a worker has no connection of its own.
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
struct Driver {
    address: Address,
    consume: Consume,
    handover: Handover,
    /// Number of failed attempts to connect since the last delivery, or since the last connection that lasted longer than the
    /// maximum wait.
    attempt: u32,
}

impl Driver {
    /// Serves the worker until it is dropped and its deliveries are settled, or until an error.
    async fn run(mut self, mut working: Working) {
        loop {
            let connected = Instant::now();
            let Err(error) = working.serve(&mut self.handover).await else { return };
            if working.owns_deliveries() {
                // The daemon delivers them again.
                self.handover.drop_deliveries();
            }
            drop(working);
            let is_long = self.handover.backoff.is_some_and(|backoff| connected.elapsed() > backoff.max);
            if self.handover.has_received() || is_long {
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
            let Some(backoff) = self.handover.backoff.filter(|_| error.is_transient()) else {
                self.handover.end(error).await;
                return None;
            };
            let wait = backoff.wait(self.attempt);
            self.attempt += 1;
            self.handover.notice(Work::Reconnecting { error, attempt: self.attempt, wait });
            self.handover.pause(Instant::now() + wait).await?;
            let connected = select! {
                connected = connect(&self.address, &self.consume) => connected,
                () = self.handover.items.closed() => return None,
            };
            match connected {
                Ok((working, consuming)) => {
                    self.handover.notice(Work::Resumed { client: consuming.client });
                    return Some(working);
                }
                Err(failed) => error = failed,
            }
        }
    }
}

async fn connect(address: &Address, consume: &Consume) -> Result<(Working, Consuming), Error> {
    Transport::connect(address).await?.consume(consume).await
}
