//! Headers of events: accepted on every transport, delivered in every format, stored like data, and refused by name.

use rustix::process::Signal;
use serde_json::{Value, json};
use sse_bus::{
    limits::{HEADERS_BYTES, HEADERS_MAX},
    protocol::{Publish, Reply, Request, Subscribe},
};

use crate::{
    durable::{FLAGS, history},
    harness::{Daemon, Sandbox, percent_encoded},
};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn headers_are_accepted_on_every_transport_and_delivered_in_every_format() {
    let daemon = Daemon::start(&[]);
    let mut data = daemon.stream("/events/t/**");
    let mut envelope = daemon.stream("/events/t/**?format=json");
    let mut lines = daemon.lines();
    lines.ask(r#"{"subscribe":{"filters":["t/**"]}}"#);
    let mut frames = daemon.frames();
    frames.ask(&Request::Subscribe(Subscribe::new(["t/**"])));
    let subscriber = daemon.spawn_ctl(&["subscribe", "t/**", "--count", "7"]);
    daemon.wait_for_subscribers(5);

    let trace = format!("traceparent={TRACE}");
    let command = ["--header", &trace, "--header", "Key=a=b: é"];
    daemon.ctl(&[&["publish", "t/ctl", "x"][..], &command].concat()).ok();
    daemon.ctl_fed(&[&["publish", "t/lines", "--lines"][..], &command].concat(), b"x\n").ok();
    let headers = json!({ "Traceparent": TRACE, "key": "a=b: é" });
    let line = json!({"topic": "t/jsonl", "data": "x", "headers": headers}).to_string();
    daemon.ctl_fed(&["publish", "--jsonl", "--header", "not=this"], line.as_bytes()).ok();
    let asked = json!({"publish": {"topic": "t/json", "data": "x", "headers": headers}}).to_string();
    assert!(daemon.lines().ask(asked)["published"].is_object());
    let publish = Publish::new("t/binary", "x").with_header("TRACEPARENT", TRACE).with_header("key", "a=b: é");
    assert!(matches!(daemon.frames().ask(&Request::Publish(publish)), Reply::Published(_)));
    daemon.publish(&format!("t/http?header=traceparent:{TRACE}&header=Key:a%3Db:%20%C3%A9"), "x");
    daemon.publish("t/none", "x");

    let headers = json!({ "traceparent": TRACE, "key": "a=b: é" });
    let printed = subscriber.finish().ok().json();
    for (number, topic) in ["ctl", "lines", "jsonl", "json", "binary", "http", "none"].into_iter().enumerate() {
        let event = envelope.event().json();
        assert_eq!(event["topic"], json!(format!("t/{topic}")));
        let expected = if topic == "none" { None } else { Some(&headers) };
        assert_eq!(event.get("headers"), expected, "{topic}");
        assert_eq!((&lines.event(), &printed[number]), (&event, &event));
        let Some(Reply::Event(message)) = frames.next() else { panic!("no event") };
        assert_eq!(serde_json::to_value(message).unwrap(), event);
        assert_eq!(data.event().data, "x");
    }
}

#[test]
fn an_event_in_json_has_its_fields_in_the_documented_order() {
    let daemon = Daemon::start(&[]);
    daemon.publish("t?type=done&header=a:1", "x");
    let text = daemon.ctl(&["history", "t"]).ok().stdout;
    let at = |field: &str| text.find(&format!("\"{field}\":")).unwrap_or_else(|| panic!("no {field} in {text}"));
    assert!(["id", "topic", "type", "time", "headers", "data"].map(at).is_sorted(), "{text}");
}

#[test]
fn retained_events_and_events_for_one_client_have_headers() {
    let daemon = Daemon::start(&[]);
    daemon.ctl(&["publish", "state", "on", "--retain", "--header", "a=1"]).ok();
    let mut tab = daemon.stream("/events/state?format=json&client=tab");
    assert_eq!(tab.event().json()["headers"], json!({ "a": "1" }));
    daemon.ctl(&["send", "tab", "hello", "--header", "b=2"]).ok();
    let event = tab.event().json();
    assert_eq!((&event["to"], &event["headers"]), (&json!("tab"), &json!({ "b": "2" })));
}

#[test]
fn headers_on_disk_survive_a_restart_and_a_crash() {
    let mut daemon = Daemon::start_at(Sandbox::new(), &FLAGS);
    daemon.publish("t?header=a:1&ack=durable", "one");
    daemon.publish("t?retain=true&header=a:2&ack=durable", "two");
    let expected: Vec<Value> = history(&daemon, "t");
    assert_eq!(expected[1]["headers"], json!({ "a": "2" }));
    // After a crash they are read from the write-ahead file, after a clean stop from the database.
    for signal in [Signal::KILL, Signal::TERM] {
        daemon.signal(signal);
        daemon.wait();
        daemon.start_again();
        assert_eq!(history(&daemon, "t"), expected, "after {signal:?}");
        assert_eq!(daemon.stream("/events/t?format=json").event().json(), expected[1]);
    }
}

#[test]
fn headers_are_charged_to_history_and_to_retained_events() {
    let flags = ["--history-bytes", "1000"];
    let daemon = Daemon::start(&flags);
    let value = "x".repeat(300);
    for topic in ["plain", "headed"] {
        for _ in 0..4 {
            let header = if topic == "headed" { format!("?header=a:{value}") } else { String::new() };
            daemon.publish(&format!("{topic}{header}"), "");
        }
    }
    assert_eq!((history(&daemon, "plain").len(), history(&daemon, "headed").len()), (4, 1));

    let daemon = Daemon::configured("[limits]\nretained_bytes = 1000\n");
    daemon.publish("a?retain=true", "x");
    let refused = daemon.request("POST", &format!("/events/b?retain=true&header=a:{}", "x".repeat(900)), &[], "x");
    assert_eq!(refused.refusal().1, "limit_retained_bytes");
    daemon.publish("b?retain=true", "x");
}

#[test]
fn invalid_headers_are_refused_by_name_on_every_transport() {
    let daemon = Daemon::start(&[]);
    let many: Vec<_> = (0..=HEADERS_MAX).map(|n| (format!("h{n}"), String::new())).collect();
    let cases = [
        (vec![("a b".to_owned(), "x".to_owned())], "`a b`"),
        (vec![(String::new(), "x".into())], "no name"),
        (vec![("key".into(), "a\nb".into())], "`key`"),
        (vec![("key".into(), "1".into()), ("KEY".into(), "2".into())], "`key` occurs twice"),
        (many, "`h16` is one too many"),
        (vec![("long".into(), "x".repeat(HEADERS_BYTES - 3))], "`long` is too long"),
    ];
    for (headers, named) in cases {
        let mut publish = Publish::new("t", "x");
        publish.headers = headers;
        // Written by hand: a map would keep only the last of two.
        let fields: Vec<_> =
            publish.headers.iter().map(|(name, value)| format!("{}:{}", json!(name), json!(value))).collect();
        let line = format!(r#"{{"publish":{{"topic":"t","data":"x","headers":{{{}}}}}}}"#, fields.join(","));
        let mut lines = daemon.lines();
        let error = lines.ask(line)["error"].take();
        assert_eq!(error["code"], "headers_invalid", "{error}");
        let message = error["message"].as_str().unwrap().to_owned();
        assert!(message.contains(named), "{message}");
        assert!(lines.ask(r#"{"publish":{"topic":"t","data":"fine"}}"#)["published"].is_object());

        let mut frames = daemon.frames();
        let Reply::Error(refused) = frames.ask(&Request::Publish(publish.clone())) else { panic!("it was accepted") };
        assert_eq!((refused.code.as_str(), refused.message), ("headers_invalid", message.clone()));
        assert!(matches!(frames.ask(&Request::Publish(Publish::new("t", "fine"))), Reply::Published(_)));

        // Letters are not escaped, so that the longest fits a request line.
        let parameter = |(name, value): &(String, String)| {
            let value = if value.len() > 100 { value.clone() } else { percent_encoded(value) };
            format!("header={}:{value}", percent_encoded(name))
        };
        let query = publish.headers.iter().map(parameter).collect::<Vec<_>>().join("&");
        let response = daemon.request("POST", &format!("/events/t?{query}"), &[], "x");
        assert_eq!(response.refusal(), (400, "headers_invalid".into()));
        assert!(response.text().contains(named), "{}", response.text());
    }
    let response = daemon.request("POST", "/events/t?header=key", &[], "x");
    assert_eq!(response.refusal(), (400, "headers_invalid".into()));
    assert!(response.text().contains("NAME:VALUE"), "{}", response.text());
    for (header, says) in [("key", "NAME=VALUE"), ("a b=1", "`a b`"), ("=1", "no name")] {
        daemon.ctl(&["publish", "t", "x", "--header", header]).ends_with(2).says(says);
    }
    daemon.ctl(&["publish", "t", "x", "--header", "a=1", "--header", "A=2"]).ends_with(2).says("`a` occurs twice");
    daemon.ctl_fed(&["publish", "t", "--jsonl"], br#"{"headers":{"a":7}}"#).ends_with(1).says("expected a string");
}
