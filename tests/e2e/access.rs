//! Access to the port: the daemon's own user needs no token, everyone else does.

use std::{
    os::unix::process::CommandExt,
    process::{Command, Output},
    time::Instant,
};

use rustix::process::Signal;

use crate::{
    harness::{Daemon, Http2, Process, Sandbox, after, until},
    other_users::NOBODY,
    tokens::{bearer, token},
};

/// Runs a program as another user.
fn as_other_user(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).current_dir("/").uid(NOBODY).gid(NOBODY).output().unwrap()
}

#[test]
#[ignore = "needs root: acts as two users"]
fn every_request_of_another_user_is_refused_on_the_port() {
    let daemon = Daemon::start(&[]);
    daemon.publish("secret", "for the own user");
    let base = format!("http://{}", daemon.address);
    for (method, path) in [
        ("GET", "/events/secret?since=all"),
        ("HEAD", "/events"),
        ("POST", "/events/secret"),
        ("POST", "/"),
        ("GET", "/status"),
        ("GET", "/metrics"),
        ("GET", "/healthz"),
        ("DELETE", "/clients/c1"),
        ("POST", "/tickets"),
        ("GET", "/nothing"),
        ("GET", "/events?ticket=0123"),
    ] {
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let how = if method == "HEAD" { vec!["-I"] } else { vec!["-X", method, "-i"] };
            let url = format!("{base}{path}");
            let args = [&["-sS", "-m", "10", version], &how[..], &[&url]].concat();
            let response = String::from_utf8(as_other_user("curl", &args).stdout).unwrap().to_lowercase();
            let what = format!("{method} {path} {version}\n{response}");
            assert!(response.split(' ').nth(1) == Some("401"), "{what}");
            assert!(response.contains("www-authenticate: bearer"), "{what}");
            assert!(!response.contains("for the own user"), "{what}");
        }
    }
    let status = daemon.status();
    assert_eq!((&status["published"], &status["subscribers"]), (&1.into(), &0.into()));

    let token = token(&daemon.sandbox, &[]);
    let header = format!("Authorization: {}", bearer(&token));
    let got = as_other_user("curl", &["-sS", "-H", &header, "-d", "from outside", &format!("{base}/events/inbox")]);
    assert!(String::from_utf8_lossy(&got.stdout).contains("\"id\""), "{got:?}");
}

/// Once the other process has exited, the kernel reports uid 0 for its end of the connection.
#[test]
#[ignore = "needs root: acts as two users"]
fn another_user_whose_process_has_exited_is_refused() {
    let daemon = Daemon::start(&[]);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = descriptors();
    let request = format!("POST /events/t HTTP/1.1\\r\\nHost: {}\\r\\nContent-Length: 1\\r\\n\\r\\nx", daemon.address);
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; printf '{request}' >&3", daemon.address.port());
    // The daemon finds some of the connections already closed by the peer, and sometimes all of them.
    until("some are refused", || {
        daemon.signal(Signal::STOP);
        for _ in 0..20 {
            assert!(as_other_user("bash", &["-c", &script]).status.success());
        }
        daemon.signal(Signal::CONT);
        until("all connections are closed", || (descriptors() < before + 10).then_some(()));
        daemon.get("/metrics").text().contains("refused_total{code=\"denied\"}").then_some(())
    });
    assert_eq!(daemon.status()["published"], 0);
}

