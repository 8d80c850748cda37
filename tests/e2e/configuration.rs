//! What the daemon is told, and what it logs.

use std::fs;

use serde_json::Value;

use crate::harness::{Daemon, Place, Process, until};

#[test]
fn a_check_says_that_all_is_well_and_starts_nothing() {
    let place = Place::new();
    let file = place.file("config.toml", "history_events = 5\n[limits]\ntopics = 7\n");
    let mut busd = place.busd();
    busd.args(["--check", "--config", &file]);
    let run = Process::start(busd).finish().ok();
    assert!(run.stdout.contains("sound"), "{run}");
    assert!(!place.path("sse-bus").exists());
}

#[test]
fn what_is_wrong_with_a_configuration_is_told_with_its_place() {
    let place = Place::new();
    for (toml, named) in [
        ("lissten = \"127.0.0.1:0\"", "lissten"),
        ("[limits]\ntopicks = 3", "topicks"),
        ("history_age = \"soon\"", "history_age"),
        ("listen = 7", "listen"),
        ("history_events = ", "line 1"),
        ("listen = \"0.0.0.0:80\"", "loopback"),
        ("allow_origin = [\"localhost\"]", "localhost"),
        ("log = \"a=b=c\"", "log = "),
    ] {
        let file = place.file("config.toml", toml);
        let mut busd = place.busd();
        busd.args(["--check", "--config", &file]);
        Process::start(busd).finish().ends_with(2).says(named);
    }
    place.busd_fails(&["--history-bytes", "lots"]).ends_with(2).says("--history-bytes");
    let mut busd = place.busd();
    busd.args(["--config", "missing.toml"]);
    Process::start(busd).finish().ends_with(2).says("missing.toml");
}

#[test]
fn the_files_of_tls_go_together() {
    let place = Place::new();
    let file = place.file("some.pem", "");
    place.busd_fails(&["--check", "--tls-cert", &file]).ends_with(2).says("tls_cert = ").says("--tls-key");
    place.busd_fails(&["--check", "--tls-key", &file]).ends_with(2).says("tls_key = ").says("--tls-cert");
    if cfg!(not(feature = "tls")) {
        let run = place.busd_fails(&["--check", "--tls-cert", &file, "--tls-key", &file]).ends_with(2);
        run.says("without TLS").says("--features tls");
    }
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let place = Place::new();
    let file = place.file("config.toml", "history_events = 2\nhistory_bytes = \"1MiB\"\nhistory_budget = \"3MiB\"\n");
    let flags = ["--listen", "127.0.0.1:0", "--config", &file, "--history-bytes", "2MiB"];
    let socket = place.socket();
    let daemon = Daemon::of_command(place, flags.map(ToOwned::to_owned).to_vec(), |command| {
        command.env("SSE_BUS_SOCKET", socket).env("SSE_BUS_HISTORY_EVENTS", "4").env("SSE_BUS_HISTORY_BYTES", "5");
        // Empty ones count as unset.
        command.env("SSE_BUS_HISTORY_BUDGET", "").env("SSE_BUS_LOG", "").env("SSE_BUS_CHECK", "");
    });
    for n in 0..10 {
        daemon.publish("t", n.to_string());
    }
    let status = daemon.status();
    assert_eq!((&status["history_events"], &status["history_budget"]), (&4.into(), &(3 << 20).into()));
}

#[test]
fn the_users_own_configuration_is_found() {
    let place = Place::new();
    fs::create_dir(place.path("sse-bus")).unwrap();
    place.file("sse-bus/config.toml", "lissten = 1\n");
    let mut busd = place.busd();
    busd.arg("--check");
    let run = Process::start(busd).finish();
    // macOS and Linux have it in different places; this one is Linux's.
    if cfg!(target_os = "linux") {
        run.ends_with(2).says("sse-bus/config.toml").says("lissten");
    }
    place.busd_fails(&["--check"]).ok();
}

#[test]
fn who_comes_and_goes_is_logged_with_id_and_name_and_without_colours() {
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
    until("all is logged", || {
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
    until("the publisher has gone", || (daemon.status()["publishers"] == 0).then_some(()));
    assert!(!daemon.log().contains("publisher"));
}
