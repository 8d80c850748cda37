//! Deliveries over HTTP: with a long poll, or as a stream.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    consumers_http::{lines, next, post, show, tokens, with_consumer},
    harness::{Daemon, Http2, until},
};

#[test]
fn deliveries_are_taken_and_settled() {
    let daemon = with_consumer();
    assert_eq!(next(&daemon, ""), [] as [Value; 0]);
    let ids: Vec<_> = ["a", "b", "c"].iter().map(|data| daemon.publish("jobs/x", data)).collect();
    let taken = next(&daemon, "?count=2");
    let envelope = &taken[0];
    assert_eq!(
        (&envelope["id"], &envelope["topic"], &envelope["data"]),
        (&json!(ids[0]), &json!("jobs/x"), &json!("a"))
    );
    assert_eq!((&envelope["delivery"]["attempt"], taken.len()), (&json!(1), 2));
    assert!(envelope["delivery"]["deadline"].as_u64() > envelope["time"].as_u64(), "{envelope}");
    // They continue without a connection.
    assert_eq!((show(&daemon)["in_flight"].clone(), show(&daemon)["workers"].clone()), (json!(2), json!(0)));
    assert_eq!(post(&daemon, "extend", &tokens(&taken)), json!({"deliveries": 2}));
    assert_eq!(post(&daemon, "ack", &tokens(&taken[..1])), json!({"deliveries": 1}));
    assert_eq!(post(&daemon, "nak", &tokens(&taken[1..])), json!({"deliveries": 1}));
    let stale = daemon.request("POST", "/consumers/q/ack", &[], tokens(&taken));
    assert_eq!(stale.refusal(), (409, "stale_delivery".into()));
    let again = next(&daemon, "?wait=10s");
    let more = if again[0]["data"] == "b" { next(&daemon, "?wait=10s") } else { again.clone() };
    let attempts: Vec<_> =
        [again, more].concat().iter().map(|e| (e["data"].clone(), e["delivery"]["attempt"].clone())).collect();
    assert!(attempts.contains(&(json!("c"), json!(1))), "{attempts:?}");
    for (path, body) in [
        ("ack", ""),
        ("ack", "{}"),
        ("ack", r#"{"tokens":[]},"nak":{"tokens":[]}"#),
        ("ack", r#"{"tokens":[],"delay_ms":1}"#),
        ("nak", r#"{"tokens":"a"}"#),
    ] {
        let refused = daemon.request("POST", &format!("/consumers/q/{path}"), &[], body);
        assert_eq!(refused.refusal(), (400, "request_invalid".into()), "{path} {body}");
    }
    for query in ["?count=0", "?count=65", "?count=x", "?wait=61s", "?wait=1"] {
        let refused = daemon.request("POST", &format!("/consumers/q/next{query}"), &[], "");
        assert_eq!(refused.refusal(), (400, "request_invalid".into()), "{query}");
    }
}

#[test]
fn a_request_waits_for_a_delivery_over_every_transport() {
    let daemon = with_consumer();
    let path = "/consumers/q/next?wait=30s";
    let http2 = Http2::connect(daemon.address);
    let transports: [&(dyn Fn() -> crate::harness::Response + Sync); 3] =
        [&|| daemon.request("POST", path, &[], ""), &|| daemon.request_locally("POST", path, ""), &|| {
            http2.request("POST", path, &[], "")
        }];
    for (number, ask) in transports.into_iter().enumerate() {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(ask);
            until("it waits", || (show(&daemon)["workers"] == 1).then_some(()));
            daemon.publish("jobs/x", number.to_string());
            let answer = waiting.join().unwrap();
            assert_eq!((answer.status, answer.header("x-content-type-options")), (200, Some("nosniff")));
            let taken = lines(&answer.text());
            assert_eq!((&taken[0]["data"], taken.len()), (&json!(number.to_string()), 1));
            post(&daemon, "ack", &tokens(&taken));
        });
    }
    // The end of the wait is an empty response.
    let began = Instant::now();
    assert_eq!(next(&daemon, "?wait=400ms"), [] as [Value; 0]);
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert_eq!(show(&daemon)["workers"], 0);
}

#[test]
fn a_client_that_disconnects_while_it_waits_loses_nothing() {
    let daemon = with_consumer();
    let head =
        format!("POST /consumers/q/next?wait=60s HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", daemon.address);
    for is_local in [false, true] {
        if is_local {
            let mut socket = daemon.local();
            socket.write_all(head.as_bytes()).unwrap();
            until("it waits", || (show(&daemon)["workers"] == 1).then_some(()));
        } else {
            let mut socket = daemon.tcp();
            socket.write_all(head.as_bytes()).unwrap();
            // The head of the response arrives when the wait begins.
            socket.read_exact(&mut [0; 15]).unwrap();
        }
        until("the worker is removed", || (show(&daemon)["workers"] == 0).then_some(()));
        daemon.publish("jobs/x", "x");
        let info = show(&daemon);
        assert_eq!((&info["pending"], &info["in_flight"]), (&json!(1), &json!(0)), "local {is_local}");
        let taken = next(&daemon, "?wait=5s");
        assert_eq!(taken[0]["delivery"]["attempt"], 1);
        post(&daemon, "ack", &tokens(&taken));
    }
    // A peer that has closed its sending half still gets the end of the response.
    let mut socket = daemon.tcp();
    socket.write_all(head.as_bytes()).unwrap();
    socket.read_exact(&mut [0; 15]).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    socket.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("\r\n\r\n0\r\n\r\n"), "{rest}");
}

