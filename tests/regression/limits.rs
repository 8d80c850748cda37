//! Behaviour at each limit, exactly.

use std::time::Duration;

use sse_bus::{
    FilterSet,
    bus::{Bus, Description, Format, Publication, Start, Subscription, history::Entry},
    limits::{Limits, PRESENCE_FILTERS},
    protocol::{ErrorCode, Refused, Transport},
    retention::Retention,
};

use super::{at, bus, drain, event, keeping, publish, subscribe};

fn limited(limits: Limits) -> Bus {
    bus(Retention::default(), limits)
}

/// The usage of a limit.
fn used(bus: &Bus, limit: &str) -> usize {
    let status = bus.status();
    let info = status.limits.iter().find(|info| info.limit == limit).expect("a limit that is shown");
    info.used as usize
}

fn refused(bus: &mut Bus, publication: Publication) -> ErrorCode {
    bus.publish(publication, None, at(0)).expect_err("beyond the limit").code
}

fn try_subscribe(bus: &mut Bus, filters: &[&str]) -> Result<(), ErrorCode> {
    let subscription = Subscription::new(FilterSet::parse(filters).expect("legal"), Format::Json);
    bus.subscribe(subscription, at(0)).map(drop).map_err(|refused: Refused| refused.code)
}

/// The cost of a level of a filter in addition to its name.
const LEVEL: usize = 384;

#[test]
fn filters_cost_their_levels_and_their_bytes_however_many_topics_they_match() {
    let mut bus = keeping(10);
    let cost = |bus: &Bus| used(bus, "filters_bytes");
    for topic in ["a/1", "a/2", "b"] {
        publish(&mut bus, event(topic, "x"));
    }
    let first = subscribe(&mut bus, &["none"], Start::Now);
    let one = cost(&bus);
    assert!((LEVEL + 4..4096).contains(&one), "{one}");
    let same = subscribe(&mut bus, &["none"], Start::Now);
    assert_eq!(cost(&bus), one, "it is shared");
    let longer = subscribe(&mut bus, &["none/of/it"], Start::Now);
    assert_eq!(cost(&bus), 2 * one + 2 * LEVEL + 6);
    let two = cost(&bus);
    let matching = subscribe(&mut bus, &["a/*", "b"], Start::Now);
    assert_eq!(cost(&bus) - two, one + 2 * LEVEL, "three levels, four bytes");
    let three = cost(&bus);
    publish(&mut bus, event("a/3", "x"));
    assert_eq!(cost(&bus), three, "one more topic");
    for id in [first, same, longer, matching] {
        assert!(bus.is_connected(id));
        bus.disconnect(id, at(0));
        assert!(!bus.is_connected(id));
    }
    assert_eq!(cost(&bus), 0);
}

#[test]
fn the_cost_of_filters_is_bounded() {
    let mut bus = keeping(10);
    subscribe(&mut bus, &["a/*"], Start::Now);
    let one = used(&bus, "filters_bytes");
    for (limit, expected) in [(one - 1, Err(ErrorCode::LimitFilters)), (one, Ok(()))] {
        let mut bus = limited(Limits { filters_bytes: limit, ..Limits::default() });
        assert_eq!(try_subscribe(&mut bus, &["a/*"]), expected, "{limit}");
        for topic in ["a/1", "a/2", "b"] {
            publish(&mut bus, event(topic, "x"));
        }
    }
}

#[test]
fn descriptions_of_clients_are_bounded() {
    let mut bus = limited(Limits { subscribers: 2, publishers: 1, ..Limits::default() });
    assert!(!bus.has_subscribers());
    let publisher = bus.add_publisher(Description::default(), Transport::Json, at(0)).expect("the first");
    let second = bus.add_publisher(Description::default(), Transport::Json, at(0));
    assert_eq!(second.expect_err("the second").code, ErrorCode::LimitPublishers);
    assert!(!bus.has_subscribers());
    let results = [(); 3].map(|()| try_subscribe(&mut bus, &["a"]));
    assert_eq!(results, [Ok(()), Ok(()), Err(ErrorCode::LimitSubscribers)]);
    assert!(bus.has_subscribers());
    bus.disconnect(publisher, at(0));
    bus.add_publisher(Description::default(), Transport::Json, at(0)).expect("there is room again");
}

