//! Batches for the disk, and the start from them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sse_bus::{
    Epoch, Event, Topic,
    bus::{
        Bus, Start,
        batch::{Batch, Gone, TopicRecord},
        fetch::{Fetched, Wanted},
        history::{CrashLoss, Entry, Memory, TopicPast, UnattributedLosses},
    },
    limits::{LOSSES_MAX, Limits, TOPICS_AT_ONCE},
    retention::Retention,
};

use super::{after, at, bus, drain, event, keeping, publish, subscribe};

fn persistent(retention: Retention, limits: Limits, keep: usize) -> Bus {
    Bus::new(Epoch::parse("e").expect("legal"), limits, Box::new(Memory::persistent(retention, keep)))
}

fn writing() -> Bus {
    persistent(Retention::default(), Limits::default(), 0)
}

/// All changes, in batches of about this many bytes.
fn batches(bus: &mut Bus, bytes: usize) -> Vec<Batch> {
    let mut batches = Vec::new();
    loop {
        let batch = bus.take_batch(bytes).expect("history is persistent");
        let more = batch.more;
        batches.push(batch);
        if !more {
            return batches;
        }
    }
}

/// A new bus that begins from one batch and the losses of the last crash, and the events on disk.
fn restarted(batch: Batch, crashes: &[CrashLoss]) -> (Bus, Vec<Event>) {
    let mut bus = writing();
    let names: BTreeMap<Topic, usize> = batch.topics.iter().map(|record| record.topic.clone()).zip(0..).collect();
    let keys = bus.restore_topics(batch.topics);
    let events: Vec<_> = batch.entries.iter().filter_map(|entry| entry.event.as_deref().cloned()).collect();
    let entries = batch.entries.into_iter().zip(&events);
    let entries = entries.map(|(entry, event)| Entry { topic: keys[names[&event.topic]], event: None, ..entry });
    assert!(bus.restore_events(entries.collect()).is_empty());
    let mut forgotten = batch.forgotten;
    for crash in crashes {
        forgotten.add_crash(*crash);
    }
    let head = crashes.last().map_or(batch.head, |crash| crash.last);
    bus.restored(forgotten, head, at(0));
    (bus, events)
}

/// Everything that a new subscriber reads, from memory and from disk.
fn seen(bus: &mut Bus, events: &[Event], filter: &str, start: Start) -> Vec<String> {
    let id = subscribe(bus, &[filter], start);
    let mut all = drain(bus, id);
    while let Some(Wanted { client, seq, .. }) = bus.take_wanted().pop() {
        let events: Vec<_> = events.iter().filter(|event| event.id.seq >= seq).cloned().collect();
        let upto = events.last().map_or(seq, |event| event.id.seq);
        let fetched = Arc::new(Fetched { events, from: seq, upto, ..Fetched::default() });
        bus.hand_over(client, Arc::downgrade(&fetched));
        all.extend(drain(bus, id));
    }
    all
}

#[test]
fn a_batch_has_about_the_requested_number_of_bytes() {
    let cost = Entry::cost_of(1, 0, 0);
    for (bytes, sizes) in
        [(1, vec![1, 1, 1, 1, 1]), (cost, vec![1, 1, 1, 1, 1]), (cost + 1, vec![2, 2, 1]), (9 * cost, vec![5])]
    {
        let mut bus = writing();
        for _ in 0..5 {
            publish(&mut bus, event("a", "x"));
        }
        assert!(bus.has_changed());
        let batches = batches(&mut bus, bytes);
        assert_eq!(batches.iter().map(|batch| batch.entries.len()).collect::<Vec<_>>(), sizes, "{bytes}");
        assert!(!bus.has_changed());
        assert_eq!(batches[0].topics[0].published, 5);
    }
}

#[test]
fn a_bus_that_has_published_nothing_has_nothing_to_write() {
    let mut bus = persistent(Retention::default(), Limits { topics: 1, retained_bytes: 0, ..Limits::default() }, 0);
    for topic in ["a", "b"] {
        bus.publish(event(topic, "x").retained(), None, at(0)).expect_err("nothing is retained");
    }
    assert!(!bus.has_changed());
    publish(&mut bus, event("c", "x"));
    assert!(bus.has_changed());
}

