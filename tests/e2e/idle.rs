//! Timeouts, in one test, so that they take half a minute together and not two.

use std::io::{ErrorKind, Read, Write};

use serde_json::json;

use crate::{
    harness::{Daemon, Http2},
    work_durable::{create, work},
};

/// Heartbeats every 15 s; a peer that sends nothing is closed after 10 s, one that reads nothing after 30 s, be it a
/// socket or one stream of an HTTP/2 connection.
#[test]
fn idle_streams_are_kept_alive_and_silent_or_stalled_peers_are_closed() {
    let daemon = Daemon::start(&[]);
    let mut hesitant = daemon.tcp();
    hesitant.write_all(b"PRI * HTTP/2.0").unwrap();
    let mut silent = [Box::new(daemon.tcp()) as Box<dyn Read>, Box::new(hesitant), Box::new(daemon.local())];
    let _stuck = daemon.stream("/events/flood?client=stuck");
    let mut stuck_lines = daemon.lines();
    stuck_lines.ask(r#"{"subscribe":{"filters":["flood"],"client":"stuck too"}}"#);
    let http2 = Http2::with_window(daemon.address, 50_000);
    let mut stuck_stream = http2.stream("/events/flood?client=stuck+in+HTTP/2", &[]);
    let mut other_stream = http2.stream("/events/t?client=idle", &[]);
    for _ in 0..80 {
        daemon.publish("flood", "x".repeat(200_000));
    }

    let mut idle = daemon.stream("/events/t?client=idle&position=none");
    assert!(idle.line().unwrap().unwrap().starts_with("retry: "));
    // The interval is less than PATIENCE.
    assert_eq!(idle.line().unwrap().unwrap(), ":\n");
    for peer in &mut silent {
        // A reset, where the daemon had bytes to read.
        let closed =
            peer.read(&mut [0; 10]).or_else(|e| if e.kind() == ErrorKind::ConnectionReset { Ok(0) } else { Err(e) });
        assert_eq!(closed.unwrap(), 0);
    }
    assert_eq!(idle.line().unwrap().unwrap(), ":\n");
    daemon.publish("t", "after the heartbeats");
    assert_eq!(idle.event().data, "after the heartbeats");

    daemon.wait_for_subscribers(2);
    let clients = daemon.get("/clients").json();
    assert!(clients.as_array().unwrap().iter().all(|client| client["name"] == "idle"), "{clients}");
    assert!(daemon.status()["slow_disconnects"].as_u64().unwrap() >= 2);
    assert!(stuck_stream.next().is_err(), "it is reset, not ended");
    assert_eq!(other_stream.data(1), ["after the heartbeats"]);
}

/// The number of times that the daemon's threads have gone to sleep.
#[cfg(target_os = "linux")]
fn waits(daemon: &Daemon) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let texts = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap());
    let of = |text: String| {
        let count = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        count.trim().parse::<u64>().unwrap()
    };
    texts.map(of).sum()
}

/// Fails if the daemon wakes up in each of a few periods.
#[cfg(target_os = "linux")]
fn sleeps(daemon: &Daemon) {
    const WHILE: std::time::Duration = std::time::Duration::from_secs(3);
    let mut rounds = Vec::new();
    while !rounds.contains(&0) {
        assert!(rounds.len() < 3, "wake-ups in {WHILE:?}: {rounds:?}");
        let before = waits(daemon);
        // The time itself is measured: nothing may happen in it.
        std::thread::sleep(WHILE);
        rounds.push(waits(daemon) - before);
    }
    eprintln!("wake-ups in {WHILE:?}: {rounds:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_daemon_without_subscribers_does_not_wake_up() {
    let daemon = Daemon::start(&[]);
    daemon.publish("t", "history does not keep it awake");
    drop(daemon.stream("/events/t"));
    daemon.wait_for_subscribers(0);
    sleeps(&daemon);
}

/// With history on disk, a delivery in flight, and a worker that waits.
#[test]
#[cfg(target_os = "linux")]
fn a_daemon_whose_workers_are_idle_does_not_wake_up() {
    let daemon = Daemon::start(&["--history", "disk"]);
    create(&daemon, "jobs", &json!({"filters": ["t"]}));
    daemon.publish("t", "x");
    let mut workers = [work(&daemon, "jobs", 1), work(&daemon, "jobs", 1)];
    assert_eq!(workers[0].event()["data"], "x");
    sleeps(&daemon);
    daemon.publish("t", "y");
    assert_eq!(workers[1].event()["data"], "y");
}
