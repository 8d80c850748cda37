//! A daemon, and the operations of tests on it.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::Value;
use sse_bus::protocol::binary::Version;

use super::{EventStream, Frames, Lines, PATIENCE, Process, Response, Run, Sandbox, http, process, until};

/// Set in the environment, streams of tests use the local socket.
const LOCAL_STREAMS: &str = "SSE_BUS_TEST_LOCAL_STREAMS";

/// A daemon. Killed when dropped.
pub struct Daemon {
    pub sandbox: Sandbox,
    /// The address of its HTTP port.
    pub address: SocketAddr,
    flags: Vec<String>,
    child: Child,
}

impl Daemon {
    /// A daemon without a configuration file.
    pub fn start(flags: &[&str]) -> Daemon {
        let flags: Vec<&str> = ["--no-config"].iter().chain(flags).copied().collect();
        Daemon::start_at(Sandbox::new(), &flags)
    }

    /// A daemon with a configuration file.
    pub fn configured(toml: &str) -> Daemon {
        let sandbox = Sandbox::new();
        let file = sandbox.file("config.toml", toml);
        Daemon::start_at(sandbox, &["--config", &file])
    }

    /// A daemon with just these flags, a socket in the given sandbox, and a free port.
    pub fn start_at(sandbox: Sandbox, flags: &[&str]) -> Daemon {
        let socket = sandbox.socket().display().to_string();
        let usual = ["--listen", "127.0.0.1:0", "--socket", &socket];
        let flags = usual.iter().chain(flags).map(ToString::to_string).collect::<Vec<_>>();
        Daemon::of_command(sandbox, flags, |_| {})
    }

    /// A daemon whose command is changed before it starts.
    pub fn of_command(sandbox: Sandbox, flags: Vec<String>, change: impl FnOnce(&mut Command)) -> Daemon {
        let mut command = sandbox.busd();
        change(&mut command);
        let child = spawn(&sandbox, &mut command, &flags);
        let mut daemon = Daemon { sandbox, address: SocketAddr::from(([0, 0, 0, 0], 0)), flags, child };
        daemon.wait_until_it_answers();
        daemon
    }

    /// Starts it again after its end, with the same flags. The port may differ.
    pub fn start_again(&mut self) {
        self.start_again_as(|_| {});
    }

    /// The same with a command that is changed before it starts.
    pub fn start_again_as(&mut self, change: impl FnOnce(&mut Command)) {
        let mut command = self.sandbox.busd();
        change(&mut command);
        self.child = spawn(&self.sandbox, &mut command, &self.flags);
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&mut self) {
        let socket = self.sandbox.socket();
        let status = until("the daemon answers", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the daemon has ended: {status}");
            }
            UnixStream::connect(&socket).ok().map(|stream| Lines::new(stream).ask(r#"{"status":{}}"#))
        });
        let url = status["status"]["url"].as_str().unwrap();
        self.address = url.split_once("://").unwrap().1.parse().unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        process::signal(self.pid(), signal);
    }

