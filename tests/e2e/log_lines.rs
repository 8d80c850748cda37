//! What the daemon logs about its clients, as text and as JSON.

use serde_json::Value;

use crate::harness::{Daemon, until};

#[test]
fn connects_and_disconnects_are_logged_with_id_and_name_and_without_colours() {
    let daemon = Daemon::start(&[]);
    let stream = daemon.stream("/events/t?client=tab-42");
    let id = daemon.get("/clients").json()[0]["id"].as_str().unwrap().to_owned();
    drop(stream);
    until("the disconnect is logged", || daemon.log().contains("subscriber disconnected").then_some(()));
    let log = daemon.log();
    for what in ["subscriber connected", "subscriber disconnected"] {
        let line = log.lines().find(|line| line.contains(what)).unwrap();
        assert!(line.contains(&format!("client={id}")) && line.contains("name=\"tab-42\""), "{line}");
    }
    assert!(!log.contains('\x1b'), "{log}");
    assert!(log.contains(&format!("http={}", daemon.address)));
}

#[test]
fn logs_can_be_json() {
    let daemon = Daemon::start(&["--log-format", "json", "--log", "debug"]);
    drop(daemon.stream("/events/t?client=tab\u{2d}1%22%20\\"));
    daemon.ctl(&["publish", "t", "x"]).ok();
    until("all lines are logged", || {
        let log = daemon.log();
        (log.contains("subscriber disconnected") && log.contains("publisher disconnected")).then_some(())
    });
    let log = daemon.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let connected = lines.iter().find(|line| line["message"] == "subscriber connected").unwrap();
    assert_eq!((&connected["level"], &connected["name"]), (&"INFO".into(), &"tab-1\" \\".into()));
    assert_eq!(connected["client"], "c1");
}

#[test]
fn publishers_are_logged_only_when_asked() {
    let daemon = Daemon::start(&[]);
    daemon.ctl(&["publish", "t", "x"]).ok();
    until("the publisher has disconnected", || (daemon.status()["publishers"] == 0).then_some(()));
    assert!(!daemon.log().contains("publisher"));
}
