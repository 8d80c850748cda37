//! Guards: pages of other origins and rebound names are refused, pages of allowed origins are accepted.

use serde_json::{Value, json};

use crate::harness::Daemon;

#[test]
fn pages_of_other_origins_are_refused_naming_the_flag_that_allows_them() {
    let daemon = Daemon::start(&[]);
    let own = daemon.address.to_string();
    let (long, port) = ("a".repeat(8 << 10), daemon.address.port());
    let unusual = [
        format!("https://{own}"),
        format!("http://{own}."),
        format!("http://localhost..:{port}"),
        format!("http://{own}/"),
        format!("http://user@{own}"),
        format!("http://{own}@evil.example"),
        format!("http://{own}.evil.example"),
        format!("http://{own} http://evil.example"),
        format!("http://{own},http://evil.example"),
        format!("http://localhost.:{port}"),
        format!("http://localhost:0{port}"),
        format!("http://127.1:{port}"),
        format!("ws://{own}"),
        format!("//{own}"),
        own.clone(),
        format!("http://{long}:{port}"),
    ];
    let origins = ["http://evil.example", "null", "http://localhost:1", "file://", "http://localhost", ""];
    for origin in origins.into_iter().chain(unusual.iter().map(String::as_str)) {
        for (method, path) in
            [("GET", "/events/t"), ("POST", "/events/t"), ("OPTIONS", "/events/t"), ("GET", "/clients")]
        {
            let response = daemon.request(method, path, &[("Origin", origin)], "");
            assert_eq!(response.refusal(), (403, "denied".into()), "{origin} {method} {path}");
            assert_eq!(response.header("access-control-allow-origin"), None);
            assert_eq!(response.header("referrer-policy"), Some("no-referrer"));
            assert!(response.text().contains("--allow-origin"), "{}", response.text());
        }
    }
    assert_eq!(daemon.status()["published"], 0);
}

#[test]
fn the_daemons_own_page_is_accepted() {
    let daemon = Daemon::start(&[]);
    let own = format!("http://{}", daemon.address);
    let headers = [("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(daemon.request("POST", "/events/t", &headers, "x").status, 202);
    // Typed into the address bar.
    assert_eq!(daemon.request("GET", "/", &[("Sec-Fetch-Site", "none")], "").status, 200);
}

/// Another host name or address of the machine may be another server on the same port. Not every browser sends
/// `Sec-Fetch-Site`, and none does to a plain HTTP address of the network.
#[test]
fn only_a_page_of_the_requested_host_is_the_daemons_own() {
    let daemon = Daemon::start(&[]);
    let port = daemon.address.port();
    let names = ["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{port}"));
    for host in &names {
        for page in &names {
            let headers = [("Host", host.as_str()), ("Origin", &format!("http://{page}"))];
            let response = daemon.request("POST", "/events/t", &headers, "x");
            assert_eq!(response.status, if host == page { 202 } else { 403 }, "{host} {page}");
        }
    }
    let capital = [("Host", names[1].as_str()), ("Origin", &format!("HTTP://LOCALHOST:{port}"))];
    assert_eq!(daemon.request("POST", "/events/t", &capital, "x").status, 202);
}

#[test]
fn requests_across_sites_without_an_origin_are_refused() {
    let daemon = Daemon::start(&["--allow-origin", "http://app.example"]);
    for site in ["cross-site", "same-site", "anything"] {
        let response = daemon.request("GET", "/events/t", &[("Sec-Fetch-Site", site)], "");
        assert_eq!(response.refusal(), (403, "denied".into()), "{site}");
        // A link that was followed here is answered with the address to open.
        assert!(response.text().contains("type its address"), "{}", response.text());
        assert_eq!(response.header("access-control-allow-origin"), None);
    }
}

/// So that the reason is found without the browser's console.
#[test]
fn status_lists_the_origins_refused_lately() {
    let daemon = Daemon::start(&[]);
    assert_eq!(daemon.status()["refused_origins"], serde_json::json!([]));
    for n in 0..20 {
        let origin = format!("http://page-{n}.example");
        assert_eq!(daemon.request("GET", "/events/t", &[("Origin", &origin)], "").status, 403);
    }
    for origin in ["http://PAGE-15.example:80", "null", "$(reboot)", &format!("http://{}", "a".repeat(4000))] {
        daemon.request("GET", "/events/t", &[("Origin", origin)], "");
    }
    let refused = daemon.ctl(&["status"]).ok().json()[0]["refused_origins"].clone();
    let refused = refused.as_array().unwrap();
    assert_eq!(refused.len(), 8);
    // Only valid origins are stored.
    assert_eq!(refused[0]["origin"], "null");
    assert_eq!((&refused[1]["origin"], &refused[1]["times"]), (&"http://page-15.example".into(), &2.into()));
    assert_eq!(refused[2]["origin"], "http://page-19.example");
    assert!(refused[1]["last"].as_u64().unwrap() > 1_700_000_000_000);
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

#[test]
fn a_page_is_identified_by_its_origin() {
    let app = "http://app.example:3000";
    let daemon = Daemon::start(&["--allow-origin", app]);
    let mut clients = daemon.stream("/events/$sys/clients?since=now");
    let own = format!("http://{}", daemon.address);
    let headers: [(&[(&str, &str)], _); 5] = [
        (&[("Origin", app), ("Sec-Fetch-Site", "cross-site")], json!(app)),
        // As browsers send it for a stream that the daemon's own page opens.
        (&[("Sec-Fetch-Site", "same-origin")], json!(own)),
        (&[("Origin", &own), ("Sec-Fetch-Site", "same-origin")], json!(own)),
        (&[("Sec-Fetch-Site", "none")], Value::Null),
        (&[], Value::Null),
    ];
    for (headers, origin) in headers {
        let page = daemon.stream_with("/events/t", headers);
        let described = clients.event().json();
        assert_eq!(described["origin"], origin, "{headers:?}");
        drop(page);
        clients.event();
    }
    let _tab = daemon.stream_with("/events/t?client=tab", &[("Origin", app)]);
    clients.event();
    let listed = daemon.ctl(&["clients"]).ok().json();
    assert_eq!(listed.iter().find(|client| client["name"] == "tab").unwrap()["origin"], app);
}
