//! Under a service manager: inherited sockets that outlive the daemon, and state notifications.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    process::Command,
    time::{Duration, Instant},
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with},
    process::Signal,
};

use crate::harness::{Daemon, EventStream, Lines, PATIENCE, Process, Sandbox, until, wrap};

/// The sockets that a service manager holds.
pub(crate) struct InheritedSockets {
    http: TcpListener,
    ipc: UnixListener,
}

impl InheritedSockets {
    pub(crate) fn new(sandbox: &Sandbox) -> InheritedSockets {
        std::fs::create_dir_all(sandbox.socket().parent().unwrap()).unwrap();
        InheritedSockets {
            http: TcpListener::bind("127.0.0.1:0").unwrap(),
            ipc: UnixListener::bind(sandbox.socket()).unwrap(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.http.local_addr().unwrap()
    }

    /// Starts a command with the sockets as its descriptors 3 and 4.
    pub(crate) fn give(&self, command: &mut Command, names: &str) {
        give(command, &[&self.http, &self.ipc], names);
    }
}

/// Wraps a command in a shell that passes it sockets according to `sd_listen_fds(3)`.
fn give(command: &mut Command, sockets: &[&dyn AsRawFdAndFd], names: &str) {
    let mut shell = Command::new("bash");
    // By way of high numbers: a socket may have one of the low numbers, which another would overwrite.
    let (mut script, mut low) = (String::new(), String::new());
    for (index, socket) in sockets.iter().enumerate() {
        fcntl_setfd(socket.as_fd(), FdFlags::empty()).unwrap();
        let _ = write!(script, "exec {}<&{}; ", index + 900, socket.as_raw_fd());
        let _ = write!(low, "exec {}<&{} {1}<&-; ", index + 3, index + 900);
    }
    script += &low;
    let _ = write!(script, "export LISTEN_FDS={} LISTEN_FDNAMES={names} LISTEN_PID=$$; exec \"$@\"", sockets.len());
    shell.args(["-c", &script, "bash"]);
    wrap(shell, command);
}

trait AsRawFdAndFd: AsFd + AsRawFd {}
impl<T: AsFd + AsRawFd> AsRawFdAndFd for T {}

/// A daemon that inherits the sockets, with or without their names.
fn start(sandbox: Sandbox, inherited: &InheritedSockets, names: &str) -> Daemon {
    Daemon::of_command(sandbox, vec!["--no-config".into()], |command| inherited.give(command, names))
}

#[test]
fn connections_made_while_the_daemon_is_down_wait_and_are_served() {
    for names in ["http:ipc", "", "sse-bus.socket:sse-bus.socket"] {
        let sandbox = Sandbox::new();
        let inherited = InheritedSockets::new(&sandbox);
        let mut daemon = start(sandbox, &inherited, names);
        assert_eq!(daemon.address, inherited.address(), "the daemon uses the inherited port");
        assert_eq!(daemon.status()["socket"], daemon.sandbox.socket().display().to_string());
        daemon.publish("t", "before");
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.wait(), Some(0));
        assert!(daemon.sandbox.socket().exists(), "the daemon keeps the inherited socket");

        // None is refused.
        let mut publisher = Lines::new(UnixStream::connect(daemon.sandbox.socket()).unwrap());
        publisher.send(r#"{"publish":{"topic":"t","data":"meanwhile"}}"#);
        let socket = TcpStream::connect(inherited.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let (address, waiting) = (inherited.address().to_string(), Box::new(socket));
        let stream = std::thread::spawn(move || EventStream::open(waiting, &address, "/events/later", &[]));

        let daemon = start(std::mem::replace(&mut daemon.sandbox, Sandbox::new()), &inherited, names);
        assert!(publisher.reply()["published"]["id"].is_string());
        let mut stream = stream.join().unwrap();
        daemon.publish("later", "here");
        assert_eq!(stream.event().data, "here");
    }
}

#[test]
fn every_inherited_port_is_served() {
    for names in ["http:http:ipc", ""] {
        let sandbox = Sandbox::new();
        let inherited = InheritedSockets::new(&sandbox);
        let second = TcpListener::bind("[::1]:0").unwrap();
        let wanted = [inherited.address(), second.local_addr().unwrap()].map(|address| format!("http://{address}"));
        let daemon = Daemon::of_command(sandbox, vec!["--no-config".into()], |command| {
            give(command, &[&inherited.http, &second, &inherited.ipc], names);
        });
        assert_eq!(daemon.status()["urls"], serde_json::json!(wanted));
        let socket = Box::new(TcpStream::connect(second.local_addr().unwrap()).unwrap());
        let host = second.local_addr().unwrap().to_string();
        let mut stream = EventStream::open(socket, &host, "/events/t", &[]);
        daemon.publish("t", "here");
        assert_eq!(stream.event().data, "here");
    }
}

/// A connection beyond the queue is not refused, but retried by the kernel after one, three and seven seconds.
#[test]
fn the_daemon_enlarges_the_queue_of_an_inherited_socket() {
    let sandbox = Sandbox::new();
    let inherited = InheritedSockets::new(&sandbox);
    rustix::net::listen(&inherited.http, 1).unwrap();
    rustix::net::listen(&inherited.ipc, 1).unwrap();
    let mut daemon = start(sandbox, &inherited, "http:ipc");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    let connect = || TcpStream::connect_timeout(&inherited.address(), PATIENCE).unwrap();
    let began = Instant::now();
    let crowd: Vec<_> = (0..100).map(|_| connect()).collect();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "some had to retry: {took:?}");
    // A non-blocking connect reports that the queue is full.
    let programs: Vec<_> = (0..100)
        .map(|_| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let program = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
            rustix::net::connect(&program, &SocketAddrUnix::new(daemon.sandbox.socket()).unwrap()).unwrap();
            program
        })
        .collect();
    drop((crowd, programs));
}

#[test]
fn settings_overridden_by_inherited_sockets_are_reported_once() {
    let start = |listen: &str, socket: &str, inherited: &InheritedSockets, sandbox: Sandbox| {
        let file = sandbox.file("config.toml", format!("socket = \"{socket}\"\n"));
        let flags = ["--config", &file, "--listen", listen].map(str::to_owned);
        Daemon::of_command(sandbox, flags.into(), |command| inherited.give(command, "http:ipc"))
    };
    let sandbox = Sandbox::new();
    let inherited = InheritedSockets::new(&sandbox);
    let (address, socket) = (inherited.address().to_string(), sandbox.socket().display().to_string());
    let daemon = start("127.0.0.1:7999", "/nowhere/bus.sock", &inherited, sandbox);
    daemon.signal(Signal::HUP);
    until("the configuration is reloaded", || daemon.log().contains("read the configuration again").then_some(()));
    let log = daemon.log();
    let said = [
        format!("--listen: listen = 127.0.0.1:7999 is ignored: the service manager holds {address}; `sse-busctl"),
        format!("config.toml:1:1: socket = /nowhere/bus.sock is ignored: the service manager holds {socket};"),
    ];
    for said in said {
        assert_eq!(log.matches(&said).count(), 1, "{said}\n{log}");
    }
    // No warning where the socket is the configured one.
    let sandbox = Sandbox::new();
    let inherited = InheritedSockets::new(&sandbox);
    let (address, socket) = (inherited.address().to_string(), sandbox.socket().display().to_string());
    let daemon = start(&address, &socket, &inherited, sandbox);
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
    drop(daemon);
    // Nor if it is inherited as two sockets.
    let sandbox = Sandbox::new();
    let inherited = InheritedSockets::new(&sandbox);
    let second = TcpListener::bind((Ipv6Addr::LOCALHOST, inherited.address().port())).unwrap();
    let flags = ["--no-config", "--listen", &format!("localhost:{}", inherited.address().port())].map(str::to_owned);
    let daemon = Daemon::of_command(sandbox, flags.into(), |command| {
        give(command, &[&inherited.http, &second, &inherited.ipc], "http:http:ipc");
    });
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
}

#[test]
fn an_unusable_inherited_socket_is_explained() {
    let sandbox = Sandbox::new();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let [first, second] = ["first", "second"].map(|name| UnixListener::bind(sandbox.path(name)).unwrap());
    let tests: [(&[&dyn AsRawFdAndFd], &str, &str); 4] = [
        (&[&udp], "http", "cannot be used"),
        (&[&tcp], "ipc", "`ipc`"),
        (&[&first, &second], "ipc:ipc", "a second local one"),
        (&[&UnixListener::bind(sandbox.path("x")).unwrap()], "http", "cannot be used"),
    ];
    for (sockets, names, said) in tests {
        let mut command = sandbox.busd();
        command.args(["--no-config", "--listen", "127.0.0.1:0"]);
        give(&mut command, sockets, names);
        Process::start(command).finish().ends_with(2).says(said).says("LISTEN_FDS");
    }
}

/// The notifications that the daemon sends to its service manager.
struct Manager(UnixDatagram);

impl Manager {
    fn new(sandbox: &Sandbox) -> Manager {
        let socket = UnixDatagram::bind(sandbox.path("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager(socket)
    }

    fn notifications(&self) -> String {
        let mut message = [0; 512];
        let length = self.0.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// Waits for a notification and returns the whole message.
    fn wait_for(&self, text: &str) -> String {
        until(text, || Some(self.notifications()).filter(|sent| sent.lines().any(|line| line.starts_with(text))))
    }
}

#[test]
fn the_service_manager_receives_the_state_of_the_daemon() {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox);
    let notify = sandbox.path("notify");
    let socket = sandbox.socket().display().to_string();
    let flags = ["--no-config", "--listen", "127.0.0.1:0", "--socket", &socket].map(str::to_owned);
    let mut daemon = Daemon::of_command(sandbox, flags.to_vec(), |command| {
        command.env("NOTIFY_SOCKET", notify).env("WATCHDOG_USEC", "200000");
    });
    manager.wait_for("READY=1");
    // Also while it serves streams.
    let _streams: Vec<_> = (0..20).map(|_| daemon.stream("/events/t")).collect();
    for _ in 0..5 {
        manager.wait_for("WATCHDOG=1");
    }
    daemon.signal(Signal::HUP);
    assert!(manager.wait_for("RELOADING=1").contains("MONOTONIC_USEC="));
    manager.wait_for("READY=1");
    daemon.signal(Signal::TERM);
    manager.wait_for("STOPPING=1");
    assert_eq!(daemon.wait(), Some(0));
}

/// A missing service manager is not an error.
#[test]
fn a_daemon_without_its_service_manager_serves() {
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    let flags = ["--no-config", "--listen", "127.0.0.1:0", "--socket", &socket].map(str::to_owned);
    let daemon = Daemon::of_command(sandbox, flags.to_vec(), |command| {
        command.env("NOTIFY_SOCKET", "/nowhere/notify").env("WATCHDOG_USEC", "100000");
    });
    daemon.tcp().write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(daemon.get("/healthz").status, 200);
}

#[test]
fn a_service_manager_that_does_not_read_blocks_nothing() {
    let sandbox = Sandbox::new();
    let _manager = Manager::new(&sandbox);
    let notify = sandbox.path("notify");
    let full = UnixDatagram::unbound().unwrap();
    full.connect(&notify).unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send(b"STATUS=full").is_ok() {}
    let socket = sandbox.socket().display().to_string();
    let flags = ["--no-config", "--listen", "127.0.0.1:0", "--socket", &socket].map(str::to_owned);
    let mut daemon = Daemon::of_command(sandbox, flags.to_vec(), |command| {
        command.env("NOTIFY_SOCKET", notify);
    });
    assert_eq!(daemon.get("/healthz").status, 200);
    daemon.publish("t", "x");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    assert!(!daemon.sandbox.socket().exists());
}
