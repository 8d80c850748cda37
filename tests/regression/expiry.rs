//! Events whose TTL has expired leave history, in memory and on disk, in steps.

use std::time::Duration;

use sse_bus::{
    Epoch,
    bus::{Bus, Start, history::Memory},
    limits::{EXPIRE_MAX, Limits},
    retention::Retention,
};

use super::{at, drain, event, keeping, publish, subscribe};

/// Publishes an event with a TTL in milliseconds.
fn publish_for(bus: &mut Bus, topic: &str, ttl: u64) -> u64 {
    let mut publication = event(topic, "x");
    publication.ttl = Some(Duration::from_millis(ttl));
    publish(bus, publication)
}

fn events(bus: &Bus) -> u64 {
    #[cfg(debug_assertions)]
    bus.self_check();
    bus.status().history_events
}

#[test]
fn an_expired_event_is_removed_between_events_that_remain() {
    let mut bus = keeping(100);
    let first = publish(&mut bus, event("t", "x"));
    publish_for(&mut bus, "t", 2000);
    let long = publish_for(&mut bus, "t", 60_000);
    publish_for(&mut bus, "t", 1500);
    let last = publish(&mut bus, event("t", "x"));
    let mut publication = event("t", "x").retained();
    publication.ttl = Some(Duration::from_secs(1));
    publish(&mut bus, publication);
    assert_eq!(bus.next_timeout(), Some(1000));
    for (time, left) in [(999, 6), (1000, 5), (1999, 4), (2000, 3)] {
        bus.tick(at(time));
        assert_eq!(events(&bus), left, "events at {time}");
    }
    assert_eq!(bus.status().retained, 0);
    // Events that have expired are not lost.
    let all = subscribe(&mut bus, &["t"], Start::All);
    assert_eq!(drain(&mut bus, all), [first, long, last].map(|seq| seq.to_string()));
    bus.tick(at(60_000));
    assert_eq!(events(&bus), 2);
}

#[test]
fn very_many_expired_events_are_removed_in_steps() {
    let mut bus = keeping(usize::MAX);
    let many = 3 * EXPIRE_MAX as u64;
    for n in 0..many {
        publish_for(&mut bus, &format!("t/{}", n % 5), 1000 + n % 7);
    }
    for step in 1..=3 {
        assert!(bus.next_timeout().is_some_and(|due| due <= 2000), "there is more to remove");
        bus.tick(at(2000));
        assert_eq!(events(&bus), many - step * EXPIRE_MAX as u64);
    }
    assert_eq!(bus.next_timeout().filter(|due| *due <= 2000), None);
}

#[test]
fn expired_events_are_removed_from_the_disk() {
    let history = Memory::persistent(Retention::default(), 0);
    let mut bus = Bus::new(Epoch::parse("e").expect("legal"), Limits::default(), Box::new(history));
    publish(&mut bus, event("t", "x"));
    let written = publish_for(&mut bus, "t", 1000);
    let batch = bus.take_batch(usize::MAX).expect("there are changes");
    assert_eq!(batch.entries.len(), 2);
    drop(bus.written(batch.head));
    publish_for(&mut bus, "t", 1000);
    bus.tick(at(1000));
    let batch = bus.take_batch(usize::MAX).expect("there are changes");
    assert_eq!((batch.removed, batch.entries.len()), (vec![written], 0), "the last one was never written");
    assert_eq!(events(&bus), 1);
}
