//! `sse-busctl publish --lines` and `--jsonl`: publishes each line of stdin as an event.
//!
//! Reading, sending and receiving replies run concurrently, in the order of the lines and in constant memory. A line
//! that is too long is skipped while it is read. After a reconnect the unanswered lines are resent. They are numbered, so
//! that the daemon recognizes the lines that it has published already. Lines that are sent without requesting a reply may be lost. The command ends with a summary.

mod connection;
mod json;
mod outage;
mod progress;
mod split;
mod summary;
mod template;
mod unacked;

use std::{cell::RefCell, io::IsTerminal, time::Duration};

use sse_bus::{Client, client::Address};
use tokio::time::Instant;

pub(super) use self::template::Template;
use self::{
    connection::{Connection, End, Input},
    outage::Outage,
    progress::Progress,
};
use crate::{exit::Failure, output::Output, signals::Signals};

/// The options of publishing lines.
pub(super) struct Lines {
    template: Template,
    /// How long to try to reconnect if the connection breaks.
    retry_for: Duration,
}

impl Lines {
    /// Lines become events by a template.
    pub(super) fn new(template: Template, retry_for: Duration) -> Lines {
        Lines { template, retry_for }
    }

    pub(super) async fn run(self, address: &Address, mut client: Client, output: &Output) -> Result<(), Failure> {
        if std::io::stdin().is_terminal() {
            eprintln!("Enter one event per line, then Ctrl-D:");
        }
        let progress = RefCell::new(Progress::new());
        let mut input = Input::new();
        // A signal ends the input; the replies to sent lines are still received.
        let mut signals = Signals::watch(true);
        let mut outage = Outage::new(self.retry_for);
        let outcome = loop {
            let began = Instant::now();
            let first = progress.borrow().unacked.first();
            let connection = Connection::new(&self.template, &progress, first, !self.retry_for.is_zero());
            let error = match connection.serve(client, &mut input, &mut signals).await {
                Err(End::Connection(error)) if !self.retry_for.is_zero() && error.is_transient() => error,
                outcome => break outcome,
            };
            // The time limit restarts only after a reply, or after a connection that lasted longer than the limit. Otherwise a
            // line that crashes the daemon would be resent forever.
            if progress.borrow().unacked.is_empty_or_after(first) || began.elapsed() > self.retry_for {
                outage = Outage::new(self.retry_for);
            }
            match outage.end(address, error, &mut signals).await {
                Ok(connected) => client = connected,
                Err(error) => break Err(error.into()),
            }
            progress.borrow_mut().reconnected();
        };
        progress.into_inner().finish(output, outcome.map_err(Failure::from))
    }
}
