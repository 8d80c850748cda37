//! Several nodes as one bus: presence, counts of subscribers, requests and replies, and nodes that are away.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    harness::{Daemon, Process, until},
    nodes::{Pair, client_ids, nodes},
};

fn reply(daemon: &Daemon, args: &[&str], name: &str) -> Process {
    let process = daemon.spawn_ctl(&[&["reply"], args, &["--client", name]].concat());
    until("the responder", || daemon.get("/clients").text().contains(name).then_some(()));
    process
}

fn request(daemon: &Daemon, args: &[&str]) -> crate::harness::Run {
    daemon.ctl(&[&["request"], args].concat())
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn clients_of_all_nodes_are_announced_and_waited_for() {
    let Pair { left, right, server: _server } = Pair::start();
    let mut watch = left.stream("/events/$sys/clients?format=json");
    // The other node learns of this subscriber when the clients are listed.
    client_ids(&left);
    let stream = right.stream("/events/job?client=tab");
    let event = watch.event();
    let envelope: Value = serde_json::from_str(&event.data).unwrap();
    let client: Value = serde_json::from_str(envelope["data"].as_str().unwrap()).unwrap();
    assert_eq!((&envelope["type"], &client["id"]), (&json!("join"), &json!("c1@right")));
    let waiting = left.spawn_ctl(&["publish", "job", "go", "--wait-for", "2"]);
    let _second = right.stream("/events/job");
    assert_eq!(waiting.finish().ok().json()[0]["subscribers"], 2);
    drop(stream);
    until("the leave", || {
        (serde_json::from_str::<Value>(&watch.event().data).unwrap()["type"] == "leave").then_some(())
    });
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn the_answer_to_a_publish_counts_the_subscribers_of_all_nodes() {
    let Pair { left, right, server: _server } = Pair::start();
    let _streams = [left.stream("/events/t"), right.stream("/events/t"), right.stream("/events/*")];
    let publish = |topic: &str| left.lines().ask(json!({"publish": {"topic": topic, "data": "x"}}).to_string());
    assert_eq!(publish("t")["published"]["subscribers"], 3);
    assert_eq!(publish("other")["published"]["subscribers"], 1);
    assert_eq!(publish("a/b")["published"]["subscribers"], 0);
    let listed = left.ctl(&["topics", "t"]).ok().json();
    assert_eq!(listed[0]["subscribers"], 3);
    let many: Vec<_> = (0..100).map(|n| json!({"publish": {"topic": format!("n{}", n % 50), "data": n}})).collect();
    let mut lines = left.lines();
    for line in &many {
        lines.send(line.to_string());
    }
    for _ in many {
        assert_eq!(lines.reply()["published"]["subscribers"], 1);
    }
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn an_event_for_a_client_of_another_node_arrives_after_earlier_events() {
    let Pair { left, right, server: _server } = Pair::start();
    let mut tab = right.stream("/events/n");
    let mut lines = left.lines();
    for number in 0..500 {
        let published = lines.ask(json!({"publish": {"topic": "n", "data": number}}).to_string());
        assert_eq!(published["published"]["subscribers"], 1);
        let sent = lines.ask(json!({"publish": {"topic": "n", "data": "sent", "to": "c1@right"}}).to_string());
        assert_eq!(sent["published"]["subscribers"], 1);
        assert_eq!((tab.event().data, tab.event().data), (number.to_string(), "sent".into()));
    }
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn a_request_is_answered_by_a_responder_of_any_node() {
    let Pair { left, right, server: _server } = Pair::start();
    request(&left, &["math/sum", "1", "--timeout", "1h"]).ends_with(4).says("no_responder");
    let _calc = reply(&right, &["math/*", "--exec", "read -r n; echo $((n + 1))"], "calc");
    assert_eq!(request(&left, &["math/sum", "1"]).ok().stdout, "2\n");
    let run = request(&left, &["math/sum", "1", "--json"]).ok();
    assert_eq!(run.json(), [json!({"data": "2", "responder": "calc"})]);
    // A responder of this node comes first.
    let _own = reply(&left, &["math/*", "--exec", "echo own"], "own");
    for _ in 0..3 {
        assert_eq!(request(&left, &["math/sum", "1"]).ok().stdout, "own\n");
    }
    let mut both: Vec<_> =
        request(&left, &["math/sum", "1", "--replies", "9"]).ok().stdout.lines().map(String::from).collect();
    both.sort();
    assert_eq!(both, ["2", "own"]);
    let failing = reply(&right, &["fail", "--exec", "exit 3"], "failing");
    request(&left, &["fail", "x"]).ends_with(1).says("responder_failed");
    failing.signal(Signal::TERM);
    failing.finish().ok();
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn a_busy_responder_is_passed_over_and_an_abandoned_request_is_cancelled() {
    let Pair { left, right, server: _server } = Pair::start();
    let folder = left.sandbox.path("gate");
    // The commands end with the folder, too, which is removed after the test.
    let wait = format!(
        "touch {0}.begun; while [ -e {0}.begun -a ! -e {0} ]; do sleep 0.02; done; echo slow",
        folder.display()
    );
    let _slow = reply(&left, &["job", "--exec", &wait], "slow");
    let _fast = reply(&right, &["job", "--exec", "echo fast"], "fast");
    let mut first = left.spawn_ctl(&["request", "job", "x"]);
    until("the first request begins", || folder.with_extension("begun").exists().then_some(()));
    assert_eq!(request(&left, &["job", "x"]).ok().stdout, "fast\n");
    std::fs::write(&folder, "").unwrap();
    assert_eq!(first.line(), "slow");
    // A client that leaves cancels its request on the other node.
    std::fs::remove_file(&folder).unwrap();
    std::fs::remove_file(folder.with_extension("begun")).unwrap();
    let blocked = format!("touch {0}.begun; while [ -e {0}.begun -a ! -e {0} ]; do sleep 0.02; done", folder.display());
    let _blocked = reply(&right, &["blocked", "--exec", &blocked], "blocked");
    let abandoned = left.spawn_ctl(&["request", "blocked", "x", "--timeout", "1h"]);
    until("it begins", || folder.with_extension("begun").exists().then_some(()));
    let requests = || {
        let limits = right.status()["limits"].as_array().unwrap().clone();
        limits.iter().find(|limit| limit["limit"] == "requests").unwrap()["used"].clone()
    };
    assert_eq!(requests(), 1);
    drop(abandoned);
    until("it is cancelled", || (requests() == 0).then_some(()));
    request(&left, &["blocked", "x", "--timeout", "200ms"]).ends_with(5).says("timed_out");
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn a_reply_reaches_its_request_over_any_node() {
    let Pair { left, right, server: _server } = Pair::start();
    let mut requests = right.stream("/requests/ask");
    until("the responder", || (client_ids(&left) == ["c1@right"]).then_some(()));
    let mut asking = left.spawn_ctl(&["request", "ask", "x"]);
    let envelope: Value = serde_json::from_str(&requests.event().data).unwrap();
    let address = envelope["reply_to"].as_str().unwrap();
    assert!(address.ends_with("@right"), "{address}");
    let path = format!("/replies/{address}");
    assert_eq!(left.request("POST", &path, &[], "y").status, 200);
    assert_eq!(asking.line(), "y");
    let again = left.request("POST", &path, &[], "y");
    assert!(again.status >= 400 && again.text().contains("stale_request"), "{}", again.text());
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn a_request_fails_when_the_node_of_its_responder_leaves() {
    let Pair { left, mut right, server: _server } = Pair::start();
    let mut requests = right.stream("/requests/ask");
    until("the responder", || (client_ids(&left) == ["c1@right"]).then_some(()));
    let asking = left.spawn_ctl(&["request", "ask", "x", "--timeout", "1h"]);
    requests.event();
    right.kill();
    asking.finish().ends_with(1).says("responder_gone");
    assert_eq!(nodes(&left)[1]["state"], "lost");
    // The same when it is started again before it is lost.
    right.start_again();
    until("it is back", || (nodes(&left)[1]["state"] == "up").then_some(()));
    let mut requests = right.stream("/requests/ask");
    until("the responder", || (client_ids(&left) == ["c1@right"]).then_some(()));
    let asking = left.spawn_ctl(&["request", "ask", "x", "--timeout", "1h"]);
    requests.event();
    right.kill();
    right.start_again();
    asking.finish().ends_with(1).says("responder_gone");
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn a_node_that_leaves_is_gone_at_once_and_its_events_say_so() {
    let Pair { left, mut right, server } = Pair::start();
    let mut watch = left.stream("/events/$sys/nodes");
    right.signal(Signal::TERM);
    assert_eq!(right.wait(), Some(0));
    let event = watch.event();
    assert_eq!((event.kind.as_deref(), nodes(&left).len()), (Some("left"), 1));
    let node: Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!(node["name"], "right");
    right.start_again();
    assert_eq!(watch.event().kind.as_deref(), Some("joined"));
    drop(server);
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn a_suspended_node_delays_others_once_and_is_named() {
    let Pair { left, right, server: _server } = Pair::start();
    let _tab = left.stream("/events/t?client=tab");
    let mut kept = right.stream("/events/t?client=kept");
    right.suspend();
    let began = Instant::now();
    let run = left.ctl(&["clients"]).ok().says("the node right did not answer");
    assert_eq!(run.json().len(), 1);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let url = format!("http://{}", left.address);
    left.ctl(&["--url", &url, "clients"]).ok().says("the node right did not answer");
    let partial = left.lines().ask(r#"{"clients":{}}"#);
    assert_eq!(partial["partial_clients"]["unreachable"], json!(["right"]));
    assert_eq!(left.get("/clients").header("sse-bus-unreachable"), Some("right"));
    let run = left.ctl(&["send", "tab", "hello"]).ok().says("the node right did not answer");
    assert_eq!((&run.json()[0]["subscribers"], &run.json()[0]["unreachable"]), (&json!(1), &json!(["right"])));
    let kicked = left.lines().ask(r#"{"kick":{"client":"tab"}}"#);
    assert_eq!(kicked["kicked"], json!({"connections": 1, "unreachable": ["right"]}));
    let kicked = left.lines().ask(r#"{"kick":{"client":"kept"}}"#);
    assert_eq!(kicked["kicked"], json!({"connections": 0, "unreachable": ["right"]}));
    left.ctl(&["send", "kept", "late"]).ends_with(4).says("the node right did not answer");
    until("it is lost", || (nodes(&left)[1]["state"] == "lost").then_some(()));
    right.signal(Signal::CONT);
    until("it is back", || (nodes(&left)[1]["state"] == "up").then_some(()));
    assert_eq!(left.get("/clients").header("sse-bus-unreachable"), None);
    // What it was asked meanwhile has had no effect.
    assert_eq!(left.ctl(&["send", "kept", "in time"]).ok().json()[0]["subscribers"], 1);
    assert_eq!(kept.event().data, "in time");
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn nodes_find_each_other_again_after_the_server_was_away() {
    let Pair { left, right, mut server } = Pair::start();
    let _tab = right.stream("/events/t?client=tab");
    server.kill();
    until("the connection ends", || nodes(&left)[0]["error"].is_string().then_some(()));
    let run = left.ctl(&["kick", "tab"]).ends_with(4);
    assert!(run.stderr.contains("right"), "{}", run.stderr);
    server.start_again();
    until("both are up", || {
        nodes(&left).iter().all(|node| node["state"] == "up" && node["error"].is_null()).then_some(())
    });
    // The kick that failed was not sent later.
    until("the client is listed", || (client_ids(&left) == ["c1@right"]).then_some(()));
    assert_eq!(left.ctl(&["kick", "tab"]).ok().json()[0]["connections"], 1);
}
