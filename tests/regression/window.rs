//! A bus with a window of a log elsewhere: what is before the window is read from the log.

use std::{sync::Arc, time::Duration};

use sse_bus::{
    Epoch, FilterSet,
    bus::{
        Bus, ClientId, Format, LogEvent, Read, Start, Subscription,
        fetch::{Fetched, LostRange, Wanted},
        history::{Entry, Memory, SnapshotKind, Window},
    },
    limits::Limits,
    protocol::{ErrorCode, Refused, Slow},
    retention::Retention,
};

use super::{after, at, drain, event, publish, subscribe, subscribe_at};

/// A log, and a bus with its last five events.
struct Node {
    log: Bus,
    bus: Bus,
    /// The bytes of one reply.
    bytes: usize,
}

const WINDOW: Window = Window { events: 5, bytes: usize::MAX };

impl Node {
    fn new(retention: Retention) -> Node {
        let log = super::bus(retention.clone(), Limits::default());
        let bus = node_of(retention, 0);
        Node { log, bus, bytes: 1000 }
    }

    /// Publishes an event to the log, which returns it to the bus.
    fn publish(&mut self, topic: &str) -> u64 {
        self.publish_at(topic, 0)
    }

    fn publish_at(&mut self, topic: &str, ms: u64) -> u64 {
        let now = at(ms);
        for bus in [&mut self.log, &mut self.bus] {
            bus.publish(event(topic, "x"), None, now).expect("taken");
            bus.finish().wake();
        }
        self.log.position().seq
    }

    fn publish_many(&mut self, events: usize, topic: &str) {
        for _ in 0..events {
            self.publish(topic);
        }
    }

    fn retain(&mut self, topic: &str) {
        for bus in [&mut self.log, &mut self.bus] {
            publish(bus, event(topic, "x").retained());
        }
    }

    fn serve(&mut self, wanted: &Wanted) -> Arc<Fetched> {
        let fetched = Arc::new(self.log.serve(wanted, self.bytes, at(1000)));
        self.bus.hand_over(wanted.client, Arc::downgrade(&fetched));
        fetched
    }

    /// Reads everything, with the number of replies of the log.
    fn drain(&mut self, id: ClientId) -> (Vec<String>, usize) {
        let (mut all, mut replies) = (drain(&mut self.bus, id), 0);
        loop {
            let wanted = self.bus.take_wanted();
            let Some(wanted) = wanted.first() else { return (all, replies) };
            let _fetched = self.serve(wanted);
            replies += 1;
            all.extend(drain(&mut self.bus, id));
        }
    }
}

fn node_of(retention: Retention, start: u64) -> Bus {
    let history = Memory::window(retention, WINDOW, start);
    Bus::new(Epoch::parse("e").expect("legal"), Limits::default(), Box::new(history))
}

fn numbers(range: impl Iterator<Item = u64>) -> Vec<String> {
    range.map(|seq| seq.to_string()).collect()
}

#[test]
fn a_client_that_resumes_before_the_window_receives_each_event_once_and_then_live_ones() {
    let mut node = Node::new(Retention::default());
    node.publish_many(20, "t");
    assert_eq!(node.bus.status().history_events, 5);
    let id = subscribe(&mut node.bus, &["t"], after(3));
    let (events, replies) = node.drain(id);
    assert_eq!(events, numbers(4..=20));
    assert!(replies > 2, "{replies} replies of the log");
    node.publish("t");
    assert_eq!(drain(&mut node.bus, id), ["21"]);
    // A client within the window needs no log.
    let id = subscribe(&mut node.bus, &["t"], after(16));
    assert_eq!(node.drain(id), (numbers(17..=21), 0));
}

#[test]
fn a_window_that_passes_a_cursor_leaves_no_gap_and_repeats_nothing() {
    let mut node = Node::new(Retention::default());
    node.bytes = 300;
    node.publish_many(8, "t");
    let id = subscribe(&mut node.bus, &["t"], Start::All);
    let mut events = drain(&mut node.bus, id);
    while let Some(wanted) = node.bus.take_wanted().pop() {
        if node.log.position().seq < 40 {
            // The window moves on between the request and its reply, and between the reply and its read.
            node.publish_many(3, "t");
        }
        let _fetched = node.serve(&wanted);
        if node.log.position().seq < 40 {
            node.publish_many(3, "t");
        }
        events.extend(drain(&mut node.bus, id));
    }
    assert_eq!(events, numbers(1..=node.log.position().seq));
}