#[test]
fn the_newest_written_events_stay_in_memory() {
    let cost = Entry::cost_of(1, 0, 0);
    for (keep, expected) in
        [(0, vec![1, 3, 4, 5]), (cost, vec![1, 3, 4]), (2 * cost - 1, vec![1, 3, 4]), (9 * cost, vec![])]
    {
        let mut bus = persistent(Retention::default(), Limits::default(), keep);
        for topic in ["a", "b", "a", "a", "a"] {
            let publication = event(topic, "x");
            publish(&mut bus, if topic == "b" { publication.retained() } else { publication });
        }
        batches(&mut bus, 1 << 20);
        assert_eq!(bus.written(0).len(), 0, "nothing is written");
        let gone: Vec<_> = bus.written(5).iter().map(|event| event.id.seq).collect();
        assert_eq!(gone, expected, "{keep}");
        assert_eq!(bus.written(5).len(), 0);
        #[cfg(debug_assertions)]
        bus.self_check();
    }
}

#[test]
fn the_names_of_many_forgotten_topics_are_not_kept() {
    for (topics, all) in [(10_000, false), (10_001, true)] {
        let retention = Retention { events: 0, ..Retention::default() };
        let mut bus = persistent(retention, Limits { topics: 1, ..Limits::default() }, 0);
        for n in 0..=topics {
            publish(&mut bus, event(&format!("t/{n}"), "x"));
        }
        let batch = bus.take_batch(1 << 20).expect("history is persistent");
        match batch.gone {
            Gone::AllOthers => assert!(all, "{topics}"),
            Gone::Topics(names) => assert_eq!((names.len(), all), (topics, false)),
        }
        let (topic, seq) = (Topic::parse(&format!("t/{topics}")).expect("legal"), topics as u64 + 1);
        let past = TopicPast { retained: None, first: seq, last_lost: seq };
        assert_eq!(batch.topics, [TopicRecord { topic, published: 1, last: Some((seq, 0)), past }]);
        let next = bus.take_batch(1 << 20).expect("history is persistent");
        assert_eq!((next.gone, next.topics), (Gone::default(), vec![]));
    }
}

#[test]
fn a_subscriber_from_before_a_crash_receives_a_gap_for_its_losses() {
    let mut bus = writing();
    for _ in 0..3 {
        publish(&mut bus, event("a", "x"));
    }
    let batch = batches(&mut bus, 1 << 20).remove(0);
    let (mut bus, events) = restarted(batch, &[CrashLoss { after: 3, last: 5 }]);
    publish(&mut bus, event("a", "x")); // 6
    let mut seen = |start| seen(&mut bus, &events, "a", start);
    assert_eq!(seen(after(2)), ["3", "5 gap 4..=5 None", "6"]);
    assert_eq!(seen(after(3)), ["5 gap 4..=5 None", "6"]);
    assert_eq!(seen(after(4)), ["5 gap 5..=5 None", "6"]);
    assert_eq!(seen(after(5)), ["6"]);
    assert_eq!(seen(Start::All), ["1", "2", "3", "6"], "a new subscriber has not missed it");
}

#[test]
fn a_crash_at_the_end_of_the_log_is_a_gap_for_earlier_subscribers() {
    let mut bus = writing();
    publish(&mut bus, event("a", "x"));
    let batch = batches(&mut bus, 1 << 20).remove(0);
    let (mut bus, events) = restarted(batch, &[CrashLoss { after: 1, last: 4 }]);
    assert_eq!(seen(&mut bus, &events, "a", after(1)), ["4 gap 2..=4 None"]);
}

#[test]
fn crashes_without_an_event_between_are_one_and_the_newest_of_many_are_kept() {
    let mut forgotten = UnattributedLosses::default();
    forgotten.add_crash(CrashLoss { after: 3, last: 5 });
    forgotten.add_crash(CrashLoss { after: 5, last: 9 });
    assert_eq!(forgotten.crashes, [CrashLoss { after: 3, last: 9 }]);
    forgotten.add_crash(CrashLoss { after: 10, last: 11 });
    assert_eq!(forgotten.crashes.len(), 2);
    for n in 2..16 {
        forgotten.add_crash(CrashLoss { after: 10 * n, last: 10 * n + 1 });
    }
    assert_eq!((forgotten.crashes.len(), forgotten.last, forgotten.last_loss), (16, 0, 0));
    forgotten.add_crash(CrashLoss { after: 1000, last: 1001 });
    assert_eq!((forgotten.crashes.len(), forgotten.last, forgotten.last_loss), (16, 9, 9));
    forgotten.lose(5);
    assert_eq!((forgotten.last, forgotten.last_loss), (9, 9));
}

