//! Subscribers of many topics that do not read: the cost of each does not grow with the topics, and publishing
//! continues.

use std::{fmt::Write as _, io::Write as _, net::TcpStream};

use crate::{
    harness::{Daemon, until},
    measure::{OtherPublisher, alone, resident},
};

/// KiB per subscriber: a read of history that its socket does not accept, and the cost of a stream. Before snapshots
/// and losses were read in steps, it was 4 to 6 MiB.
const EACH: usize = 160;

/// Publishes events, given as the fields after the topic, to each of many topics in turn.
fn publish_to_each(daemon: &Daemon, topics: usize, fields: &str) {
    let mut lines = daemon.lines();
    for first in (0..topics).step_by(500) {
        let mut batch = String::new();
        for topic in first..topics.min(first + 500) {
            let line = format!(r#"{{"publish":{{"topic":"many/{topic}",{fields},"ack":"none"}}}}"#);
            writeln!(batch, "{line}").unwrap();
        }
        lines.send(batch.trim_end());
    }
    // Answered once all of them are published.
    assert!(lines.ask(r#"{"status":{}}"#)["status"].is_object());
}

/// Opens streams without reading. Returns the memory of each, in KiB.
fn cost_of_each(daemon: &Daemon, path: &str, subscribers: usize) -> usize {
    let witness = OtherPublisher::start(daemon);
    witness.latencies(200);
    let before = resident(daemon);
    witness.begin();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", daemon.address);
    let streams: Vec<TcpStream> = (0..subscribers)
        .map(|_| {
            let mut stream = daemon.tcp();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    daemon.wait_for_subscribers(subscribers as u64);
    let latencies = witness.latencies(200);
    let each = resident(daemon).saturating_sub(before) / subscribers;
    eprintln!("{subscribers} streams of {path}: {each} KiB each; another publisher: {latencies}");
    drop(streams);
    until("they disconnect", || (daemon.status()["subscribers"] == 0).then_some(()));
    each
}

#[test]
fn a_large_unread_snapshot_costs_no_more_than_any_stream() {
    let _alone = alone();
    let daemon = Daemon::start(&["--log", "warn"]);
    publish_to_each(&daemon, 50_000, r#""data":"x","retain":true"#);
    assert_eq!(daemon.status()["retained"], 50_000);
    for path in ["/events", "/events?since=latest"] {
        let each = cost_of_each(&daemon, path, 500);
        assert!(each < EACH, "{path}: {each} KiB for each");
    }
}

#[test]
fn unread_losses_of_many_topics_cost_no_more_than_any_stream() {
    let _alone = alone();
    let daemon = Daemon::start(&["--log", "warn", "--history-events", "1"]);
    for data in ["lost", "kept"] {
        publish_to_each(&daemon, 90_000, &format!(r#""data":"{data}""#));
    }
    for path in ["/events?since=all", "/events?last_event_id=other-1"] {
        let each = cost_of_each(&daemon, path, 150);
        assert!(each < EACH, "{path}: {each} KiB for each");
    }
}

#[test]
fn large_unread_events_of_history_wait_once_for_all_streams() {
    let _alone = alone();
    for history in ["memory", "disk"] {
        let daemon = Daemon::start(&["--log", "warn", "--history", history]);
        for _ in 0..200 {
            daemon.publish("large", "x".repeat(250_000));
        }
        let first = daemon.status()["position"].as_str().unwrap().replace("-200", "-0");
        for path in ["/events/large?since=all", &format!("/events/large?last_event_id={first}")] {
            let each = cost_of_each(&daemon, path, 1500);
            assert!(each < 64, "{history}, {path}: {each} KiB for each");
        }
    }
}

#[test]
fn large_unread_events_wait_once_for_all_local_subscribers() {
    const SUBSCRIBERS: usize = 400;
    let _alone = alone();
    let daemon = Daemon::start(&["--log", "warn"]);
    for _ in 0..50 {
        daemon.publish("large", "x".repeat(250_000));
    }
    let before = resident(&daemon);
    let _subscribers: Vec<_> = (0..SUBSCRIBERS)
        .map(|_| {
            let mut lines = daemon.lines();
            lines.send(r#"{"subscribe":{"filters":["large"],"since":"all"}}"#);
            lines
        })
        .collect();
    daemon.wait_for_subscribers(SUBSCRIBERS as u64);
    // Answered once the others have received what their sockets accept.
    OtherPublisher::start(&daemon).latencies(200);
    let each = resident(&daemon).saturating_sub(before) / SUBSCRIBERS;
    eprintln!("{SUBSCRIBERS} local subscribers: {each} KiB each");
    assert!(each < 160, "{each} KiB for each");
}
