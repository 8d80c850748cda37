//! Consumers survive restarts and crashes with history on disk, and end with the daemon in memory.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    durable::{FLAGS, history, publish},
    harness::{Daemon, Lines, Sandbox, until},
};

fn start(flags: &[&str]) -> Daemon {
    Daemon::start_at(Sandbox::new(), &[&FLAGS[..], flags].concat())
}

/// Stops the daemon in an orderly way or by a crash, and starts it again.
fn restart(daemon: &mut Daemon, signal: Signal) {
    daemon.signal(signal);
    daemon.wait();
    daemon.start_again();
}

/// Runs an action on a consumer.
pub(crate) fn admin(daemon: &Daemon, name: &str, action: &Value) -> Value {
    daemon.lines().ask(json!({"consumer": {"name": name, "action": action}}).to_string())
}

pub(crate) fn create(daemon: &Daemon, name: &str, config: &Value) {
    let reply = admin(daemon, name, &json!({ "create": config }));
    assert_eq!(reply, json!({"changed": {"count": 1}}));
}

pub(crate) fn show(daemon: &Daemon, name: &str) -> Value {
    admin(daemon, name, &json!("show"))["consumer"].take()
}

/// Makes a connection a worker.
pub(crate) fn work(daemon: &Daemon, consumer: &str, slots: usize) -> Lines {
    let mut lines = daemon.lines();
    let reply = lines.ask(json!({"consume": {"consumer": consumer, "max_in_flight": slots}}).to_string());
    assert_eq!(reply["consuming"]["consumer"], consumer, "{reply}");
    lines
}

/// Data, attempt and token of the next delivery.
fn delivery(worker: &mut Lines) -> (String, u64, String) {
    parse(&worker.event())
}

/// The same behind replies that deliveries were settled.
fn next_delivery(worker: &mut Lines) -> (String, u64, String) {
    loop {
        let reply = worker.reply();
        if reply["settled"].is_null() {
            return parse(&reply["event"]);
        }
    }
}

fn parse(event: &Value) -> (String, u64, String) {
    let delivery = &event["delivery"];
    assert!(delivery.is_object(), "no delivery: {event}");
    let token = delivery["token"].as_str().unwrap().to_owned();
    (event["data"].as_str().unwrap().to_owned(), delivery["attempt"].as_u64().unwrap(), token)
}

fn settle(worker: &mut Lines, how: &str, fields: &Value) {
    assert_eq!(worker.ask(json!({ how: fields }).to_string()), json!({"settled": {"deliveries": 1}}), "{how} {fields}");
}

/// Ends a worker in an orderly way: its deliveries are released.
fn finish(mut worker: Lines) {
    worker.close_sending();
    while worker.next().is_some() {}
}

/// Publishes an event and waits until it and all earlier changes are on disk.
fn publish_durably(daemon: &Daemon, topic: &str, data: &str) {
    let reply = publish(&mut daemon.lines(), topic, data, "durable");
    assert!(reply["published"].is_object(), "{reply}");
}

