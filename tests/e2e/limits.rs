//! Configured limits: each refuses with its own code, and existing clients are not affected.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
};

use crate::harness::{Daemon, Process, Sandbox, after, until};

#[test]
fn topics() {
    let daemon = Daemon::configured("[limits]\ntopics = 3\n");
    for topic in ["a", "b", "c"] {
        daemon.publish(topic, "x");
    }
    let response = daemon.request("POST", "/events/d", &[], "x");
    assert_eq!(response.refusal(), (429, "limit_topics".into()));
    assert!(response.text().contains("`topics` = 3"), "{}", response.text());
    // It stays connected: a disconnect would be an event of the stream below.
    let mut publisher = daemon.lines();
    let reply = publisher.ask(r#"{"publish":{"topic":"d","data":"x"}}"#);
    assert_eq!(reply["error"]["code"], "limit_topics");
    daemon.publish("c", "known topics continue");
    let mut clients = daemon.stream("/events/$sys/clients");
    let _other = daemon.stream("/events/a?client=there");
    assert_eq!(clients.event().json()["name"], "there");
}

#[test]
fn a_topic_without_history_is_removed_for_a_new_one() {
    let daemon = Daemon::configured("history_age = \"300ms\"\n[limits]\ntopics = 2\n");
    daemon.publish("a", "x");
    daemon.publish("b", "x");
    until("a topic is removed", || (daemon.request("POST", "/events/c", &[], "x").status == 202).then_some(()));
}

#[test]
fn subscribers_above_the_limit_reconnect_later() {
    let daemon = Daemon::configured("[limits]\nsubscribers = 2\n");
    let first = daemon.stream("/events/t");
    let mut second = daemon.stream("/events/t");
    // Browsers give up on any other status.
    let mut third = daemon.stream("/events/t");
    let reason = third.line().unwrap().unwrap();
    assert!(reason.starts_with(": {") && reason.contains("\"limit_subscribers\""), "{reason}");
    let retry: u64 = third.line().unwrap().unwrap().strip_prefix("retry: ").unwrap().trim_end().parse().unwrap();
    assert!(retry >= 5000, "{retry}");
    third.ends();
    let reply = daemon.lines().ask(r#"{"subscribe":{"filters":["t"]}}"#);
    assert_eq!(reply["error"]["code"], "limit_subscribers");
    daemon.publish("t", "x");
    assert_eq!(second.data(1), ["x"]);

    drop(first);
    daemon.wait_for_subscribers(1);
    let mut instead = daemon.stream("/events/t?since=all");
    assert_eq!(instead.data(1), ["x"]);
}

#[test]
fn publishers() {
    let daemon = Daemon::configured("[limits]\npublishers = 1\n");
    let mut first = daemon.lines();
    let publish = r#"{"publish":{"topic":"t","data":"x"}}"#;
    assert!(first.ask(publish)["published"].is_object());
    let mut second = daemon.lines();
    assert_eq!(second.ask(publish)["error"]["code"], "limit_publishers");
    assert!(second.ask(r#"{"status":{}}"#)["status"].is_object(), "other requests are answered");
    drop(first);
    until("there is room", || second.ask(publish)["published"].is_object().then_some(()));
}

#[test]
fn retained_events_are_limited() {
    let daemon = Daemon::configured("[limits]\nretained_bytes = 3000\n");
    let large = "x".repeat(1000);
    daemon.publish("a?retain", &large);
    daemon.publish("b?retain", &large);
    let response = daemon.request("POST", "/events/c?retain", &[], &large);
    assert_eq!(response.refusal(), (429, "limit_retained_bytes".into()));
    daemon.publish("c", &large);
    daemon.publish("a?retain", "");
    daemon.publish("c?retain", &large);
}

#[test]
fn event_bytes() {
    let daemon = Daemon::configured("[limits]\nevent_bytes = 4\n");
    daemon.publish("t", "four");
    let response = daemon.request("POST", "/events/t", &[], "fives");
    assert_eq!(response.refusal(), (413, "limit_event_bytes".into()));
    assert!(response.text().contains("`event_bytes` = 4"));
    let run = daemon.ctl(&["publish", "t", "fives"]).ends_with(7);
    assert!(run.stderr.contains("limit_event_bytes"), "{run}");
}

#[test]
fn waiting_unicast_events_are_limited() {
    let daemon = Daemon::configured("[limits]\nunicast_buffer = 200000\n");
    let mut slow = daemon.stream("/events/t?client=slow");
    let data = "x".repeat(100_000);
    let mut taken = 0;
    // Its socket buffers fill up, and then its queue.
    let refused = (0..1000).find(|_| {
        let response = daemon.request("POST", "/events/t?to=slow", &[], &data).json();
        taken += response["subscribers"].as_u64().unwrap();
        response["subscribers"] == 0
    });
    assert!(refused.is_some());
    // Broadcast continues, and accepted events arrive.
    daemon.publish("t", "end");
    for _ in 0..taken {
        assert_eq!(slow.event().data.len(), data.len());
    }
    assert_eq!(slow.event().data, "end");
}

#[test]
fn waiting_replies_are_limited() {
    const TOPICS: usize = 1000;
    const QUESTIONS: usize = 600;
    let daemon = Daemon::start(&[]);
    let mut lines = daemon.lines();
    for n in 0..TOPICS {
        lines.ask(format!(r#"{{"publish":{{"topic":"a/topic/with/a/name/{n}","data":"x"}}}}"#));
    }
    // Small requests with large replies.
    let mut socket = daemon.local();
    socket.write_all("{\"topics\":{}}\n".repeat(QUESTIONS).as_bytes()).unwrap();
    let mut replies = BufReader::new(socket);
    let (mut reply, mut bytes) = (Vec::new(), 0);
    for _ in 0..QUESTIONS {
        reply.clear();
        replies.read_until(b'\n', &mut reply).unwrap();
        assert!(reply.starts_with(br#"{"topics":["#) && reply.ends_with(b"}\n"));
        bytes += reply.len() / 1024;
    }
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")).unwrap();
    let peak: usize = peak.parse().unwrap();
    assert!(peak < bytes / 2, "{peak} KiB for replies of {bytes} KiB");
}

#[test]
fn too_few_descriptors_to_serve_clients_is_a_startup_error() {
    let flags = |sandbox: &Sandbox| {
        let socket = sandbox.socket().display().to_string();
        ["--no-config", "--listen", "127.0.0.1:0", "--socket", &socket, "--history", "disk"].map(str::to_owned).to_vec()
    };
    for limit in [12, 63] {
        let sandbox = Sandbox::new();
        let mut busd = sandbox.busd();
        after(&format!("ulimit -n {limit}"), &mut busd);
        busd.args(flags(&sandbox));
        let run = Process::start(busd).finish().ends_with(1);
        assert_eq!(run.stderr.lines().count(), 1, "{run}");
        run.says(&format!("{limit} file descriptors")).says("ulimit -n");
    }
    let sandbox = Sandbox::new();
    let flags = flags(&sandbox);
    let daemon = Daemon::of_command(sandbox, flags, |busd| after("ulimit -n 64", busd));
    let mut stream = daemon.stream("/events/t");
    daemon.publish("t", "x");
    assert_eq!(stream.data(1), ["x"]);
}
