//! The connection of a worker: how it begins, and what is reported about it.

use std::time::Duration;

use sse_bus::{
    Client,
    client::{self, Address, Backoff, Worker},
    protocol::{Consume, ConsumerInfo},
};

use crate::{
    cli::Work,
    exit::{Exit, Failure},
};

/// Becomes a worker with a number of deliveries in flight. Returns it, and the time from a delivery to its deadline.
pub(super) async fn connect(address: &Address, options: &Work, slots: u64) -> Result<(Worker, Duration), Failure> {
    let mut client = Client::connect(address).await?;
    let info = client.consumer(&options.name).show().await?;
    let mut consume = Consume::new(&options.name).with_max_in_flight(slots);
    consume.client.clone_from(&options.client);
    let worker = client.work(consume).await?;
    let worker = if options.no_reconnect { worker } else { worker.reconnecting(Backoff::default()) };
    Ok((worker, ack_wait(&info)))
}

fn ack_wait(info: &ConsumerInfo) -> Duration {
    /// The default of consumers.
    const DEFAULT: Duration = Duration::from_secs(30);
    humantime::parse_duration(&info.ack_wait).unwrap_or(DEFAULT)
}

/// Reports outages, each once.
#[derive(Default)]
pub(super) struct Outage {
    is_down: bool,
}

impl Outage {
    /// Returns the notice of a connection that broke, unless it was reported.
    pub(super) fn begin(&mut self, error: &client::Error) -> Option<String> {
        let is_new = !std::mem::replace(&mut self.is_down, true);
        is_new.then(|| format!("{error}; reconnecting"))
    }

    /// Returns the notice of the new connection.
    pub(super) fn end(&mut self) -> &'static str {
        self.is_down = false;
        "reconnected"
    }
}

/// Returns the failure if a signal came before the requested number of deliveries.
pub(super) fn stopped(count: Option<u64>, answered: u64) -> Result<(), Failure> {
    match count {
        // A failure, so that in `work q --count 1 --exec … && ./next` the second command does not run.
        Some(count) if answered < count => {
            Err(Failure::new(Exit::Failed, format!("stopped after {answered} of {count} deliveries")))
        }
        _ => Ok(()),
    }
}
