//! SIGHUP: the configuration is reloaded without an effect on clients.

use std::fs;

use rustix::process::Signal;

use crate::harness::{Daemon, until};

/// Writes a configuration, reloads it, and waits until the daemon logs the outcome.
pub(crate) fn reload(daemon: &Daemon, toml: &str, said: &str) {
    let before = daemon.log().len();
    fs::write(daemon.sandbox.path("config.toml"), toml).unwrap();
    daemon.signal(Signal::HUP);
    until(said, || daemon.log()[before..].contains(said).then_some(()));
}

fn status_for(daemon: &Daemon, origin: &str) -> u16 {
    daemon.request("GET", "/status", &[("Origin", origin)], "").status
}

#[test]
fn a_new_configuration_applies_and_ends_no_stream() {
    let daemon = Daemon::configured("history_events = 100\nallow_origin = [\"http://old.example\"]\n");
    let mut stream = daemon.stream("/events/t");
    let mut lines = daemon.lines();
    for n in 0..20 {
        daemon.publish("t", n.to_string());
    }
    assert_eq!(stream.data(20).len(), 20);
    assert_eq!((status_for(&daemon, "http://old.example"), status_for(&daemon, "http://new.example")), (200, 403));

    let toml = "history_events = 5\nallow_origin = [\"http://new.example\"]\n[limits]\nevent_bytes = 10\n";
    reload(&daemon, toml, "read the configuration again");
    assert_eq!((status_for(&daemon, "http://old.example"), status_for(&daemon, "http://new.example")), (403, 200));
    let history = daemon.ctl(&["history", "t"]).ok().json();
    assert_eq!(history.len(), 5, "events outside of the new bound are evicted");
    let refused = daemon.request("POST", "/events/t", &[], "more than ten");
    assert_eq!(refused.refusal(), (413, "limit_event_bytes".into()));
    let refused = lines.ask(r#"{"publish":{"topic":"t","data":"more than ten"}}"#);
    assert_eq!(refused["error"]["code"], "limit_event_bytes");
    daemon.publish("t", "still here");
    assert_eq!(stream.event().data, "still here");
}

#[test]
fn settings_that_need_a_restart_are_named() {
    let daemon = Daemon::configured("log = \"info\"\n");
    let state = daemon.sandbox.path("elsewhere").display().to_string();
    let toml = format!("state_dir = \"{state}\"\nlog_format = \"json\"\nlog = \"debug\"\n");
    reload(&daemon, &toml, "kept=\"state_dir, log_format\"");
    assert_eq!(daemon.status()["state_dir"], daemon.sandbox.path("sse-bus").display().to_string());
    // The log level does change.
    daemon.ctl(&["publish", "t", "x"]).ok();
    until("a debug line", || daemon.log().contains("publisher connected").then_some(()));
}

#[test]
fn an_invalid_configuration_changes_nothing() {
    let daemon = Daemon::configured("allow_origin = [\"http://old.example\"]\n");
    for (toml, said) in [
        ("allow_origin = [\"http://new.example\"]\nlissten = 1\n", "lissten"),
        ("allow_origin = [\"http://new.example\"]\nlog = \"==\"\n", "sse_busd=debug"),
        ("allow_origin = [\"new\"]\n", "new"),
    ] {
        reload(&daemon, toml, "the configuration is unchanged");
        daemon.has_logged(said);
        assert_eq!((status_for(&daemon, "http://old.example"), status_for(&daemon, "http://new.example")), (200, 403));
    }
}

/// Reading the configuration blocks, as on a disk that hangs.
#[cfg(target_os = "linux")]
#[test]
fn an_unreadable_configuration_blocks_nothing() {
    let mut daemon = Daemon::configured("");
    let mut stream = daemon.stream("/events/t");
    let (_keyboard, terminal) = crate::logs::terminal();
    let file = daemon.sandbox.path("config.toml");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&terminal, &file).unwrap();
    daemon.signal(Signal::HUP);
    until("the file is open", || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|path| path == terminal).then_some(())
    });
    daemon.publish("t", "x");
    assert_eq!(stream.data(1), ["x"]);
    let began = std::time::Instant::now();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "it took {:?}", began.elapsed());
}
