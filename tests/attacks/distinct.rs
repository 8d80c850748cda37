//! A million different topics, filters, names, retained values, publishers: memory is bounded, excess ones are refused
//! with an error that names the limit, and the millionth costs what the thousandth did.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{Daemon, until},
    measure::{OtherPublisher, alone, peak, resident},
};

/// Fewer without optimization, but enough to show costs that grow with each.
const MILLION: u64 = if cfg!(debug_assertions) { 150_000 } else { 1_000_000 };
/// The number of those that take a connection or a subscription each.
const MANY: u64 = if cfg!(debug_assertions) { 5_000 } else { 1_000_000 };
/// Parts of a run. The last must not take much longer than the first; the best of the following pairs is compared.
const PARTS: u64 = 10;
/// Time that other programs on the machine may add to the last parts.
const SLACK: Duration = Duration::from_millis(if cfg!(debug_assertions) { 1000 } else { 200 });
/// KiB by which the daemon's memory may grow after a million.
const MEMORY: usize = 160 << 10;

/// Sends requests over one connection, in parts, and passes each reply on. Returns how long each part took.
fn send(daemon: &Daemon, many: u64, line: impl Fn(u64) -> String + Sync, mut show: impl FnMut(&str)) -> Vec<Duration> {
    let socket = daemon.local();
    let mut replies = BufReader::with_capacity(256 << 10, socket.try_clone().unwrap());
    let mut took = Vec::new();
    for part in 0..PARTS {
        let began = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut socket = &socket;
                let mut lines = String::new();
                for n in part * many / PARTS..(part + 1) * many / PARTS {
                    lines.push_str(&line(n));
                    lines.push('\n');
                    if lines.len() > 60_000 {
                        socket.write_all(lines.as_bytes()).unwrap();
                        lines.clear();
                    }
                }
                // The last reply shows that all requests were processed.
                lines.push_str("{\"kick\":{\"client\":\"the end of a part\"}}\n");
                socket.write_all(lines.as_bytes()).unwrap();
            });
            let mut reply = String::new();
            loop {
                reply.clear();
                assert!(replies.read_line(&mut reply).unwrap() > 0, "the daemon has closed the connection");
                if reply.contains("the end of a part") {
                    return;
                }
                show(&reply);
            }
        });
        took.push(began.elapsed());
    }
    took
}

/// Runs a test that creates a million of something, and checks the bounds on time, memory and other clients.
fn bounded(what: &str, daemon: &Daemon, attack: impl FnOnce() -> Vec<Duration>) {
    let others = OtherPublisher::start(daemon);
    others.begin();
    let usual = others.latencies(300);
    let lines = daemon.get("/metrics").text().lines().count();
    let before = resident(daemon);
    others.begin();
    let parts = attack();
    let latencies = others.latencies(10);
    let more = resident(daemon).saturating_sub(before);
    let total: Duration = parts.iter().sum();
    eprintln!("{what}: in {total:.1?}, parts {parts:.1?}; memory up by {more} KiB");
    eprintln!("{what}: others before: {usual}; beside them: {latencies}");
    assert!(more < MEMORY, "{what}: memory is up by {more} KiB");
    // A new refusal code may add a line to the metrics.
    assert!(daemon.get("/metrics").text().lines().count() <= lines + 5, "{what}: metrics grow");
    let (early, late) = (parts[1..4].iter().min().unwrap(), parts[7..].iter().min().unwrap());
    assert!(*late < *early * 3 + SLACK, "{what}: it becomes slower and slower: {parts:?}");
}

