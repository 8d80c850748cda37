//! Consumers: exact behaviour at deadlines and bounds, which the model checks only in general.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
    time::Duration,
};

use sse_bus::{
    FilterSet,
    bus::{
        Bus, Format, Start, Subscription,
        consumers::{
            CONSUMERS_TOPIC, ConsumerName, ConsumerSettings, DeadOperation, Delivery, Departure, Missed, Next, SeekTo,
            Settlement, WorkerId,
        },
    },
    limits::{DEAD_MAX, Limits, REASON_MAX, TAKE_MAX},
    protocol::{ErrorCode, OnFull},
    retention::Retention,
};

use super::{at, bus, drain, event, keeping, publish, subscribe};

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Flag {
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

fn name(text: &str) -> ConsumerName {
    ConsumerName::parse(text).expect("legal")
}

fn settings(filter: &str) -> ConsumerSettings {
    ConsumerSettings::new(FilterSet::parse(&[filter]).expect("legal"))
}

fn create(bus: &mut Bus, text: &str, settings: ConsumerSettings) {
    assert_eq!(bus.create_consumer(&name(text), settings, SeekTo::Now, at(0)), Ok(true));
}

fn worker(bus: &mut Bus, consumer: &str, slots: usize) -> WorkerId {
    bus.add_worker(&name(consumer), "w", slots, at(0)).expect("a consumer")
}

fn take(bus: &mut Bus, worker: WorkerId, ms: u64) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    loop {
        let taken = bus.take(worker, usize::MAX, at(ms), Waker::noop()).expect("a worker");
        #[cfg(debug_assertions)]
        bus.self_check();
        deliveries.extend(taken.deliveries);
        if taken.next == Next::Waiting {
            return deliveries;
        }
    }
}

fn numbers(deliveries: &[Delivery]) -> Vec<(u64, u32)> {
    deliveries.iter().map(|delivery| (delivery.event.id.seq, delivery.attempt)).collect()
}

fn ack(bus: &mut Bus, delivery: &Delivery, ms: u64) {
    assert_eq!(bus.settle(delivery.token, Settlement::Ack, at(ms)), Ok(None));
}

fn missed(bus: &mut Bus, worker: WorkerId) -> Option<Missed> {
    bus.take(worker, 1, at(0), Waker::noop()).expect("a worker").missed
}

#[test]
fn a_consumer_is_created_once_with_the_same_settings() {
    let mut bus = keeping(10);
    create(&mut bus, "jobs", settings("a"));
    assert_eq!(bus.create_consumer(&name("jobs"), settings("a"), SeekTo::All, at(0)), Ok(false));
    let other = bus.create_consumer(&name("jobs"), settings("b"), SeekTo::All, at(0)).unwrap_err();
    assert_eq!(other.code, ErrorCode::ConsumerExists);
    let unknown = bus.pause_consumer(&name("other"), true, at(0)).unwrap_err();
    assert_eq!(unknown.code, ErrorCode::ConsumerUnknown);
    for wrong in [
        ConsumerSettings { ack_wait: Duration::ZERO, ..settings("a") },
        ConsumerSettings { max_attempts: 0, ..settings("a") },
        ConsumerSettings { max_in_flight: 0, ..settings("a") },
        ConsumerSettings { backoff: vec![Duration::ZERO; 17], ..settings("a") },
        ConsumerSettings { backoff: vec![Duration::MAX], ..settings("a") },
        settings("$sys/clients"),
    ] {
        let refused = bus.create_consumer(&name("wrong"), wrong, SeekTo::Now, at(0)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::ConsumerInvalid, "{refused}");
    }
    for text in ["", "-a", "a/b", "a b", "ä"] {
        assert_eq!(ConsumerName::parse(text).unwrap_err().code, ErrorCode::ConsumerInvalid, "{text}");
    }
}

