//! Refusals: each has a code and a message on every transport, and leaves the rest of the connection intact.

use std::{
    io::{Read, Write},
    net::Shutdown,
};

use serde_json::{Value, json};
use sse_bus::{
    limits::{EVENT_MAX, TOPIC_MAX, TYPE_MAX},
    protocol::{Ack, ErrorCode, Publish, Reply, Request, Subscribe},
};

use crate::harness::{Daemon, percent_encoded};

/// The code of a refusal in JSON lines, which must have a message.
#[track_caller]
fn code(reply: &Value) -> &str {
    let error = &reply["error"];
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{reply}");
    error["code"].as_str().unwrap()
}

/// The code of a refusal in frames.
#[track_caller]
fn refused(reply: Reply) -> (ErrorCode, u64) {
    let Reply::Error(refused) = reply else { panic!("not refused: {reply:?}") };
    assert!(!refused.message.is_empty());
    (refused.code, refused.request)
}

#[test]
fn invalid_topics_are_refused_on_every_transport() {
    let daemon = Daemon::start(&[]);
    let mut lines = daemon.lines();
    let mut frames = daemon.frames();
    let long = "x".repeat(256);
    for topic in ["", "a//b", "/a", "a/", "a b", "a\nb", "a/*", "a/**", "a?b", "a#b", "$sys/clients", "$mine", &long] {
        let line = json!({"publish": {"topic": topic, "data": "x"}}).to_string();
        assert_eq!(code(&lines.ask(line)), "topic_invalid", "{topic:?}");
        let request = Request::Publish(Publish::new(topic, "x"));
        assert_eq!(refused(frames.ask(&request)).0, ErrorCode::TopicInvalid, "{topic:?}");
        let encoded = percent_encoded(topic);
        if !topic.is_empty() {
            let response = daemon.request("POST", &format!("/events/{encoded}"), &[], "x");
            assert_eq!(response.refusal(), (400, "topic_invalid".into()), "{topic:?}");
        }
    }
    assert_eq!(daemon.status()["published"], 0);
}

#[test]
fn invalid_filters_are_refused_on_every_transport() {
    let daemon = Daemon::start(&[]);
    for filter in ["a//b", "a/**/b", "a*", "a b", "***", &"x".repeat(256)] {
        let line = json!({"subscribe": {"filters": ["fine", filter]}}).to_string();
        let reply = daemon.lines().ask(line);
        assert_eq!(code(&reply), "filter_invalid", "{filter:?}");
        let request = Request::Subscribe(Subscribe::new([filter]));
        assert_eq!(refused(daemon.frames().ask(&request)).0, ErrorCode::FilterInvalid, "{filter:?}");
        let query = filter.replace(' ', "%20");
        let response = daemon.get(&format!("/events?topic={query}"));
        assert_eq!(response.refusal(), (400, "filter_invalid".into()), "{filter:?}");
    }
    let many: Vec<String> = (0..65).map(|n| format!("t{n}")).collect();
    let reply = daemon.lines().ask(json!({"subscribe": {"filters": many}}).to_string());
    assert_eq!(code(&reply), "filter_invalid");
    assert_eq!(daemon.status()["subscribers"], 0);
}

#[test]
fn types_that_would_break_a_stream_are_refused_on_every_transport() {
    let daemon = Daemon::start(&[]);
    let mut lines = daemon.lines();
    let mut frames = daemon.frames();
    for kind in ["a\nb", "a\rb", "a\0b", "$gap", &"x".repeat(256)] {
        let line = json!({"publish": {"topic": "t", "type": kind, "data": "x"}}).to_string();
        assert_eq!(code(&lines.ask(line)), "type_invalid", "{kind:?}");
        let publish = Publish::new("t", "x").with_type(kind);
        assert_eq!(refused(frames.ask(&Request::Publish(publish))).0, ErrorCode::TypeInvalid, "{kind:?}");
        let encoded = percent_encoded(kind);
        let response = daemon.request("POST", &format!("/events/t?type={encoded}"), &[], "x");
        assert_eq!(response.refusal(), (400, "type_invalid".into()), "{kind:?}");
    }
}

