//! History files are removed or replaced while the daemon runs; and renames are synced.

use std::{fs, path::Path};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    durable::{FLAGS, file, history, publish},
    harness::{Daemon, Process, Sandbox, until},
    tokens::token,
};

/// Data of the events of a topic.
fn data(daemon: &Daemon, topic: &str) -> Vec<Value> {
    history(daemon, topic).iter().map(|event| event["data"].clone()).collect()
}

/// Checks that, whatever `remove` does to the state directory, no publish is acknowledged as durable while its file has
/// no name, the fault is reported everywhere, and then all events are written to new files.
fn is_reported_and_written_anew(remove: impl Fn(&Path)) {
    // More than the part of history that stays in memory.
    let mut daemon = Daemon::start_at(Sandbox::new(), &FLAGS);
    let mut lines = daemon.lines();
    let big = "x".repeat(250_000);
    let mut expected = vec![Value::from("first")];
    assert!(publish(&mut lines, "t", "first", "durable")["published"].is_object());
    for _ in 0..39 {
        assert!(publish(&mut lines, "t", &big, "accepted")["published"].is_object());
        expected.push(big.clone().into());
    }
    assert!(publish(&mut lines, "t", "last", "durable")["published"].is_object());
    expected.push("last".into());

    remove(file(&daemon).parent().unwrap());
    let refused = publish(&mut lines, "t", "refused", "durable")["error"].clone();
    expected.push("refused".into());
    assert_eq!(refused["code"], "not_durable", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("sse-bus/history."), "{refused}");
    assert!(daemon.status()["history_error"].as_str().unwrap().contains("history."));
    assert_eq!(daemon.get("/healthz").status, 503);
    assert!(daemon.metric("sse_bus_history_failing") > 0.0);
    daemon.has_logged("cannot be written to disk");

    until("it recovers", || (daemon.get("/healthz").status == 200).then_some(()));
    assert_eq!(daemon.status()["history_error"], Value::Null);
    assert!(publish(&mut lines, "t", "again", "durable")["published"].is_object());
    expected.push("again".into());
    assert!(data(&daemon, "t") == expected, "events that are no longer in memory are read, too");
    daemon.kill();
    daemon.start_again();
    assert!(data(&daemon, "t") == expected, "all published events are there after a crash");
}

#[test]
fn a_removed_state_directory_is_reported_and_created_anew() {
    is_reported_and_written_anew(|state| fs::remove_dir_all(state).unwrap());
}

#[test]
fn a_removed_file_is_reported_and_written_anew() {
    is_reported_and_written_anew(|state| fs::remove_file(state.join("history.redb")).unwrap());
    is_reported_and_written_anew(|state| fs::remove_file(state.join("history.tail")).unwrap());
}

#[test]
fn a_replaced_file_is_reported_and_written_anew() {
    is_reported_and_written_anew(|state| {
        fs::copy(state.join("history.redb"), state.join("copy")).unwrap();
        fs::rename(state.join("copy"), state.join("history.redb")).unwrap();
    });
}

#[test]
fn a_daemon_that_stops_writes_its_history_to_files_with_names() {
    let mut daemon = Daemon::start_at(Sandbox::new(), &FLAGS);
    daemon.publish("t", "one");
    let state = file(&daemon).parent().unwrap().to_owned();
    until("it is in the database", || {
        let mut lines = daemon.lines();
        publish(&mut lines, "u", "x", "durable")["published"].is_object().then_some(())
    });
    fs::remove_dir_all(state).unwrap();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    daemon.start_again();
    assert_eq!(data(&daemon, "t"), ["one"]);
}

#[test]
#[ignore = "needs strace: shows what is synced"]
fn a_revoked_token_stays_revoked_after_a_power_failure() {
    let sandbox = Sandbox::new();
    token(&sandbox, &["--name", "a"]);
    let busctl = sandbox.busctl(&["token", "revoke", "a"]);
    let trace = sandbox.path("trace");
    let mut traced = sandbox.command("strace");
    traced.args(["-f", "-y", "-e", "trace=rename,renameat,renameat2,fsync", "-o"]).arg(&trace);
    traced.arg(busctl.get_program()).args(busctl.get_args());
    Process::start(traced).finish().ok();
    let trace = fs::read_to_string(trace).unwrap();
    let (before, after) = trace.split_once("rename").expect("the new file is renamed over the old one");
    assert!(before.contains("tokens.new>) = 0"), "the new file is synced: {trace}");
    assert!(after.contains("fsync(") && after.contains("/sse-bus>) = 0"), "and then its directory: {trace}");
}
