//! What is live only: the bus's own events, and those for one client.

use sse_bus::{
    Epoch, Topic,
    bus::{
        Bus, CLIENTS_TOPIC, Start,
        batch::{Gone, TopicRecord},
        history::{Entry, Memory, TopicPast, UnattributedLosses},
    },
    limits::Limits,
    protocol::Slow,
    retention::Retention,
};

use super::{after, at, bus, drain, event, keeping, publish, read, send, subscribe, subscribe_at};

#[test]
fn a_slow_subscriber_receives_a_gap_for_live_events_and_the_rest_from_history() {
    let limits = Limits { feed_buffer: 1, ..Limits::default() };
    for (slow, expected) in
        [(Slow::Gap, ["1", "2", "2 gap 2..=2 None", ""]), (Slow::Latest, ["0 gap 1..=2 None", "1", "2", ""])]
    {
        let mut bus = bus(Retention::default(), limits.clone());
        let id = subscribe_at(&mut bus, &["a", "b", CLIENTS_TOPIC], Start::Now, slow, at(0));
        publish(&mut bus, event("a", "x"));
        bus.finish().wake();
        let other = subscribe(&mut bus, &["other"], Start::Now);
        bus.finish().wake();
        publish(&mut bus, event("b", "x"));
        bus.finish().wake();
        let mut seen = drain(&mut bus, id);
        bus.disconnect(other, at(0));
        seen.extend(drain(&mut bus, id));
        assert_eq!(seen, expected, "{slow:?}");
    }
}

#[test]
fn a_subscriber_that_reads_history_first_receives_a_gap_for_live_only_events() {
    let mut bus = keeping(10);
    publish(&mut bus, event("a", "x"));
    subscribe(&mut bus, &["other"], Start::Now);
    let calm = subscribe(&mut bus, &["a", CLIENTS_TOPIC], Start::All);
    assert_eq!(drain(&mut bus, calm), ["1"], "nothing has happened since it came");
    let busy = subscribe(&mut bus, &["a", CLIENTS_TOPIC], Start::All);
    subscribe(&mut bus, &["other"], Start::Now);
    assert_eq!(drain(&mut bus, busy), ["1", "1 gap 1..=1 None"]);
    assert_eq!(read(&mut bus, calm), ["", ""]);
}

#[test]
fn it_moves_no_position_and_takes_no_room_in_history() {
    let mut bus = bus(Retention { events: 1, ..Retention::default() }, Limits { topics: 1, ..Limits::default() });
    publish(&mut bus, event("a", "x"));
    let (position, before) = (bus.position(), bus.status());
    let id = subscribe(&mut bus, &["a", CLIENTS_TOPIC], Start::Now);
    for _ in 0..100 {
        send(&mut bus, event("b", "for one").to_client(id.to_string()));
        let other = subscribe(&mut bus, &[CLIENTS_TOPIC], Start::Now);
        bus.disconnect(other, at(0));
    }
    assert_eq!(drain(&mut bus, id).len(), 300);
    assert_eq!((bus.position(), bus.stats().published, bus.stats().published_bytes), (position, 1, 1));
    assert_eq!((bus.status().history_bytes, bus.status().topics), (before.history_bytes, 1));
    let resumed = subscribe(&mut bus, &["a", CLIENTS_TOPIC], after(0));
    assert_eq!(drain(&mut bus, resumed), ["1"]);
}

/// Earlier versions kept the bus's own events in history.
#[test]
fn what_an_earlier_version_kept_of_the_bus_itself_is_dropped_at_a_start() {
    let epoch = Epoch::parse("e").expect("legal");
    let mut bus = Bus::new(epoch, Limits::default(), Box::new(Memory::persistent(Retention::default(), 1 << 20)));
    let record = |name: &str, seq| TopicRecord {
        topic: Topic::parse(name).expect("legal"),
        published: 1,
        last: Some((seq, 0)),
        past: TopicPast { first: seq, ..TopicPast::default() },
    };
    let keys = bus.restore_topics([record(CLIENTS_TOPIC, 1), record("a", 2)]);
    let entry = |(topic, seq)| Entry { seq, topic, arrived_at: 0, expires: None, cost: 100, event: None };
    let unwanted = bus.restore_events(keys.into_iter().zip(1..).map(entry).collect());
    bus.restored(UnattributedLosses::default(), 2, at(0));
    assert_eq!(unwanted, [1]);
    let topics: Vec<_> = bus.topics(at(0)).into_iter().map(|info| info.topic).collect();
    assert_eq!(topics, ["a"]);
    // So that the file forgets it, too.
    assert!(bus.has_changed());
    let batch = bus.take_batch(1000).expect("history is written down");
    assert_eq!(batch.gone, Gone::Topics(vec![Topic::parse(CLIENTS_TOPIC).expect("legal")]));
    #[cfg(debug_assertions)]
    bus.self_check();
}