#[test]
fn a_deadline_ends_the_token_and_the_attempt() {
    let mut bus = keeping(10);
    create(&mut bus, "jobs", ConsumerSettings { max_attempts: 2, ..settings("a") });
    let one = worker(&mut bus, "jobs", 1);
    publish(&mut bus, event("a", "x"));
    let first = take(&mut bus, one, 0);
    assert_eq!((numbers(&first), first[0].deadline), (vec![(1, 1)], 30_000));
    // The worker extends, and then is too slow.
    assert_eq!(bus.settle(first[0].token, Settlement::Extend, at(29_999)), Ok(Some(59_999)));
    let stale = bus.settle(first[0].token, Settlement::Ack, at(59_999)).unwrap_err();
    assert_eq!(stale.code, ErrorCode::StaleDelivery);
    assert_eq!(bus.next_timeout(), Some(59_999));
    bus.tick(at(59_999));
    assert!(take(&mut bus, one, 60_998).is_empty(), "the back-off is a second");
    bus.tick(at(60_999));
    let second = take(&mut bus, one, 60_999);
    assert_eq!(numbers(&second), [(1, 2)]);
    assert_ne!(first[0].token, second[0].token);
    // After the last attempt it is a dead letter.
    assert_eq!(bus.settle(second[0].token, Settlement::Nak(None), at(61_000)), Ok(None));
    let dead = bus.dead_letters(&name("jobs"), 0).unwrap();
    assert_eq!((dead.len(), &*dead[0].reason, dead[0].attempts), (1, "attempts", 2));
    assert_eq!((dead[0].worker.as_deref(), dead[0].since), (Some("w"), 61_000));
    bus.change_dead(&name("jobs"), dead[0].id, DeadOperation::Retry, at(61_000)).unwrap();
    let third = take(&mut bus, one, 61_000);
    assert_eq!(numbers(&third), [(1, 1)], "a retried letter has all its attempts");
    ack(&mut bus, &third[0], 61_001);
    assert_eq!(
        bus.change_dead(&name("jobs"), dead[0].id, DeadOperation::Retry, at(61_001)).unwrap_err().code,
        ErrorCode::DeadUnknown
    );
}

#[test]
fn a_rejection_is_announced_with_its_reason() {
    let mut bus = keeping(10);
    create(&mut bus, "jobs", settings("a"));
    let watcher = {
        let filters = FilterSet::parse(&[CONSUMERS_TOPIC]).expect("legal");
        let subscription = Subscription { start: Start::Now, ..Subscription::new(filters, Format::Json) };
        bus.subscribe(subscription, at(0)).expect("taken").0
    };
    let one = worker(&mut bus, "jobs", 1);
    publish(&mut bus, event("a", "x"));
    let delivery = take(&mut bus, one, 0).remove(0);
    let text = "é".repeat(REASON_MAX);
    bus.settle(delivery.token, Settlement::Reject(text), at(5)).unwrap();
    let dead = bus.dead_letters(&name("jobs"), 0).unwrap();
    assert_eq!(dead[0].reason, "rejected");
    assert_eq!(dead[0].text.as_ref().map(String::len), Some(REASON_MAX), "the reason is cut");
    bus.finish().wake();
    let mut out = Vec::new();
    bus.read(watcher, at(5), Waker::noop(), &mut out);
    let text = String::from_utf8(out.concat()).unwrap();
    let event: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(event["event"]["type"], "dead");
    let data: serde_json::Value = serde_json::from_str(event["event"]["data"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&data["consumer"], &data["id"], &data["attempts"], &data["worker"]),
        (&"jobs".into(), &"e-1".into(), &1.into(), &"w".into())
    );
}

#[test]
fn held_events_outlive_the_bounds_and_subscribers_do_not_see_them() {
    let mut bus = keeping(2);
    create(&mut bus, "jobs", settings("a"));
    for n in 1..=200 {
        publish(&mut bus, event("a", &n.to_string()));
        publish(&mut bus, event("b", "-"));
    }
    let reader = subscribe(&mut bus, &["a"], Start::All);
    assert_eq!(drain(&mut bus, reader), ["397", "399"], "subscribers have what the bounds allow");
    let one = worker(&mut bus, "jobs", 1000);
    let deliveries = take(&mut bus, one, 0);
    assert_eq!(deliveries.len(), 200);
    let info = bus.describe_consumer(&name("jobs"), at(0)).unwrap();
    assert_eq!((info.in_flight, info.pending, info.missed), (200, 0, 0));
    for delivery in &deliveries {
        ack(&mut bus, delivery, 1);
        #[cfg(debug_assertions)]
        bus.self_check();
    }
}

/// A bus whose consumer `jobs` holds as much as the budget allows, and how many events of the topic `a` were accepted.
fn full(on_full: OnFull) -> (Bus, u64) {
    let retention = Retention { events: 2, budget: 20_000, ..Retention::default() };
    let mut bus = bus(retention, Limits::default());
    create(&mut bus, "jobs", ConsumerSettings { on_full, ..settings("a") });
    let mut accepted = 0;
    for _ in 0..100 {
        accepted += u64::from(bus.publish(event("a", "x"), None, at(0)).is_ok());
    }
    (bus, accepted)
}