/// The kernel is asked about a pair of addresses. After a reset, another connection may have the same pair.
#[test]
#[ignore = "needs root: acts as two users"]
fn another_user_whose_port_was_reused_by_the_own_user_is_refused() {
    const SCRIPT: &str = r#"
import os, socket, struct, sys
daemon, other_uid = ("127.0.0.1", int(sys.argv[1])), int(sys.argv[2])
def connect(port):
    end = socket.socket()
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    end.bind(("127.0.0.1", port))
    end.connect(daemon)
    return end
os.seteuid(other_uid)
other = connect(0)
port = other.getsockname()[1]
other.send(b"POST /events/stolen HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: 1\r\n\r\nx" % (b"127.0.0.1", daemon[1]))
other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
other.close()
os.seteuid(0)
own = connect(port)
print("both are there", flush=True)
sys.stdin.readline()
own.send(b"GET /healthz HTTP/1.0\r\nHost: %s:%d\r\n\r\n" % (b"127.0.0.1", daemon[1]))
print(own.recv(12).decode(), flush=True)
"#;
    let daemon = Daemon::start(&[]);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = descriptors();
    // A busy daemon accepts connections late, too.
    daemon.signal(Signal::STOP);
    let mut python = daemon.sandbox.command("python3");
    python.args(["-c", SCRIPT, &daemon.address.port().to_string(), &NOBODY.to_string()]);
    let mut python = Process::start(python);
    assert_eq!(python.line(), "both are there");
    daemon.signal(Signal::CONT);
    python.feed(b"\n");
    assert_eq!(python.line(), "HTTP/1.0 200");
    python.finish().ok();
    until("all connections are closed", || (descriptors() < before + 10).then_some(()));
    assert_eq!(daemon.status()["published"], 0);
}

#[test]
fn a_port_that_other_machines_reach_requires_a_token_for_everything() {
    let (daemon, tokens) = Daemon::exposed(&[]);
    for path in ["/client.js", "/events", "/status", "/healthz", "/metrics", "/nothing"] {
        let response = daemon.get(path);
        assert_eq!(response.refusal(), (401, "denied".into()), "{path}");
        assert_eq!(response.header("www-authenticate"), Some("Bearer realm=\"sse-bus\""));
        assert!(response.text().contains("sse-busctl token create"), "{}", response.text());
    }
    for wrong in ["", "x", &tokens.all[..70], &format!("{}0", tokens.all), "Bearer", &tokens.all.to_uppercase()] {
        assert_eq!(daemon.with_token("GET", "/healthz", wrong), 401, "{wrong:?}");
    }
    let twice = [("Authorization", bearer(&tokens.all)), ("Authorization", bearer(&tokens.all))];
    let twice = twice.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>();
    assert_eq!(daemon.request("GET", "/healthz", &twice, "").status, 401);
    assert_eq!(daemon.with_token("GET", "/healthz", &tokens.publish), 200);
    let lower = format!("bearer {}", tokens.all);
    assert_eq!(daemon.request("GET", "/status", &[("authorization", &lower)], "").status, 200);
    // DNS rebinding could point a foreign name here; a token does not lift the check.
    let rebound = [("Host", "evil.example"), ("Authorization", &bearer(&tokens.all))];
    assert_eq!(daemon.request("GET", "/status", &rebound, "").status, 421);
    // Nor does it allow a page at any other address with a server on the same port.
    let page = format!("http://203.0.113.5:{}", daemon.address.port());
    let own = format!("http://127.0.0.1:{}", daemon.address.port());
    let host = own.trim_start_matches("http://");
    for (origin, status) in [(&page, 403), (&own, 200)] {
        let headers = [("Host", host), ("Origin", origin), ("Authorization", &bearer(&tokens.all))];
        assert_eq!(daemon.request("GET", "/status", &headers, "").status, status, "{origin}");
    }
    // The local socket still serves the own user without a token.
    assert_eq!(daemon.request_locally("GET", "/status", "").status, 200);
}

#[test]
fn a_port_for_other_machines_requires_tokens_and_encryption() {
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    let flags = ["--listen", "0.0.0.0:0", "--socket", &socket];
    for more in [&[][..], &["--insecure"]] {
        let refused = sandbox.busd_fails(&[&flags, more].concat()).ends_with(2);
        refused.says("0.0.0.0:0").says("sse-busctl token").says("127.0.0.1:0").says("ssh -L");
    }
    token(&sandbox, &["--name", "first"]);
    sandbox.busd_fails(&flags).ends_with(2).says("--tls-cert").says("--insecure");
    Process::start(sandbox.busctl(&["token", "revoke", "first"])).finish().ok();
    sandbox.busd_fails(&[&flags[..], &["--insecure"]].concat()).ends_with(2).says("sse-busctl token");
}

/// Opens many connections and sends nothing.
const SILENT_CONNECTIONS: &str = r#"
import socket, sys
crowd = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(300)]
print("here", flush=True)
sys.stdin.read()
"#;

