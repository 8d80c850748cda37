//! Why httpx receives no first position, and the documented workarounds for faults of clients: the position as
//! an event, for clients that do not remember an id without data, and envelopes, for clients that change the data.

use serde_json::Value;
use sse_bus_browser_tests::{Bus, eventually};

use crate::{
    Heard,
    checks::publish_while_away,
    listeners::{Listener, Streams, all_but_pages},
    mixed::Mixed,
    programs,
};

/// The data in the envelopes that a client has delivered. One client also delivers empty messages.
async fn data(listener: &Listener) -> Vec<String> {
    let heard = listener.heard().await;
    let envelopes = heard.iter().filter(|heard| !heard.data.is_empty());
    let data = envelopes.map(|heard| serde_json::from_str::<Value>(&heard.data).expect("an envelope")["data"].take());
    data.map(|data| data.as_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn with_envelopes_and_the_position_as_an_event_every_client_receives_all_data_unchanged() {
    let bus = Bus::start().await;
    let listeners = all_but_pages(&Streams { bus: &bus, query: "&position=event&format=json" });
    bus.subscribers(listeners.len()).await;

    let events = Mixed::events(100);
    let wanted: Vec<&str> = events.iter().map(Mixed::data).collect();
    publish_while_away(&bus, &listeners, &events).await;
    eventually("all events at every client", async || {
        let mut others = Vec::new();
        for listener in &listeners {
            let data = data(listener).await;
            assert!(
                wanted.starts_with(&data.iter().map(String::as_str).collect::<Vec<_>>()),
                "{}: {data:?}",
                listener.name
            );
            if data.len() < wanted.len() {
                others.push((listener.name, data.len()));
            }
        }
        if others.is_empty() { Ok(()) } else { Err(format!("fewer at {others:?}")) }
    })
    .await;
}

#[tokio::test]
async fn httpx_sse_delivers_an_empty_message_for_a_position_without_data() {
    let bus = Bus::start().await;
    let streams = Streams { bus: &bus, query: "&position=id" };
    for listener in programs::python(&streams, &["httpx-sse", "httpx-sse async"]) {
        let empty = Heard { kind: "message".into(), data: String::new() };
        eventually(&format!("the position at {}", listener.name), async || match listener.heard().await {
            heard if heard == [empty.clone()] => Ok(()),
            heard => Err(format!("{heard:?}")),
        })
        .await;
    }
}
