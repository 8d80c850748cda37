//! A log elsewhere that loses its newest events, and assigns their numbers again.

use std::{sync::Arc, task::Waker};

use sse_bus::{
    Check, Epoch, Event, EventId, Topic,
    bus::{
        Bus, ClientId, LogEvent, Read, Start,
        fetch::Fetched,
        history::{Memory, Window},
    },
    limits::Limits,
    protocol::Gap,
    retention::Retention,
};

use super::{after, at, subscribe};

const WINDOW: Window = Window { events: 5, bytes: usize::MAX };

fn window(start: u64) -> Box<Memory> {
    Box::new(Memory::window(Retention::default(), WINDOW, start))
}

fn id(epoch: &str, seq: u64, check: &str) -> EventId {
    EventId { check: Check::parse(check), ..EventId::new(Epoch::parse(epoch).expect("legal"), seq) }
}

fn event(id: EventId) -> Event {
    Event::new(id, Topic::parse("t").expect("legal"), "x", 0)
}

/// The events with these numbers before the loss.
fn events(range: std::ops::RangeInclusive<u64>) -> Vec<Event> {
    range.map(|seq| event(id("e", seq, "aaaa"))).collect()
}

fn apply(bus: &mut Bus, id: EventId) {
    bus.apply(LogEvent { event: event(id), retain: false, ttl: None }, at(0)).expect("next");
    bus.finish().wake();
}

/// A bus with the events 1 to 10 of a log, each with the check `aaaa`.
fn node() -> Bus {
    let mut bus = Bus::new(Epoch::parse("e").expect("legal"), Limits::default(), window(0));
    (1..=10).for_each(|seq| apply(&mut bus, id("e", seq, "aaaa")));
    bus
}

/// What a stream has received: the number of each event, and each gap with its reason and range.
fn ids(bus: &mut Bus, client: ClientId) -> Vec<String> {
    let mut out = Vec::new();
    while bus.read(client, at(0), Waker::noop(), &mut out) == Read::Ready {}
    #[cfg(debug_assertions)]
    bus.self_check();
    let text = String::from_utf8(out.concat()).expect("text");
    let field = |event: &str, name: &str| event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
    let events = text.split_terminator("\n\n").map(|event| {
        if event.contains("event: $gap") {
            let gap: Gap = serde_json::from_str(&field(event, "data: ").expect("data")).expect("a gap");
            return format!("gap {} {}..{}", gap.reason.as_str(), gap.from, gap.to);
        }
        let id: EventId = field(event, "id: ").expect("an id").parse().expect("an id");
        id.seq.to_string()
    });
    events.collect()
}

#[test]
fn subscribers_that_had_lost_events_receive_a_gap_and_all_later_events() {
    let mut bus = node();
    let (live, behind) = (subscribe(&mut bus, &["t"], Start::Now), subscribe(&mut bus, &["t"], after(7)));
    assert_eq!(ids(&mut bus, live), Vec::<String>::new());
    drop(bus.rewrite(id("e", 8, "aaaa"), window(8)));
    bus.finish().wake();
    apply(&mut bus, id("e", 9, "bbbb"));
    assert_eq!(ids(&mut bus, live), ["gap rewritten e-10-aaaa..e-8-aaaa", "9"]);
    // It had not received what was lost. What it wants is before the new window.
    assert_eq!(ids(&mut bus, behind), Vec::<String>::new());
    let wanted = bus.take_wanted().pop().expect("the event 8");
    assert_eq!((wanted.seq, wanted.rewrites), (8, 1));
    let fetched = Arc::new(Fetched { events: events(8..=8), from: 8, upto: 8, ..Fetched::default() });
    bus.hand_over(behind, Arc::downgrade(&fetched));
    assert_eq!(ids(&mut bus, behind), ["8", "9"]);
}

#[test]
fn another_epoch_begins_with_a_gap() {
    let mut bus = node();
    let live = subscribe(&mut bus, &["t"], Start::Now);
    drop(bus.rewrite(id("f", 0, ""), window(0)));
    bus.finish().wake();
    apply(&mut bus, id("f", 1, "cccc"));
    assert_eq!(ids(&mut bus, live), ["gap restarted e-10-aaaa..f-0", "1"]);
}

