//! Requests and replies over HTTP, and the browser module `request.js` in Node.

use std::process::Command;

use serde_json::json;

use crate::harness::{Daemon, EventStream, Process, Response};

const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/daemon/web/client/request.js");

/// Sends a request from another thread.
fn request(daemon: &Daemon, path: &str, body: &str) -> std::thread::JoinHandle<Response> {
    let (address, path, body) = (daemon.address, path.to_owned(), body.to_owned());
    std::thread::spawn(move || {
        let socket = std::net::TcpStream::connect(address).unwrap();
        crate::harness::exchange(Box::new(socket), &address.to_string(), "POST", &path, &[], body.as_bytes())
    })
}

/// Answers the next request of a stream. Returns its data.
fn answer(daemon: &Daemon, stream: &mut EventStream, query: &str, data: &str) -> String {
    let event = stream.event().json();
    let to = event["reply_to"].as_str().unwrap();
    let replied = daemon.request("POST", &format!("/replies/{to}{query}"), &[], data);
    assert_eq!((replied.status, replied.json()), (200, json!({})));
    assert_eq!(daemon.request("POST", &format!("/replies/{to}"), &[], data).refusal(), (409, "stale_request".into()));
    event["data"].as_str().unwrap().to_owned()
}

#[test]
fn the_response_to_a_request_is_the_reply() {
    let daemon = Daemon::start(&[]);
    let mut calc = daemon.stream("/requests/math/*?client=calc");
    let sum = request(&daemon, "/requests/math/sum?type=ask&header=key:k&timeout=9s", "1 2");
    let event = calc.event().json();
    assert_eq!(
        [&event["id"], &event["topic"], &event["type"], &event["headers"]],
        [&json!(null), &json!("math/sum"), &json!("ask"), &json!({ "key": "k" })]
    );
    let reply = format!("/replies/{}?header=Content-Type:application/json", event["reply_to"].as_str().unwrap());
    assert_eq!(daemon.request("POST", &reply, &[], "[3]").status, 200);
    let response = sum.join().unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "[3]"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("content-security-policy"), Some("default-src 'none'; sandbox"));

    let sum = request(&daemon, "/requests/math/sum", "x");
    assert_eq!(answer(&daemon, &mut calc, "", "3"), "x");
    let response = sum.join().unwrap();
    assert_eq!((response.text().as_str(), response.header("content-type")), ("3", Some("text/plain; charset=utf-8")));

    let sum = request(&daemon, "/requests/math/sum?replies=2", "x");
    answer(&daemon, &mut calc, "", "3");
    assert_eq!(sum.join().unwrap().json(), json!({ "replies": [{ "data": "3", "responder": "calc" }] }));
}

#[test]
fn the_status_of_a_failed_request_shows_why() {
    let daemon = Daemon::start(&[]);
    let refusal = |path| request(&daemon, path, "x").join().unwrap().refusal();
    assert_eq!(refusal("/requests/math/sum?timeout=1h"), (503, "no_responder".into()));
    let mut calc = daemon.stream("/requests?topic=math/*&topic=text/*&max_in_flight=2");
    assert_eq!(refusal("/requests/math/sum?timeout=50ms"), (504, "timed_out".into()));
    calc.event();
    let failing = request(&daemon, "/requests/text/upper", "x");
    answer(&daemon, &mut calc, "?error=no%20letters", "ignored");
    let failed = failing.join().unwrap();
    assert_eq!((failed.status, failed.json()["error"]["message"].clone()), (502, json!("no letters")));
    let abandoned = request(&daemon, "/requests/text/upper", "x");
    calc.event();
    drop(calc);
    assert_eq!(abandoned.join().unwrap().refusal(), (502, "responder_gone".into()));
    for (method, path, expected) in [
        ("POST", "/requests/a*", "topic_invalid"),
        ("POST", "/requests/a?timeout=soon", "request_invalid"),
        ("POST", "/requests/a?replies=many", "request_invalid"),
        ("POST", "/requests/a?ttl=1s", "parameter_unknown"),
        ("GET", "/requests", "filter_invalid"),
        ("GET", "/requests/a?since=all", "parameter_unknown"),
        ("GET", "/requests/a?max_in_flight=0", "request_invalid"),
        ("POST", "/replies/x?to=y", "parameter_unknown"),
    ] {
        assert_eq!(daemon.request(method, path, &[], "").refusal(), (400, expected.into()), "{method} {path}");
    }
    // A HEAD does not open a stream.
    let head = daemon.request("HEAD", "/requests/a", &[], "");
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream; charset=utf-8")));
    assert_eq!(daemon.get("/clients").json(), json!([]));
}

