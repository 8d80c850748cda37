//! Events that are sent to a consumer by its name.

use serde_json::json;

use crate::harness::Daemon;

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