#[test]
fn a_full_history_refuses_and_names_the_consumer() {
    let (mut bus, accepted) = full(OnFull::Refuse);
    assert!((20..60).contains(&accepted), "{accepted}");
    let refused = bus.publish(event("a", "x"), None, at(0)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::LimitHistory);
    assert!(refused.message.contains("`jobs`"), "{refused}");
    // Others are not affected.
    publish(&mut bus, event("b", "x"));
    // What is done makes room.
    let one = worker(&mut bus, "jobs", 1000);
    for delivery in take(&mut bus, one, 0) {
        ack(&mut bus, &delivery, 0);
    }
    publish(&mut bus, event("a", "x"));
    assert_eq!(bus.describe_consumer(&name("jobs"), at(0)).unwrap().acknowledged, accepted);
}

#[test]
fn deleting_the_consumer_makes_room() {
    let (mut bus, _) = full(OnFull::Refuse);
    bus.delete_consumer(&name("jobs"), at(0)).unwrap();
    publish(&mut bus, event("a", "x"));
    while bus.next_timeout() == Some(0) {
        bus.tick(at(0));
    }
    #[cfg(debug_assertions)]
    bus.self_check();
}

#[test]
fn a_consumer_that_drops_receives_a_gap() {
    let (mut bus, accepted) = full(OnFull::Drop);
    assert_eq!(accepted, 100);
    let one = worker(&mut bus, "jobs", 1);
    let Missed { events, from, to } = missed(&mut bus, one).expect("a gap");
    assert_eq!((from.seq, to.seq), (1, events));
    let rest = bus.describe_consumer(&name("jobs"), at(0)).unwrap();
    assert_eq!(events + rest.pending + rest.in_flight, 100, "each event is missed or delivered");
    assert_eq!(missed(&mut bus, one), None, "a gap is reported once");
}

#[test]
fn a_consumer_without_workers_stops_to_hold() {
    let mut bus = keeping(1);
    create(&mut bus, "jobs", ConsumerSettings { inactive_after: Duration::from_secs(1), ..settings("a") });
    for _ in 0..5 {
        publish(&mut bus, event("a", "x"));
    }
    bus.tick(at(999));
    assert!(bus.describe_consumer(&name("jobs"), at(999)).unwrap().holding);
    bus.tick(at(1000));
    while bus.next_timeout().is_some_and(|next| next <= 1000) {
        bus.tick(at(1000));
    }
    let info = bus.describe_consumer(&name("jobs"), at(1000)).unwrap();
    assert_eq!((info.holding, info.pending, info.missed), (false, 1, 4));
    // A worker makes it active again.
    let one = worker(&mut bus, "jobs", 1);
    assert!(bus.describe_consumer(&name("jobs"), at(1000)).unwrap().holding);
    assert_eq!(missed(&mut bus, one).map(|missed| missed.events), Some(4));
}

#[test]
fn a_ttl_ends_unseen_events_and_buries_attempted_ones() {
    let mut bus = keeping(10);
    create(&mut bus, "jobs", settings("a"));
    let one = worker(&mut bus, "jobs", 1);
    for _ in 0..2 {
        let mut short = event("a", "x");
        short.ttl = Some(Duration::from_millis(100));
        publish(&mut bus, short);
    }
    let first = take(&mut bus, one, 0).remove(0);
    bus.settle(first.token, Settlement::Release, at(100)).unwrap();
    assert!(take(&mut bus, one, 100).is_empty());
    let dead = bus.dead_letters(&name("jobs"), 0).unwrap();
    assert_eq!((dead.len(), dead[0].id.seq, &*dead[0].reason), (1, 1, "expired"));
    assert_eq!(bus.describe_consumer(&name("jobs"), at(100)).unwrap().expired, 1);
}

#[test]
fn workers_take_turns() {
    let mut bus = keeping(1000);
    create(&mut bus, "jobs", settings("a"));
    let (large, small) = (worker(&mut bus, "jobs", 1000), worker(&mut bus, "jobs", 1));
    let (large_calls, small_calls) = (Arc::new(Flag::default()), Arc::new(Flag::default()));
    let takes = |bus: &mut Bus, worker, calls: &Arc<Flag>| {
        let taken = bus.take(worker, usize::MAX, at(0), &Waker::from(calls.clone())).unwrap();
        bus.finish().wake();
        taken.deliveries.len()
    };
    assert_eq!((takes(&mut bus, large, &large_calls), takes(&mut bus, small, &small_calls)), (0, 0));
    for _ in 0..200 {
        publish(&mut bus, event("a", "x"));
    }
    bus.finish().wake();
    assert!(large_calls.take() && !small_calls.take(), "one worker is called");
    assert_eq!(takes(&mut bus, large, &large_calls), TAKE_MAX);
    assert!(small_calls.take(), "then the other one");
    assert_eq!(takes(&mut bus, large, &large_calls), 0, "it is the turn of the small one");
    assert_eq!(takes(&mut bus, small, &small_calls), 1);
    assert!(large_calls.take());
}

