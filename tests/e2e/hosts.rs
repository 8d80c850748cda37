//! `Host`: names that DNS rebinding could use are refused; loopback and allowed names are accepted.

use std::io::{Read, Write};

use serde_json::json;

use crate::harness::{Daemon, Process};

/// The status of `/status` for a `Host`.
fn status_for(daemon: &Daemon, host: &str) -> u16 {
    daemon.request("GET", "/status", &[("Host", host)], "").status
}

/// Sends bytes to the port and returns the response up to the end of the connection.
fn response_to(daemon: &Daemon, request: &str) -> String {
    let (mut socket, mut response) = (daemon.tcp(), String::new());
    socket.write_all(request.as_bytes()).unwrap();
    socket.read_to_string(&mut response).unwrap();
    response
}

/// As sent through `ssh -L`, `docker -p`, or a development server that keeps the host.
#[test]
fn loopback_names_are_accepted_with_any_port() {
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
    // The page of such a forwarder is the daemon's own; any other is not.
    for (origin, status) in [("http://localhost:8080", 202), ("http://localhost:8081", 403)] {
        let headers = [("Host", "localhost:8080"), ("Origin", origin), ("Sec-Fetch-Site", "same-origin")];
        assert_eq!(daemon.request("POST", "/events/t", &headers, "x").status, status, "{origin}");
    }
    let direct = [("Origin", "http://localhost:8080"), ("Sec-Fetch-Site", "same-site")];
    assert_eq!(daemon.request("POST", "/events/t", &direct, "x").status, 403);
}

/// Its origin has `https`, of which the daemon behind it does not know.
#[test]
fn the_page_of_a_forwarder_with_tls_is_the_daemons_own() {
    let daemon = Daemon::start(&["--allow-host", "bus.example"]);
    let publish = |origin: &str, site: &[(&str, &str)]| {
        let headers = [&[("Host", "bus.example"), ("Origin", origin)], site].concat();
        daemon.request("POST", "/events/t", &headers, "x").status
    };
    let same_origin = [("Sec-Fetch-Site", "same-origin")];
    assert_eq!(publish("https://bus.example", &same_origin), 202);
    assert_eq!(publish("https://bus.example", &[("Sec-Fetch-Site", "same-site")]), 403);
    assert_eq!(publish("https://bus.example", &[]), 403, "only `Sec-Fetch-Site` shows that it is the same");
    assert_eq!(publish("https://other.example", &same_origin), 403);
}

#[test]
fn other_names_and_addresses_are_refused() {
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
            // The HTTP library refuses invalid hosts first.
            if response.status != 400 {
                assert_eq!(response.refusal(), (421, "denied".into()), "{host} {method} {path}");
            }
        }
    }
    // In the absolute form both names are checked.
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
    // Pages cannot reach the local socket; any name is accepted there.
    assert_eq!(daemon.request_locally("GET", "/status", "").status, 200);
}

#[test]
fn a_refused_name_is_listed_with_the_flag_that_allows_it() {
    let daemon = Daemon::start(&[]);
    assert_eq!(daemon.status()["refused_hosts"], json!([]));
    let refused = |host: &str| daemon.request("GET", "/events/t", &[("Host", host)], "").text();
    assert!(
        refused("bus.example:8080").contains("bus.example:8080;") && refused("bus.example").contains("bus.example;")
    );
    assert!(refused("bus.example:8080").contains("sse-busd --allow-host bus.example, or else use http://127.0.0.1:"));
    assert!(refused("[fe80::1]:80").contains("--allow-host '[fe80::1]',"), "quoted for a shell");
    assert!(refused("").contains("the Host header cannot be read"));
    // Only valid hosts are stored, up to a limit.
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
    let mut terminal = daemon.sandbox.command("script");
    let status = format!("{} status", env!("CARGO_BIN_EXE_sse-busctl"));
    terminal.args(["-qec", &status, "/dev/null"]).env("SSE_BUS_SOCKET", daemon.sandbox.socket());
    let shown = Process::start(terminal).finish().ok().stdout;
    assert!(shown.contains("requests for a15.example, 2 times, last "), "{shown}");
    assert!(shown.contains("; if they are for you, allow them with sse-busd --allow-host a15.example"), "{shown}");
    let doctor = daemon.ctl(&["doctor"]).json();
    let finding = doctor.iter().find(|finding| finding["check"] == "hosts").unwrap();
    assert_eq!(finding["state"], "warning");
    let fix = finding["fix"].as_str().unwrap();
    // A hostile page can make a browser send any name, so none is suggested, and no second daemon.
    assert!(fix.contains("allow_host = [\"HOST\"]") && !fix.contains(".example") && !fix.contains("sse-busd"), "{fix}");
}

#[test]
fn allowed_names_are_accepted() {
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

/// A load balancer may send no host. A wrong one is still refused.
#[test]
fn health_needs_no_host() {
    let daemon = Daemon::start(&[]);
    for request in ["GET /healthz HTTP/1.0\r\n\r\n", "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"] {
        let response = response_to(&daemon, request);
        assert!(response.contains(" 200 OK\r\n") && response.ends_with("ok\n"), "{response}");
    }
    for request in [
        "GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n",
        "GET /healthz HTTP/1.0\r\nOrigin: http://evil.example\r\n\r\n",
        "GET /status HTTP/1.0\r\n\r\n",
        "GET /events HTTP/1.1\r\nConnection: close\r\n\r\n",
    ] {
        assert!(response_to(&daemon, request).contains(" 421 Misdirected Request\r\n"), "{request}");
    }
    // As a client of a proxy sends it.
    let absolute = format!("GET http://{}/status HTTP/1.0\r\n\r\n", daemon.address);
    assert!(response_to(&daemon, &absolute).contains(" 200 OK\r\n"));
}

/// Pages can reach the local socket through forwarders such as socat or nginx.
#[test]
fn a_page_that_reaches_the_local_socket_through_a_forwarder_is_checked() {
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
