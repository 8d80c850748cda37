//! As many workers as a bus may have, each with a connection of its own.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use sse_bus::limits::WORKERS_MAX;

use crate::{
    harness::{Daemon, Lines},
    work_durable::{create, show, work},
};

/// Publishes that are sent before their replies are read.
const AT_ONCE: usize = 100;

#[test]
#[ignore = "needs descriptors: it opens 10,000 connections"]
fn ten_thousand_workers_share_the_events_and_the_next_one_is_refused() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let daemon = Daemon::start(&[]);
    create(&daemon, "jobs", &json!({"filters": ["jobs/*"], "max_in_flight": WORKERS_MAX}));
    let mut workers: Vec<Lines> = (0..WORKERS_MAX).map(|_| work(&daemon, "jobs", 1)).collect();
    let refused = daemon.lines().ask(r#"{"consume":{"consumer":"jobs"}}"#);
    assert_eq!(refused["error"]["code"], "limit_workers");
    assert!(refused["error"]["message"].as_str().unwrap().contains("`workers` = 10000"), "{refused}");

    let mut publisher = daemon.lines();
    for first in (0..WORKERS_MAX).step_by(AT_ONCE) {
        let publish = |number| json!({"publish": {"topic": "jobs/a", "data": number}}).to_string();
        publisher.send_raw((first..first + AT_ONCE).map(publish).collect::<Vec<_>>().join("\n") + "\n");
        for _ in 0..AT_ONCE {
            assert!(publisher.reply()["published"].is_object());
        }
    }
    // Each has one, so that none waits while another has two.
    let mut data: Vec<u64> = Vec::new();
    for worker in &mut workers {
        let event = worker.event();
        data.push(event["data"].as_str().unwrap().parse().unwrap());
        let settled = worker.ask(json!({"ack": {"tokens": [event["delivery"]["token"]]}}).to_string());
        assert_eq!(settled["settled"]["deliveries"], 1);
    }
    data.sort_unstable();
    assert_eq!(data, (0..WORKERS_MAX as u64).collect::<Vec<_>>());
    let Value::Object(info) = show(&daemon, "jobs") else { panic!("no consumer") };
    assert_eq!((&info["workers"], &info["in_flight"]), (&json!(WORKERS_MAX), &json!(0)));
}