#[test]
fn a_consumer_continues_after_a_restart_and_after_a_crash() {
    for signal in [Signal::TERM, Signal::KILL] {
        let mut daemon = start(&[]);
        create(&daemon, "jobs", &json!({"filters": ["jobs/*"], "backoff": ["1h"], "max_attempts": 3}));
        for n in 1..=6 {
            daemon.publish(&format!("jobs/{n}"), n.to_string());
        }
        let mut worker = work(&daemon, "jobs", 4);
        let taken: Vec<_> = (0..4).map(|_| delivery(&mut worker)).collect();
        let tokens: Vec<&str> = taken.iter().map(|(.., token)| &**token).collect();
        settle(&mut worker, "ack", &json!({"tokens": [tokens[0]]}));
        assert_eq!(delivery(&mut worker).0, "5");
        settle(&mut worker, "nak", &json!({"tokens": [tokens[1]]}));
        assert_eq!(delivery(&mut worker).0, "6");
        settle(&mut worker, "reject", &json!({"tokens": [tokens[2]], "reason": "not a job"}));
        publish_durably(&daemon, "jobs/7", "7");
        assert_eq!(delivery(&mut worker).0, "7");
        let before = show(&daemon, "jobs");
        restart(&mut daemon, signal);

        let after = show(&daemon, "jobs");
        for same in ["dead", "acknowledged", "died", "created", "ack_wait", "backoff", "max_attempts"] {
            assert_eq!(before[same], after[same], "{same} after {signal:?}");
        }
        // A crash may forget that a delivery has begun.
        if signal == Signal::TERM {
            assert_eq!(before["position"], after["position"]);
        }
        // What was in flight is delivered again, and its attempt does not count. Job 2 has failed once.
        let mut worker = work(&daemon, "jobs", 10);
        let again: Vec<_> = (0..5).map(|_| delivery(&mut worker)).map(|(data, attempt, _)| (data, attempt)).collect();
        let expected = [("2", 2), ("4", 1), ("5", 1), ("6", 1), ("7", 1)];
        assert_eq!(again, expected.map(|(data, attempt)| (data.to_owned(), attempt)), "after {signal:?}");
        let dead = admin(&daemon, "jobs", &json!({"dead": {}}));
        let letter = &dead["dead_letters"][0];
        assert_eq!(
            (&letter["reason"], &letter["text"], &letter["attempts"]),
            (&json!("rejected"), &json!("not a job"), &json!(1)),
            "{dead}"
        );
        // A token of the earlier daemon is stale.
        let refused = worker.ask(json!({"ack": {"tokens": [tokens[3]]}}).to_string());
        assert_eq!(refused["error"]["code"], "stale_delivery", "{refused}");
        // A retried dead letter begins anew, and is not a dead letter after another crash.
        assert_eq!(admin(&daemon, "jobs", &json!({"retry_dead": {"all": true}})), json!({"changed": {"count": 1}}));
        let (data, attempt, _) = delivery(&mut worker);
        assert_eq!((&*data, attempt), ("3", 1));
        restart(&mut daemon, Signal::KILL);
        assert_eq!((&show(&daemon, "jobs")["dead"], &show(&daemon, "jobs")["waiting"]), (&json!(0), &json!(6)));
    }
}

#[test]
fn what_a_reply_confirms_survives_a_crash() {
    let mut daemon = start(&[]);
    // There is no event yet.
    create(&daemon, "early", &json!({"filters": ["t"]}));
    restart(&mut daemon, Signal::KILL);
    assert_eq!(show(&daemon, "early")["filters"], json!(["t"]));
    for n in 0..5 {
        publish_durably(&daemon, "t", &n.to_string());
    }
    for name in ["deleted", "recreated", "moved"] {
        create(&daemon, name, &json!({"filters": ["t"], "from": "all"}));
        let mut worker = work(&daemon, name, 3);
        (0..3).for_each(|_| drop(delivery(&mut worker)));
    }
    restart(&mut daemon, Signal::KILL);
    let changed = json!({"changed": {"count": 1}});
    assert_eq!(admin(&daemon, "early", &json!("pause")), changed);
    assert_eq!(admin(&daemon, "moved", &json!({"seek": {"to": "latest"}})), changed);
    assert_eq!(admin(&daemon, "deleted", &json!("delete")), changed);
    assert_eq!(admin(&daemon, "recreated", &json!("delete")), changed);
    create(&daemon, "recreated", &json!({"filters": ["t"]}));
    restart(&mut daemon, Signal::KILL);
    assert_eq!(show(&daemon, "early")["paused"], true);
    let mut worker = work(&daemon, "moved", 10);
    assert_eq!(delivery(&mut worker).0, "4");
    assert_eq!(admin(&daemon, "deleted", &json!("show"))["error"]["code"], "consumer_unknown");
    let recreated = show(&daemon, "recreated");
    assert_eq!((&recreated["waiting"], &recreated["pending"]), (&json!(0), &json!(0)), "{recreated}");
    assert_eq!(admin(&daemon, "moved", &json!("show"))["consumer"]["pending"], 0);
}

