//! When the bus wants to be called.

use std::{task::Waker, time::Duration};

use sse_bus::{
    Epoch, FilterSet,
    bus::{Bus, ClientId, Format, Framing, Start, Subscription, history::Memory},
    limits::{CALLS_MAX, Limits},
    retention::Retention,
};

use super::{at, bus, drain, event, keeping, publish};

fn subscribe(bus: &mut Bus, format: Format, heartbeat: u64) -> ClientId {
    let mut subscription = Subscription::new(FilterSet::parse(&["t"]).expect("legal"), format);
    (subscription.start, subscription.heartbeat) = (Start::Now, Duration::from_secs(heartbeat));
    bus.subscribe(subscription, at(0)).expect("taken").0
}

#[test]
fn a_bus_without_streams_and_events_never_wants_to() {
    let mut bus = keeping(10);
    assert_eq!(bus.next_timeout(), None);
    // The local socket has no heartbeats.
    subscribe(&mut bus, Format::Json, 1);
    assert_eq!(bus.next_timeout(), None);
}

#[test]
fn an_event_that_grows_too_old_is_evicted_at_its_time() {
    let mut bus = bus(Retention { age: Duration::from_secs(10), ..Retention::default() }, Limits::default());
    publish(&mut bus, event("t", "x"));
    assert_eq!(bus.next_timeout(), Some(10_001));
    bus.tick(at(10_000));
    assert_eq!((bus.next_timeout(), bus.status().history_events), (Some(11_000), 1), "a second after the last");
    bus.tick(at(11_000));
    assert_eq!((bus.next_timeout(), bus.status().history_events), (None, 0));
}

#[test]
fn a_heartbeat_comes_at_the_timeout() {
    let mut bus = keeping(10);
    let ids = [4, 60].map(|seconds| subscribe(&mut bus, Format::SseData, seconds));
    for id in ids {
        drain(&mut bus, id);
    }
    let mut times = [Vec::new(), Vec::new()];
    while let Some(now) = bus.next_timeout().filter(|now| *now <= 70_000) {
        bus.tick(at(now));
        for (id, times) in ids.iter().zip(&mut times) {
            let mut out = Vec::new();
            let _ = bus.read(*id, at(now), Waker::noop(), &mut out);
            times.extend((!out.is_empty()).then_some(now / 1000));
        }
    }
    // The clients c1 and c2.
    assert_eq!(times, [(0..18).map(|n| 3 + 4 * n).filter(|n| *n <= 70).collect(), vec![58]]);
    for id in ids {
        bus.disconnect(id, at(0));
    }
    assert_eq!(bus.next_timeout(), None);
}

#[test]
fn heartbeats_are_made_due_some_at_a_time() {
    let mut bus = keeping(10);
    let reader = bus.add_reader(Waker::noop().clone(), Framing::Plain);
    let mut ids: Vec<_> = (0..2 * CALLS_MAX + 10).map(|_| subscribe(&mut bus, Format::SseData, 1)).collect();
    for id in &ids {
        bus.assign(*id, reader);
        drain(&mut bus, *id);
    }
    let mut all = Vec::new();
    for expected in [CALLS_MAX, CALLS_MAX, 9] {
        assert!(bus.next_timeout() <= Some(5000));
        bus.tick(at(5000));
        let called = bus.called_heartbeats(reader);
        assert_eq!(called.len(), expected);
        all.extend(called);
        // One leaves meanwhile.
        if expected == CALLS_MAX && all.len() == expected {
            bus.disconnect(ids.pop().expect("there are many"), at(5000));
        }
    }
    all.sort_unstable();
    assert_eq!(all, ids);
    assert_eq!(bus.next_timeout(), Some(6000));
}

#[test]
fn a_retained_event_is_removed_from_memory_and_disk_when_it_expires() {
    let history = Memory::persistent(Retention { events: 0, ..Retention::default() }, 0);
    let mut bus = Bus::new(Epoch::parse("e").expect("legal"), Limits::default(), Box::new(history));
    let mut publication = event("a", "secret").retained();
    publication.ttl = Some(Duration::from_secs(5));
    let seq = publish(&mut bus, publication);
    assert_eq!(bus.take_batch(1000).expect("on disk").entries.len(), 1);
    bus.tick(at(1000));
    assert_eq!(bus.next_timeout(), Some(5000));
    bus.tick(at(4999));
    assert_eq!((bus.has_changed(), bus.status().retained), (false, 1));
    bus.tick(at(5000));
    assert_eq!((bus.has_changed(), bus.status().retained), (true, 0));
    let batch = bus.take_batch(1000).expect("on disk");
    assert_eq!((batch.removed, batch.topics[0].past.retained), (vec![seq], None));
}
