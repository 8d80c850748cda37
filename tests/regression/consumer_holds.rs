//! Consumers that hold events: beyond the bounds of history, and when it is full.

use std::{task::Waker, time::Duration};

use sse_bus::{
    bus::{
        Bus, Start,
        consumers::{ConsumerSettings, Missed, WorkerId},
    },
    limits::Limits,
    protocol::{ErrorCode, OnFull},
    retention::Retention,
};

use super::{
    at, bus,
    consumers::{ack, create, name, settings, take, worker},
    drain, event, keeping, publish, subscribe,
};

fn missed(bus: &mut Bus, worker: WorkerId) -> Option<Missed> {
    bus.take(worker, 1, at(0), Waker::noop()).expect("a worker").missed
}

#[test]
fn held_events_outlive_the_bounds_and_subscribers_do_not_see_them() {
    let mut bus = keeping(2);
    create(&mut bus, "jobs", settings("a"));
    for n in 1..=200 {
        publish(&mut bus, event("a", &n.to_string()));
        publish(&mut bus, event("b", "-"));
    }
    let reader = subscribe(&mut bus, &["a"], Start::All);
    assert_eq!(drain(&mut bus, reader), ["397", "399"], "subscribers have what the bounds allow");
    let one = worker(&mut bus, "jobs", 1000);
    let deliveries = take(&mut bus, one, 0);
    assert_eq!(deliveries.len(), 200);
    let info = bus.describe_consumer(&name("jobs"), at(0)).unwrap();
    assert_eq!((info.in_flight, info.pending, info.missed), (200, 0, 0));
    for delivery in &deliveries {
        ack(&mut bus, delivery, 1);
        #[cfg(debug_assertions)]
        bus.self_check();
    }
}

/// A bus whose consumer `jobs` holds as much as the budget allows, and how many events of the topic `a` were accepted.
fn full(on_full: OnFull) -> (Bus, u64) {
    let retention = Retention { events: 2, budget: 20_000, ..Retention::default() };
    let mut bus = bus(retention, Limits::default());
    create(&mut bus, "jobs", ConsumerSettings { on_full, ..settings("a") });
    let mut accepted = 0;
    for _ in 0..100 {
        accepted += u64::from(bus.publish(event("a", "x"), None, at(0)).is_ok());
    }
    (bus, accepted)
}

#[test]
fn a_full_history_refuses_and_names_the_consumer() {
    let (mut bus, accepted) = full(OnFull::Refuse);
    assert!((20..60).contains(&accepted), "{accepted}");
    let refused = bus.publish(event("a", "x"), None, at(0)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::LimitHistory);
    assert!(refused.message.contains("`jobs`"), "{refused}");
    // Others are not affected.
    publish(&mut bus, event("b", "x"));
    // What is done makes room.
    let one = worker(&mut bus, "jobs", 1000);
    for delivery in take(&mut bus, one, 0) {
        ack(&mut bus, &delivery, 0);
    }
    publish(&mut bus, event("a", "x"));
    assert_eq!(bus.describe_consumer(&name("jobs"), at(0)).unwrap().acknowledged, accepted);
}

#[test]
fn deleting_the_consumer_makes_room() {
    let (mut bus, _) = full(OnFull::Refuse);
    bus.delete_consumer(&name("jobs"), at(0)).unwrap();
    publish(&mut bus, event("a", "x"));
    while bus.next_timeout() == Some(0) {
        bus.tick(at(0));
    }
    #[cfg(debug_assertions)]
    bus.self_check();
}

#[test]
fn a_consumer_that_drops_receives_a_gap() {
    let (mut bus, accepted) = full(OnFull::Drop);
    assert_eq!(accepted, 100);
    let one = worker(&mut bus, "jobs", 1);
    let Missed { events, from, to } = missed(&mut bus, one).expect("a gap");
    assert_eq!((from.seq, to.seq), (1, events));
    let rest = bus.describe_consumer(&name("jobs"), at(0)).unwrap();
    assert_eq!(events + rest.pending + rest.in_flight, 100, "each event is missed or delivered");
    assert_eq!(missed(&mut bus, one), None, "a gap is reported once");
}

#[test]
fn a_consumer_without_workers_stops_holding() {
    let mut bus = keeping(1);
    create(&mut bus, "jobs", ConsumerSettings { inactive_after: Duration::from_secs(1), ..settings("a") });
    for _ in 0..5 {
        publish(&mut bus, event("a", "x"));
    }
    bus.tick(at(999));
    assert!(bus.describe_consumer(&name("jobs"), at(999)).unwrap().holding);
    bus.tick(at(1000));
    while bus.next_timeout().is_some_and(|next| next <= 1000) {
        bus.tick(at(1000));
    }
    let info = bus.describe_consumer(&name("jobs"), at(1000)).unwrap();
    assert_eq!((info.holding, info.pending, info.missed), (false, 1, 4));
    // A worker makes it active again.
    let one = worker(&mut bus, "jobs", 1);
    assert!(bus.describe_consumer(&name("jobs"), at(1000)).unwrap().holding);
    assert_eq!(missed(&mut bus, one).map(|missed| missed.events), Some(4));
}
