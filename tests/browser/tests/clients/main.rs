//! Clients of event streams that nobody here wrote, each as its users use it: a thousand events of every kind, and a restart
//! of the daemon on the way. All of them must have every event once, in order, and as it was published.

mod listeners;
mod mixed;

use std::{collections::BTreeMap, fs, fs::File};

use sse_bus_browser_tests::{Bus, eventually};

use self::{
    listeners::{Listener, all},
    mixed::Mixed,
};

const EVENTS: usize = 1000;
/// Of them so many come before the restart.
const BEFORE: usize = 400;
const TOPIC: &str = "mixed";

/// What a client makes of an event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
struct Heard {
    #[serde(rename = "type")]
    kind: String,
    data: String,
}

/// Publishes some of the events, in one run of `sse-busctl`.
async fn publish(bus: &Bus, events: &[Mixed]) {
    let file = bus.path().join("events.jsonl");
    fs::write(&file, events.iter().map(|event| event.line(TOPIC)).collect::<String>()).unwrap();
    bus.ctl_reading(&["publish", "--jsonl"], File::open(&file).unwrap()).await;
}

/// Waits until everybody has so many events, and checks each of them.
async fn have(listeners: &[Listener], wanted: &[Heard]) {
    let mut last = BTreeMap::new();
    eventually(&format!("{} events at every client", wanted.len()), async || {
        for listener in listeners {
            let heard = listener.heard().await;
            if let Some(n) = heard.iter().zip(wanted).position(|(heard, wanted)| heard != wanted) {
                panic!("{}: event {n} is {:?}, and not {:?}", listener.name, heard[n], wanted[n]);
            }
            last.insert(listener.name, heard.len());
        }
        if last.values().all(|&many| many >= wanted.len()) { Ok(()) } else { Err(format!("{last:?}")) }
    })
    .await;
    assert!(last.values().all(|&many| many == wanted.len()), "something came twice: {last:?}");
}

#[tokio::test]
async fn clients_nobody_here_wrote_have_every_event_once_over_a_restart() {
    let (events, mut bus) = (Mixed::events(EVENTS), Bus::start_held(&["--history", "disk"]).await);
    let wanted: Vec<Heard> = events.iter().map(Mixed::arrives).collect();
    let listeners = all(&bus).await;
    bus.subscribers(listeners.len()).await;

    publish(&bus, &events[..BEFORE]).await;
    have(&listeners, &wanted[..BEFORE]).await;
    assert!(bus.stop().await.success());
    bus.restart().await;
    // Some are back already, others are not yet.
    publish(&bus, &events[BEFORE..]).await;
    have(&listeners, &wanted).await;
}