#[test]
fn of_many_losses_the_newest_are_counted() {
    let mut bus = keeping(1);
    let lost = LOSSES_MAX as u64 + 1;
    for _ in 0..=lost {
        publish(&mut bus, event("a", ""));
    }
    let mut seen = |topic, start| {
        let id = subscribe(&mut bus, &[topic], start);
        drain(&mut bus, id)
    };
    let newest = (lost + 1).to_string();
    assert_eq!(seen("a", after(1)), [format!("{lost} gap 2..={lost} Some({LOSSES_MAX})"), newest.clone()]);
    assert_eq!(seen("a", after(0)), [format!("{lost} gap 1..={lost} None"), newest]);
    assert_eq!(seen("b", after(0)), [""; 0], "it has lost nothing");
}

#[test]
fn losses_before_a_start_are_a_gap_for_earlier_subscribers_only() {
    let mut bus = persistent(Retention { events: 1, ..Retention::default() }, Limits::default(), 0);
    for _ in 0..3 {
        publish(&mut bus, event("a", "x"));
    }
    let (mut bus, events) = restarted(batches(&mut bus, 1 << 20).remove(0), &[]);
    assert_eq!(seen(&mut bus, &events, "a", after(1)), ["2 gap 2..=2 None", "3"]);
    assert_eq!(seen(&mut bus, &events, "a", after(2)), ["3"]);
    assert_eq!(seen(&mut bus, &events, "a", Start::All), ["3"]);
}

#[test]
fn a_bus_in_memory_has_no_batches() {
    let mut bus = bus(Retention::default(), Limits::default());
    publish(&mut bus, event("a", "x"));
    assert!(!bus.has_changed() && bus.take_batch(1).is_none() && bus.written(1).is_empty());
}

#[test]
fn topics_are_written_again_in_steps_after_too_many_were_removed_to_name_them() {
    const TOPICS: usize = 2 * TOPICS_AT_ONCE + 10;
    let retention = Retention { events: 0, ..Retention::default() };
    let mut bus = persistent(retention, Limits { topics: TOPICS, ..Limits::default() }, 0);
    for n in 0..TOPICS - 1 {
        publish(&mut bus, event(&format!("kept/{n}"), "x").retained());
    }
    while bus.take_batch(usize::MAX).expect("on disk").more {}
    for n in 0..10_002 {
        // A publish examines some of the topics for one to remove.
        while bus.publish(event(&format!("gone/{n}"), "x"), None, at(0)).is_err() {}
    }
    let (mut names, mut batches) = (Vec::new(), Vec::new());
    loop {
        let batch = bus.take_batch(usize::MAX).expect("on disk");
        names.extend(batch.topics.into_iter().map(|record| record.topic));
        batches.push(batch.gone == Gone::AllOthers);
        if !batch.more {
            break;
        }
    }
    assert_eq!(batches, [true, false, false]);
    let mut expected: Vec<_> = (0..TOPICS - 1).map(|n| format!("kept/{n}")).chain(["gone/10001".into()]).collect();
    expected.sort_unstable();
    names.sort_unstable();
    // One was changed and is written twice.
    names.dedup();
    assert!(names.iter().map(Topic::as_str).eq(expected.iter().map(String::as_str)), "{names:?}");
    assert!(!bus.has_changed());
}

#[test]
fn an_event_that_cannot_be_read_from_disk_is_a_gap() {
    for start in [Start::Latest, Start::All] {
        let mut bus = writing();
        publish(&mut bus, event("a", "x"));
        batches(&mut bus, 1 << 20);
        assert_eq!(bus.written(1).len(), 1, "it is only on disk");
        let id = subscribe(&mut bus, &["a"], start.clone());
        assert_eq!(drain(&mut bus, id), [""; 0]);
        let wanted = bus.take_wanted().pop().expect("a request");
        assert_eq!(wanted.seq, 1);
        let fetched = Arc::new(Fetched { from: 1, upto: 1, ..Fetched::default() });
        bus.hand_over(id, Arc::downgrade(&fetched));
        assert_eq!(drain(&mut bus, id), ["1 gap 1..=1 Some(1)"], "{start:?}");
    }
}

#[test]
fn a_start_removes_retained_events_that_have_expired() {
    let mut bus = persistent(Retention { events: 1, ..Retention::default() }, Limits::default(), 0);
    let mut expired = event("a", "1").retained();
    expired.ttl = Some(Duration::ZERO);
    publish(&mut bus, expired);
    publish(&mut bus, event("a", "2"));
    let batch = batches(&mut bus, usize::MAX).remove(0);
    assert!(batch.topics.iter().any(|record| record.past.retained == Some(1)), "{batch:?}");
    assert_eq!(restarted(batch, &[]).0.status().retained, 0);
}
