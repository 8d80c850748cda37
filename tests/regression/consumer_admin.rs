//! Requests about consumers: their settings as text, descriptions and dead letters, in bounded steps.

use std::{task::Waker, time::Duration};

use sse_bus::{
    EventId, FilterSet,
    bus::{
        Bus,
        consumers::{ConsumerName, ConsumerSettings, DeadOperation, SeekTo, Settlement},
    },
    limits::{BACKOFF_MAX, CONSUMERS_AT_ONCE, DEAD_AT_ONCE, DEAD_BYTES_AT_ONCE, Limits, SCAN_MAX},
    protocol::{ConsumerConfig, ErrorCode, OnFull},
    retention::Retention,
};

use super::{at, bus, event, keeping, publish};

fn name(text: &str) -> ConsumerName {
    ConsumerName::parse(text).expect("legal")
}

fn create(bus: &mut Bus, text: &str, filter: &str) {
    let settings = ConsumerSettings::new(FilterSet::parse(&[filter]).expect("legal"));
    assert_eq!(bus.create_consumer(&name(text), settings, SeekTo::Now, at(0)), Ok(true));
}

fn config(change: impl FnOnce(&mut ConsumerConfig)) -> ConsumerConfig {
    let mut config = ConsumerConfig::new(["jobs/**"]);
    change(&mut config);
    config
}

/// Rejects this number of new events, which become dead letters.
fn kill(bus: &mut Bus, consumer: &str, events: usize) {
    let worker = bus.add_worker(&name(consumer), "w", 64, at(0)).expect("a consumer");
    let mut left = events;
    while left > 0 {
        for delivery in bus.take(worker, left, at(0), Waker::noop()).expect("a worker").deliveries {
            bus.settle(delivery.token, Settlement::Reject("no".into()), at(5)).expect("a current token");
            left -= 1;
        }
    }
}

#[test]
fn settings_are_texts_and_absent_ones_have_their_defaults() {
    let (settings, from) = ConsumerSettings::parse(&config(|_| {})).unwrap();
    let filters = FilterSet::parse(&["jobs/**"]).unwrap();
    assert_eq!((settings, from), (ConsumerSettings::new(filters.clone()), SeekTo::Now));
    let all = config(|config| {
        config.from = Some("all".into());
        config.ack_wait = Some("1m 30s".into());
        config.max_attempts = Some(1);
        config.backoff = Some(vec![]);
        config.max_in_flight = Some(7);
        config.on_full = Some(OnFull::Drop);
        config.inactive_after = Some("1h".into());
    });
    let expected = ConsumerSettings {
        ack_wait: Duration::from_secs(90),
        max_attempts: 1,
        backoff: vec![],
        max_in_flight: 7,
        on_full: OnFull::Drop,
        inactive_after: Duration::from_hours(1),
        ..ConsumerSettings::new(filters)
    };
    assert_eq!(ConsumerSettings::parse(&all), Ok((expected, SeekTo::All)));
}

#[test]
fn an_invalid_setting_is_refused_with_its_field_its_value_and_what_to_write() {
    let long = "8d";
    for (wrong, code, said) in [
        (ConsumerConfig::default(), ErrorCode::ConsumerInvalid, &["`filters`", "`jobs/**`"][..]),
        (ConsumerConfig::new(["a//b"]), ErrorCode::FilterInvalid, &["`a//b`", "extra `/`"]),
        (ConsumerConfig::new(vec!["a"; 65]), ErrorCode::FilterInvalid, &["at most 64"]),
        (ConsumerConfig::new(["$sys/clients"]), ErrorCode::ConsumerInvalid, &["other filters"]),
        (config(|c| c.ack_wait = Some("30".into())), ErrorCode::ConsumerInvalid, &["`ack_wait`", "`30`", "`30s`"]),
        (config(|c| c.ack_wait = Some("0s".into())), ErrorCode::ConsumerInvalid, &["`ack_wait`", "less than"]),
        (config(|c| c.ack_wait = Some(long.into())), ErrorCode::ConsumerInvalid, &["`ack_wait`", "8d", "at most 7d"]),
        (
            config(|c| c.backoff = Some(vec!["1s".into(), "x".into()])),
            ErrorCode::ConsumerInvalid,
            &["`backoff`", "`x`"],
        ),
        (config(|c| c.backoff = Some(vec![long.into()])), ErrorCode::ConsumerInvalid, &["`backoff`", "8d", "7d"]),
        (
            config(|c| c.backoff = Some(vec!["1s".into(); BACKOFF_MAX + 1])),
            ErrorCode::ConsumerInvalid,
            &["`backoff`", "17", "16"],
        ),
        (config(|c| c.max_attempts = Some(0)), ErrorCode::ConsumerInvalid, &["`max_attempts` is 0"]),
        (config(|c| c.max_in_flight = Some(0)), ErrorCode::ConsumerInvalid, &["`max_in_flight` is 0", "1 to 10000"]),
        (config(|c| c.max_in_flight = Some(u64::MAX)), ErrorCode::ConsumerInvalid, &["`max_in_flight`", "1 to 10000"]),
        (config(|c| c.on_full = Some(OnFull::Other)), ErrorCode::ConsumerInvalid, &["`on_full`", "`refuse` or `drop`"]),
        (
            config(|c| c.inactive_after = Some("a week".into())),
            ErrorCode::ConsumerInvalid,
            &["`inactive_after`", "`a week`"],
        ),
        (config(|c| c.from = Some("soon".into())), ErrorCode::SinceInvalid, &["`from`", "`soon`", "`10m`"]),
    ] {
        let refused = ConsumerSettings::parse(&wrong).unwrap_err();
        assert_eq!(refused.code, code, "{refused}");
        assert!(said.iter().all(|said| refused.message.contains(said)), "{said:?}: {refused}");
    }
}

