//! The cost of a job: publish, take, acknowledge; and of publishes beside consumers.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use sse_bus::{
    FilterSet, Topic,
    bus::{
        Bus,
        consumers::{ConsumerName, ConsumerSettings, SeekTo, Settlement, WorkerId},
    },
    limits::CONSUMERS_MAX,
};

use super::{NOW, ROUNDS, bus, line, publish, topic};

const JOBS: u32 = 10_000;

/// Prints a line for each figure.
pub(super) fn run() {
    line("a job: publish, take, acknowledge, one at a time", jobs(1, 1), None, "–");
    line("the same, 100 in flight", jobs(1, 100), None, "–");
    line("the same, 100 in flight, 4 workers", jobs(4, 100), None, "–");
    let mut bus = bus();
    for n in 0..CONSUMERS_MAX {
        create(&mut bus, &n.to_string(), "jobs");
    }
    line("publish to 10,000 consumers of one topic", publishes(&mut bus, &topic("jobs")), None, "at most 1 ms");
    line("publish to another topic beside them", publishes(&mut bus, &topic("other")), None, "–");
}

fn create(bus: &mut Bus, name: &str, filter: &str) -> ConsumerName {
    let name = ConsumerName::parse(name).expect("legal");
    let settings = ConsumerSettings::new(FilterSet::parse(&[filter]).expect("legal"));
    bus.create_consumer(&name, settings, SeekTo::Now, NOW).expect("a new consumer");
    name
}

/// The median cost of a publish.
fn publishes(bus: &mut Bus, topic: &Topic) -> Duration {
    let mut figures: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            publish(bus, topic, "x");
            begun.elapsed()
        })
        .collect();
    figures.sort_unstable();
    figures[ROUNDS / 2]
}

/// The median cost of a job of 200 bytes.
fn jobs(workers: usize, in_flight: u32) -> Duration {
    let mut bus = bus();
    let (name, topic, data) = (create(&mut bus, "jobs", "jobs"), topic("jobs"), "x".repeat(200));
    let workers: Vec<WorkerId> =
        (0..workers).map(|_| bus.add_worker(&name, "worker", in_flight as usize, NOW).expect("a worker")).collect();
    let mut figures: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..JOBS / in_flight {
                (0..in_flight).for_each(|_| publish(&mut bus, &topic, &data));
                let mut left = in_flight as usize;
                // The worker whose turn it is takes.
                for worker in workers.iter().cycle() {
                    let taken = bus.take(*worker, usize::MAX, NOW, Waker::noop()).expect("a worker");
                    left -= taken.deliveries.len();
                    for delivery in taken.deliveries {
                        bus.settle(delivery.token, Settlement::Ack, NOW).expect("a current token");
                    }
                    bus.finish().wake();
                    if left == 0 {
                        break;
                    }
                }
            }
            begun.elapsed() / JOBS
        })
        .collect();
    figures.sort_unstable();
    figures[ROUNDS / 2]
}
