//! The NATS server is away for a while: publishes fail, streams stay open, and everything resumes.

use std::{
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    harness::{
        Daemon, EventStream,
        nats::{NatsServer, node},
        until,
    },
    load::{Outcome, outcome, publish_within},
    site::{BUS, chaos_seconds},
};

/// The time in which a publish fails.
const FAILS_WITHIN: Duration = Duration::from_secs(5);

#[test]
#[ignore = "needs nats-server: it is away for a while"]
fn while_the_server_is_away_publishes_fail_streams_stay_open_and_lines_wait() {
    let away = Duration::from_secs(chaos_seconds() / 2);
    let mut server = NatsServer::start();
    let node = node(&server.url(), BUS, "a", &[]);
    let mut stream = node.stream("/events/lines?heartbeat=1s");
    let mut publisher = node.spawn_ctl(&["publish", "lines", "--lines", "--retry-for", "forever"]);
    let mut stdin = publisher.take_stdin();
    let lines = 40 * (away.as_secs() + 2);
    let feeding = thread::spawn(move || {
        for line in 0..lines {
            writeln!(stdin, "line-{line}").unwrap();
            thread::sleep(Duration::from_millis(25));
        }
    });
    assert_eq!(stream.data(20).last().unwrap(), "line-19");

    server.kill();
    let until = Instant::now() + away;
    let mut received = thread::scope(|scope| {
        scope.spawn(|| fail_until(until, &node));
        is_open_until(until, &mut stream)
    });
    server.start_again();

    feeding.join().unwrap();
    let run = publisher.finish().ok();
    assert_eq!(run.json(), [json!({"accepted": lines, "refused": 0})]);
    publish_within(Duration::from_secs(10), &node, "lines", "end");
    while received.last().is_none_or(|data| data != "end") {
        received.push(stream.event().data);
    }
    let wanted: Vec<String> = (20..lines).map(|line| format!("line-{line}")).chain(["end".into()]).collect();
    assert_eq!(received, wanted);
    let status = node.get("/healthz").status;
    assert_eq!(status, 200);
}

/// Publishes until a time. All fail soon, and are not in the log.
fn fail_until(end: Instant, node: &Daemon) {
    until("the node notices it", || (node.get("/healthz").status == 503).then_some(()));
    let mut connection = node.lines();
    while Instant::now() < end {
        let began = Instant::now();
        let reply = connection.ask(r#"{"publish":{"topic":"other","data":"x"}}"#);
        assert_eq!(outcome(&reply), Outcome::Refused);
        assert!(began.elapsed() < FAILS_WITHIN, "{:?}", began.elapsed());
        let ctl = node.ctl(&["publish", "other", "x", "--retry-for", "0s"]);
        assert_eq!(ctl.code, Some(3), "{ctl}");
        thread::sleep(Duration::from_millis(500));
    }
}

/// Reads heartbeats until a time. Returns the data that was delivered before.
fn is_open_until(end: Instant, stream: &mut EventStream) -> Vec<String> {
    let (mut heartbeats, mut data) = (0, Vec::new());
    while Instant::now() < end {
        let line = stream.line().unwrap().expect("the stream stays open");
        heartbeats += u32::from(line == ":\n");
        data.extend(line.strip_prefix("data: ").map(|data| data.trim_end().to_owned()));
    }
    assert!(heartbeats > 3, "{heartbeats} heartbeats");
    data
}
