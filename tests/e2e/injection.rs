//! Client input is echoed safely: it cannot forge a header of a response, a field or event of a stream, or a line of the
//! log.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Instant,
};

use serde_json::{Value, json};
use sse_bus::protocol::{Publish, Reply, Request};

use crate::harness::{Daemon, EventStream, PATIENCE, percent_encoded, until};

/// Text that contains line ends or looks like a field, for streams and for headers.
const HOSTILE: [&str; 18] = [
    "\nevent: forged\ndata: forged",
    "x\r\nX-Forged: yes\r\n\r\nforged",
    "\rid: forged-1\rdata: forged\r\r",
    "\n\ndata: forged\n\n",
    "x\0id: forged",
    "\n:\nretry: 1\n",
    "data: forged",
    "event: forged",
    "id: forged",
    ": forged",
    "\u{2028}data: forged\u{2029}",
    "\u{85}data: forged\u{b}\u{c}",
    "\u{feff}data: forged",
    "\u{1b}[2J\u{7f}forged",
    "\"}\ndata: {\"forged\":1",
    "%0D%0AX-Forged: yes",
    "\\r\\nX-Forged: yes",
    " forged ",
];

/// Reads a head as lines, and the body if it has a length. Each line must be one header.
fn response(daemon: &Daemon, request: &[u8]) -> (Vec<String>, String) {
    let mut socket: TcpStream = daemon.tcp();
    socket.write_all(request).unwrap();
    let mut reader = BufReader::new(socket);
    let mut head = Vec::new();
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).unwrap();
        let line = String::from_utf8(line).unwrap();
        let line = line.strip_suffix("\r\n").unwrap_or_else(|| panic!("{line:?} after {head:?}"));
        if line.is_empty() {
            break;
        }
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
        head.push(line.to_owned());
    }
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    if !request.starts_with(b"HEAD") {
        reader.read_exact(&mut body).unwrap();
    }
    (head, String::from_utf8(body).unwrap())
}

#[track_caller]
fn check_response(daemon: &Daemon, request: &[u8]) {
    let (head, body) = response(daemon, request);
    let shown = String::from_utf8_lossy(request);
    assert!(head[0].starts_with("HTTP/1.1 "), "{shown:?}: {head:?}");
    for line in &head[1..] {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{shown:?}: {line:?}"));
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{shown:?}: {line:?}");
        assert!(!name.contains("forged") && !value.to_lowercase().contains("forged"), "{shown:?}: {line:?}");
    }
    if head.contains(&"content-type: application/json".to_owned()) && !request.starts_with(b"HEAD") {
        assert_eq!(body.find(['\n', '\r']), Some(body.len() - 1), "{shown:?}: {body:?}");
        serde_json::from_str::<Value>(&body).unwrap();
    }
}

#[test]
fn input_is_never_echoed_as_a_header() {
    let daemon = Daemon::start(&["--allow-origin", "http://app.example"]);
    let host = daemon.address;
    for text in HOSTILE {
        let encoded = percent_encoded(text);
        for (method, target) in [
            ("GET", format!("/events/{encoded}?since=never")),
            ("GET", format!("/events?format={encoded}")),
            ("HEAD", format!("/events?topic=t&client={encoded}&since={encoded}&last_event_id={encoded}")),
            ("HEAD", format!("/events?topic=t&last_event_id={encoded}&x={encoded}")),
            ("POST", format!("/events/{encoded}")),
            ("POST", format!("/events/t?type={encoded}&to={encoded}")),
            ("POST", format!("/events/t?ttl={encoded}&retain={encoded}")),
            ("DELETE", format!("/clients/{encoded}")),
            ("GET", format!("/{encoded}")),
            ("PUT", format!("/events/{encoded}")),
        ] {
            let request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
            check_response(&daemon, request.as_bytes());
        }
        // Unescaped. A line end in it ends the header; the daemon may answer in any way, but with its own headers only.
        for name in
            ["Last-Event-ID", "Origin", "Host", "Accept", "Cookie", "Access-Control-Request-Headers", "Sec-Fetch-Site"]
        {
            for (method, target) in [("HEAD", "/events/t"), ("POST", "/events/t"), ("OPTIONS", "/events/t")] {
                let known = if name == "Host" { String::new() } else { format!("Host: {host}\r\n") };
                let request = format!(
                    "{method} {target} HTTP/1.1\r\n{known}{name}: http://app.example{text}\r\n\
                     Access-Control-Request-Method: POST\r\nContent-Length: 0\r\n\r\n"
                );
                check_response(&daemon, request.as_bytes());
            }
        }
    }
    let request = b"HEAD /events/t HTTP/1.1\r\nHost: HERE\r\nLast-Event-ID: \xff\xfe\x80forged\r\n\r\n";
    let at = request.windows(4).position(|four| four == b"HERE").unwrap();
    check_response(&daemon, &[&request[..at], host.to_string().as_bytes(), &request[at + 4..]].concat());
}

