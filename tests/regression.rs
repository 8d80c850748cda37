//! Faults that the bus once had, each named after what is right instead.

use std::{task::Waker, time::Duration};

use sse_bus::{
    Epoch, FilterSet, Topic,
    bus::{
        Bus, ClientId, ClientName, Description, Format, Now, Publication, Read, ReaderId, Start, Subscription,
        history::Memory,
    },
    limits::{DELIVER_MAX, EVICT_MAX, Limits, Retention, SCAN_MAX, TopicRule},
    protocol::{ErrorCode, Slow},
};

fn bus(retention: Retention, limits: Limits) -> Bus {
    Bus::new(Epoch::parse("e").expect("legal"), limits, Box::new(Memory::new(retention)))
}

fn keeping(events: usize) -> Bus {
    bus(Retention { events, ..Retention::default() }, Limits::default())
}

fn at(ms: u64) -> Now {
    Now { mono: ms, unix: ms }
}

fn event(topic: &str, data: &str) -> Publication {
    let topic = Topic::parse(topic).expect("legal");
    Publication { topic, kind: None, data: data.into(), retain: false, ttl: None, to: None, durable: false }
}

fn publish(bus: &mut Bus, publication: Publication) -> u64 {
    bus.publish(publication, None, at(0)).expect("taken").id.seq
}

fn subscribe_at(bus: &mut Bus, filters: &[&str], start: Start, slow: Slow, now: Now) -> ClientId {
    let filters = FilterSet::parse(filters).expect("legal");
    let description = Description::default();
    let subscription = Subscription {
        filters,
        format: Format::SseData,
        start,
        slow,
        past_only: false,
        allowed: [].into(),
        description,
    };
    bus.subscribe(subscription, now).expect("taken").0
}

fn subscribe(bus: &mut Bus, filters: &[&str], start: Start) -> ClientId {
    subscribe_at(bus, filters, start, Slow::Gap, at(0))
}

fn after(seq: u64) -> Start {
    Start::After(format!("e-{seq}"))
}

/// One read: for each event its number, for each gap the number, how many it stands for, and its range.
fn read(bus: &mut Bus, id: ClientId) -> Vec<String> {
    let mut out = Vec::new();
    let _ = bus.read(id, at(1000), Waker::noop(), &mut out);
    let text = String::from_utf8(out.concat()).expect("text");
    let events = text.split_terminator("\n\n").map(|event| {
        let id = event.lines().find_map(|line| line.strip_prefix("id: e-")).unwrap_or_default();
        if !event.contains("event: $gap") {
            return id.to_owned();
        }
        let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
        let gap: sse_bus::protocol::Gap = serde_json::from_str(data).expect("a gap");
        format!("{id} gap {}..={} {:?}", gap.from.seq, gap.to.seq, gap.missed)
    });
    events.collect()
}

fn drain(bus: &mut Bus, id: ClientId) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let items = read(bus, id);
        if items.is_empty() {
            return all;
        }
        all.extend(items);
    }
}

/// The members of the groups that a reader is called for, once all have been read.
fn read_groups(bus: &mut Bus, reader: ReaderId) -> Vec<ClientId> {
    let (mut groups, mut members) = (Vec::new(), Vec::new());
    bus.called_groups(reader, &mut groups);
    for group in groups {
        while bus.read_group(group, &mut members, &mut Vec::new()) {}
    }
    members
}

/// Data of which a few events fill a read.
fn big() -> String {
    "x".repeat(DELIVER_MAX / 2 + 1)
}

#[test]
fn who_joins_gets_nothing_of_the_batch_that_came_before() {
    let mut bus = keeping(100);
    let other = subscribe(&mut bus, &["a", "$sys/clients"], Start::Now);
    publish(&mut bus, event("a", "before"));
    let now = subscribe(&mut bus, &["a", "$sys/clients"], Start::Now);
    let latest = subscribe(&mut bus, &["a", "$sys/clients"], Start::Latest);
    let _ = bus.finish();
    assert_eq!(drain(&mut bus, other), ["2", "3", "4"]);
    assert_eq!(drain(&mut bus, now), ["4"]);
    assert_eq!(drain(&mut bus, latest), ["2", "4"]);
}

