//! Concurrency over real sockets: what the property tests show of the core, with a daemon, sockets and threads.

use std::{
    collections::BTreeMap,
    thread::{self, JoinHandle},
};

use serde_json::json;
use sse_bus::protocol::{Publish, Reply, Request};

use crate::{
    delivery_check::account,
    harness::{Daemon, Sse},
};

const SUBSCRIBERS: u64 = 20;
/// Events sent before their replies are read.
const PIPELINE: u32 = 100;

/// The events of a publisher, by their numbers.
type Published = BTreeMap<u64, String>;

fn seq(id: &str) -> u64 {
    id.rsplit_once('-').unwrap().1.parse().unwrap()
}

fn data(way: &str, n: u32) -> String {
    format!("{way} {n} {}", "x".repeat(n as usize % 400))
}

fn publish_lines(daemon: &Daemon) -> JoinHandle<Published> {
    let mut lines = daemon.lines();
    thread::spawn(move || {
        let mut published = Published::new();
        for batch in 0..30 {
            let numbers = batch * PIPELINE..(batch + 1) * PIPELINE;
            for n in numbers.clone() {
                lines.send(json!({"publish": {"topic": "s/json", "data": data("json", n)}}).to_string());
            }
            for n in numbers {
                published.insert(seq(lines.reply()["published"]["id"].as_str().unwrap()), data("json", n));
            }
        }
        published
    })
}

fn publish_frames(daemon: &Daemon) -> JoinHandle<Published> {
    let mut frames = daemon.frames();
    thread::spawn(move || {
        let mut published = Published::new();
        for batch in 0..30 {
            let numbers = batch * PIPELINE..(batch + 1) * PIPELINE;
            for n in numbers.clone() {
                frames.send(&Request::Publish(Publish::new(format!("s/{}", n % 5), data("binary", n))));
            }
            for n in numbers {
                let Some(Reply::Published(reply)) = frames.next() else { panic!("no reply") };
                published.insert(reply.id.unwrap().seq, data("binary", n));
            }
        }
        published
    })
}

/// Reads events and reconnects with the last id after every few of them, up to the end.
fn subscriber(number: u64, mut connect: impl FnMut(Option<&str>) -> crate::harness::EventStream) -> Vec<Sse> {
    // A seeded generator, so that a failing run can be repeated.
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut events: Vec<Sse> = Vec::new();
    let mut stream = connect(None);
    loop {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        for _ in 0..=random % 60 {
            let event = stream.event();
            if event.data == "end" {
                return events;
            }
            events.push(event);
        }
        // Some stay connected, so that live delivery is tested as well.
        if !number.is_multiple_of(5) {
            stream = connect(events.last().map(|event| event.id.as_str()));
        }
    }
}

/// Publishes on three transports while subscribers connect and disconnect, each with the filters of its number. Checks
/// that each received every matching event once and in order, or a gap for it.
fn run(flags: &[&str], filter: impl Fn(u64) -> &'static str + Sync) {
    let daemon = Daemon::start(flags);
    let (published, received) = thread::scope(|scope| {
        let (daemon, filter) = (&daemon, &filter);
        let subscribers: Vec<_> = (1..=SUBSCRIBERS)
            .map(|number| {
                scope.spawn(move || {
                    subscriber(number, |last_id| {
                        let position = last_id.map_or(String::new(), |id| format!("&last_event_id={id}"));
                        let topics = format!("topic={}&topic=s/end", filter(number));
                        let path = format!("/events?{topics}&since=all&client=s{number}{position}");
                        if number % 2 == 0 { daemon.stream(&path) } else { daemon.stream_locally(&path) }
                    })
                })
            })
            .collect();
        // The subscriptions begin before the first event.
        daemon.wait_for_subscribers(SUBSCRIBERS);
        let publishers = [publish_lines(daemon), publish_frames(daemon)];
        let mut published: Published =
            (0..300).map(|n| (seq(&daemon.publish("s/http", data("http", n))), data("http", n))).collect();
        for publisher in publishers {
            published.extend(publisher.join().unwrap());
        }
        daemon.publish("s/end?retain", "end");
        let received: Vec<_> = subscribers.into_iter().map(|subscriber| subscriber.join().unwrap()).collect();
        (published, received)
    });
    assert_eq!(published.len(), 6300);
    let mut gaps = 0;
    for (number, events) in (1..).zip(&received) {
        let mut wanted = published.clone();
        if let Some(topic) = filter(number).strip_prefix("s/").filter(|topic| *topic != "*") {
            wanted.retain(|_, data| data.starts_with(topic));
        }
        let reported = account(&wanted, events);
        assert!(
            reported.iter().all(|gap| gap["reason"] == "evicted" || gap["reason"] == "lagged"),
            "{number}: {reported:?}"
        );
        gaps += reported.len();
    }
    assert!(gaps > 0, "history was large enough for all: gaps were not tested");
}

#[test]
fn every_subscriber_receives_every_event_once_and_in_order_or_a_gap() {
    run(&["--history-events", "50"], |number| match number % 4 {
        0 => "s/http",
        1 => "s/json",
        _ => "s/*",
    });
}

#[test]
fn the_same_holds_where_all_topics_share_a_small_budget() {
    run(&["--history-budget", "64KiB"], |_| "s/*");
}
