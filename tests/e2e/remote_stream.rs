//! `sse-busctl subscribe --url`: a subscription over HTTP resumes like one over the local socket.

use std::{fmt::Write as _, process::Command};

use serde_json::json;

use crate::{
    harness::{Daemon, Process, Sandbox, until},
    remote::url,
};

#[test]
fn a_subscription_resumes_after_the_last_event() {
    let daemon = Daemon::start(&[]);
    let mut subscriber = daemon.spawn_ctl(&["--url", &url(&daemon), "subscribe", "t", "--format", "data"]);
    daemon.wait_for_subscribers(1);
    daemon.publish("other", "before");
    daemon.publish("t", "1");
    assert_eq!(subscriber.line(), "1");
    // Published while nobody is connected, and before the client knows its new id.
    let client = daemon.get("/clients").json()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(daemon.request("DELETE", &format!("/clients/{client}"), &[], "").status, 200);
    for n in 2..=5 {
        daemon.publish("t", n.to_string());
    }
    for n in 2..=5 {
        assert_eq!(subscriber.line(), n.to_string());
    }
    subscriber.stderr.wait_for("reconnecting");
    subscriber.stderr.wait_for("reconnected; resuming from");
}

/// Before the first event, the client resumes from where the stream began.
#[test]
fn a_subscription_without_events_resumes_from_its_beginning() {
    let daemon = Daemon::start(&[]);
    for since in [&[][..], &["--since", "now"], &["--since", "latest"], &["--since", "all"]] {
        daemon.publish("old", "x");
        let url = url(&daemon);
        let args = [&["--url", &url, "subscribe", "t", "--format", "data"], since].concat();
        let mut subscriber = daemon.spawn_ctl(&args);
        daemon.wait_for_subscribers(1);
        let client = daemon.get("/clients").json()[0]["id"].as_str().unwrap().to_owned();
        daemon.request("DELETE", &format!("/clients/{client}"), &[], "");
        let data = format!("after {since:?}");
        daemon.publish("t", &data);
        while subscriber.line() != data {}
        drop(subscriber);
        daemon.wait_for_subscribers(0);
    }
}

#[test]
fn retained_events_arrive_first_and_the_events_of_the_bus_have_no_id() {
    let daemon = Daemon::start(&[]);
    daemon.ctl(&["publish", "a", "kept", "--retain"]).ok();
    let mut subscriber =
        daemon.spawn_ctl(&["--url", &url(&daemon), "subscribe", "a", "$sys/clients", "--client", "me"]);
    let first: serde_json::Value = serde_json::from_str(&subscriber.line()).unwrap();
    assert_eq!((&first["data"], &first["topic"]), (&json!("kept"), &json!("a")));
    let _stream = daemon.stream("/events/a?client=other");
    let join: serde_json::Value = serde_json::from_str(&subscriber.line()).unwrap();
    assert_eq!((&join["id"], &join["type"]), (&json!(null), &json!("join")));
    assert!(join["data"].as_str().unwrap().contains("other"), "{join}");
}

#[test]
fn a_restart_without_history_is_reported_as_a_gap() {
    let mut daemon = Daemon::start(&[]);
    let address = daemon.address.to_string();
    let mut subscriber = daemon.spawn_ctl(&["--url", &url(&daemon), "subscribe", "t"]);
    daemon.wait_for_subscribers(1);
    daemon.publish("t", "1");
    assert!(subscriber.line().contains("\"data\":\"1\""));
    daemon.kill();
    subscriber.stderr.wait_for("reconnecting");
    daemon.start_again_as(|command| {
        command.args(["--listen", &address]);
    });
    let gap: serde_json::Value = serde_json::from_str(&subscriber.line()).unwrap();
    assert_eq!((&gap["topic"], &gap["type"]), (&json!("$gap"), &json!("$gap")), "{gap}");
    assert!(gap["data"].as_str().unwrap().contains("\"restarted\""), "{gap}");
    daemon.publish("t", "2");
    assert!(subscriber.line().contains("\"data\":\"2\""));
}

