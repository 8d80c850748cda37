//! How streams are framed and how they end: a client can tell an orderly end from a broken connection.

use std::io::{ErrorKind, Read, Write};

use rustix::process::Signal;

use crate::harness::Daemon;

/// Sends a request and returns everything that the port sends until the connection ends.
fn exchange(daemon: &Daemon, request: &str, meanwhile: impl FnOnce()) -> String {
    let mut socket = daemon.tcp();
    socket.write_all(request.replace("HOST", &daemon.address.to_string()).as_bytes()).unwrap();
    daemon.wait_for_subscribers(1);
    meanwhile();
    let mut received = String::new();
    socket.read_to_string(&mut received).unwrap();
    received
}

#[test]
fn over_http_1_1_a_stream_is_chunked() {
    let daemon = Daemon::start(&[]);
    let request = "GET /events/t?position=none HTTP/1.1\r\nHost: HOST\r\n\r\n";
    let received = exchange(&daemon, request, || {
        daemon.publish("t", "x".repeat(20));
        daemon.signal(Signal::TERM);
    });
    let (head, body) = received.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\ntransfer-encoding: chunked"), "{head}");
    assert!(!head.contains("content-length"), "{head}");
    let (retry, rest) = body.split_once("\n\r\n").unwrap();
    assert!(retry.starts_with("c\r\nretry: 1"), "{body}");
    let (size, rest) = rest.split_once("\r\n").unwrap();
    let (event, end) = rest.split_at(usize::from_str_radix(size, 16).unwrap());
    assert!(event.starts_with("id: ") && event.ends_with(&format!("\ndata: {}\n\n", "x".repeat(20))), "{body}");
    assert_eq!(end, "\r\n0\r\n\r\n");
}

#[test]
fn over_http_1_0_a_stream_ends_with_the_connection() {
    let daemon = Daemon::start(&[]);
    let received = exchange(&daemon, "GET /events/t HTTP/1.0\r\nHost: HOST\r\n\r\n", || {
        daemon.publish("t", "an event");
        daemon.signal(Signal::TERM);
    });
    let (head, body) = received.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("transfer-encoding"), "{head}");
    let lines: Vec<&str> =
        body.split('\n').map(|line| line.split_once(": ").map_or(line, |(field, _)| field)).collect();
    assert_eq!(lines, ["retry", "id", "", "id", "data", "", ""], "{body}");
}

/// The head of the response to HEAD is that of the response to GET, whose length is unknown.
#[test]
fn the_response_to_head_has_no_length() {
    let daemon = Daemon::start(&[]);
    let mut socket = daemon.tcp();
    let request = format!("HEAD /events/t HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", daemon.address);
    socket.write_all(request.as_bytes()).unwrap();
    let mut received = String::new();
    socket.read_to_string(&mut received).unwrap();
    let (head, body) = received.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("text/event-stream"), "{head}");
    assert!(!head.to_lowercase().contains("content-length"), "{head}");
    assert_eq!(body, "");
}

/// Each of these clients reads the last chunk.
#[test]
fn an_orderly_end_sends_the_last_chunk() {
    let mut daemon = Daemon::start(&[]);
    daemon.publish("t", "past");
    let mut past = daemon.stream("/events/t?since=all&past_only=true");
    assert_eq!(past.event().data, "past");
    assert_eq!(past.event().kind.as_deref(), Some("$end"));
    past.ends();

    let mut kicked = daemon.stream("/events/t?client=kicked");
    daemon.wait_for_subscribers(1);
    assert_eq!(daemon.request("DELETE", "/clients/kicked", &[], "").status, 200);
    kicked.ends();

    let mut streams = [(); 3].map(|()| daemon.stream("/events/t"));
    daemon.wait_for_subscribers(3);
    daemon.publish("t", "the last");
    daemon.signal(Signal::TERM);
    for stream in &mut streams {
        assert_eq!(stream.event().data, "the last");
        stream.ends();
    }
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn after_a_crash_the_last_chunk_is_missing() {
    let mut daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/t");
    daemon.publish("t", "before");
    assert_eq!(stream.event().data, "before");
    daemon.kill();
    let broken = stream.next().map(|event| event.is_some());
    assert!(
        matches!(&broken, Err(e) if [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&e.kind())),
        "{broken:?}"
    );
}

/// Its exit code shows the difference.
#[test]
fn curl_distinguishes_an_orderly_end_from_a_broken_stream() {
    for (signal, code) in [(Signal::TERM, 0), (Signal::KILL, 18)] {
        let daemon = Daemon::start(&[]);
        let mut curl = daemon.spawn_curl("/events/t");
        assert!(curl.line().starts_with("retry: "), "the stream has begun");
        daemon.signal(signal);
        assert_eq!(curl.finish().code, Some(code), "{signal:?}");
    }
}
