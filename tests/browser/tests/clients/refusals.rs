//! A restart without a service manager that holds the socket: meanwhile the port refuses connections.

use std::time::Duration;

use sse_bus_browser_tests::Bus;

use crate::{
    checks::{Connection, publish, receive},
    deviations,
    listeners::{Streams, all_but_pages},
    mixed::Mixed,
};

/// Longer than the first delay of every client, so that each is refused at least once.
const AWAY: Duration = Duration::from_secs(4);

#[tokio::test]
async fn clients_reconnect_after_their_connections_were_refused() {
    let mut bus = Bus::start_with(&["--history", "disk"]).await;
    let listeners = all_but_pages(&Streams { bus: &bus, query: "" });
    bus.subscribers(listeners.len()).await;
    let events = Mixed::events(8);
    let (before, after) = events.split_at(4);
    let mut connections = vec![Connection { events: before, early: 0, has_end: false }];
    publish(&bus, before).await;
    receive(&listeners, &connections).await;

    assert!(bus.stop().await.success());
    connections[0].has_end = true;
    tokio::time::sleep(AWAY).await;
    bus.restart().await;
    publish(&bus, after).await;
    let (lost, listeners): (Vec<_>, Vec<_>) =
        listeners.into_iter().partition(|listener| deviations::gives_up(listener.name));
    receive(&lost, &connections).await;
    connections.push(Connection { events: after, early: 0, has_end: false });
    receive(&listeners, &connections).await;
    bus.subscribers(listeners.len()).await;
}
