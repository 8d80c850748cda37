//! Missed events, and the gaps that cover them.

use std::time::Duration;

use sse_bus::{
    FilterSet,
    bus::Start,
    limits::Limits,
    protocol::Slow,
    retention::{Retention, TopicRule},
};

use super::{after, at, big, bus, drain, event, keeping, publish, read, subscribe, subscribe_at};

#[test]
fn a_gap_before_an_event_too_large_for_one_read_is_sent_once() {
    let mut bus = keeping(2);
    for _ in 0..2 {
        publish(&mut bus, event("b", &big()));
    }
    for _ in 0..3 {
        publish(&mut bus, event("a", "x"));
    }
    publish(&mut bus, event("b", "x")); // 6; evicts 1
    let id = subscribe(&mut bus, &["a", "b"], after(1));
    assert_eq!(drain(&mut bus, id), ["1 gap 3..=3 Some(1)", "2", "4", "5", "6"]);

    let mut bus = keeping(3);
    for topic in ["b", "b", "a", "b", "a", "a", "a"] {
        publish(&mut bus, event(topic, &big())); // evicts 3
    }
    let id = subscribe(&mut bus, &["a", "b"], after(0));
    assert_eq!(drain(&mut bus, id).iter().filter(|item| item.contains("gap")).count(), 1);
}

#[test]
fn a_delivered_event_is_not_missed_when_history_evicts_it_later() {
    let mut bus = keeping(4);
    for _ in 0..6 {
        publish(&mut bus, event("a", &big())); // evicts 1 and 2
    }
    let id = subscribe(&mut bus, &["a"], Start::All);
    assert_eq!(read(&mut bus, id), ["3", "4"]);
    for _ in 0..3 {
        publish(&mut bus, event("a", "x")); // evicts 3, 4 and 5
    }
    assert_eq!(drain(&mut bus, id), ["5 gap 5..=5 Some(1)", "6", "7", "8", "9"]);
}

#[test]
fn a_replayed_retained_event_is_not_missed_when_it_is_replaced() {
    let mut bus = keeping(2);
    publish(&mut bus, event("a", &big()).retained());
    publish(&mut bus, event("b", &big()));
    publish(&mut bus, event("b", &big()));
    for _ in 0..3 {
        publish(&mut bus, event("a", "x")); // evicts 4
    }
    let id = subscribe(&mut bus, &["a", "b"], after(0));
    let first = read(&mut bus, id);
    publish(&mut bus, event("a", "new").retained()); // 7; evicts 5, and replaces 1
    let rest = drain(&mut bus, id);
    let missed: u64 = [first, rest]
        .concat()
        .iter()
        .filter_map(|item| item.split_once("Some(")?.1.strip_suffix(')')?.parse::<u64>().ok())
        .sum();
    assert_eq!(missed, 2, "4 and 5");
}

#[test]
fn an_event_that_expired_before_its_eviction_is_not_missed() {
    let mut bus = keeping(1);
    let mut short = event("a", "x").retained();
    short.ttl = Some(Duration::from_millis(10));
    publish(&mut bus, short);
    bus.publish(event("a", "y"), None, at(20)).expect("taken"); // evicts 1
    let first = subscribe_at(&mut bus, &["a"], after(0), Slow::Gap, at(20));
    bus.publish(event("b", "z").retained(), None, at(20)).expect("taken");
    let second = subscribe_at(&mut bus, &["a"], after(0), Slow::Gap, at(20));
    assert_eq!((drain(&mut bus, first), drain(&mut bus, second)), (vec!["2".to_owned()], vec!["2".to_owned()]));
}

#[test]
fn a_retained_event_replaced_before_its_replay_is_covered_by_a_gap() {
    let mut bus = keeping(1);
    publish(&mut bus, event("a", "old").retained());
    publish(&mut bus, event("a", "x"));
    publish(&mut bus, event("a", "x")); // evicts 2
    let id = subscribe(&mut bus, &["a"], Start::All);
    publish(&mut bus, event("a", "new").retained()); // 4; replaces 1, evicts 3
    let seen = drain(&mut bus, id);
    assert_eq!(seen, ["3 gap 1..=3 Some(2)", "4"]);
}