#[test]
fn events_beyond_the_bounds_stay_in_the_files_until_they_are_acknowledged() {
    let mut daemon = start(&["--history-events", "3"]);
    create(&daemon, "all", &json!({"filters": ["t"], "max_in_flight": 1000}));
    for n in 0..200 {
        daemon.publish("t", n.to_string());
    }
    publish_durably(&daemon, "t", "200");
    for signal in [Signal::KILL, Signal::TERM] {
        restart(&mut daemon, signal);
        assert_eq!(history(&daemon, "t").len(), 3, "subscribers do not receive them");
        let mut worker = work(&daemon, "all", 1000);
        for n in 0..=200 {
            assert_eq!(delivery(&mut worker).0, n.to_string(), "after {signal:?}");
        }
        finish(worker);
    }
    // Acknowledged events leave the files.
    let mut worker = work(&daemon, "all", 1000);
    let tokens: Vec<String> = (0..=200).map(|_| delivery(&mut worker).2).collect();
    let reply = worker.ask(json!({"ack": {"tokens": tokens}}).to_string());
    assert_eq!(reply, json!({"settled": {"deliveries": 201}}));
    publish_durably(&daemon, "other", "x");
    restart(&mut daemon, Signal::TERM);
    let info = show(&daemon, "all");
    let done = (&info["acknowledged"], &info["pending"], &info["waiting"], &info["missed"]);
    assert_eq!(done, (&json!(201), &json!(0), &json!(0), &json!(0)), "{info}");
    admin(&daemon, "all", &json!({"seek": {"to": "all"}}));
    assert_eq!(delivery(&mut work(&daemon, "all", 1)).0, "198");
}

#[test]
fn a_consumer_reads_events_that_are_on_disk_only_in_order() {
    // Two times what stays in memory.
    const EVENTS: usize = 250;
    let mut daemon = start(&[]);
    create(&daemon, "large", &json!({"filters": ["t"]}));
    let data = "x".repeat(64 << 10);
    for n in 0..EVENTS {
        daemon.publish("t", format!("{n} {data}"));
    }
    publish_durably(&daemon, "t", "last x");
    for signal in [None, Some(Signal::KILL)] {
        if let Some(signal) = signal {
            restart(&mut daemon, signal);
        }
        for slots in [1, 30] {
            let mut worker = work(&daemon, "large", slots);
            for n in 0..EVENTS {
                let (data, attempt, token) = next_delivery(&mut worker);
                assert_eq!((data.split(' ').next(), attempt), (Some(&*n.to_string()), 1));
                worker.send(json!({"ack": {"tokens": [token]}}).to_string());
            }
            assert_eq!(next_delivery(&mut worker).0, "last x");
            finish(worker);
            admin(&daemon, "large", &json!({"seek": {"to": "all"}}));
        }
    }
}

#[test]
fn deadlines_and_delays_end_without_any_traffic() {
    for has_subscriber in [false, true] {
        let daemon = Daemon::start(&[]);
        create(
            &daemon,
            "jobs",
            &json!({"filters": ["t"], "ack_wait": "100ms", "backoff": ["50ms"], "max_attempts": 3}),
        );
        let _stream = has_subscriber.then(|| daemon.stream("/events/other"));
        daemon.publish("t", "x");
        let mut worker = work(&daemon, "jobs", 1);
        let first = delivery(&mut worker);
        assert_eq!((&*first.0, first.1), ("x", 1));
        assert_eq!(delivery(&mut worker).1, 2, "the deadline has passed");
        let (_, attempt, token) = delivery(&mut worker);
        assert_eq!(attempt, 3);
        settle(&mut worker, "nak", &json!({"tokens": [token], "delay_ms": 150}));
        until("the event is dead after its last attempt", || (show(&daemon, "jobs")["dead"] == 1).then_some(()));
        let refused = worker.ask(json!({"ack": {"tokens": [first.2]}}).to_string());
        assert_eq!(refused["error"]["code"], "stale_delivery", "{refused}");
    }
}

