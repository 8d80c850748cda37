//! Requests and replies over the local socket.

use serde_json::{Value, json};
use sse_bus::protocol::{Reply, ReplyTo, Request, RequestMessage, Respond};
use sse_bus_support::harness::{Daemon, Lines, until};

/// Returns a connection that is a responder.
fn responder(daemon: &Daemon, respond: &Value) -> Lines {
    let mut lines = daemon.lines();
    let reply = lines.ask(json!({ "respond": respond }).to_string());
    assert!(reply["responding"]["client"].is_string(), "{reply}");
    lines
}

fn send(lines: &mut Lines, topic: &str, data: &str) {
    lines.send(json!({ "request": { "topic": topic, "data": data } }).to_string());
}

/// Answers the next request of a responder with its data and a suffix. Returns the data.
fn answer(lines: &mut Lines, suffix: &str) -> String {
    let event = lines.event();
    let data = event["data"].as_str().unwrap().to_owned();
    let reply = json!({ "reply": { "to": event["reply_to"], "data": format!("{data}{suffix}") } });
    assert_eq!(lines.ask(reply.to_string()), json!({ "replied": {} }));
    data
}

fn code(reply: &Value) -> &str {
    reply["error"]["code"].as_str().unwrap_or_else(|| panic!("{reply}"))
}

