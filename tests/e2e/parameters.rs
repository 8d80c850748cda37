//! Query parameters: an unknown one is refused, and a similar known one is suggested.

use serde_json::json;

use crate::harness::{Daemon, Http2};

#[test]
fn an_unknown_parameter_is_refused_on_every_route_and_does_nothing() {
    let daemon = Daemon::start(&[]);
    for (method, path, said) in [
        ("GET", "/events?topics=a", "unknown parameter `topics`, did you mean `topic`?"),
        ("GET", "/events/a?sinse=all", "unknown parameter `sinse`, did you mean `since`?"),
        ("GET", "/events/a?retain=true", "`retain` is a parameter of a publish (POST /events/TOPIC)"),
        ("POST", "/events/a?typ=done", "unknown parameter `typ`, did you mean `type`?"),
        ("POST", "/events/a?since=all", "`since` is a parameter of a stream (GET /events)"),
        ("POST", "/events/a?colour=red", "a publish (POST /events/TOPIC) takes type, to, retain, ttl, ack"),
        ("POST", "/tickets?name=a", "unknown parameter `name`"),
        ("GET", "/?topics=a", "did you mean `topic`?"),
        ("GET", "/topics?topic=a", "`topic` is a parameter of a stream (GET /events)"),
        ("GET", "/clients?x", "unknown parameter `x`; this request takes none"),
        ("DELETE", "/clients/c1?x=1", "a kick (DELETE /clients/CLIENT) takes for"),
        ("GET", "/status?pretty", "takes none"),
        ("GET", "/config?x=1", "takes none"),
        ("GET", "/metrics?x=1", "takes none"),
        ("GET", "/healthz?x=1", "takes none"),
    ] {
        let responses = [
            daemon.request(method, path, &[], "x"),
            daemon.request_locally(method, path, "x"),
            Http2::connect(daemon.address).request(method, path, &[], "x"),
        ];
        for response in responses {
            assert_eq!(response.refusal(), (400, "parameter_unknown".into()), "{method} {path}");
            let message = response.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.contains(said), "{method} {path}: {message}");
        }
    }
    assert_eq!(daemon.request("HEAD", "/events?topics=a", &[], "").status, 400);
    let status = daemon.status();
    assert_eq!((&status["published"], &status["subscribers"]), (&json!(0), &json!(0)));
    assert!(daemon.metric("sse_bus_refused_total{code=\"parameter_unknown\"}") >= 9.0);
}

/// jQuery and others add `_` to every URL to bypass caches; Datastar adds its own signals.
#[test]
fn parameters_that_libraries_add_are_ignored() {
    let daemon = Daemon::start(&[]);
    let added = "_=1712&_cache&datastar=%7B%22a%22%3A1%7D";
    assert_eq!(daemon.request("POST", &format!("/events/a?{added}&type=done"), &[], "x").status, 202);
    for path in ["/topics", "/status", "/metrics", "/healthz", "/", "/clients", "/config"] {
        assert_eq!(daemon.get(&format!("{path}?{added}")).status, 200, "{path}");
    }
    let id = daemon.status()["position"].as_str().unwrap().to_owned();
    daemon.publish("a", "y");
    // Every name under which clients that cannot set the header send the last id.
    for name in ["last_event_id", "lastEventId", "Last-Event-ID"] {
        let mut stream = daemon.stream(&format!("/events/a?{added}&{name}={id}"));
        assert_eq!(stream.event().data, "y", "{name}");
    }
    // Static files accept any query: bundlers add versions.
    for path in ["/client.js?v=3", "/page/page.js?t=1&import"] {
        assert_eq!(daemon.get(path).status, 200, "{path}");
    }
}
