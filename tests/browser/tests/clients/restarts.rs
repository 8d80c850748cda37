//! A thousand mixed events, with a connection that breaks before the first of them, an orderly restart of the daemon
//! and a crash.

use sse_bus_browser_tests::{Bus, Value, eventually, free_port};

use crate::{
    TOPIC,
    checks::{Connection, publish, publish_while_away, receive},
    listeners::{Streams, all},
    mixed::Mixed,
};

/// The number of events per connection. An earlier connection breaks before there are any.
const EVENTS: [usize; 3] = [400, 300, 300];
/// The number of those that are published before any client has reconnected.
const EARLY: usize = 10;

#[tokio::test]
async fn every_client_receives_every_event_once_over_two_restarts() {
    let port = free_port();
    let origin = format!("http://localhost:{port}");
    let mut bus = Bus::start_held(&["--history", "disk", "--allow-origin", &origin]).await;
    let listeners = all(&Streams { bus: &bus, query: "" }, port).await;
    bus.subscribers(listeners.len()).await;

    let events = Mixed::events(EVENTS.iter().sum());
    let mut rest = &events[..];
    let parts = EVENTS.map(|many| rest.split_off(..many).unwrap());
    let (early, late) = parts[0].split_at(EARLY);
    publish_while_away(&bus, &listeners, early).await;
    bus.subscribers(listeners.len()).await;
    publish(&bus, late).await;
    let mut connections = vec![
        Connection { events: &[], early: 0, has_end: true },
        Connection { events: parts[0], early: EARLY, has_end: false },
    ];
    receive(&listeners, &connections).await;

    assert!(bus.stop().await.success());
    connections[1].has_end = true;
    bus.restart().await;
    // Some clients have reconnected already, others have not.
    publish(&bus, parts[1]).await;
    connections.push(Connection { events: parts[1], early: 0, has_end: false });
    receive(&listeners, &connections).await;

    bus.crash().await;
    bus.restart().await;
    publish(&bus, parts[2]).await;
    connections.push(Connection { events: parts[2], early: 0, has_end: false });
    receive(&listeners, &connections).await;

    // htmx does more with an event than to deliver it.
    bus.ctl(&["publish", TOPIC, "<b>in the page</b>"]).await;
    for listener in listeners.iter().filter(|listener| listener.name.starts_with("htmx")) {
        eventually(&format!("the page of {} to show the event", listener.name), async || {
            match listener.eval("document.querySelector('#shown > b')?.textContent").await {
                Value::String(text) if text == "in the page" => Ok(()),
                other => Err(other.to_string()),
            }
        })
        .await;
    }
}
