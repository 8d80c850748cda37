//! Several workers: turns, consumers beside each other, and workers that leave.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use sse_bus::{
    bus::{
        Bus,
        consumers::{ConsumerSettings, Delivery, Departure},
    },
    limits::TAKE_MAX,
    protocol::ErrorCode,
};

use super::{
    at,
    consumers::{ack, attempts, create, name, settings, take, worker},
    event, keeping, publish,
};

/// Is set when a worker is woken.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Flag {
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

#[test]
fn workers_take_turns() {
    let mut bus = keeping(1000);
    create(&mut bus, "jobs", settings("a"));
    let (large, small) = (worker(&mut bus, "jobs", 1000), worker(&mut bus, "jobs", 1));
    let (large_calls, small_calls) = (Arc::new(Flag::default()), Arc::new(Flag::default()));
    let takes = |bus: &mut Bus, worker, calls: &Arc<Flag>| {
        let taken = bus.take(worker, usize::MAX, at(0), &Waker::from(calls.clone())).unwrap();
        bus.finish().wake();
        taken.deliveries.len()
    };
    assert_eq!((takes(&mut bus, large, &large_calls), takes(&mut bus, small, &small_calls)), (0, 0));
    for _ in 0..200 {
        publish(&mut bus, event("a", "x"));
    }
    bus.finish().wake();
    assert!(large_calls.take() && !small_calls.take(), "one worker is called");
    assert_eq!(takes(&mut bus, large, &large_calls), TAKE_MAX);
    assert!(small_calls.take(), "then the other one");
    assert_eq!(takes(&mut bus, large, &large_calls), 0, "it is the turn of the small one");
    assert_eq!(takes(&mut bus, small, &small_calls), 1);
    assert!(large_calls.take());
}

#[test]
fn a_worker_that_does_not_use_its_turn_loses_it() {
    let mut bus = keeping(1000);
    create(&mut bus, "jobs", settings("a"));
    let calls = Arc::new(Flag::default());
    let (idle, other) = (worker(&mut bus, "jobs", 1), worker(&mut bus, "jobs", 1));
    for worker in [idle, other] {
        assert!(bus.take(worker, 1, at(0), &Waker::from(calls.clone())).unwrap().deliveries.is_empty());
    }
    publish(&mut bus, event("a", "x"));
    bus.finish().wake();
    assert!(calls.take());
    assert!(take(&mut bus, other, 99).is_empty());
    bus.tick(at(100));
    assert_eq!(attempts(&take(&mut bus, other, 100)), [(1, 1)]);
    assert!(take(&mut bus, idle, 100).is_empty());
}

#[test]
fn two_consumers_do_not_disturb_each_other() {
    let mut bus = keeping(10);
    create(&mut bus, "one", ConsumerSettings { max_in_flight: 1, ..settings("a") });
    create(&mut bus, "two", settings("**"));
    let (one, two) = (worker(&mut bus, "one", 10), worker(&mut bus, "two", 10));
    for _ in 0..3 {
        publish(&mut bus, event("a", "x"));
    }
    bus.pause_consumer(&name("one"), true, at(0)).unwrap();
    assert!(take(&mut bus, one, 0).is_empty());
    assert_eq!(attempts(&take(&mut bus, two, 0)), [(1, 1), (2, 1), (3, 1)]);
    bus.delete_consumer(&name("two"), at(0)).unwrap();
    assert_eq!(bus.take(two, 1, at(0), Waker::noop()).unwrap_err().code, ErrorCode::ConsumerUnknown);
    bus.pause_consumer(&name("one"), false, at(0)).unwrap();
    assert_eq!(attempts(&take(&mut bus, one, 0)), [(1, 1)]);
}

#[test]
fn the_end_of_a_worker_returns_its_deliveries() {
    let mut bus = keeping(10);
    create(&mut bus, "jobs", settings("a"));
    publish(&mut bus, event("a", "x"));
    let mut take_with = |departure, ms, attempt| {
        let id = worker(&mut bus, "jobs", 1);
        assert_eq!(attempts(&take(&mut bus, id, ms)), [(1, attempt)], "{departure:?}");
        bus.remove_worker(id, departure, at(ms));
        bus.tick(at(ms + 1000));
    };
    take_with(Departure::Released, 0, 1);
    take_with(Departure::Lost, 0, 1);
    take_with(Departure::Detached, 1000, 2);
    let id = worker(&mut bus, "jobs", 1);
    assert!(take(&mut bus, id, 30_999).is_empty(), "it is in flight until its deadline");
    bus.tick(at(31_000));
    bus.tick(at(41_000));
    assert_eq!(attempts(&take(&mut bus, id, 41_000)), [(1, 3)]);
}

#[test]
fn the_end_of_a_worker_with_the_daemon_does_not_count_the_attempt() {
    let mut bus = keeping(10);
    create(&mut bus, "jobs", settings("a"));
    publish(&mut bus, event("a", "x"));
    let id = worker(&mut bus, "jobs", 1);
    assert_eq!(attempts(&take(&mut bus, id, 0)), [(1, 1)]);
    bus.close();
    bus.remove_worker(id, Departure::Lost, at(0));
    let id = worker(&mut bus, "jobs", 1);
    assert_eq!(attempts(&take(&mut bus, id, 0)), [(1, 1)]);
}

#[test]
fn a_worker_that_takes_soon_is_not_woken() {
    let mut bus = keeping(10);
    create(&mut bus, "jobs", ConsumerSettings { max_in_flight: 1, ..settings("a") });
    let (one, other) = (worker(&mut bus, "jobs", 1), worker(&mut bus, "jobs", 1));
    let (calls, other_calls) = (Arc::new(Flag::default()), Arc::new(Flag::default()));
    let takes = |bus: &mut Bus, worker, calls: &Arc<Flag>| {
        let taken = bus.take(worker, usize::MAX, at(0), &Waker::from(calls.clone())).unwrap();
        bus.finish().wake();
        taken.deliveries
    };
    let acks = |bus: &mut Bus, deliveries: &[Delivery]| {
        bus.stop_waiting(one);
        ack(bus, &deliveries[0], 0);
        bus.finish().wake();
    };
    publish(&mut bus, event("a", "1"));
    let first = takes(&mut bus, one, &calls);
    publish(&mut bus, event("a", "2"));
    acks(&mut bus, &first);
    assert!(!calls.take(), "it takes by itself");
    let second = takes(&mut bus, one, &calls);
    assert_eq!(attempts(&second), [(2, 1)]);
    // The turn of another worker is not lost.
    assert!(takes(&mut bus, other, &other_calls).is_empty());
    publish(&mut bus, event("a", "3"));
    acks(&mut bus, &second);
    assert!(!calls.take() && other_calls.take(), "the other one is called");
    assert!(takes(&mut bus, one, &calls).is_empty());
    assert_eq!(attempts(&takes(&mut bus, other, &other_calls)), [(3, 1)]);
}
