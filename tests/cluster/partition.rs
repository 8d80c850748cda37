//! One node is cut off from its server. It never delivers what the log does not have, and catches up.

use std::{
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{
        Daemon, EventStream, Link, Sse,
        nats::{NatsServer, node},
    },
    load::{Outcome, numbered, outcome, publish_all_of, publish_within},
    site::BUS,
};

/// Publishes at the node that is cut off; returns the data with the outcomes.
fn publish_cut_off(node: &Daemon) -> Vec<(String, Outcome)> {
    let mut connection = node.lines();
    let publish = |data: String| {
        let began = Instant::now();
        let reply = connection.ask(format!(r#"{{"publish":{{"topic":"t","data":"{data}"}}}}"#));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let outcome = outcome(&reply);
        assert!(!matches!(outcome, Outcome::Published(_)), "{reply}");
        (data, outcome)
    };
    numbered("cut-off", 1..=5).into_iter().map(publish).collect()
}

fn read_to_end(stream: &mut EventStream) -> Vec<Sse> {
    let mut events = Vec::new();
    loop {
        events.push(stream.event());
        if events.last().is_some_and(|event| event.data == "end") {
            return events;
        }
    }
}

fn cut_off(cut: fn(&Link)) {
    let server = NatsServer::start();
    let link = Link::to(server.port());
    let connected = node(&server.url(), BUS, "a", &[]);
    let cut_off = node(&format!("nats://{}", link.address), BUS, "b", &[]);
    let mut streams = [&connected, &cut_off].map(|node| node.stream("/events/t"));
    publish_all_of(&connected, "t", &numbered("before", 1..=20));

    cut(&link);
    publish_all_of(&connected, "t", &numbered("during", 1..=20));
    let outcomes = publish_cut_off(&cut_off);
    link.heal();

    publish_within(Duration::from_secs(15), &cut_off, "t", "healed");
    publish_within(Duration::from_secs(10), &connected, "t", "end");
    let [log, delivered] = streams.each_mut().map(read_to_end);
    assert_eq!(log, delivered);
    assert!(log.iter().all(|event| event.kind.is_none()), "{log:?}");
    for (data, outcome) in outcomes {
        let stored = log.iter().filter(|event| event.data == data).count();
        let most = usize::from(outcome == Outcome::Unknown);
        assert!(stored <= most, "{data}: {outcome:?}, stored {stored} times");
    }
    for data in [numbered("before", 1..=20), numbered("during", 1..=20), vec!["healed".into()]].concat() {
        assert_eq!(log.iter().filter(|event| event.data == data).count(), 1, "{data}");
    }
}

#[test]
#[ignore = "needs nats-server: it cuts off a node"]
fn a_node_behind_a_silent_network_delivers_only_what_the_log_has() {
    cut_off(Link::silence);
}

#[test]
#[ignore = "needs nats-server: it refuses the connections of a node"]
fn a_node_whose_connections_are_refused_delivers_only_what_the_log_has() {
    cut_off(Link::close);
}

/// The balancer sends a client to a node that has not received yet what another node has delivered to that client.
#[test]
#[ignore = "needs nats-server: it delays a node"]
fn a_client_that_is_ahead_of_its_new_node_continues_without_a_gap() {
    let server = NatsServer::start();
    let link = Link::to(server.port());
    let ahead = node(&server.url(), BUS, "a", &[]);
    let behind = node(&format!("nats://{}", link.address), BUS, "b", &[]);
    publish_all_of(&ahead, "t", &numbered("before", 1..=5));
    assert_eq!(behind.stream("/events/t?since=all").data(5), numbered("before", 1..=5));
    link.silence();
    let ids = publish_all_of(&ahead, "t", &numbered("during", 1..=5));
    let (begins, has_begun) = channel();
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            begins.send(()).unwrap();
            let mut stream = behind.stream_with("/events/t", &[("Last-Event-ID", &ids[2])]);
            [stream.event(), stream.event()].map(|event| (event.kind, event.data))
        });
        has_begun.recv().unwrap();
        // Meanwhile the node serves others, who see the request if it does not wait.
        behind.wait_for_subscribers(0);
        link.heal();
        assert_eq!(client.join().unwrap(), [(None, "during-4".to_owned()), (None, "during-5".to_owned())]);
    });
}