#[test]
fn tokens_limit_requests_and_responders() {
    let (daemon, tokens) = Daemon::exposed(&[]);
    let status = |method, path, token: &str| daemon.with_token(method, path, token);
    assert_eq!(status("POST", "/requests/a", &tokens.subscribe), 403);
    assert_eq!(status("POST", "/requests/a", &tokens.publish), 503);
    assert_eq!(status("POST", "/requests/other", &tokens.builds), 403);
    assert_eq!(status("POST", "/requests/build/web", &tokens.builds), 503);
    // To respond needs the scope `work`.
    assert_eq!(status("GET", "/requests/a", &tokens.all), 403);
}

#[test]
fn the_module_sends_requests_and_replies() {
    let daemon = Daemon::start(&[]);
    let served = daemon.get("/request.js");
    assert_eq!((served.status, served.text()), (200, std::fs::read_to_string(MODULE).unwrap()));
    let script = r#"
        import assert from "node:assert/strict";
        import { connect } from MODULE;
        const { request, respond } = connect(process.argv[1]);
        const failed = (promise) => promise.then(assert.fail, ({ code }) => code);
        assert.equal(await failed(request("math/sum", "1 2", { timeout: "1h" })), "no_responder");
        assert.equal(await failed(connect("http://127.0.0.1:9").request("a")), "unreachable");
        for (const topic of ["a/../b", "a?replies=2", "a#b"]) assert.equal(await failed(request(topic)), "topic_invalid");
        const open = (filters, handler, options) =>
          new Promise((done) => {
            const responder = respond(filters, handler, { ...options, onstate: ({ state }) => state === "open" && done(responder) });
          });
        const sum = ({ data }) => String(data.split(" ").reduce((sum, number) => sum + +number, 0));
        const responder = await open("math/*", async (question) => {
          await new Promise((done) => setTimeout(done, 20));
          if (question.data === "é\n") return { json: question.topic, type: question.type };
          if (question.data === "never") return new Promise(() => {});
          if (question.data === "bad") throw new Error("not numbers");
          return sum(question);
        }, { client: "calc" });
        assert.equal(await request("math/sum", "1 2"), "3");
        assert.deepEqual(JSON.parse(await request("math/x", "é\n", { type: "t" })), { json: "math/x", type: "t" });
        // Several at the same time.
        const many = await Promise.all(Array.from({ length: 30 }, (_, number) => request("math/sum", `${number} 1`)));
        assert.deepEqual(many, Array.from({ length: 30 }, (_, number) => `${number + 1}`));
        assert.equal(await failed(request("math/sum", "bad")), "responder_failed");
        assert.equal(await failed(request("math/sum", "never", { timeout: 50 })), "timed_out");
        assert.deepEqual(await request("math/sum", [1], { replies: 2 }), [{ data: "NaN", responder: "calc" }]);
        const gone = failed(request("math/sum", "never"));
        await new Promise((done) => setTimeout(done, 100));
        responder.close();
        assert.equal(await gone, "responder_gone");
        assert.equal(await failed(request("math/sum", "1 2")), "no_responder");
        await new Promise((done) => respond("a//b", sum, { onstate: ({ state, reason }) => reason === "filter_invalid" && state === "closed" && done() }));
        console.log("done");
        process.exit();"#;
    let mut node = Command::new("node");
    node.args(["--input-type=module", "--eval", &script.replace("MODULE", &format!("{MODULE:?}"))]);
    node.arg(format!("http://{}", daemon.address)).env("NO_PROXY", "127.0.0.1");
    let run = Process::start(node).finish();
    assert_eq!(run.stdout.trim(), "done", "{run}");
}