#[test]
fn data_that_is_not_text_is_refused_on_every_transport() {
    let daemon = Daemon::start(&[]);
    assert_eq!(code(&daemon.lines().ask(r#"{"publish":{"topic":"t","data":"a\u0000b"}}"#)), "data_invalid");
    for data in [&b"a\0b"[..], b"\xff", b"ok \xc3"] {
        let publish = Publish::new("t", data.to_vec());
        let mut frames = daemon.frames();
        assert_eq!(refused(frames.ask(&Request::Publish(publish))), (ErrorCode::DataInvalid, 1));
        assert!(matches!(frames.ask(&Request::Publish(Publish::new("t", "ok"))), Reply::Published(_)));
        let response = daemon.request("POST", "/events/t", &[], data);
        assert_eq!(response.refusal(), (400, "data_invalid".into()));
        assert!(response.text().contains("base64"), "says what to do: {}", response.text());
    }
}

#[test]
fn an_event_may_have_as_many_bytes_as_the_limit_and_no_more() {
    let daemon = Daemon::start(&[]);
    let (fits, too_much) = ("x".repeat(256 << 10), "x".repeat((256 << 10) + 1));
    let mut lines = daemon.lines();
    let line = |data: &str| json!({"publish": {"topic": "t", "data": data}}).to_string();
    assert!(lines.ask(line(&fits))["published"].is_object());
    assert_eq!(code(&lines.ask(line(&too_much))), "limit_event_bytes");
    let mut frames = daemon.frames();
    let publish = |data: &str| Request::Publish(Publish::new("t", data));
    assert!(matches!(frames.ask(&publish(&fits)), Reply::Published(_)));
    assert_eq!(refused(frames.ask(&publish(&too_much))), (ErrorCode::LimitEvent, 2));
    daemon.publish("t", &fits);
    let response = daemon.request("POST", "/events/t", &[], &too_much);
    assert_eq!(response.refusal(), (413, "limit_event_bytes".into()));
    // Escaped in JSON it takes six times the space, and still fits.
    assert!(lines.ask(line(&"\u{1}".repeat(256 << 10)))["published"].is_object());
}

/// With the largest other fields, and in every format.
#[test]
fn an_event_of_the_largest_configurable_size_reaches_all_subscribers() {
    let daemon = Daemon::configured(&format!("[limits]\nevent_bytes = {EVENT_MAX}\nfeed_buffer = 16777216\n"));
    let topic = "t".repeat(TOPIC_MAX);
    let (mut frames, mut lines, mut stream) = (daemon.frames(), daemon.lines(), daemon.stream("/events"));
    frames.ask(&Request::Subscribe(Subscribe::new(["**"])));
    lines.ask(r#"{"subscribe":{"filters":["**"]}}"#);
    let (kind, data) = ("k".repeat(TYPE_MAX), "x".repeat(EVENT_MAX));
    let response = daemon.request("POST", &format!("/events/{topic}?type={kind}"), &[], &data);
    assert_eq!((response.status, &response.json()["subscribers"]), (202, &3.into()));
    let Some(Reply::Event(event)) = frames.next() else { panic!("no event") };
    assert_eq!((event.topic, event.data.len()), (topic, EVENT_MAX));
    assert_eq!(lines.event()["data"].as_str().unwrap().len(), EVENT_MAX);
    assert_eq!(stream.event().data.len(), EVENT_MAX);
}

#[test]
fn a_pipeline_continues_after_errors_which_name_their_request() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/t");
    let mut lines = daemon.lines();
    lines.send_raw(concat!(
        r#"{"publish":{"topic":"t","data":"1"}}"#,
        "\n",
        "not json\n",
        r#"{"publish":{"topic":"t","data":"2"}}"#,
        "\r\n",
        r#"{"publish":{"topic":"a//b","data":"x"}}"#,
        "\n",
        r#"{"publish":{"topic":"t","data":"3","ack":"none"}}"#,
        "\n",
        r#"{"status":{}}"#,
        "\n",
        "\n",
        r#"{"publish":{"topic":"t","data":"4","colour":"red"}}"#,
        "\n",
        r#"{"dance":{}}"#,
        "\n",
        r#"{"publish":{"topic":"$x","data":"","ack":"none"}}"#,
        "\n",
        r#"{"publish":{"topic":"t","data":"5"}}"#,
        "\n",
    ));
    let mut responses = Vec::new();
    for _ in 0..10 {
        let reply = lines.reply();
        let (kind, value) = reply.as_object().unwrap().iter().next().unwrap();
        responses.push(match kind.as_str() {
            "error" => format!("{} {}", value["request"], code(&reply)),
            other => other.to_owned(),
        });
    }
    assert_eq!(
        responses,
        [
            "published",
            "2 request_invalid",
            "published",
            "4 topic_invalid",
            "status",
            "7 request_invalid",
            "8 request_invalid",
            "9 request_invalid",
            "10 topic_invalid",
            "published"
        ]
    );
    assert_eq!(stream.data(4), ["1", "2", "3", "5"]);
}

#[test]
fn a_pipeline_of_frames_continues_after_errors() {
    let daemon = Daemon::start(&[]);
    let mut frames = daemon.frames();
    frames.send(&Request::Publish(Publish::new("t", "1")));
    frames.send(&Request::Publish(Publish::new("a b", "2")));
    frames.send(&Request::Publish(Publish::new("t", "3").with_ack(Ack::None)));
    frames.send(&Request::Publish(Publish::new("t", "4").with_ack(Ack::Durable)));
    frames.send(&Request::Kick { client: "nobody".into(), for_ms: None });
    frames.send(&Request::Status {});
    assert!(matches!(frames.next(), Some(Reply::Published(_))));
    assert_eq!(refused(frames.next().unwrap()), (ErrorCode::TopicInvalid, 2));
    assert_eq!(refused(frames.next().unwrap()), (ErrorCode::NotDurable, 4));
    assert_eq!(refused(frames.next().unwrap()), (ErrorCode::ClientUnknown, 5));
    assert!(matches!(frames.next(), Some(Reply::Status(_))));
}

#[test]
fn an_overlong_line_is_skipped_and_answered_once() {
    let daemon = Daemon::start(&[]);
    let mut lines = daemon.lines();
    lines.send_raw(b"{\"publish\":{\"topic\":\"t\",\"data\":\"");
    lines.send_raw(vec![b'x'; 9 << 20]);
    lines.send(b"\"}}");
    let reply = lines.reply();
    assert_eq!((code(&reply), &reply["error"]["request"]), ("limit_line_bytes", &json!(1)));
    assert!(lines.ask(r#"{"publish":{"topic":"t","data":"x"}}"#)["published"].is_object());
    assert_eq!(lines.ask("{}")["error"]["request"], 3);
}

#[test]
fn a_bad_frame_is_answered_and_ends_its_connection() {
    let daemon = Daemon::start(&[]);
    let too_long = (5_u32 << 20).to_le_bytes();
    let cases = [
        (&b"\x03\x00\x00\x00\xff\xff\xff"[..], ErrorCode::RequestInvalid),
        (b"\x00\x00\x00\x00", ErrorCode::RequestInvalid),
        // A status request and one more byte.
        (b"\x02\x00\x00\x00\x05\x00", ErrorCode::RequestInvalid),
        (&too_long, ErrorCode::LimitFrame),
    ];
    for (bytes, code) in cases {
        let mut frames = daemon.frames();
        assert!(matches!(frames.ask(&Request::Publish(Publish::new("t", "fine"))), Reply::Published(_)));
        frames.send_raw(bytes);
        assert_eq!(refused(frames.next().unwrap()), (code, 2));
        assert!(frames.next().is_none(), "the connection stays open after {bytes:?}");
    }
}

#[test]
fn peers_that_speak_another_protocol_are_refused_and_closed() {
    let daemon = Daemon::start(&[]);
    for (bytes, says) in [(&b"hello\n"[..], "JSON"), (b"[1]", "JSON"), (b"\xef\xbbx", "JSON")] {
        let mut lines = daemon.lines();
        lines.send_raw(bytes);
        let reply = lines.reply();
        assert_eq!(code(&reply), "request_invalid");
        assert!(reply["error"]["message"].as_str().unwrap().contains(says), "{reply}");
        assert!(lines.next().is_none());
    }
}

#[test]
fn invalid_parameters_are_refused_with_their_name() {
    let daemon = Daemon::start(&[]);
    for (method, path, named) in [
        ("GET", "/events/t?format=xml", "format"),
        ("POST", "/events/t?retain=perhaps", "retain"),
        ("POST", "/events/t?ttl=soon", "ttl"),
        ("POST", "/events/t?to=c1&retain", "to"),
        ("POST", "/events/t?ack=durble", "ack"),
    ] {
        let response = daemon.request(method, path, &[], b"");
        assert_eq!(response.refusal(), (400, "request_invalid".into()), "{path}");
        assert!(response.text().contains(named), "{path}: {}", response.text());
    }
    let name = "x".repeat(129);
    assert_eq!(daemon.get(&format!("/events/t?client={name}")).refusal(), (400, "client_invalid".into()));
    assert_eq!(daemon.get("/events/t?client=a%0Ab").refusal(), (400, "client_invalid".into()));
    let durable = daemon.request("POST", "/events/t?ack=durable", &[], "x");
    assert_eq!(durable.refusal(), (400, "not_durable".into()));
}

#[test]
fn a_refusal_quotes_the_value_on_one_line_and_shortened() {
    let daemon = Daemon::start(&[]);
    let long = "x".repeat(200 << 10);
    let is_short = |message: &Value| {
        let message = message.as_str().unwrap();
        assert!(message.len() < 1100 && !message.contains(char::is_control), "{message}");
    };
    for name in ["a\nb", "\u{1b}[2J", "\u{85}", &long] {
        let reply = daemon.lines().ask(json!({ name: {} }).to_string());
        assert_eq!(code(&reply), "request_invalid");
        is_short(&reply["error"]["message"]);
        let reply = daemon.lines().ask(json!({"publish": {"topic": name, name: ""}}).to_string());
        is_short(&reply["error"]["message"]);
        let value = percent_encoded(&name[..name.len().min(1000)]);
        for parameter in ["format", "slow", "since", "topic", "client"] {
            let response = daemon.get(&format!("/events?{parameter}={value}"));
            assert_eq!(response.refusal().0, 400, "{parameter}={name:?}");
            is_short(&response.json()["error"]["message"]);
        }
    }
}

#[test]
fn paths_that_are_not_text_are_refused_like_any_other() {
    let daemon = Daemon::start(&[]);
    for (method, path) in
        [("GET", "/events/%FF"), ("HEAD", "/events/%FF"), ("POST", "/events/%FF"), ("DELETE", "/clients/%FF")]
    {
        let response = daemon.request(method, path, &[], "");
        assert_eq!(response.status, 400, "{method} {path}");
        if method != "HEAD" {
            assert_eq!(response.refusal().1, "request_invalid", "{method} {path}");
        }
    }
}

#[test]
fn refusals_are_counted_by_code() {
    let daemon = Daemon::start(&[]);
    daemon.lines().ask(r#"{"publish":{"topic":"a b","data":""}}"#);
    daemon.request("POST", "/events/a%20b", &[], "");
    assert!((daemon.metric("sse_bus_refused_total{code=\"topic_invalid\"}") - 2.0).abs() < 0.1);
}

#[test]
fn an_incomplete_body_is_not_a_limit_error() {
    let daemon = Daemon::start(&[]);
    for (headers, body) in [("Transfer-Encoding: chunked", "zz\r\nabc\r\n"), ("Content-Length: 10", "abc")] {
        let mut socket = daemon.tcp();
        let request = format!("POST /events/t HTTP/1.1\r\nHost: {}\r\n{headers}\r\n\r\n{body}", daemon.address);
        socket.write_all(request.as_bytes()).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let mut response = String::new();
        socket.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 400 ") && response.contains("request_invalid"), "{headers}: {response}");
    }
    assert_eq!(daemon.status()["published"], 0);
}