#[test]
fn a_million_topics() {
    let _alone = alone();
    let daemon = Daemon::start(&["--log", "warn"]);
    let mut clients = daemon.stream("/events/$sys/clients");
    let mut refused = 0_u64;
    bounded("topics", &daemon, || {
        let line = |n| format!(r#"{{"publish":{{"topic":"many/{n}","data":"x","ack":"none"}}}}"#);
        send(&daemon, MILLION, line, |reply| {
            assert!(reply.contains("limit_topics") && reply.contains("`topics` = 100000"), "{reply}");
            refused += 1;
        })
    });
    let topics = daemon.status()["topics"].as_u64().unwrap();
    assert_eq!(topics, 100_000);
    assert_eq!(refused + topics, MILLION + 1, "with the one of the other publisher");
    // Presence events are still delivered.
    let _other = daemon.stream("/events/many/1?client=there");
    until("the presence event arrives", || (clients.event().json()["name"] == "there").then_some(()));
}

#[test]
fn a_subscriber_of_a_million_successive_topics_gets_a_gap() {
    let _alone = alone();
    let daemon = Daemon::configured("history_budget = \"1MiB\"\n[limits]\ntopics = 10000\n");
    let first = daemon.publish("many/first", "x");
    bounded("topics with little history", &daemon, || {
        let line = |n| format!(r#"{{"publish":{{"topic":"many/{n}","data":"{n}","ack":"none"}}}}"#);
        send(&daemon, MILLION, line, |reply| panic!("{reply}"))
    });
    let mut late = daemon.stream_with("/events/many/*", &[("Last-Event-ID", &first)]);
    let gap = late.event();
    assert_eq!((gap.kind.as_deref(), &gap.json()["reason"]), (Some("$gap"), &"evicted".into()));
    let mut next: u64 = late.event().data.parse().unwrap();
    eprintln!("a gap, then events from {next} on");
    while next < MILLION - 1 {
        let event = late.event();
        assert_eq!(event.data, (next + 1).to_string(), "silently missing");
        next += 1;
    }
}

#[test]
fn a_million_retained_values() {
    let _alone = alone();
    let daemon = Daemon::start(&["--log", "warn"]);
    let mut refused = 0_u64;
    bounded("retained values", &daemon, || {
        let line = |n| {
            let data = "x".repeat(200);
            format!(r#"{{"publish":{{"topic":"many/{}","data":"{data}","retain":true,"ack":"none"}}}}"#, n % 90_000)
        };
        send(&daemon, MILLION, line, |reply| {
            assert!(reply.contains("limit_retained_bytes") && reply.contains("`retained_bytes` = "), "{reply}");
            refused += 1;
        })
    });
    let retained = daemon.metric("sse_bus_retained_events");
    eprintln!("{retained} retained, {refused} refused");
    assert!(refused > MILLION / 10 && retained > 1000.0);
}

#[test]
fn a_million_filters_and_names_of_subscribers() {
    let _alone = alone();
    let daemon = Daemon::start(&["--log", "warn"]);
    // Each has its own name, and the filters of all are a million.
    let each = MILLION / MANY;
    let line = |n: u64| {
        let mut filters = String::new();
        for k in 0..each {
            let _ = write!(filters, r#""{n}/{k}/*/x","#);
        }
        filters.pop();
        format!(r#"{{"subscribe":{{"filters":[{filters}],"client":"name {n}","past_only":true}}}}"#)
    };
    bounded("subscribers", &daemon, || {
        let mut lines = daemon.lines();
        let mut part = |part| {
            let began = Instant::now();
            for n in part * MANY / PARTS..(part + 1) * MANY / PARTS {
                let reply = lines.ask(line(n));
                assert!(reply["subscribed"].is_object(), "{reply}");
                assert!(lines.reply()["end"].is_object());
            }
            began.elapsed()
        };
        (0..PARTS).map(&mut part).collect()
    });
    assert_eq!(daemon.status()["subscribers"], 0);
}

#[test]
fn a_million_publishers_and_addressees() {
    let _alone = alone();
    let daemon = Daemon::start(&["--log", "warn"]);
    bounded("addressees", &daemon, || {
        let line = |n| format!(r#"{{"publish":{{"topic":"t","data":"x","to":"nobody {n}","ack":"none"}}}}"#);
        send(&daemon, MILLION, line, |reply| panic!("{reply}"))
    });
    bounded("publishers", &daemon, || {
        let one = || {
            let reply = daemon.lines().ask(r#"{"publish":{"topic":"t","data":"x"}}"#);
            assert!(reply["published"].is_object(), "{reply}");
        };
        let part = |_| {
            let began = Instant::now();
            (0..MANY / PARTS).for_each(|_| one());
            began.elapsed()
        };
        (0..PARTS).map(part).collect()
    });
    until("they have disconnected", || {
        (daemon.status()["publishers"] == 1 || daemon.status()["publishers"] == 0).then_some(())
    });
}

/// As many filters of the largest size as a subscription may have, shared with no other.
fn long_filters(n: u32) -> String {
    let filters: Vec<_> = (0..64).map(|k| format!("\"{n}/{k}{}\"", "/x".repeat(120))).collect();
    format!(r#"{{"subscribe":{{"filters":[{}],"since":"now"}}}}"#, filters.join(","))
}

#[test]
fn subscribers_with_the_largest_and_most_filters() {
    let _alone = alone();
    let daemon = Daemon::configured("log = \"warn\"\n[limits]\nfilters_bytes = 33554432\n");
    let before = resident(&daemon);
    let mut subscribed = Vec::new();
    let refused = loop {
        let mut lines = daemon.lines();
        let reply = lines.ask(long_filters(subscribed.len() as u32));
        if !reply["subscribed"].is_object() {
            break reply;
        }
        subscribed.push(lines);
        assert!(subscribed.len() < 500, "there is no bound");
    };
    let more = resident(&daemon) - before;
    eprintln!("{} subscribers with 64 filters of 120 levels: memory up by {more} KiB", subscribed.len());
    assert_eq!(refused["error"]["code"], "limit_filters_bytes");
    assert!(refused["error"]["message"].as_str().unwrap().contains("`filters_bytes` = 33554432"), "{refused}");
    assert!(more < 48 << 10, "memory is up by {more} KiB");
    // Browsers reconnect later; existing clients are not affected.
    let filters: Vec<_> = (0..64).map(|k| format!("topic=b/{k}{}", "/x".repeat(90))).collect();
    daemon.stream(&format!("/events?{}", filters.join("&"))).ends();
    daemon.publish(&format!("0/0{}", "/x".repeat(120)), "here");
    assert_eq!(subscribed[0].event()["data"], "here");
    drop(subscribed);
    until("a subscriber is accepted again", || {
        daemon.lines().ask(long_filters(0))["subscribed"].is_object().then_some(())
    });
}

/// 48 bytes for each topic and subscriber would be 92 MiB.
#[test]
fn subscribers_of_all_topics_cost_nothing_per_topic_and_subscriber() {
    let _alone = alone();
    let daemon = Daemon::configured("log = \"warn\"\nhistory_budget = \"4MiB\"\n[limits]\nfeeds_buffer = 4194304\n");
    let _subscribers: Vec<_> = (0..200)
        .map(|n| {
            let mut lines = daemon.lines();
            let reply = lines.ask(format!(r#"{{"subscribe":{{"filters":["**","own/{n}"],"since":"now"}}}}"#));
            assert!(reply["subscribed"].is_object(), "{reply}");
            lines
        })
        .collect();
    let before = resident(&daemon);
    let line = |n| format!(r#"{{"publish":{{"topic":"many/{n}","data":"x","ack":"none"}}}}"#);
    send(&daemon, 10_000, line, |reply| panic!("{reply}"));
    let topics = daemon.status()["topics"].as_u64().unwrap();
    let more = resident(&daemon) - before;
    eprintln!("200 subscribers of all {topics} topics; memory up by {more} KiB");
    assert!(topics > 9_000, "{topics} topics");
    assert!(more < 48 << 10, "memory is up by {more} KiB");
}

#[test]
fn a_large_event_for_many_subscribers_without_a_common_feed() {
    const SUBSCRIBERS: usize = 400;
    let _alone = alone();
    let daemon = Daemon::configured("log = \"warn\"\n[limits]\nfeeds_buffer = 4194304\n");
    let mut subscribers: Vec<_> =
        (0..SUBSCRIBERS).map(|n| daemon.stream(&format!("/events?topic=large&topic=own/{n}"))).collect();
    let before = peak(&daemon);
    for n in 0..3 {
        daemon.publish("large", format!("{n}{}", "x".repeat(250_000)));
    }
    let more = peak(&daemon) - before;
    eprintln!("{SUBSCRIBERS} different subscribers and events of 250 kB: memory up by {more} KiB");
    for subscriber in &mut subscribers {
        let first: Vec<_> = subscriber.data(3).iter().map(|data| data[..1].to_owned()).collect();
        assert_eq!(first, ["0", "1", "2"]);
    }
    // Bytes that a socket does not accept wait in its stream, one event at most; feeds hold no copies for it.
    assert!(more < SUBSCRIBERS * 320, "memory is up by {more} KiB");
}
