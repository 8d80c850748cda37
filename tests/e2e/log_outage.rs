//! A log elsewhere that cannot be reached: what fails meanwhile, and what continues afterwards.

use std::{fs, path::Path};

use crate::harness::{Daemon, Sandbox};

/// Events of which most are before the window.
const EVENTS: u32 = 200;

/// A daemon whose log is away while there is a file `away` at the returned path.
fn daemon() -> (Daemon, std::path::PathBuf) {
    let sandbox = Sandbox::new();
    let away = Path::new(&sandbox.file("log", "")).with_file_name("away");
    let socket = sandbox.socket().display().to_string();
    let flags = ["--no-config", "--listen", "127.0.0.1:0", "--socket", &socket].map(str::to_owned).to_vec();
    let outage = away.clone();
    let daemon = Daemon::of_command(sandbox, flags, |command| {
        command.env("SSE_BUS_DELAYED_LOG", "3").env("SSE_BUS_DELAYED_LOG_OUTAGE", outage);
    });
    (daemon, away)
}

#[test]
fn a_log_that_is_away_refuses_events_and_streams_continue_when_it_is_back() {
    let (daemon, away) = daemon();
    let first = daemon.publish("t", "0");
    for n in 1..EVENTS {
        daemon.publish("t", n.to_string());
    }
    let mut live = daemon.stream("/events/t");
    fs::write(&away, "").unwrap();

    let published = daemon.ctl(&["publish", "t", "lost"]).ends_with(3);
    assert!(published.stderr.contains("the log cannot be reached"), "{published}");
    let (status, code) = daemon.request("POST", "/events/t", &[], "lost").refusal();
    assert_eq!((status, &*code), (503, "unavailable"));
    let mut resumed = daemon.stream_with("/events/t", &[("Last-Event-ID", &first)]);
    let read = daemon.ctl(&["history", "t"]).ends_with(3);
    assert!(read.stderr.contains("the log cannot be reached"), "{read}");

    fs::remove_file(&away).unwrap();
    daemon.publish("t", "back");
    let mut expected: Vec<_> = (1..EVENTS).map(|n| n.to_string()).collect();
    expected.push("back".into());
    assert_eq!(resumed.data(expected.len()), expected);
    assert_eq!(live.data(1), ["back"]);
    let read = daemon.ctl(&["history", "t"]).ends_with(0);
    assert_eq!(read.stdout.lines().count(), EVENTS as usize + 1, "{read}");
}
