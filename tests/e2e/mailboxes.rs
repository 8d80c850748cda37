//! Events that are sent to a consumer by its name.

use serde_json::{Value, json};

use crate::{
    consumers_http::lines,
    harness::{Daemon, Sandbox, bearer, token},
};

#[test]
fn an_event_waits_for_a_consumer_without_workers() {
    let daemon = Daemon::start(&[]);
    let mut lines = daemon.lines();
    lines.ask(r#"{"consumer":{"name":"thumbs","action":{"create":{"filters":["photos/new"]}}}}"#);
    let mut bystander = daemon.stream("/events");
    let sent = daemon.ctl(&["send", "thumbs", "resize"]).ok().json().remove(0);
    assert_eq!((&sent["queued"], &sent["subscribers"]), (&json!(true), &json!(0)), "{sent}");
    daemon.publish("direct", "for all");
    assert_eq!(bystander.event().data, "for all");
    let mut worker = daemon.lines();
    let consuming = worker.ask(r#"{"consume":{"consumer":"thumbs"}}"#);
    assert_eq!(consuming["consuming"]["consumer"], "thumbs", "{consuming}");
    let event = worker.event();
    assert_eq!(
        (&event["data"], &event["topic"], &event["id"]),
        (&json!("resize"), &json!("$mailbox/thumbs/direct"), &sent["id"])
    );
    let token = event["delivery"]["token"].as_str().unwrap();
    assert_eq!(worker.ask(json!({"ack": {"tokens": [token]}}).to_string()), json!({"settled": {"deliveries": 1}}));
    let sent = daemon.request("POST", "/events/photos/a?to=thumbs", &[], "again").json();
    assert_eq!((&sent["queued"], &sent["subscribers"]), (&json!(null), &json!(1)), "a worker is free: {sent}");
    assert_eq!(worker.event()["topic"], "$mailbox/thumbs/photos/a");
}

#[test]
fn a_name_that_is_no_consumer_is_that_of_a_client() {
    let daemon = Daemon::start(&[]);
    daemon.ctl(&["send", "thumbs", "x"]).ends_with(4).says("no client named `thumbs` is connected");
    let mut stream = daemon.stream("/events/**?client=thumbs");
    daemon.ctl(&["send", "thumbs", "x"]).ok();
    assert_eq!(stream.event().data, "x");
}

#[test]
fn an_event_for_a_consumer_survives_crashes_and_the_bounds_of_history() {
    let mut daemon = Daemon::start_at(Sandbox::new(), &["--no-config", "--history", "disk", "--history-events", "5"]);
    daemon.request("PUT", "/consumers/thumbs", &[], r#"{"filters":["photos/new"]}"#);
    let sent: Vec<Value> = (0..20)
        .map(|number| daemon.request("POST", "/events/direct?to=thumbs&ack=durable", &[], number.to_string()).json())
        .collect();
    assert!(sent.iter().all(|sent| sent["queued"] == true), "{sent:?}");
    for number in 0..20 {
        daemon.publish("direct", format!("other {number}"));
    }
    daemon.kill();
    daemon.start_again();
    let taken = daemon.request("POST", "/consumers/thumbs/next?count=64", &[], "").text();
    let taken: Vec<Value> = taken.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids =
        |events: &[Value]| events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&taken), ids(&sent), "{taken:?}");
    assert!(taken.iter().all(|event| event["topic"] == "$mailbox/thumbs/direct"), "{taken:?}");
}

#[test]
fn a_repeated_event_for_a_consumer_is_queued_once() {
    let daemon = Daemon::start(&[]);
    for name in ["thumbs", "other"] {
        daemon.request("PUT", &format!("/consumers/{name}"), &[], r#"{"filters":["photos/new"]}"#);
    }
    let send = |name: &str| daemon.request("POST", &format!("/events/direct?to={name}&dedup_id=a"), &[], "x").json();
    let first = send("thumbs");
    assert_eq!(send("thumbs"), json!({"id": first["id"], "subscribers": 0, "duplicate": true}));
    assert_eq!(send("other")["queued"], true, "another consumer");
    assert_eq!(daemon.request("POST", "/consumers/thumbs/next?count=64", &[], "").text().lines().count(), 1);
}

/// The filters of a consumer do not cover what is sent to it, and a token may create a consumer with any name.
#[test]
fn a_worker_receives_only_what_was_sent_with_the_topics_of_its_token() {
    let (daemon, _) = Daemon::exposed(&[]);
    let work = bearer(&token(&daemon.sandbox, &["--name", "work", "--scope", "work", "--topic", "jobs/**"]));
    let ask = |method, path, body| daemon.request(method, path, &[("Authorization", &work)], body);
    assert_eq!(ask("PUT", "/consumers/ui", r#"{"filters":["jobs/**"]}"#).status, 201);
    for topic in ["secret/plan", "jobs/a"] {
        assert_eq!(daemon.request_locally("POST", &format!("/events/{topic}?to=ui"), topic).status, 202);
    }
    let taken = lines(&ask("POST", "/consumers/ui/next?count=9&wait=5s", "").text());
    let data: Vec<_> = taken.iter().map(|event| &event["data"]).collect();
    assert_eq!(data, ["jobs/a"]);
    let dead = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let seen = dead(ask("GET", "/consumers/ui/dead", "").text());
    assert_eq!(seen[0]["data"], Value::Null, "{seen}");
    let kept = dead(daemon.request_locally("GET", "/consumers/ui/dead", "").text());
    assert_eq!((&kept[0]["topic"], &kept[0]["data"]), (&json!("$mailbox/ui/secret/plan"), &json!("secret/plan")));
    assert!(kept.to_string().contains("does not allow the topic `secret/plan`"), "{kept}");
}
