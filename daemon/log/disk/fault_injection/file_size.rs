//! Sustained load at the bounds of history: the file does not grow while events are published and evicted.

use std::time::Instant;

use redb::ReadableDatabase as _;
use sse_bus::{
    bus::{Bus, Now, Publication, history::Memory},
    limits::Limits,
    retention::Retention,
};

use super::{
    super::{files::Next, rows::StoredBlocks},
    disk::Disk,
    support::{Random, epoch, topic},
};

/// Number of topics. The first ones are published to most often.
const TOPICS: usize = 50;
/// Maximum file size as a multiple of the cost of its events. Events take half of their cost on disk, up to half of a
/// block may be evicted, pages are not full, and redb doubles the size of a file.
const MAX_RATIO: usize = 6;

#[test]
fn the_file_does_not_grow_while_events_are_published_and_evicted() {
    // Environment variables set a larger number of events and a larger history.
    let given = |name: &str| std::env::var(name).ok().map(|number| number.parse::<usize>().unwrap());
    let events = given("SSE_BUS_TEST_CHURN").unwrap_or(16_000);
    let budget = given("SSE_BUS_TEST_CHURN_BUDGET").unwrap_or(256 << 10);
    // Most events are evicted by the budget, some by the bounds of their topic; then single events of other topics
    // remain in blocks.
    let retention = Retention { events: budget / 20_000, budget, ..Retention::default() };
    // Events written at once in the first eighth, events written at once after it, number of events.
    for (first, then, events) in [(1, 1, events / 5), (40, 40, events), (2000, 2000, events), (1, budget / 400, events)]
    {
        let disk = Disk::holding([Vec::new(), Vec::new()]);
        let (mut files, _) = disk.open().unwrap();
        let mut bus = Bus::new(epoch(), Limits::default(), Box::new(Memory::persistent(retention.clone(), budget / 8)));
        let (mut random, began, mut sizes) = (Random::new(0), Instant::now(), Vec::new());
        for n in 1..=events {
            let now = Now { mono: n as u64, unix: 0 };
            let (least, data) = (random.below(TOPICS), format!("{n:0>200}"));
            let publication = Publication::new(topic(random.below(1 + least)), data);
            bus.publish(publication, None, now).unwrap();
            let group = if n <= events / 8 { first } else { then };
            if n % group == 0 || n == events {
                let batch = bus.take_batch(usize::MAX).unwrap();
                files.add(batch, now.mono, Next::Idle);
                files.write().unwrap();
                drop(bus.written(files.checkpointed()));
            }
            if [events / 10, events / 2, events].contains(&n) {
                sizes.push(disk.len());
            }
        }
        let (live, took) = (bus.status().history_bytes as usize, began.elapsed());
        eprintln!(
            "{events} events, {first} and then {then} at once: {live} bytes live, the file has {sizes:?}, in {took:?}"
        );
        assert!(sizes[2] <= MAX_RATIO * live);
    }
}

/// Without compaction, which would take too long: no size limit is set.
#[test]
fn the_file_has_at_most_three_times_the_budget_for_any_event_size() {
    const BUDGET: usize = 10 << 20;
    let retention = Retention { events: usize::MAX, bytes: usize::MAX, budget: BUDGET, ..Retention::default() };
    // Bytes of an event, number of topics, events written at once.
    for (size, topics, group) in [
        (100, 1, 5000),
        (1400, 5, 50),
        (2000, 5000, 100),
        (10_000, 5, 40),
        (33_000, 5, 1),
        (40_000, 5, 300),
        (256 << 10, 1, 1),
        (256 << 10, 1, 40),
    ] {
        let disk = Disk::holding(Default::default());
        let (mut files, _) = disk.open().unwrap();
        let mut bus = Bus::new(epoch(), Limits::default(), Box::new(Memory::persistent(retention.clone(), 0)));
        let (events, mut most) = (3 * BUDGET / (size + 400), 0);
        for n in 1..=events {
            let now = Now { mono: n as u64, unix: 0 };
            bus.publish(Publication::new(topic(n % topics), format!("{n} {}", "x".repeat(size))), None, now).unwrap();
            if n % group == 0 || n == events {
                files.add(bus.take_batch(usize::MAX).unwrap(), now.mono, Next::Idle);
                files.write().unwrap();
                drop(bus.written(files.checkpointed()));
                most = most.max(disk.len());
            }
        }
        let times = most as f64 / BUDGET as f64;
        eprintln!("{events} events of {size} bytes, {topics} topics, {group} at once: {times:.2} times the budget");
        assert!(bus.status().history_bytes as usize > BUDGET / 10 * 9 && times <= 3.0);
    }
}

#[test]
fn occasional_events_share_blocks() {
    let disk = Disk::holding(Default::default());
    let (mut files, _) = disk.open().unwrap();
    let mut bus = Bus::new(epoch(), Limits::default(), Box::new(Memory::persistent(Retention::default(), 0)));
    for n in 0..200 {
        let now = Now { mono: n, unix: 0 };
        bus.publish(Publication::new(topic(0), "x".repeat(100)), None, now).unwrap();
        files.add(bus.take_batch(usize::MAX).unwrap(), now.mono, Next::Idle);
        files.write().unwrap();
    }
    let database = files.database().get().unwrap();
    let blocks = StoredBlocks::open(&database.begin_read().unwrap()).unwrap();
    assert_eq!(blocks.iter_from(0).unwrap().count(), 2);
    drop((files, database));
    assert_eq!(disk.open().unwrap().1.unwrap().entries.len(), 200);
}
