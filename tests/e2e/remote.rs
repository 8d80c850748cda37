//! `sse-busctl --url`: the commands work over HTTP as over the local socket, with a token where one is needed.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use crate::{
    doctor_proxy::{Kind, Proxy},
    harness::{Daemon, Process, Run},
};

pub(crate) fn url(daemon: &Daemon) -> String {
    format!("http://127.0.0.1:{}", daemon.address.port())
}

/// Runs `sse-busctl --url`.
fn remote(daemon: &Daemon, args: &[&str]) -> Run {
    daemon.ctl(&[&["--url", &url(daemon)], args].concat())
}

/// The output of a command without what changes all the time.
fn listed(run: &Run) -> Vec<Value> {
    let mut values = run.json();
    for value in &mut values {
        for changing in ["uptime_ms", "delivered", "publishers", "limits"] {
            value.as_object_mut().map(|fields| fields.remove(changing));
        }
    }
    values
}

#[test]
fn lists_are_the_same_as_over_the_local_socket() {
    let daemon = Daemon::start(&[]);
    let _stream = daemon.stream("/events/build/**?client=tab");
    daemon.publish("build/web", "one");
    daemon.publish("log", "two\nlines");
    for args in [
        &["clients"][..],
        &["topics"],
        &["status"],
        &["history", "**"],
        &["history", "build/*", "log", "--limit", "1"],
        &["history", "log", "--format", "sse"],
        &["url", "log"],
    ] {
        let (here, there) = (daemon.ctl(args).ok(), remote(&daemon, args).ok());
        if args.contains(&"sse") || args[0] == "url" {
            assert_eq!(here.stdout, there.stdout, "{args:?}");
        } else {
            assert_eq!(listed(&here), listed(&there), "{args:?}");
            assert!(!here.stdout.is_empty(), "{args:?}");
        }
    }
    assert_eq!(daemon.ctl(&["status", "--config"]).ok().stdout, remote(&daemon, &["status", "--config"]).ok().stdout);
}

#[test]
fn events_are_published_with_all_their_fields() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events?format=json&client=tab%20%C3%A9/1");
    let answer = remote(&daemon, &["publish", "build/é+%", "a&b=c", "--type", "done ö", "--header", "k=v:w x"]).ok();
    assert_eq!(answer.json()[0]["subscribers"], 1);
    remote(&daemon, &["publish", "kept", "x", "--retain", "--ttl", "90m"]).ok();
    remote(&daemon, &["send", "tab é/1", "psst"]).ok();
    let event = stream.event().json();
    assert_eq!(
        (&event["topic"], &event["data"], &event["type"], &event["headers"]),
        (&json!("build/é+%"), &json!("a&b=c"), &json!("done ö"), &json!({"k": "v:w x"}))
    );
    assert_eq!(event["id"], answer.json()[0]["id"]);
    assert_eq!(stream.event().json()["topic"], "kept");
    let unicast = stream.event().json();
    assert_eq!((&unicast["data"], &unicast["to"]), (&json!("psst"), &json!("tab é/1")));
    assert_eq!(daemon.status()["retained"], 1);
    let kicked = remote(&daemon, &["kick", "tab é/1"]).ok();
    assert_eq!(kicked.json()[0]["connections"], 1);
}

#[test]
fn lines_are_published_in_order_and_refused_by_number() {
    let daemon = Daemon::configured("[limits]\nevent_bytes = 100\n");
    let mut input: Vec<String> = (0..30_000).map(|n| n.to_string()).collect();
    input[7] = "x".repeat(101);
    input[20_000] = "a\0b".into();
    let address = url(&daemon);
    let run = daemon.ctl_fed(&["--url", &address, "publish", "t", "--lines"], input.join("\n").as_bytes());
    let run = run.ends_with(7).says("line 8: ").says("line 20001: ").says("29998 events accepted, 2 refused");
    assert_eq!(run.json(), [json!({"accepted": 29_998, "refused": 2})]);
    let past = remote(&daemon, &["history", "t", "--format", "data"]).ok().stdout;
    let wanted = input.iter().enumerate().filter(|(n, _)| ![7, 20_000].contains(n)).map(|(_, line)| line.as_str());
    let kept = past.lines().count();
    assert!(kept > 1000, "{kept} lines are in history");
    assert!(past.lines().eq(wanted.skip(29_998 - kept)), "the newest lines, in order");
}

