//! Listening addresses: both loopback addresses, or the configured ones.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    harness::{Daemon, EventStream, PATIENCE, Process, Sandbox, http::exchange, wrap},
    other_users::NOBODY,
};

/// A daemon that listens only where the flags say.
fn listening(flags: &[&str]) -> Daemon {
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    let usual = ["--no-config", "--socket", &socket];
    let flags = usual.iter().chain(flags).map(ToString::to_string).collect();
    Daemon::of_command(sandbox, flags, |_| {})
}

/// The addresses that the status reports.
fn addresses(status: &Value) -> Vec<SocketAddr> {
    let urls = status["urls"].as_array().unwrap().iter();
    urls.map(|url| url.as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap()).collect()
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[test]
fn the_default_is_one_port_on_both_loopback_addresses() {
    let sandbox = Sandbox::new();
    let mut busd = sandbox.busd();
    busd.args(["--no-config", "--check"]);
    let run = Process::start(busd).finish().ok();
    assert!(run.stdout.contains("\nlisten     127.0.0.1:7733\nlisten     [::1]:7733\n"), "{run}");
}

#[test]
fn localhost_is_both_loopback_addresses_with_one_port() {
    let daemon = listening(&["--listen", "localhost:0", "--allow-origin", "http://app.example"]);
    let status = daemon.status();
    let both = addresses(&status);
    let port = both[0].port();
    assert!(port > 0);
    assert_eq!(both, [(Ipv4Addr::LOCALHOST, port).into(), SocketAddr::from((Ipv6Addr::LOCALHOST, port))]);
    assert_eq!(status["url"], status["urls"][0]);
    assert_eq!(daemon.ctl(&["url"]).ok().stdout.trim(), status["url"]);
    daemon.has_logged(&format!("http=127.0.0.1:{port} [::1]:{port}"));
    let doctor = daemon.ctl(&["doctor"]).json();
    let finding = doctor.iter().find(|finding| finding["check"] == "port").unwrap();
    assert_eq!(finding["message"], format!("the daemon serves http://127.0.0.1:{port} and http://[::1]:{port}"));
    for (number, address) in both.iter().enumerate() {
        let mut stream = EventStream::open(Box::new(connect(*address)), &address.to_string(), "/events/t", &[]);
        // Each address has its own page, and refuses that of the other.
        for page in &both {
            let origin = format!("http://{page}");
            let headers = [("Origin", origin.as_str()), ("Sec-Fetch-Site", "same-origin")];
            let response = exchange(
                Box::new(connect(*address)),
                &address.to_string(),
                "POST",
                "/events/t",
                &headers,
                number.to_string().as_bytes(),
            );
            assert_eq!(response.status, if page == address { 202 } else { 403 }, "{address} {page}");
        }
        assert_eq!(stream.event().data, number.to_string());
        // The name that resolves to both.
        let headers = [("Host", &*format!("localhost:{port}"))];
        assert_eq!(exchange(Box::new(connect(*address)), "", "GET", "/status", &headers, b"").status, 200);
    }
}

#[test]
#[ignore = "needs root: acts as two users"]
fn another_user_is_refused_at_each_address() {
    let daemon = listening(&["--listen", "localhost:0"]);
    for address in addresses(&daemon.status()) {
        let url = format!("http://{address}/status");
        let status = |curl: &mut Command| {
            let output =
                curl.args(["-sS", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", &url]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(status(Command::new("curl").current_dir("/").uid(NOBODY).gid(NOBODY)), "401", "{address}");
        assert_eq!(status(&mut Command::new("curl")), "200", "{address}");
    }
}

/// As sockets of Java and .NET are, which connect to both families.
#[test]
fn an_ipv6_socket_that_connects_over_ipv4_belongs_to_the_own_user() {
    const SCRIPT: &str = r#"
import socket, sys
end = socket.socket(socket.AF_INET6)
end.connect(("::ffff:127.0.0.1", int(sys.argv[1])))
end.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
print(end.recv(12).decode())
"#;
    let daemon = Daemon::start(&[]);
    let mut python = daemon.sandbox.command("python3");
    python.args(["-c", SCRIPT, &daemon.address.port().to_string()]);
    assert_eq!(Process::start(python).finish().ok().stdout, "HTTP/1.0 200\n");
}

#[test]
fn several_addresses_are_set_by_flags_a_variable_or_a_list() {
    let expect = |daemon: &Daemon, configured: &Value| {
        let found = addresses(&daemon.status());
        assert!(found.len() == 2 && found.iter().all(|address| address.port() > 0), "{found:?}");
        assert_eq!([found[0].ip(), found[1].ip()], ["127.0.0.1", "127.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        let settings = daemon.get("/config").json();
        let setting = settings.as_array().unwrap().iter().find(|setting| setting["key"] == "listen").unwrap();
        assert_eq!(&setting["value"], configured);
    };
    let two = json!(["127.0.0.1:0", "127.0.0.2:0"]);
    expect(&listening(&["--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0"]), &two);
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    let flags = ["--no-config", "--socket", &socket].map(str::to_owned);
    expect(
        &Daemon::of_command(sandbox, flags.into(), |busd| _ = busd.env("SSE_BUS_LISTEN", "127.0.0.1:0,127.0.0.2:0")),
        &two,
    );
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    let file = sandbox.file("config.toml", "listen = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\n");
    let flags = ["--config", &file, "--socket", &socket].map(str::to_owned);
    expect(&Daemon::of_command(sandbox, flags.into(), |_| {}), &two);
    // A repeated address counts once, also as a part of `localhost`.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let localhost = format!("localhost:{}", taken.port());
    let daemon = listening(&["--listen", &localhost, "--listen", &taken.to_string()]);
    assert_eq!(addresses(&daemon.status()).len(), 2);
}

#[test]
fn a_port_in_use_is_reported_with_its_address_and_owner() {
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    // The owner of the other address, or of another port, is not named.
    for (taken, free) in [("127.0.0.1:0", "[::1]"), ("[::1]:0", "127.0.0.1")] {
        let other = TcpListener::bind(taken).unwrap();
        let address = other.local_addr().unwrap();
        let localhost = format!("localhost:{}", address.port());
        let run = sandbox.busd_fails(&["--socket", &socket, "--listen", &localhost]).ends_with(1);
        let this = std::process::id();
        let run = run
            .says(&format!("{address} is in use by "))
            .says(&format!("(pid {this})"))
            .says("--listen localhost:PORT");
        assert_eq!(run.stderr.lines().count(), 1, "{run}");
        let free = format!("{free}:{}", address.port());
        TcpListener::bind(&free).expect("the failed daemon has released the other address");
    }
}

#[test]
#[ignore = "needs network: a network namespace, which only root can create"]
fn without_ipv6_localhost_is_one_address_without_a_warning() {
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    let script = "ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 && exec \"$0\" \"$@\"";
    let without_ipv6 = |busd: &mut Command| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "bash", "-c", script]);
        wrap(unshare, busd);
    };
    let flags = ["--no-config", "--socket", &socket].map(str::to_owned);
    let daemon = Daemon::of_command(sandbox, flags.into(), without_ipv6);
    let status = daemon.lines().ask(r#"{"status":{}}"#);
    assert_eq!(status["status"]["urls"], json!(["http://127.0.0.1:7733"]));
    daemon.has_logged("http=127.0.0.1:7733 ");
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
    // Named explicitly, it must be available.
    let sandbox = Sandbox::new();
    let mut busd = sandbox.busd();
    without_ipv6(&mut busd);
    busd.args(["--no-config", "--listen", "[::1]:7733", "--socket"]).arg(sandbox.socket());
    Process::start(busd).finish().ends_with(1).says("cannot listen on [::1]:7733").says("--listen");
}

#[test]
fn an_invalid_address_is_refused_with_the_expected_form() {
    let sandbox = Sandbox::new();
    for wrong in ["localhost", "7733", "bus.example:80", "::1:7733", ""] {
        let run = sandbox.busd_fails(&["--listen", wrong]).ends_with(2);
        run.says("--listen").says("localhost:7733 for both");
    }
    for wrong in ["[]", "[7]", "\"localhost\"", "[\"127.0.0.1:0\", \"x\"]"] {
        let mut busd = sandbox.busd();
        busd.args(["--check", "--config", &sandbox.file("config.toml", format!("listen = {wrong}\n"))]);
        let run = Process::start(busd).finish().ends_with(2);
        run.says("config.toml:1:10: listen = ")
            .says("expected an address and a port")
            .says("\"localhost:7733\" for both");
    }
}