#[test]
fn a_worker_that_does_not_use_its_turn_loses_it() {
    let mut bus = keeping(1000);
    create(&mut bus, "jobs", settings("a"));
    let calls = Arc::new(Flag::default());
    let (idle, other) = (worker(&mut bus, "jobs", 1), worker(&mut bus, "jobs", 1));
    for worker in [idle, other] {
        assert!(bus.take(worker, 1, at(0), &Waker::from(calls.clone())).unwrap().deliveries.is_empty());
    }
    publish(&mut bus, event("a", "x"));
    bus.finish().wake();
    assert!(calls.take());
    assert!(take(&mut bus, other, 99).is_empty());
    bus.tick(at(100));
    assert_eq!(numbers(&take(&mut bus, other, 100)), [(1, 1)]);
    assert!(take(&mut bus, idle, 100).is_empty());
}

#[test]
fn two_consumers_do_not_disturb_each_other() {
    let mut bus = keeping(10);
    create(&mut bus, "one", ConsumerSettings { max_in_flight: 1, ..settings("a") });
    create(&mut bus, "two", settings("**"));
    let (one, two) = (worker(&mut bus, "one", 10), worker(&mut bus, "two", 10));
    for _ in 0..3 {
        publish(&mut bus, event("a", "x"));
    }
    bus.pause_consumer(&name("one"), true, at(0)).unwrap();
    assert!(take(&mut bus, one, 0).is_empty());
    assert_eq!(numbers(&take(&mut bus, two, 0)), [(1, 1), (2, 1), (3, 1)]);
    bus.delete_consumer(&name("two"), at(0)).unwrap();
    assert_eq!(bus.take(two, 1, at(0), Waker::noop()).unwrap_err().code, ErrorCode::ConsumerUnknown);
    bus.pause_consumer(&name("one"), false, at(0)).unwrap();
    assert_eq!(numbers(&take(&mut bus, one, 0)), [(1, 1)]);
}

#[test]
fn the_end_of_a_worker_returns_its_deliveries() {
    let mut bus = keeping(10);
    create(&mut bus, "jobs", settings("a"));
    publish(&mut bus, event("a", "x"));
    let mut take_with = |departure, ms, attempt| {
        let id = worker(&mut bus, "jobs", 1);
        assert_eq!(numbers(&take(&mut bus, id, ms)), [(1, attempt)], "{departure:?}");
        bus.remove_worker(id, departure, at(ms));
        bus.tick(at(ms + 1000));
    };
    take_with(Departure::Released, 0, 1);
    take_with(Departure::Lost, 0, 1);
    take_with(Departure::Detached, 1000, 2);
    let id = worker(&mut bus, "jobs", 1);
    assert!(take(&mut bus, id, 30_999).is_empty(), "it is in flight until its deadline");
    bus.tick(at(31_000));
    bus.tick(at(41_000));
    assert_eq!(numbers(&take(&mut bus, id, 41_000)), [(1, 3)]);
}

#[test]
fn a_consumer_with_too_many_dead_letters_delivers_nothing_more() {
    let mut bus = bus(Retention { events: usize::MAX, ..Retention::default() }, Limits::default());
    create(&mut bus, "jobs", settings("a"));
    let one = worker(&mut bus, "jobs", 1000);
    for _ in 0..=DEAD_MAX {
        publish(&mut bus, event("a", "x"));
    }
    let mut dead = 0;
    loop {
        let taken = bus.take(one, 1000, at(0), Waker::noop()).unwrap();
        for delivery in &taken.deliveries {
            bus.settle(delivery.token, Settlement::Reject(String::new()), at(0)).unwrap();
            dead += 1;
        }
        if taken.deliveries.is_empty() {
            break;
        }
    }
    assert!((DEAD_MAX..DEAD_MAX + TAKE_MAX).contains(&dead), "{dead}");
    for letter in &bus.dead_letters(&name("jobs"), 0).unwrap()[..=dead - DEAD_MAX] {
        bus.change_dead(&name("jobs"), letter.id, DeadOperation::Drop, at(0)).unwrap();
    }
    let more = bus.take(one, 1000, at(0), Waker::noop()).unwrap().deliveries.len();
    assert_eq!(more, DEAD_MAX + 1 - dead);
}
