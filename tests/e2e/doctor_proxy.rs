//! `sse-busctl doctor --url`, through proxies that treat streams as bad ones do.
//!
//! The proxies are small but real: one thread per direction of a connection, which forwards, delays or cuts.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    doctor::says,
    harness::{Daemon, Process, Run},
};

/// What a proxy does with responses.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Forwards them.
    Honest,
    /// Forwards the body in blocks of this size, as a buffering proxy does.
    Buffers(usize),
    /// Forwards head and body in blocks of this size.
    BuffersHeads(usize),
    /// Closes the connection after this long without bytes.
    Cuts(Duration),
    /// Accepts requests and sends nothing.
    Swallows,
    /// Sends a response of its own.
    Says(&'static str),
}

/// A proxy in front of a daemon.
pub(crate) struct Proxy {
    address: SocketAddr,
    has_ended: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) fn before(daemon: SocketAddr, kind: Kind) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy { address: listener.local_addr().unwrap(), has_ended: Arc::default() };
        let has_ended = proxy.has_ended.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if has_ended.load(Ordering::Relaxed) {
                    return;
                }
                thread::spawn(move || serve(client, daemon, kind));
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Handles one request and its response. An error closes the connection.
fn serve(mut client: TcpStream, daemon: SocketAddr, kind: Kind) -> Option<()> {
    let mut request = [0; 8192];
    let length = client.read(&mut request).ok()?;
    match kind {
        Kind::Says(response) => return client.write_all(response.as_bytes()).ok(),
        // Until the client disconnects.
        Kind::Swallows => return client.read(&mut request).map(drop).ok(),
        _ => {}
    }
    let mut server = TcpStream::connect(daemon).ok()?;
    let asked = String::from_utf8_lossy(&request[..length]).into_owned();
    // As proxies do by default: the host is the server's.
    let (before, rest) = asked.split_once("Host: ")?;
    let rest = rest.split_once("\r\n")?.1;
    server.write_all(format!("{before}Host: {daemon}\r\n{rest}").as_bytes()).ok()?;
    if let Kind::Cuts(patience) = kind {
        server.set_read_timeout(Some(patience)).ok()?;
    }
    let (mut held, mut is_head) = (Vec::new(), true);
    let mut chunk = [0; 8192];
    loop {
        let read = server.read(&mut chunk).ok().filter(|read| *read > 0)?;
        held.extend_from_slice(&chunk[..read]);
        let full = match kind {
            Kind::Buffers(_) if is_head => {
                let end = held.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
                client.write_all(&held[..end]).ok()?;
                held.drain(..end);
                is_head = false;
                continue;
            }
            Kind::Buffers(size) | Kind::BuffersHeads(size) => size,
            _ => 0,
        };
        if held.len() >= full {
            client.write_all(&held).ok()?;
            held.clear();
        }
    }
}

fn doctor(daemon: &Daemon, kind: Kind, flags: &[&str]) -> Run {
    let proxy = Proxy::before(daemon.address, kind);
    daemon.ctl(&[&["doctor", "--url", &proxy.url()], flags].concat())
}

/// Its finding takes until the first heartbeat.
#[test]
fn a_proxy_that_forwards_everything_is_ok() {
    let daemon = Daemon::start(&[]);
    let mut all = daemon.stream("/events/**");
    let run = doctor(&daemon, Kind::Honest, &[]).ok();
    says(&run, "url", "ok", "after it was published", "");
    says(&run, "idle", "ok", "stays open", "");
    // No other client receives the events, and the next event has the first id.
    let status = daemon.status();
    assert_eq!((&status["published"], &status["topics"], &status["history_events"]), (&0.into(), &0.into(), &0.into()));
    assert!(daemon.publish("t", "x").ends_with("-1"));
    assert_eq!(all.data(1), ["x"]);
}

#[test]
fn a_buffering_proxy_is_found_with_the_setting_that_fixes_it() {
    let daemon = Daemon::start(&[]);
    for kind in [Kind::Buffers(8 << 10), Kind::BuffersHeads(64 << 10)] {
        let run = doctor(&daemon, kind, &[]).ends_with(1);
        says(&run, "url", "problem", "is buffered: an event arrives only after about", "proxy_buffering off");
    }
    let run = doctor(&daemon, Kind::Buffers(1 << 30), &[]).ends_with(1);
    says(&run, "url", "problem", "is buffered: an event did not arrive", "flush_interval -1");
    says(&run, "url", "problem", "is buffered", "webpack: devServer: { compress: false }");
}

#[test]
fn a_proxy_that_closes_idle_connections_is_found() {
    let daemon = Daemon::start(&[]);
    let run = doctor(&daemon, Kind::Cuts(Duration::from_secs(2)), &[]).ends_with(1);
    says(&run, "idle", "problem", "times out: the stream was closed after 2", "proxy_read_timeout");
}

#[test]
fn an_unreachable_upstream_is_distinguished_from_a_wrong_one() {
    let daemon = Daemon::start(&[]);
    let other = Daemon::start(&[]);
    let upstream = daemon.address.to_string();
    says(&doctor(&daemon, Kind::Swallows, &[]).ends_with(1), "url", "problem", "times out: no response", &upstream);
    let proxy = Proxy::before(other.address, Kind::Honest);
    let run = daemon.ctl(&["doctor", "--url", &proxy.url()]).ends_with(1);
    says(&run, "url", "problem", "is a stream of another daemon", &upstream);
}

