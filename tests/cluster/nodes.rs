//! Several nodes as one bus: who is there, and the clients of all nodes.

use serde_json::{Value, json};

use crate::{
    harness::{
        Daemon,
        nats::{NatsServer, node},
        until,
    },
    site::BUS,
};

/// Two nodes of one bus. They end before the server.
pub(crate) struct Pair {
    pub left: Daemon,
    pub right: Daemon,
    pub server: NatsServer,
}

impl Pair {
    pub(crate) fn start() -> Pair {
        let server = NatsServer::start();
        let [left, right] = ["left", "right"].map(|name| node(&server.url(), BUS, name, &[]));
        for daemon in [&left, &right] {
            until("the nodes know each other", || (names(daemon) == ["left", "right"]).then_some(()));
        }
        Pair { left, right, server }
    }
}

/// The nodes that a daemon lists.
pub(crate) fn nodes(daemon: &Daemon) -> Vec<Value> {
    daemon.get("/nodes").json().as_array().unwrap().clone()
}

fn names(daemon: &Daemon) -> Vec<String> {
    nodes(daemon).iter().map(|node| node["name"].as_str().unwrap().into()).collect()
}

pub(crate) fn client_ids(daemon: &Daemon) -> Vec<String> {
    let clients = daemon.get("/clients").json();
    clients.as_array().unwrap().iter().map(|client| client["id"].as_str().unwrap().into()).collect()
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn each_node_lists_all_and_the_clients_of_all() {
    let Pair { left, right, server: _server } = Pair::start();
    let _tabs = [left.stream("/events/t?client=tab"), right.stream("/events/t?client=tab")];
    for (daemon, own) in [(&left, "left"), (&right, "right")] {
        let mut ids = client_ids(daemon);
        ids.sort();
        assert_eq!(ids, ["c1@left", "c1@right"]);
        let listed = daemon.ctl(&["clients"]).ok().json();
        assert_eq!(listed.len(), 2, "{listed:?}");
        for node in daemon.ctl(&["nodes"]).ok().json() {
            assert_eq!((&node["own"], &node["state"]), (&json!(node["name"] == own), &json!("up")));
            assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
        }
        let text = daemon.ctl(&["status", "--format", "text"]).ok().stdout;
        assert!(text.contains(&format!("{own} (here)")), "{text}");
        assert_eq!(daemon.status()["nodes"].as_array().unwrap().len(), 2);
    }
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn a_client_is_kicked_on_any_node_by_its_id_and_on_all_nodes_by_its_name() {
    let Pair { left, right, server: _server } = Pair::start();
    let mut by_id = right.stream("/events/t?client=one");
    assert_eq!(left.ctl(&["kick", "c1@right"]).ok().json(), [json!({"client": "c1@right", "connections": 1})]);
    by_id.ends();
    let mut tabs = [left.stream("/events/t?client=tab"), right.stream("/events/t?client=tab")];
    let answer = left.request("DELETE", "/clients/tab", &[], "");
    assert_eq!((answer.status, answer.json()), (200, json!({"connections": 2})));
    for tab in &mut tabs {
        tab.ends();
    }
    // The id of another node without its name is one of this node.
    let _stream = right.stream("/events/t");
    for unknown in ["tab", "c3", "c3@left", "c9@right", "c3@elsewhere"] {
        left.ctl(&["kick", unknown]).ends_with(4);
    }
    assert_eq!(right.ctl(&["kick", "c3"]).ok().json(), [json!({"client": "c3", "connections": 1})]);
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn a_client_is_kept_out_of_all_nodes() {
    let Pair { left, right, server: _server } = Pair::start();
    let mut tab = right.stream("/events/t?client=tab");
    let run = left.ctl(&["kick", "c1@right", "--for", "1h"]).ok();
    assert_eq!(run.json(), [json!({"client": "c1@right", "connections": 1})]);
    tab.ends();
    for daemon in [&left, &right] {
        assert!(daemon.get("/events/t?client=tab").text().contains("kept_out"));
    }
    right.ctl(&["kick", "tab", "--for", "0s"]).ok();
    for daemon in [&left, &right] {
        daemon.stream("/events/t?client=tab");
    }
    left.ctl(&["kick", "nobody", "--for", "1h"]).ends_with(4);
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn an_event_for_a_name_reaches_its_connections_on_all_nodes() {
    let Pair { left, right, server: _server } = Pair::start();
    let mut tabs = [left.stream("/events/x?client=tab"), right.stream("/events/x?client=tab")];
    let run = left.ctl(&["send", "tab", "hello"]).ok();
    assert_eq!(run.json()[0]["subscribers"], 2);
    for tab in &mut tabs {
        assert_eq!(tab.event().data, "hello");
    }
    assert_eq!(left.ctl(&["send", "c1@right", "only"]).ok().json()[0]["subscribers"], 1);
    assert_eq!(tabs[1].event().data, "only");
    for number in 0..100 {
        let sent = left.lines().ask(json!({"publish": {"topic": "n", "data": number, "to": "c1@right"}}).to_string());
        assert_eq!(sent["published"]["subscribers"], 1);
        assert_eq!(tabs[1].event().data, number.to_string());
    }
    for nobody in ["c1@elsewhere", "c7@right", "nobody"] {
        left.ctl(&["send", nobody, "hello"]).ends_with(4);
    }
    // A repeat is recognized by the node that has the client, too.
    let send = || left.lines().ask(r#"{"publish":{"topic":"n","data":"1","to":"c1@right","dedup_id":"d"}}"#);
    assert_eq!(
        (send()["published"]["subscribers"].clone(), send()["published"]["duplicate"].clone()),
        (json!(1), json!(true))
    );
    right.lines().ask(r#"{"publish":{"topic":"n","data":"1","to":"c1@right","dedup_id":"d"}}"#);
    assert_eq!(tabs[1].event().data, "1");
    left.ctl(&["send", "tab", "end"]).ok();
    assert_eq!(tabs[1].event().data, "end");
}
