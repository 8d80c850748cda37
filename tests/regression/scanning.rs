//! The part of history that one call scans, and the feeds that are dropped when buffers are full.

use std::task::Waker;

use sse_bus::{
    FilterSet,
    bus::{Bus, ClientId, Format, Read, Start, Subscription, history::Entry},
    limits::{Limits, SCAN_MAX},
    protocol::{Slow, Transport},
    retention::Retention,
};

use super::{after, at, bus, event, keeping, publish, subscribe, subscribe_at};

/// The number of reads until everything is read, and of the events in them.
fn reads(bus: &mut Bus, id: ClientId) -> (usize, usize) {
    let mut out = Vec::new();
    let mut reads = 0;
    while bus.read(id, at(0), Waker::noop(), &mut out) == Read::Ready {
        reads += 1;
    }
    (reads, String::from_utf8(out.concat()).expect("text").matches("data").count())
}

/// Forty events of `few/*`, and others up to a number of events.
fn few_among(all: usize, retained: bool) -> Bus {
    let mut bus = keeping(10 * SCAN_MAX);
    for n in 0..all {
        let publication = event(&if n < 40 { format!("few/{n}") } else { format!("other/{n}") }, "x");
        publish(&mut bus, if retained { publication.retained() } else { publication });
    }
    bus
}

#[test]
fn one_read_scans_a_fixed_number_of_entries() {
    for (all, expected) in [(SCAN_MAX, 0), (SCAN_MAX + 1, 1), (2 * SCAN_MAX, 1), (2 * SCAN_MAX + 1, 2)] {
        let mut bus = few_among(all, false);
        let id = subscribe(&mut bus, &["few/*"], after(0));
        assert_eq!(reads(&mut bus, id), (expected, 40), "of history, {all}");
    }
    for (all, expected) in [(SCAN_MAX, 0), (SCAN_MAX + 1, 1), (2 * SCAN_MAX, 1), (2 * SCAN_MAX + 1, 2)] {
        let mut bus = few_among(all, true);
        let id = subscribe(&mut bus, &["few/*"], Start::Retained);
        assert_eq!(reads(&mut bus, id), (expected, 40), "of a snapshot, {all}");
    }
}

#[test]
fn with_few_topics_each_is_looked_up() {
    let mut bus = few_among(3 * SCAN_MAX, true);
    for start in [Start::Retained, Start::Latest, after(0)] {
        let id = subscribe(&mut bus, &["few/1", "few/2"], start.clone());
        assert_eq!(reads(&mut bus, id), (0, 2), "{start:?}");
    }
}

#[test]
fn a_snapshot_of_many_topics_has_their_retained_events_and_not_the_newest() {
    let mut bus = keeping(10);
    for n in 0..40 {
        publish(&mut bus, event(&format!("t/{n}"), "state").retained());
        publish(&mut bus, event(&format!("t/{n}"), "newer"));
    }
    let id = subscribe(&mut bus, &["t/*"], Start::Retained);
    assert_eq!(reads(&mut bus, id), (0, 40));
}

/// A subscriber that is disconnected when its feed overflows.
fn strict(bus: &mut Bus, filter: &str) -> ClientId {
    let id = subscribe_at(bus, &[filter], Start::Now, Slow::Disconnect, at(0));
    reads(bus, id);
    id
}

fn is_left_behind(bus: &mut Bus, id: ClientId) -> bool {
    loop {
        match bus.read(id, at(0), Waker::noop(), &mut Vec::new()) {
            Read::Ready => {}
            Read::Waiting | Read::Fetching => return false,
            Read::Ended => return true,
        }
    }
}

const KILOBYTE: usize = 1 << 10;

#[test]
fn the_largest_feed_is_dropped_first() {
    for (buffer, expected) in [(9 * KILOBYTE, [true, false]), (64 * KILOBYTE, [false, false])] {
        let mut bus = bus(Retention::default(), Limits { feeds_buffer: buffer, ..Limits::default() });
        let [much, little] = ["much", "little"].map(|filter| strict(&mut bus, filter));
        for topic in ["little", "much", "much", "much", "much", "much", "much", "much", "much"] {
            publish(&mut bus, event(topic, &"x".repeat(KILOBYTE)));
            let _ = bus.finish();
        }
        assert_eq!([much, little].map(|id| is_left_behind(&mut bus, id)), expected, "{buffer}");
    }
}

