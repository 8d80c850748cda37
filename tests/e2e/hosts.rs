//! `Host`: names that a rebound page could have are kept out; loopback, and names that were allowed, are let in.

use std::io::{Read, Write};

use serde_json::json;

use crate::harness::{Daemon, Process};

/// The status of `/status` for a `Host`.
fn status_for(daemon: &Daemon, host: &str) -> u16 {
    daemon.request("GET", "/status", &[("Host", host)], "").status
}

/// What the port answers to bytes, to the end of the connection.
fn answer_to(daemon: &Daemon, request: &str) -> String {
    let (mut socket, mut answer) = (daemon.tcp(), String::new());
    socket.write_all(request.as_bytes()).unwrap();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

/// As it comes through `ssh -L`, `docker -p`, or a development server that keeps it.
#[test]
fn loopback_passes_with_any_port() {
    let daemon = Daemon::start(&[]);
    let port = daemon.address.port();
    for name in [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "bus.localhost",
        "127.0.0.1",
        "127.0.0.2",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ] {
        for host in [format!("{name}:{port}"), format!("{name}:8080"), name.to_owned()] {
            assert_eq!(status_for(&daemon, &host), 200, "{host}");
        }
    }
    // The page of such a forwarder is the daemon's own, and no other is.
    for (origin, status) in [("http://localhost:8080", 202), ("http://localhost:8081", 403)] {
        let headers = [("Host", "localhost:8080"), ("Origin", origin), ("Sec-Fetch-Site", "same-origin")];
        assert_eq!(daemon.request("POST", "/events/t", &headers, "x").status, status, "{origin}");
    }
    let direct = [("Origin", "http://localhost:8080"), ("Sec-Fetch-Site", "same-site")];
    assert_eq!(daemon.request("POST", "/events/t", &direct, "x").status, 403);
}

/// It has `https` in its origin, of which the daemon behind it knows nothing.
#[test]
fn the_page_of_a_forwarder_that_speaks_tls_is_the_daemons_own() {
    let daemon = Daemon::start(&["--allow-host", "bus.example"]);
    let publish = |origin: &str, site: &[(&str, &str)]| {
        let headers = [&[("Host", "bus.example"), ("Origin", origin)], site].concat();
        daemon.request("POST", "/events/t", &headers, "x").status
    };
    let same_origin = [("Sec-Fetch-Site", "same-origin")];
    assert_eq!(publish("https://bus.example", &same_origin), 202);
    assert_eq!(publish("https://bus.example", &[("Sec-Fetch-Site", "same-site")]), 403);
    assert_eq!(publish("https://bus.example", &[]), 403, "only the browser can say that it is the same");
    assert_eq!(publish("https://other.example", &same_origin), 403);
}

#[test]
fn other_names_and_addresses_are_not_answered_to() {
    let daemon = Daemon::start(&[]);
    let port = daemon.address.port();
    let long = "a".repeat(8 << 10);
    let unusual = [
        format!("localhost:0{port}"),
        format!("localhost:+{port}"),
        format!("user@localhost:{port}"),
        format!("localhost:{port}@evil.example"),
        format!("localhost:{port}:{port}"),
        format!("localhost..:{port}"),
        format!("127.1:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f000001:{port}"),
        format!("0.0.0.0:{port}"),
        format!("[::]:{port}"),
        format!("10.0.0.1:{port}"),
        format!("::1:{port}"),
        format!("[::1:{port}"),
        format!("[::1%25lo]:{port}"),
        format!("[::1%lo]:{port}"),
        format!("localhost:{port},evil.example"),
        format!("localhost:{port} evil.example"),
        format!("localhost%00.evil.example:{port}"),
        format!("http://localhost:{port}"),
        format!("{long}:{port}"),
        format!("localhost.evil.example:{port}"),
        format!("evil-localhost:{port}"),
    ];
    for host in ["evil.example", ""].into_iter().chain(unusual.iter().map(String::as_str)) {
        for (method, path) in
            [("GET", "/events/t"), ("POST", "/events/t"), ("GET", "/status"), ("GET", "/"), ("GET", "/healthz")]
        {
            let response = daemon.request(method, path, &[("Host", host)], "");
            // What is no host at all the library refuses before us.
            if response.status != 400 {
                assert_eq!(response.refusal(), (421, "denied".into()), "{host} {method} {path}");
            }
        }
    }
    // In the absolute form both names count.
    for (target, host, status) in [
        (format!("http://evil.example:{port}/status"), format!("localhost:{port}"), 421),
        (format!("http://localhost:{port}/status"), "evil.example".into(), 421),
        (format!("http://localhost:{port}/status"), format!("127.0.0.1:{port}"), 200),
        (format!("http://user@localhost:{port}/status"), format!("localhost:{port}"), 421),
    ] {
        assert_eq!(daemon.request("GET", &target, &[("Host", &host)], "").status, status, "{target} {host}");
    }
    assert_eq!(daemon.status()["published"], 0);
    assert!(daemon.metric("sse_bus_refused_total{code=\"denied\"}") >= 20.0);
    // No page reaches the local socket; there any name will do.
    assert_eq!(daemon.request_locally("GET", "/status", "").status, 200);
}

#[test]
fn a_name_that_is_refused_is_told_with_the_flag_that_allows_it_and_listed() {
    let daemon = Daemon::start(&[]);
    assert_eq!(daemon.status()["refused_hosts"], json!([]));
    let refused = |host: &str| daemon.request("GET", "/events/t", &[("Host", host)], "").text();
    assert!(
        refused("bus.example:8080").contains("bus.example:8080;") && refused("bus.example").contains("bus.example;")
    );
    assert!(refused("bus.example:8080").contains("sse-busd --allow-host bus.example, or else use http://127.0.0.1:"));
    assert!(refused("[fe80::1]:80").contains("--allow-host '[fe80::1]',"), "a shell leaves it alone");
    assert!(refused("").contains("the Host header cannot be read"));
    // Only what is a host is kept, and only so many.
    for n in 0..20 {
        refused(&format!("a{n}.example"));
        refused(&format!("$(reboot){n}"));
        refused(&format!("{n}.{}", "a".repeat(4000)));
    }
    refused("a15.example");
    let listed = daemon.ctl(&["status"]).ok().json()[0]["refused_hosts"].clone();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 8);
    assert_eq!((&listed[0]["host"], &listed[0]["times"]), (&json!("a15.example"), &json!(2)));
    assert_eq!(listed[1]["host"], "a19.example");
    assert!(listed[0]["last"].as_u64().unwrap() > 1_700_000_000_000);
    let mut terminal = daemon.place.command("script");
    let status = format!("{} status", env!("CARGO_BIN_EXE_sse-busctl"));
    terminal.args(["-qec", &status, "/dev/null"]).env("SSE_BUS_SOCKET", daemon.place.socket());
    let shown = Process::start(terminal).finish().ok().stdout;
    assert!(shown.contains("requests for a15.example, 2 times, last "), "{shown}");
    assert!(shown.contains("; let in by sse-busd --allow-host a15.example"), "{shown}");
    let doctor = daemon.ctl(&["doctor"]).json();
    let finding = doctor.iter().find(|finding| finding["check"] == "hosts").unwrap();
    assert_eq!(finding["state"], "warning");
    let mend = finding["mend"].as_str().unwrap();
    assert!(
        mend.starts_with("sse-busd") && mend.contains(" --allow-host a15.example --allow-host a19.example"),
        "{mend}"
    );
}

