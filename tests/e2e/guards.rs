//! Who may: pages of other sites and rebound names are kept out, pages that were named are let in.

use crate::harness::Daemon;

#[test]
fn only_names_of_this_daemon_are_answered_to() {
    let daemon = Daemon::start(&[]);
    let port = daemon.address.port();
    for host in
        [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}"), format!("LOCALHOST:{port}")]
    {
        assert_eq!(daemon.request("GET", "/status", &[("Host", &host)], "").status, 200, "{host}");
    }
    for host in ["evil.example", "localhost", "127.0.0.1:1", &format!("localhost.evil.example:{port}"), ""] {
        for (method, path) in [("GET", "/events/t"), ("POST", "/events/t"), ("GET", "/status"), ("GET", "/")] {
            let response = daemon.request(method, path, &[("Host", host)], "");
            assert_eq!(response.refusal(), (421, "denied".into()), "{host} {method} {path}");
        }
    }
    assert_eq!(daemon.status()["published"], 0);
    assert!(daemon.metric("sse_bus_refused_total{code=\"denied\"}") >= 20.0);
    // No page reaches the local socket; there any name will do.
    assert_eq!(daemon.request_locally("GET", "/healthz", "").status, 200);
}

#[test]
fn pages_of_other_origins_are_refused_and_told_which_flag_would_let_them_in() {
    let daemon = Daemon::start(&[]);
    for origin in
        ["http://evil.example", "null", "http://localhost:1", &format!("https://{}", daemon.address), "file://"]
    {
        for (method, path) in
            [("GET", "/events/t"), ("POST", "/events/t"), ("OPTIONS", "/events/t"), ("GET", "/clients")]
        {
            let response = daemon.request(method, path, &[("Origin", origin)], "");
            assert_eq!(response.refusal(), (403, "denied".into()), "{origin} {method} {path}");
            assert_eq!(response.header("access-control-allow-origin"), None);
            assert!(response.text().contains("--allow-origin"), "{}", response.text());
        }
    }
    assert_eq!(daemon.status()["published"], 0);
}

#[test]
fn the_daemons_own_page_is_let_in() {
    let daemon = Daemon::start(&[]);
    let own = format!("http://{}", daemon.address);
    let headers = [("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(daemon.request("POST", "/events/t", &headers, "x").status, 202);
    // Typed into the address bar.
    assert_eq!(daemon.request("GET", "/", &[("Sec-Fetch-Site", "none")], "").status, 200);
}

#[test]
fn requests_across_sites_without_an_origin_are_refused() {
    let daemon = Daemon::start(&["--allow-origin", "http://app.example"]);
    for site in ["cross-site", "same-site", "anything"] {
        let response = daemon.request("GET", "/events/t", &[("Sec-Fetch-Site", site)], "");
        assert_eq!(response.refusal(), (403, "denied".into()), "{site}");
        assert_eq!(response.header("access-control-allow-origin"), None);
    }
}

#[test]
fn an_allowed_origin_is_named_exactly_and_caches_are_told() {
    let daemon = Daemon::start(&["--allow-origin", "http://app.example:80", "--allow-origin", "http://localhost:3000"]);
    for origin in ["http://app.example", "http://localhost:3000"] {
        let headers = [("Origin", origin), ("Sec-Fetch-Site", "cross-site")];
        let stream = daemon.stream_with("/events/t", &headers);
        assert_eq!(stream.head.header("access-control-allow-origin"), Some(origin));
        assert_eq!(stream.head.header("vary"), Some("origin"));
        let published = daemon.request("POST", "/events/t", &headers, "x");
        assert_eq!((published.status, published.header("access-control-allow-origin")), (202, Some(origin)));
        // The page may read why it was refused.
        let refused = daemon.request("POST", "/events/a%20b", &headers, "x");
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (400, Some(origin)));
    }
    let other = daemon.request("GET", "/status", &[("Origin", "http://localhost:3001")], "");
    assert_eq!((other.status, other.header("access-control-allow-origin")), (403, None));
    // Without an origin there is nobody to allow.
    assert_eq!(daemon.get("/status").header("access-control-allow-origin"), None);
}

#[test]
fn a_preflight_allows_what_the_bus_offers() {
    let daemon = Daemon::start(&["--allow-origin", "http://app.example"]);
    let headers = [
        ("Origin", "http://app.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type"),
        ("Sec-Fetch-Site", "cross-site"),
    ];
    let response = daemon.request("OPTIONS", "/events/t", &headers, "");
    assert_eq!(response.status, 204);
    assert_eq!(response.header("access-control-allow-origin"), Some("http://app.example"));
    assert_eq!(response.header("vary"), Some("origin"));
    assert_eq!(response.header("access-control-allow-methods"), Some("GET, POST, DELETE"));
    assert!(response.header("access-control-allow-headers").unwrap().contains("last-event-id"));
    assert_eq!(response.header("access-control-allow-credentials"), None);
    let foreign = [("Origin", "http://evil.example"), ("Access-Control-Request-Method", "POST")];
    let response = daemon.request("OPTIONS", "/events/t", &foreign, "");
    assert_eq!((response.status, response.header("access-control-allow-origin")), (403, None));
}

#[test]
fn headers_given_twice_are_not_trusted() {
    let daemon = Daemon::start(&["--allow-origin", "http://app.example"]);
    let host = daemon.address.to_string();
    let twice = [("Host", host.as_str()), ("Host", "evil.example")];
    assert!([400, 421].contains(&daemon.request("GET", "/status", &twice, "").status));
    let twice = [("Origin", "http://app.example"), ("Origin", "http://evil.example")];
    assert_eq!(daemon.request("GET", "/status", &twice, "").status, 403);
}
