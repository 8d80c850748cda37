//! The status of the bus counts every client, event and gap.

use std::task::Waker;

use sse_bus::{
    bus::{Description, Read, Start},
    limits::Limits,
    protocol::{HistoryKind, Slow, Transport},
    retention::Retention,
};

use super::{after, at, bus, drain, event, publish, subscribe, subscribe_at};

#[test]
fn the_status_counts_clients_events_and_gaps() {
    let retention = Retention { events: 2, budget: 12_345_678, ..Retention::default() };
    let mut bus = bus(retention, Limits { feed_buffer: 1, ..Limits::default() });
    let publishers =
        [(); 3].map(|()| bus.add_publisher(Description::default(), Transport::Json, at(0)).expect("taken"));
    bus.disconnect(publishers[0], at(0));
    for _ in 0..4 {
        publish(&mut bus, event("a", "x"));
    }
    publish(&mut bus, event("b", "x").retained());
    let resumed = subscribe(&mut bus, &["a"], after(0));
    assert_eq!(drain(&mut bus, resumed), ["2 gap 1..=2 Some(2)", "3", "4"]);
    let slow = subscribe_at(&mut bus, &["b"], Start::Now, Slow::Disconnect, at(0));
    for _ in 0..2 {
        publish(&mut bus, event("b", "x"));
        bus.finish().wake();
    }
    while bus.read(slow, at(0), Waker::noop(), &mut Vec::new()) != Read::Ended {}
    // The transport finds that a client takes no bytes.
    let stalled = subscribe(&mut bus, &["b"], Start::Now);
    bus.disconnect_slow(stalled, at(0));
    bus.disconnect_slow(stalled, at(0));

    let status = bus.status();
    assert_eq!((status.subscribers, status.publishers, status.topics), (1, 2, 2));
    assert_eq!((status.position.as_str(), status.published, status.delivered), ("e-7", 7, 2));
    assert_eq!((status.history, status.history_events, status.retained), (HistoryKind::Memory, 4, 1));
    assert_eq!((status.history_budget, status.gaps, status.slow_disconnects), (12_345_678, 1, 2));
    let topics = bus.topics(at(0));
    assert_eq!(status.history_bytes, topics.iter().map(|info| info.bytes).sum::<u64>());
    let topics: Vec<_> = topics
        .iter()
        .map(|info| (&*info.topic, info.published, info.events, info.retained, info.subscribers, info.last_time))
        .collect();
    assert_eq!(topics, [("a", 4, 2, false, 1, Some(0)), ("b", 3, 2, true, 0, Some(0))]);
    assert!(status.limits.iter().all(|info| info.bound > info.used), "{:?}", status.limits);
    let used: Vec<_> = status.limits.iter().filter(|info| info.used > 0).map(|info| &*info.limit).collect();
    assert_eq!(used, ["topics", "subscribers", "filters_bytes", "publishers", "retained_bytes"]);
    let limits: Vec<_> = status.limits.iter().map(|info| &*info.limit).collect();
    let of_consumers = ["consumers", "workers", "unfinished_events", "dead_letters", "held_bytes"];
    assert!(of_consumers.iter().all(|limit| limits.contains(limit)), "{limits:?}");
}
