//! Events for very many feeds or clients reach them in steps, and each in the same order as without steps.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
};

use sse_bus::{
    FilterSet,
    bus::{Bus, CLIENTS_TOPIC, ClientId, ClientName, Format, Read, Start, Subscription},
    limits::{BROADCASTS_MAX, CALLS_MAX, FEEDS_AT_ONCE, Limits},
    retention::Retention,
};

use super::{at, bus, drain, event, keeping, publish, subscribe};

#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Subscribers that have a feed each and wait, with the counter of their wake-ups.
fn crowd(bus: &mut Bus, feeds: usize) -> (Vec<ClientId>, Arc<Calls>) {
    let calls = Arc::<Calls>::default();
    let subscribers: Vec<_> = (0..feeds).map(|n| subscribe(bus, &["news", &format!("own/{n}")], Start::Now)).collect();
    for id in &subscribers {
        assert_eq!(bus.read(*id, at(0), &calls.clone().into(), &mut Vec::new()), Read::Waiting);
    }
    (subscribers, calls)
}

/// Takes one step. Returns the number of wake-ups, and whether there is more to do.
fn step(bus: &mut Bus, calls: &Calls) -> (usize, bool) {
    let is_more = bus.finish_some();
    bus.take_wakes().wake();
    #[cfg(debug_assertions)]
    bus.self_check();
    (calls.0.swap(0, Ordering::Relaxed), is_more)
}

#[test]
fn an_event_for_very_many_feeds_reaches_each_once_and_in_order() {
    const FEEDS: usize = 5 * FEEDS_AT_ONCE;
    let mut bus = keeping(100);
    let (subscribers, calls) = crowd(&mut bus, FEEDS);
    let first = publish(&mut bus, event("news", "x")).to_string();
    let after_first = subscribe(&mut bus, &["news", "own/new"], Start::Now);
    let (woken, is_more) = step(&mut bus, &calls);
    assert!(is_more && woken <= FEEDS_AT_ONCE, "{woken} were woken in one step");
    // Some have it, and the last one does not, which now gets a later event alone.
    let last = FEEDS - 1;
    let second = publish(&mut bus, event(&format!("own/{last}"), "x")).to_string();
    assert_eq!(drain(&mut bus, subscribers[last]), [&*first, &*second]);
    bus.disconnect(subscribers[last - 1], at(0));
    let third = publish(&mut bus, event("news", "x")).to_string();
    let mut total = woken;
    loop {
        let (woken, is_more) = step(&mut bus, &calls);
        assert!(woken <= FEEDS_AT_ONCE, "{woken} were woken in one step");
        total += woken;
        if !is_more {
            break;
        }
    }
    // The last one is not waiting; the one before is woken as it ends.
    assert!((FEEDS - 1..=FEEDS).contains(&total), "{total} wake-ups of {FEEDS}");
    assert_eq!(drain(&mut bus, subscribers[last]), [&*third]);
    assert_eq!(drain(&mut bus, after_first), [&*third], "it came after the first event");
    for id in &subscribers[..last - 1] {
        assert_eq!(drain(&mut bus, *id), [&*first, &*third]);
    }
}

/// Reads everything, and waits with the counter of wake-ups.
fn wait_again(bus: &mut Bus, subscribers: &[ClientId], calls: &Arc<Calls>) {
    bus.finish().wake();
    for id in subscribers {
        while bus.read(*id, at(0), &calls.clone().into(), &mut Vec::new()) == Read::Ready {}
    }
    calls.0.store(0, Ordering::Relaxed);
}

#[test]
fn a_step_appends_a_bounded_number_of_events_and_of_bytes() {
    let mut bus = keeping(1000);
    let (subscribers, calls) = crowd(&mut bus, FEEDS_AT_ONCE + 1);
    // As many events for a single feed as a step appends: from few publishes, or from one large one.
    let small = vec!["x".to_owned(); FEEDS_AT_ONCE];
    let large = vec!["x".repeat(2048 * FEEDS_AT_ONCE)];
    for events in [small, large] {
        wait_again(&mut bus, &subscribers, &calls);
        let before = bus.broadcasts();
        for data in &events {
            publish(&mut bus, event("news", data));
        }
        assert_eq!(bus.broadcasts() - before, events.len() as u64);
        let (mut total, mut is_more) = (0, true);
        while is_more {
            let woken;
            (woken, is_more) = step(&mut bus, &calls);
            assert!(woken <= 1, "{woken} feeds have received {} events in one step", events.len());
            total += woken;
        }
        assert_eq!(total, subscribers.len());
    }
    wait_again(&mut bus, &subscribers[..1], &calls);
    publish(&mut bus, event("own/0", &"x".repeat(2048 * FEEDS_AT_ONCE)));
    assert_eq!(bus.broadcasts(), FEEDS_AT_ONCE as u64 + 1, "an event for one feed needs no steps");
}

#[test]
fn very_many_subscribers_of_one_feed_are_woken_in_steps() {
    const SUBSCRIBERS: usize = 3 * FEEDS_AT_ONCE;
    let mut bus = keeping(100);
    let calls = Arc::<Calls>::default();
    for _ in 0..SUBSCRIBERS {
        let id = subscribe(&mut bus, &["a"], Start::Now);
        assert_eq!(bus.read(id, at(0), &calls.clone().into(), &mut Vec::new()), Read::Waiting);
    }
    publish(&mut bus, event("a", "x"));
    let (mut total, mut is_more) = (0, true);
    while is_more {
        let woken;
        (woken, is_more) = step(&mut bus, &calls);
        assert!(woken <= FEEDS_AT_ONCE, "{woken} were woken in one step");
        total += woken;
    }
    assert_eq!(total, SUBSCRIBERS);
}

