//! HTTP/2 by prior knowledge: every stream of a shared connection behaves as over HTTP/1.1.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::harness::{Daemon, Http2, Process};

const STREAM: &str = "text/event-stream; charset=utf-8";

#[test]
fn requests_and_streams_behave_as_over_http_1() {
    let daemon = Daemon::start(&[]);
    let http2 = Http2::connect(daemon.address);
    let mut stream = http2.stream("/events/t?client=me", &[]);
    for (name, value) in
        [("content-type", STREAM), ("cache-control", "no-store, no-transform"), ("x-accel-buffering", "no")]
    {
        assert_eq!(stream.head.header(name), Some(value), "{name}");
    }
    assert!(stream.line().unwrap().unwrap().starts_with("retry: "));
    let published = http2.request("POST", "/events/t?type=done", &[], "two\nlines");
    assert_eq!((published.status, &published.json()["subscribers"]), (202, &1.into()));
    let event = stream.event();
    assert_eq!((event.kind.as_deref(), event.data.as_str()), (Some("done"), "two\nlines"));
    assert_eq!(published.json()["id"], event.id.as_str());

    let head = http2.request("HEAD", "/events/t", &[], "");
    assert_eq!((head.status, head.header("content-type")), (200, Some(STREAM)));
    assert_eq!(http2.request("PUT", "/events/t", &[], "x").status, 405);
    assert_eq!(http2.request("GET", "/nothing", &[], "").refusal(), (404, "request_invalid".into()));
    let large = "x".repeat(200_000);
    assert_eq!(http2.request("POST", "/events/t", &[], &large).status, 202);
    assert_eq!(stream.event().data, large);
    assert_eq!(daemon.get("/clients").json()[0]["name"], "me");
    assert_eq!(daemon.status()["subscribers"], 1);
}

#[test]
fn curl_uses_http2_by_prior_knowledge() {
    let daemon = Daemon::start(&[]);
    let mut curl = daemon.sandbox.command("curl");
    let url = format!("http://{}/events/t", daemon.address);
    curl.args(["-sSN", "--http2-prior-knowledge", "-w", "%{http_version}", &url]);
    let mut curl = Process::start(curl);
    daemon.wait_for_subscribers(1);
    let id = daemon.publish("t", "hi");
    assert!(curl.line().starts_with("retry: "));
    assert!(curl.line().starts_with("id: "), "the first position");
    assert_eq!(curl.line(), "");
    assert_eq!([curl.line(), curl.line(), curl.line()], [format!("id: {id}"), "data: hi".into(), String::new()]);
    daemon.signal(Signal::TERM);
    let run = curl.finish().ok();
    assert!(run.stdout.ends_with("\n\n2"), "{run}");
}

#[test]
fn a_thousand_streams_over_ten_connections_receive_every_event_in_order() {
    const EVENTS: usize = 100;
    let daemon = Daemon::start(&["--log", "warn"]);
    let connections: Vec<_> = (0..10).map(|_| Http2::connect(daemon.address)).collect();
    let mut streams = Vec::new();
    for http2 in &connections {
        streams.extend((0..100).map(|_| http2.stream("/events/t", &[])));
    }
    assert_eq!(daemon.status()["subscribers"], 1000);
    let wanted: Vec<String> = (0..EVENTS).map(|n| n.to_string()).collect();
    for data in &wanted {
        daemon.publish("t", data);
    }
    for stream in &mut streams {
        assert_eq!(stream.data(EVENTS), wanted);
    }
    // A disconnect ends all streams of the peer at once.
    drop(connections);
    daemon.wait_for_subscribers(0);
}

#[test]
fn a_connection_has_a_limit_of_streams() {
    let daemon = Daemon::start(&["--log", "warn"]);
    let http2 = Http2::connect(daemon.address);
    let mut streams: Vec<_> = (0..256).map(|_| http2.stream("/events/t", &[])).collect();
    assert_eq!(http2.most_streams(), streams.len());
    // The next one waits until another is closed.
    let mut next = thread::scope(|scope| {
        let next = scope.spawn(|| http2.stream("/events/t?client=next", &[]));
        assert_eq!(daemon.status()["subscribers"], 256);
        drop(streams.pop());
        next.join().unwrap()
    });
    daemon.wait_for_subscribers(256);
    daemon.publish("t", "x");
    assert_eq!([&mut streams[0], &mut next].map(|stream| stream.event().data), ["x", "x"]);
}

