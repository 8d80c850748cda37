//! The stream, exactly: status, headers, bytes.

use crate::harness::{Daemon, EventStream};

/// The lines of a stream up to the event with the data `end`, with `#` for ids and without the value of `retry`.
fn lines_to_the_end(stream: &mut EventStream) -> String {
    let mut text = String::new();
    while !text.ends_with("data: end\n\n") {
        let line = stream.line().unwrap().expect("the stream has ended");
        text += match line.split_once(": ") {
            Some(("id", _)) => "id: #\n",
            Some(("retry", _)) => "retry\n",
            _ => &line,
        };
    }
    text
}

#[test]
fn the_head_has_what_proxies_and_browsers_need() {
    let daemon = Daemon::start(&[]);
    let stream = daemon.stream("/events/t");
    for (name, value) in [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(stream.head.header(name), Some(value), "{name}");
    }
    assert_eq!(stream.head.header("content-encoding"), None);
    assert_eq!(stream.head.header("access-control-allow-origin"), None);
}

#[test]
fn the_bytes_of_a_stream() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/t");
    for data in ["plain", "", "lf\nlf", "crlf\r\ncr\rend\n", "\n", " space", ":colon", "id: 7", "\u{feff}bom"] {
        daemon.publish("t", data);
    }
    daemon.publish("t?type=done", "typed");
    daemon.publish("t", "end");
    let wanted = "retry\nid: #\n\n\
        id: #\ndata: plain\n\n\
        id: #\ndata: \n\n\
        id: #\ndata: lf\ndata: lf\n\n\
        id: #\ndata: crlf\ndata: cr\ndata: end\ndata: \n\n\
        id: #\ndata: \ndata: \n\n\
        id: #\ndata:  space\n\n\
        id: #\ndata: :colon\n\n\
        id: #\ndata: id: 7\n\n\
        id: #\ndata: \u{feff}bom\n\n\
        id: #\nevent: done\ndata: typed\n\n\
        id: #\ndata: end\n\n";
    assert_eq!(lines_to_the_end(&mut stream), wanted);
}

#[test]
fn retry_comes_first_and_differs_between_streams() {
    const STREAMS: u64 = 200;
    let daemon = Daemon::start(&[]);
    let streams = (0..STREAMS).map(|_| daemon.stream("/events/t"));
    let waits: Vec<u64> = streams
        .map(|mut stream| {
            let line = stream.line().unwrap().unwrap();
            line.strip_prefix("retry: ").unwrap().trim_end().parse().unwrap()
        })
        .collect();
    assert!(waits.iter().all(|wait| (1000..2000).contains(wait)), "{waits:?}");
    let quarter = |n: u64| waits.iter().filter(|wait| (*wait - 1000) / 250 == n).count() as u64;
    // A quarter is expected in each quarter, and 181 of a thousand values at least once; chance deviates by less.
    assert!((0..4).all(|n| quarter(n) > STREAMS / 10), "they reconnect in groups: {waits:?}");
    let values: std::collections::HashSet<_> = waits.iter().collect();
    assert!(values.len() as u64 > STREAMS * 3 / 4, "many reconnect in the same instant: {waits:?}");
}

#[test]
fn an_envelope_is_one_line_of_json_without_an_event_field() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/t?format=json&position=none");
    let id = daemon.publish("t?type=done", "a\r\n\"b\"");
    let mut lines = std::iter::from_fn(|| stream.line().unwrap());
    assert!(lines.next().unwrap().starts_with("retry: "));
    assert_eq!(lines.next().unwrap(), format!("id: {id}\n"));
    let data = lines.next().unwrap();
    assert!(data.starts_with(&format!(r#"data: {{"id":"{id}","topic":"t","type":"done","time":1"#)), "{data}");
    assert!(data.ends_with(",\"data\":\"a\\r\\n\\\"b\\\"\"}\n"), "{data}");
    assert_eq!(lines.next().unwrap(), "\n");
}

#[test]
fn events_are_delivered_at_once_and_not_buffered() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/t");
    for n in 0..20 {
        daemon.publish("t", n.to_string());
        assert_eq!(stream.event().data, n.to_string());
    }
}

#[test]
fn head_answers_with_headers_only_and_opens_no_stream() {
    let daemon = Daemon::start(&[]);
    for path in ["/events", "/events/a/**?since=all&client=me"] {
        let response = daemon.request("HEAD", path, &[], b"");
        let found = (response.status, response.header("content-type"));
        assert_eq!(found, (200, Some("text/event-stream; charset=utf-8")), "{path}");
    }
    assert_eq!(daemon.request("HEAD", "/events/a**", &[], b"").status, 400);
    assert_eq!(daemon.status()["subscribers"], 0);
    assert!(!daemon.log().contains("subscriber connected"));
}

#[test]
fn other_methods_are_refused_naming_the_allowed_ones() {
    let daemon = Daemon::start(&[]);
    for (method, path, allowed) in [
        ("DELETE", "/events/t", &["GET", "HEAD", "POST"][..]),
        ("PUT", "/events/t", &["GET", "HEAD", "POST"]),
        ("PUT", "/events", &["GET", "HEAD", "POST"]),
        ("POST", "/clients", &["GET", "HEAD"]),
        ("GET", "/clients/c1", &["DELETE"]),
        ("POST", "/status", &["GET", "HEAD"]),
    ] {
        let response = daemon.request(method, path, &[], b"");
        assert_eq!(response.refusal(), (405, "request_invalid".into()), "{method} {path}");
        let mut allow: Vec<&str> = response.header("allow").unwrap().split(',').map(str::trim).collect();
        allow.sort_unstable();
        assert_eq!(allow, allowed, "{method} {path}");
    }
}

#[test]
fn unknown_paths_are_refused_naming_the_existing_ones() {
    let daemon = Daemon::start(&[]);
    for path in ["/event", "/events/", "/favicon.ico", "/clients/a/b"] {
        let response = daemon.get(path);
        assert_eq!(response.refusal(), (404, "request_invalid".into()), "{path}");
        assert!(response.text().contains("/events"));
    }
}

#[test]
fn curl_shows_the_stream_over_the_port_and_over_the_local_socket() {
    let daemon = Daemon::start(&[]);
    let mut over_tcp = daemon.spawn_curl("/events/t");
    let mut local = daemon.sandbox.command("curl");
    local.args(["-sSN", "--unix-socket"]).arg(daemon.sandbox.socket()).arg("http://bus/events/t");
    let mut over_socket = crate::harness::Process::start(local);
    daemon.wait_for_subscribers(2);

    let mut publish = daemon.sandbox.command("curl");
    publish.args(["-sS", "-d", "hi", "--unix-socket"]).arg(daemon.sandbox.socket()).arg("http://bus/events/t");
    let published = crate::harness::Process::start(publish).finish().ok().json().remove(0);
    assert_eq!(published["subscribers"], 2);
    for curl in [&mut over_tcp, &mut over_socket] {
        assert!(curl.line().starts_with("retry: "));
        assert!(curl.line().starts_with("id: "), "the first position");
        assert_eq!(curl.line(), "");
        assert_eq!(curl.line(), format!("id: {}", published["id"].as_str().unwrap()));
        assert_eq!(curl.line(), "data: hi");
        assert_eq!(curl.line(), "");
    }
}
