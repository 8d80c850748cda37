//! Publishes events, and checks what every client has received.

use std::{collections::BTreeMap, fs, fs::File, time::Instant};

use serde_json::{Value, json};
use sse_bus_browser_tests::{Bus, eventually};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

use crate::{Heard, TOPIC, deviations::expected, listeners::Listener, mixed::Mixed};

/// A connection of a client.
#[derive(Clone, Copy)]
pub(crate) struct Connection<'a> {
    pub(crate) events: &'a [Mixed],
    /// The number of events at the beginning that were published before the client reconnected, after a connection
    /// without an event.
    pub(crate) early: usize,
    /// The daemon ended the connection in an orderly way.
    pub(crate) has_end: bool,
}

/// Publishes some of the events, in one run of `sse-busctl`.
pub(crate) async fn publish(bus: &Bus, events: &[Mixed]) {
    let file = bus.path().join("events.jsonl");
    fs::write(&file, events.iter().map(|event| format!("{}\n", event.json(TOPIC))).collect::<String>()).unwrap();
    bus.ctl_reading(&["publish", "--jsonl"], File::open(&file).unwrap()).await;
}

/// Closes the connection of every client, and publishes events before any of them has reconnected.
pub(crate) async fn publish_while_away(bus: &Bus, listeners: &[Listener], events: &[Mixed]) {
    let kicks = listeners.iter().map(|listener| json!({ "kick": { "client": listener.name_on_bus() } }));
    let publishes = events.iter().map(|event| json!({ "publish": event.json(TOPIC) }));
    let lines: String = kicks.chain(publishes).map(|request| format!("{request}\n")).collect();
    let mut socket = BufReader::new(UnixStream::connect(bus.socket()).await.unwrap());
    socket.write_all(lines.as_bytes()).await.unwrap();
    for line in lines.lines() {
        let mut reply = String::new();
        socket.read_line(&mut reply).await.unwrap();
        let reply: Value = serde_json::from_str(&reply).unwrap();
        let is_expected = reply["kicked"]["connections"] == 1 || reply["published"]["subscribers"] == 0;
        assert!(is_expected, "{reply} to {line}");
    }
}

/// Waits until every client has received the expected events of its connections, and no others.
pub(crate) async fn receive(listeners: &[Listener], connections: &[Connection<'_>]) {
    let wanted: BTreeMap<_, _> =
        listeners.iter().map(|listener| (listener.name, expected(listener.name, connections))).collect();
    let began = Instant::now();
    let (mut complete, mut wrong) = (BTreeMap::new(), BTreeMap::new());
    eventually(&format!("the events of {} connections at every client", connections.len()), async || {
        let mut missing = BTreeMap::new();
        for listener in listeners {
            let (name, heard, wanted) = (listener.name, listener.heard().await, &wanted[listener.name]);
            if let Some(difference) = difference(&heard, wanted) {
                wrong.insert(name, difference);
            } else if heard.len() < wanted.len() {
                missing.insert(name, format!("{} of {}", heard.len(), wanted.len()));
            } else {
                complete.entry(name).or_insert_with(|| began.elapsed());
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(format!("missing: {missing:?}, wrong: {wrong:#?}")) }
    })
    .await;
    println!("events of {} connections received after {complete:.1?}", connections.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Describes the first event that differs.
fn difference(heard: &[Heard], wanted: &[Heard]) -> Option<String> {
    let n = heard.iter().zip(wanted).position(|(heard, wanted)| heard != wanted);
    match n.unwrap_or(wanted.len()) {
        n if n >= heard.len() => None,
        n => Some(format!("event {n} is {:?} instead of {:?}", heard[n], wanted.get(n))),
    }
}