#[test]
fn a_response_that_is_not_a_stream_is_reported() {
    let daemon = Daemon::start(&[]);
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi";
    says(&doctor(&daemon, Kind::Says(page), &[]), "url", "problem", "is not an event stream but text/html", "curl");
    let error = "HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n";
    says(&doctor(&daemon, Kind::Says(error), &[]), "url", "problem", "the response is 502", "curl -i");
    let run = daemon.ctl(&["doctor", "--url", "http://127.0.0.1:1/"]).ends_with(1);
    says(&run, "url", "problem", "cannot connect to", "curl -i http://127.0.0.1:1/healthz");
    let run = daemon.ctl(&["doctor", "--url", "file:///etc/passwd"]).ends_with(1);
    says(&run, "url", "problem", "cannot connect to", "");
}

#[test]
fn a_password_in_the_url_is_never_shown() {
    let mut daemon = Daemon::start(&[]);
    let other = Daemon::start(&[]);
    let error = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi";
    let asks = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    let misdirected = "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n";
    let kinds = [error, page, asks, misdirected].map(Kind::Says);
    let proxies: Vec<_> = kinds.map(|kind| Proxy::before(other.address, kind)).into();
    let urls: Vec<_> = proxies.iter().map(Proxy::url).chain(["http://127.0.0.1:1/".into()]).collect();
    let with = |url: &str| url.replace("://", "://user:s3cret@");
    let shown = |run: &Run| {
        ![&run.stdout, &run.stderr].iter().any(|text| text.contains("s3cret"))
            && run.stdout.contains("http://127.0.0.1:")
    };
    for (url, more) in urls.iter().zip([None, Some("--json")].into_iter().cycle()) {
        let mut doctor = daemon.sandbox.busctl(&["doctor"]);
        doctor.args(more).env("SSE_BUS_DOCTOR_URL", with(url));
        let run = Process::start(doctor).finish().ends_with(1);
        assert!(shown(&run), "{run}");
    }
    let run = daemon.ctl(&["doctor", "--url", "http://user:s3cret#@127.0.0.1:1/"]).ends_with(2);
    assert!(!run.stderr.contains("s3cret"), "{run}");
    daemon.kill();
    let mut doctor = daemon.sandbox.busctl(&["doctor"]);
    doctor.env("SSE_BUS_DOCTOR_URL", with(&urls[0]));
    let run = Process::start(doctor).finish().ends_with(3);
    assert!(shown(&run), "{run}");
}

/// A proxy that forwards the name it was asked for.
#[test]
fn an_invalid_url_is_a_usage_error() {
    let daemon = Daemon::start(&[]);
    for url in ["", "http://127.0.0.1:1/?token=x", "http://127.0.0.1:1/#there"] {
        daemon.ctl(&["doctor", "--url", url]).ends_with(2).says("the base URL of the daemon");
    }
}

#[test]
fn a_host_name_that_the_daemon_refuses_is_reported() {
    let daemon = Daemon::start(&[]);
    let response = daemon.request("GET", "/events", &[("Host", "bus.example")], "");
    assert_eq!(response.status, 421);
    let url = format!("http://localhost.localdomain:{}", daemon.address.port());
    let mut doctor = daemon.sandbox.busctl(&["doctor", "--url", &url]);
    // A name that curl resolves without DNS.
    let rc = daemon
        .sandbox
        .file(".curlrc", format!("resolve = \"localhost.localdomain:{}:127.0.0.1\"\n", daemon.address.port()));
    doctor.env("CURL_HOME", std::path::Path::new(&rc).parent().unwrap());
    let run = crate::harness::Process::start(doctor).finish().ends_with(1);
    let fix = format!("allow_host = [\"localhost.localdomain:{}\"]", daemon.address.port());
    says(&run, "url", "problem", "refuses this host name (421)", &fix);
}

#[test]
fn a_token_is_requested_used_and_refused() {
    let daemon = Daemon::start(&[]);
    // Peers of another user need one; here the daemon answers a request that has a bad one.
    let sandbox = &daemon.sandbox;
    let bad = sandbox.file("bad.token", "ssebus_0000\n");
    let url = format!("http://{}/", daemon.address);
    let run = daemon.ctl(&["doctor", "--url", &url, "--token-file", &bad]).ends_with(1);
    says(&run, "url", "problem", "refuses the token", "sse-busctl token create --scope subscribe");
    let none = sandbox.file("none.token", "nothing\n");
    let run = daemon.ctl(&["doctor", "--url", &url, "--token-file", &none]).ends_with(1);
    says(&run, "url", "problem", "the file contains no token", "token create");
    let asks = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    says(&doctor(&daemon, Kind::Says(asks), &[]), "url", "problem", "requires a token (401)", "--token-file");
    // A valid one, as the command prints it.
    let token = daemon.ctl(&["token", "create", "--scope", "subscribe", "--json"]).ok().stdout;
    let good = sandbox.file("good.token", token);
    let run = doctor(&daemon, Kind::Cuts(Duration::from_secs(1)), &["--token-file", &good]);
    says(&run, "url", "ok", "after it was published", "");
}
