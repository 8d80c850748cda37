//! The browser module, as far as it needs no browser: how it is served, its size, that it matches topics as the bus
//! does, and its streams and errors in Node, where there are no tabs.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use sse_bus::{Filter, Topic};

use crate::harness::{Daemon, Process, Sandbox};

const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/daemon/web/client/client.js");

#[test]
fn the_module_is_served_to_allowed_origins_only() {
    let daemon = Daemon::start(&["--allow-origin", "http://localhost:3000"]);
    let module = fs::read_to_string(MODULE).unwrap();
    let served = daemon.get("/client.js");
    assert_eq!((served.status, served.text()), (200, module));
    assert_eq!(served.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(served.header("access-control-allow-origin"), None);
    let from =
        |origin| daemon.request("GET", "/client.js", &[("Origin", origin), ("Sec-Fetch-Site", "cross-site")], "");
    let allowed = from("http://localhost:3000");
    assert_eq!(allowed.header("access-control-allow-origin"), Some("http://localhost:3000"));
    let refused = from("http://evil.example");
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None));
}

#[test]
fn the_module_has_less_than_5_kib_compressed_and_its_package_is_complete() {
    let gzip = Command::new("gzip").args(["-9", "--stdout", MODULE]).output().unwrap();
    assert!(gzip.status.success() && gzip.stdout.len() < 5 << 10, "{} bytes", gzip.stdout.len());
    let folder = Path::new(MODULE).parent().unwrap();
    let package = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/npm/package.json");
    let package: Value = serde_json::from_slice(&fs::read(package).unwrap()).unwrap();
    assert_eq!((&package["name"], &package["version"]), (&json!("sse-bus"), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!(package.get("dependencies"), None);
    // Every export has a type declaration.
    let types = fs::read_to_string(folder.join("client.d.ts")).unwrap();
    for name in ["covers", "connect", "subscribe", "publish", "clients"] {
        assert!(
            types.contains(&format!("export function {name}(")) || types.contains(&format!("export const {name}:"))
        );
    }
}

#[test]
fn the_module_matches_topics_and_filters_as_the_bus_does() {
    let mut texts = vec![String::new()];
    for _ in 0..3 {
        let longer = texts.iter().flat_map(|text| {
            ["a", "b", "é", "*", "**", "$", "$a"]
                .map(|level| if text.is_empty() { level.into() } else { format!("{text}/{level}") })
        });
        texts = texts.iter().cloned().chain(longer).collect();
        texts.sort_unstable();
        texts.dedup();
    }
    let filters: Vec<Filter> = texts.iter().filter_map(|text| Filter::parse(text).ok()).collect();
    let topics: Vec<Topic> = texts.iter().filter_map(|text| Topic::parse(text).ok()).collect();
    let mut table = Vec::new();
    for filter in &filters {
        table.extend(topics.iter().map(|topic| json!([filter, topic.as_str(), filter.matches(topic)])));
        table.extend(filters.iter().map(|other| json!([filter, other, filter.covers(other)])));
    }
    assert!(table.len() > 50_000 && table.iter().any(|row| row[2] == true), "{} rows", table.len());
    let script = "
        import { covers } from MODULE;
        const wrong = JSON.parse(fs.readFileSync(0)).filter(([filter, other, expected]) => covers(filter, other) !== expected);
        console.log(JSON.stringify(wrong.slice(0, 10)));";
    let mut node = node(script);
    let mut child = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(serde_json::to_string(&table).unwrap().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "[]", "[filter, other, what Rust says]");
}

#[test]
fn without_tabs_the_module_streams_publishes_and_reports_errors() {
    let daemon = Daemon::start(&[]);
    let script = r#"
        import { execFileSync } from "node:child_process";
        import { connect } from MODULE;
        const { subscribe, publish, clients } = connect(process.argv[1]);
        const data = ["", "two\nlines", "\r\n \r", "\u2028\u2029\v\u0085", "é😀", '{"n":[1]}', "x".repeat(200_000), "data: x\n\nid: y"];
        for (const text of data) await publish("t/é%2F/a b".replace(" ", ""), text, { type: "kind" });
        const seen = [];
        const sub = subscribe(["t/**"], { since: "all", onevent: (event) => seen.push(event.data) });
        let count = 0;
        for await (const event of sub) {
          assert.deepEqual([event.topic, event.type, event.data], ["t/é%2F/ab", "kind", data[count]]);
          if (count === 5) assert.equal(event.json().n[0], 1);
          if (++count === data.length) break;
        }
        assert.deepEqual(seen, data);
        assert.ok(sub.closed);

        const failed = (promise) => promise.then(assert.fail, ({ code, status }) => [code, status]);
        assert.deepEqual(await failed(publish("a/*", "x")), ["topic_invalid", 400]);
        for (const topic of ["a/../b", "..", "a?retain=true", "a#b"]) {
          assert.deepEqual(await failed(publish(topic, "x")), ["topic_invalid", undefined]);
        }
        assert.deepEqual(await failed(publish("a", "x".repeat(300_000))), ["limit_event_bytes", 413]);
        assert.deepEqual(await failed(subscribe("a//b")[Symbol.asyncIterator]().next()), ["filter_invalid", 400]);
        assert.deepEqual(await failed(connect("http://127.0.0.1:9").clients()), ["unreachable", undefined]);
        assert.deepEqual((await clients()).map(({ role }) => role), []);

        // A loop slower than the stream: excess events are not queued but fetched later.
        const slow = subscribe("s", { since: "now" });
        const numbers = slow[Symbol.asyncIterator]();
        let next = numbers.next();
        while (!(await clients()).some(({ filters }) => filters == "s")) await new Promise((done) => setTimeout(done, 20));
        const lines = Array.from({ length: 3000 }, (_, number) => `${number}\n`).join("");
        execFileSync(process.argv[2], ["--socket", process.argv[3], "publish", "s", "--lines"], { input: lines });
        const got = new Set();
        for (let last = ""; got.size < 3000; next = numbers.next()) {
          const { value } = await next;
          assert.ok(!got.has(value.data) && Number(value.id.split("-")[1]) > last, value);
          assert.ok(slow.queue.length <= 1000, slow.queue.length);
          got.add(value.data);
          last = Number(value.id.split("-")[1]);
        }
        slow.close();
        console.log("done");"#;
    let mut node = node(script);
    node.arg(format!("http://{}", daemon.address)).arg(env!("CARGO_BIN_EXE_sse-busctl")).arg(daemon.sandbox.socket());
    let run = Process::start(node).finish();
    assert_eq!(run.stdout.trim(), "done", "{run}");
    assert!(run.stderr.matches("a connection of its own").count() == 1, "{run}");
}

/// As a development server or nginx does while the bus behind it restarts.
#[test]
fn behind_a_proxy_without_its_bus_the_module_reports_it_and_reconnects() {
    let sandbox = Sandbox::new();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let socket = sandbox.socket().display().to_string();
    let flags = ["--no-config", "--listen", &address, "--socket", &socket].map(str::to_owned);
    let mut daemon = Daemon::of_command(sandbox, flags.into(), |_| {});
    let script = r#"
        import http from "node:http";
        import { connect } from MODULE;
        const proxy = http.createServer((request, response) => {
          const { method, url, headers } = request;
          const away = () => response.headersSent ? response.destroy() : response.writeHead(502).end("<h1>502 Bad Gateway</h1>");
          const passed = http.request(process.argv[1] + url, { method, headers, agent: false }, (found) => {
            response.writeHead(found.statusCode, found.headers).flushHeaders();
            found.on("error", away).on("aborted", away).pipe(response);
          });
          request.pipe(passed.on("error", away));
        });
        await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
        const { subscribe, publish } = connect(`http://127.0.0.1:${proxy.address().port}`);
        const say = (what) => console.log(JSON.stringify(what));
        subscribe("t", { onevent: ({ data }) => say({ data }), onstate: say });
        for await (const _ of process.stdin) say(await publish("t", "x").catch(({ code }) => ({ code })));
        process.exit();"#;
    let mut node = node(script);
    node.arg(format!("http://{address}"));
    let mut node = Process::start(node);
    let wait_for = |node: &mut Process, name: &str, value: &str| loop {
        let line: Value = serde_json::from_str(&node.line()).unwrap();
        assert_ne!(line["reason"], "origin_refused");
        if line[name] == value {
            return line;
        }
    };
    wait_for(&mut node, "state", "open");
    daemon.kill();
    let waiting = wait_for(&mut node, "reason", "no_bus");
    assert_eq!(waiting["state"], "waiting");
    let message = waiting["message"].as_str().unwrap();
    assert!(message.starts_with("no bus behind the proxy at http://127.0.0.1:"), "{message}");
    node.feed(b"publish\n");
    wait_for(&mut node, "code", "no_bus");
    daemon.start_again();
    wait_for(&mut node, "state", "open");
    daemon.publish("t", "back");
    wait_for(&mut node, "data", "back");
    node.finish().ok();
}

/// Node with a script that may import the module.
fn node(script: &str) -> Command {
    let mut node = Command::new("node");
    let script = script.replace("MODULE", &format!("{MODULE:?}"));
    let script = format!("import assert from 'node:assert/strict'; import fs from 'node:fs'; {script}");
    node.args(["--input-type=module", "--eval", &script]).env("NO_PROXY", "127.0.0.1");
    node
}