#[test]
#[ignore = "needs root: acts as two users"]
fn connections_of_another_user_leave_room_for_the_own_user() {
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    let flags = ["--no-config", "--listen", "127.0.0.1:0", "--socket", &socket].map(str::to_owned);
    let daemon = Daemon::of_command(sandbox, flags.to_vec(), |busd| after("ulimit -n 400", busd));
    let mut process = Command::new("python3");
    process
        .args(["-c", SILENT_CONNECTIONS, &daemon.address.port().to_string()])
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY);
    let mut process = Process::start(process);
    let stdin = process.take_stdin();
    assert_eq!(process.line(), "here");
    let streams: Vec<_> = (0..100).map(|_| daemon.stream("/events/t")).collect();
    daemon.publish("t", "x");
    daemon.has_logged("unauthenticated");
    drop((stdin, streams));
    process.finish().ok();
}

/// Sends requests over HTTP/1.1, for what needs a token and for what does not, and prints for how many seconds the connection
/// was kept.
const REPEATED_REQUESTS: &str = r#"
import socket, sys, time
began = time.monotonic()
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.settimeout(30)
try:
    n = 0
    while time.monotonic() - began < 25:
        n += 1
        path, status = [(b"/status", b"401"), (b"/page/icon.svg", b"200")][n % 2]
        s.sendall(b"GET " + path + f" HTTP/1.1\r\nHost: 127.0.0.1:{sys.argv[1]}\r\n\r\n".encode())
        response = s.recv(65536)
        if not response:
            break
        assert response.startswith(b"HTTP/1.1 " + status), response
        time.sleep(1)
except ConnectionError:
    pass
print(round(time.monotonic() - began))
"#;

#[test]
#[ignore = "needs root: acts as two users"]
fn repeated_requests_without_a_token_do_not_extend_a_connection() {
    let daemon = Daemon::start(&[]);
    let port = daemon.address.port().to_string();
    let output = as_other_user("python3", &["-c", REPEATED_REQUESTS, &port]);
    let seconds = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!((9..=13).contains(&seconds.trim().parse::<u32>().unwrap()), "{seconds}");
}

#[test]
fn an_http2_connection_without_a_token_is_closed_after_its_deadline() {
    let (daemon, tokens) = Daemon::exposed(&[]);
    let (refused, accepted) = (Http2::connect(daemon.address), Http2::connect(daemon.address));
    let began = Instant::now();
    assert_eq!(refused.request("GET", "/", &[], "").status, 200, "the dashboard's files need no token");
    assert_eq!(refused.request("GET", "/status", &[], "").status, 401);
    let token = bearer(&tokens.all);
    let accepted_status = || accepted.request("GET", "/healthz", &[("authorization", &token)], "").status;
    assert_eq!(accepted_status(), 200);
    refused.ends();
    assert!((9..=13).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(accepted_status(), 200);
}

/// Takes all slots of unauthenticated peers, then repeatedly frees one and opens two.
const RECONNECTING: &str = r#"
import socket, sys, time
connect = lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])))
crowd, end = [connect() for _ in range(60)], time.monotonic() + 3
while time.monotonic() < end:
    crowd.pop(0).close()
    crowd += [connect(), connect()]
"#;

#[test]
#[ignore = "needs root: acts as two users"]
fn connections_refused_for_lack_of_slots_do_not_flood_the_log() {
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    let flags = ["--no-config", "--listen", "127.0.0.1:0", "--socket", &socket].map(str::to_owned);
    let daemon = Daemon::of_command(sandbox, flags.to_vec(), |busd| after("ulimit -n 400", busd));
    let _open = daemon.stream("/events/t");
    let began = Instant::now();
    let mut process = Command::new("python3");
    process.args(["-c", RECONNECTING, &daemon.address.port().to_string()]).current_dir("/").uid(NOBODY).gid(NOBODY);
    Process::start(process).finish().ok();
    let log = until("suppressed log lines are counted", || {
        Some(daemon.log()).filter(|log| log.matches("similar log lines were suppressed").count() > 1)
    });
    assert!(log.contains("no file descriptors are left for more unauthenticated TCP"), "{log}");
    let most = 4 * (10 + usize::try_from(began.elapsed().as_secs()).unwrap());
    assert!(log.lines().count() < most, "{} lines: {log:.4000}", log.lines().count());
}
