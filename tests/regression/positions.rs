//! When a stream sends its position.

use std::task::Waker;

use sse_bus::{
    FilterSet,
    bus::{Bus, ClientId, Format, Framing, ReaderId, Start, Subscription},
    protocol::sse::PositionForm,
};

use super::{after, at, drain, event, keeping, publish, read, read_shareds, subscribe};

/// A subscriber whose stream sends its position as an id alone.
fn positioned(bus: &mut Bus, filter: &str, start: Start) -> ClientId {
    let mut subscription = Subscription::new(FilterSet::parse(&[filter]).expect("legal"), Format::SseData);
    (subscription.start, subscription.position_form) = (start, PositionForm::Id);
    bus.subscribe(subscription, at(0)).expect("taken").0
}

/// The whole stream of a subscriber.
fn text(bus: &mut Bus, id: ClientId) -> String {
    let mut out = Vec::new();
    let _ = bus.read(id, at(1000), Waker::noop(), &mut out);
    String::from_utf8(out.concat()).expect("text")
}

#[test]
fn the_position_comes_first_so_that_a_stream_broken_before_an_event_misses_nothing() {
    let mut bus = keeping(10);
    let first = positioned(&mut bus, "t", Start::Retained);
    assert_eq!(text(&mut bus, first), "id: e-0\n\n");
    bus.disconnect(first, at(0));
    let lost = publish(&mut bus, event("t", "x"));
    let again = subscribe(&mut bus, &["t"], after(0));
    assert_eq!(drain(&mut bus, again), [lost.to_string()]);
}

#[test]
fn after_a_snapshot_the_position_is_that_of_the_log() {
    let mut bus = keeping(10);
    publish(&mut bus, event("t", "state").retained()); // 1
    publish(&mut bus, event("t", "not retained")); // 2
    let id = positioned(&mut bus, "t", Start::Retained);
    assert_eq!(text(&mut bus, id), "id: e-0\n\nid: e-1\ndata: state\n\nid: e-2\n\n");
    // Without it, a client that reconnects would be given what it has not asked for.
    let again = subscribe(&mut bus, &["t"], after(2));
    assert!(read(&mut bus, again).is_empty());
}

#[test]
fn an_id_of_another_history_is_not_replaced_before_its_gap_is_sent() {
    let mut bus = keeping(10);
    publish(&mut bus, event("t", "x"));
    let id = positioned(&mut bus, "t", Start::After("other-7".into()));
    let read = text(&mut bus, id);
    assert!(read.starts_with("id: e-0\nevent: $gap\ndata: "), "{read}");
}

/// A subscriber of a quiet topic, whose last id is 0, one of a busy topic, and three events of that, of which a history that
/// keeps two has evicted the first.
fn quiet_and_busy(bus: &mut Bus, reader: Option<ReaderId>) -> [ClientId; 2] {
    let clients = ["quiet", "busy"].map(|topic| positioned(bus, topic, Start::Now));
    for id in clients {
        reader.and_then(|reader| bus.assign(id, reader));
        text(bus, id);
    }
    bus.tick(at(0));
    for _ in 0..3 {
        publish(bus, event("busy", "x"));
    }
    bus.finish().wake();
    clients
}

#[test]
fn a_heartbeat_repeats_the_position_before_history_evicts_the_last() {
    let mut bus = keeping(2);
    let [quiet, busy] = quiet_and_busy(&mut bus, None);
    text(&mut bus, busy);
    // The quiet subscriber's id lies in the older half of history.
    bus.tick(at(15_000));
    assert_eq!([text(&mut bus, quiet), text(&mut bus, busy)], [":\nid: e-3\n\n", ":\n"]);
    // Nothing has moved.
    bus.tick(at(30_000));
    assert_eq!([text(&mut bus, quiet), text(&mut bus, busy)], [":\n", ":\n"]);
}

#[test]
fn a_subscriber_that_needs_its_position_does_not_share_a_heartbeat() {
    let mut bus = keeping(2);
    let reader = bus.add_reader(Waker::noop().clone(), Framing::Plain);
    let [quiet, busy] = quiet_and_busy(&mut bus, Some(reader));
    read_shareds(&mut bus, reader);
    bus.tick(at(15_000));
    assert_eq!(bus.called_heartbeats(reader), [busy]);
    assert_eq!(text(&mut bus, quiet), ":\nid: e-3\n\n");
    bus.tick(at(30_000));
    let mut both = bus.called_heartbeats(reader);
    both.sort_unstable();
    assert_eq!(both, [quiet, busy]);
}

#[test]
fn heartbeats_have_the_interval_that_a_subscriber_requests() {
    let mut bus = keeping(10);
    let ids = [1, 4, 60].map(|seconds| {
        let mut subscription = Subscription::new(FilterSet::parse(&["t"]).expect("legal"), Format::SseData);
        subscription.heartbeat = std::time::Duration::from_secs(seconds);
        bus.subscribe(subscription, at(0)).expect("taken").0
    });
    for id in ids {
        drain(&mut bus, id);
    }
    let mut beats = [0; 3];
    for second in 0..=120 {
        bus.tick(at(second * 1000));
        for (id, beats) in ids.iter().zip(&mut beats) {
            *beats += text(&mut bus, *id).matches(":\n").count();
        }
    }
    assert_eq!(beats, [120, 30, 2]);
}