#[test]
fn a_stream_of_deliveries_is_a_worker_until_it_closes() {
    let daemon = with_consumer();
    let path = "/consumers/q/events?max_in_flight=2&worker=tab&heartbeat=1s";
    for open in [Daemon::stream, Daemon::stream_locally] {
        let mut stream = open(&daemon, path);
        assert_eq!(stream.head.header("content-type"), Some("text/event-stream; charset=utf-8"));
        let client = daemon.get("/clients").json()[0].clone();
        assert_eq!(
            (&client["role"], &client["name"], &client["via"]),
            (&json!("worker"), &json!("tab"), &json!("sse"))
        );
        assert_eq!(stream.head.header("sse-bus-client"), client["id"].as_str());
        for data in ["1", "2", "3"] {
            daemon.publish("jobs/x", data);
        }
        let first = [stream.event().json(), stream.event().json()];
        assert_eq!(first.iter().map(|event| event["data"].clone()).collect::<Vec<_>>(), ["1", "2"]);
        // It has no room for the third, and lives on.
        while stream.line().unwrap().unwrap() != ":\n" {}
        post(&daemon, "ack", &tokens(&first));
        let third = stream.event().json();
        assert_eq!((&third["data"], &third["delivery"]["attempt"]), (&json!("3"), &json!(1)));
        drop(stream);
        // The attempt has failed, since the event may have killed its worker.
        let again = next(&daemon, "?wait=10s");
        assert_eq!((&again[0]["data"], &again[0]["delivery"]["attempt"]), (&json!("3"), &json!(2)));
        post(&daemon, "ack", &tokens(&again));
        until("it is removed", || (show(&daemon)["workers"] == 0).then_some(()));
    }
    assert_eq!(daemon.request("HEAD", path, &[], "").status, 200);
    assert_eq!(show(&daemon)["workers"], 0);
    let refused = daemon.get("/consumers/q/events?format=data");
    assert_eq!(refused.refusal(), (400, "request_invalid".into()));
    // A kick and the deletion of the consumer end streams.
    let mut kicked = daemon.stream(path);
    assert_eq!(daemon.request("DELETE", "/clients/tab", &[], "").json(), json!({"connections": 1}));
    kicked.ends();
    let mut deleted = daemon.stream(path);
    daemon.request("DELETE", "/consumers/q", &[], "");
    deleted.ends();
}