#[test]
fn an_id_with_another_check_is_a_gap() {
    let mut bus = node();
    for last in ["e-9-aaaa", "e-9"] {
        let client = subscribe(&mut bus, &["t"], Start::After(last.into()));
        assert_eq!(ids(&mut bus, client), ["10"], "after {last}");
    }
    for (last, reason) in
        [("e-10-bbbb", "rewritten"), ("e-8-bbbb", "rewritten"), ("e-11-aaaa", "rewritten"), ("e-11", "unknown_id")]
    {
        let client = subscribe(&mut bus, &["t"], Start::After(last.into()));
        assert_eq!(ids(&mut bus, client), Vec::<String>::new(), "after {last}");
        // All of history follows the gap, from before the window on.
        let wanted = bus.take_wanted().pop().expect("events before the window");
        assert_eq!((wanted.seq, wanted.check), (1, None), "after {last}");
        let fetched = Arc::new(Fetched { events: events(1..=5), from: 1, upto: 5, ..Fetched::default() });
        bus.hand_over(client, Arc::downgrade(&fetched));
        let received = ids(&mut bus, client);
        assert_eq!((received[0].as_str(), received.len()), (&*format!("gap {reason} {last}..e-0"), 11), "after {last}");
    }
}

#[test]
fn an_id_before_the_window_is_verified_by_the_log() {
    let mut bus = node();
    for rewritten in [false, true] {
        let client = subscribe(&mut bus, &["t"], Start::After("e-2-bbbb".into()));
        assert_eq!(ids(&mut bus, client), Vec::<String>::new());
        let wanted = bus.take_wanted().pop().expect("events before the window");
        assert_eq!((wanted.seq, wanted.check), (3, Check::parse("bbbb")));
        let fetched = Arc::new(Fetched { events: events(3..=5), from: 3, upto: 5, rewritten, ..Fetched::default() });
        bus.hand_over(client, Arc::downgrade(&fetched));
        let received = ids(&mut bus, client);
        if !rewritten {
            assert_eq!(received, ["3", "4", "5", "6", "7", "8", "9", "10"]);
            continue;
        }
        let wanted = bus.take_wanted().pop().expect("all of history");
        assert_eq!((wanted.seq, wanted.check), (1, None));
        let fetched = Arc::new(Fetched { events: events(1..=5), from: 1, upto: 5, ..Fetched::default() });
        bus.hand_over(client, Arc::downgrade(&fetched));
        let received = [received, ids(&mut bus, client)].concat();
        assert_eq!(received[0], "gap rewritten e-2-bbbb..e-0");
        assert_eq!(received.len(), 11, "{received:?}");
    }
}

#[test]
fn a_resumed_stream_receives_its_position_with_the_check() {
    let mut bus = node();
    for last in ["e-2-aaaa", "e-5-aaaa", "e-8-aaaa"] {
        let filters = sse_bus::FilterSet::parse(&["t"]).expect("legal");
        let mut subscription = sse_bus::bus::Subscription::new(filters, sse_bus::bus::Format::SseData);
        subscription.start = Start::After(last.into());
        let (client, _) = bus.subscribe(subscription, at(0)).expect("taken");
        let mut out = Vec::new();
        bus.read(client, at(0), Waker::noop(), &mut out);
        let text = String::from_utf8(out.concat()).expect("text");
        assert!(text.contains(&format!("id: {last}\n")), "{text}");
    }
}

#[test]
fn an_id_at_the_start_of_the_window_is_verified_by_the_log() {
    let mut bus = node();
    // The window has the events 6 to 10.
    let client = subscribe(&mut bus, &["t"], Start::After("e-5-bbbb".into()));
    assert_eq!(ids(&mut bus, client), Vec::<String>::new());
    let wanted = bus.take_wanted().pop().expect("the event 5, to compare its check");
    assert_eq!((wanted.seq, wanted.check), (6, Check::parse("bbbb")));
    let fetched = Arc::new(Fetched { from: 6, upto: 6, rewritten: true, ..Fetched::default() });
    bus.hand_over(client, Arc::downgrade(&fetched));
    let received = ids(&mut bus, client);
    let wanted = bus.take_wanted().pop().expect("all of history");
    assert_eq!((received, wanted.seq), (Vec::new(), 1));
}