#[test]
fn a_gap_precedes_later_events_so_that_resuming_there_misses_nothing() {
    let mut bus = keeping(1);
    for topic in ["a", "b", "a", "c", "a"] {
        publish(&mut bus, event(topic, "x")); // evicts 1 and 3
    }
    let id = subscribe(&mut bus, &["*"], after(0));
    let seen = drain(&mut bus, id);
    assert_eq!(seen, ["1 gap 1..=3 Some(2)", "2", "4", "5"]);
    // A client that resumes from the gap's id receives the rest, or a gap for it.
    let id = subscribe(&mut bus, &["*"], after(1));
    assert_eq!(drain(&mut bus, id), ["1 gap 3..=3 Some(1)", "2", "4", "5"]);
}

#[test]
fn the_gap_of_a_forgotten_topic_covers_all_that_it_lost() {
    let retention = Retention { events: 1, bytes: 1000, ..Retention::default() };
    let mut bus = bus(retention, Limits { topics: 3, ..Limits::default() });
    publish(&mut bus, event("a", "x"));
    publish(&mut bus, event("b", &big())); // too large for history
    publish(&mut bus, event("c", "x"));
    let id = subscribe(&mut bus, &["**"], Start::All);
    publish(&mut bus, event("a", &big())); // 4; evicts 1 and itself
    publish(&mut bus, event("d", "x")); // 5; forgets a topic
    publish(&mut bus, event("e", "x")); // 6; forgets the other
    assert_eq!(drain(&mut bus, id), ["2 gap 1..=4 None", "3", "5", "6"]);
}

#[test]
fn each_topic_forgotten_ahead_of_a_reader_is_covered_by_a_gap() {
    let retention = Retention { events: 1, bytes: 6000, budget: 9000, ..Retention::default() };
    let mut bus = bus(retention, Limits { topics: 3, ..Limits::default() });
    publish(&mut bus, event("a", &"x".repeat(4000)));
    publish(&mut bus, event("b", &big())); // 2; too large for history
    publish(&mut bus, event("c", "x"));
    publish(&mut bus, event("e", "x")); // 4; forgets b
    let id = subscribe(&mut bus, &["**"], Start::All);
    publish(&mut bus, event("c", &"x".repeat(5000))); // 5; evicts 1 and 3
    publish(&mut bus, event("d", "x")); // 6; forgets a
    assert_eq!(drain(&mut bus, id), ["3 gap 1..=3 None", "4", "5", "6"]);
}

#[test]
fn losses_of_a_forgotten_topic_are_not_counted_for_the_topic_that_reuses_its_number() {
    // Of this topic everything goes at once.
    let filters = FilterSet::parse(&["x"]).expect("legal");
    let nothing = TopicRule { filters, events: Some(0), bytes: None, age: None };
    let retention = Retention { events: 2, rules: vec![nothing], ..Retention::default() };
    let mut bus = bus(retention, Limits { topics: 2, ..Limits::default() });
    for topic in ["a", "a", "x"] {
        publish(&mut bus, event(topic, &big()));
    }
    let id = subscribe(&mut bus, &["*"], Start::All);
    publish(&mut bus, event("x", "x")); // 4
    publish(&mut bus, event("y", "x")); // 5; forgets x
    assert_eq!(read(&mut bus, id), ["0 gap 4..=4 None", "1", "2"]);
    for _ in 0..2 {
        publish(&mut bus, event("y", "x")); // 7 evicts 5
    }
    assert_eq!(drain(&mut bus, id), ["5 gap 5..=5 Some(1)", "6", "7"]);
}

#[test]
fn events_skipped_by_latest_are_covered_by_a_gap_before_any_later_event() {
    let mut bus = bus(Retention::default(), Limits { feed_buffer: 1, ..Limits::default() });
    let id = subscribe_at(&mut bus, &["a", "b"], Start::Now, Slow::Latest, at(0));
    for topic in ["a", "b", "a", "a"] {
        publish(&mut bus, event(topic, "x"));
        bus.finish().wake();
    }
    assert_eq!(drain(&mut bus, id), ["1 gap 1..=4 None", "2", "4"]);
}
