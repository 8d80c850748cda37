//! `sse-busctl history`: past events, oldest first, and then the end.

use std::collections::VecDeque;

use sse_bus::{
    Client, Endpoint,
    client::Item,
    protocol::{EventMessage, Subscribe},
};

use crate::{cli::History, exit::Failure, format::Printer, output::Output};

pub(crate) async fn run(endpoint: &Endpoint, output: &Output, options: History) -> Result<(), Failure> {
    let request = Subscribe::new(options.filters).with_since(options.since).past_only();
    let mut past = Client::connect(endpoint).await?.subscribe(request).await?;
    let mut printer = Printer::new(output, options.format);
    let limit = options.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    // Which ones are the last is known at the end only.
    let mut kept: VecDeque<EventMessage> = VecDeque::new();
    while let Some(delivery) = past.next().await {
        match delivery? {
            Item::Event(event) if options.limit.is_none() => printer.print(&event)?,
            Item::Event(event) => {
                if kept.len() == limit {
                    kept.pop_front();
                }
                kept.push_back(event);
            }
            Item::Gap { gap, id, time } => printer.gap(&gap, id, time)?,
            // Nobody asked for reconnecting.
            _ => {}
        }
    }
    for event in &kept {
        printer.print(event)?;
    }
    printer.flush()?;
    Ok(())
}
