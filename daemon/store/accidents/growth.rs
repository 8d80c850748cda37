//! A day of events at the bounds of history: the file does not grow with what comes and goes.

use std::time::Instant;

use sse_bus::{
    bus::{Bus, Now, Publication, history::Memory},
    limits::Limits,
    retention::Retention,
};

use super::{super::file::Next, Disk, Random, epoch, topic};

/// Topics that are published to, the first ones most often.
const MANY: usize = 50;
/// The file may be so many times as large as what its events are charged with. They take half of that on disk, up to
/// half of a piece may be gone, pages are not full, and redb enlarges a file to twice its size.
const MOST: usize = 6;

#[test]
fn the_file_does_not_grow_while_events_come_and_go() {
    // Variables say if there are to be more, and in a larger history.
    let given = |name: &str| std::env::var(name).ok().map(|number| number.parse::<usize>().unwrap());
    let events = given("SSE_BUS_TEST_CHURN").unwrap_or(16_000);
    let budget = given("SSE_BUS_TEST_CHURN_BUDGET").unwrap_or(256 << 10);
    // Old events go because all together are too many, and some because those of a topic are; then what is left of
    // other topics stands alone in pieces.
    let retention = Retention { events: budget / 20_000, budget, ..Retention::default() };
    // How many come at once in the first eighth, and from then on.
    for (first, then, events) in [(1, 1, events / 5), (40, 40, events), (2000, 2000, events), (1, budget / 400, events)]
    {
        let disk = Disk::holding([Vec::new(), Vec::new()]);
        let (mut file, _) = disk.open().unwrap();
        let mut bus = Bus::new(epoch(), Limits::default(), Box::new(Memory::journaled(retention.clone(), budget / 8)));
        let (mut random, began, mut sizes) = (Random::new(0), Instant::now(), Vec::new());
        for n in 1..=events {
            let now = Now { mono: n as u64, unix: 0 };
            let (least, data) = (random.below(MANY), format!("{n:0>200}"));
            let publication = Publication::new(topic(random.below(1 + least)), data);
            bus.publish(publication, None, now).unwrap();
            let group = if n <= events / 8 { first } else { then };
            if n % group == 0 || n == events {
                let batch = bus.take_batch(usize::MAX).unwrap();
                file.add(batch, now.mono, Next::Rest);
                file.write().unwrap();
                drop(bus.written(file.settled()));
            }
            if [events / 10, events / 2, events].contains(&n) {
                sizes.push(disk.len());
            }
        }
        let (live, took) = (bus.status().history_bytes as usize, began.elapsed());
        eprintln!(
            "{events} events, {first} and then {then} at once: {live} bytes live, the file has {sizes:?}, in {took:?}"
        );
        assert!(sizes[2] <= MOST * live);
    }
}