#[test]
fn a_position_is_what_a_subscription_begins_at_or_a_time() {
    let id: EventId = "k3f9-7".parse().unwrap();
    for (text, expected) in [
        ("now", SeekTo::Now),
        ("latest", SeekTo::Latest),
        ("all", SeekTo::All),
        ("k3f9-7", SeekTo::After(id)),
        ("10m", SeekTo::Last(Duration::from_mins(10))),
        ("1970-01-01T00:00:01.5Z", SeekTo::Since(1500)),
        ("1970-01-01 00:00:02", SeekTo::Since(2000)),
    ] {
        assert_eq!(SeekTo::parse("`to`", text), Ok(expected), "{text}");
    }
    for text in ["", "tomorrow", "2026-12-01", "1969-12-31T23:59:59Z", "k3f9-07"] {
        assert_eq!(SeekTo::parse("`to`", text).unwrap_err().code, ErrorCode::SinceInvalid, "{text}");
    }
}

#[test]
fn consumers_are_listed_in_bounded_steps() {
    let mut bus = keeping(usize::MAX);
    for number in 0..CONSUMERS_AT_ONCE + 3 {
        create(&mut bus, &format!("n{number:03}"), "other");
    }
    create(&mut bus, "a", "a");
    create(&mut bus, "b", "**");
    for _ in 0..SCAN_MAX {
        publish(&mut bus, event("a", "x"));
    }
    let (mut names, mut steps) = (Vec::<String>::new(), Vec::new());
    loop {
        let after = names.last().map(|last| name(last));
        let step = bus.consumers_after(after.as_ref(), at(7));
        if step.is_empty() {
            break;
        }
        steps.push(step.len());
        names.extend(step.iter().map(|info| info.name.clone()));
    }
    // Counting the events of one consumer takes a whole step.
    assert_eq!(steps, [1, 1, CONSUMERS_AT_ONCE, 3]);
    assert!(names.is_sorted() && names.len() == CONSUMERS_AT_ONCE + 5, "{names:?}");
    let info = bus.describe_consumer(&name("a"), at(7)).unwrap();
    assert_eq!((info.pending, info.pending_exact, info.oldest_ms), (SCAN_MAX as u64, false, Some(7)));
    assert_eq!((&*info.ack_wait, &info.backoff[..]), ("30s", &["1s", "10s", "1m"].map(str::to_owned)[..]));
    let idle = bus.describe_consumer(&name("n000"), at(7)).unwrap();
    assert_eq!((idle.pending, idle.pending_exact, idle.oldest_ms), (0, true, None));
}

#[test]
fn dead_letters_are_retried_and_dropped_by_filter_in_bounded_steps() {
    let mut bus = keeping(usize::MAX);
    create(&mut bus, "jobs", "*");
    let events = DEAD_AT_ONCE + 10;
    for number in 0..events {
        publish(&mut bus, event(if number % 2 == 0 { "a" } else { "b" }, "x"));
    }
    kill(&mut bus, "jobs", events);
    let jobs = name("jobs");
    let (first, only_a) = (bus.dead_letters(&jobs, 0).unwrap(), FilterSet::parse(&["a"]).unwrap());
    assert_eq!(
        (first.len(), first[1].topic.as_deref(), first[1].data.as_deref()),
        (DEAD_AT_ONCE, Some("b"), Some("x"))
    );
    assert_eq!((first[0].text.as_deref(), first[0].since), (Some("no"), 5));
    let step = bus.change_dead_after(&jobs, 0, Some(&only_a), DeadOperation::Retry, at(6)).unwrap();
    assert_eq!((step.changed, step.next), (DEAD_AT_ONCE as u64 / 2, Some(DEAD_AT_ONCE as u64)));
    let last = bus.change_dead_after(&jobs, DEAD_AT_ONCE as u64, Some(&only_a), DeadOperation::Retry, at(6)).unwrap();
    assert_eq!((last.changed, last.next), (5, None));
    let status = bus.status();
    assert_eq!((status.consumers, status.workers, status.in_flight, status.dead), (1, 1, 0, events as u64 / 2));
    let used =
        |name: &str| status.limits.iter().find(|limit| limit.limit == name && limit.is_fixed()).map(|limit| limit.used);
    let half = Some(events as u64 / 2);
    let names = ["consumers", "workers", "unfinished_events", "dead_letters", "held_bytes"];
    assert_eq!(names.map(used), [Some(1), Some(1), half, half, Some(0)]);
    let info = bus.describe_consumer(&jobs, at(6)).unwrap();
    assert_eq!((info.waiting, info.dead), (events as u64 / 2, events as u64 / 2));
    let dropped = bus.change_dead_after(&jobs, 0, None, DeadOperation::Drop, at(6)).unwrap();
    assert_eq!((dropped.changed, dropped.next), (events as u64 / 2, None));
    // An id of another history.
    let foreign: EventId = "k9-1".parse().unwrap();
    let refused = bus.change_dead(&jobs, foreign, DeadOperation::Drop, at(6)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::DeadUnknown);
}

#[test]
fn a_list_of_dead_letters_has_a_bounded_amount_of_data() {
    let mut bus = bus(Retention { events: usize::MAX, ..Retention::default() }, Limits::default());
    create(&mut bus, "jobs", "a");
    let data = "x".repeat(DEAD_BYTES_AT_ONCE / 4 + 1);
    for _ in 0..6 {
        publish(&mut bus, event("a", &data));
    }
    kill(&mut bus, "jobs", 6);
    let first = bus.dead_letters(&name("jobs"), 0).unwrap();
    assert_eq!(first.len(), 4);
    assert_eq!(bus.dead_letters(&name("jobs"), first[3].id.seq).unwrap().len(), 2);
}
