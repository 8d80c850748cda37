//! Consumers over HTTP: their settings, deliveries with a long poll or as a stream, dead letters, and who may use them.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{Daemon, Http2, bearer, token, until};

const JOBS: &str = r#"{"filters":["jobs/**"],"backoff":["10ms"]}"#;

/// A daemon with a consumer `q` of `jobs/**`.
fn with_consumer() -> Daemon {
    let daemon = Daemon::start(&[]);
    let created = daemon.request("PUT", "/consumers/q", &[], JOBS);
    assert_eq!(created.status, 201, "{}", created.text());
    daemon
}

fn post(daemon: &Daemon, path: &str, body: &str) -> Value {
    let answer = daemon.request("POST", &format!("/consumers/q/{path}"), &[], body);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// The deliveries of a response.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn next(daemon: &Daemon, query: &str) -> Vec<Value> {
    let answer = daemon.request("POST", &format!("/consumers/q/next{query}"), &[], "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    lines(&answer.text())
}

fn tokens(deliveries: &[Value]) -> String {
    json!({ "tokens": deliveries.iter().map(|event| event["delivery"]["token"].clone()).collect::<Vec<_>>() })
        .to_string()
}

fn show(daemon: &Daemon) -> Value {
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
fn deliveries_are_taken_and_settled() {
    let daemon = with_consumer();
    assert_eq!(next(&daemon, ""), [] as [Value; 0]);
    let ids: Vec<_> = ["a", "b", "c"].iter().map(|data| daemon.publish("jobs/x", data)).collect();
    let taken = next(&daemon, "?count=2");
    let envelope = &taken[0];
    assert_eq!(
        (&envelope["id"], &envelope["topic"], &envelope["data"]),
        (&json!(ids[0]), &json!("jobs/x"), &json!("a"))
    );
    assert_eq!((&envelope["delivery"]["attempt"], taken.len()), (&json!(1), 2));
    assert!(envelope["delivery"]["deadline"].as_u64() > envelope["time"].as_u64(), "{envelope}");
    // They continue without a connection.
    assert_eq!((show(&daemon)["in_flight"].clone(), show(&daemon)["workers"].clone()), (json!(2), json!(0)));
    assert_eq!(post(&daemon, "extend", &tokens(&taken)), json!({"deliveries": 2}));
    assert_eq!(post(&daemon, "ack", &tokens(&taken[..1])), json!({"deliveries": 1}));
    assert_eq!(post(&daemon, "nak", &tokens(&taken[1..])), json!({"deliveries": 1}));
    let stale = daemon.request("POST", "/consumers/q/ack", &[], tokens(&taken));
    assert_eq!(stale.refusal(), (409, "stale_delivery".into()));
    let again = next(&daemon, "?wait=10s");
    let more = if again[0]["data"] == "b" { next(&daemon, "?wait=10s") } else { again.clone() };
    let attempts: Vec<_> =
        [again, more].concat().iter().map(|e| (e["data"].clone(), e["delivery"]["attempt"].clone())).collect();
    assert!(attempts.contains(&(json!("c"), json!(1))), "{attempts:?}");
    for (path, body) in [
        ("ack", ""),
        ("ack", "{}"),
        ("ack", r#"{"tokens":[]},"nak":{"tokens":[]}"#),
        ("ack", r#"{"tokens":[],"delay_ms":1}"#),
        ("nak", r#"{"tokens":"a"}"#),
    ] {
        let refused = daemon.request("POST", &format!("/consumers/q/{path}"), &[], body);
        assert_eq!(refused.refusal(), (400, "request_invalid".into()), "{path} {body}");
    }
    for query in ["?count=0", "?count=65", "?count=x", "?wait=61s", "?wait=1"] {
        let refused = daemon.request("POST", &format!("/consumers/q/next{query}"), &[], "");
        assert_eq!(refused.refusal(), (400, "request_invalid".into()), "{query}");
    }
}

#[test]
fn a_request_waits_for_a_delivery_over_every_transport() {
    let daemon = with_consumer();
    let path = "/consumers/q/next?wait=30s";
    let http2 = Http2::connect(daemon.address);
    let transports: [&(dyn Fn() -> crate::harness::Response + Sync); 3] =
        [&|| daemon.request("POST", path, &[], ""), &|| daemon.request_locally("POST", path, ""), &|| {
            http2.request("POST", path, &[], "")
        }];
    for (number, ask) in transports.into_iter().enumerate() {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(ask);
            until("it waits", || (show(&daemon)["workers"] == 1).then_some(()));
            daemon.publish("jobs/x", number.to_string());
            let answer = waiting.join().unwrap();
            assert_eq!((answer.status, answer.header("x-content-type-options")), (200, Some("nosniff")));
            let taken = lines(&answer.text());
            assert_eq!((&taken[0]["data"], taken.len()), (&json!(number.to_string()), 1));
            post(&daemon, "ack", &tokens(&taken));
        });
    }
    // The end of the wait is an empty response.
    let began = Instant::now();
    assert_eq!(next(&daemon, "?wait=400ms"), [] as [Value; 0]);
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert_eq!(show(&daemon)["workers"], 0);
}

#[test]
fn a_client_that_disconnects_while_it_waits_loses_nothing() {
    let daemon = with_consumer();
    let head =
        format!("POST /consumers/q/next?wait=60s HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", daemon.address);
    for is_local in [false, true] {
        if is_local {
            let mut socket = daemon.local();
            socket.write_all(head.as_bytes()).unwrap();
            until("it waits", || (show(&daemon)["workers"] == 1).then_some(()));
        } else {
            let mut socket = daemon.tcp();
            socket.write_all(head.as_bytes()).unwrap();
            // The head of the response arrives when the wait begins.
            socket.read_exact(&mut [0; 15]).unwrap();
        }
        until("the worker is removed", || (show(&daemon)["workers"] == 0).then_some(()));
        daemon.publish("jobs/x", "x");
        let info = show(&daemon);
        assert_eq!((&info["pending"], &info["in_flight"]), (&json!(1), &json!(0)), "local {is_local}");
        let taken = next(&daemon, "?wait=5s");
        assert_eq!(taken[0]["delivery"]["attempt"], 1);
        post(&daemon, "ack", &tokens(&taken));
    }
    // A peer that has closed its sending half still gets the end of the response.
    let mut socket = daemon.tcp();
    socket.write_all(head.as_bytes()).unwrap();
    socket.read_exact(&mut [0; 15]).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    socket.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("\r\n\r\n0\r\n\r\n"), "{rest}");
}

#[test]
fn a_stream_of_deliveries_is_a_worker_until_it_closes() {
    let daemon = with_consumer();
    let path = "/consumers/q/events?max_in_flight=2&worker=tab&heartbeat=1s";
    for open in [Daemon::stream, Daemon::stream_locally] {
        let mut stream = open(&daemon, path);
        assert_eq!(stream.head.header("content-type"), Some("text/event-stream; charset=utf-8"));
        let client = daemon.get("/clients").json()[0].clone();
        assert_eq!(
            (&client["role"], &client["name"], &client["via"]),
            (&json!("worker"), &json!("tab"), &json!("sse"))
        );
        assert_eq!(stream.head.header("sse-bus-client"), client["id"].as_str());
        for data in ["1", "2", "3"] {
            daemon.publish("jobs/x", data);
        }
        let first = [stream.event().json(), stream.event().json()];
        assert_eq!(first.iter().map(|event| event["data"].clone()).collect::<Vec<_>>(), ["1", "2"]);
        // It has no room for the third, and lives on.
        while stream.line().unwrap().unwrap() != ":\n" {}
        post(&daemon, "ack", &tokens(&first));
        let third = stream.event().json();
        assert_eq!((&third["data"], &third["delivery"]["attempt"]), (&json!("3"), &json!(1)));
        drop(stream);
        // The attempt has failed, since the event may have killed its worker.
        let again = next(&daemon, "?wait=10s");
        assert_eq!((&again[0]["data"], &again[0]["delivery"]["attempt"]), (&json!("3"), &json!(2)));
        post(&daemon, "ack", &tokens(&again));
        until("it is removed", || (show(&daemon)["workers"] == 0).then_some(()));
    }
    assert_eq!(daemon.request("HEAD", path, &[], "").status, 200);
    assert_eq!(show(&daemon)["workers"], 0);
    let refused = daemon.get("/consumers/q/events?format=data");
    assert_eq!(refused.refusal(), (400, "request_invalid".into()));
    // A kick and the deletion of the consumer end streams.
    let mut kicked = daemon.stream(path);
    assert_eq!(daemon.request("DELETE", "/clients/tab", &[], "").json(), json!({"connections": 1}));
    kicked.ends();
    let mut deleted = daemon.stream(path);
    daemon.request("DELETE", "/consumers/q", &[], "");
    deleted.ends();
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
