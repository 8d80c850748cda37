//! Reconnects after a broken connection.

use std::time::Duration;

use sse_bus::{
    Client,
    client::{Address, Backoff, Error},
};
use tokio::time::{Instant, sleep};

use crate::signals::Signals;

/// The waits between two attempts.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(1) };

/// A time without a connection.
pub(super) struct Outage {
    /// None is the end of time.
    until: Option<Instant>,
    attempt: u32,
}

impl Outage {
    /// An outage that ends the command after `retry_for`.
    pub(super) fn new(retry_for: Duration) -> Outage {
        Outage { until: Instant::now().checked_add(retry_for), attempt: 0 }
    }

    /// Waits until a daemon answers.
    ///
    /// # Errors
    ///
    /// Returns the last error if no daemon answers in time, if the error is permanent, or after a signal.
    pub(super) async fn end(
        &mut self,
        address: &Address,
        mut error: Error,
        signals: &mut Signals,
    ) -> Result<Client, Error> {
        // Once per outage.
        if self.attempt == 0 {
            eprintln!("sse-busctl: {error}; reconnecting");
        }
        while error.is_transient() && self.until.is_none_or(|until| Instant::now() < until) {
            let connected = async {
                sleep(BACKOFF.wait(self.attempt)).await;
                self.attempt += 1;
                let mut client = Client::connect(address).await?;
                client.ping().await?;
                Ok(client)
            };
            tokio::select! {
                outcome = connected => match outcome {
                    Ok(client) => return Ok(client),
                    Err(next) => error = next,
                },
                () = signals.stop() => break,
            }
        }
        Err(error)
    }
}