#[test]
fn other_names_are_answered_to_if_they_are_allowed() {
    let daemon = Daemon::start(&["--allow-host", "Bus.example", "--allow-host", "front.example:443"]);
    let port = daemon.address.port();
    for (host, status) in [
        (format!("bus.example:{port}"), 200),
        ("bus.example:8080".into(), 200),
        ("bus.example".into(), 200),
        ("bus.example.".into(), 200),
        ("front.example".into(), 200),
        ("front.example:443".into(), 200),
        (format!("front.example:{port}"), 421),
        (format!("other.example:{port}"), 421),
    ] {
        assert_eq!(status_for(&daemon, &host), status, "{host}");
    }
}

/// A load balancer may have no name for what it looks at. One that has the wrong name is told so.
#[test]
fn health_needs_no_host() {
    let daemon = Daemon::start(&[]);
    for request in ["GET /healthz HTTP/1.0\r\n\r\n", "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"] {
        let answer = answer_to(&daemon, request);
        assert!(answer.contains(" 200 OK\r\n") && answer.ends_with("ok\n"), "{answer}");
    }
    for request in [
        "GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n",
        "GET /healthz HTTP/1.0\r\nOrigin: http://evil.example\r\n\r\n",
        "GET /status HTTP/1.0\r\n\r\n",
        "GET /events HTTP/1.1\r\nConnection: close\r\n\r\n",
    ] {
        assert!(answer_to(&daemon, request).contains(" 421 Misdirected Request\r\n"), "{request}");
    }
    // As a client of a proxy says it.
    let absolute = format!("GET http://{}/status HTTP/1.0\r\n\r\n", daemon.address);
    assert!(answer_to(&daemon, &absolute).contains(" 200 OK\r\n"));
}

/// What is in front of the local socket, such as socat or nginx, is reached by pages.
#[test]
fn a_page_behind_a_forwarder_to_the_local_socket_is_checked_as_on_the_port() {
    let daemon = Daemon::start(&["--allow-origin", "http://app.example"]);
    let publish = |headers: &[(&str, &str)]| daemon.request_locally_with("POST", "/events/t", headers, "x");
    let evil = ("Origin", "http://evil.example");
    let here = ("Host", "localhost:8080");
    for headers in [
        &[here, evil][..],
        &[here, ("Origin", "null")],
        &[here, ("Origin", "http://localhost:8081")],
        &[here, ("Sec-Fetch-Site", "cross-site")],
        &[here, ("Sec-Fetch-Site", "same-site")],
        &[here, ("Sec-Fetch-Site", "same-origin"), evil],
        &[("Host", "evil.example"), evil],
        &[("Host", "evil.example"), ("Sec-Fetch-Site", "same-origin")],
    ] {
        assert!([403, 421].contains(&publish(headers).status), "{headers:?}");
    }
    assert_eq!(daemon.status()["published"], 0);
    for headers in [
        &[][..],
        &[("Host", "anything")],
        &[here, ("Sec-Fetch-Site", "none")],
        &[here, ("Origin", "http://localhost:8080"), ("Sec-Fetch-Site", "same-origin")],
    ] {
        assert_eq!(publish(headers).status, 202, "{headers:?}");
    }
    let allowed = publish(&[here, ("Origin", "http://app.example"), ("Sec-Fetch-Site", "cross-site")]);
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (202, Some("http://app.example")));
}