#[test]
fn a_bounded_number_of_events_waits_for_very_many_feeds() {
    const FEEDS: usize = FEEDS_AT_ONCE + 1;
    let mut bus = keeping(1000);
    let (subscribers, _) = crowd(&mut bus, FEEDS);
    let mut expected = Vec::new();
    for _ in 0..=2 * BROADCASTS_MAX {
        expected.push(publish(&mut bus, event("news", "x")).to_string());
        #[cfg(debug_assertions)]
        bus.self_check();
    }
    bus.finish().wake();
    for id in subscribers {
        assert_eq!(drain(&mut bus, id), expected);
    }
}

/// So that publishers wait before all events have to be appended at once.
#[test]
fn many_waiting_events_are_reported_before_their_number_reaches_its_bound() {
    let mut bus = keeping(1000);
    crowd(&mut bus, FEEDS_AT_ONCE + 1);
    while bus.finish_some() {}
    for _ in 0..BROADCASTS_MAX / 4 {
        publish(&mut bus, event("news", "x"));
        assert!(!bus.has_many_broadcasts());
    }
    publish(&mut bus, event("news", "x"));
    assert!(bus.has_many_broadcasts());
    while bus.has_many_broadcasts() {
        assert!(bus.finish_some());
    }
}

#[test]
fn presence_events_reach_very_many_feeds_in_steps() {
    let mut bus = keeping(100);
    let calls = Arc::<Calls>::default();
    let subscribers: Vec<_> = (0..3 * FEEDS_AT_ONCE)
        .map(|n| subscribe(&mut bus, &[CLIENTS_TOPIC, &format!("own/{n}")], Start::Now))
        .collect();
    bus.finish().wake();
    for id in &subscribers {
        drain(&mut bus, *id);
        assert_eq!(bus.read(*id, at(0), &calls.clone().into(), &mut Vec::new()), Read::Waiting);
    }
    let other = subscribe(&mut bus, &["other"], Start::Now);
    let (woken, is_more) = step(&mut bus, &calls);
    assert!(is_more && woken <= FEEDS_AT_ONCE, "{woken} were woken in one step");
    bus.disconnect(other, at(0));
    for id in &subscribers {
        assert_eq!(drain(&mut bus, *id), ["", ""], "one event for the connection, one for its end");
    }
}

#[test]
fn very_many_clients_of_one_name_take_an_event_in_steps() {
    let mut bus = bus(Retention::default(), Limits::default());
    let named = |bus: &mut Bus, format| {
        let mut subscription = Subscription::new(FilterSet::parse(&["a"]).expect("legal"), format);
        subscription.start = Start::Now;
        subscription.description.name = Some(ClientName::parse("x").expect("legal"));
        let id = bus.subscribe(subscription, at(0)).expect("taken").0;
        assert_eq!(bus.read(id, at(0), Waker::noop(), &mut Vec::new()), Read::Waiting);
        id
    };
    let clients: Vec<_> = (0..=2 * CALLS_MAX).map(|_| named(&mut bus, Format::Json)).collect();
    let old = named(&mut bus, Format::BinaryV1);
    let mut unicast = bus.begin_unicast(event("t", "for x").to_client("x"), None, at(0)).expect("taken");
    assert_eq!(bus.continue_unicast(&mut unicast), None);
    assert!(bus.finish().count() <= CALLS_MAX);
    publish(&mut bus, event("a", "for all"));
    bus.disconnect(clients[CALLS_MAX], at(0));
    assert_eq!(bus.continue_unicast(&mut unicast), None);
    let published = bus.continue_unicast(&mut unicast).expect("all are reached");
    assert_eq!(published.subscribers, clients.len() as u64);
    #[cfg(debug_assertions)]
    bus.self_check();
    let text = |bus: &mut Bus, id| {
        let mut out = Vec::new();
        while bus.read(id, at(0), Waker::noop(), &mut out) == Read::Ready {}
        String::from_utf8_lossy(&out.concat()).into_owned()
    };
    for (number, id) in clients.iter().enumerate().filter(|(number, _)| *number != CALLS_MAX) {
        let seen = text(&mut bus, *id);
        let [unicast, event] = ["for x", "for all"].map(|data| seen.find(data).expect("it is there"));
        assert_eq!(unicast < event, number < CALLS_MAX, "client {number}: {seen}");
        assert_eq!((seen.matches("for x").count(), seen.matches("for all").count()), (1, 1), "{seen}");
    }
    let seen = text(&mut bus, old);
    // Both have the id 1: the number of the event, and the position after it.
    assert_eq!((seen.matches("for x").count(), seen.matches("for all").count()), (1, 1), "{seen:?}");
}

/// A page of topics ends early if it would examine very many feeds.
#[test]
fn topics_with_very_many_feeds_are_listed_in_smaller_parts() {
    const TOPICS: usize = 100;
    let mut bus = keeping(1);
    for n in 0..TOPICS {
        publish(&mut bus, event(&format!("t/{n:02}"), "x"));
    }
    for n in 0..FEEDS_AT_ONCE {
        subscribe(&mut bus, &["t/*", &format!("own/{n}")], Start::Now);
    }
    let first = bus.topics_after(None, at(0));
    assert_eq!(first.len(), 9);
    let all = bus.topics(at(0));
    assert_eq!(all.len(), TOPICS);
    assert!(all.iter().all(|info| info.subscribers == FEEDS_AT_ONCE as u64));
}