#[test]
fn what_the_log_has_lost_before_the_window_is_a_gap_with_its_number() {
    let mut node = Node::new(Retention { events: 4, ..Retention::default() });
    for _ in 0..5 {
        node.publish("a");
        node.publish("b");
    }
    node.publish_many(5, "c");
    let id = subscribe(&mut node.bus, &["a"], after(0));
    assert_eq!(node.drain(id).0, ["1 gap 1..=1 Some(1)", "3", "5", "7", "9"]);
    // A new subscription has lost nothing.
    let id = subscribe(&mut node.bus, &["a"], Start::All);
    assert_eq!(node.drain(id).0, ["3", "5", "7", "9"]);
}

#[test]
fn an_reply_that_was_dropped_is_requested_again_from_where_the_cursor_is() {
    let mut node = Node::new(Retention::default());
    node.bytes = usize::MAX;
    for n in 0..20 {
        let data = if n < 10 { super::big() } else { "x".into() };
        for bus in [&mut node.log, &mut node.bus] {
            publish(bus, event("t", &data));
        }
    }
    let id = subscribe(&mut node.bus, &["t"], Start::All);
    assert!(super::read(&mut node.bus, id).is_empty());
    let wanted = node.bus.take_wanted().pop().expect("a request");
    assert_eq!((wanted.seq, wanted.upto, wanted.snapshot), (1, 15, None));
    let fetched = node.serve(&wanted);
    // One read returns two of the large events.
    assert_eq!(super::read(&mut node.bus, id), ["1", "2"]);
    drop(fetched);
    assert!(super::read(&mut node.bus, id).is_empty());
    let again = node.bus.take_wanted();
    assert_eq!(again.iter().map(|wanted| wanted.seq).collect::<Vec<_>>(), [3]);
    let _fetched = node.serve(&again[0]);
    let (events, _) = node.drain(id);
    assert_eq!(events, numbers(3..=20));
}

#[test]
fn retained_and_newest_events_are_read_where_they_are() {
    let mut node = Node::new(Retention::default());
    for topic in ["a", "b", "c"] {
        node.retain(topic);
    }
    node.publish_many(6, "d");
    node.retain("b");
    let status = node.bus.status();
    assert_eq!((status.history_events, status.retained), (5, 1));
    let id = subscribe(&mut node.bus, &["**"], Start::Retained);
    assert_eq!(node.drain(id).0, ["1", "3", "10"]);
    let id = subscribe(&mut node.bus, &["**"], Start::Latest);
    assert_eq!(node.drain(id).0, ["1", "3", "9", "10"]);
}

#[test]
fn a_subscription_begins_at_a_time_before_the_window() {
    let mut node = Node::new(Retention::default());
    for n in 1..=20 {
        node.publish_at("t", n * 10);
    }
    let last = Start::Last(Duration::from_millis(105));
    let id = subscribe_at(&mut node.bus, &["t"], last, Slow::Gap, at(200));
    assert!(super::read(&mut node.bus, id).is_empty());
    let wanted = node.bus.take_wanted().pop().expect("a request");
    assert_eq!(wanted.since, Some(95));
    let fetched = Arc::new(node.log.serve(&wanted, 1 << 20, at(200)));
    node.bus.hand_over(id, Arc::downgrade(&fetched));
    assert_eq!(drain(&mut node.bus, id), numbers(10..=20));
}

#[test]
fn a_node_begins_at_a_position_of_the_log() {
    let mut log = super::keeping(1000);
    for _ in 0..10 {
        publish(&mut log, event("t", "x"));
    }
    let bus = node_of(Retention::default(), log.position().seq);
    assert_eq!(bus.position(), log.position());
    let mut node = Node { log, bus, bytes: 1000 };
    let id = subscribe(&mut node.bus, &["t"], Start::All);
    assert_eq!(node.drain(id).0, numbers(1..=10));
    node.publish("t");
    assert_eq!(node.drain(id).0, ["11"]);
    // An event that the bus has applied already is not applied again.
    let first = sse_bus::Event::new(node.bus.position(), sse_bus::Topic::parse("t").expect("legal"), "x", 1);
    assert_eq!(node.bus.apply(LogEvent { event: first, retain: false, ttl: None }, at(0)), None);
}

