//! `sse-busctl clients`: lists the connected clients.

use sse_bus::{Client, protocol::ClientInfo};

use crate::{
    exit::Failure,
    nodes,
    output::Output,
    table::{number, text},
    units::ago,
};

pub(crate) async fn run(client: &mut Client, output: &Output) -> Result<(), Failure> {
    let clients = client.clients().await?;
    let columns = [
        text("ID"),
        text("NAME").shrinking(),
        text("ROLE").dropped(4),
        text("VIA").dropped(7),
        text("PEER").shrinking().dropped(2),
        text("FILTERS").shrinking(),
        text("CONNECTED").dropped(5),
        number("EVENTS").dropped(1),
        number("LAG").dropped(3),
        number("GAPS").dropped(6),
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
    nodes::warn_of_missing(output, client.unreachable());
    Ok(())
}

/// Returns the peer of a client, with the origin if it is a web page.
fn peer(client: &ClientInfo) -> String {
    match &client.origin {
        Some(origin) => format!("{origin} ({})", client.peer),
        None => client.peer.clone(),
    }
}