#[test]
fn a_gap_before_what_does_not_fit_one_read_is_told_once() {
    let mut bus = keeping(2);
    for _ in 0..2 {
        publish(&mut bus, event("b", &big()));
    }
    for _ in 0..3 {
        publish(&mut bus, event("a", "x"));
    }
    publish(&mut bus, event("b", "x")); // 6; lets 1 go
    let id = subscribe(&mut bus, &["a", "b"], after(1));
    assert_eq!(drain(&mut bus, id), ["1 gap 2..=3 Some(1)", "2", "4", "5", "6"]);

    let mut bus = keeping(3);
    for topic in ["b", "b", "a", "b", "a", "a", "a"] {
        publish(&mut bus, event(topic, &big())); // lets 3 go
    }
    let id = subscribe(&mut bus, &["a", "b"], after(0));
    assert_eq!(drain(&mut bus, id).iter().filter(|item| item.contains("gap")).count(), 1);
}

#[test]
fn what_was_delivered_is_not_told_as_missed_when_history_lets_it_go_later() {
    let mut bus = keeping(4);
    for _ in 0..6 {
        publish(&mut bus, event("a", &big())); // lets 1 and 2 go
    }
    let id = subscribe(&mut bus, &["a"], Start::All); // 7
    assert_eq!(read(&mut bus, id), ["3", "4"]);
    for _ in 0..3 {
        publish(&mut bus, event("a", "x")); // lets 3, 4 and 5 go
    }
    assert_eq!(drain(&mut bus, id), ["5 gap 5..=5 Some(1)", "6", "8", "9", "10"]);
}

#[test]
fn a_retained_event_that_was_replayed_is_not_missed_when_it_is_replaced() {
    let mut bus = keeping(2);
    publish(&mut bus, Publication { retain: true, ..event("a", &big()) });
    publish(&mut bus, event("b", &big()));
    publish(&mut bus, event("b", &big()));
    for _ in 0..3 {
        publish(&mut bus, event("a", "x")); // 4 is let go
    }
    let id = subscribe(&mut bus, &["a", "b"], after(0));
    let first = read(&mut bus, id);
    publish(&mut bus, Publication { retain: true, ..event("a", "new") }); // 8; lets 5 go, and replaces 1
    let rest = drain(&mut bus, id);
    let missed: u64 = [first, rest]
        .concat()
        .iter()
        .filter_map(|item| item.split_once("Some(")?.1.strip_suffix(')')?.parse::<u64>().ok())
        .sum();
    assert_eq!(missed, 2, "4 and 5");
}

#[test]
fn an_event_whose_time_was_over_before_it_went_is_not_missed() {
    let mut bus = keeping(1);
    let ttl = Some(Duration::from_millis(10));
    publish(&mut bus, Publication { retain: true, ttl, ..event("a", "x") });
    bus.publish(event("a", "y"), None, at(20)).expect("taken"); // lets 1 go
    let first = subscribe_at(&mut bus, &["a"], after(0), Slow::Gap, at(20));
    bus.publish(Publication { retain: true, ..event("b", "z") }, None, at(20)).expect("taken");
    let second = subscribe_at(&mut bus, &["a"], after(0), Slow::Gap, at(20));
    assert_eq!((drain(&mut bus, first), drain(&mut bus, second)), (vec!["2".to_owned()], vec!["2".to_owned()]));
}

#[test]
fn a_retained_event_that_goes_before_it_is_replayed_is_told() {
    let mut bus = keeping(1);
    publish(&mut bus, Publication { retain: true, ..event("a", "old") });
    publish(&mut bus, event("a", "x"));
    publish(&mut bus, event("a", "x")); // lets 2 go
    let id = subscribe(&mut bus, &["a"], Start::All);
    publish(&mut bus, Publication { retain: true, ..event("a", "new") }); // 5; replaces 1, lets 3 go
    let seen = drain(&mut bus, id);
    assert_eq!(seen, ["0 gap 3..=3 Some(1)", "1", "5"]);
}

#[test]
fn a_while_ago_does_not_bring_older_retained_events() {
    let mut bus = keeping(1);
    publish(&mut bus, event("b", "old"));
    publish(&mut bus, Publication { retain: true, ..event("a", "old") });
    bus.publish(event("a", "new"), None, at(1000)).expect("taken");
    let id = subscribe_at(&mut bus, &["a"], Start::Last(Duration::from_millis(100)), Slow::Gap, at(1000));
    assert_eq!(drain(&mut bus, id), ["3"]);
}

