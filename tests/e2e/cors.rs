//! Pages of allowed origins: they send credentials and headers of their own, and read every response.

use crate::harness::{Daemon, Http2};

const APP: &str = "http://app.example";

/// The headers of a preflight for a POST.
fn preflight(daemon: &Daemon, headers: &[(&str, &str)]) -> crate::harness::Response {
    let usual = [("Origin", APP), ("Access-Control-Request-Method", "POST"), ("Sec-Fetch-Site", "cross-site")];
    daemon.request("OPTIONS", "/events/t", &[&usual, headers].concat(), "")
}

#[test]
fn an_allowed_origin_is_named_exactly_and_varies_by_origin() {
    let daemon = Daemon::start(&["--allow-origin", "http://app.example:80", "--allow-origin", "http://localhost:3000"]);
    for origin in [APP, "http://localhost:3000"] {
        let headers = [("Origin", origin), ("Sec-Fetch-Site", "cross-site")];
        let stream = daemon.stream_with("/events/t", &headers);
        // The page may read why it was refused.
        let responses = [(202, "/events/t"), (400, "/events/a%20b"), (400, "/events/t?typ=x"), (405, "/topics")];
        let responses = responses.map(|(status, path)| {
            let response = daemon.request("POST", path, &headers, "x");
            assert_eq!(response.status, status, "{path}");
            response
        });
        let streams =
            [daemon.request("HEAD", "/events/t", &headers, ""), daemon.request("GET", "/nothing", &headers, "")];
        let http2 = Http2::connect(daemon.address);
        let lower = [("origin", origin)];
        let http2 = [http2.request("GET", "/status", &lower, ""), http2.request("POST", "/events/a%20b", &lower, "")];
        let all = responses.iter().chain(&streams).chain(&http2);
        let header = |name: &str| all.clone().map(|response| response.header(name)).collect::<Vec<_>>();
        for (name, value) in
            [("access-control-allow-origin", origin), ("access-control-allow-credentials", "true"), ("vary", "origin")]
        {
            assert_eq!(stream.head.header(name), Some(value));
            assert!(header(name).iter().all(|found| *found == Some(value)), "{name}: {:?}", header(name));
        }
    }
    let other = daemon.request("GET", "/status", &[("Origin", "http://localhost:3001")], "");
    assert_eq!((other.status, other.header("access-control-allow-origin")), (403, None));
    assert_eq!((other.header("access-control-allow-credentials"), other.header("vary")), (None, Some("origin")));
    // Without an origin there is nothing to allow; a cache must not serve that response to a page.
    let own = daemon.get("/status");
    assert_eq!((own.header("access-control-allow-origin"), own.header("vary")), (None, Some("origin")));
    assert_eq!(own.header("access-control-allow-credentials"), None);
    assert_eq!(daemon.stream("/events/t").head.header("vary"), Some("origin"));
}

#[test]
fn an_allowed_page_can_read_that_its_token_is_missing() {
    let (daemon, _) = Daemon::exposed(&["--allow-origin", APP]);
    let host = format!("127.0.0.1:{}", daemon.address.port());
    let refused = daemon.request("GET", "/status", &[("Host", &host), ("Origin", APP)], "");
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some(APP)));
    assert_eq!(refused.header("access-control-allow-credentials"), Some("true"));
}

#[test]
fn a_preflight_allows_the_methods_and_every_requested_header() {
    let daemon = Daemon::start(&["--allow-origin", APP]);
    let asked = "authorization,cache-control,content-type,datastar-request,hx-request,last-event-id,pragma,traceparent,\
                 x-requested-with";
    let response = preflight(&daemon, &[("Access-Control-Request-Headers", asked)]);
    assert_eq!(response.status, 204);
    assert_eq!(response.header("access-control-allow-origin"), Some(APP));
    assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(response.header("access-control-allow-methods"), Some("GET, POST, PUT, DELETE"));
    assert_eq!(response.header("access-control-allow-headers").unwrap().replace(", ", ","), asked);
    let vary = "origin, access-control-request-headers, access-control-request-private-network";
    assert_eq!(response.header("vary"), Some(vary));
    // Sent only on request.
    assert_eq!(response.header("access-control-allow-private-network"), None);
    let response = preflight(&daemon, &[("Access-Control-Request-Private-Network", "true")]);
    assert_eq!(response.header("access-control-allow-private-network"), Some("true"));
    assert_eq!(response.header("access-control-allow-headers"), None);
    // Invalid field names and excess ones are left out.
    let long = "x".repeat(2000);
    let odd = format!("a, b c, {long}, d:e, <f>, g");
    let response = preflight(&daemon, &[("Access-Control-Request-Headers", &odd)]);
    assert_eq!(response.header("access-control-allow-headers"), Some("a, g"));

    let foreign = [
        ("Origin", "http://evil.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "traceparent"),
    ];
    let response = daemon.request("OPTIONS", "/events/t", &foreign, "");
    assert_eq!((response.status, response.header("access-control-allow-origin")), (403, None));
    assert_eq!(response.header("access-control-allow-headers"), None);
}

#[test]
fn options_without_a_preflight_names_the_methods() {
    let daemon = Daemon::start(&[]);
    for (path, methods) in [("/events/t", "GET,HEAD,POST"), ("/status", "GET,HEAD"), ("/tickets", "POST")] {
        let response = daemon.request("OPTIONS", path, &[], "");
        let mut allowed: Vec<_> = response.header("allow").unwrap().split(',').map(str::trim).collect();
        allowed.sort_unstable();
        allowed.dedup();
        assert_eq!((response.status, allowed.join(",")), (204, methods.to_owned()), "{path}");
    }
    assert_eq!(daemon.request("OPTIONS", "*", &[], "").status, 204, "of the whole server");
    assert_eq!(daemon.request("OPTIONS", "/nothing", &[], "").status, 404);
}
