//! Consumers over HTTP: their settings, dead letters, and authorization.

use serde_json::{Value, json};

use crate::harness::{Daemon, bearer, token};

const JOBS: &str = r#"{"filters":["jobs/**"],"backoff":["10ms"]}"#;

/// A daemon with a consumer `q` of `jobs/**`.
pub(crate) fn with_consumer() -> Daemon {
    let daemon = Daemon::start(&[]);
    let created = daemon.request("PUT", "/consumers/q", &[], JOBS);
    assert_eq!(created.status, 201, "{}", created.text());
    daemon
}

pub(crate) fn post(daemon: &Daemon, path: &str, body: &str) -> Value {
    let answer = daemon.request("POST", &format!("/consumers/q/{path}"), &[], body);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// The deliveries of a response.
pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

pub(crate) fn next(daemon: &Daemon, query: &str) -> Vec<Value> {
    let answer = daemon.request("POST", &format!("/consumers/q/next{query}"), &[], "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    lines(&answer.text())
}

pub(crate) fn tokens(deliveries: &[Value]) -> String {
    json!({ "tokens": deliveries.iter().map(|event| event["delivery"]["token"].clone()).collect::<Vec<_>>() })
        .to_string()
}

pub(crate) fn show(daemon: &Daemon) -> Value {
    daemon.get("/consumers/q").json()
}

/// Publishes jobs and rejects them.
fn kill(daemon: &Daemon, topics: &[&str]) {
    for topic in topics {
        daemon.publish(topic, format!("data of {topic}"));
        let taken = next(daemon, "?wait=5s&worker=w");
        let mut body: Value = serde_json::from_str(&tokens(&taken)).unwrap();
        body["reason"] = "no such picture".into();
        assert_eq!(post(daemon, "reject", &body.to_string()), json!({"deliveries": 1}));
    }
}

#[test]
fn a_consumer_is_created_shown_paused_moved_and_deleted() {
    let daemon = Daemon::start(&[]);
    let put = |path: &str, body: &str| daemon.request("PUT", path, &[], body);
    let parameters = "/consumers/q?filter=jobs/**&filter=other&from=all&ack_wait=1m&max_attempts=2&backoff=1s,5s\
                      &max_in_flight=7&on_full=drop&inactive_after=1h";
    let created = put(parameters, "");
    assert_eq!(created.status, 201, "{}", created.text());
    let body = json!({"filters": ["other", "jobs/**"], "from": "all", "ack_wait": "60s", "max_attempts": 2,
        "backoff": ["1s", "5s"], "max_in_flight": 7, "on_full": "drop", "inactive_after": "1h"});
    let same = put("/consumers/q", &body.to_string());
    assert_eq!((same.status, &same.json()), (200, &show(&daemon)));
    let info = same.json();
    for (field, value) in body.as_object().unwrap() {
        let shown = match field.as_str() {
            "from" => continue,
            "filters" => json!(["jobs/**", "other"]),
            "ack_wait" => json!("1m"),
            _ => value.clone(),
        };
        assert_eq!(info[field], shown, "{field}");
    }
    assert_eq!(put("/consumers/q", JOBS).refusal(), (409, "consumer_exists".into()));
    assert_eq!(put("/consumers/a", JOBS).status, 201);
    let names: Vec<_> = daemon.get("/consumers").json().as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["a", "q"]);

    for body in ["", "x", "[]", r#"{"filter":"a"}"#, r#"{"filters":[]}"#, r#"{"filters":["a"],"ack_wait":"30"}"#] {
        assert_eq!(put("/consumers/b", body).refusal(), (400, "consumer_invalid".into()), "{body}");
    }
    assert_eq!(put("/consumers/b?filter=a", JOBS).refusal(), (400, "request_invalid".into()));
    assert_eq!(put("/consumers/b%20c", JOBS).refusal(), (400, "consumer_invalid".into()));
    assert_eq!(put("/consumers/b", &"x".repeat(65 << 10)).status, 413);

    assert_eq!(post(&daemon, "pause", "")["paused"], true);
    assert_eq!(post(&daemon, "resume", "")["paused"], false);
    let id = daemon.publish("other", "x");
    assert_eq!(show(&daemon)["pending"], 1);
    assert_eq!(post(&daemon, &format!("seek?to={id}"), "")["position"], json!(id));
    assert_eq!(show(&daemon)["pending"], 0);
    for query in ["", "?to=soon"] {
        let refused = daemon.request("POST", &format!("/consumers/q/seek{query}"), &[], "");
        assert_eq!(refused.status, 400, "{query}");
    }
    assert_eq!(daemon.request("DELETE", "/consumers/q", &[], "").json(), json!({"count": 1}));
    for (method, path) in [
        ("GET", "/consumers/q"),
        ("DELETE", "/consumers/q"),
        ("POST", "/consumers/q/pause"),
        ("POST", "/consumers/q/next"),
        ("GET", "/consumers/q/events"),
        ("HEAD", "/consumers/q/events"),
        ("GET", "/consumers/q/dead"),
    ] {
        let answer = daemon.request(method, path, &[], "");
        assert_eq!(answer.status, 404, "{method} {path}");
        if method != "HEAD" {
            assert_eq!(answer.refusal().1, "consumer_unknown");
        }
    }
}

#[test]
fn dead_letters_are_listed_retried_and_dropped() {
    let daemon = with_consumer();
    kill(&daemon, &["jobs/a", "jobs/b", "jobs/a", "jobs/c"]);
    let list = |query: &str| daemon.get(&format!("/consumers/q/dead{query}")).json().as_array().unwrap().clone();
    let all = list("");
    assert_eq!(all.len(), 4);
    let id = |letter: &Value| letter["id"].as_str().unwrap().to_owned();
    let expected = json!({"id": all[0]["id"], "reason": "rejected", "text": "no such picture", "attempts": 1,
        "worker": "w", "since": all[0]["since"], "topic": "jobs/a", "data": "data of jobs/a"});
    assert_eq!(all[0], expected);
    assert_eq!(list(&format!("?after={}", id(&all[1]))), all[2..]);
    assert_eq!(list("?filter=jobs/a"), [all[0].clone(), all[2].clone()]);
    assert_eq!(list(&format!("?id={}", id(&all[3]))), all[3..]);
    assert_eq!((daemon.status()["dead"].clone(), daemon.status()["consumers"].clone()), (json!(4), json!(1)));

    let of_consumer = |name: &str| daemon.metric(&format!("sse_bus_consumer_{name}{{consumer=\"q\"}}"));
    let metrics = [daemon.metric("sse_bus_dead_letters"), of_consumer("dead_letters"), of_consumer("died_total")];
    assert_eq!(metrics.map(|value| value.to_string()), ["4", "4", "4"]);
    let doctor = daemon.ctl(&["doctor"]).json();
    let finding = doctor.iter().find(|finding| finding["check"] == "consumers").unwrap();
    assert_eq!((&finding["state"], &finding["fix"]), (&json!("warning"), &json!("sse-busctl dead list q")));
    let text = daemon.ctl(&["status", "--format", "text"]).ok().stdout;
    assert!(text.contains("consumers 1 consumer, 0 workers, 0 pending, 0 in flight, 4 dead letters"), "{text}");

    let change = |method: &str, query: &str| daemon.request(method, &format!("/consumers/q/dead{query}"), &[], "");
    for query in
        ["", "?all=false", "?id=x", "?all=maybe", "?all=true&filter=jobs/a", &format!("?id={}&all=true", id(&all[0]))]
    {
        assert_eq!(change("POST", query).refusal(), (400, "request_invalid".into()), "{query}");
    }
    assert_eq!(change("DELETE", "?filter=a//b").refusal(), (400, "filter_invalid".into()));
    let one = format!("?id={}", id(&all[3]));
    assert_eq!(change("DELETE", &one).json(), json!({"count": 1}));
    for (method, query) in [("DELETE", &*one), ("POST", "?id=k3f9x0ab-1"), ("GET", &one)] {
        assert_eq!(change(method, query).refusal(), (404, "dead_unknown".into()), "{method} {query}");
    }
    assert_eq!(change("POST", "?filter=jobs/a").json(), json!({"count": 2}));
    let again = next(&daemon, "?count=5&wait=5s");
    let seen: Vec<_> =
        again.iter().map(|event| (event["topic"].clone(), event["delivery"]["attempt"].clone())).collect();
    assert_eq!(seen, [(json!("jobs/a"), json!(1)), (json!("jobs/a"), json!(1))]);
    assert_eq!(change("DELETE", "?all=true").json(), json!({"count": 1}));
    assert_eq!(list(""), [] as [Value; 0]);
}

#[test]
fn a_token_works_for_consumers_of_its_topics_only() {
    let (daemon, tokens) = Daemon::exposed(&[]);
    let work = token(&daemon.sandbox, &["--name", "work", "--scope", "work", "--topic", "jobs/**"]);
    let ask = |method: &str, path: &str, token: &str, body: &str| {
        daemon.request(method, path, &[("Authorization", &bearer(token))], body)
    };
    assert_eq!(ask("PUT", "/consumers/q", &work, JOBS).status, 201);
    for body in [r#"{"filters":["**"]}"#, r#"{"filters":["jobs/a","other"]}"#] {
        assert_eq!(ask("PUT", "/consumers/r", &work, body).refusal(), (403, "denied".into()));
    }
    assert_eq!(ask("PUT", "/consumers/secret", &tokens.all, r#"{"filters":["secret"]}"#).status, 201);
    for (method, path, allowed) in [
        ("GET", "/consumers", 200),
        ("GET", "/consumers/q", 200),
        ("POST", "/consumers/q/pause", 200),
        ("POST", "/consumers/q/resume", 200),
        ("POST", "/consumers/q/seek?to=now", 200),
        ("GET", "/consumers/q/dead", 200),
        ("POST", "/consumers/q/dead?all=true", 200),
        ("DELETE", "/consumers/q/dead?all=true", 200),
        ("POST", "/consumers/q/next", 200),
        ("HEAD", "/consumers/q/events", 200),
        ("POST", "/consumers/q/ack", 200),
    ] {
        let body = if path.ends_with("/ack") { r#"{"tokens":[]}"# } else { "" };
        assert_eq!(ask(method, path, &work, body).status, allowed, "work: {method} {path}");
        for (name, other) in [("publish", &tokens.publish), ("subscribe", &tokens.subscribe)] {
            assert_eq!(ask(method, path, other, body).status, 403, "{name}: {method} {path}");
        }
        let admin = if ["/next", "/ack", "/events"].iter().any(|end| path.ends_with(end)) { 403 } else { allowed };
        assert_eq!(ask(method, path, &tokens.all, body).status, admin, "admin: {method} {path}");
        if path.contains("/q") && !path.ends_with("/ack") {
            let secret = path.replace("/q", "/secret");
            assert_eq!(ask(method, &secret, &work, body).status, 403, "work: {method} {secret}");
        }
    }
    let listed = |token: &str| ask("GET", "/consumers", token, "").json().as_array().unwrap().len();
    assert_eq!((listed(&work), listed(&tokens.all)), (1, 2));

    // A delivery of another consumer, and the data of its dead letters.
    daemon.request_locally("POST", "/events/secret", "data");
    let taken = lines(&daemon.request_locally("POST", "/consumers/secret/next?wait=5s", "").text());
    let body = self::tokens(&taken);
    assert_eq!(ask("POST", "/consumers/secret/ack", &work, &body).status, 403);
    assert_eq!(daemon.request_locally("POST", "/consumers/secret/reject", &body).status, 200);
    let admin = token(&daemon.sandbox, &["--name", "admin", "--scope", "admin"]);
    let letter = |token: &str| ask("GET", "/consumers/secret/dead", token, "").json()[0].clone();
    assert_eq!((&letter(&admin)["topic"], &letter(&admin)["data"]), (&json!("secret"), &Value::Null));
    assert_eq!(letter(&tokens.all)["data"], "data");
    assert_eq!(ask("DELETE", "/consumers/secret", &work, "").status, 403);
    // A stream ends with its token.
    let mut stream = daemon.stream_with("/consumers/q/events", &[("Authorization", &bearer(&work))]);
    daemon.ctl(&["token", "revoke", "work"]).ok();
    stream.ends();
}

#[test]
fn pages_of_other_origins_are_refused_and_allowed_ones_may_put() {
    let app = "http://app.example";
    let daemon = Daemon::start(&["--allow-origin", app]);
    for (method, path) in [
        ("PUT", "/consumers/q"),
        ("GET", "/consumers"),
        ("POST", "/consumers/q/next"),
        ("GET", "/consumers/q/events"),
        ("DELETE", "/consumers/q/dead"),
    ] {
        for headers in [[("Origin", "http://evil.example")], [("Sec-Fetch-Site", "cross-site")]] {
            let refused = daemon.request(method, path, &headers, "");
            assert_eq!(refused.refusal(), (403, "denied".into()), "{method} {path}");
        }
    }
    let asked = [("Origin", app), ("Access-Control-Request-Method", "PUT")];
    let preflight = daemon.request("OPTIONS", "/consumers/q", &asked, "");
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("PUT"));
    let put = daemon.request("PUT", "/consumers/q", &[("Origin", app)], JOBS);
    assert_eq!((put.status, put.header("access-control-allow-origin")), (201, Some(app)));
    // Also where the response does not pass the guards on its way out.
    let waited = daemon.request("POST", "/consumers/q/next?wait=300ms", &[("Origin", app)], "");
    assert_eq!((waited.status, waited.header("access-control-allow-origin")), (200, Some(app)));
    let stream = daemon.stream_with("/consumers/q/events", &[("Origin", app)]);
    assert_eq!(stream.head.header("access-control-allow-origin"), Some(app));
}

#[test]
fn unknown_parameters_are_refused() {
    let daemon = with_consumer();
    for (method, path) in [
        ("GET", "/consumers?x=1"),
        ("GET", "/consumers/q?x=1"),
        ("PUT", "/consumers/q?filters=a"),
        ("DELETE", "/consumers/q?x=1"),
        ("POST", "/consumers/q/pause?x=1"),
        ("POST", "/consumers/q/resume?x=1"),
        ("POST", "/consumers/q/seek?from=all"),
        ("POST", "/consumers/q/next?counts=1"),
        ("POST", "/consumers/q/ack?token=a"),
        ("GET", "/consumers/q/events?topic=a"),
        ("HEAD", "/consumers/q/events?topic=a"),
        ("GET", "/consumers/q/dead?all=true"),
        ("POST", "/consumers/q/dead?after=a-1"),
        ("DELETE", "/consumers/q/dead?after=a-1"),
    ] {
        let answer = daemon.request(method, path, &[], "");
        assert_eq!(answer.status, 400, "{method} {path}");
        if method != "HEAD" {
            assert_eq!(answer.refusal().1, "parameter_unknown", "{method} {path}");
        }
    }
    assert_eq!(daemon.request("POST", "/consumers/q", &[], "").status, 405);
}

#[test]
fn a_delivery_is_settled_only_under_the_name_of_its_consumer() {
    let daemon = Daemon::start(&[]);
    for name in ["q", "other"] {
        let created = daemon.request("PUT", &format!("/consumers/{name}?filter=q/*"), &[], "");
        assert_eq!(created.status, 201, "{}", created.text());
    }
    daemon.publish("q/a", "x");
    let taken = daemon.request("POST", "/consumers/q/next", &[], "").json();
    let body = json!({"tokens": [taken["delivery"]["token"]]}).to_string();
    for verb in ["ack", "nak", "extend", "reject", "release"] {
        let body = if verb == "reject" { body.replace('}', r#","reason":"bad"}"#) } else { body.clone() };
        let refused = daemon.request("POST", &format!("/consumers/other/{verb}"), &[], body);
        assert_eq!(refused.refusal(), (409, "stale_delivery".into()), "{verb}");
        assert!(refused.text().contains("is of the consumer `q`, not of `other`"), "{}", refused.text());
    }
    assert_eq!(daemon.request("POST", "/consumers/q/ack", &[], body).json(), json!({"deliveries": 1}));
}
