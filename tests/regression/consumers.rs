//! Consumers: exact behaviour at deadlines and bounds, which the model checks only in general.

use std::{task::Waker, time::Duration};

use sse_bus::{
    FilterSet,
    bus::{
        Bus, Format, Start, Subscription,
        consumers::{
            CONSUMERS_TOPIC, ConsumerName, ConsumerSettings, DeadOperation, Delivery, Next, SeekTo, Settlement, Token,
            WorkerId,
        },
    },
    limits::{DEAD_MAX, Limits, REASON_MAX, TAKE_MAX},
    protocol::ErrorCode,
    retention::Retention,
};

use super::{at, bus, event, keeping, publish};

pub(crate) fn name(text: &str) -> ConsumerName {
    ConsumerName::parse(text).expect("legal")
}

pub(crate) fn settings(filter: &str) -> ConsumerSettings {
    ConsumerSettings::new(FilterSet::parse(&[filter]).expect("legal"))
}

pub(crate) fn create(bus: &mut Bus, text: &str, settings: ConsumerSettings) {
    assert_eq!(bus.create_consumer(&name(text), settings, SeekTo::Now, at(0)), Ok(true));
}

pub(crate) fn worker(bus: &mut Bus, consumer: &str, slots: usize) -> WorkerId {
    bus.add_worker(&name(consumer), "w", slots, at(0)).expect("a consumer")
}

/// Takes all deliveries that a worker can have.
pub(crate) fn take(bus: &mut Bus, worker: WorkerId, ms: u64) -> Vec<Delivery> {
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

/// Returns each event with the number of its attempt.
pub(crate) fn attempts(deliveries: &[Delivery]) -> Vec<(u64, u32)> {
    deliveries.iter().map(|delivery| (delivery.event.id.seq, delivery.attempt)).collect()
}

pub(crate) fn ack(bus: &mut Bus, delivery: &Delivery, ms: u64) {
    assert_eq!(bus.settle(delivery.token, Settlement::Ack, at(ms)), Ok(None));
}

#[test]
fn a_consumer_is_created_once_with_the_same_settings() {
    let mut bus = keeping(10);
    create(&mut bus, "jobs", settings("a"));
    assert_eq!(bus.create_consumer(&name("jobs"), settings("a"), SeekTo::All, at(0)), Ok(false));
    let other = bus.create_consumer(&name("jobs"), settings("b"), SeekTo::All, at(0)).unwrap_err();
    assert_eq!(other.code, ErrorCode::ConsumerExists);
    assert!(other.message.contains("`filters` is a, not b; delete it"), "{}", other.message);
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
    assert_eq!((attempts(&first), first[0].deadline), (vec![(1, 1)], 30_000));
    // The worker extends, and then is too slow.
    assert_eq!(bus.settle(first[0].token, Settlement::Extend, at(29_999)), Ok(Some(59_999)));
    let stale = bus.settle(first[0].token, Settlement::Ack, at(59_999)).unwrap_err();
    assert_eq!(stale.code, ErrorCode::StaleDelivery);
    assert_eq!(bus.next_timeout(), Some(59_999));
    bus.tick(at(59_999));
    assert!(take(&mut bus, one, 60_998).is_empty(), "the back-off is a second");
    bus.tick(at(60_999));
    let second = take(&mut bus, one, 60_999);
    assert_eq!(attempts(&second), [(1, 2)]);
    assert_ne!(first[0].token, second[0].token);
    // After the last attempt it is a dead letter.
    assert_eq!(bus.settle(second[0].token, Settlement::Nak(None), at(61_000)), Ok(None));
    let dead = bus.dead_letters(&name("jobs"), 0).unwrap();
    assert_eq!((dead.len(), &*dead[0].reason, dead[0].attempts), (1, "attempts", 2));
    assert_eq!((dead[0].worker.as_deref(), dead[0].since), (Some("w"), 61_000));
    bus.change_dead(&name("jobs"), dead[0].id, DeadOperation::Retry, at(61_000)).unwrap();
    let third = take(&mut bus, one, 61_000);
    assert_eq!(attempts(&third), [(1, 1)], "a retried letter has all its attempts");
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

#[test]
fn a_token_has_one_spelling() {
    for text in ["1-2", "0-0", "ff-ffffffffffffffff"] {
        assert_eq!(text.parse::<Token>().map(|token| token.to_string()), Ok(text.into()));
    }
    for text in ["", "1", "1-", "-1", "01-2", "1-02", "F-1", "+1-2", "1-+2", "1-2-3", "1-10000000000000000"] {
        assert_eq!(text.parse::<Token>().unwrap_err().code, ErrorCode::StaleDelivery, "{text}");
    }
}

/// Which events of history were in a damaged block is not known.
#[test]
fn consumers_that_are_behind_report_events_that_could_not_be_read() {
    let mut bus = keeping(10);
    create(&mut bus, "behind", settings("t"));
    create(&mut bus, "done", settings("t"));
    publish(&mut bus, event("t", "x"));
    publish(&mut bus, event("t", "x"));
    let done = worker(&mut bus, "done", 9);
    for delivery in take(&mut bus, done, 0) {
        ack(&mut bus, &delivery, 0);
    }
    bus.note_unreadable(3, at(0));
    let behind = worker(&mut bus, "behind", 9);
    let taken = bus.take(behind, 9, at(0), Waker::noop()).expect("a worker");
    let missed = taken.missed.expect("events are missing");
    assert_eq!((missed.events, missed.from.seq, missed.to.seq), (3, 1, 2));
    assert_eq!(attempts(&taken.deliveries), [(1, 1), (2, 1)]);
    assert_eq!(bus.describe_consumer(&name("done"), at(0)).expect("a consumer").missed, 0);
}
