//! Subscribers that share a feed: more than are served in one turn, of many topics at once, and some with unicast
//! events in between.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{Daemon, EventStream};

/// Streams of one topic, more than a shard serves in one turn.
const MANY: usize = 300;

fn publish(topic: &str, to: Option<&str>, data: &str) -> Value {
    let mut publish = json!({"topic": topic, "data": data, "ack": "none"});
    if let Some(to) = to {
        publish["to"] = to.into();
    }
    json!({ "publish": publish })
}

/// Lines that the daemon reads as one batch.
fn batch(requests: impl IntoIterator<Item = Value>) -> String {
    requests.into_iter().fold(String::new(), |mut lines, request| {
        let _ = writeln!(lines, "{request}");
        lines
    })
}

/// Reads events, which must arrive in order, and returns their data.
fn data(stream: &mut EventStream, events: usize) -> Vec<String> {
    let events: Vec<_> = (0..events).map(|_| stream.event()).collect();
    // What is for one client has no id.
    let numbered: Vec<_> = events.iter().filter(|event| !event.id.is_empty()).collect();
    assert!(numbered.is_sorted_by(|a, b| a.seq() < b.seq()), "{events:#?}");
    events.into_iter().map(|event| event.data).collect()
}

#[test]
fn a_batch_for_many_topics_reaches_all_their_subscribers() {
    const TOPICS: usize = 150;
    const BATCHES: usize = 20;
    let daemon = Daemon::start(&[]);
    let stream = |topic: String| daemon.stream(&format!("/events/{topic}"));
    let many: Vec<_> = (0..MANY).map(|_| stream("many".into())).collect();
    let few: Vec<_> = (0..TOPICS).map(|n| stream(format!("few/{n}"))).collect();
    daemon.wait_for_subscribers((MANY + TOPICS) as u64);
    let mut lines = daemon.lines();
    for n in 0..BATCHES {
        let few = (0..TOPICS).map(|topic| publish(&format!("few/{topic}"), None, &n.to_string()));
        lines.send_raw(batch([publish("many", None, &n.to_string())].into_iter().chain(few)));
    }
    let expected: Vec<String> = (0..BATCHES).map(|n| n.to_string()).collect();
    for mut stream in many.into_iter().chain(few) {
        assert_eq!(data(&mut stream, BATCHES), expected);
    }
}

#[test]
fn unicast_and_broadcast_events_stay_in_order() {
    const BATCHES: usize = 100;
    /// Streams that receive unicast events within a batch; different ones in each.
    const STEP: usize = 7;
    let daemon = Daemon::start(&[]);
    let mut streams: Vec<_> = (0..MANY).map(|n| daemon.stream(&format!("/events/all?client=s{n}"))).collect();
    daemon.wait_for_subscribers(MANY as u64);
    let mut lines = daemon.lines();
    let mut expected = vec![Vec::new(); MANY];
    for n in 0..BATCHES {
        let mut requests = vec![publish("all", None, &format!("before {n}"))];
        for all in &mut expected {
            all.push(format!("before {n}"));
        }
        for one in (n % STEP..MANY).step_by(STEP) {
            requests.push(publish("own", Some(&format!("s{one}")), &format!("own {n}")));
            expected[one].push(format!("own {n}"));
        }
        requests.push(publish("all", None, &format!("after {n}")));
        for all in &mut expected {
            all.push(format!("after {n}"));
        }
        lines.send_raw(batch(requests));
    }
    for (stream, expected) in streams.iter_mut().zip(expected) {
        assert_eq!(data(stream, expected.len()), expected);
    }
}