#[test]
fn variables_of_proxies_have_no_effect() {
    let daemon = Daemon::start(&[]);
    let mut ctl = daemon.sandbox.busctl(&["--url", &url(&daemon), "publish", "t", "x"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"] {
        // Nothing listens there.
        ctl.env(name, "http://127.0.0.1:1");
    }
    Process::start(ctl).finish().ok();
}

#[test]
fn a_publisher_waits_for_a_subscriber_over_http() {
    let daemon = Daemon::start(&[]);
    let waiting = daemon.spawn_ctl(&["--url", &url(&daemon), "publish", "t", "x", "--wait-for", "1"]);
    daemon.wait_for_subscribers(1);
    let mut stream = daemon.stream("/events/t");
    assert_eq!(stream.event().data, "x");
    waiting.finish().ok();
}

#[test]
fn a_token_is_sent_from_a_file_or_a_variable() {
    let (daemon, tokens) = Daemon::exposed(&["--allow-host", "127.0.0.1"]);
    let address = url(&daemon);
    let file = |name: &str, content: &str| daemon.sandbox.file(name, content);
    let (publish, wrong) = (file("publish", &tokens.publish), file("wrong", "ssebus_0"));
    let json = file("json", &json!({"token": tokens.all}).to_string());
    let run = |file: &str, args: &[&str]| daemon.ctl(&[&["--url", &address, "--token-file", file], args].concat());
    // A token counts even if the connection needs none.
    run(&publish, &["publish", "t", "x"]).ok();
    run(&publish, &["history", "t"]).ends_with(6).says("--scope subscribe");
    run(&publish, &["publish", "t", "--lines"]).ok();
    run(&publish, &["publish", "t", "x", "--retain"]).ok();
    run(&wrong, &["publish", "t", "x"]).ends_with(6).says("token create");
    run(&json, &["status"]).ok();
    run(&file("none", "secret"), &["status"]).ends_with(2).says("contains no token");
    run("missing", &["status"]).ends_with(2).says("missing");
    let variable = |token: &str| {
        let mut command = daemon.sandbox.busctl(&["--url", &address, "history", "t"]);
        command.env("SSE_BUS_TOKEN", token);
        Process::start(command).finish()
    };
    variable(&tokens.subscribe).ok();
    variable(&tokens.publish).ends_with(6);
}

/// 192.0.2.1 is reserved for documentation: nothing is sent there.
#[test]
fn a_token_is_not_sent_over_plain_http_to_another_machine() {
    let daemon = Daemon::start(&[]);
    let file = daemon.sandbox.file("token", "ssebus_1");
    for host in ["192.0.2.1", "bus.invalid", "[2001:db8::1]:7733"] {
        let run = daemon.ctl(&["--url", &format!("http://{host}"), "--token-file", &file, "status"]);
        run.ends_with(2).says("could be read on the way").says("--plaintext-token");
    }
    let run = daemon.ctl(&["--url", "http://bus.invalid", "--token-file", &file, "--plaintext-token", "status"]);
    run.ends_with(3).says("http://bus.invalid");
}

#[test]
fn an_option_overrides_a_variable_and_two_daemons_are_refused() {
    let daemon = Daemon::start(&[]);
    let socket = daemon.sandbox.socket().display().to_string();
    daemon.ctl(&["--url", &url(&daemon), "--socket", &socket, "status"]).ends_with(2).says("leave one out");
    let mut command = daemon.sandbox.busctl(&["--socket", &socket, "status"]);
    command.env_remove("SSE_BUS_SOCKET").env("SSE_BUS_URL", "http://127.0.0.1:1");
    Process::start(command).finish().ok();
    let mut command = daemon.sandbox.busctl(&["status"]);
    command.env("SSE_BUS_URL", "http://127.0.0.1:1");
    Process::start(command).finish().ends_with(2).says("SSE_BUS_URL");
    for url in ["127.0.0.1:7733", "ftp://127.0.0.1", "http://user:secret@127.0.0.1", "http://127.0.0.1/?a=b"] {
        daemon.ctl(&["--url", url, "status"]).ends_with(2).says("--url");
    }
    for args in [&["token", "list"][..], &["service", "status"]] {
        daemon.ctl(&[&["--url", &url(&daemon)], args].concat()).ends_with(2).says("on this machine only");
    }
}

#[test]
fn answers_of_other_servers_are_named() {
    let daemon = Daemon::start(&[]);
    for (answer, code, says) in [
        ("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", 3, "a proxy answers 502"),
        ("HTTP/1.1 503 Busy\r\ncontent-length: 5\r\n\r\nsorry", 3, "a proxy answers 503"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 1, "not a sse-busd"),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 1, "404"),
        ("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", 1, "302"),
        ("SSH-2.0-OpenSSH_9.2\r\n", 1, "not a sse-busd"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{}", 1, "closed the connection"),
        ("", 1, "closed the connection"),
    ] {
        let proxy = Proxy::before(daemon.address, Kind::Says(answer));
        for args in [&["status"][..], &["subscribe", "t"], &["publish", "t", "x"], &["publish", "t", "--lines"]] {
            let run = daemon.ctl_fed(&[&["--url", &proxy.url()], args].concat(), b"line\n");
            let is_named =
                run.stderr.contains(says) || args[0] == "subscribe" && run.stderr.contains("not an event stream");
            assert!(run.code == Some(code) && is_named, "{answer:?}: {run}");
        }
    }
}

#[test]
fn a_batch_answers_each_line_and_is_bounded() {
    let daemon = Daemon::start(&[]);
    let body = "{\"topic\":\"t\",\"data\":{\"n\": 1}}\r\nnot json\n{\"topic\":\"a//b\",\"data\":\"\"}\n{\"topic\":\"t\",\"ack\":\"none\"}";
    let answer = daemon.request("POST", "/events", &[], body);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")));
    let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines[0]["published"]["id"].is_string() && lines[3]["published"]["id"].is_string(), "{lines:?}");
    let refused = |line: &Value| (line["error"]["code"].clone(), line["error"]["request"].clone());
    assert_eq!(refused(&lines[1]), (json!("request_invalid"), json!(2)));
    assert_eq!(refused(&lines[2]), (json!("topic_invalid"), json!(3)));
    assert_eq!(lines.len(), 4);
    let many = "{}\n".repeat(10_001);
    assert_eq!(daemon.request("POST", "/events", &[], many).refusal(), (413, "limit_line_bytes".into()));
    // The body need not arrive.
    let mut socket = daemon.tcp();
    let head = format!("POST /events HTTP/1.1\r\nHost: {}\r\nContent-Length: 5000000\r\n\r\n", daemon.address);
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("limit_line_bytes"), "{answer}");
    assert_eq!(daemon.request("POST", "/events?retain", &[], "").refusal(), (400, "parameter_unknown".into()));
    assert_eq!(daemon.request("POST", "/events", &[], "").text(), "");
    assert_eq!(daemon.status()["published"], 2);
}

#[test]
fn a_batch_needs_the_permission_to_publish() {
    let (daemon, tokens) = Daemon::exposed(&[]);
    assert_eq!(daemon.with_token("POST", "/events", &tokens.subscribe), 403);
    let body = "{\"topic\":\"build/web\"}\n{\"topic\":\"secret\"}\n";
    let header = [("Authorization", &*crate::harness::bearer(&tokens.builds))];
    let answer = daemon.request("POST", "/events", &header, body).text();
    let lines: Vec<&str> = answer.lines().collect();
    assert!(lines[0].contains("published") && lines[1].contains("\"denied\""), "{answer}");
}

#[test]
#[cfg(feature = "remote-tls")]
fn https_at_a_port_without_tls_is_explained() {
    let daemon = Daemon::start(&[]);
    let run = daemon.ctl(&["--url", &format!("https://127.0.0.1:{}", daemon.address.port()), "status"]);
    run.ends_with(3).says("the server does not use TLS; if that is intended, write http:// instead of https://");
}
