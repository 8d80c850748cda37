//! Which events a subscriber receives, and when.

use std::{task::Waker, time::Duration};

use sse_bus::{
    FilterSet,
    bus::{Bus, ClientName, Format, Framing, Read, Start, Subscription},
    limits::{Limits, SCAN_MAX},
    protocol::{ErrorCode, Slow},
    retention::Retention,
};

use super::{at, big, bus, drain, event, keeping, publish, read, read_shareds, send, subscribe, subscribe_at};

#[test]
fn a_new_subscriber_receives_nothing_of_the_batch_before_it() {
    let mut bus = keeping(100);
    let other = subscribe(&mut bus, &["a", "$sys/clients"], Start::Now);
    publish(&mut bus, event("a", "before"));
    let now = subscribe(&mut bus, &["a", "$sys/clients"], Start::Now);
    let latest = subscribe(&mut bus, &["a", "$sys/clients"], Start::Latest);
    bus.finish().wake();
    // What is live only has no number here.
    assert_eq!(drain(&mut bus, other), ["1", "", ""]);
    assert_eq!(drain(&mut bus, now), [""]);
    assert_eq!(drain(&mut bus, latest), ["1"]);
}

#[test]
fn since_a_duration_does_not_replay_older_retained_events() {
    let mut bus = keeping(1);
    publish(&mut bus, event("b", "old"));
    publish(&mut bus, event("a", "old").retained());
    bus.publish(event("a", "new"), None, at(1000)).expect("taken");
    let id = subscribe_at(&mut bus, &["a"], Start::Last(Duration::from_millis(100)), Slow::Gap, at(1000));
    assert_eq!(drain(&mut bus, id), ["3"]);
}

#[test]
fn ids_do_not_go_back_when_a_reader_falls_behind_after_a_unicast_event() {
    let retention = Retention { events: 1, bytes: 1000, ..Retention::default() };
    let mut bus = bus(retention, Limits { feed_buffer: 1, topics: 2, ..Limits::default() });
    let id = subscribe(&mut bus, &["a/*"], Start::Now);
    publish(&mut bus, event("a/b", "x"));
    publish(&mut bus, event("b", &big())); // 2; too large for history
    send(&mut bus, event("c", "x").to_client(id.to_string()));
    assert_eq!(drain(&mut bus, id), ["1", ""]);
    for topic in ["a/b", "a/c", "a/b"] {
        publish(&mut bus, event(topic, "x")); // 4 is of a new topic: forgets b, which has lost 2
        bus.finish().wake();
    }
    assert_eq!(drain(&mut bus, id), ["3 gap 3..=3 Some(1)", "4", "5"]);
}

#[test]
fn a_unicast_event_follows_the_event_of_history_that_was_published_before_it() {
    for start in [Start::All, Start::Latest] {
        let mut bus = keeping(10);
        publish(&mut bus, event("a", "x"));
        let id = subscribe(&mut bus, &["a"], start.clone());
        send(&mut bus, event("a", "unicast").to_client(id.to_string()));
        assert_eq!(drain(&mut bus, id), ["1", ""], "{start:?}");
    }
}

#[test]
fn a_waiting_read_ends_once_its_client_is_kicked() {
    let mut bus = keeping(1);
    let id = subscribe(&mut bus, &["a"], Start::Now);
    assert_eq!(bus.read(id, at(0), Waker::noop(), &mut Vec::new()), Read::Waiting);
    bus.kick(&id.to_string(), at(0)).expect("there");
    assert_eq!(bus.finish().count(), 1);
    assert_eq!(bus.read(id, at(0), Waker::noop(), &mut Vec::new()), Read::Ended);
}

#[test]
fn one_read_scans_a_bounded_part_of_history() {
    let mut bus = keeping(10 * SCAN_MAX);
    // With this many topics the log is walked and not merged.
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
        let mut subscription = Subscription::new(filters.clone(), Format::SseData);
        subscription.description.name = name;
        bus.subscribe(subscription, at(0)).expect("taken");
    }
    for name in names {
        assert_eq!(bus.kick(name, at(0)).expect("known"), 1);
    }
    assert_eq!(bus.clients().iter().map(|client| client.id.clone()).collect::<Vec<_>>(), [first.to_string()]);
}

#[test]
fn a_member_of_a_group_waits_in_no_other() {
    let mut bus = keeping(10);
    let reader = bus.add_reader(Waker::noop().clone(), Framing::Plain);
    let [first, second] = [(); 2].map(|()| subscribe(&mut bus, &["a"], Start::Now));
    for id in [first, second] {
        bus.assign(id, reader);
    }
    assert!(drain(&mut bus, first).is_empty());
    publish(&mut bus, event("a", "x"));
    bus.finish().wake();
    assert_eq!(drain(&mut bus, second), ["1"], "and it waits alone, as the shared cursor has still to read 1");
    assert_eq!(read_shareds(&mut bus, reader), [first]);
    assert!(read(&mut bus, second).is_empty(), "it was not called, and joins the shared cursor");
    send(&mut bus, event("b", "x").to_client(second.to_string()));
    publish(&mut bus, event("a", "x"));
    bus.finish().wake();
    assert_eq!(read_shareds(&mut bus, reader), [first]);
    assert_eq!(drain(&mut bus, second), ["", "2"]);
}

#[test]
fn late_or_repeated_ticks_send_every_subscriber_one_heartbeat() {
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
    // The process was suspended so long that every subscriber's heartbeat is due.
    assert_eq!(heartbeats(&mut bus, &[90_000]), [1; 30]);
}

#[test]
fn a_closed_bus_accepts_nothing() {
    let mut bus = keeping(10);
    let id = subscribe(&mut bus, &["a"], Start::Now);
    publish(&mut bus, event("a", "x"));
    bus.close();
    for publication in [event("a", "x"), event("a", "x").to_client(id.to_string())] {
        let refused = bus.publish(publication, None, at(0)).expect_err("it is closed");
        assert_eq!(refused.code, ErrorCode::Stopping);
    }
    assert_eq!(drain(&mut bus, id), ["1"]);
}
