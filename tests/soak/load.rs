//! The other load: publishers, and clients that connect, disconnect, kick, send unicast events, and retain values.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use sse_bus::protocol::{Publish, Reply, Request};

use crate::{
    delivery_check::{PUBLISHERS, data, end, topic},
    harness::{Daemon, EventStream, until},
};

/// The client that unicast events are sent to.
const ADDRESSEE: &str = "addressee";

/// Repeats an action at a pace, until it is stopped.
fn paced(every: Duration, stop: &AtomicBool, mut action: impl FnMut(u64)) {
    let began = Instant::now();
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        action(turn);
        // A late action is not followed by faster ones: the machine is busy.
        let over = began.elapsed().as_nanos() % every.as_nanos();
        thread::sleep(every.saturating_sub(Duration::from_nanos(over as u64)));
    }
}

/// Fills the tables of topics and history, so that memory reaches its height soon.
pub(crate) fn fill(daemon: &Daemon) {
    let mut lines = daemon.lines();
    for n in 0..8000 {
        let publish = json!({"topic": format!("filler/{}", n % 950), "data": "x".repeat(n * 7919 % 2000)});
        lines.ask(json!({ "publish": publish }).to_string());
    }
    // The topics are removed for new ones then.
    until("history is empty", || (daemon.status()["history_events"] == 0).then_some(()));
}

/// Publishes at a rate until it is stopped, and then the last event. Each publisher waits for its replies.
pub(crate) fn publish(daemon: &Daemon, publisher: usize, rate: u64, stop: &AtomicBool) -> u64 {
    let (mut lines, mut frames) = (daemon.lines(), daemon.frames());
    let mut send = |events: Vec<(String, String)>| match publisher {
        0 => {
            for (topic, data) in &events {
                frames.send(&Request::Publish(Publish::new(topic.as_str(), data.as_str())));
            }
            for _ in events {
                assert!(matches!(frames.next(), Some(Reply::Published(_))));
            }
        }
        1 => events.iter().for_each(|(topic, data)| drop(daemon.publish(topic, data))),
        _ => {
            for (topic, data) in &events {
                lines.send(json!({"publish": {"topic": topic, "data": data}}).to_string());
            }
            for _ in events {
                assert!(lines.reply()["published"].is_object());
            }
        }
    };
    // The last publisher sends few events, in bursts.
    let (share, every) = match publisher {
        1 => (rate / 8, Duration::from_millis(100)),
        last if last == PUBLISHERS - 1 => (rate / 8, Duration::from_secs(4)),
        _ => (rate * 3 / 8, Duration::from_millis(100)),
    };
    let at_once = (share * every.as_millis() as u64 / 1000).max(1);
    let mut next = 0;
    paced(every, stop, |_| {
        send((next..next + at_once).map(|n| (topic(publisher, n), data(publisher, n))).collect());
        next += at_once;
    });
    send(vec![end(publisher, next)]);
    next
}

/// Connections of all kinds that come and go, with filters and topics of their own, and requests that are refused.
pub(crate) fn come_and_go(daemon: &Daemon, stop: &AtomicBool) {
    paced(Duration::from_millis(100), stop, |turn| {
        let path = format!("/events?topic=churn/{turn}/**&topic=churn/{}&client=guest-{turn}", turn % 500);
        let mut stream = EventStream::open(Box::new(daemon.tcp()), &daemon.address.to_string(), &path, &[]);
        daemon.publish(&format!("churn/{turn}/a?ttl=1s"), "x");
        assert_eq!(stream.data(1), ["x"]);
        drop((stream, daemon.stream_locally(&path)));
        let mut lines = daemon.lines();
        lines.ask(json!({"subscribe": {"filters": ["churn/**"], "since": "latest"}}).to_string());
        match turn % 5 {
            0 => assert_eq!(daemon.request("POST", "/events/a//b", &[], "x").status, 400),
            1 => assert_eq!(daemon.get("/nothing").status, 404),
            2 => assert!(daemon.get("/metrics").text().contains("sse_bus_subscribers")),
            3 => assert_eq!(daemon.get("/clients").status, 200),
            _ => assert!(daemon.lines().ask("{}")["error"].is_object()),
        }
    });
}

/// Kicks readers in turn.
pub(crate) fn kick(daemon: &Daemon, names: &[&str], stop: &AtomicBool) {
    paced(Duration::from_millis(1500), stop, |turn| {
        // It may just be reconnecting.
        let name = names[turn as usize % names.len()];
        let status = daemon.request("DELETE", &format!("/clients/{name}"), &[], "").status;
        assert!(status == 200 || status == 404, "{status}");
    });
}

/// Sends events to one client, which must receive all of them, once and in order.
pub(crate) fn address(daemon: &Daemon, stop: &AtomicBool) -> u64 {
    let mut stream = daemon.stream(&format!("/events/nothing?client={ADDRESSEE}"));
    let mut sent = 0;
    paced(Duration::from_millis(200), stop, |_| {
        let response = daemon.request("POST", &format!("/events/direct?to={ADDRESSEE}"), &[], sent.to_string());
        assert_eq!(response.json()["subscribers"], 1);
        assert_eq!(stream.data(1), [sent.to_string()]);
        sent += 1;
    });
    sent
}

/// Retains values, of which each new subscriber receives the newest, and removes some.
pub(crate) fn retain(daemon: &Daemon, stop: &AtomicBool) -> u64 {
    let mut kept = 0;
    paced(Duration::from_millis(200), stop, |turn| {
        let (topic, value) = (format!("state/{}", turn % 100), turn.to_string());
        let ttl = if turn % 3 == 0 { "&ttl=1s" } else { "" };
        daemon.publish(&format!("{topic}?retain=true{ttl}"), format!("{value}{}", "x".repeat(turn as usize % 2000)));
        if turn % 3 != 0 {
            let newest = daemon.stream(&format!("/events/{topic}")).event().data;
            assert_eq!(newest.trim_end_matches('x'), value, "of {topic}");
        }
        if turn % 7 == 0 {
            daemon.publish(&format!("{topic}?retain=true"), "");
        }
        kept += 1;
    });
    kept
}
