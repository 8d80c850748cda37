//! Slow subscribers: no other client waits for them, and no event is dropped silently.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    delivery_check::account,
    harness::{Daemon, EventStream, Http2, Sse, until},
};

/// More than the kernel buffers for a peer that does not read.
const EVENTS: usize = 400;
const SIZE: usize = 50_000;

/// A daemon with small buffers and little history.
fn narrow() -> Daemon {
    Daemon::configured("history_events = 20\n[limits]\nfeed_buffer = 100000\n")
}

/// Publishes more than the subscriber's socket buffers hold, on two topics. Returns each event's number by its id.
fn flood(daemon: &Daemon) -> BTreeMap<u64, String> {
    let mut lines = daemon.lines();
    let mut ids = BTreeMap::new();
    for n in 0..EVENTS {
        let topic = if n % 50 == 7 { "flood/rare" } else { "flood/often" };
        let data = format!("{n:0>SIZE$}");
        let reply = lines.ask(json!({"publish": {"topic": topic, "data": data}}).to_string());
        let id = reply["published"]["id"].as_str().unwrap_or_else(|| panic!("{reply}"));
        ids.insert(id.rsplit_once('-').unwrap().1.parse().unwrap(), data);
    }
    ids
}

/// Reads up to the event `end`.
fn read_to_the_end(stream: &mut EventStream) -> Vec<Sse> {
    let mut events = Vec::new();
    loop {
        let event = stream.event();
        if event.data == "end" {
            return events;
        }
        events.push(event);
    }
}

#[test]
fn a_subscriber_that_does_not_read_gets_the_rest_of_history_and_a_gap() {
    let daemon = narrow();
    let mut slow = daemon.stream("/events/flood/**?client=slow");
    let mut quick = daemon.stream("/events/flood/rare");
    let published = flood(&daemon);
    // The publisher did not wait for the slow one.
    assert_eq!(quick.data(EVENTS / 50).len(), EVENTS / 50);
    daemon.publish("flood/end", "end");
    let gaps = account(&published, &read_to_the_end(&mut slow));
    assert!(!gaps.is_empty());
    assert!(gaps.iter().all(|gap| gap["reason"] == "lagged"), "{gaps:?}");
    assert!(daemon.metric("sse_bus_gaps_total{reason=\"lagged\"}") >= 1.0);
}

#[test]
fn a_stalled_stream_of_an_http2_connection_gets_a_gap_and_the_others_continue() {
    let daemon = narrow();
    let http2 = Http2::with_window(daemon.address, 100_000);
    let mut slow = http2.stream("/events/flood/**?client=slow", &[]);
    let mut quick = http2.stream("/events/end", &[]);
    let published = flood(&daemon);
    daemon.publish("end", "end");
    assert_eq!(quick.data(1), ["end"]);
    daemon.publish("flood/end", "end");
    let gaps = account(&published, &read_to_the_end(&mut slow));
    assert!(!gaps.is_empty() && gaps.iter().all(|gap| gap["reason"] == "lagged"), "{gaps:?}");
}

#[test]
fn with_slow_latest_a_subscriber_skips_to_the_newest_event_of_each_topic() {
    let daemon = narrow();
    let mut slow = daemon.stream("/events/flood/**?slow=latest");
    let published = flood(&daemon);
    daemon.publish("flood/end", "end");
    let events = read_to_the_end(&mut slow);
    let gaps = account(&published, &events);
    assert!(!gaps.is_empty() && gaps.iter().all(|gap| gap["reason"] == "lagged"), "{gaps:?}");
    let newest: Vec<_> = events.iter().filter(|event| event.kind.is_none()).rev().take(2).collect();
    assert!(newest[0].data.ends_with("399") && newest[1].data.ends_with("357"));
}

#[test]
fn with_slow_disconnect_a_subscriber_is_closed_and_resumes_by_its_id() {
    let daemon = Daemon::configured("history_bytes = \"64MiB\"\n[limits]\nfeed_buffer = 100000\n");
    let mut slow = daemon.stream("/events/flood/**?slow=disconnect");
    let published = flood(&daemon);
    let mut events = Vec::new();
    while let Some(event) = slow.next().unwrap() {
        events.push(event);
    }
    assert_eq!(daemon.status()["slow_disconnects"], 1);
    until("the log names who closed it", || daemon.log().contains("by=\"bus\"").then_some(()));
    // It was closed before its first event, so it has no id to send; a browser has none then, either.
    let last = events.last().map_or("", |event| &event.id).to_owned();
    let mut again = daemon.stream_with("/events/flood/**?since=all", &[("Last-Event-ID", &last)]);
    daemon.publish("flood/end", "end");
    events.extend(read_to_the_end(&mut again));
    // History was large enough: no event is missing.
    assert_eq!(account(&published, &events), Vec::<serde_json::Value>::new());
}

#[test]
fn slow_subscribers_on_the_local_socket_receive_the_same() {
    let daemon = narrow();
    let mut lines = daemon.lines();
    lines.ask(r#"{"subscribe":{"filters":["flood/**"],"slow":"gap"}}"#);
    let published = flood(&daemon);
    daemon.publish("flood/end", "end");
    let mut events = Vec::new();
    loop {
        let event = lines.event();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        if text("data") == "end" {
            break;
        }
        let kind = event["type"].as_str().map(ToOwned::to_owned);
        events.push(Sse { id: text("id"), kind, data: text("data") });
    }
    assert!(!account(&published, &events).is_empty());
}

#[test]
fn the_lag_of_a_subscriber_is_shown_in_the_list_of_clients() {
    let daemon = Daemon::configured("[limits]\nfeed_buffer = 100000000\n");
    let _slow = daemon.stream("/events/flood/**?client=slow");
    flood(&daemon);
    until("the lag is listed", || {
        let clients = daemon.get("/clients").json();
        let slow = clients.as_array().unwrap().iter().find(|client| client["name"] == "slow").unwrap().clone();
        (slow["lag"].as_u64().unwrap() > 50).then_some(())
    });
}

#[test]
fn an_unknown_policy_is_refused() {
    let daemon = Daemon::start(&[]);
    let response = daemon.get("/events/t?slow=drop");
    assert_eq!(response.refusal(), (400, "request_invalid".into()));
    assert!(response.text().contains("gap, latest, disconnect"));
    let reply = daemon.lines().ask(r#"{"subscribe":{"filters":["t"],"slow":"drop"}}"#);
    assert_eq!(reply["error"]["code"], "request_invalid");
}