#[test]
fn a_gap_is_told_before_any_later_event_so_that_leaving_there_hides_nothing() {
    let mut bus = keeping(1);
    for topic in ["a", "b", "a", "c", "a"] {
        publish(&mut bus, event(topic, "x")); // 1 and 3 are let go
    }
    let id = subscribe(&mut bus, &["*"], after(0));
    let seen = drain(&mut bus, id);
    assert_eq!(seen, ["1 gap 1..=3 Some(2)", "2", "4", "5"]);
    // Whoever comes back with the gap's id gets, or is told of, all the rest.
    let id = subscribe(&mut bus, &["*"], after(1));
    assert_eq!(drain(&mut bus, id), ["1 gap 2..=3 None", "2", "4", "5"]);
}

#[test]
fn the_gap_of_a_forgotten_topic_covers_all_that_it_lost() {
    let retention = Retention { events: 1, bytes: 1000, ..Retention::default() };
    let mut bus = bus(retention, Limits { topics: 3, ..Limits::default() });
    publish(&mut bus, event("a", "x"));
    publish(&mut bus, event("b", &big())); // too large for history
    publish(&mut bus, event("c", "x"));
    let id = subscribe(&mut bus, &["**"], Start::All); // 4 is of a new topic: forgets b, which has lost 2
    publish(&mut bus, event("a", &big())); // 5; lets 1 and itself go
    publish(&mut bus, event("d", "x")); // 6; forgets a
    assert_eq!(drain(&mut bus, id), ["2 gap 1..=5 None", "3", "6"]);
}

#[test]
fn each_topic_that_is_forgotten_ahead_of_a_reader_is_told() {
    let retention = Retention { events: 1, bytes: 6000, budget: 9000, ..Retention::default() };
    let mut bus = bus(retention, Limits { topics: 3, ..Limits::default() });
    subscribe(&mut bus, &["other"], Start::Now); // 1
    publish(&mut bus, event("a", &"x".repeat(4000)));
    publish(&mut bus, event("b", &big())); // 3; too large for history
    publish(&mut bus, event("c", "x")); // 4; forgets b
    let id = subscribe(&mut bus, &["**"], Start::All); // 5
    publish(&mut bus, event("c", &"x".repeat(5000))); // 6; lets 2 and 4 go
    publish(&mut bus, event("d", "x")); // 7; forgets a
    assert_eq!(drain(&mut bus, id), ["4 gap 1..=4 None", "6", "7"]);
}

#[test]
fn what_a_forgotten_topic_has_lost_is_not_counted_for_the_one_that_has_its_number_now() {
    // Of these two topics everything goes at once.
    let filters = FilterSet::parse(&["x", "$sys/clients"]).expect("legal");
    let nothing = TopicRule { filters, events: Some(0), bytes: None, age: None };
    let retention = Retention { events: 2, rules: vec![nothing], ..Retention::default() };
    let mut bus = bus(retention, Limits { topics: 3, ..Limits::default() });
    for topic in ["a", "a", "x"] {
        publish(&mut bus, event(topic, &big()));
    }
    let id = subscribe(&mut bus, &["*"], Start::All); // 4
    publish(&mut bus, event("x", "x")); // 5
    publish(&mut bus, event("y", "x")); // 6; forgets x
    assert_eq!(read(&mut bus, id), ["0 gap 1..=5 None", "1", "2"]);
    for _ in 0..2 {
        publish(&mut bus, event("y", "x")); // 8 lets 6 go
    }
    assert_eq!(drain(&mut bus, id), ["6 gap 4..=6 Some(1)", "7", "8"]);
}

#[test]
fn ids_do_not_go_back_when_a_reader_falls_behind_after_a_unicast_event() {
    let retention = Retention { events: 1, bytes: 1000, ..Retention::default() };
    let mut bus = bus(retention, Limits { feed_buffer: 1, topics: 3, ..Limits::default() });
    let id = subscribe(&mut bus, &["a/*"], Start::Now); // 1
    publish(&mut bus, event("a/b", "x"));
    publish(&mut bus, event("b", &big())); // 3; too large for history
    publish(&mut bus, Publication { to: Some(id.to_string()), ..event("c", "x") });
    assert_eq!(drain(&mut bus, id), ["2", "4"]);
    for topic in ["a/b", "a/c", "a/b"] {
        publish(&mut bus, event(topic, "x")); // 6 is of a new topic: forgets b, which has lost 3
        let _ = bus.finish();
    }
    assert_eq!(drain(&mut bus, id), ["5 gap 5..=5 Some(1)", "6", "7"]);
}