#[test]
fn a_reconnecting_client_receives_exactly_the_events_since() {
    let daemon = Daemon::start(&[]);
    let ids: Vec<_> = (1..=5).map(|n| daemon.publish("t", n.to_string())).collect();
    let http2 = Http2::connect(daemon.address);
    let by_header = http2.stream("/events/t", &[("last-event-id", &ids[2])]);
    let by_query = http2.stream(&format!("/events/t?last_event_id={}", ids[2]), &[]);
    daemon.publish("t", "live");
    for mut stream in [by_header, by_query] {
        assert_eq!(stream.data(3), ["4", "5", "live"]);
    }
}

#[test]
fn the_authority_is_checked_like_the_host() {
    let daemon = Daemon::start(&[]);
    let http2 = Http2::connect(daemon.address);
    let port = daemon.address.port();
    let named = ["localhost", "LOCALHOST", "[::1]"].map(|name| format!("{name}:{port}"));
    for authority in named.into_iter().chain(["localhost", "127.0.0.1:1"].map(str::to_owned)) {
        let headers = [(":authority", authority.as_str())];
        assert_eq!(http2.request("GET", "/status", &headers, "").status, 200, "{authority}");
    }
    let own = daemon.address.to_string();
    let user = format!("user@{own}");
    let lookalike = format!("localhost.evil.example:{port}");
    for headers in [
        &[(":authority", "evil.example")][..],
        &[(":authority", &user)],
        &[(":authority", &lookalike)],
        // Both must be allowed, whichever is used.
        &[(":authority", &own), ("host", "evil.example")],
        &[(":authority", "evil.example"), ("host", &own)],
        &[(":authority", &own), ("host", &own), ("host", "evil.example")],
    ] {
        for (method, path) in [("GET", "/events/t"), ("POST", "/events/t"), ("GET", "/status"), ("GET", "/")] {
            let response = http2.request(method, path, headers, "");
            assert_eq!(response.refusal(), (421, "denied".into()), "{headers:?} {method} {path}");
        }
    }
    assert_eq!(http2.request("GET", "/status", &[("host", &own)], "").status, 200);
    assert_eq!(daemon.status()["published"], 0);
}

#[test]
fn other_origins_are_refused_and_allowed_ones_are_named() {
    let daemon = Daemon::start(&["--allow-origin", "http://app.example"]);
    let http2 = Http2::connect(daemon.address);
    for headers in [[("origin", "http://evil.example")], [("origin", "null")], [("sec-fetch-site", "cross-site")]] {
        for (method, path) in [("GET", "/events/t"), ("POST", "/events/t"), ("OPTIONS", "/events/t")] {
            let response = http2.request(method, path, &headers, "");
            assert_eq!(response.refusal(), (403, "denied".into()), "{headers:?} {method} {path}");
            assert_eq!(response.header("access-control-allow-origin"), None);
        }
    }
    let allowed = [("origin", "http://app.example"), ("sec-fetch-site", "cross-site")];
    let stream = http2.stream("/events/t", &allowed);
    assert_eq!(stream.head.header("access-control-allow-origin"), Some("http://app.example"));
    assert_eq!(stream.head.header("vary"), Some("origin"));
    let own = format!("http://{}", daemon.address);
    assert_eq!(http2.request("POST", "/events/t", &[("origin", &own)], "x").status, 202);
}

#[test]
fn a_client_is_addressed_and_kicked_individually() {
    let daemon = Daemon::start(&[]);
    let http2 = Http2::connect(daemon.address);
    let [mut first, mut second] = ["one", "two"].map(|name| http2.stream(&format!("/events/t?client={name}"), &[]));
    assert_eq!(daemon.request("POST", "/events/direct?to=one", &[], "for one").json()["subscribers"], 1);
    assert_eq!(first.data(1), ["for one"]);
    daemon.ctl(&["kick", "one"]).ok();
    first.ends();
    daemon.publish("t", "for the remaining streams");
    assert_eq!(second.data(1), ["for the remaining streams"]);
}

#[test]
fn a_signal_ends_all_streams_and_the_connection() {
    let mut daemon = Daemon::start(&[]);
    let http2 = Http2::connect(daemon.address);
    let mut streams: Vec<_> = (0..20).map(|_| http2.stream("/events/t", &[])).collect();
    let idle = Http2::connect(daemon.address);
    assert_eq!(idle.request("GET", "/healthz", &[], "").status, 200);
    daemon.publish("t", "last");
    let asked = Instant::now();
    daemon.signal(Signal::TERM);
    for stream in &mut streams {
        assert_eq!(stream.data(1), ["last"]);
        stream.ends();
    }
    http2.ends();
    idle.ends();
    assert_eq!(daemon.wait(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(!daemon.log().contains("cut the connections that had not ended"), "{}", daemon.log());
}