/// The blocks of a stream, each as its lines, up to the event whose data ends like this.
fn blocks(stream: &mut EventStream, last: &str) -> VecDeque<Vec<String>> {
    let mut text = String::new();
    let deadline = Instant::now() + PATIENCE;
    while !text.ends_with(&format!("{last}\n\n")) {
        assert!(Instant::now() < deadline, "no `{last}` in {text:?}");
        let line = stream.line().unwrap().expect("the stream has ended");
        // Anywhere between two lines.
        text += if line == ":\n" { "" } else { &line };
    }
    assert!(!text.contains(['\r', '\0']), "{text:?}");
    let lines = |block: &str| block.split('\n').map(str::to_owned).collect();
    text.strip_suffix("\n\n").unwrap().split("\n\n").map(lines).collect()
}

/// The type and the data of a block, which must be one event with no other field.
fn event(block: &[String]) -> (Option<String>, String) {
    let fields: Vec<(&str, &str)> = block.iter().map(|line| line.split_once(": ").expect("a field")).collect();
    // The bus's own events have no id.
    let is_own = block.iter().any(|line| line.contains("connected\":") || line.contains(r#"connected\":"#));
    let fields = match &fields[..] {
        [("id", id), fields @ ..] if !is_own => {
            let (epoch, seq) = id.split_once('-').unwrap();
            assert!(epoch.bytes().all(|byte| byte.is_ascii_alphanumeric()) && seq.parse::<u64>().is_ok(), "{block:?}");
            fields
        }
        fields if is_own => fields,
        _ => panic!("no id first in {block:?}"),
    };
    let (kind, data) = match fields {
        [("event", kind), data @ ..] => (Some((*kind).to_owned()), data),
        data => (None, data),
    };
    assert!(!data.is_empty() && data.iter().all(|(name, _)| *name == "data"), "{block:?}");
    (kind, data.iter().map(|(_, line)| *line).collect::<Vec<_>>().join("\n"))
}

/// Publishes on every transport, and returns topic, type and data of each accepted event.
fn publish_everything(daemon: &Daemon) -> Vec<(String, Option<String>, String)> {
    let (mut lines, mut frames) = (daemon.lines(), daemon.frames());
    let mut taken = Vec::new();
    for text in HOSTILE {
        for (topic, kind, data) in
            [("t", None, text), ("t", Some(text), "x"), (text, None, "x"), ("t", Some("done"), text)]
        {
            let query = kind.map_or(String::new(), |kind| format!("?type={}", percent_encoded(kind)));
            let path = format!("/events/{}{query}", percent_encoded(topic));
            let line = json!({"publish": {"topic": topic, "type": kind, "data": data}});
            let kind = kind.map(str::to_owned);
            let mut publish = Publish::new(topic, data);
            publish.event_type.clone_from(&kind);
            let responses = [
                daemon.request("POST", &path, &[], data).status == 202,
                lines.ask(line.to_string())["published"].is_object(),
                matches!(frames.ask(&Request::Publish(publish)), Reply::Published(_)),
            ];
            let is_taken = responses[0];
            assert_eq!(responses, [is_taken; 3], "{topic:?} {kind:?} {data:?}");
            if is_taken {
                taken.extend(vec![(topic.to_owned(), kind, data.to_owned()); 3]);
            }
        }
    }
    daemon.publish("t", "end");
    assert!(taken.len() > 60, "most texts are valid");
    taken
}

#[test]
fn hostile_text_reaches_streams_only_as_data() {
    let daemon = Daemon::start(&[]);
    let name = "data: forged\u{2028}event: forged";
    let header = [("Last-Event-ID", "9\tevent: forged")];
    let path = |format| format!("/events?topic=**&topic=$sys/clients&client={}&format={format}", percent_encoded(name));
    let mut plain = daemon.stream_with(&path("data"), &header);
    let mut envelopes = daemon.stream_with(&path("json"), &header);
    let taken = publish_everything(&daemon);

    for (is_enveloped, stream) in [(false, &mut plain), (true, &mut envelopes)] {
        let mut blocks = blocks(stream, if is_enveloped { r#""data":"end"}"# } else { "data: end" });
        // The position is unknown, so all of history is sent.
        let retry = blocks[0].remove(0);
        assert!(retry.strip_prefix("retry: ").is_some_and(|ms| ms.parse::<u64>().is_ok()), "{retry:?}");
        let (kind, data) = event(&blocks.pop_front().unwrap());
        assert_eq!(kind.as_deref(), Some("$gap"));
        assert!(!data.contains("forged"), "{data}");
        let mut seen = Vec::new();
        for block in blocks {
            let (kind, data) = event(&block);
            let (topic, kind, data) = if is_enveloped {
                assert_eq!((kind, data.contains('\n')), (None, false));
                let envelope: Value = serde_json::from_str(&data).unwrap();
                let text = |field: &str| envelope[field].as_str().map(str::to_owned);
                (text("topic").unwrap(), text("type"), text("data").unwrap())
            } else {
                (String::new(), kind, data)
            };
            if matches!(kind.as_deref(), Some("join" | "leave")) {
                let client: Value = serde_json::from_str(&data).unwrap();
                assert!(client["name"].is_null() || client["name"] == name, "{client}");
            } else if kind.as_deref() == Some("$gap") {
                // Of the other client's join, while the stream still read history.
                assert!(data.starts_with(r#"{"reason":"lagged","missed":null,"#), "{data}");
            } else {
                seen.push((topic, kind, data));
            }
        }
        let expected = taken.iter().cloned().map(|(topic, kind, data)| {
            let data = if is_enveloped { data } else { data.replace("\r\n", "\n").replace('\r', "\n") };
            (if is_enveloped { topic } else { String::new() }, kind, data)
        });
        let end = (if is_enveloped { "t".into() } else { String::new() }, None, "end".into());
        assert_eq!(seen, expected.chain([end]).collect::<Vec<_>>());
    }
}

/// A process named `NAME` that connects and sends something other than HTTP.
const NAMED: &str = r#"
import socket, sys
open("/proc/self/comm", "w").write("x\nFORGED\x1b[2J")
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode().decode("unicode_escape").encode())
while s.recv(4096): pass
"#;

#[test]
fn client_names_cannot_forge_a_log_line() {
    let daemon = Daemon::start(&["--log", "debug"]);
    let name = percent_encoded("data: \u{2028}FORGED");
    drop(daemon.stream(&format!("/events/t?client={name}")));
    for address in ["x\nFORGED", "x\rFORGED\u{1b}[2J"] {
        daemon.lines().ask(json!({"kick": {"client": address}}).to_string());
        daemon.request("DELETE", &format!("/clients/{}", percent_encoded(address)), &[], "");
        daemon.request("POST", &format!("/events/t?to={}", percent_encoded(address)), &[], "x");
    }
    let socket = daemon.sandbox.socket().display().to_string();
    // Not HTTP, and a publisher.
    for said in [r"GET / HTTP/1.1\r\nno header\r\n\r\n", r#"{"publish":{"topic":"t"}}\n"#] {
        let mut python = daemon.sandbox.command("python3");
        let mut child = python.args(["-c", NAMED, &socket, said]).spawn().unwrap();
        if said.starts_with('{') {
            let clients = until("it is there", || {
                let clients = daemon.get("/clients").text();
                clients.contains("FORGED").then_some(clients)
            });
            assert!(!clients.trim_end().contains(['\n', '\u{1b}']), "{clients}");
            child.kill().unwrap();
        }
        child.wait().unwrap();
    }
    let log =
        until("the disconnect is logged", || Some(daemon.log()).filter(|log| log.contains("publisher disconnected")));
    assert!(log.matches("FORGED").count() > 2, "{log}");
    for line in log.lines() {
        // Each line begins with a time in the daemon's format.
        assert!(line.starts_with("20") && !line.contains(char::is_control), "{line:?} in {log}");
    }
}
