//! What other programs publish on the subjects of nodes is skipped, and a node that may not use them reports it.

use serde_json::json;

use crate::{
    harness::{
        block_on,
        nats::{NatsServer, node},
        until,
    },
    nodes::{Pair, client_ids, nodes},
    site::BUS,
};

#[test]
#[ignore = "needs nats-server: a foreign program publishes"]
fn foreign_messages_are_skipped() {
    let Pair { left, right, server } = Pair::start();
    let _tab = left.stream("/events/t?client=tab");
    let all = format!("ssebus.{BUS}.ctl.all");
    let own = format!("ssebus.{BUS}.ctl.to.left");
    let message = |from: &str, instance: u64, body: serde_json::Value| {
        json!({"from": from, "instance": instance, "sent": 0, "body": body}).to_string().into_bytes()
    };
    let info = |name: &str| json!({"announce": {"info": {"name": name}, "is_new": true, "watches_presence": false}});
    let kick = json!({"ask": {"ask": 1, "question": {"kick": {"client": "tab"}}}});
    let client = json!({"id": "c1@x", "name": null, "role": "x", "via": "x", "peer": "", "filters": [], "connected": 0,
        "events": 0, "lag": 0});
    let foreign = [
        Vec::new(),
        b"\xff\x00".to_vec(),
        vec![b'['; 1 << 20],
        vec![b'x'; 1 << 20],
        message("left", 7, json!({"leave": {}})),
        message("a.b", 7, info("a.b")),
        message(&"x".repeat(65), 7, info("x")),
        // A node that nobody knows, and one that is known with another instance.
        message("stranger", 7, kick.clone()),
        message("right", 7, kick),
        message("right", 7, json!({"leave": {}})),
        message("right", 7, json!({"answer": {"ask": 1, "is_last": true, "answer": {"clients": [client]}}})),
        message("right", 7, json!({"ask": {"ask": 1, "question": {"format_disk": {}}}})),
        message("right", 7, json!({"cancel": {"ask": u64::MAX}})),
    ];
    block_on(async {
        let nats = async_nats::connect(server.url()).await.unwrap();
        for payload in foreign {
            for subject in [&all, &own] {
                nats.publish(subject.clone(), payload.clone().into()).await.unwrap();
            }
        }
        // An announcement makes a node known, whatever it contains.
        nats.publish(all.clone(), message("stranger", u64::MAX, info("other name")).into()).await.unwrap();
        nats.flush().await.unwrap();
    });
    until("the stranger is listed", || nodes(&left).iter().any(|node| node["name"] == "stranger").then_some(()));
    assert!(left.log().contains("another node of the bus has the same name"), "{}", left.log());
    assert_eq!(client_ids(&left), ["c1@left"]);
    assert_eq!(nodes(&right).iter().find(|node| node["name"] == "right").unwrap()["own"], true);
    until("the stranger is lost", || {
        nodes(&left).iter().any(|node| node["name"] == "stranger" && node["state"] == "lost").then_some(())
    });
}

#[test]
#[ignore = "needs nats-server: it permits no messages between nodes"]
fn a_node_reports_that_it_may_not_talk_to_others() {
    let forbidden = format!("ssebus.{BUS}.ctl.>");
    let server = NatsServer::configured(&format!(
        "authorization {{ users: [{{ user: a, password: b, permissions: {{ publish: {{ deny: \"{forbidden}\" }} }} }}] }}\n\
         no_auth_user: a\n"
    ));
    let daemon = node(&server.url(), BUS, "left", &[]);
    until("the node reports it", || nodes(&daemon)[0]["error"].as_str()?.contains(&forbidden).then_some(()));
    assert_eq!(daemon.ctl(&["clients"]).ok().stderr, "");
}
