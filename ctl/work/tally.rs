//! What a worker has done so far, as its progress line and its summary show it.

use std::{collections::VecDeque, fmt::Write, time::Duration};

use sse_bus::{
    Client,
    client::{self, Address},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::job::Outcome;
use crate::units::duration;

/// Time between two progress lines.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// Number of progress lines over which the rate is measured.
const WINDOW: usize = 40;

/// Deliveries by their outcomes.
pub(super) struct Tally {
    begin: Instant,
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) rejected: u64,
    pub(super) released: u64,
    /// Numbers of answered deliveries, and when they were reached.
    recent: VecDeque<(Instant, u64)>,
}

impl Tally {
    pub(super) fn new() -> Tally {
        let begin = Instant::now();
        Tally { begin, done: 0, failed: 0, rejected: 0, released: 0, recent: VecDeque::from([(begin, 0)]) }
    }

    /// Counts a delivery.
    pub(super) fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Rejected(_) => self.rejected += 1,
            Outcome::Ended => self.released += 1,
        }
    }

    /// Returns the number of deliveries that were processed.
    pub(super) fn answered(&self) -> u64 {
        self.done + self.failed + self.rejected
    }

    /// Returns the progress line.
    pub(super) fn progress(&mut self, in_flight: usize, pending: Option<u64>) -> String {
        let now = Instant::now();
        let (since, answered) = self.recent.front().copied().unwrap_or((self.begin, 0));
        self.recent.push_back((now, self.answered()));
        if self.recent.len() > WINDOW {
            self.recent.pop_front();
        }
        let rate = (self.answered() - answered) as f64 / (now - since).as_secs_f64().max(0.001);
        // Writing to a String cannot fail.
        let mut line = format!("{}, {in_flight} in flight", self.outcomes());
        if let Some(pending) = pending {
            let _ = write!(line, ", {pending} pending");
        }
        let _ = write!(line, ", {rate:.1}/s");
        if let Some(pending) = pending.filter(|pending| *pending > 0 && rate > 0.0) {
            let left = Duration::try_from_secs_f64(pending as f64 / rate).unwrap_or(Duration::MAX);
            let _ = write!(line, ", {} left", duration(left.max(Duration::from_secs(1))));
        }
        line
    }

    /// Returns the summary at the end.
    pub(super) fn summary(&self) -> String {
        format!("{} in {}", self.outcomes(), duration(self.begin.elapsed()))
    }

    fn outcomes(&self) -> String {
        let mut text = format!("{} done", self.done);
        for (number, name) in [(self.failed, "failed"), (self.rejected, "rejected"), (self.released, "released")] {
            if number > 0 {
                let _ = write!(text, ", {number} {name}");
            }
        }
        text
    }
}

/// Starts to look how many events wait for the consumer, once a second. The number is unknown while there is no connection.
pub(super) fn watch_pending(address: &Address, consumer: &str) -> watch::Receiver<Option<u64>> {
    const PAUSE: Duration = Duration::from_secs(1);
    let (sender, pending) = watch::channel(None);
    let (address, consumer) = (address.clone(), consumer.to_owned());
    tokio::spawn(async move {
        while !sender.is_closed() {
            let look = async {
                let mut client = Client::connect(&address).await?;
                loop {
                    let info = client.consumer(&consumer).show().await?;
                    if sender.send(Some(info.pending + info.waiting)).is_err() {
                        return Ok::<_, client::Error>(());
                    }
                    sleep(PAUSE).await;
                }
            };
            let _ = look.await;
            let _ = sender.send(None);
            sleep(PAUSE).await;
        }
    });
    pending
}
