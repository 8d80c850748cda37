//! The events that feeds drop while all feeds together hold more than their bound: a part of the feeds at a time, the oldest
//! events first, and no more than necessary.

use std::task::Waker;

use sse_bus::{
    bus::{Bus, ClientId, Read, Start},
    limits::Limits,
    protocol::Slow,
    retention::Retention,
};

use super::{at, bus, event, publish, subscribe_at};

/// The feeds that a step examines, and the segments that it drops.
const STEP: usize = 2048;
const KILOBYTE: usize = 1 << 10;

fn with_buffer(feeds_buffer: usize) -> Bus {
    bus(Retention::default(), Limits { feeds_buffer, ..Limits::default() })
}

/// A subscriber that is disconnected when its feed drops an event that it has not read.
fn strict(bus: &mut Bus, filter: &str) -> ClientId {
    let id = subscribe_at(bus, &[filter], Start::Now, Slow::Disconnect, at(0));
    assert_eq!(read(bus, id), Read::Waiting);
    id
}

/// Reads everything.
fn read(bus: &mut Bus, id: ClientId) -> Read {
    loop {
        let read = bus.read(id, at(0), Waker::noop(), &mut Vec::new());
        if read != Read::Ready {
            return read;
        }
    }
}

/// Publishes an event as a batch of its own, after which the buffers are compared with their bound.
fn publish_alone(bus: &mut Bus, topic: &str, bytes: usize) {
    publish(bus, event(topic, &"x".repeat(bytes)));
    bus.finish().wake();
}

#[test]
fn the_search_for_large_feeds_continues_with_the_next_feeds_and_then_with_the_first() {
    let mut bus = with_buffer(KILOBYTE);
    let ids: Vec<_> = (0..STEP + 2).map(|n| strict(&mut bus, &format!("t/{n}"))).collect();
    bus.finish().wake();
    // Each batch examines a part of the feeds. The third examines those that the first has.
    publish_alone(&mut bus, &format!("t/{STEP}"), KILOBYTE);
    publish_alone(&mut bus, &format!("t/{}", STEP + 1), 1);
    publish_alone(&mut bus, "t/0", KILOBYTE);
    publish_alone(&mut bus, "t/1", 1);
    let read = [STEP, STEP + 1, 0, 1].map(|n| read(&mut bus, ids[n]));
    assert_eq!(read, [Read::Ended, Read::Waiting, Read::Ended, Read::Waiting]);
}

#[test]
fn a_feed_drops_its_oldest_events_and_keeps_those_that_fit() {
    let mut bus = with_buffer(9 * KILOBYTE);
    let [slow, other] = [(); 2].map(|()| strict(&mut bus, "t"));
    for n in 0..9 {
        publish_alone(&mut bus, "t", KILOBYTE);
        if n == 3 {
            assert_eq!(read(&mut bus, other), Read::Waiting);
        }
    }
    assert_eq!([slow, other].map(|id| read(&mut bus, id)), [Read::Ended, Read::Waiting]);
}

#[test]
fn one_step_drops_a_bounded_number_of_segments() {
    let mut bus = with_buffer(1 << 20);
    let [first, second] = [(); 2].map(|()| strict(&mut bus, "t"));
    let slow = strict(&mut bus, "t");
    for n in 1..STEP + 100 {
        publish_alone(&mut bus, "t", 1);
        if n == STEP - 1 {
            assert_eq!(read(&mut bus, first), Read::Waiting);
        }
        if n == STEP {
            assert_eq!(read(&mut bus, second), Read::Waiting);
        }
    }
    bus.configure(Limits { feeds_buffer: 1, ..Limits::default() }, Retention::default(), at(0));
    bus.finish().wake();
    let read = [slow, first, second].map(|id| read(&mut bus, id));
    assert_eq!(read, [Read::Ended, Read::Ended, Read::Waiting]);
}