#[test]
fn a_feed_holds_what_fits_its_buffer_and_always_the_newest_segment() {
    for (buffer, events, expected) in [(1, 1, false), (1, 2, true), (2500, 2, false), (2500, 3, true)] {
        let mut bus = bus(Retention::default(), Limits { feed_buffer: buffer, ..Limits::default() });
        let id = strict(&mut bus, "a");
        for _ in 0..events {
            publish(&mut bus, event("a", &"x".repeat(KILOBYTE)));
            let _ = bus.finish();
        }
        assert_eq!(is_left_behind(&mut bus, id), expected, "{events} events, {buffer} bytes");
    }
}

/// So that the largest feed is not searched for after each batch.
#[test]
fn dropping_frees_an_eighth_of_the_buffer() {
    // Seven events fit.
    let mut bus = bus(Retention::default(), Limits { feeds_buffer: 8000, ..Limits::default() });
    let ids: Vec<_> = (0..8).map(|n| strict(&mut bus, &format!("t/{n}"))).collect();
    for n in 0..8 {
        publish(&mut bus, event(&format!("t/{n}"), &"x".repeat(KILOBYTE)));
        let _ = bus.finish();
    }
    assert_eq!(ids.into_iter().filter(|id| is_left_behind(&mut bus, *id)).count(), 2);
}

#[test]
fn within_a_batch_all_feeds_hold_twice_their_bound_at_most() {
    let data = "x".repeat(KILOBYTE);
    let mut encoded = Vec::new();
    let id = sse_bus::EventId::new(sse_bus::Epoch::parse("e").expect("legal"), 3);
    let topic = sse_bus::Topic::parse("a").expect("legal");
    Format::SseData.encode(&sse_bus::Event::new(id, topic, data.clone(), 0), &mut encoded);
    // Two feeds have the first event, and one of them the second as well. With one byte less, that one is dropped.
    for (bytes, expected) in [(3 * encoded.len(), [false, true]), (3 * encoded.len() - 2, [true, false])] {
        let mut bus = bus(Retention::default(), Limits { feeds_buffer: bytes.div_ceil(2), ..Limits::default() });
        let ids = ["a", "*"].map(|filter| strict(&mut bus, filter)); // 1 and 2
        for _ in 0..2 {
            publish(&mut bus, event("a", &data)); // 3 and 4
        }
        assert_eq!(ids.map(|id| is_left_behind(&mut bus, id)), expected, "{bytes}");
    }
}

#[test]
fn an_event_is_charged_with_all_its_bytes() {
    let empty = Entry::cost_of(0, 0, 0);
    assert!(empty > size_of::<sse_bus::Event>());
    assert_eq!(Entry::cost_of(100, 0, 0), empty + 100);
    assert_eq!(Entry::cost_of(0, 10, 0), empty + 10);
    assert_eq!(Entry::cost_of(100, 10, 0), empty + 110);
    assert!(Entry::cost_of(100, 10, 50) >= empty + 160);
}

#[test]
fn a_client_is_listed_with_its_transport() {
    let mut bus = keeping(10);
    for format in [Format::SseData, Format::SseJson, Format::Json, Format::BinaryV1, Format::BinaryV2] {
        let subscription = Subscription::new(FilterSet::parse(&["a"]).expect("legal"), format);
        bus.subscribe(subscription, at(0)).expect("taken");
    }
    bus.add_publisher(sse_bus::bus::Description::default(), Transport::Json, at(0)).expect("taken");
    let via: Vec<_> = bus.clients().into_iter().map(|info| info.via).collect();
    assert_eq!(via, ["sse", "sse", "json", "binary", "binary", "json"].map(Transport::from));
}
