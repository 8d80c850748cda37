//! `sse-busctl work`: runs a command for each event of a consumer, or prints deliveries and reads how they are settled.
//!
//! After a signal the command takes no more deliveries. It releases deliveries that are not settled: their attempts do not
//! count.

mod commands;
mod connection;
mod forward;
mod held;
mod job;
mod lines;
mod screen;
mod settled;
mod tally;

use sse_bus::client::Address;

use crate::{cli::Work, exit::Failure, output::Output};

pub(crate) async fn run(address: &Address, output: &Output, mut options: Work) -> Result<(), Failure> {
    match options.exec.take() {
        Some(command) => commands::run(address, output, options, command).await,
        None => lines::run(address, output, options).await,
    }
}