#[test]
fn what_latest_leaves_out_is_told_before_any_later_event() {
    let mut bus = bus(Retention::default(), Limits { feed_buffer: 1, ..Limits::default() });
    let id = subscribe_at(&mut bus, &["a", "b"], Start::Now, Slow::Latest, at(0)); // 1
    for topic in ["a", "b", "a", "a"] {
        publish(&mut bus, event(topic, "x"));
        let _ = bus.finish();
    }
    assert_eq!(drain(&mut bus, id), ["2 gap 2..=2 Some(1)", "3", "4 gap 4..=4 Some(1)", "5"]);
}

#[test]
fn a_read_that_waits_is_over_once_its_client_is_kicked() {
    let mut bus = keeping(1);
    let id = subscribe(&mut bus, &["a"], Start::Now);
    assert_eq!(bus.read(id, at(0), Waker::noop(), &mut Vec::new()), Read::Waiting);
    bus.kick(&id.to_string(), at(0)).expect("there");
    assert_eq!(bus.finish().len(), 1);
    assert_eq!(bus.read(id, at(0), Waker::noop(), &mut Vec::new()), Read::Over);
}

#[test]
fn one_read_looks_at_a_bounded_part_of_history() {
    let mut bus = keeping(10 * SCAN_MAX);
    // So many topics that the log is walked and not merged.
    for n in 0..40 {
        publish(&mut bus, event(&format!("few/{n}"), ""));
    }
    for _ in 0..3 * SCAN_MAX {
        publish(&mut bus, event("many", ""));
    }
    let id = subscribe(&mut bus, &["few/*"], Start::All);
    let mut out = Vec::new();
    let mut reads = 0;
    while bus.read(id, at(0), Waker::noop(), &mut out) == Read::Ready {
        reads += 1;
    }
    assert_eq!(reads, 3);
    assert_eq!(String::from_utf8(out.concat()).expect("text").matches("data").count(), 40);
}

#[test]
fn a_name_that_resembles_an_id_is_a_name() {
    let mut bus = keeping(10);
    let first = subscribe(&mut bus, &["t"], Start::Now);
    let filters = FilterSet::parse(&["t"]).expect("legal");
    let names = ["c01", "c+1"];
    for name in names {
        let name = Some(ClientName::parse(name).expect("legal"));
        let description = Description { name, ..Description::default() };
        let (format, start) = (Format::SseData, Start::Now);
        let slow = Slow::Gap;
        let subscription = Subscription {
            filters: filters.clone(),
            format,
            start,
            slow,
            past_only: false,
            allowed: [].into(),
            description,
        };
        bus.subscribe(subscription, at(0)).expect("taken");
    }
    for name in names {
        assert_eq!(bus.kick(name, at(0)).expect("known"), 1);
    }
    assert_eq!(bus.clients().iter().map(|client| client.id.clone()).collect::<Vec<_>>(), [first.to_string()]);
}

#[test]
fn who_waits_in_a_group_waits_nowhere_else() {
    let mut bus = keeping(10);
    let reader = bus.add_reader(Waker::noop().clone());
    let [first, second] = [(); 2].map(|()| subscribe(&mut bus, &["a"], Start::Now)); // 1 and 2
    for id in [first, second] {
        bus.assign(id, reader);
    }
    assert!(drain(&mut bus, first).is_empty());
    publish(&mut bus, event("a", "x"));
    let _ = bus.finish();
    assert_eq!(drain(&mut bus, second), ["3"], "and it waits alone, as the group has still to read 3");
    assert_eq!(read_groups(&mut bus, reader), [first]);
    assert!(read(&mut bus, second).is_empty(), "it was not called, and joins the group");
    publish(&mut bus, Publication { to: Some(second.to_string()), ..event("b", "x") });
    publish(&mut bus, event("a", "x"));
    let _ = bus.finish();
    assert_eq!(read_groups(&mut bus, reader), [first]);
    assert_eq!(drain(&mut bus, second), ["4", "5"]);
}