#[test]
fn a_log_that_cannot_be_read_ends_a_subscription_to_history_only_and_no_other() {
    let mut node = Node::new(Retention::default());
    node.publish_many(20, "t");
    let refuse = |node: &mut Node, past_only: bool| {
        let mut subscription = Subscription::new(FilterSet::parse(&["t"]).expect("legal"), Format::Json);
        (subscription.start, subscription.past_only) = (Start::All, past_only);
        let id = node.bus.subscribe(subscription, at(0)).expect("taken").0;
        let mut out = Vec::new();
        assert_eq!(node.bus.read(id, at(0), std::task::Waker::noop(), &mut out), Read::Fetching);
        let wanted = node.bus.take_wanted().pop().expect("a request");
        let refused = Some(Refused::new(ErrorCode::Unavailable, "the log is away"));
        let fetched = Arc::new(Fetched { from: wanted.seq, upto: wanted.seq, refused, ..Fetched::default() });
        node.bus.hand_over(id, Arc::downgrade(&fetched));
        let read = node.bus.read(id, at(0), std::task::Waker::noop(), &mut out);
        (read, String::from_utf8(out.concat()).expect("text"))
    };
    let (read, text) = refuse(&mut node, true);
    assert_eq!(read, Read::Ended);
    assert!(text.contains(r#"{"error":{"code":"unavailable""#), "{text}");
    assert_eq!(refuse(&mut node, false), (Read::Fetching, String::new()));
    assert_eq!(node.bus.take_wanted().len(), 1, "it requests the events again");
}

#[test]
fn an_reply_of_a_log_has_no_more_than_was_asked_for_and_names_what_is_lost() {
    let mut log = super::keeping(2);
    for _ in 0..4 {
        publish(&mut log, event("a", "x"));
        publish(&mut log, event("b", "x"));
    }
    let (mut wanted, id) = {
        let mut node = node_of(Retention::default(), 8);
        let id = subscribe(&mut node, &["a"], after(0));
        assert!(super::read(&mut node, id).is_empty());
        (node.take_wanted().pop().expect("a request"), id)
    };
    assert_eq!((wanted.client, wanted.upto), (id, 8));
    wanted.upto = 6;
    let fetched = log.serve(&wanted, 1 << 20, at(0));
    let events: Vec<_> = fetched.events.iter().map(|event| event.id.seq).collect();
    assert_eq!((events, fetched.from, fetched.upto), (vec![5], 1, 6));
    assert_eq!(fetched.lost, [LostRange { from: 1, to: 3, missed: Some(2) }]);
    // The same without what was reported to the subscriber before.
    wanted.losses_from = fetched.losses_end;
    assert!(log.serve(&wanted, 1 << 20, at(0)).lost.is_empty());
    wanted.snapshot = Some(SnapshotKind::Newest);
    assert!(log.serve(&wanted, 1 << 20, at(0)).events.is_empty(), "the newest event is after the range");
    wanted.upto = 8;
    assert_eq!(log.serve(&wanted, 1 << 20, at(0)).events[0].id.seq, 7);
}

#[test]
fn losses_before_the_window_are_reported_between_the_events_that_the_log_has() {
    let mut node = Node::new(Retention { events: 1, ..Retention::default() });
    for topic in ["a", "b", "a", "a", "c", "d", "e", "f", "g", "h"] {
        node.publish(topic); // 1 and 3 are lost
    }
    let expected = ["1 gap 1..=1 Some(1)", "2", "3 gap 3..=3 Some(1)", "4"];
    let [of_log, of_node] = [&mut node.log, &mut node.bus].map(|bus| subscribe(bus, &["a", "b"], after(0)));
    assert_eq!(drain(&mut node.log, of_log), ["1 gap 1..=3 Some(2)", "2", "4"], "all are accounted for first");
    assert_eq!(node.drain(of_node).0, expected);
}

#[test]
fn a_window_is_bounded_in_bytes_and_has_the_newest_event_always() {
    let window = Window { events: 100, bytes: 2 * Entry::cost_of(1, 0, 0) };
    let history = Memory::window(Retention::default(), window, 0);
    let mut bus = Bus::new(Epoch::parse("e").expect("legal"), Limits::default(), Box::new(history));
    let mut held = |data: &str| {
        publish(&mut bus, event("t", data));
        #[cfg(debug_assertions)]
        bus.self_check();
        bus.status().history_events
    };
    assert_eq!(
        [held("x"), held("x"), held("x"), held(&super::big()), held(&super::big()), held("x")],
        [1, 2, 2, 1, 1, 1]
    );
    assert_eq!(held("x"), 2);
}

#[test]
fn what_the_log_loses_between_a_subscription_and_its_first_range_is_a_gap() {
    let mut node = Node::new(Retention { events: 1, ..Retention::default() });
    for topic in ["a", "b", "c", "d", "e", "f", "x"] {
        node.publish(topic);
    }
    let id = subscribe(&mut node.bus, &["x"], Start::All);
    assert!(drain(&mut node.bus, id).is_empty());
    let wanted = node.bus.take_wanted().pop().expect("a request");
    assert_eq!(wanted.upto, 2);
    node.publish("x"); // 7 is lost
    node.publish("g");
    let _first = node.serve(&wanted);
    assert!(drain(&mut node.bus, id).is_empty());
    // The window leaves the cursor behind.
    for topic in ["a", "b", "c", "d", "e", "f"] {
        node.publish(topic);
    }
    assert_eq!(node.drain(id).0, ["7 gap 7..=7 None", "8"]);
}