#[test]
fn lines_survive_a_restart() {
    let mut daemon = Daemon::start(&[]);
    let address = daemon.address.to_string();
    let mut publisher = daemon.spawn_ctl(&["--url", &url(&daemon), "publish", "t", "--lines"]);
    publisher.feed(b"1\n2\n");
    until("two events", || (daemon.status()["published"] == 2).then_some(()));
    daemon.kill();
    publisher.feed(b"3\n");
    publisher.stderr.wait_for("reconnecting");
    daemon.start_again_as(|command| {
        command.args(["--listen", &address]);
    });
    publisher.stderr.wait_for("reconnected");
    publisher.finish().ok().says("3 events accepted");
    // The first two are published again if their responses were lost.
    let past = daemon.ctl(&["history", "t", "--format", "data"]).ok().stdout;
    assert!(["3\n", "2\n3\n", "1\n2\n3\n"].contains(&&*past), "{past}");
}

/// A browser reconnects only after status 200, so the reason is in the stream.
#[test]
fn a_daemon_that_is_full_is_reported_as_a_limit() {
    let daemon = Daemon::configured("[limits]\nsubscribers = 1\n");
    let _stream = daemon.stream("/events/t");
    let run = daemon.ctl(&["--url", &url(&daemon), "subscribe", "t"]).ends_with(7);
    run.says("limit_subscribers");
}

/// nginx with its default buffering, which the headers of the daemon turn off for streams.
fn nginx(sandbox: &Sandbox, port: u16, daemon: &Daemon) -> Process {
    let folder = sandbox.path("nginx");
    std::fs::create_dir(&folder).unwrap();
    let folder = folder.display();
    let mut temporary = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = write!(temporary, "{kind}_temp_path {folder}/{kind};");
    }
    let file = sandbox.file(
        "nginx.conf",
        format!(
            "daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log stderr; \
             events {{ worker_connections 64; }} \
             http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port}; \
             location /bus/ {{ proxy_pass http://{}/; }} }} }}",
            daemon.address
        ),
    );
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-c", &file]);
    Process::start(command)
}

/// A port that is free now.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
#[ignore = "needs nginx: forwards to the daemon"]
fn all_commands_work_through_nginx_below_a_path() {
    let daemon = Daemon::start(&[]);
    let port = free_port();
    let base = format!("http://127.0.0.1:{port}/bus");
    let proxy = nginx(&daemon.sandbox, port, &daemon);
    let remote = |args: &[&str]| daemon.ctl(&[&["--url", &base], args].concat());
    until("nginx answers", || (remote(&["status"]).code == Some(0)).then_some(()));
    // An event arrives at once.
    let mut subscriber = daemon.spawn_ctl(&["--url", &base, "subscribe", "a/é", "--format", "data"]);
    daemon.wait_for_subscribers(1);
    remote(&["publish", "a/é", "1"]).ok();
    assert_eq!(subscriber.line(), "1");
    let lines: Vec<String> = (2..20_000).map(|n| n.to_string()).collect();
    daemon.ctl_fed(&["--url", &base, "publish", "a/é", "--lines"], lines.join("\n").as_bytes()).ok();
    for line in lines {
        assert_eq!(subscriber.line(), line);
    }
    assert!(!remote(&["history", "**"]).ok().stdout.is_empty());
    let name = remote(&["clients"]).ok().json()[0]["id"].as_str().unwrap().to_owned();
    remote(&["kick", &name]).ok();
    subscriber.stderr.wait_for("reconnected; resuming from");
    // The path is part of the URL.
    daemon.ctl(&["--url", &format!("http://127.0.0.1:{port}"), "status"]).ends_with(1).says("404");
    drop(proxy);
    remote(&["status"]).ends_with(3);
}
