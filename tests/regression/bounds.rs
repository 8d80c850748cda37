//! Events outside the bounds of history, while they are evicted.

use std::{task::Waker, time::Duration};

use bytes::Bytes;
use sse_bus::{
    Epoch, FilterSet,
    bus::{
        Bus, ClientId, ClientName, Format, Now, Read, Start, Subscription,
        history::{Doubt, Entry, Memory},
    },
    limits::{DELIVER_MAX, EVICT_MAX, Limits, REPLAY_BUFFERS},
    protocol::Slow,
    retention::{Retention, TopicRule},
};

use super::{after, at, bus, drain, event, keeping, publish, read_once, subscribe, subscribe_at};

/// The events that history has.
fn held(bus: &Bus) -> usize {
    bus.status().history_events as usize
}

/// Reads everything, and returns the numbers of the events, without gaps. No call evicts more than it may.
fn read_behind(bus: &mut Bus, id: ClientId, now: Now) -> Vec<String> {
    let mut out = Vec::new();
    loop {
        let before = held(bus);
        let read = bus.read(id, now, Waker::noop(), &mut out);
        assert!(before - held(bus) <= EVICT_MAX, "one read has evicted {} events", before - held(bus));
        if read == Read::Waiting {
            break;
        }
    }
    let text = String::from_utf8(out.concat()).expect("text");
    let events = text.split_terminator("\n\n").filter(|event| !event.contains("event: $gap"));
    events.filter_map(|event| Some(event.lines().find_map(|line| line.strip_prefix("id: e-"))?.to_owned())).collect()
}

#[test]
fn changed_bounds_evict_in_steps_and_hide_excess_events_from_new_subscribers() {
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
        assert!(before + 1 - held(&bus) <= 2 * EVICT_MAX, "one publish has evicted {} events", before + 1 - held(&bus));
    }
    bus.tick(at(0));
    assert!(bus.is_behind(), "so that the readers come before all has gone");
    // Live events went by; of the past there is only what a new daemon with these bounds would have.
    assert_eq!(read_behind(&mut bus, latest, at(0)), ["10000", "10001", "10002", "10003"]);
    assert_eq!(read_behind(&mut bus, begin, at(0)), ["9996", "9998", "10000"]);
    assert!(!bus.is_behind());
}

