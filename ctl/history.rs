//! `sse-busctl history`: prints past events, oldest first.

use std::collections::VecDeque;

use sse_bus::{
    Client,
    client::{Address, Item},
    protocol::{EventMessage, Subscribe},
};

use crate::{cli::History, exit::Failure, format::Printer, output::Output, times::Times};

pub(crate) async fn run(address: &Address, output: &Output, options: History) -> Result<(), Failure> {
    let request = Subscribe::new(options.filters).with_since(options.since.start.as_str()).past_only();
    let mut past = Client::connect(address).await?.subscribe(request).await?;
    let mut printer = Printer::new(output, Times::new(options.utc, options.relative));
    let limit = options.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut newest: VecDeque<EventMessage> = VecDeque::new();
    while let Some(item) = past.next().await {
        match item? {
            Item::Event(event) if options.since.is_before(&event) => {}
            Item::Event(event) if options.limit.is_none() => printer.print(&event)?,
            Item::Event(event) => {
                if newest.len() == limit {
                    newest.pop_front();
                }
                newest.push_back(event);
            }
            Item::Gap { gap, id, time } => printer.gap(&gap, id, time)?,
            // There are no other notices without reconnecting.
            _ => {}
        }
    }
    for event in &newest {
        printer.print(event)?;
    }
    printer.flush()?;
    Ok(())
}