#[test]
fn retained_events_are_bounded_in_bytes() {
    let cost = Entry::cost_of(3, 0, 0);
    for (limit, fits) in [(2 * cost - 1, false), (2 * cost, true)] {
        let mut bus = limited(Limits { retained_bytes: limit, ..Limits::default() });
        publish(&mut bus, event("a", "one").retained());
        assert_eq!(bus.publish(event("b", "two").retained(), None, at(0)).is_ok(), fits, "{limit}");
        assert_eq!(used(&bus, "retained_bytes"), cost * (1 + usize::from(fits)));
        // One replaces another of its topic.
        publish(&mut bus, event("a", "new").retained());
        assert_eq!(refused(&mut bus, event("c", "new").retained()), ErrorCode::LimitRetained);
        publish(&mut bus, event("a", "").retained());
        publish(&mut bus, event("c", "new").retained());
    }
}

#[test]
fn an_expired_retained_event_makes_room() {
    let mut bus = limited(Limits { retained_bytes: Entry::cost_of(3, 0, 0), ..Limits::default() });
    let mut brief = event("a", "one").retained();
    brief.ttl = Some(Duration::from_millis(10));
    publish(&mut bus, brief);
    let second = event("b", "two").retained();
    assert_eq!(bus.publish(second.clone(), None, at(9)).expect_err("full").code, ErrorCode::LimitRetained);
    bus.publish(second, None, at(10)).expect("there is room");
}

#[test]
fn an_empty_topic_makes_room_for_another() {
    let retention = Retention { age: Duration::from_secs(1), ..Retention::default() };
    let mut bus = bus(retention, Limits { topics: 2, ..Limits::default() });
    publish(&mut bus, event("a", "x"));
    publish(&mut bus, event("b", "x").retained());
    assert_eq!(refused(&mut bus, event("c", "x")), ErrorCode::LimitTopics);
    // Expired events are evicted when room is needed.
    bus.publish(event("c", "x"), None, at(2000)).expect("a is forgotten");
    let names = |bus: &Bus| bus.topics(at(2000)).into_iter().map(|info| info.topic).collect::<Vec<_>>();
    assert_eq!(names(&bus), ["b", "c"]);
}

#[test]
fn a_client_with_many_filters_is_announced_with_the_first() {
    let mut bus = keeping(10);
    let watcher = subscribe(&mut bus, &["$sys/clients"], Start::Now);
    drain(&mut bus, watcher);
    let announced = |bus: &mut Bus, filters: &[String]| {
        let subscription = Subscription::new(FilterSet::parse(filters).expect("legal"), Format::Json);
        bus.subscribe(subscription, at(0)).expect("taken");
        let mut out = Vec::new();
        let _ = bus.read(watcher, at(0), std::task::Waker::noop(), &mut out);
        let text = String::from_utf8(out.concat()).expect("text");
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
        serde_json::from_str::<sse_bus::protocol::ClientInfo>(data).expect("a client").filters
    };
    let of = |n: usize, bytes: usize| (0..n).map(|n| format!("{n:0bytes$}")).collect::<Vec<_>>();
    let fitting = of(PRESENCE_FILTERS / 128, 128);
    assert_eq!(announced(&mut bus, &fitting), fitting);
    let many = of(PRESENCE_FILTERS / 128 + 2, 128);
    let shown = announced(&mut bus, &many);
    assert_eq!((&shown[..shown.len() - 1], &*shown[shown.len() - 1]), (&*fitting, "… 2 more"));
}

#[test]
fn only_a_bus_with_a_disk_accepts_durable_publishes() {
    let mut durable = event("a", "x");
    durable.durable = true;
    assert_eq!(refused(&mut keeping(10), durable), ErrorCode::NotDurable);
}