#[test]
fn a_jump_of_time_evicts_in_steps_and_hides_expired_events_from_new_subscribers() {
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

#[test]
fn an_event_of_uncertain_age_is_hidden_when_it_may_have_expired_and_deleted_when_it_has() {
    let retention = Retention { age: Duration::from_secs(10), ..Retention::default() };
    let history = Memory::persistent(retention, 1 << 20);
    let mut bus = Bus::new(Epoch::parse("e").expect("legal"), Limits::default(), Box::new(history));
    let now = |mono| Now { mono, unix: 0 };
    let publish = |bus: &mut Bus, topic, mono| {
        let mut publication = event(topic, "x");
        publication.ttl = (topic == "brief").then_some(Duration::from_secs(5));
        bus.publish(publication, None, now(mono)).expect("it is accepted");
    };
    publish(&mut bus, "old", 1);
    publish(&mut bus, "brief", 1);
    // The machine was off for a day, according to the wall clock.
    let day = 86_400_000;
    bus.doubt(Doubt { steps: vec![(1, day)] });
    publish(&mut bus, "new", day);
    bus.tick(now(day));
    assert_eq!(held(&bus), 3, "nothing is deleted");
    let brief = subscribe_at(&mut bus, &["brief", "new"], Start::All, Slow::Gap, now(day));
    assert_eq!(read_behind(&mut bus, brief, now(day)), ["3"], "its time seems to be over");
    // Newer events have a certain age. The time of the brief one has passed even if the machine was not off.
    bus.tick(now(day + 10_001));
    assert_eq!(held(&bus), 1);
    // In fact it was off for half a minute, or for a day.
    bus.doubt(Doubt { steps: vec![(1, day - 30_000)] });
    bus.tick(now(day + 10_001));
    assert_eq!(held(&bus), 0);
}

/// A read takes about 48 KiB, so that everything else waits.
#[test]
fn unicast_events_are_stored_once_and_bounded_together() {
    let limits = Limits { unicast_buffer: 4 << 20, ..Limits::default() };
    let mut bus = bus(Retention::default(), limits);
    let named = |bus: &mut Bus, name: &str| {
        let mut subscription = Subscription::new(FilterSet::parse(&["t"]).expect("legal"), Format::SseData);
        subscription.description.name = Some(ClientName::parse(name).expect("legal"));
        bus.subscribe(subscription, at(0)).expect("taken").0
    };
    let send = |bus: &mut Bus, to: &str| {
        let publication = event("t", &"x".repeat(1 << 20)).to_client(to);
        bus.publish(publication, None, at(0)).expect("taken").subscribers
    };
    // A thousand times 1 MiB, if each had a copy.
    let all: Vec<_> = (0..1000).map(|_| named(&mut bus, "all")).collect();
    assert_eq!(send(&mut bus, "all"), 1000);
    let each: Vec<_> = (0..70).map(|n| named(&mut bus, &format!("client {n}"))).collect();
    let taken = (0..70).map(|n| send(&mut bus, &format!("client {n}"))).sum::<u64>();
    assert_eq!(taken, 62, "64 MiB hold 63 events of a little more than 1 MiB");
    // The event for all waits until the last of them has read it.
    for id in &all[1..] {
        bus.disconnect(*id, at(0));
    }
    assert_eq!(send(&mut bus, "client 69"), 0);
    drain(&mut bus, all[0]);
    assert_eq!(send(&mut bus, "client 69"), 1);
    drain(&mut bus, each[0]);
    assert_eq!(send(&mut bus, "client 68"), 1);
    assert_eq!(send(&mut bus, "client 67"), 0);
}

/// Reads once for each of many new subscribers, which begin at different events, and drops nothing. Returns the bytes
/// of memory that are in use, each counted once.
fn unread_replays(bus: &mut Bus, subscribers: usize) -> (usize, Vec<Bytes>) {
    let (mut out, head) = (Vec::new(), bus.position().seq);
    for n in 0..subscribers {
        let id = subscribe(bus, &["t"], after(n as u64 % head));
        let _ = bus.read(id, at(0), Waker::noop(), &mut out);
        bus.disconnect(id, at(0));
    }
    let mut in_use: Vec<_> = out.iter().map(|bytes| (bytes.as_ptr(), bytes.len())).collect();
    in_use.sort_unstable();
    in_use.dedup();
    (in_use.iter().map(|(_, len)| len).sum(), out)
}

/// A copy of 256 KiB for each of them would be 375 MiB.
#[test]
fn large_events_of_history_wait_once_for_all_subscribers() {
    let mut bus = keeping(100);
    for _ in 0..20 {
        publish(&mut bus, event("t", &"x".repeat(256 << 10)));
    }
    let (in_use, _unread) = unread_replays(&mut bus, 1500);
    assert!(in_use < 20 * (257 << 10), "{in_use} bytes");
}

/// 48 KiB for each of them would be 140 MiB.
#[test]
fn small_events_of_history_that_wait_for_subscribers_are_bounded_together() {
    let mut bus = keeping(1000);
    for _ in 0..1000 {
        publish(&mut bus, event("t", &"x".repeat(1000)));
    }
    let (in_use, unread) = unread_replays(&mut bus, 3000);
    assert!((REPLAY_BUFFERS..REPLAY_BUFFERS + (2 << 20)).contains(&in_use), "{in_use} bytes");
    // Above the bound no subscriber waits: each gets one event at a time.
    let ids: Vec<String> = (1..=1000).map(|seq| seq.to_string()).collect();
    // The presence events of the others are scanned first.
    let first_events = |bus: &mut Bus, id| loop {
        let (events, _) = read_once(bus, id);
        if !events.is_empty() {
            return events;
        }
    };
    let id = subscribe(&mut bus, &["t"], after(0));
    assert_eq!(first_events(&mut bus, id), ids[..1]);
    assert_eq!(drain(&mut bus, id), ids[1..]);
    drop(unread);
    let id = subscribe(&mut bus, &["t"], after(0));
    assert!(first_events(&mut bus, id).len() > DELIVER_MAX / 1100);
}

#[test]
fn an_event_of_history_of_four_kilobytes_is_shared_and_a_smaller_one_is_copied() {
    for (size, is_shared) in [(4095, false), (4096, true)] {
        let mut bus = keeping(10);
        publish(&mut bus, event("t", &"x".repeat(size)));
        let mut read = || {
            let (id, mut out) = (subscribe(&mut bus, &["t"], Start::All), Vec::new());
            assert_eq!(bus.read(id, at(0), Waker::noop(), &mut out), Read::Waiting);
            out.remove(0)
        };
        let [first, second] = [read(), read()];
        assert_eq!(first, second);
        assert_eq!(first.as_ptr() == second.as_ptr(), is_shared, "{size} bytes");
    }
}

#[test]
fn a_large_event_evicts_as_many_small_ones_as_it_needs() {
    let small = Entry::cost_of(1, 0, 0);
    let mut bus = bus(Retention { budget: 800 * small, ..Retention::default() }, Limits::default());
    for _ in 0..800 {
        publish(&mut bus, event("t", "x"));
    }
    assert_eq!(held(&bus), 800);
    let large = 8 * EVICT_MAX * small;
    publish(&mut bus, event("t", &"x".repeat(large - Entry::cost_of(0, 0, 0))));
    assert_eq!((held(&bus), bus.status().history_bytes), (800 - 8 * EVICT_MAX + 1, 800 * small as u64));
}

/// The bounds have evicted the event from the log, but it is still received as the retained one.
#[test]
fn a_retained_event_that_is_replaced_is_missed_unless_it_has_expired() {
    for (replaced, expected) in [(4999, &["1 gap 1..=1 Some(1)", "2"][..]), (5000, &["2"])] {
        let mut bus = keeping(0);
        let mut brief = event("t", "x").retained();
        brief.ttl = Some(Duration::from_secs(5));
        publish(&mut bus, brief);
        bus.publish(event("t", "y").retained(), None, at(replaced)).expect("taken");
        let id = subscribe(&mut bus, &["t"], after(0));
        assert_eq!(drain(&mut bus, id), expected, "replaced at {replaced}");
    }
}