#[test]
fn a_responder_replies_to_a_request() {
    let daemon = Daemon::start(&[]);
    let mut calc = responder(&daemon, &json!({ "filters": ["math/*"], "client": "calc" }));
    let mut client = daemon.lines();
    client.send(
        r#"{"request":{"topic":"math/sum","data":"1 2","type":"ask","headers":{"traceparent":"00-1"},"timeout_ms":9000}}"#,
    );
    let event = calc.event();
    assert_eq!(
        [&event["id"], &event["topic"], &event["type"], &event["data"], &event["headers"]],
        [&Value::Null, &json!("math/sum"), &json!("ask"), &json!("1 2"), &json!({ "traceparent": "00-1" })]
    );
    assert!((8000..=9000).contains(&event["timeout_ms"].as_u64().unwrap()), "{event}");
    let to = event["reply_to"].as_str().unwrap();
    let reply = json!({ "reply": { "to": to, "data": "3", "headers": { "Unit": "m" } } }).to_string();
    assert_eq!(calc.ask(&reply), json!({ "replied": {} }));
    assert_eq!(
        client.reply(),
        json!({ "replies": [{ "data": "3", "headers": { "unit": "m" }, "responder": "calc" }] })
    );
    // Nothing is in history, and the second reply has no request.
    assert_eq!(daemon.status()["history_events"], 0);
    assert_eq!(code(&calc.ask(&reply)), "stale_request");
    assert_eq!(code(&calc.ask(r#"{"reply":{"to":"1-c1-0","data":""}}"#)), "stale_request");
}

#[test]
fn without_a_responder_a_request_fails_at_once() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.lines();
    let request = r#"{"request":{"topic":"math/sum","timeout_ms":3600000}}"#;
    assert_eq!(code(&client.ask(request)), "no_responder");
    let other = responder(&daemon, &json!({ "filters": ["text/**"] }));
    // A subscriber does not reply.
    daemon.lines().ask(r#"{"subscribe":{"filters":["math/**"]}}"#);
    assert_eq!(code(&client.ask(request)), "no_responder");
    drop(other);
}

#[test]
fn the_errors_of_a_request_are_distinguishable() {
    let daemon = Daemon::start(&[]);
    let mut calc = responder(&daemon, &json!({ "filters": ["math/*"], "max_in_flight": 10 }));
    let mut client = daemon.lines();
    assert_eq!(code(&client.ask(r#"{"request":{"topic":"math/sum","timeout_ms":50}}"#)), "timed_out");
    let late = calc.event();
    let reply = json!({ "reply": { "to": late["reply_to"], "data": "3" } });
    assert_eq!(code(&calc.ask(reply.to_string())), "stale_request");

    send(&mut client, "math/sum", "a");
    let failed = json!({ "reply": { "to": calc.event()["reply_to"], "error": "not numbers" } });
    assert_eq!(calc.ask(failed.to_string()), json!({ "replied": {} }));
    let reply = client.reply();
    assert_eq!((code(&reply), &reply["error"]["message"]), ("responder_failed", &json!("not numbers")));

    send(&mut client, "math/sum", "a");
    calc.event();
    drop(calc);
    assert_eq!(code(&client.reply()), "responder_gone");
    for (request, expected) in [
        (r#"{"request":{"topic":"math/*"}}"#, "topic_invalid"),
        (r#"{"request":{"topic":"$sys/a"}}"#, "topic_invalid"),
        (r#"{"request":{"topic":"a","timeout_ms":0}}"#, "request_invalid"),
        (r#"{"request":{"topic":"a","timeout_ms":3600001}}"#, "request_invalid"),
        (r#"{"request":{"topic":"a","replies":0}}"#, "request_invalid"),
        (r#"{"request":{"topic":"a","replies":101}}"#, "request_invalid"),
        (r#"{"respond":{}}"#, "filter_invalid"),
        (r#"{"respond":{"filters":["a//b"]}}"#, "filter_invalid"),
        (r#"{"respond":{"filters":["a"],"max_in_flight":0}}"#, "request_invalid"),
        (r#"{"respond":{"filters":["a"],"max_in_flight":1001}}"#, "request_invalid"),
    ] {
        assert_eq!(code(&client.ask(request)), expected, "{request}");
    }
}

#[test]
fn responders_take_turns_and_busy_ones_are_left_out() {
    let daemon = Daemon::start(&[]);
    let mut first = responder(&daemon, &json!({ "filters": ["a/**"] }));
    let mut second = responder(&daemon, &json!({ "filters": ["a/*"] }));
    let mut clients: Vec<_> = (0..3).map(|_| daemon.lines()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        send(client, "a/b", &number.to_string());
        until("the request", || {
            let requests = daemon.status()["limits"].as_array().unwrap().clone();
            requests.iter().any(|limit| limit["limit"] == "requests" && limit["used"] == number + 1).then_some(())
        });
    }
    // The third waits until one of them is free.
    assert_eq!(answer(&mut second, "+second"), "1");
    assert_eq!(answer(&mut second, "+second"), "2");
    assert_eq!(answer(&mut first, "+first"), "0");
    let replies: Vec<_> = clients.iter_mut().map(|client| client.reply()["replies"][0]["data"].clone()).collect();
    assert_eq!(replies, ["0+first", "1+second", "2+second"]);
}

#[test]
fn a_request_that_waits_fails_once_the_last_responder_has_left() {
    let daemon = Daemon::start(&[]);
    let mut busy = responder(&daemon, &json!({ "filters": ["a"] }));
    let (mut first, mut second) = (daemon.lines(), daemon.lines());
    send(&mut first, "a", "1");
    busy.event();
    send(&mut second, "a", "2");
    // The status is answered after the request.
    second.send(r#"{"status":{}}"#);
    until("the request", || {
        let status = daemon.status();
        let mut limits = status["limits"].as_array().unwrap().iter();
        limits.any(|limit| limit["limit"] == "requests" && limit["used"] == 2).then_some(())
    });
    drop(busy);
    assert_eq!(code(&first.reply()), "responder_gone");
    assert_eq!(code(&second.reply()), "no_responder");
    assert!(second.reply()["status"].is_object());
}

#[test]
fn several_responders_reply_to_one_request() {
    let daemon = Daemon::start(&[]);
    let mut responders: Vec<_> =
        ["one", "two", "three"].map(|name| responder(&daemon, &json!({ "filters": ["a"], "client": name }))).into();
    let mut client = daemon.lines();
    // Fewer responders than replies: it ends with those that there are.
    client.send(r#"{"request":{"topic":"a","data":"x","replies":5}}"#);
    for responder in &mut responders {
        answer(responder, "");
    }
    let reply = client.reply();
    let names: Vec<_> = reply["replies"].as_array().unwrap().iter().map(|reply| &reply["responder"]).collect();
    assert_eq!(names, ["one", "two", "three"]);
    // What has arrived in time is the result.
    client.send(r#"{"request":{"topic":"a","data":"x","replies":2,"timeout_ms":300}}"#);
    answer(&mut responders[0], "");
    assert_eq!(client.reply()["replies"].as_array().unwrap().len(), 1);
    assert_eq!(code(&client.ask(r#"{"request":{"topic":"a","replies":3,"timeout_ms":50}}"#)), "timed_out");
}

#[test]
fn replies_stay_in_order_while_a_request_waits_and_events_go_on() {
    let daemon = Daemon::start(&[]);
    let mut calc = responder(&daemon, &json!({ "filters": ["math/*"] }));
    let mut client = daemon.lines();
    client.ask(r#"{"subscribe":{"filters":["log"]}}"#);
    send(&mut client, "math/sum", "a");
    client.send(r#"{"publish":{"topic":"log","data":"later"}}"#);
    send(&mut client, "text/none", "b");
    client.send(r#"{"publish":{"topic":"log","data":"scheduled","in_ms":3600000}}"#);
    client.send(r#"{"publish":{"topic":"log","data":"never","in_ms":1,"at":1}}"#);
    client.send(r#"{"clients":{}}"#);
    // The event arrives while the reply to its publish waits.
    assert_eq!(client.event()["data"], "later");
    daemon.publish("log", "again");
    assert_eq!(client.event()["data"], "again");
    answer(&mut calc, "!");
    assert_eq!(client.reply()["replies"][0]["data"], "a!");
    assert!(client.reply()["published"].is_object());
    assert_eq!(code(&client.reply()), "no_responder");
    assert!(client.reply()["scheduled"].is_object());
    assert_eq!(code(&client.reply()), "schedule_invalid");
    let clients = client.reply();
    let roles: Vec<_> = clients["clients"].as_array().unwrap().iter().map(|client| &client["role"]).collect();
    assert_eq!(roles, ["responder", "subscriber"]);
    assert_eq!(clients["clients"][0]["filters"], json!(["math/*"]));
}

#[test]
fn a_subscription_begins_after_the_replies_to_earlier_requests() {
    let daemon = Daemon::start(&[]);
    let mut calc = responder(&daemon, &json!({ "filters": ["math/*"] }));
    let mut client = daemon.lines();
    send(&mut client, "math/sum", "a");
    client.send(r#"{"subscribe":{"filters":["log"],"since":"all"}}"#);
    client.send(r#"{"status":{}}"#);
    daemon.publish("log", "x");
    answer(&mut calc, "!");
    assert_eq!(client.reply()["replies"][0]["data"], "a!");
    assert!(client.reply()["subscribed"].is_object());
    let mut next = [client.reply(), client.reply()];
    next.sort_by_key(|reply| reply["event"].is_null());
    assert_eq!((&next[0]["event"]["data"], next[1]["status"].is_object()), (&json!("x"), true));
}

#[test]
fn a_client_that_has_sent_everything_receives_the_reply() {
    let daemon = Daemon::start(&[]);
    let mut calc = responder(&daemon, &json!({ "filters": ["math/*"] }));
    let mut client = daemon.lines();
    send(&mut client, "math/sum", "a");
    client.close_sending();
    answer(&mut calc, "!");
    assert_eq!(client.reply()["replies"][0]["data"], "a!");
    assert_eq!(client.next(), None);
}

#[test]
fn a_request_whose_client_has_left_frees_the_responder() {
    let daemon = Daemon::start(&[]);
    let mut calc = responder(&daemon, &json!({ "filters": ["a"] }));
    let (mut leaving, mut client) = (daemon.lines(), daemon.lines());
    send(&mut leaving, "a", "1");
    let event = calc.event();
    send(&mut client, "a", "2");
    drop(leaving);
    assert_eq!(answer(&mut calc, ""), "2");
    let reply = json!({ "reply": { "to": event["reply_to"], "data": "late" } });
    assert_eq!(code(&calc.ask(reply.to_string())), "stale_request");
}

#[test]
fn a_request_ends_with_the_daemon() {
    let mut daemon = Daemon::start(&[]);
    let mut calc = responder(&daemon, &json!({ "filters": ["a"] }));
    let mut client = daemon.lines();
    send(&mut client, "a", "1");
    calc.event();
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(code(&client.reply()), "stopping");
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn frames_carry_requests_and_replies() {
    let daemon = Daemon::start(&[]);
    let (mut calc, mut client) = (daemon.frames(), daemon.frames());
    let responding = calc.ask(&Request::Respond(Respond::new(["math/*"]).with_client("calc")));
    assert!(matches!(responding, Reply::Responding(_)), "{responding:?}");
    client.send(&Request::Request(RequestMessage::new("math/sum", "1 2").with_header("a", "b")));
    let Some(Reply::Event(event)) = calc.next() else { panic!("no request") };
    assert_eq!((&*event.topic, &*event.data, event.headers.get("a")), ("math/sum", "1 2", Some("b")));
    let reply = ReplyTo::new(event.reply_to.unwrap(), "3").with_header("unit", "m");
    assert_eq!(calc.ask(&Request::Reply(reply)), Reply::Replied {});
    let Some(Reply::Replies(replies)) = client.next() else { panic!("no reply") };
    assert_eq!((&*replies[0].data, replies[0].headers.get("unit"), &*replies[0].responder), ("3", Some("m"), "calc"));
    let refused = client.ask(&Request::Request(RequestMessage::new("text/none", "")));
    assert!(matches!(&refused, Reply::Error(refused) if refused.code.as_str() == "no_responder"), "{refused:?}");
}
