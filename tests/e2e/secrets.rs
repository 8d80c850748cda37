//! Secrets do not reach logs, errors and files.

use std::{
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
};

use crate::{
    harness::{Daemon, Http2, bearer},
    tokens::ticket,
};

/// At every log level, and in every error.
#[test]
fn logs_errors_and_files_contain_no_secret() {
    let (daemon, tokens) = Daemon::exposed(&["--log", "trace"]);
    let ticket = ticket(&daemon, &tokens.all, "?client=tab")["ticket"].as_str().unwrap().to_owned();
    let unknown = "ssebus_c0ffeec0ffeec0ffee";
    let mut bodies = String::new();
    let http2 = Http2::connect(daemon.address);
    for secret in [&tokens.builds, &ticket, unknown] {
        for (method, path) in [
            ("GET", format!("/events/secret?ticket={secret}")),
            ("GET", format!("/events/a%20b?ticket={secret}&slow=x")),
            ("GET", format!("/nothing?ticket={secret}&access_token={secret}")),
            ("POST", format!("/events/t?ticket={secret}&ttl=x")),
        ] {
            for headers in [&[][..], &[("authorization", bearer(secret))], &[("authorization", secret.to_owned())]] {
                let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                if !(method == "GET" && path.starts_with("/events/secret") && *secret == ticket) {
                    bodies += &daemon.request(method, &path, &headers, "x").text();
                    bodies += &http2.request(method, &path, &headers, "x").text();
                }
            }
        }
    }
    drop(daemon.stream(&format!("/events/t?ticket={ticket}")));
    drop(http2.stream(&format!("/events/t?ticket={ticket}"), &[]));
    daemon.has_logged("subscriber disconnected");
    let state = daemon.sandbox.path("sse-bus/tokens.json");
    let file = std::fs::read_to_string(&state).unwrap();
    assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o600);
    let (log, status) = (daemon.log(), daemon.request_locally("GET", "/status", "").text());
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "{log}");
    for (name, text) in [("log", &log), ("responses", &bodies), ("file", &file), ("status", &status)] {
        for secret in [&tokens.all, &tokens.builds, &ticket, unknown] {
            let secret = secret.trim_start_matches("ssebus_");
            assert!(!text.contains(secret), "{name} holds {secret}:\n{}", near(text, secret));
        }
    }
}

fn near(text: &str, secret: &str) -> String {
    text.lines().find(|line| line.contains(secret)).unwrap_or_default().to_owned()
}

/// The HTTP/2 library would log the path.
#[test]
fn a_path_that_cannot_be_parsed_is_not_logged() {
    /// Type, flags, stream and payload (RFC 9113, 4.1).
    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    }
    let daemon = Daemon::start(&["--log", "debug,h2=trace"]);
    let path = b"/events/build web?ticket=c0ffeec0ffee";
    let host = daemon.address.to_string();
    // GET and http are in the static table; :path and :authority are followed by their values (RFC 7541).
    let mut headers = vec![0x82, 0x86, 0x04, path.len() as u8];
    headers.extend_from_slice(path);
    headers.extend([0x01, host.len() as u8]);
    headers.extend_from_slice(host.as_bytes());
    let mut socket = daemon.tcp();
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    socket.write_all(&frame(4, 0, 0, &[])).unwrap();
    socket.write_all(&frame(1, 5, 1, &headers)).unwrap();
    // An acknowledged PING shows that everything before it was read.
    socket.write_all(&frame(6, 0, 0, b"all read")).unwrap();
    let mut responses = Vec::new();
    while !responses.windows(8).any(|bytes| bytes == b"all read") {
        let mut part = [0; 512];
        let read = socket.read(&mut part).unwrap();
        assert!(read > 0, "{responses:?}");
        responses.extend_from_slice(&part[..read]);
    }
    // The stream was reset, so the path was parsed.
    assert!(responses.windows(2).any(|bytes| bytes == [4, 3]), "{responses:?}");
    assert!(!daemon.log().contains("c0ffee"), "{}", near(&daemon.log(), "c0ffee"));
}
