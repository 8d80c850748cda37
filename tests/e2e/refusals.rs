//! Every refusal is counted once in `sse_bus_refused_total`, for each transport and route.

use std::{collections::BTreeMap, io::Write as _};

use crate::harness::{Daemon, until};

/// The counts of refusals, by code.
fn counts(daemon: &Daemon) -> BTreeMap<String, u64> {
    let text = daemon.get("/metrics").text();
    let lines = text.lines().filter_map(|line| line.strip_prefix("sse_bus_refused_total{code=\"")?.split_once("\"} "));
    lines.map(|(code, count)| (code.to_owned(), count.parse().unwrap())).collect()
}

/// Runs a request, and fails unless it adds one to the count of a code and nothing to the others.
fn is_counted_once(daemon: &Daemon, code: &str, what: &str, request: impl FnOnce()) {
    let mut expected = counts(daemon);
    request();
    *expected.entry(code.into()).or_default() += 1;
    // A stream that is refused with status 200 may be counted a moment after its response has been sent.
    let mut found = BTreeMap::new();
    until(&format!("{what} is counted as {code}"), || {
        found = counts(daemon);
        (found.get(code) >= expected.get(code)).then_some(())
    });
    assert_eq!(found, expected, "{what}");
}

/// Requests that are refused: method, path, headers, status and code.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], u16, &'static str);

const CASES: &[Case] = &[
    ("GET", "/events?sinse=all", &[], 400, "parameter_unknown"),
    ("GET", "/events?topic=a/**/b", &[], 400, "filter_invalid"),
    ("GET", "/events?since=soon", &[], 400, "since_invalid"),
    ("GET", "/events/%FF", &[], 400, "request_invalid"),
    ("HEAD", "/events?topic=a/**/b", &[], 400, "filter_invalid"),
    ("POST", "/events/a//b", &[], 400, "topic_invalid"),
    ("POST", "/events/t?to=nobody&retain=1", &[], 400, "request_invalid"),
    ("DELETE", "/clients/nobody", &[], 404, "client_unknown"),
    ("DELETE", "/clients/nobody?force=1", &[], 400, "parameter_unknown"),
    ("POST", "/tickets", &[], 400, "request_invalid"),
    ("POST", "/tickets?client=a%00", &[], 400, "client_invalid"),
    ("GET", "/status?pretty", &[], 400, "parameter_unknown"),
    ("GET", "/healthz?pretty", &[], 400, "parameter_unknown"),
    ("GET", "/?colour=red", &[], 400, "parameter_unknown"),
    ("GET", "/nothing", &[], 404, "request_invalid"),
    ("GET", "/page/nothing.js", &[], 404, "request_invalid"),
    ("PUT", "/status", &[], 405, "request_invalid"),
    ("DELETE", "/events/t", &[], 405, "request_invalid"),
    ("GET", "/topics", &[("authorization", "Bearer wrong")], 401, "denied"),
    ("GET", "/topics", &[("origin", "http://other.example")], 403, "denied"),
];

#[test]
fn every_refusal_over_http_is_counted_once() {
    let daemon = Daemon::start(&[]);
    for (method, path, headers, status, code) in CASES {
        is_counted_once(&daemon, code, &format!("{method} {path} over TCP"), || {
            assert_eq!(daemon.request(method, path, headers, "x").status, *status, "{method} {path}");
        });
        is_counted_once(&daemon, code, &format!("{method} {path} over the local socket"), || {
            // The status may differ: the test's `Host` there is no name of the daemon.
            assert!(daemon.request_locally_with(method, path, headers, "x").status >= 400, "{method} {path}");
        });
    }
    // What is not refused is not counted.
    let before = counts(&daemon);
    daemon.publish("t", "x");
    assert_eq!(daemon.request("OPTIONS", "/status", &[], "").status, 204);
    daemon.stream("/events/t");
    assert_eq!(counts(&daemon), before);
}

#[test]
fn a_stream_that_finds_no_room_is_counted_once() {
    let daemon = Daemon::configured("limits.subscribers = 1\n");
    let _first = daemon.stream("/events/t");
    is_counted_once(&daemon, "limit_subscribers", "a stream over TCP", || daemon.stream("/events/t").ends());
    is_counted_once(&daemon, "limit_subscribers", "a stream over the local socket", || {
        daemon.stream_locally("/events/t").ends();
    });
}

#[test]
fn every_refusal_on_the_local_socket_is_counted_once() {
    let daemon = Daemon::start(&[]);
    let mut lines = daemon.lines();
    for (line, code) in [
        (r#"{"publish":{"topic":"a//b","data":"x"}}"#, "topic_invalid"),
        (r#"{"publish":{"topic":"t","data":"x","ack":"durable"}}"#, "not_durable"),
        (r#"{"subscribe":{"filters":["a/**/b"]}}"#, "filter_invalid"),
        (r#"{"kick":{"client":"nobody"}}"#, "client_unknown"),
        (r#"{"nothing":{}}"#, "request_invalid"),
        ("{", "request_invalid"),
    ] {
        is_counted_once(&daemon, code, line, || {
            assert_eq!(lines.ask(line)["error"]["code"], code, "{line}");
        });
    }
    for (first, code) in [(&b"hello\n"[..], "request_invalid"), (b"\0SSEB\x7f", "request_invalid")] {
        is_counted_once(&daemon, code, &format!("{first:?}"), || {
            daemon.local().write_all(first).unwrap();
        });
    }
}
