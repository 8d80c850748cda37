//! `sse-busctl publish --every`: publishes the same data, or the output of a command, at an interval.

use std::time::Duration;

use sse_bus::{
    Client,
    protocol::{Payload, Publish},
};
use tokio::time::{MissedTickBehavior, interval};

use super::single;
use crate::{
    exec,
    exit::{Exit, Failure},
    output::Output,
    units::count,
};

/// The options of repeated publishing.
pub(super) struct Repeat {
    pub(super) interval: Duration,
    pub(super) count: Option<u64>,
    pub(super) exec: Option<String>,
}

impl Repeat {
    pub(super) async fn run(self, client: &mut Client, output: &Output, mut event: Publish) -> Result<(), Failure> {
        let mut ticks = interval(self.interval);
        // No burst after a slow command or a suspended machine.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut failed, mut worst) = (0, Exit::Failed);
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            left -= 1;
            ticks.tick().await;
            if let Some(command) = &self.exec {
                match exec::output_of(command).await {
                    Ok(mut data) => {
                        single::strip_line_break(&mut data);
                        event.data = Payload(data);
                    }
                    Err(error) => {
                        failed += 1;
                        eprintln!("sse-busctl: `{command}` {error}; no event was published this time");
                        continue;
                    }
                }
            }
            match single::publish(client, output, &event).await {
                Ok(()) => {}
                // The client may connect later.
                Err(failure) if failure.exit == Exit::NoSubscriber => {
                    failed += 1;
                    worst = Exit::NoSubscriber;
                    eprintln!("sse-busctl: {}", failure.message.unwrap_or_default());
                }
                Err(failure) => return Err(failure),
            }
        }
        match failed {
            0 => Ok(()),
            _ => Err(Failure::new(worst, format!("{} not published", count(failed, "event")))),
        }
    }
}
