//! Work on large consumers is done in steps, and calls between these steps see it as done.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
    time::Duration,
};

use sse_bus::{
    Epoch, FilterSet,
    bus::{
        Bus,
        consumers::{ConsumerName, ConsumerSettings, Delivery, Departure, SeekTo, Settlement, WorkerId},
        history::Memory,
    },
    limits::{CHORES_AT_ONCE, Limits},
    protocol::ErrorCode,
    retention::Retention,
};

use super::{at, event, keeping, publish};

/// More than three steps.
const MANY: usize = 3 * CHORES_AT_ONCE + 1;

#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn name(text: &str) -> ConsumerName {
    ConsumerName::parse(text).expect("legal")
}

fn create(bus: &mut Bus, consumer: &str) {
    let settings = ConsumerSettings {
        ack_wait: Duration::from_millis(100),
        max_in_flight: MANY,
        ..ConsumerSettings::new(FilterSet::parse(&["t"]).expect("legal"))
    };
    assert_eq!(bus.create_consumer(&name(consumer), settings, SeekTo::Now, at(0)), Ok(true));
}

fn worker(bus: &mut Bus, consumer: &str) -> WorkerId {
    bus.add_worker(&name(consumer), "w", MANY, at(0)).expect("a consumer")
}

/// Takes everything, without finishing the steps of other operations.
fn take(bus: &mut Bus, worker: WorkerId, ms: u64) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    loop {
        let taken = bus.take(worker, usize::MAX, at(ms), Waker::noop()).expect("a worker");
        if taken.deliveries.is_empty() {
            return deliveries;
        }
        deliveries.extend(taken.deliveries);
    }
}

fn finish(bus: &mut Bus) {
    bus.finish().wake();
    #[cfg(debug_assertions)]
    bus.self_check();
}

#[test]
fn a_consumer_that_is_moved_delivers_after_its_last_step_and_earlier_tokens_are_stale_before() {
    let mut bus = keeping(10_000);
    create(&mut bus, "c");
    for _ in 0..MANY {
        publish(&mut bus, event("t", "x"));
    }
    let worker = worker(&mut bus, "c");
    let old = take(&mut bus, worker, 0);
    assert_eq!(old.len(), MANY);
    let calls = Arc::new(Calls::default());
    let take_nothing = |bus: &mut Bus| {
        let taken = bus.take(worker, MANY, at(0), &Waker::from(calls.clone())).expect("there");
        assert!(taken.deliveries.is_empty());
    };
    take_nothing(&mut bus);
    bus.seek_consumer(&name("c"), SeekTo::All, at(0)).expect("there");
    take_nothing(&mut bus);
    for delivery in &old {
        let refused = bus.settle(delivery.token, Settlement::Ack, at(0)).expect_err("stale");
        assert_eq!(refused.code, ErrorCode::StaleDelivery);
    }
    finish(&mut bus);
    assert_eq!(calls.0.load(Ordering::Relaxed), 1, "there is something to take");
    // In the same millisecond: the new deadlines are the old ones.
    let new = take(&mut bus, worker, 0);
    assert_eq!(new.len(), MANY, "every event is delivered again");
    let (last, acknowledged) = new.split_last().expect("many");
    for delivery in acknowledged {
        assert_eq!(bus.settle(delivery.token, Settlement::Ack, at(1)), Ok(None));
    }
    bus.tick(at(100));
    finish(&mut bus);
    // The deadline of the last one is still there, and its attempt has failed.
    assert!(bus.settle(last.token, Settlement::Ack, at(101)).is_err());
    bus.tick(at(1100));
    let again = take(&mut bus, worker, 1100);
    assert_eq!(
        again.iter().map(|delivery| (delivery.event.id.seq, delivery.attempt)).collect::<Vec<_>>(),
        [(MANY as u64, 2)]
    );
    finish(&mut bus);
}

#[test]
fn all_deliveries_of_a_worker_that_is_lost_fail_once() {
    let mut bus = keeping(10_000);
    create(&mut bus, "c");
    for _ in 0..MANY {
        publish(&mut bus, event("t", "x"));
    }
    let first = worker(&mut bus, "c");
    let deliveries = take(&mut bus, first, 0);
    bus.remove_worker(first, Departure::Lost, at(0));
    // Some are still in flight, and one of them is acknowledged.
    let last = deliveries.last().expect("many");
    assert_eq!(bus.settle(last.token, Settlement::Ack, at(0)), Ok(None));
    finish(&mut bus);
    assert!(bus.settle(deliveries[MANY - 2].token, Settlement::Ack, at(0)).is_err());
    bus.tick(at(1000));
    let second = worker(&mut bus, "c");
    while bus.next_timeout().is_some_and(|due| due <= 1000) {
        bus.tick(at(1000));
    }
    let again = take(&mut bus, second, 1000);
    assert_eq!(again.len(), MANY - 1);
    assert!(again.iter().all(|delivery| delivery.attempt == 2));
    finish(&mut bus);
}

#[test]
fn a_worker_of_each_of_very_many_consumers_is_called_for_an_event() {
    let mut bus = keeping(10_000);
    let consumers: Vec<String> = (0..MANY).map(|n| n.to_string()).collect();
    let calls = Arc::new(Calls::default());
    let waker = Waker::from(calls.clone());
    let workers: Vec<_> = consumers
        .iter()
        .map(|consumer| {
            create(&mut bus, consumer);
            let worker = worker(&mut bus, consumer);
            assert!(bus.take(worker, 1, at(0), &waker).expect("there").deliveries.is_empty());
            worker
        })
        .collect();
    for _ in 0..2 {
        publish(&mut bus, event("t", "x"));
    }
    bus.delete_consumer(&name("0"), at(0)).expect("there");
    finish(&mut bus);
    assert_eq!(calls.0.load(Ordering::Relaxed), MANY, "each once, and the worker of the deleted one");
    for worker in &workers[1..] {
        assert_eq!(take(&mut bus, *worker, 0).len(), 2);
    }
    finish(&mut bus);
}

#[test]
fn a_consumer_that_is_created_again_is_first_removed_from_the_disk() {
    let history = Memory::persistent(Retention::default(), 0);
    let mut bus = Bus::new(Epoch::from_seed(1), Limits::default(), Box::new(history));
    for consumer in ["a", "b", "c"] {
        create(&mut bus, consumer);
    }
    while bus.take_consumer_changes().more {}
    for consumer in ["a", "b", "c"] {
        bus.delete_consumer(&name(consumer), at(0)).expect("there");
        create(&mut bus, consumer);
    }
    let (mut removed, mut records) = (Vec::new(), Vec::new());
    loop {
        let changes = bus.take_consumer_changes();
        assert!(records.is_empty() || changes.removed.is_empty(), "a removal after a record");
        removed.extend(changes.removed);
        records.extend(changes.records.into_iter().map(|record| record.name));
        if !changes.more {
            break;
        }
    }
    let all = ["a", "b", "c"].map(name);
    assert_eq!((removed, records), (all.to_vec(), all.to_vec()));
    assert!(!bus.have_consumers_changed());
}
