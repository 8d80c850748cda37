//! `sse-busctl work` without a command: deliveries as lines of stdout, answers as lines of stdin.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Daemon, Process, until};

fn with_consumer(more: &[&str]) -> Daemon {
    let daemon = Daemon::start(&[]);
    daemon.ctl(&[&["consumer", "create", "q", "jobs/**", "--backoff", "20ms"], more].concat()).ok();
    daemon
}

/// The next delivery of a worker: its data, its attempt, and its token.
fn delivery(worker: &mut Process) -> (String, u64, Value) {
    let event: Value = serde_json::from_str(&worker.line()).unwrap();
    let delivery = &event["delivery"];
    (event["data"].as_str().unwrap().into(), delivery["attempt"].as_u64().unwrap(), delivery["token"].clone())
}

fn answer(worker: &mut Process, answer: &Value) {
    worker.feed(format!("{answer}\n").as_bytes());
}

fn wait_for(daemon: &Daemon, field: &str, value: u64) {
    until(&format!("{field} = {value}"), || {
        (daemon.ctl(&["consumer", "show", "q"]).ok().json()[0][field] == value).then_some(())
    });
}

#[test]
fn lines_of_stdin_settle_deliveries() {
    let daemon = with_consumer(&[]);
    for before in [vec![], vec!["--url".to_owned(), format!("http://{}", daemon.address)]] {
        let arguments: Vec<_> = before.iter().map(String::as_str).chain(["work", "q"]).collect();
        let mut worker = daemon.spawn_ctl(&arguments);
        for data in ["a", "b"] {
            daemon.publish("jobs/x", data);
        }
        let (data, attempt, token) = delivery(&mut worker);
        assert_eq!((&*data, attempt), ("a", 1));
        answer(&mut worker, &json!({"extend": token}));
        answer(&mut worker, &json!({"release": [token]}));
        let (data, attempt, token) = delivery(&mut worker);
        assert_eq!((&*data, attempt), ("a", 1));
        answer(&mut worker, &json!({"nak": token, "delay_ms": 0}));
        let (data, attempt, token) = delivery(&mut worker);
        assert_eq!((&*data, attempt), ("a", 2));
        answer(&mut worker, &json!({"ack": token}));
        let (data, attempt, token) = delivery(&mut worker);
        assert_eq!((&*data, attempt), ("b", 1));
        answer(&mut worker, &json!({"reject": token, "reason": "no"}));
        wait_for(&daemon, "dead", 1);
        let run = worker.finish().ok();
        assert_eq!(run.stderr, "", "{run}");
        assert_eq!(daemon.ctl(&["dead", "list", "q"]).ok().json()[0]["text"], "no");
        daemon.ctl(&["dead", "drop", "q", "--all"]).ok();
    }
}

#[test]
fn the_end_of_stdin_releases_what_has_no_answer() {
    let daemon = with_consumer(&["--backoff", "1h"]);
    daemon.publish("jobs/x", "a");
    daemon.publish("jobs/x", "b");
    let mut worker = daemon.spawn_ctl(&["work", "q", "-j2"]);
    let (_, _, token) = delivery(&mut worker);
    assert_eq!(delivery(&mut worker).0, "b");
    answer(&mut worker, &json!({"ack": token}));
    worker.finish().ok();
    wait_for(&daemon, "acknowledged", 1);
    let mut worker = daemon.spawn_ctl(&["work", "q", "-n", "1"]);
    let (data, attempt, token) = delivery(&mut worker);
    assert_eq!((&*data, attempt), ("b", 1));
    answer(&mut worker, &json!({"ack": token}));
    worker.finish().ok();
    wait_for(&daemon, "acknowledged", 2);
}

#[test]
fn a_signal_releases_what_has_no_answer() {
    let daemon = with_consumer(&["--backoff", "1h"]);
    daemon.publish("jobs/x", "a");
    let mut worker = daemon.spawn_ctl(&["work", "q"]);
    delivery(&mut worker);
    worker.signal(Signal::TERM);
    worker.finish().ok();
    let mut worker = daemon.spawn_ctl(&["work", "q"]);
    assert_eq!(delivery(&mut worker).1, 1);
}

#[test]
fn invalid_lines_and_stale_deliveries_are_reported() {
    let daemon = with_consumer(&["--ack-wait", "100ms"]);
    daemon.publish("jobs/x", "a");
    let mut worker = daemon.spawn_ctl(&["work", "q", "-j2"]);
    let (_, _, stale) = delivery(&mut worker);
    // Its deadline passes.
    assert_eq!(delivery(&mut worker).1, 2);
    answer(&mut worker, &json!({"ack": stale}));
    worker.stderr.wait_for("no longer current");
    for (line, message) in [
        ("ack", "a line of stdin is ignored: expected value"),
        (r#"{"done":"x"}"#, "unknown field `done`"),
        (r#"{"ack":"x","nak":"y"}"#, "it needs one of `ack`"),
        (r#"{"ack":"x"}"#, "there is no delivery `x` without an answer"),
    ] {
        worker.feed(format!("{line}\n\n").as_bytes());
        worker.stderr.wait_for(message);
    }
    worker.finish().ok();
}