    /// Stops it as Ctrl-Z does, and waits until every thread is stopped: the signal takes effect after a while on a
    /// busy machine.
    pub fn suspend(&self) {
        self.signal(rustix::process::Signal::STOP);
        until("every thread is stopped", || {
            let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().flatten();
            let mut states = threads.map(|thread| fs::read_to_string(thread.path().join("stat")).unwrap_or_default());
            states.all(|state| state.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))).then_some(())
        });
    }

    /// Waits for its end and returns the exit code; `None` after a signal.
    pub fn wait(&mut self) -> Option<i32> {
        until("the daemon ends", || self.child.try_wait().unwrap()).code()
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8(fs::read(self.sandbox.path("daemon.log")).unwrap()).unwrap()
    }

    /// Waits until it has logged a text: log lines are written asynchronously.
    pub fn has_logged(&self, text: &str) {
        until(&format!("the daemon logs {text:?}"), || self.log().contains(text).then_some(()));
    }

    /// Runs `sse-busctl` to its end.
    pub fn ctl(&self, args: &[&str]) -> Run {
        self.ctl_fed(args, b"")
    }

    /// Runs `sse-busctl` with something on stdin to its end.
    pub fn ctl_fed(&self, args: &[&str], stdin: &[u8]) -> Run {
        let mut process = self.spawn_ctl(args);
        process.feed(stdin);
        process.finish()
    }

    /// Starts `sse-busctl`.
    pub fn spawn_ctl(&self, args: &[&str]) -> Process {
        Process::start(self.sandbox.busctl(args))
    }

    /// Starts `curl` on a stream.
    pub fn spawn_curl(&self, path: &str) -> Process {
        let mut curl = self.sandbox.command("curl");
        curl.args(["-sSN", &format!("http://{}{path}", self.address)]);
        Process::start(curl)
    }

    /// A connection to the port.
    pub fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection to the local socket.
    pub fn local(&self) -> UnixStream {
        let stream = UnixStream::connect(self.sandbox.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection that speaks JSON lines.
    pub fn lines(&self) -> Lines {
        Lines::new(self.local())
    }

    /// A connection that speaks binary frames, as the client does.
    pub fn frames(&self) -> Frames {
        self.frames_of(Version::CURRENT)
    }

    /// A connection that speaks binary frames of a version.
    pub fn frames_of(&self, version: Version) -> Frames {
        Frames::new(self.local(), version)
    }

    /// The endpoint, for the library's client.
    pub fn endpoint(&self) -> sse_bus::Endpoint {
        sse_bus::Endpoint::at(self.sandbox.socket())
    }

    /// An HTTP request over TCP.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Response {
        let host = self.address.to_string();
        http::exchange(Box::new(self.tcp()), &host, method, path, headers, body.as_ref())
    }

    /// An HTTP request over the local socket.
    pub fn request_locally(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Response {
        self.request_locally_with(method, path, &[], body)
    }

    pub fn request_locally_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Response {
        http::exchange(Box::new(self.local()), "bus", method, path, headers, body.as_ref())
    }

    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }

    /// Publishes over HTTP and returns the event's id.
    pub fn publish(&self, topic: &str, data: impl AsRef<[u8]>) -> String {
        let response = self.request("POST", &format!("/events/{topic}"), &[], data);
        assert_eq!(response.status, 202, "{}", response.text());
        response.json()["id"].as_str().unwrap().into()
    }

    /// Opens a stream over TCP, where the fan-out owns the socket; with [`LOCAL_STREAMS`] in the environment over the
    /// local socket, where the stream is the ordinary body of a response. The promises are the same.
    pub fn stream(&self, path: &str) -> EventStream {
        self.stream_with(path, &[])
    }

    pub fn stream_with(&self, path: &str, headers: &[(&str, &str)]) -> EventStream {
        if std::env::var_os(LOCAL_STREAMS).is_some() {
            return EventStream::open(Box::new(self.local()), "bus", path, headers);
        }
        EventStream::open(Box::new(self.tcp()), &self.address.to_string(), path, headers)
    }

    /// Opens a stream over the local socket.
    pub fn stream_locally(&self, path: &str) -> EventStream {
        EventStream::open(Box::new(self.local()), "bus", path, &[])
    }

    /// The daemon's status.
    pub fn status(&self) -> Value {
        self.get("/status").json()
    }

    /// Waits until the daemon has this number of subscribers.
    pub fn wait_for_subscribers(&self, wanted: u64) {
        until(&format!("{wanted} subscribers"), || (self.status()["subscribers"] == wanted).then_some(()));
    }

    /// The value of a line of `/metrics`.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no metric {name} in\n{text}")).parse().unwrap()
    }
}

fn spawn(sandbox: &Sandbox, command: &mut Command, flags: &[String]) -> Child {
    let log = fs::File::options().create(true).append(true).open(sandbox.path("daemon.log")).unwrap();
    command.args(flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let (flags, log) = (self.flags.join(" "), self.log());
            eprintln!("\ndaemon: sse-busd {flags}\nfolder:\n{}log:\n{log}", self.sandbox.listing());
        }
    }
}
