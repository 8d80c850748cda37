//! Crashes of the daemon, with history on disk, while clients use it over HTTP: no event is missing, and none arrives twice.

use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    harness::{Daemon, Sandbox, until},
    remote::url,
};

const CRASHES: usize = 5;

#[test]
fn a_subscriber_and_a_publisher_over_http_lose_nothing_in_crashes() {
    let sandbox = Sandbox::new();
    let state = sandbox.path("state").display().to_string();
    let mut daemon = Daemon::start_at(sandbox, &["--no-config", "--history", "disk", "--state-dir", &state]);
    let (url, address) = (url(&daemon), daemon.address.to_string());
    let mut subscriber = daemon.spawn_ctl(&["--url", &url, "subscribe", "t", "--since", "all", "--format", "json"]);
    daemon.wait_for_subscribers(1);
    let lines = ["--url", &url, "publish", "t", "--lines", "--ack", "durable", "--retry-for", "forever"];
    let mut publisher = daemon.spawn_ctl(&lines);
    let mut stdin = publisher.take_stdin();
    let has_ended = Arc::new(AtomicBool::new(false));
    let stop = has_ended.clone();
    let feeder = thread::spawn(move || {
        let mut fed = 0;
        while !stop.load(Ordering::Relaxed) {
            stdin.write_all(format!("{fed}\n").as_bytes()).unwrap();
            fed += 1;
            thread::sleep(Duration::from_micros(500));
        }
        fed
    });
    for _ in 0..CRASHES {
        until("lines are published", || (daemon.status()["published"].as_u64() > Some(100)).then_some(()));
        daemon.kill();
        daemon.start_again_as(|command| {
            command.args(["--listen", &address]);
        });
    }
    until("lines are published", || (daemon.status()["published"].as_u64() > Some(100)).then_some(()));
    has_ended.store(true, Ordering::Relaxed);
    let fed: usize = feeder.join().unwrap();
    let run = publisher.finish().ok();
    assert_eq!(run.json(), [json!({"accepted": fed, "refused": 0})]);
    assert_eq!(run.stderr.matches("reconnected").count(), CRASHES, "{run}");

    daemon.ctl(&["publish", "t", "the end"]).ok();
    let mut received = Vec::new();
    while received.last().is_none_or(|event: &Value| event["data"] != "the end") {
        received.push(serde_json::from_str::<Value>(&subscriber.line()).unwrap());
    }
    let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    // A crash may lose events that were delivered and not yet on disk. Such events were not answered, and are published again.
    let (events, gaps): (Vec<_>, Vec<_>) = received.iter().partition(|event| event["topic"] == "t");
    let mut by_id = BTreeMap::new();
    for event in &events {
        let before = by_id.insert(text(event, "id"), text(event, "data"));
        assert_eq!(before, None, "the event {event} arrived twice");
    }
    for event in daemon.ctl(&["history", "t", "--format", "json"]).ok().json() {
        assert_eq!(by_id.get(&text(&event, "id")), Some(&text(&event, "data")), "missing or different; gaps: {gaps:?}");
    }
    let mut lines: Vec<usize> = events.iter().filter_map(|event| text(event, "data").parse().ok()).collect();
    let kept = daemon.ctl(&["history", "t", "--format", "data"]).ok().stdout;
    let kept = kept.lines().filter_map(|line| line.parse::<usize>().ok());
    assert!(kept.eq(0..fed), "{fed} lines were fed, and history has others, or some of them twice");
    // Of each crash only the lines without an answer are there again, from one position on.
    let steps_back = lines.windows(2).filter(|pair| pair[0] >= pair[1]).count();
    assert!(steps_back <= CRASHES, "{steps_back} steps back:\n{lines:?}");
    println!("{fed} lines, {} of them again, {} gaps: {gaps:?}", lines.len().saturating_sub(fed), gaps.len());
    lines.sort_unstable();
    lines.dedup();
    assert!(lines.into_iter().eq(0..fed), "{fed} lines were fed");
}
