//! What is beyond the bounds of history, while it goes.

use std::{task::Waker, time::Duration};

use sse_bus::{
    FilterSet,
    bus::{Bus, ClientId, Now, Read, Start},
    limits::{EVICT_MAX, Limits, Retention, TopicRule},
    protocol::Slow,
};

use super::{after, at, bus, event, keeping, publish, subscribe, subscribe_at};

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
