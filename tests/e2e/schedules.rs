//! Events that are published later.

use serde_json::{Value, json};
use sse_bus::time::unix_now;

use crate::{
    durable::FLAGS,
    harness::{Daemon, Sandbox, until},
    reload::reload,
};

fn schedules(daemon: &Daemon) -> Vec<Value> {
    daemon.ctl(&["schedule", "list"]).ok().json()
}

#[test]
fn an_event_is_published_when_it_is_due_in_all_ways_in() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/t");
    let before = unix_now();
    let by_http = daemon.request("POST", "/events/t?in=300ms&type=k", &[], "http");
    assert_eq!(by_http.status, 202);
    let at = by_http.json()["at"].as_u64().unwrap();
    assert!((before + 300..=unix_now() + 300).contains(&at), "{at}");
    let at = before + 600;
    let mut lines = daemon.lines();
    let by_socket = lines.ask(json!({"publish": {"topic": "t", "data": "socket", "at": at}}).to_string());
    assert!(by_socket["scheduled"]["at"].as_u64().unwrap().abs_diff(at) < 100, "{by_socket}");
    assert_eq!(by_socket["scheduled"]["persistent"], false);
    daemon.ctl(&["publish", "t", "ctl", "--in", "900ms", "--schedule-id", "mine"]).ok();
    let event = stream.event();
    assert_eq!((&*event.data, event.kind.as_deref()), ("http", Some("k")));
    assert_eq!(stream.data(2), ["socket", "ctl"]);
    assert!(unix_now() >= before + 900);
    assert_eq!(schedules(&daemon), Vec::<Value>::new());
    assert_eq!(daemon.ctl(&["history", "t"]).ok().json().len(), 3);
}

