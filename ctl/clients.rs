//! `sse-busctl clients`: who is connected.

use sse_bus::{Client, protocol::ClientInfo};

use crate::{
    exit::Failure,
    output::{Output, ago, number, text},
};

pub(crate) async fn run(client: &mut Client, output: &Output) -> Result<(), Failure> {
    let clients = client.clients().await?;
    let columns = [
        text("ID"),
        text("NAME"),
        text("ROLE"),
        text("VIA"),
        text("PEER"),
        text("FILTERS"),
        text("CONNECTED"),
        number("EVENTS"),
        number("LAG"),
        number("GAPS"),
    ];
    output.list(
        &clients,
        &columns,
        |c| {
            [
                c.id.clone(),
                c.name.clone().unwrap_or_else(|| "-".into()),
                c.role.to_string(),
                c.via.to_string(),
                peer(c),
                if c.filters.is_empty() { "-".into() } else { c.filters.join(" ") },
                ago(c.connected),
                c.events.to_string(),
                c.lag.to_string(),
                c.gaps.to_string(),
            ]
        },
        "no clients",
    )?;
    Ok(())
}

/// Where a client is: a page by its origin, as a process by its name.
fn peer(client: &ClientInfo) -> String {
    match &client.origin {
        Some(origin) => format!("{origin} ({})", client.peer),
        None => client.peer.clone(),
    }
}
