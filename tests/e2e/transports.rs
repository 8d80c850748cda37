//! Transports and formats: an event published on any transport is delivered in every format.

use serde_json::{Value, json};
use sse_bus::{
    Client,
    client::Item,
    protocol::{Publish, Reply, Request, Subscribe},
};

use crate::harness::{Daemon, Sse, block_on};

const AWKWARD: &str = "naïve \"quoted\" \\ 日本語 🚌\ttab\nsecond line\n\nfourth ";

#[test]
fn an_event_from_any_transport_is_delivered_in_every_format() {
    let daemon = Daemon::start(&[]);
    let mut data = daemon.stream("/events/build/**");
    let mut envelope = daemon.stream_locally("/events/build/**?format=json");
    let mut lines = daemon.lines();
    lines.ask(r#"{"subscribe":{"filters":["build/**"]}}"#);
    let mut frames = daemon.frames();
    let subscribed = frames.ask(&Request::Subscribe(Subscribe::new(["build/**"])));
    assert!(matches!(subscribed, Reply::Subscribed(_)), "{subscribed:?}");

    let in_json = json!({"publish": {"topic": "build/json", "type": "done", "data": AWKWARD}}).to_string();
    let published = Publish::new("build/binary", AWKWARD).with_type("done");
    let ids = [
        daemon.lines().ask(in_json)["published"]["id"].as_str().unwrap().to_owned(),
        match daemon.frames().ask(&Request::Publish(published)) {
            Reply::Published(published) => {
                assert_eq!(published.subscribers, 4);
                published.id.unwrap().to_string()
            }
            other => panic!("{other:?}"),
        },
        daemon.publish("build/tcp?type=done", AWKWARD),
        {
            let response = daemon.request_locally("POST", "/events/build/local?type=done", AWKWARD);
            assert_eq!((response.status, &response.json()["subscribers"]), (202, &json!(4)));
            response.json()["id"].as_str().unwrap().to_owned()
        },
    ];

    for (id, topic) in ids.into_iter().zip(["build/json", "build/binary", "build/tcp", "build/local"]) {
        let wanted = Sse { id: id.clone(), kind: Some("done".into()), data: AWKWARD.into() };
        assert_eq!(data.event(), wanted, "{topic}");

        let in_envelope = envelope.event();
        assert_eq!((in_envelope.id.as_str(), &in_envelope.kind), (id.as_str(), &None));
        let event = in_envelope.json();
        let time = event["time"].as_u64().unwrap();
        assert_eq!(event, json!({"id": id, "topic": topic, "type": "done", "time": time, "data": AWKWARD}));
        assert_eq!(lines.event(), event);

        let Some(Reply::Event(message)) = frames.next() else { panic!("no event") };
        assert_eq!(serde_json::to_value(message).unwrap(), event);
    }
}

#[test]
fn an_event_without_a_type_has_null_in_envelopes_and_no_field_in_streams() {
    let daemon = Daemon::start(&[]);
    let mut data = daemon.stream("/events/t");
    let mut lines = daemon.lines();
    lines.ask(r#"{"subscribe":{"filters":["t"]}}"#);
    // An empty type in a query counts as unset: forms send empty fields.
    daemon.publish("t?type=", "x");
    assert_eq!(data.event().kind, None);
    assert_eq!(lines.event()["type"], Value::Null);
}

#[test]
fn the_library_publishes_and_subscribes() {
    let daemon = Daemon::start(&[]);
    block_on(async {
        let subscriber = Client::connect(&daemon.endpoint()).await.unwrap();
        let mut subscription = subscriber.subscribe(Subscribe::new(["a/*"])).await.unwrap();
        let mut client = Client::connect(&daemon.endpoint()).await.unwrap();
        let results = client.publish_many((0..1000).map(|n| Publish::new("a/b", n.to_string()))).await.unwrap();
        assert_eq!(results.len(), 1000);
        for (n, result) in results.into_iter().enumerate() {
            let Some(Ok(Item::Event(event))) = subscription.next().await else { panic!("no event {n}") };
            assert_eq!((event.id, event.data), (result.unwrap().id, n.to_string()));
        }
        assert_eq!(client.kick(subscription.client()).await.unwrap(), 1);
        assert!(subscription.next().await.unwrap().is_err());
    });
}

#[test]
fn filters_select_topics_and_exclude_the_buss_own() {
    let daemon = Daemon::start(&[]);
    let mut one = daemon.stream("/events/a/*?format=json");
    let mut many = daemon.stream("/events?topic=a/b&topic=c/**&format=json");
    let mut all = daemon.stream("/events?format=json");
    for topic in ["a", "a/b", "a/b/c", "c", "c/d/e", "end"] {
        daemon.publish(topic, topic);
    }
    daemon.publish("a/end", "");
    daemon.publish("c/end", "");
    let topics = |stream: &mut crate::harness::EventStream, n: usize| -> Vec<String> {
        (0..n).map(|_| stream.event().json()["topic"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(topics(&mut one, 2), ["a/b", "a/end"]);
    assert_eq!(topics(&mut many, 4), ["a/b", "c", "c/d/e", "c/end"]);
    assert_eq!(topics(&mut all, 8), ["a", "a/b", "a/b/c", "c", "c/d/e", "end", "a/end", "c/end"]);
}

#[test]
fn topics_with_unusual_characters_are_percent_encoded_in_urls() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/caf%C3%A9/50%25/**?format=json");
    daemon.publish("caf%C3%A9/50%25/x&y", "1");
    assert_eq!(stream.event().json()["topic"], "café/50%/x&y");
}

#[test]
fn a_half_closed_connection_still_receives_its_events() {
    let daemon = Daemon::start(&[]);
    let mut lines = daemon.lines();
    lines.send_raw(br#"{"subscribe":{"filters":["t"]}}"#); // and no line break
    lines.close_sending();
    assert!(lines.reply()["subscribed"].is_object());
    daemon.publish("t", "x");
    assert_eq!(lines.event()["data"], "x");
}

#[test]
fn one_connection_subscribes_publishes_and_queries() {
    let daemon = Daemon::start(&[]);
    let mut lines = daemon.lines();
    assert!(lines.ask(r#"{"publish":{"topic":"t","data":"before"}}"#)["published"].is_object());
    assert!(lines.ask(r#"{"subscribe":{"filters":["t"],"client":"me"}}"#)["subscribed"].is_object());
    assert!(lines.ask(r#"{"publish":{"topic":"t","data":"after"}}"#)["published"].is_object());
    assert_eq!(lines.event()["data"], "after");
    let clients = lines.ask(r#"{"clients":{}}"#);
    assert_eq!(clients["clients"].as_array().unwrap().len(), 1, "{clients}");
    assert_eq!(clients["clients"][0]["role"], "subscriber");
    let again = lines.ask(r#"{"subscribe":{"filters":["u"]}}"#);
    assert_eq!(again["error"]["code"], "already_subscribed");
}

#[test]
fn a_byte_order_mark_before_the_first_line_is_skipped() {
    let daemon = Daemon::start(&[]);
    let publish = |data: &str| json!({"publish": {"topic": "t", "data": data}}).to_string();
    let mut lines = daemon.lines();
    assert!(lines.ask(format!("\u{feff}{}", publish("one")))["published"].is_object());
    // Later on it is an invalid character.
    assert_eq!(lines.ask(format!("\u{feff}{}", publish("two")))["error"]["code"], "request_invalid");
    // Also when it arrives byte by byte; the pauses make the daemon read each one alone, and the result does not depend
    // on them.
    let mut lines = daemon.lines();
    for byte in "\u{feff}".bytes() {
        lines.send_raw([byte]);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(lines.ask(publish("three"))["published"].is_object());
    let request = "\u{feff}GET /status HTTP/1.1\r\nHost: bus\r\nConnection: close\r\n\r\n";
    let mut lines = daemon.lines();
    lines.send_raw(request);
    assert!(lines.head().starts_with("HTTP/1.1 200"));
    assert_eq!(daemon.ctl(&["history", "t", "--format", "data"]).ok().stdout, "one\nthree\n");
}

#[test]
fn data_of_a_line_may_be_any_json_value() {
    let daemon = Daemon::start(&[]);
    let value = r#"{"n": [1.10, 1e400, 12345678901234567890123], "text": "a\"b"}"#;
    let line = format!(r#"{{"publish":{{"topic":"t","data":{value}}}}}"#);
    assert!(daemon.lines().ask(line)["published"].is_object());
    daemon.ctl_fed(&["publish", "t", "--jsonl"], format!("{{\"data\":{value}}}\n{{\"data\":\"7\"}}\n").as_bytes()).ok();
    assert_eq!(daemon.ctl(&["history", "t", "--format", "data"]).ok().stdout, format!("{value}\n{value}\n7\n"));
}
