//! A connection that publishes many events without waiting for the replies.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    harness::{
        nats::{NatsServer, node},
        until,
    },
    load::{Outcome, outcome},
    site::BUS,
};

const EVENTS: usize = 3000;

fn publish(topic: &str, data: impl ToString, dedup_id: Option<&str>) -> String {
    let mut publish = json!({"topic": topic, "data": data.to_string()});
    if let Some(id) = dedup_id {
        publish["dedup_id"] = id.into();
    }
    json!({ "publish": publish }).to_string()
}

#[test]
#[ignore = "needs nats-server: a node publishes to it"]
fn replies_follow_in_the_order_of_requests_of_all_kinds() {
    let server = NatsServer::start();
    let node = node(&server.url(), BUS, "a", &[]);
    let mut lines = node.lines();
    let mut requests = Vec::new();
    for number in 0..EVENTS {
        requests.push(match number {
            500 => publish("not//valid", number, None),
            600 => "no request".into(),
            number if number % 100 == 99 => r#"{"topics":{}}"#.into(),
            number => publish("t", number, None),
        });
    }
    requests.push(r#"{"subscribe":{"filters":["t"],"since":"now"}}"#.into());
    lines.send_raw(requests.join("\n") + "\n");
    let (mut last, mut published) = (0, 0);
    for number in 0..EVENTS {
        let reply = lines.reply();
        match number {
            500 | 600 => assert_eq!(reply["error"]["request"], number + 1, "{reply}"),
            number if number % 100 == 99 => {
                // It sees everything that was published before.
                assert_eq!(reply["topics"][0]["events"], published, "{reply}");
            }
            number => {
                let id = reply["published"]["id"].as_str().unwrap_or_else(|| panic!("{number}: {reply}"));
                let seq: u64 = id.split('-').nth(1).unwrap().parse().unwrap();
                assert!(seq > last, "{seq} after {last}");
                (last, published) = (seq, published + 1);
            }
        }
    }
    // A subscription begins after everything that its connection has published before.
    let reply = lines.reply();
    assert!(reply["subscribed"].is_object(), "{reply}");
    node.publish("t", "later");
    assert_eq!(lines.reply()["event"]["data"], "later");
}

#[test]
#[ignore = "needs nats-server: it is killed while a node publishes"]
fn every_publish_is_answered_when_the_server_dies_and_a_repeat_is_stored_once() {
    let mut server = NatsServer::start();
    let node = node(&server.url(), BUS, "a", &[]);
    let mut lines = node.lines();
    let mut left: Vec<String> = (0..EVENTS).map(|number| format!("id-{number}")).collect();
    let mut published = BTreeMap::new();
    let mut is_killed = false;
    until("everything is published", || {
        let requests: Vec<_> = left.iter().map(|id| publish("t", id, Some(id))).collect();
        lines.send_raw(requests.join("\n") + "\n");
        let mut again = Vec::new();
        for (number, id) in left.drain(..).enumerate() {
            if number == EVENTS / 10 && !is_killed {
                is_killed = true;
                server.kill();
                server.start_again();
            }
            match outcome(&lines.reply()) {
                Outcome::Published(event) => drop(published.insert(event, id)),
                Outcome::Refused | Outcome::Unknown => again.push(id),
            }
        }
        left = again;
        left.is_empty().then_some(())
    });
    assert_eq!(published.len(), EVENTS);
    node.publish("t", "end");
    let mut stream = node.stream("/events/t?since=all&format=json");
    let mut received = BTreeMap::new();
    loop {
        let event = stream.event().json();
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        if text("data") == "end" {
            break;
        }
        received.insert(text("id"), text("data"));
    }
    assert_eq!(received, published);
}
