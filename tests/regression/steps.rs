//! Work that grows with topics, subscribers or history is done in bounded steps.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
    time::Duration,
};

use sse_bus::{
    Epoch, FilterSet,
    bus::{Bus, Format, Framing, Read, Start, Subscription, history::Memory},
    limits::{CALLS_MAX, LOSSES_MAX, Limits, RECLAIM_MAX, SCAN_MAX, TOPICS_AT_ONCE},
    protocol::ErrorCode,
    retention::Retention,
};

use super::{after, at, bus, drain, event, keeping, publish, read_once, subscribe};

/// Counts how often it is called.
#[derive(Default)]
struct Calls(AtomicUsize);

impl Calls {
    /// The calls since the last query.
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn wake(bus: &mut Bus) {
    bus.finish().wake();
}

#[test]
fn topics_are_listed_in_order_in_parts() {
    let mut bus = keeping(1);
    let names: Vec<String> = (0..=2 * TOPICS_AT_ONCE).map(|n| format!("t/{n:04}")).collect();
    for name in names.iter().rev() {
        publish(&mut bus, event(name, ""));
    }
    let mut listed: Vec<String> = Vec::new();
    for expected in [TOPICS_AT_ONCE, TOPICS_AT_ONCE, 1, 0] {
        let last = listed.last().map(String::as_str);
        let some = bus.topics_after(last, at(0));
        assert_eq!(some.len(), expected);
        listed.extend(some.into_iter().map(|info| info.topic));
    }
    assert_eq!(listed, names);
    assert!(bus.topics(at(0)).iter().map(|info| &info.topic).eq(&names));
}

#[test]
fn a_large_group_that_falls_behind_is_split_in_steps_and_loses_nothing() {
    let mut bus = bus(Retention::default(), Limits { feed_buffer: 1, ..Limits::default() });
    let calls = Arc::<Calls>::default();
    let reader = bus.add_reader(Waker::noop().clone(), Framing::Plain);
    let clients: Vec<_> = (0..=2 * CALLS_MAX).map(|_| subscribe(&mut bus, &["a"], Start::Now)).collect();
    for client in &clients {
        bus.assign(*client, reader);
        assert_eq!(bus.read(*client, at(0), &calls.clone().into(), &mut Vec::new()), Read::Waiting);
    }
    let first = publish(&mut bus, event("a", "x"));
    wake(&mut bus);
    let second = publish(&mut bus, event("a", "x"));
    wake(&mut bus);
    calls.take();
    let (mut shared_cursors, mut out) = (Vec::new(), Vec::new());
    bus.called_cursors(reader, &mut shared_cursors);
    let mut steps = Vec::new();
    let mut is_more = true;
    while is_more {
        is_more = bus.read_shared(shared_cursors[0], &mut Vec::new(), &mut out);
        wake(&mut bus);
        steps.push(calls.take());
    }
    assert_eq!((shared_cursors.len(), steps, out), (1, vec![CALLS_MAX, CALLS_MAX, 1], Vec::new()));
    for client in clients {
        assert_eq!(drain(&mut bus, client), [first.to_string(), second.to_string()]);
    }
}

#[test]
fn expired_retained_events_make_room_in_steps() {
    let mut bus = bus(Retention::default(), Limits { retained_bytes: 4 << 20, ..Limits::default() });
    let many = 3 * RECLAIM_MAX;
    for n in 0..many {
        let mut publication = event(&format!("t/{n}"), "x").retained();
        publication.ttl = Some(Duration::from_millis(1));
        publish(&mut bus, publication);
    }
    // It needs the whole space, which no step frees.
    let large = event("large", &"x".repeat((4 << 20) - 4096)).retained();
    for step in 1..3 {
        let refused = bus.publish(large.clone(), None, at(10)).expect_err("there is no room yet");
        assert_eq!(refused.code, ErrorCode::LimitRetained);
        assert_eq!(bus.status().retained, (many - step * RECLAIM_MAX) as u64);
    }
    bus.publish(large, None, at(10)).expect("there is room");
    assert_eq!(bus.status().retained, 1);
}

/// Among the many topics that a pattern may match, those with losses are found in steps; losses of others cause no gap.
#[test]
fn losses_of_many_topics_are_counted_in_steps() {
    let mut bus = keeping(1);
    for n in 0..2 * SCAN_MAX {
        publish(&mut bus, event(&format!("many/{n}"), ""));
    }
    let begin = publish(&mut bus, event("other", ""));
    for _ in 0..LOSSES_MAX + 10 {
        publish(&mut bus, event("other", ""));
    }
    let reads = |bus: &mut Bus| {
        let id = subscribe(bus, &["many/*"], after(begin));
        let mut reads = Vec::new();
        loop {
            let (items, is_ready) = read_once(bus, id);
            reads.push(items);
            if !is_ready {
                return (reads.len(), reads.concat());
            }
        }
    };
    let (steps, items) = reads(&mut bus);
    assert!(items.is_empty(), "{items:?}");
    // Two for the topics before the last of them, then the losses that are known individually.
    assert_eq!(steps, 2 + LOSSES_MAX / SCAN_MAX);
    // One of them loses an event, which then is among those that are not known individually.
    for _ in 0..2 {
        publish(&mut bus, event("many/1", ""));
    }
    for _ in 0..LOSSES_MAX + 10 {
        publish(&mut bus, event("other", ""));
    }
    let (_, items) = reads(&mut bus);
    assert!(items[0].contains(" gap ") && items[0].ends_with("None"), "{items:?}");
}

#[test]
fn a_batch_for_the_disk_has_a_bounded_number_of_topics_each_with_the_first_of_its_events() {
    let history = Box::new(Memory::persistent(Retention::default(), 0));
    let mut bus = Bus::new(Epoch::parse("e").expect("legal"), Limits::default(), history);
    let all = 5000_usize;
    for n in 0..all {
        publish(&mut bus, event(&format!("t/{n}"), ""));
    }
    let mut written = HashSet::new();
    let mut batches = 0;
    loop {
        let batch = bus.take_batch(usize::MAX).expect("history is persistent");
        assert!(batch.topics.len() <= 1024 && batch.entries.len() <= SCAN_MAX, "{} topics", batch.topics.len());
        written.extend(batch.topics.into_iter().map(|record| record.topic));
        for entry in batch.entries {
            assert!(written.contains(&entry.event.expect("in memory").topic));
        }
        batches += 1;
        if !batch.more {
            break;
        }
    }
    assert_eq!((written.len(), batches), (all, all.div_ceil(1024)));
}

#[test]
fn the_patterns_that_a_publish_may_search_are_charged() {
    let mut bus = keeping(1);
    let levels = |wild: [usize; 2]| (0..126).map(move |level| if wild.contains(&level) { "*" } else { "a" });
    let pairs = (0..126).flat_map(|first| (first + 1..126).map(move |second| [first, second]));
    let taken = pairs.map(|wild| format!("{}/z", levels(wild).collect::<Vec<_>>().join("/"))).take_while(|filter| {
        let filters = FilterSet::parse(&[filter]).expect("legal");
        bus.subscribe(Subscription::new(filters, Format::Json), at(0)).is_ok()
    });
    let searched = taken.count() * 126;
    assert!((10_000..20_000).contains(&searched), "{searched} levels");
    assert!(
        bus.subscribe(Subscription::new(FilterSet::parse(&["a/*/b/**"]).expect("legal"), Format::Json), at(0)).is_ok()
    );
}
