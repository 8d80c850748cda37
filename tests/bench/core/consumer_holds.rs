//! How long single calls of the bus take with the largest consumers, and the memory of their events.

use std::{task::Waker, time::Duration};

use sse_bus::{
    Epoch, FilterSet,
    bus::{
        Bus, Now, Publication,
        consumers::{ConsumerName, ConsumerSettings, Departure, SeekTo, Settlement, Token, WorkerId},
        history::Memory,
    },
    limits::{CONSUMERS_MAX, IN_FLIGHT_MAX, Limits, UNFINISHED_MAX, WORKERS_MAX},
    retention::Retention,
};

use super::{NOW, bus, holds, publish, topic};

const ROUNDS: usize = 5;

/// A row: what is measured, and the longest call of one round.
type Row = (&'static str, fn() -> Duration);

/// Prints a line for each figure.
pub(super) fn run() {
    let rows: [Row; 11] = [
        ("10,000 consumers are created, each of a topic of its own", create_all),
        ("publish to 10,000 consumers whose workers wait", publish_to_many),
        ("the same, 64 events between two steps", publish_many_to_many),
        ("a worker with 10,000 deliveries is lost", || {
            of_one(|bus, worker| bus.remove_worker(worker, Departure::Lost, NOW))
        }),
        ("a consumer with 10,000 deliveries is moved", || {
            of_one(|bus, _| bus.seek_consumer(&name(0), SeekTo::All, NOW).expect("there"))
        }),
        ("the same is deleted", || of_one(|bus, _| bus.delete_consumer(&name(0), NOW).expect("there"))),
        ("a consumer with 10,000 dead letters is deleted", delete_dead),
        ("10,000 deadlines pass", deadlines),
        ("take and acknowledge, 10,000 workers of one consumer", many_workers),
        ("100,000 events are too old beside 10,000 consumers", evict),
        ("a batch for the disk, 10,000 consumers with 100 events each", changes),
    ];
    for (what, row) in rows {
        let mut longest: Vec<_> = (0..ROUNDS).map(|_| row()).collect();
        longest.sort_unstable();
        println!("{what:<66} {:>7} µs           at most 1,000 µs", longest[ROUNDS / 2].as_micros());
    }
    memory();
}

fn name(n: usize) -> ConsumerName {
    ConsumerName::parse(&n.to_string()).expect("legal")
}

/// Creates consumers in a bus, whose tables grow.
fn create_all() -> Duration {
    let mut bus = bus();
    let create = |n| {
        let settings = ConsumerSettings::new(FilterSet::parse(&[format!("jobs/{n}")]).expect("legal"));
        let (created, took) = holds::time(|| bus.create_consumer(&name(n), settings, SeekTo::Now, NOW));
        created.expect("a new consumer");
        holds::finish(&mut bus, took)
    };
    (0..CONSUMERS_MAX).map(create).max().unwrap_or_default()
}

/// Creates a consumer of the topic `jobs` with the largest number of events in flight.
fn create(bus: &mut Bus, n: usize) {
    let filters = FilterSet::parse(&["jobs"]).expect("legal");
    let settings = ConsumerSettings { max_in_flight: IN_FLIGHT_MAX, ..ConsumerSettings::new(filters) };
    bus.create_consumer(&name(n), settings, SeekTo::Now, NOW).expect("a new consumer");
}

fn worker(bus: &mut Bus, n: usize, slots: usize) -> WorkerId {
    bus.add_worker(&name(n), "worker", slots, NOW).expect("a consumer")
}

/// Takes all that a worker may have.
fn take(bus: &mut Bus, worker: WorkerId) -> Vec<Token> {
    let mut tokens = Vec::new();
    loop {
        let taken = bus.take(worker, usize::MAX, NOW, Waker::noop()).expect("a worker");
        bus.finish().wake();
        if taken.deliveries.is_empty() {
            return tokens;
        }
        tokens.extend(taken.deliveries.into_iter().map(|delivery| delivery.token));
    }
}

/// A bus with a consumer, a worker that has 10,000 deliveries, and as many workers that wait as there may be.
fn one_consumer() -> (Bus, WorkerId) {
    let mut bus = bus();
    create(&mut bus, 0);
    let first = worker(&mut bus, 0, IN_FLIGHT_MAX);
    (0..IN_FLIGHT_MAX).for_each(|_| publish(&mut bus, &topic("jobs"), "x"));
    assert_eq!(take(&mut bus, first).len(), IN_FLIGHT_MAX);
    for _ in 1..WORKERS_MAX {
        let other = worker(&mut bus, 0, 1);
        assert!(take(&mut bus, other).is_empty());
    }
    (bus, first)
}

/// The longest step of an operation on a consumer with 10,000 deliveries, including the ticks after it.
fn of_one(operation: impl FnOnce(&mut Bus, WorkerId)) -> Duration {
    let (mut bus, worker) = one_consumer();
    let took = holds::time(|| operation(&mut bus, worker)).1;
    let longest = holds::finish(&mut bus, took);
    longest.max(ticks(&mut bus, NOW))
}

fn ticks(bus: &mut Bus, now: Now) -> Duration {
    let mut longest = Duration::ZERO;
    while bus.next_timeout().is_some_and(|at| at <= now.mono) {
        let took = holds::time(|| bus.tick(now)).1;
        longest = longest.max(holds::finish(bus, took));
    }
    longest
}

/// A bus with 10,000 consumers, each with a worker that waits.
fn many_consumers() -> Bus {
    let mut bus = bus();
    for n in 0..CONSUMERS_MAX {
        create(&mut bus, n);
        let worker = worker(&mut bus, n, 1);
        assert!(take(&mut bus, worker).is_empty());
    }
    bus
}

fn publish_to_many() -> Duration {
    let mut bus = many_consumers();
    let took = holds::time(|| bus.publish(Publication::new(topic("jobs"), "x"), None, NOW)).1;
    holds::finish(&mut bus, took)
}

fn publish_many_to_many() -> Duration {
    let mut bus = many_consumers();
    let mut longest = Duration::ZERO;
    for _ in 0..64 {
        longest = longest.max(holds::time(|| bus.publish(Publication::new(topic("jobs"), "x"), None, NOW)).1);
    }
    holds::finish(&mut bus, longest)
}

fn delete_dead() -> Duration {
    let (mut bus, first) = one_consumer();
    bus.remove_worker(first, Departure::Released, NOW);
    bus.finish().wake();
    let worker = worker(&mut bus, 0, IN_FLIGHT_MAX);
    for token in take(&mut bus, worker) {
        bus.settle(token, Settlement::Reject("a reason".into()), NOW).expect("current");
    }
    let took = holds::time(|| bus.delete_consumer(&name(0), NOW)).1;
    let longest = holds::finish(&mut bus, took);
    longest.max(ticks(&mut bus, NOW))
}

fn deadlines() -> Duration {
    let (mut bus, _) = one_consumer();
    ticks(&mut bus, Now { mono: 40_000, unix: 40_000 })
}

fn many_workers() -> Duration {
    let mut bus = bus();
    create(&mut bus, 0);
    let workers: Vec<_> = (0..WORKERS_MAX).map(|_| worker(&mut bus, 0, 1)).collect();
    for worker in &workers {
        assert!(take(&mut bus, *worker).is_empty());
    }
    let mut longest = Duration::ZERO;
    for worker in &workers {
        publish(&mut bus, &topic("jobs"), "x");
        let (taken, took) = holds::time(|| bus.take(*worker, 1, NOW, Waker::noop()).expect("a worker"));
        longest = longest.max(took);
        for delivery in taken.deliveries {
            longest = longest.max(holds::time(|| bus.settle(delivery.token, Settlement::Ack, NOW)).1);
        }
        bus.finish().wake();
    }
    longest
}

/// One of 10,000 consumers is behind, and the others have finished all events.
fn evict() -> Duration {
    let retention = Retention { events: 200_000, age: Duration::from_secs(1), budget: 1 << 30, ..Retention::default() };
    let mut bus = Bus::new(Epoch::from_seed(1), Limits::default(), Box::new(Memory::new(retention)));
    (0..100_000).for_each(|_| publish(&mut bus, &topic("jobs"), "x"));
    for n in 0..CONSUMERS_MAX {
        let settings = ConsumerSettings::new(FilterSet::parse(&["jobs"]).expect("legal"));
        let from = if n == CONSUMERS_MAX / 2 { SeekTo::All } else { SeekTo::Now };
        bus.create_consumer(&name(n), settings, from, NOW).expect("a new consumer");
    }
    let longest = ticks(&mut bus, Now { mono: 10_000, unix: 10_000 });
    // Nobody needs them any more.
    let took = holds::time(|| bus.delete_consumer(&name(CONSUMERS_MAX / 2), NOW)).1;
    let longest = longest.max(holds::finish(&mut bus, took));
    longest.max(ticks(&mut bus, Now { mono: 10_000, unix: 10_000 }))
}

fn persistent() -> Bus {
    let retention = Retention { events: 10_000_000, budget: 8 << 30, bytes: 8 << 30, ..Retention::default() };
    Bus::new(Epoch::from_seed(1), Limits::default(), Box::new(Memory::persistent(retention, 8 << 20)))
}

/// A million events are unfinished, and all consumers have changed.
fn changes() -> Duration {
    let mut bus = persistent();
    let workers: Vec<_> = (0..CONSUMERS_MAX)
        .map(|n| {
            create(&mut bus, n);
            worker(&mut bus, n, 100)
        })
        .collect();
    (0..UNFINISHED_MAX / CONSUMERS_MAX).for_each(|_| publish(&mut bus, &topic("jobs"), "x"));
    bus.finish().wake();
    for worker in workers {
        take(&mut bus, worker);
    }
    let mut longest = Duration::ZERO;
    loop {
        let (changes, took) = holds::time(|| bus.take_consumer_changes());
        longest = longest.max(took);
        if !changes.more {
            return longest.max(holds::time(|| bus.take_batch(4 << 20)).1);
        }
    }
}

/// Measures the memory of an event in each state. Each in a process of its own, since freed memory is used again.
fn memory() {
    let program = std::env::current_exe().expect("the path of this program");
    for what in [PENDING, IN_FLIGHT] {
        let status = std::process::Command::new(&program).arg(what).status().expect("it runs");
        assert!(status.success(), "{what}: {status}");
    }
}

const PENDING: &str = "pending";
const IN_FLIGHT: &str = "in-flight";
const EVENTS: usize = 1_000_000;

/// Prints the bytes of an event in the state that the arguments name. Returns false if they name none.
pub(super) fn measure_memory() -> bool {
    match std::env::args().nth(1).as_deref() {
        Some(PENDING) => pending(),
        Some(IN_FLIGHT) => in_flight(),
        _ => return false,
    }
    true
}

fn pending() {
    let data = "x".repeat(200);
    let mut bus = persistent();
    create(&mut bus, 0);
    let before = resident();
    for n in 1..=EVENTS {
        publish(&mut bus, &topic("jobs"), &data);
        if n.is_multiple_of(10_000) {
            while bus.take_batch(4 << 20).is_some_and(|batch| batch.more) {}
            let head = bus.position().seq;
            drop(bus.written(head));
        }
    }
    each("a pending event of 200 bytes, on disk", resident() - before, EVENTS);
}

fn in_flight() {
    let mut bus = bus();
    for n in 0..EVENTS / IN_FLIGHT_MAX {
        create(&mut bus, n);
    }
    for _ in 0..IN_FLIGHT_MAX {
        publish(&mut bus, &topic("jobs"), "x");
    }
    let before = resident();
    for n in 0..EVENTS / IN_FLIGHT_MAX {
        let worker = worker(&mut bus, n, IN_FLIGHT_MAX);
        assert_eq!(take(&mut bus, worker).len(), IN_FLIGHT_MAX);
    }
    each("an event in flight, beside the event itself", resident() - before, EVENTS);
}

fn each(what: &str, bytes: usize, events: usize) {
    println!("{what:<66} {:>7} bytes", bytes / events);
}

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let resident: usize = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    resident * 4096
}
