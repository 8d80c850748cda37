//! Events that are published later, by the servers.

use serde_json::json;

use crate::{harness::until, nodes::Pair};

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn a_scheduled_event_is_published_once_for_all_nodes() {
    let Pair { left, right, server: _server } = Pair::start();
    let mut streams = [&left, &right].map(|node| node.stream("/events/wake/*?format=json"));
    let args = ["publish", "wake/me", "up", "--in", "1s", "--schedule-id", "tea", "--type", "alarm", "--json"];
    let scheduled = left.ctl(&args).ok().json();
    assert_eq!((&scheduled[0]["schedule"], &scheduled[0]["persistent"]), (&json!("tea"), &json!(true)));
    let listed = right.ctl(&["schedule", "list", "--json"]).ok().json();
    assert_eq!((&listed[0]["schedule"], &listed[0]["topic"]), (&json!("tea"), &json!("wake/me")));
    assert_eq!((&listed[0]["at"], &listed[0]["bytes"]), (&scheduled[0]["at"], &json!(2)));
    assert_eq!(listed[0]["type"], "alarm");
    let mut ids = Vec::new();
    for stream in &mut streams {
        let event = stream.event().json();
        assert_eq!((&event["data"], &event["type"]), (&json!("up"), &json!("alarm")));
        assert!(event["time"].as_u64() >= scheduled[0]["at"].as_u64(), "{event}");
        ids.push(event["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(right.ctl(&["schedule", "list", "--json"]).ok().stdout, "");
    // One that is due already follows at once, and a retained one is retained.
    left.ctl(&["publish", "wake/state", "kept", "--in", "0s", "--retain"]).ok();
    for stream in &mut streams {
        assert_eq!(stream.event().json()["data"], "kept");
    }
    let topics = right.get("/topics").json();
    let retained = topics.as_array().unwrap().iter().find(|topic| topic["topic"] == "wake/state").unwrap();
    assert_eq!(retained["retained"], true, "{topics}");
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn a_schedule_is_replaced_and_cancelled_over_any_node() {
    let Pair { left, right, server: _server } = Pair::start();
    let schedule = |data: &str, time: &str| {
        left.ctl(&["publish", "t", data, "--in", time, "--schedule-id", "a b.c".replace(' ', "-").as_str()]).ok();
    };
    schedule("first", "1h");
    schedule("second", "2h");
    let listed = right.ctl(&["schedule", "list", "--json"]).ok().json();
    assert_eq!((listed.len(), &listed[0]["bytes"]), (1, &json!(6)));
    right.ctl(&["schedule", "cancel", "a-b.c"]).ok();
    right.ctl(&["schedule", "cancel", "a-b.c"]).ends_with(4).says("there is no schedule");
    until("it is gone", || left.ctl(&["schedule", "list", "--json"]).ok().stdout.is_empty().then_some(()));
    left.ctl(&["publish", "t", "x", "--in", "400d"]).ends_with(2).says("a year");
}