#[test]
fn a_schedule_is_listed_replaced_and_cancelled() {
    let daemon = Daemon::start(&[]);
    let first =
        daemon.ctl(&["publish", "tea/kitchen", "old", "--in", "10h", "--schedule-id", "tea"]).ok().json().remove(0);
    assert_eq!(first["schedule"], "tea");
    daemon.ctl(&["publish", "tea/kitchen", "ready", "--in", "2h", "--schedule-id", "tea", "--type", "done"]).ok();
    daemon.ctl(&["publish", "later", "x", "--at", "2026-12-31T09:00"]).ok();
    let listed = schedules(&daemon);
    assert_eq!(listed.len(), 2, "{listed:?}");
    let tea = &listed[0];
    assert_eq!(
        (&tea["schedule"], &tea["topic"], &tea["type"], &tea["bytes"]),
        (&json!("tea"), &json!("tea/kitchen"), &json!("done"), &json!(5))
    );
    assert_eq!(daemon.get("/schedules").json().as_array().unwrap().len(), 2);
    let mut lines = daemon.lines();
    assert_eq!(lines.ask(r#"{"schedules":{}}"#)["schedules"].as_array().unwrap().len(), 2);
    daemon.ctl(&["schedule", "cancel", "tea"]).ok();
    daemon.ctl(&["schedule", "cancel", "tea"]).ends_with(4).says("there is no schedule `tea`");
    assert_eq!(daemon.request("DELETE", "/schedules/tea", &[], "").refusal(), (404, "schedule_unknown".into()));
    let other = listed[1]["schedule"].as_str().unwrap();
    assert_eq!(
        lines.ask(json!({"cancel_schedule": {"schedule": other}}).to_string()),
        json!({"cancelled": {"schedule": other}})
    );
    assert_eq!(daemon.get("/schedules").json(), json!([]));
}

#[test]
fn what_cannot_be_scheduled_is_refused() {
    let daemon = Daemon::start(&[]);
    for query in [
        "in=1m&at=2026-12-31T09:00:00Z",
        "schedule_id=a",
        "in=1m&to=ada",
        "in=1m&dedup_id=a",
        "in=1m&ack=durable",
        "in=400days",
        "at=9999-12-31T09:00:00Z",
        "in=1m&schedule_id=a%2Fb",
    ] {
        let refused = daemon.request("POST", &format!("/events/t?{query}"), &[], "x").refusal();
        assert_eq!(refused, (400, "schedule_invalid".into()), "{query}");
    }
    for query in ["in=soon", "at=soon"] {
        let refused = daemon.request("POST", &format!("/events/t?{query}"), &[], "x").refusal();
        assert_eq!(refused, (400, "request_invalid".into()), "{query}");
    }
    assert_eq!(daemon.get("/schedules").json(), json!([]));
}

#[test]
fn schedules_are_bounded_by_their_bytes() {
    let daemon = Daemon::start(&[]);
    let large = "x".repeat(200 << 10);
    let mut statuses = (0..100).map(|_| daemon.request("POST", "/events/t?in=1h", &[], &large).status);
    let accepted = statuses.by_ref().take_while(|status| *status == 202).count();
    assert!((60..90).contains(&accepted), "{accepted}");
    assert_eq!(daemon.request("POST", "/events/t?in=1h", &[], &large).refusal(), (429, "limit_schedules".into()));
}

#[test]
fn an_event_that_is_refused_when_it_is_due_is_announced_and_published_later() {
    let daemon = Daemon::configured("[limits]\ntopics = 1\n");
    daemon.publish("a", "x");
    let mut announced = daemon.stream("/events?topic=$sys/schedules&format=json");
    daemon.ctl(&["publish", "b", "y", "--in", "1ms", "--schedule-id", "b"]).ok();
    let event = announced.event().json();
    assert_eq!((&event["type"], &event["id"]), (&json!("refused"), &Value::Null));
    let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
    assert_eq!((&data["schedule"], &data["topic"]), (&json!("b"), &json!("b")));
    assert!(data["reason"].as_str().unwrap().contains("limit_topics"), "{data}");
    assert!(schedules(&daemon)[0]["refused"].as_str().unwrap().contains("limit_topics"));
    reload(&daemon, "[limits]\ntopics = 2\n", "read the configuration again");
    let mut types = std::iter::repeat_with(|| announced.event().json()["type"].as_str().unwrap().to_owned());
    let last = types.find(|what| what != "refused");
    assert_eq!(last.as_deref(), Some("published"));
    assert_eq!(daemon.ctl(&["history", "b"]).ok().json().len(), 1);
    assert_eq!(schedules(&daemon), Vec::<Value>::new());
}

#[test]
fn with_history_on_disk_schedules_survive_crashes_and_what_became_due_is_published_at_the_start() {
    let mut daemon = Daemon::start_at(Sandbox::new(), &FLAGS);
    let scheduled = daemon.ctl(&["publish", "due", "1", "--in", "2s", "--schedule-id", "a"]).ok().json().remove(0);
    assert_eq!(scheduled["persistent"], true);
    daemon.ctl(&["publish", "over", "2", "--in", "2s", "--ttl", "1ms"]).ok();
    daemon.ctl(&["publish", "later", "3", "--in", "10h", "--schedule-id", "b", "--header", "k=v", "--type", "t"]).ok();
    daemon.ctl(&["publish", "never", "4", "--in", "10h", "--schedule-id", "c"]).ok();
    daemon.ctl(&["schedule", "cancel", "c"]).ok();
    let before = schedules(&daemon);
    // A schedule is written with the batch of this event.
    daemon.lines().ask(r#"{"publish":{"topic":"t","data":"x","ack":"durable"}}"#);
    daemon.kill();
    let due = scheduled["at"].as_u64().unwrap();
    until("the events are due", || (unix_now() > due + 10).then_some(()));
    daemon.start_again();
    until("the event is published", || {
        let history = daemon.ctl(&["history", "due"]).ok().json();
        history.first().map(|event| assert_eq!(event["data"], "1"))
    });
    assert_eq!(daemon.ctl(&["history", "over"]).ok().json(), Vec::<Value>::new());
    let after = schedules(&daemon);
    assert_eq!(after.len(), 1, "{after:?}");
    assert_eq!(
        (&after[0]["topic"], &after[0]["type"], &after[0]["created"]),
        (&before[2]["topic"], &json!("t"), &before[2]["created"])
    );
    assert!(
        after[0]["at"].as_u64().unwrap().abs_diff(before[2]["at"].as_u64().unwrap()) < 1000,
        "{before:?} {after:?}"
    );
    daemon.kill();
    daemon.start_again();
    assert_eq!(daemon.ctl(&["history", "due"]).ok().json().len(), 1, "it is published once");
}

#[test]
fn the_ttl_of_a_scheduled_event_begins_when_it_is_due() {
    let daemon = Daemon::start(&[]);
    daemon.request("POST", "/events/t?in=1s&ttl=300ms", &[], "x");
    assert_eq!(daemon.stream("/events/t").event().data, "x");
}