#[test]
fn consumers_in_memory_work_and_end_with_the_daemon() {
    let mut daemon = Daemon::start(&[]);
    create(&daemon, "jobs", &json!({"filters": ["t"]}));
    daemon.publish("t", "x");
    let (_, _, token) = delivery(&mut work(&daemon, "jobs", 1));
    // The connection is closed: the attempt has failed, and the token is stale.
    until("the worker is removed", || (show(&daemon, "jobs")["workers"] == 0).then_some(()));
    let refused = daemon.lines().ask(json!({"ack": {"tokens": [token]}}).to_string());
    assert_eq!(refused["error"]["code"], "stale_delivery", "{refused}");
    let mut worker = work(&daemon, "jobs", 1);
    let (_, attempt, token) = delivery(&mut worker);
    assert_eq!(attempt, 2);
    settle(&mut worker, "ack", &json!({"tokens": [token]}));
    restart(&mut daemon, Signal::TERM);
    assert_eq!(admin(&daemon, "jobs", &json!("show"))["error"]["code"], "consumer_unknown");
}

#[test]
fn consumers_continue_while_the_disk_fails() {
    let mut daemon = start(&[]);
    create(&daemon, "jobs", &json!({"filters": ["t"]}));
    // The files are removed, so that no write succeeds under their names until new ones are written.
    let folder = daemon.sandbox.path("sse-bus");
    let aside = daemon.sandbox.path("aside");
    std::fs::rename(&folder, &aside).unwrap();
    daemon.publish("t", "x");
    let mut worker = work(&daemon, "jobs", 1);
    let (_, _, token) = delivery(&mut worker);
    settle(&mut worker, "ack", &json!({"tokens": [token]}));
    until("the status shows the error", || daemon.status()["history_error"].is_string().then_some(()));
    std::fs::rename(&aside, &folder).unwrap();
    until("the files are written again", || daemon.status()["history_error"].is_null().then_some(()));
    daemon.publish("t", "y");
    assert_eq!(delivery(&mut worker).0, "y");
    publish_durably(&daemon, "t", "z");
    restart(&mut daemon, Signal::KILL);
    assert_eq!(show(&daemon, "jobs")["acknowledged"], 1);
    assert_eq!(delivery(&mut work(&daemon, "jobs", 1)).0, "y");
}

/// The memory of the daemon holds the newest events only, and what was restored is on disk only.
#[test]
fn a_dead_letter_keeps_its_data_across_restarts_and_crashes() {
    for signal in [Signal::TERM, Signal::KILL] {
        let mut daemon = start(&[]);
        create(&daemon, "jobs", &json!({"filters": ["jobs/*"]}));
        let mut worker = work(&daemon, "jobs", 3);
        for data in ["first", "second", "third"] {
            publish_durably(&daemon, "jobs/a", data);
            let (_, _, token) = next_delivery(&mut worker);
            settle(&mut worker, "reject", &json!({"tokens": [token], "reason": "bad"}));
        }
        // What is written after them is on disk.
        publish_durably(&daemon, "other", "end");
        drop(worker);
        restart(&mut daemon, signal);
        let letters = daemon.ctl(&["dead", "list", "jobs", "--json"]).ok().json();
        let data: Vec<_> = letters.iter().map(|letter| &letter["data"]).collect();
        assert_eq!(data, ["first", "second", "third"], "{signal:?}");
        let id = letters[1]["id"].as_str().unwrap();
        let one = daemon.request_locally("GET", &format!("/consumers/jobs/dead?id={id}"), "").json();
        assert_eq!(one[0]["data"], "second");
    }
}