#[test]
fn ticks_that_come_late_or_twice_leave_nobody_without_a_heartbeat_and_give_nobody_two() {
    let mut bus = keeping(10);
    let clients: Vec<_> = (0..30).map(|_| subscribe(&mut bus, &["a"], Start::Now)).collect();
    let heartbeats = |bus: &mut Bus, ticks: &[u64]| -> Vec<usize> {
        let mut given = vec![0; clients.len()];
        for tick in ticks {
            bus.tick(at(*tick));
            for (id, given) in clients.iter().zip(&mut given) {
                let mut out = Vec::new();
                let _ = bus.read(*id, at(*tick), Waker::noop(), &mut out);
                *given += String::from_utf8_lossy(&out.concat()).matches(':').count();
            }
        }
        given
    };
    heartbeats(&mut bus, &[15_000]);
    assert_eq!(heartbeats(&mut bus, &[16_000, 17_990, 20_005, 26_000, 26_500, 29_999, 30_000]), [1; 30]);
    // The process was stopped for so long that everybody has waited for one.
    assert_eq!(heartbeats(&mut bus, &[90_000]), [1; 30]);
}

#[test]
fn a_closed_bus_takes_nothing_more() {
    let mut bus = keeping(10);
    let id = subscribe(&mut bus, &["a"], Start::Now); // 1
    publish(&mut bus, event("a", "x"));
    bus.close();
    for publication in [event("a", "x"), Publication { to: Some(id.to_string()), ..event("a", "x") }] {
        let refused = bus.publish(publication, None, at(0)).expect_err("it is closed");
        assert_eq!(refused.code, ErrorCode::Stopping);
    }
    assert_eq!(drain(&mut bus, id), ["2"]);
}

/// What history has.
fn held(bus: &Bus) -> usize {
    bus.status().history_events as usize
}

/// Reads all there is, and gives the numbers of the events, without gaps. No call lets more go than it may.
fn read_behind(bus: &mut Bus, id: ClientId, now: Now) -> Vec<String> {
    let mut out = Vec::new();
    loop {
        let before = held(bus);
        let read = bus.read(id, now, Waker::noop(), &mut out);
        assert!(before - held(bus) <= EVICT_MAX, "one read has let {} events go", before - held(bus));
        if read == Read::Waiting {
            break;
        }
    }
    let text = String::from_utf8(out.concat()).expect("text");
    let events = text.split_terminator("\n\n").filter(|event| !event.contains("event: $gap"));
    events.filter_map(|event| Some(event.lines().find_map(|line| line.strip_prefix("id: e-"))?.to_owned())).collect()
}

#[test]
fn when_the_bounds_change_events_go_in_steps_and_nobody_new_gets_what_is_beyond() {
    let mut bus = keeping(10_000);
    for _ in 0..5000 {
        publish(&mut bus, event("a", "x"));
        publish(&mut bus, event("b", "x"));
    }
    let rule = |filter: &str, events| TopicRule {
        filters: FilterSet::parse(&[filter]).expect("legal"),
        events: Some(events),
        bytes: None,
        age: None,
    };
    let none = Retention { rules: vec![rule("a", 0), rule("b", 3)], ..Retention::default() };
    let all = held(&bus);
    bus.configure(Limits::default(), none, at(0));
    assert!(all - held(&bus) <= EVICT_MAX && bus.is_behind());
    let latest = subscribe(&mut bus, &["a", "b"], Start::Latest);
    let begin = subscribe(&mut bus, &["a", "b"], Start::All);
    for _ in 0..3 {
        let before = held(&bus);
        publish(&mut bus, event("a", "x"));
        assert!(before + 1 - held(&bus) <= 2 * EVICT_MAX, "one publish has let {} events go", before + 1 - held(&bus));
    }
    bus.tick(at(0));
    assert!(bus.is_behind(), "so that the readers come before all has gone");
    // Live events went by; of the past there is only what a new daemon with these bounds would have.
    assert_eq!(read_behind(&mut bus, latest, at(0)), ["10000", "10003", "10004", "10005"]);
    assert_eq!(read_behind(&mut bus, begin, at(0)), ["9996", "9998", "10000"]);
    assert!(!bus.is_behind());
}

#[test]
fn after_a_jump_of_time_events_go_in_steps_and_nobody_new_gets_what_is_too_old() {
    let mut bus = bus(Retention { age: Duration::from_secs(10), ..Retention::default() }, Limits::default());
    for _ in 0..3000 {
        publish(&mut bus, event("a", "x"));
    }
    let late = at(11_000);
    let ids = [Start::Latest, Start::All, Start::Last(Duration::from_mins(1)), after(7)]
        .map(|start| subscribe_at(&mut bus, &["a"], start, Slow::Gap, late));
    bus.tick(late);
    assert!(bus.is_behind() && 3000 - held(&bus) <= 10 * EVICT_MAX);
    for id in ids {
        assert_eq!(read_behind(&mut bus, id, late), [""; 0]);
    }
    assert!(!bus.is_behind());
}
