//! Kicks with a time: clients are kept out, and their connections closed.

use std::{collections::BTreeSet, time::Duration};

use sse_bus::protocol::{ClientInfo, Refused};

use super::kept_out::KeptOutClients;
use crate::shared_bus::SharedBus;

/// What a kick has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kicked {
    /// The number of closed connections.
    pub(crate) connections: u64,
    /// The names of the clients.
    pub(crate) names: BTreeSet<String>,
}

/// Keeps a client of this daemon out for a while, and disconnects every connection that it would not get again: also the others
/// with its name, its token or its process. Zero lets it in again.
///
/// # Errors
///
/// No client has this ID or name, or it cannot be kept out. Then nothing changes.
pub(crate) async fn kick_for(
    bus: &SharedBus,
    kept_out: &KeptOutClients,
    client: &str,
    time: Duration,
) -> Result<Kicked, Refused> {
    let clients = match bus.described(client) {
        Ok(clients) => clients,
        // It may be kept out already.
        Err(_) if kept_out.change(client, time) => return Ok(Kicked::default()),
        Err(unknown) => return Err(unknown),
    };
    // First, so that it does not connect again in between.
    kept_out.keep_out(&clients, time)?;
    let names = clients.into_iter().filter_map(|client| client.name).collect();
    let connections = close_kept_out(bus, kept_out, time).await;
    Ok(Kicked { connections, names })
}

/// Keeps the clients with a name out for a while, also if none is connected. Zero lets them in again.
///
/// # Errors
///
/// The time is too long, or too many clients are kept out.
pub(crate) async fn keep_name_out(
    bus: &SharedBus,
    kept_out: &KeptOutClients,
    name: &str,
    time: Duration,
) -> Result<u64, Refused> {
    kept_out.keep_name_out(name, time)?;
    Ok(close_kept_out(bus, kept_out, time).await)
}

/// Closes the connections that are kept out, and returns their number.
async fn close_kept_out(bus: &SharedBus, kept_out: &KeptOutClients, time: Duration) -> u64 {
    let mut connections = 0;
    if time.is_zero() {
        return connections;
    }
    let is_kept_out = |client: &ClientInfo| kept_out.check(client.name.as_deref(), &client.peer, client.via).is_err();
    for client in bus.clients().await.iter().filter(|client| is_kept_out(client)) {
        // It may have disconnected meanwhile.
        connections += bus.kick(&client.id).await.unwrap_or_default();
    }
    connections
}
